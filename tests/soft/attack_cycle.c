/* tests/soft/attack_cycle.c - messages and packets of one connection, posted and
 * sent by hand. The rings lie in the pool; only READs touch LUN 0, and what is
 * written goes to the victim. */
#include "tests/soft/attack_cycle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	BLOCK = 512,
	UNWRITTEN = 65536,        /* a block that nobody writes: behind the client's region */
	CONNECTION = 4,
	PATIENCE_S = 60,
	POST_NS = 8000000,
	SOME_NS = 50000000,
};

/* ---- messages --------------------------------------------------------------------- */

static _Atomic uint32_t seen[ATTACK_TYPES], primary_relid, sub_relid[CYCLE_SUBS + 1];

static void on_message(void *context, const uint8_t *payload, uint32_t bytes)
{
	struct bus_offer offer;
	uint32_t type = 0;

	(void)context;
	if (bytes >= sizeof(type))
		memcpy(&type, payload, sizeof(type));
	if (type == BUS_OFFER && bytes >= 188) {
		memset(&offer, 0, sizeof(offer));
		memcpy(&offer, payload, bytes < sizeof(offer) ? bytes : sizeof(offer));
		if (memcmp(offer.type, GUESTBUS_SCSI, sizeof(offer.type)) == 0) {
			if (offer.index == 0)
				atomic_store(&primary_relid, offer.relid);
			else if (offer.index <= CYCLE_SUBS)
				atomic_store(&sub_relid[offer.index], offer.relid);
		}
	}
	atomic_fetch_add(&seen[type % ATTACK_TYPES], 1);
}

static void on_flag(void *context, uint32_t vp, uint32_t relid)
{
	(void)context;
	(void)vp;
	(void)relid;
}

uint32_t cycle_seen(uint32_t type)
{
	return atomic_load(&seen[type]);
}

bool cycle_await_some(uint32_t type, uint32_t before)
{
	const uint64_t since = softvm_now_ns();

	while (cycle_seen(type) == before) {
		if (softvm_now_ns() - since > SOME_NS)
			return false;
		usleep(20);
	}
	return true;
}

bool cycle_await(struct cycle *c, uint32_t type, uint32_t before)
{
	const uint32_t rescinded = cycle_seen(BUS_RESCIND);
	const uint64_t since = softvm_now_ns();

	while (cycle_seen(type) == before) {
		if (type == BUS_OPEN_RESULT && cycle_seen(BUS_RESCIND) != rescinded)
			return false;
		if (softvm_now_ns() - since > PATIENCE_S * UINT64_C(1000000000)) {
			fprintf(stderr, "attack: relid %u: no message of type %u\n", c->relid, type);
			atomic_fetch_add(&c->attack->unanswered, 1);
			return false;
		}
		usleep(20);
	}
	return true;
}

static void post(struct cycle *c, const void *message, uint32_t bytes)
{
	const uint64_t since = softvm_now_ns();
	uint16_t status = 0;
	uint32_t type;

	memcpy(&type, message, sizeof(type));
	attack_count(c->attack, ATTACK_DIRECTED);
	atomic_fetch_add(&c->attack->by_type[type % ATTACK_TYPES], 1);
	while (softvm_post(c->attack->vm, 0, CONNECTION, message, bytes, &status) > 0 &&
	       softvm_now_ns() - since < PATIENCE_S * UINT64_C(1000000000))
		usleep(10);
}

void cycle_post(struct cycle *c, uint32_t type, uint32_t a, uint32_t b)
{
	const uint32_t words[4] = {type, 0, a, b};

	post(c, words, sizeof(words));
}

void cycle_initiate(struct cycle *c)
{
	const struct bus_initiate m = {.header.type = BUS_INITIATE, .version = 5 << 16 | 3,
				       .sint = SOFTVM_SINT};

	post(c, &m, sizeof(m));
}

