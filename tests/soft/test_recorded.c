/* tests/soft/test_recorded.c - what a stock Linux guest and its paravisor said to
 * each other (recorded/, made by tests/bed/record.sh), through the soft guest's
 * own code and through the server's: both must read the same and write the same.
 *
 * Guest to server: the server's parsers take the bytes apart, the soft guest's
 * encoders put them together again, and the result is what Linux sent. Server to
 * guest: the soft guest's decoders take them apart, the server's builders put
 * them together again. What only the sender can know is copied: transaction ids,
 * the addresses of Linux's monitor pages, and the number of a GPADL body, which
 * Linux leaves 0. */
#include "statemachines/gpa_list.h"
#include "statemachines/ring_packet.h"
#include "statemachines/scsi_cdb.h"
#include "statemachines/vmbus_msg.h"
#include "tests/soft/guestscsi.h"
#include "tests/soft/recorded_server.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 8192, RINGS = 8, RING_PAGES = 5, OPEN_REQUESTS = 256, PAGE = 4096 };

struct line {
	unsigned number, relid; /* relid 0: a VMBus message */
	bool to_server;
	size_t len;
	uint8_t bytes[BYTES];
};

struct ring {
	_Alignas(PAGE) uint8_t memory[2 * RING_PAGES * PAGE];
	struct guestring ring;
	bool up;
};

static struct ring rings[RINGS];
static struct guestscsi_request open_requests[OPEN_REQUESTS];
static struct line line;

/* What was seen, so that a recording without it cannot pass. */
static struct {
	unsigned messages[32], opcodes[256], controls[16];
	unsigned good, sub_channel_srbs, multi_page, lines;
} seen;

