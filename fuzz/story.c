/* See story.h. Two disks, eight processors, a ring of 16 pages. */
#include "fuzz/story.h"

#include "engine/fact.h"
#include "fuzz/shapes.h"
#include "statemachines/bytes.h"
#include "statemachines/channel.h"
#include "statemachines/disk.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"
#include "statemachines/storvsp.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vstor.h"
#include "statemachines/vtl.h"

enum { RING_PAGES = 16, PFN = 0x100, GPADL = 1, ANSWERS_MAX = 64 };

struct story {
	struct answers *answers;
	const struct world *w;
	uint8_t *payload;
	void *user;
};

static void turn(struct story *s, uint16_t kind, uint16_t index, uint16_t code, uint32_t len)
{
	struct event ev = { .time_ns = 1000, .kind = kind, .index = index, .code = code,
			    .payload = s->payload, .len = len };

	story_turn(s->user, &ev);
	for (unsigned n = 0; s->answers->n && n < ANSWERS_MAX; n++) {
		ev = (struct event){ .time_ns = 1000 };
		answers_event(s->answers, 0, s->w, NULL, &ev, s->payload);
		answers_drop(s->answers, 0);
		story_turn(s->user, &ev);
	}
}

static void configure(struct story *s)
{
	struct rec_config c = { .memory_bytes = 64 << 20, .low_bytes = 64 << 20,
				.tsc_hz = 1000000000, .apic_hz = 1000000000, .vps = 8,
				.backend = 2 };

	memcpy(s->payload, &c, sizeof(c));
	turn(s, KIND_vtl, 0, vtl_EV_CONFIG, sizeof(c));
}

static void attach(struct story *s, uint16_t n)
{
	struct rec_disk_config d = { .blocks = 4096, .block_bytes = 512, .flags = n ? 1 : 0 };

	d.lun = (uint8_t)n;
	d.fd = (uint16_t)(8 + n);
	memcpy(s->payload, &d, sizeof(d));
	turn(s, KIND_disk, n, disk_EV_CONFIG, sizeof(d));
}

static void attach_first(struct story *s)
{
	attach(s, 0);
}

static void attach_second(struct story *s)
{
	attach(s, 1);
}

static void start(struct story *s)
{
	struct rec_operator o = { .token = 1 };

	memcpy(s->payload, &o, sizeof(o));
	turn(s, KIND_vtl, 0, vtl_EV_START, sizeof(o));
}

static void post(struct story *s, uint32_t type, const uint32_t *words, uint32_t n)
{
	struct rec_posted p = { .connection_id = 4, .message_type = 1 };
	uint8_t *m = s->payload + sizeof(p);

	memset(s->payload, 0, sizeof(p) + LIMIT_MESSAGE);
	memcpy(s->payload, &p, sizeof(p));
	put_le32(m, type);
	for (uint32_t i = 0; i < n; i++)
		put_le32(m + 8 + (size_t)i * 4, words[i]);
	turn(s, KIND_vmbus, 0, vmbus_EV_POSTED, (uint32_t)sizeof(p) + LIMIT_MESSAGE);
}

static void contact(struct story *s)
{
	post(s, VMBUS_CONTACT, (const uint32_t[]){ VMBUS_V5_3 }, 1);
}

static void request_offers(struct story *s)
{
	post(s, VMBUS_REQUEST_OFFERS, NULL, 0);
}

static void give_pages(struct story *s, uint32_t relid)
{
	uint32_t words[5 + 2 * RING_PAGES] = {
		relid, GPADL + relid, (8 + RING_PAGES * 8) | 1 << 16, RING_PAGES * 4096, 0,
	};

	for (uint32_t i = 0; i < RING_PAGES; i++)
		words[5 + 2 * i] = PFN + i;
	post(s, VMBUS_GPADL_HEADER, words, ARRAY_LEN(words));
	post(s, VMBUS_OPEN, (const uint32_t[]){ relid, 7, GPADL + relid, 0, RING_PAGES / 2 }, 5);
}

/* The controller's primary channel; 0 while there is none. */
static uint16_t primary(const struct story *s)
{
	const struct storvsp *c = world_at(s->w, KIND_storvsp, 0);

	return c ? c->channel : 0;
}

static void open_primary(struct story *s)
{
	give_pages(s, primary(s));
}

static void open_sub(struct story *s)
{
	const struct storvsp *c = world_at(s->w, KIND_storvsp, 0);

	give_pages(s, c->sub[0]);
}

/* Whatever is offered. */
static void open_others(struct story *s)
{
	for (uint16_t i = 1; i < CAPACITY_channel; i++) {
		const struct channel *c = world_at(s->w, KIND_channel, i);

		if (c && c->sm.state == channel_OFFERED)
			give_pages(s, i);
	}
}

static void packet(struct story *s, uint16_t channel, uint32_t op, uint8_t opcode)
{
	static const uint8_t bytes[64] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
	const struct channel *c = world_at(s->w, KIND_channel, channel);
	struct feed f = { bytes, sizeof(bytes) };
	struct rec_packet p = { .position = c ? c->in_position : 0 };
	uint32_t len = shape_vstor(&f, op, opcode, s->payload + sizeof(p));

	p.next = p.position + len + 8;
	memcpy(s->payload, &p, sizeof(p));
	turn(s, KIND_channel, channel, channel_EV_PACKET, (uint32_t)sizeof(p) + len);
}

static void begin(struct story *s)
{
	packet(s, primary(s), VSTOR_BEGIN, 0);
}

static void agree(struct story *s)
{
	packet(s, primary(s), VSTOR_QUERY_VERSION, 0);
	packet(s, primary(s), VSTOR_QUERY_PROPERTIES, 0);
	packet(s, primary(s), VSTOR_END, 0);
}

static void ask_sub(struct story *s)
{
	packet(s, primary(s), VSTOR_CREATE_SUBCHANNELS, 0);
}

static void read_once(struct story *s)
{
	packet(s, primary(s), VSTOR_EXECUTE_SRB, 0x28);
}

static void (*const step[])(struct story *) = {
	configure, attach_first, attach_second, start, contact, request_offers, open_primary,
	begin, agree, ask_sub, open_sub, read_once, open_others,
};

unsigned story_steps(void)
{
	return ARRAY_LEN(step);
}

void story_tell(unsigned steps, struct answers *a, const struct world *w, uint8_t *payload,
		void *user)
{
	struct story s = { a, w, payload, user };

	for (unsigned i = 0; i < steps && i < ARRAY_LEN(step); i++)
		step[i](&s);
}

void story_more_channels(unsigned n, struct answers *a, const struct world *w, uint8_t *payload,
			 void *user)
{
	struct story s = { a, w, payload, user };

	while (n--)
		ask_sub(&s);
	open_others(&s);
}

void story_unload(struct answers *a, const struct world *w, uint8_t *payload, void *user)
{
	struct story s = { a, w, payload, user };

	post(&s, VMBUS_UNLOAD, NULL, 0);
}