void cycle_gpadl(struct cycle *c, uint32_t handle, uint32_t pages, uint32_t sent)
{
	struct bus_gpadl_header m = {.header.type = BUS_GPADL_HEADER, .relid = c->relid,
				     .gpadl = handle, .ranges = 1,
				     .range_bytes = (uint16_t)(8 + 8 * pages),
				     .byte_count = pages * SOFTVM_PAGE};

	memcpy(m.pfn, &c->attack->pfn[sent <= CYCLE_RINGS ? c->first_page : 0],
	       sent * sizeof(m.pfn[0]));
	post(c, &m, (uint32_t)sizeof(m) - (26 - sent) * 8);
}

void cycle_body(struct cycle *c, uint32_t handle, uint32_t n)
{
	struct bus_gpadl_body m = {.header.type = BUS_GPADL_BODY, .gpadl = handle};

	memcpy(m.pfn, c->attack->pfn, n * sizeof(m.pfn[0]));
	post(c, &m, 16 + n * 8);
}

void cycle_open(struct cycle *c, uint32_t relid, uint32_t handle)
{
	const struct bus_open m = {.header.type = BUS_OPEN, .relid = relid, .openid = relid,
				   .gpadl = handle, .downstream_page = c->half};

	post(c, &m, sizeof(m));
}

/* ---- packets ---------------------------------------------------------------------- */

void cycle_signal(struct cycle *c)
{
	softvm_signal(c->attack->vm, 0, 0x2000 + c->relid);
}

static bool send(struct cycle *c, const void *list, uint32_t bytes,
		 const struct vstor_packet *vstor)
{
	const struct guestring_packet packet = {
		.type = bytes ? GUESTRING_GPA_DIRECT : GUESTRING_INBAND,
		.flags = c->silent ? 0 : GUESTRING_WANTS_COMPLETION, .id = ++c->id,
		.extra = list, .extra_bytes = bytes,
		.payload = vstor, .payload_bytes = sizeof(*vstor),
	};
	_Atomic uint32_t *write = &c->ring.out.header->write_index;
	bool signal;

	atomic_store(write, atomic_load(write) % c->ring.out.size & ~7u);
	if (guestring_send(&c->ring, &packet, &signal) != 0)
		return false;
	attack_count(c->attack, ATTACK_DIRECTED);
	return true;
}

void cycle_handshake(struct cycle *c, uint32_t from, uint32_t to)
{
	static const uint32_t order[] = {VSTOR_BEGIN, VSTOR_VERSION, VSTOR_PROPERTIES, VSTOR_END};

	for (uint32_t i = from; i < to; i++) {
		struct vstor_packet p = {.operation = order[i], .flags = 1};

		if (order[i] == VSTOR_VERSION)
			p.u.protocol.version = 0x0602;
		send(c, NULL, 0, &p);
	}
	cycle_signal(c);
}

void cycle_operation(struct cycle *c, uint32_t what, uint16_t n)
{
	struct vstor_packet p = {.operation = what, .flags = 1, .u.sub_channels = n};

	send(c, NULL, 0, &p);
	cycle_signal(c);
}

struct pages {
	uint32_t reserved, ranges, bytes, offset;
	uint64_t pfn[CYCLE_LONG_PAGES];
};

/* @data_in: as in struct vmscsi_request, 1: to the guest. */
static bool srb(struct cycle *c, uint8_t lun, const uint8_t cdb[16], uint32_t bytes,
		uint8_t data_in)
{
	const uint32_t pages = (bytes + SOFTVM_PAGE - 1) / SOFTVM_PAGE;
	struct vstor_packet p = {.operation = VSTOR_EXECUTE, .flags = 1};
	struct pages list = {.ranges = 1, .bytes = bytes};

	p.u.srb = (struct vstor_srb){.length = 52, .cdb_length = 16, .sense_length = 20,
				     .lun = lun, .data_in = data_in, .transfer = bytes};
	memcpy(p.u.srb.cdb_or_sense, cdb, 16);
	for (uint32_t i = 0; i < pages; i++)
		list.pfn[i] = c->attack->pfn[CYCLE_POOL - CYCLE_DATA_PAGES + i % CYCLE_DATA_PAGES];
	return send(c, bytes ? &list : NULL, bytes ? 16 + 8 * pages : 0, &p);
}