static uint8_t nibble(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void parse_line(char *text)
{
	char *hex;

	line.to_server = text[0] == '>';
	line.relid = 0;
	if (strncmp(text + 2, "channel ", 8) == 0)
		line.relid = (unsigned)strtoul(text + 10, NULL, 10);
	hex = strrchr(text, ' ') + 1;
	line.len = strcspn(hex, "\n") / 2;
	cr_assert_leq(line.len, sizeof(line.bytes), "line %u is too long", line.number);
	for (size_t i = 0; i < line.len; i++)
		line.bytes[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
}

static void expect_same(const void *made, size_t len, const char *who)
{
	cr_assert_eq(len, line.len, "line %u: %s made %zu bytes of %zu", line.number, who, len,
		     line.len);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(((const uint8_t *)made)[i], line.bytes[i],
			     "line %u: %s differs at byte %zu: %02x, recorded %02x", line.number, who,
			     i, ((const uint8_t *)made)[i], line.bytes[i]);
}

/* ---- messages ------------------------------------------------------------------ */

static void remake_gpadl(const struct vmbus_msg *m)
{
	if (m->type == VMBUS_GPADL_HEADER) {
		struct bus_gpadl_header header = {
			.header.type = BUS_GPADL_HEADER,
			.relid = m->relid,
			.gpadl = m->gpadl,
			.range_bytes = (uint16_t)(8 + m->pages * 8),
			.ranges = 1,
			.byte_count = m->byte_count,
			.byte_offset = m->byte_offset,
		};

		memcpy(header.pfn, m->pfns, m->n_pfns * 8);
		expect_same(&header, 28 + m->n_pfns * 8, "the soft guest");
	} else {
		struct bus_gpadl_body body = {
			.header.type = BUS_GPADL_BODY, .number = m->number, .gpadl = m->gpadl};

		memcpy(body.pfn, m->pfns, m->n_pfns * 8);
		expect_same(&body, 16 + m->n_pfns * 8, "the soft guest");
	}
}

static void remake_contact(const struct vmbus_msg *m)
{
	struct bus_initiate contact = {
		.header.type = BUS_INITIATE,
		.version = m->version,
		.target_vp = m->target_vp,
		.sint = SOFTVM_SINT,
	};

	memcpy(&contact.monitor_to_child, line.bytes + 24, 16);
	expect_same(&contact, sizeof(contact), "the soft guest");
}

static void message_to_server(void)
{
	struct vmbus_msg m;

	cr_assert_eq(vmbus_msg_parse(line.bytes, line.len, GUESTBUS_GPADL_PAGES, &m), 0,
		     "line %u: the server refuses Linux's message", line.number);
	cr_assert_lt(m.type, 32);
	seen.messages[m.type]++;
	if (m.type == VMBUS_CONTACT) {
		remake_contact(&m);
	} else if (m.type == VMBUS_GPADL_HEADER || m.type == VMBUS_GPADL_BODY) {
		remake_gpadl(&m);
	} else if (m.type == VMBUS_OPEN) {
		struct bus_open open = {{BUS_OPEN, 0}, m.relid, m.open_id, m.gpadl, m.target_vp,
					m.downstream,  {0}};

		memcpy(open.user, line.bytes + 28, sizeof(open.user));
		expect_same(&open, sizeof(open), "the soft guest");
	} else if (m.type == VMBUS_CLOSE || m.type == VMBUS_RELID_RELEASED) {
		expect_same(&(struct bus_relid){{m.type, 0}, m.relid}, sizeof(struct bus_relid),
			    "the soft guest");
	} else if (m.type == VMBUS_GPADL_TEARDOWN) {
		expect_same(&(struct bus_gpadl_teardown){{m.type, 0}, m.relid, m.gpadl},
			    sizeof(struct bus_gpadl_teardown), "the soft guest");
	} else if (m.type == VMBUS_MODIFY) {
		expect_same(&(struct bus_modify){{m.type, 0}, m.relid, m.target_vp},
			    sizeof(struct bus_modify), "the soft guest");
	} else {
		expect_same(&(struct bus_header){m.type, 0}, sizeof(struct bus_header),
			    "the soft guest");
	}
}

static size_t remake_offer(uint8_t made[VMBUS_MAX])
{
	struct bus_offer o;
	uint64_t type[2], instance[2];
	uint32_t pipe_mode;

	memcpy(&o, line.bytes, sizeof(o));
	memcpy(type, o.type, 16);
	memcpy(instance, o.instance, 16);
	memcpy(&pipe_mode, o.user, 4);
	cr_assert_eq(o.connection, VMBUS_DOOR_BASE | o.relid);
	return vmbus_put_offer(made, &(struct vmbus_offer){.type = type,
							   .instance = instance,
							   .relid = o.relid,
							   .pipe_mode = pipe_mode,
							   .flags = o.flags,
							   .subchannel = o.index});
}

static void message_to_guest(void)
{
	uint8_t made[VMBUS_MAX];
	struct bus_open_result words = {0};
	struct bus_version version;
	size_t len;

	memcpy(&words, line.bytes, line.len < sizeof(words) ? line.len : sizeof(words));
	cr_assert_lt(words.header.type, 32);
	seen.messages[words.header.type]++;
	switch (words.header.type) {
	case BUS_OFFER:
		len = remake_offer(made);
		break;
	case BUS_VERSION:
		memcpy(&version, line.bytes, sizeof(version));
		len = vmbus_put_version(made, version.supported);
		break;
	case BUS_OPEN_RESULT:
	case BUS_GPADL_CREATED:
	case BUS_MODIFIED:
		len = vmbus_put_words(made, (enum vmbus_type)words.header.type, words.relid,
				      words.openid, words.status);
		break;
	case BUS_RESCIND:
	case BUS_GPADL_TORNDOWN:
		len = vmbus_put_word(made, (enum vmbus_type)words.header.type, words.relid);
		break;
	default:
		len = vmbus_put_bare(made, (enum vmbus_type)words.header.type);
	}
	expect_same(made, len, "the server");
}

/* ---- packets ------------------------------------------------------------------- */

static struct ring *ring_of(unsigned relid)
{
	struct ring *r = &rings[relid % RINGS];

	if (!r->up)
		guestring_init(&r->ring, r->memory, RING_PAGES, RING_PAGES);
	r->up = true;
	return r;
}

/* The guest's ring code writes the packet: it must be the recorded one. */
static void send(const struct guestring_packet *packet)
{
	struct ring *r = ring_of(line.relid);
	struct guestring_header *out = r->ring.out.header;
	const uint32_t at = atomic_load(&out->write_index), size = r->ring.out.size;
	uint8_t made[BYTES];
	bool signal;

	cr_assert_eq(guestring_send(&r->ring, packet, &signal), 0);
	for (size_t i = 0; i < line.len; i++)
		made[i] = r->ring.out.data[(at + i) % size];
	expect_same(made, line.len, "the soft guest");
	cr_assert_eq(atomic_load(&out->write_index), (at + line.len + RING_TRAILER) % size);
	atomic_store(&out->read_index, atomic_load(&out->write_index));
}

static struct guestscsi_request *request_of(uint64_t transaction)
{
	return &open_requests[(transaction * 8 + line.relid) % OPEN_REQUESTS];
}

static void srb_to_server(const struct ring_packet *p, const struct server_srb *srb)
{
	static uint64_t pfns[GUESTSCSI_PAGES];
	struct guestscsi_request *request = request_of(p->transaction);
	struct guestscsi_wire wire;
	struct scsi_command command;

	(void)scsi_cdb_parse(srb->cdb, srb->cdb_bytes, &command);
	*request = (struct guestscsi_request){
		.cdb_bytes = srb->cdb_bytes,
		.path = srb->path,
		.target = srb->target,
		.lun = srb->lun,
		.direction = (enum guestscsi_direction)srb->direction,
		.untagged = p->payload[offsetof(struct vstor_packet, u.srb.queue_action)] == 0,
		.bytes = srb->transfer,
		.pfns = pfns,
		.id = p->transaction,
	};
	memcpy(request->cdb, srb->cdb, sizeof(request->cdb));
	seen.opcodes[srb->cdb[0]]++;
	seen.sub_channel_srbs += line.relid > 1;
	if (srb->transfer > 0) {
		cr_assert_eq(p->gpa_ranges, 1);
		cr_assert_eq(gpa_list_total(p->gpas, p->gpa_ranges), srb->transfer);
		memcpy(&request->offset, p->gpas + 4, 4);
		memcpy(pfns, p->gpas + 8, p->gpa_bytes - 8);
		seen.multi_page += p->gpa_bytes > 16;
	}
	guestscsi_encode(request, &wire);
	send(&wire.packet);
}

static void packet_to_server(void)
{
	struct ring_packet p;
	struct server_srb srb = {0};

	cr_assert_eq(ring_packet_parse(line.bytes, line.len, &p), 0,
		     "line %u: the server refuses Linux's packet", line.number);
	if (p.payload_bytes == GUESTSCSI_VSTOR)
		server_read(p.payload, &srb);
	if (srb.operation == VSTOR_EXECUTE) {
		srb_to_server(&p, &srb);
		return;
	}
	if (line.relid == 1) {
		cr_assert_lt(srb.operation, 16);
		seen.controls[srb.operation]++;
	}
	send(&(struct guestring_packet){.type = p.type,
					.flags = p.flags,
					.id = p.transaction,
					.payload = p.payload,
					.payload_bytes = p.payload_bytes});
}

/* The server's side of a ring: the packet and its trailer, as ring.c publishes them. */
static void publish(struct ring *r)
{
	struct guestring_header *in = r->ring.in.header;
	const uint32_t at = atomic_load(&in->write_index), size = r->ring.in.size;
	uint8_t trailer[RING_TRAILER] = {0};

	memcpy(trailer + 4, &at, 4);
	for (size_t i = 0; i < line.len + RING_TRAILER; i++)
		r->ring.in.data[(at + i) % size] =
			i < line.len ? line.bytes[i] : trailer[i - line.len];
	atomic_store(&in->write_index, (uint32_t)(at + line.len + RING_TRAILER) % size);
}

static void answer_to_guest(const struct guestring_received *got)
{
	struct guestscsi_request *request = request_of(got->id);
	uint8_t made[GUESTSCSI_VSTOR];

	request->outcome = guestscsi_decode(got->payload, request);
	memcpy(made, got->payload, sizeof(made));
	server_answer(made, request->srb_status, request->scsi_status, request->transferred,
		      request->sense, request->sense_bytes);
	cr_assert_arr_eq(made, got->payload, sizeof(made), "line %u: the server's answer differs",
			 line.number);
	if (request->outcome == GUESTSCSI_GOOD) {
		cr_assert_leq(request->transferred, request->bytes);
		seen.good++;
	} else {
		cr_assert_eq(request->scsi_status, 2 /* CHECK CONDITION */, "line %u", line.number);
		cr_assert_geq(request->sense_bytes, 14);
	}
}

static void packet_to_guest(void)
{
	static struct guestring_received got;
	struct ring *r = ring_of(line.relid);
	uint8_t made[BYTES];

	publish(r);
	cr_assert_eq(guestring_receive(&r->ring, &got), 0, "line %u: %s", line.number,
		     guestring_fault(&r->ring));
	cr_assert_eq(guestring_receive(&r->ring, &got), GUESTRING_EMPTY);
	guestring_publish(&r->ring);
	expect_same(made, ring_packet_put(made, got.type, got.flags, got.id, got.payload, got.bytes),
		    "the server");
	if (got.type == GUESTRING_COMPLETION && line.relid != 0 && got.bytes == GUESTSCSI_VSTOR &&
	    request_of(got.id)->id == got.id && request_of(got.id)->cdb_bytes > 0)
		answer_to_guest(&got);
}

static void replay(const char *path)
{
	static char text[4 * BYTES];
	FILE *in = fopen(path, "r");

	cr_assert_not_null(in, "%s cannot be opened", path);
	while (fgets(text, sizeof(text), in)) {
		line.number++;
		if (text[0] == '#')
			continue;
		parse_line(text);
		seen.lines++;
		if (line.relid == 0)
			(line.to_server ? message_to_server : message_to_guest)();
		else
			(line.to_server ? packet_to_server : packet_to_guest)();
	}
	fclose(in);
}

Test(recorded, linux_and_both_sides_agree)
{
	static const unsigned controls[] = {VSTOR_BEGIN, VSTOR_VERSION, VSTOR_PROPERTIES,
					    VSTOR_END, VSTOR_SUB_CHANNELS};
	static const uint8_t opcodes[] = {0x12, 0x28, 0x2a, 0x35, 0xa0};
	static const unsigned messages[] = {
		BUS_OFFER,	   BUS_REQUEST_OFFERS, BUS_ALL_OFFERS,	  BUS_OPEN,
		BUS_OPEN_RESULT,   BUS_GPADL_HEADER,   BUS_GPADL_BODY,	  BUS_GPADL_CREATED,
		BUS_INITIATE,	   BUS_VERSION,	       BUS_CLOSE,	  BUS_GPADL_TEARDOWN,
		BUS_GPADL_TORNDOWN, BUS_RELEASED,      BUS_RESCIND,	  BUS_MODIFY,
		BUS_MODIFIED,	   BUS_UNLOAD,	       BUS_UNLOADED};

	replay(RECORDED);
	for (size_t i = 0; i < sizeof(controls) / sizeof(*controls); i++)
		cr_assert_gt(seen.controls[controls[i]], 0, "no control %u", controls[i]);
	for (size_t i = 0; i < sizeof(opcodes); i++)
		cr_assert_gt(seen.opcodes[opcodes[i]], 0, "no CDB %02x", opcodes[i]);
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
		cr_assert_gt(seen.messages[messages[i]], 0, "no message %u", messages[i]);
	cr_assert_gt(seen.good, 20);
	cr_assert_gt(seen.sub_channel_srbs, 0);
	cr_assert_gt(seen.multi_page, 0);
}