static bool read_pages(struct cycle *c, uint32_t lba, uint32_t pages)
{
	const uint32_t blocks = pages * SOFTVM_PAGE / BLOCK;
	const uint8_t cdb[16] = {0x28, 0, (uint8_t)(lba >> 24), (uint8_t)(lba >> 16),
				 (uint8_t)(lba >> 8), (uint8_t)lba,
				 [7] = (uint8_t)(blocks >> 8), [8] = (uint8_t)blocks};

	return srb(c, 0, cdb, pages * SOFTVM_PAGE, 1);
}

void cycle_reads(struct cycle *c, uint32_t n)
{
	const uint64_t since = softvm_now_ns();

	while (n > 0 && softvm_now_ns() - since < POST_NS) {
		if (read_pages(c, 0, CYCLE_DATA_PAGES)) {
			n--;
			continue;
		}
		cycle_signal(c);
		usleep(20);
	}
	cycle_signal(c);
}

void cycle_long_reads(struct cycle *c, uint32_t n)
{
	while (n-- > 0 && read_pages(c, UNWRITTEN, CYCLE_LONG_PAGES))
		;
}

void cycle_ask(struct cycle *c, uint32_t n)
{
	static const uint8_t test_unit_ready[16];

	while (n-- > 0 && srb(c, 0, test_unit_ready, 0, 0))
		;
}

void cycle_not_ready(struct cycle *c, uint32_t n)
{
	cycle_ask(c, n);
	cycle_signal(c);
}

/* Both lists lie in the first page of the data. */
void cycle_lists(struct cycle *c, uint32_t n, bool select)
{
	static const uint8_t mode[16] = {0x55, 0x10, [8] = 28}, unmap[16] = {0x42, [8] = 8};
	uint8_t *page = c->attack->pool + (CYCLE_POOL - CYCLE_DATA_PAGES) * SOFTVM_PAGE;

	memset(page, 0, 64);
	if (select) {
		page[8] = 0x08;
		page[9] = 0x12;
		page[10] = 0x04;
	} else {
		page[1] = 6;
	}
	while (n-- > 0)
		srb(c, 0, select ? mode : unmap, select ? 28 : 8, 0);
}

void cycle_slow(struct cycle *c)
{
	static const uint8_t write[16] = {0x2a, [8] = 1}, sync[16] = {0x35};
	const uint8_t victim = c->attack->victim;

	if (victim)
		srb(c, victim, write, BLOCK, 0);
	srb(c, victim, sync, 0, 0);
}

/* @bytes in its ring. */
static void put(struct cycle *c, const uint16_t descriptor[4], uint32_t bytes)
{
	struct guestring_half *out = &c->ring.out;
	const uint32_t write = atomic_load(&out->header->write_index) % out->size & ~7u;

	memcpy(out->data + write, descriptor, 4 * sizeof(descriptor[0]));
	atomic_store(&out->header->write_index, (write + bytes) % out->size);
	attack_count(c->attack, ATTACK_DIRECTED);
}

void cycle_bad_packet(struct cycle *c)
{
	put(c, (const uint16_t[4]){GUESTRING_GPA_DIRECT, 0xffff, 0xffff, 1}, 64);
}

void cycle_odd_packet(struct cycle *c)
{
	put(c, (const uint16_t[4]){GUESTRING_TRANSFER_PAGES, 2, 7, 1}, 64);
}

void cycle_break_ring(struct cycle *c)
{
	atomic_store(&c->ring.out.header->write_index, dice_once_in(c->dice, 2) ? 4 : 0x7ffffff8);
	cycle_signal(c);
}

void cycle_make_room(struct cycle *c)
{
	struct guestring_half *in = &c->ring.in;

	atomic_store(&in->header->read_index, atomic_load(&in->header->write_index));
	cycle_signal(c);
}

/* The header that is written meanwhile is a copy. */
void cycle_hold(struct cycle *c)
{
	c->shown = c->ring.out.header;
	atomic_init(&c->held.write_index, atomic_load(&c->shown->write_index));
	atomic_init(&c->held.read_index, atomic_load(&c->shown->read_index));
	atomic_init(&c->held.interrupt_mask, 0);
	atomic_init(&c->held.pending_send_sz, 0);
	c->ring.out.header = &c->held;
}

void cycle_release(struct cycle *c)
{
	atomic_store(&c->shown->write_index, atomic_load(&c->held.write_index));
	c->ring.out.header = c->shown;
	cycle_signal(c);
}

/* ---- opening ---------------------------------------------------------------------- */

bool cycle_link_up(struct cycle *c, bool offers)
{
	const uint32_t version = cycle_seen(BUS_VERSION), all = cycle_seen(BUS_ALL_OFFERS);

	cycle_initiate(c);
	if (!cycle_await(c, BUS_VERSION, version))
		return false;
	if (!offers)
		return true;
	cycle_post(c, BUS_REQUEST_OFFERS, 0, 0);
	if (!cycle_await(c, BUS_ALL_OFFERS, all))
		return false;
	c->relid = atomic_load(&primary_relid);
	return true;
}

bool cycle_open_up(struct cycle *c, bool waits)
{
	const uint32_t opened = cycle_seen(BUS_OPEN_RESULT);

	guestring_init(&c->ring, c->attack->pool + c->first_page * SOFTVM_PAGE, c->half, c->half);
	if (c->room)
		atomic_store(&c->ring.in.header->read_index, c->room);
	cycle_gpadl(c, c->handle, 2 * c->half, 2 * c->half);
	cycle_open(c, c->relid, c->handle);
	return !waits || cycle_await(c, BUS_OPEN_RESULT, opened);
}

bool cycle_ask_subs(struct cycle *c, uint32_t n)
{
	uint32_t offers = cycle_seen(BUS_OFFER);

	for (uint32_t i = 1; i <= CYCLE_SUBS; i++)
		atomic_store(&sub_relid[i], 0);
	cycle_operation(c, VSTOR_SUB_CHANNELS, (uint16_t)n);
	for (uint32_t i = 1; i <= n; offers++) {
		while (i <= n && atomic_load(&sub_relid[i]) != 0)
			i++;
		if (i <= n && !cycle_await_some(BUS_OFFER, offers))
			return false;
	}
	return true;
}

struct cycle cycle_sub(const struct cycle *c, uint32_t n)
{
	static const uint32_t first_page[CYCLE_SUBS + 1] = {0, CYCLE_RINGS, 2 * CYCLE_RINGS,
							    2 * CYCLE_RINGS + CYCLE_RINGS / 2};
	struct cycle sub = *c;

	sub.relid = atomic_load(&sub_relid[n]);
	sub.first_page = first_page[n];
	sub.handle = CYCLE_HANDLE + n;
	sub.room = 0;
	return sub;
}

/* ---- all -------------------------------------------------------------------------- */

int cycle_begin(struct attack *attack)
{
	const struct softvm_handlers handlers = {.message = on_message, .flag = on_flag};
	int error = softvm_attach(&SOFTVM_FDS, &attack->vm);

	if (!error)
		error = softvm_start(attack->vm, &handlers);
	if (!error)
		error = softvm_pages(attack->vm, CYCLE_POOL, attack->pfn);
	if (error)
		return error;
	attack->pool = softvm_view(attack->vm, attack->pfn, CYCLE_POOL);
	return attack->pool ? 0 : -ENOMEM;
}

void cycle_init(struct cycle *c, struct attack *attack, struct dice *dice)
{
	*c = (struct cycle){.attack = attack, .dice = dice, .handle = CYCLE_HANDLE,
			    .half = dice_once_in(dice, 2) ? 2 : 4};
	guestring_init(&c->ring, attack->pool, c->half, c->half);
}
