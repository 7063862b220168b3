/* All machines together: lint, and random lives.
 *
 * A random life raises events of every outside origin with payloads that are
 * partly sound, partly noise, at machines that exist or not; after each turn
 * every predicate holds (the engine checks), effects walk, and now and then
 * the world is saved, restored and goes on. Nothing a guest, a disk or an
 * operator says may end the program. What they did is compared with what they did
 * before (test_digest.h). */
#include "engine/partition/wire.h"
#include "engine/sm_tools.h"
#include "persist/codec.h"
#include "statemachines/bytes.h"
#include "statemachines/partition_codes.h"
#include "statemachines/test_digest.h"
#include "statemachines/test_rows.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#ifdef __has_feature
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { LIVES = 200, TURNS = 4000, PACKED = 8 << 20 };

#define AGREE(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)
AGREE(COMMAND_VP_START, WIRE_CMD_VP_START);
AGREE(COMMAND_RESET, WIRE_CMD_RESET);
AGREE(COMMAND_POWER_OFF, WIRE_CMD_POWER_OFF);
AGREE(COMMAND_SPAWN, WIRE_CMD_SPAWN);
AGREE(COMMAND_KILL, WIRE_CMD_KILL);
AGREE(COMMAND_DISK_DROP, WIRE_CMD_DISK_DROP);
AGREE(FATAL_TRIPLE, FATAL_TRIPLE_FAULT);
AGREE(FATAL_GUEST_ENDED, FATAL_SOFT_GUEST_ENDED);
AGREE(SERVING_FIRST, TAKEOVER_FIRST);
AGREE(SERVING_PLANNED, TAKEOVER_PLANNED);
AGREE(SERVING_DEATH, TAKEOVER_DEATH);
AGREE(OPERATOR_START, OP_START);
AGREE(OPERATOR_SHUTDOWN, OP_SHUTDOWN);
AGREE(OPERATOR_POWER_OFF, OP_POWER_OFF);
AGREE(OPERATOR_RESIZE, OP_RESIZE);
AGREE(OPERATOR_DISK, OP_DISK);

Test(machines, tables_are_sound)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (machines[k])
			cr_assert_eq(sm_lint(machines[k], stderr), 0, "%s", machines[k]->name);
}

Test(machines, effects_have_names)
{
	for (unsigned i = 1; i < EFFECT_CODES; i++)
		cr_assert(effects[i].name && effects[i].code == i && effects[i].rec);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

struct life {
	struct world *world, *spare;
	struct registry registry;
	uint64_t seed, seq;
	uint8_t *packed;
	uint8_t payload[8192];
	uint32_t len;
	uint16_t kind, index, code;
	bool reached[LIMIT_KINDS][LIMIT_STATES];
	bool fresh;                                   /* a state was reached for the first time */
	bool asked[LIMIT_KINDS][LIMIT_STATES];
};

static uint32_t pick(struct life *l, uint32_t n)
{
	return (uint32_t)(next_random(&l->seed) >> 16) % n;
}

static void noise(struct life *l, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		l->payload[l->len + i] = (uint8_t)(pick(l, 3) ? 0 : next_random(&l->seed));
	l->len += bytes;
}

static void set(struct life *l, uint16_t kind, uint16_t index, uint16_t code, const void *fixed,
		size_t len)
{
	l->kind = kind;
	l->index = index;
	l->code = code;
	memcpy(l->payload, fixed, len);
	l->len = (uint32_t)len;
}

/* A controller, the three components, its first sub-channel. */
static uint16_t some_relid(struct life *l)
{
	static const uint8_t relids[] = { 1, 1, 1, 2, 3, 4, 5 };

	return relids[pick(l, ARRAY_LEN(relids))];
}

/* What a guest would post next; contact, unload and the like come by chance. */
static uint32_t likely_message(struct life *l)
{
	const struct vmbus *b = world_at(l->world, KIND_vmbus, 0);

	if (b->sm.state == vmbus_DISCONNECTED)
		return 14;
	if (b->sm.state == vmbus_CONNECTED)
		return 3;
	if (pick(l, 60) == 0)
		return 7;
	return (uint32_t[]){ 8, 5, 5, 9, 11, 13, 22, 13 }[pick(l, 8)];
}

/* A message of the guest, its words small numbers or known ones. */
static void make_message(struct life *l)
{
	static const uint8_t types[] = { 3, 5, 5, 7, 8, 8, 9, 11, 13, 14, 16, 22 };
	static const uint32_t words[] = { 0, 1, 1, 1, 2, 2, 3, 4, 0xe1e10, 0xe1e10, 0xe1e11,
					  0x50003,
					  8 << 12 };
	struct rec_posted p = { .connection_id = 1, .message_type = 1 };
	uint32_t type = types[pick(l, ARRAY_LEN(types))];
	uint8_t *m = l->payload + sizeof(p);

	if (pick(l, 40))
		type = likely_message(l);
	set(l, KIND_vmbus, 0, vmbus_EV_POSTED, &p, sizeof(p));
	l->len += type == 8 ? 28 + 8 * 8 : type == 5 ? 148 : 40;
	memset(m, 0, l->len - sizeof(p));
	for (uint32_t i = 2; i < 7; i++)
		put_le32(m + 4 * i, words[pick(l, ARRAY_LEN(words))]);
	put_le32(m, type);
	if (type == 14)
		put_le32(m + 8, 0x50003 + (pick(l, 8) == 0)), put_le32(m + 12, 0);
	if (type == 11 && pick(l, 4))
		put_le32(m + 12, 0xe1e20);
	if (type == 8 && pick(l, 6)) {
		put_le32(m + 8, some_relid(l));
		put_le32(m + 12, 0xe1e0f + get_le32(m + 8));
		put_le16(m + 16, 8 + 8 * 8);
		put_le16(m + 18, 1);
		put_le32(m + 20, 8 * 4096);
		put_le32(m + 24, 0);
	}
	if (type == 5 && pick(l, 6)) {
		put_le32(m + 8, some_relid(l));
		put_le32(m + 16, 0xe1e0f + get_le32(m + 8));
		put_le32(m + 20, 0);
		put_le32(m + 24, 4);
	}
}

/* A packet at the cursor: a handshake step, an SRB, or noise. */
static void make_packet(struct life *l, uint16_t relid)
{
	static const uint8_t ops[] = { 3, 3, 3, 3, 3, 3, 6, 7, 8, 9, 10, 13, 200 };
	static const uint8_t opcodes[] = { 0x28, 0x2a, 0x28, 0x2a, 0x12, 0x25, 0x9e, 0xa0, 0x35,
					   0x42,
					   0x93, 0x1a, 0, 0x85 };
	const struct channel *c = world_at(l->world, KIND_channel, relid);
	const struct storvsp *v = world_at(l->world, KIND_storvsp, 0);
	struct rec_packet r = { .position = c->in_position };
	uint32_t pages = pick(l, 6), offset = pages ? 32 + pages * 8 : 16;
	uint8_t *p = l->payload + sizeof(r), *q = p + offset;

	memset(p, 0, 512);
	put_le16(p, pages ? 9 : 6);
	put_le16(p + 2, (uint16_t)(offset / 8));
	put_le16(p + 4, (uint16_t)((offset + 64) / 8));
	put_le16(p + 6, pick(l, 8) != 0);
	put_le64(p + 8, l->seq);
	if (pages) {
		put_le32(p + 20, 1);
		put_le32(p + 24, pages * 4096);
	}
	q[0] = ops[pick(l, ARRAY_LEN(ops))];
	if (v->sm.state != storvsp_READY && pick(l, 3))
		q[0] = (uint8_t[]){ 3, 3, 3, 7, 9, 10, 8, 3, 3, 3 }[v->sm.state % 10];
	if (q[0] == 9)
		put_le16(q + 12, 0x0602);
	if (q[0] == 13)
		put_le16(q + 12, 2);
	if (q[0] == 3) {
		q[19] = pick(l, 4) ? 0 : (uint8_t)pick(l, 3);
		q[20] = 16;
		put_le32(q + 24, pages * 4096);
		q[28] = opcodes[pick(l, ARRAY_LEN(opcodes))];
		q[28 + 5] = (uint8_t)pick(l, 256);
		q[28 + 8] = (uint8_t)pick(l, 40);
		q[28 + 13] = (uint8_t)pick(l, 40);
		q[28 + 1] = q[28] == 0x9e ? 0x10 : (uint8_t)(pick(l, 4) ? 0 : pick(l, 32));
	}
	r.next = r.position + offset + 64 + 8;
	if (pick(l, 50) == 0)
		p[pick(l, 48)] ^= (uint8_t)next_random(&l->seed);
	set(l, KIND_channel, relid, channel_EV_PACKET, &r, sizeof(r));
	l->len += offset + 64;
}

/* What the component of a channel waits for, and other things. */
static void make_answer(struct life *l, uint16_t kind, uint8_t *m)
{
	const struct heartbeat_ic *h = world_at(l->world, KIND_heartbeat_ic, 0);
	const struct shutdown_ic *s = world_at(l->world, KIND_shutdown_ic, 0);
	const struct timesync_ic *t = world_at(l->world, KIND_timesync_ic, 0);
	uint16_t state = kind == KIND_heartbeat_ic  ? h->sm.state
			 : kind == KIND_shutdown_ic ? s->sm.state
						    : t->sm.state;
	bool agrees = pick(l, 6) != 0;

	put_le32(m, 1);
	put_le32(m + 4, 44);
	m[25] = pick(l, 9) ? 5 : 3;
	if (kind == KIND_heartbeat_ic) {
		m[12] = IC_HEARTBEAT;
		m[24] = h->transaction;
		put_le64(m + 28, h->sequence + (pick(l, 5) != 0));
	} else {
		m[12] = kind == KIND_shutdown_ic ? IC_SHUTDOWN : IC_TIMESYNC;
		m[24] = kind == KIND_shutdown_ic ? s->transaction : t->transaction;
		m[20] = pick(l, 4) == 0;
	}
	if (state == heartbeat_ic_NEGOTIATING) {
		m[12] = IC_NEGOTIATE;
		m[28] = m[30] = agrees;
		m[36] = 3;
		m[40] = 3;
	}
}

_Static_assert((int)heartbeat_ic_NEGOTIATING == shutdown_ic_NEGOTIATING &&
	       (int)heartbeat_ic_NEGOTIATING == timesync_ic_NEGOTIATING, "one test for three");

static void make_component_packet(struct life *l, uint16_t relid)
{
	const struct channel *c = world_at(l->world, KIND_channel, relid);
	struct rec_packet r = { .position = c->in_position };
	uint8_t *p = l->payload + sizeof(r);

	memset(p, 0, 72);
	put_le16(p, pick(l, 30) ? 6 : 11);
	put_le16(p + 2, 2);
	put_le16(p + 4, 9);
	make_answer(l, c->device_kind, p + RING_DESCRIPTOR);
	if (pick(l, 30) == 0)
		p[16 + pick(l, 56)] ^= (uint8_t)next_random(&l->seed);
	r.next = r.position + 72 + 8;
	set(l, KIND_channel, relid, channel_EV_PACKET, &r, sizeof(r));
	l->len += 72;
}

/* A deadline has passed, or an operator asks the guest to shut down. */
static void make_timer(struct life *l)
{
	const struct heartbeat_ic *h = world_at(l->world, KIND_heartbeat_ic, 0);
	const struct shutdown_ic *s = world_at(l->world, KIND_shutdown_ic, 0);
	const struct timesync_ic *t = world_at(l->world, KIND_timesync_ic, 0);
	struct rec_operator please = { .op = OPERATOR_SHUTDOWN, .token = 1 };
	struct rec_deadline d = { .deadline_ns = h->deadline_ns };

	switch (pick(l, 4)) {
	case 0:
		set(l, KIND_heartbeat_ic, 0, heartbeat_ic_EV_TIMER, &d, sizeof(d));
		break;
	case 1:
		d.deadline_ns = s->deadline_ns;
		set(l, KIND_shutdown_ic, 0, shutdown_ic_EV_TIMER, &d, sizeof(d));
		break;
	case 2:
		d.deadline_ns = t->deadline_ns;
		set(l, KIND_timesync_ic, 0, timesync_ic_EV_TIMER, &d, sizeof(d));
		break;
	default:
		set(l, KIND_vtl, 0, vtl_EV_SHUTDOWN, &please, sizeof(please));
		break;
	}
}

static void make_completion(struct life *l)
{
	static const int32_t results[] = { 0, 512, 4096, 8192, 1 << 20, 1 << 20, 1 << 20, -4, -125,
					   -14, -5, -28, 100 };
	uint16_t slot = (uint16_t)pick(l, 12);
	const struct scsi *q = world_at(l->world, KIND_scsi, slot);
	struct rec_disk_done d = { .result = (uint32_t)results[pick(l, ARRAY_LEN(results))] };
	struct rec_fetched f = { .status = pick(l, 9) == 0 };

	if (q)
		d.generation = q->generation + (pick(l, 20) == 0);
	if (q && q->sm.state == scsi_FETCHING) {
		set(l, KIND_scsi, slot, scsi_EV_FETCHED, &f, sizeof(f));
		noise(l, pick(l, 1200));
		return;
	}
	set(l, KIND_scsi, slot, scsi_EV_DISK_DONE, &d, sizeof(d));
}

static void make_ring_answer(struct life *l, uint16_t relid)
{
	const struct channel *c = world_at(l->world, KIND_channel, relid);
	struct rec_ring_mapped m = { .status = pick(l, 9) == 0, .in_size = 4096, .out_size = 4096 };
	struct rec_ring_space s = { .read_index = pick(l, 8) ? 0 : pick(l, 520) * 8 };

	if (!c)
		return;
	m.generation = c->map_generation;
	if (c->out_size && pick(l, 30))
		s.read_index = (uint32_t)(c->out_position % c->out_size);
	if (c->sm.state == channel_MAPPING)
		set(l, KIND_channel, relid, channel_EV_MAPPED, &m, sizeof(m));
	else
		set(l, KIND_channel, relid, channel_EV_SPACE, &s, sizeof(s));
}

/* Any event of an outside origin, all noise. */
static void make_noise(struct life *l)
{
	const struct sm_desc *d;
	const struct sm_event_desc *e;

	do {
		d = machines[1 + pick(l, KIND_timesync_ic)];
		e = &d->events[pick(l, d->n_events)];
	} while (e->origin == SM_SELF);
	l->kind = d->kind;
	l->index = (uint16_t)pick(l, d->capacity < 4u ? d->capacity : 4u);
	l->code = e->code;
	l->len = 0;
	noise(l, e->rec->size);
	if (e->rec->tail != REC_NO_TAIL)
		noise(l, pick(l, 300));
}

static void make_servicing(struct life *l)
{
	const struct servicing *v = world_at(l->world, KIND_servicing, 0);
	uint32_t other = pick(l, 4) ? v->successor + v->predecessor - 1 : pick(l, 4);
	struct rec_serving s = { .reason = 1 + pick(l, 4), .slot = other };
	struct rec_successor n = { .slot = other };
	struct rec_operator op = { .token = 1, .value = pick(l, 3) };

	if (v->sm.state == servicing_FLIPPING && pick(l, 3))
		s.reason = 2;
	switch (pick(l, 8)) {
	case 0:
		set(l, KIND_servicing, 0, servicing_EV_SERVING, &s, sizeof(s));
		break;
	case 1:
		set(l, KIND_servicing, 0, servicing_EV_SUCCESSOR_GONE, &n, sizeof(n));
		break;
	case 2: case 3: case 4:
		set(l, KIND_servicing, 0, servicing_EV_SUCCESSOR_READY, &n, sizeof(n));
		break;
	case 5:
		set(l, KIND_servicing, 0, servicing_EV_ROLLBACK, &op, sizeof(op));
		break;
	case 6:
		set(l, KIND_servicing, 0, servicing_EV_COMMIT, &op, sizeof(op));
		break;
	default:
		set(l, KIND_servicing, 0, servicing_EV_SERVICE, &op, sizeof(op));
		break;
	}
}

static void make_platform(struct life *l)
{
	struct rec_in_force f = { .generation = l->seq };
	struct rec_command_done d = { .op = 1 + pick(l, 5), .value = pick(l, 4) };
	struct rec_guest_loaded g = { .status = pick(l, 50) == 0 };
	struct rec_exit_pio p = { .port = 0x604, .size = 1, .value = 1 };
	struct rec_exit_msr m = { .msr = 0x40000000 + pick(l, 0x120), .value = pick(l, 9) == 0 };

	switch (pick(l, 8)) {
	case 0:
		set(l, KIND_vtl, 0, vtl_EV_LOADED, &g, sizeof(g));
		break;
	case 1:
		set(l, KIND_vtl, 0, vtl_EV_COMMAND_DONE, &d, sizeof(d));
		break;
	case 2:
		if (pick(l, 60) == 0)
			set(l, KIND_vp, 0, vp_EV_PIO, &p, sizeof(p));
		break;
	case 3:
		make_servicing(l);
		break;
	case 4:
		d.op = 4;
		d.id = ((const struct servicing *)world_at(l->world, KIND_servicing, 0))->spawn_seq
		       << 12;
		set(l, KIND_servicing, 0, servicing_EV_COMMAND_DONE, &d, sizeof(d));
		break;
	case 5:
		set(l, KIND_vp, (uint16_t)pick(l, 2), vp_EV_MSR_WRITE, &m, sizeof(m));
		break;
	default:
		set(l, KIND_vtl, 0, vtl_EV_IN_FORCE, &f, sizeof(f));
		break;
	}
}

/* Disks come, go, grow; media change; now and then a whole controller goes. */
static void make_operator(struct life *l)
{
	static const uint16_t codes[] = { disk_EV_RESIZE, disk_EV_REMOVE, disk_EV_EJECT };
	uint32_t lun = pick(l, 3);
	struct rec_operator o = { .arg = lun, .value = 512ull * (4096 + pick(l, 4096)),
				  .token = pick(l, 2) };
	struct rec_disk_config d = { .blocks = 1024 + pick(l, 3), .block_bytes = 512, .fd = 9,
				     .lun = (uint16_t)lun, .token = pick(l, 2) };

	if (lun == 2) {
		d.block_bytes = DISK_OPTICAL_BLOCK;
		d.flags = DISK_OPTICAL | DISK_READ_ONLY;
		o.value = pick(l, 2);
	}
	if (pick(l, 40) == 0)
		set(l, KIND_storvsp, 0, storvsp_EV_REMOVE, &o, sizeof(o));
	else if (pick(l, 2))
		set(l, KIND_disk, 0, lun == 2 && pick(l, 3) ? disk_EV_INSERT : disk_EV_ADD, &d,
		    sizeof(d));
	else
		set(l, KIND_disk, 0, codes[lun == 2 && pick(l, 3) ? 2 : pick(l, 3)], &o, sizeof(o));
}

static void make_event(struct life *l)
{
	uint16_t relid = some_relid(l);
	const struct channel *c = world_at(l->world, KIND_channel, relid);
	struct rec_in_force f = { .generation = l->seq };

	set(l, KIND_vtl, 0, vtl_EV_IN_FORCE, &f, sizeof(f));
	switch (pick(l, 14)) {
	case 13:
		if (pick(l, 20) == 0)
			make_operator(l);
		break;
	case 12:
		make_timer(l);
		break;
	case 0: case 1: case 2:
		make_message(l);
		break;
	case 3: case 4: case 5: case 6:
		if (c && c->device_kind == KIND_storvsp)
			make_packet(l, relid);
		else if (c)
			make_component_packet(l, relid);
		break;
	case 7: case 8:
		make_completion(l);
		break;
	case 9:
		if (c && (c->sm.state == channel_MAPPING || c->polling || pick(l, 100) == 0))
			make_ring_answer(l, relid);
		break;
	case 10:
		make_platform(l);
		break;
	default:
		if (pick(l, 60) == 0)
			make_noise(l);
		break;
	}
}

static void on_step(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		    const struct sm_row *row)
{
	struct life *l = user;

	digest_step(cx, from, row);
	if (!row)
		return;
	rows_taken(cx->desc, row);
	l->fresh |= !l->reached[cx->desc->kind][to];
	l->reached[cx->desc->kind][to] = true;
}

static void live(struct life *l)
{
	struct event ev = { .seq = ++l->seq, .time_ns = l->seq, .epoch = 1, .kind = l->kind,
			    .index = l->index, .code = l->code, .payload = l->payload,
			    .len = l->len };
	struct effect e;
	struct turn t;
	uint32_t at = 0, n = 0;
	bool bad;

	world_watch_set(l->world, on_step, l);
	t = world_turn(l->world, &ev);
	while (effect_next(&l->registry, t.effects, t.bytes, ev.seq, &at, &n, &e, &bad))
		digest_effect(&e);
	cr_assert_not(bad);
	cr_assert_eq(n, t.n_effects);
}

static void restore(struct life *l)
{
	struct world *w = l->spare;
	char why[CODEC_WHY] = "";
	size_t len;

	cr_assert_eq(codec_pack(l->world, l->packed, PACKED, &len), 0);
	world_reset(w, (uint8_t)next_random(&l->seed));
	cr_assert_eq(codec_unpack(w, l->packed, len, why), 0, "%s", why);
	l->spare = l->world;
	l->world = w;
}

/* ---- events that no row is for --------------------------------------------- */

static bool has_row(const struct sm_desc *d, uint16_t state, uint16_t event)
{
	for (unsigned i = 0; i < d->n_rows; i++)
		if (d->rows[i].from == state && d->rows[i].on == event)
			return true;
	return false;
}

/* In a copy of the world: the instance stays as it is, but for what is put off,
 * and asks for nothing; who rejects may answer. */
static void ask(struct life *l, const struct sm_desc *d, uint16_t index,
		const struct sm_event_desc *e, size_t packed)
{
	static const uint8_t zeros[4096];
	static uint8_t before[4096];
	struct event ev = { .seq = l->seq + 1, .time_ns = l->seq + 1, .epoch = 1, .kind = d->kind,
			    .index = index, .code = e->code, .payload = zeros,
			    .len = e->rec->size };
	const struct sm_head *h;
	struct sm_head was;
	char why[CODEC_WHY] = "";
	enum sm_policy policy;
	struct turn t;

	world_reset(l->spare, 0x5a);
	cr_assert_eq(codec_unpack(l->spare, l->packed, packed, why), 0, "%s", why);
	world_lane(l->spare)->level = l->registry.max_level;
	h = world_at(l->spare, d->kind, index);
	policy = sm_state_find(d, h->state)->otherwise;
	if (policy == SM_BUG)
		return;
	was = *h;
	cr_assert_leq(d->size, sizeof(before));
	memcpy(before, h, d->size);
	t = world_turn(l->spare, &ev);
	cr_assert(h->state == was.state && h->generation == was.generation, "%s: %s", d->name,
		  e->name);
	cr_assert(memcmp(before + sizeof(was), h + 1, d->size - sizeof(was)) == 0, "%s: %s", d->name,
		  e->name);
	cr_assert((was.deferred != h->deferred) == (policy == SM_DEFER), "%s: %s", d->name, e->name);
	cr_assert(t.n_effects == 0 || policy == SM_REJECT, "%s: %s", d->name, e->name);
}

/* Every machine that is in a state nobody was asked in before. */
static void ask_all(struct life *l)
{
	size_t len;

	l->fresh = false;
	cr_assert_eq(codec_pack(l->world, l->packed, PACKED, &len), 0);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = machines[k];

		for (uint16_t i = 0; d && i < d->capacity; i++) {
			const struct sm_head *h = world_at(l->world, (uint16_t)k, i);

			if (!h || l->asked[k][h->state])
				continue;
			l->asked[k][h->state] = true;
			rows_keep((uint16_t)k, i, h->state, l->packed, len);
			digest_predicate(d, sm_state_find(d, h->state), h);
			for (unsigned n = 0; n < d->n_events; n++)
				if (!has_row(d, h->state, d->events[n].code))
					ask(l, d, i, &d->events[n], len);
		}
	}
}

/* One completion for whatever waits for the outside in @slot; false: nothing. */
static bool settle(struct life *l, uint16_t slot)
{
	const struct scsi *q = world_at(l->world, KIND_scsi, slot);
	struct rec_disk_done d = { .result = 1 << 20 };
	struct rec_fetched f = { .status = 14 };

	if (q && q->sm.state == scsi_SUBMITTED) {
		d.generation = q->generation;
		set(l, KIND_scsi, slot, scsi_EV_DISK_DONE, &d, sizeof(d));
	} else if (q && q->sm.state == scsi_FETCHING) {
		set(l, KIND_scsi, slot, scsi_EV_FETCHED, &f, sizeof(f));
	} else {
		return false;
	}
	live(l);
	return true;
}

/* However a life went: the guest unloads, the disks answer, and then nothing is
 * left in flight, no page is lent, and the bus has answered. */
static void end(struct life *l)
{
	struct rec_posted p = { .connection_id = 1, .message_type = 1 };
	const struct vmbus *b;

	set(l, KIND_vmbus, 0, vmbus_EV_POSTED, &p, sizeof(p));
	put_le64(l->payload + sizeof(p), VMBUS_UNLOAD);
	l->len += 8;
	live(l);
	for (uint16_t slot = 0; slot < LIMIT_REQUESTS; slot++)
		while (settle(l, slot))
			;
	b = world_at(l->world, KIND_vmbus, 0);
	cr_assert_eq(b->sm.state, vmbus_DISCONNECTED, "seed %lx: %u still wait", l->seed, b->waiting);
	cr_assert_eq(world_live(l->world, KIND_scsi), 0, "seed %lx", l->seed);
	cr_assert_eq(world_live(l->world, KIND_gpadl), 0, "seed %lx", l->seed);
	for (uint16_t i = 0; i < LIMIT_CHANNELS; i++) {
		const struct channel *c = world_at(l->world, KIND_channel, i);

		cr_assert(!c || c->sm.state == channel_BLANK || c->sm.state == channel_UNOFFERED);
	}
	for (uint16_t i = 0; i < CAPACITY_storvsp; i++) {
		const struct storvsp *v = world_at(l->world, KIND_storvsp, i);

		if (!v)
			continue;
		cr_assert(v->outstanding == 0 && v->orphans == 0 && !v->reset_held);
		cr_assert_eq(v->leaving, 0);
		for (unsigned lun = 0; lun < ARRAY_LEN(v->out); lun++)
			cr_assert_eq(v->out[lun], 0);
	}
	for (uint16_t i = 0; i < CAPACITY_disk; i++) {
		const struct disk *d = world_at(l->world, KIND_disk, i);

		cr_assert(d->sm.state == disk_EMPTY || d->sm.state == disk_PRESENT);
	}
}

/* A configured guest, so that the random part does not begin at the very start. */
static void begin(struct life *l)
{
	struct rec_config c = { .memory_bytes = 1 << 29, .low_bytes = 1 << 29, .vps = 3,
				.backend = 1, .tsc_hz = 2000000000 };
	struct rec_operator start = { .op = 3 };
	struct rec_guest_loaded loaded = { 0 };
	struct rec_command_done done = { .op = 1 };

	set(l, KIND_vtl, 0, vtl_EV_CONFIG, &c, sizeof(c));
	live(l);
	ask_all(l);
	for (uint16_t lun = 0; lun < 3; lun++) {
		struct rec_disk_config d = { .blocks = 8192, .block_bytes = 512, .lun = lun };

		if (lun == 2) {
			d.block_bytes = DISK_OPTICAL_BLOCK;
			d.flags = DISK_OPTICAL | DISK_READ_ONLY;
		}

		set(l, KIND_disk, lun, disk_EV_CONFIG, &d, sizeof(d));
		live(l);
	}
	set(l, KIND_vtl, 0, vtl_EV_START, &start, sizeof(start));
	live(l);
	set(l, KIND_vtl, 0, vtl_EV_LOADED, &loaded, sizeof(loaded));
	live(l);
	set(l, KIND_vtl, 0, vtl_EV_COMMAND_DONE, &done, sizeof(done));
	live(l);
}

Test(machines, random_lives, .timeout = 300)
{
	static struct life l;
	uint64_t turns = 0;

	l.registry = (struct registry){ .machines = machines, .effects = effects,
					.n_effects = EFFECT_CODES,
					.max_level = MACHINES_LEVEL };
	l.packed = malloc(PACKED);
	for (unsigned n = 0; n < LIVES; n++) {
		l.world = world_new(&l.registry);
		l.spare = world_new(&l.registry);
		cr_assert(l.world && l.spare && l.packed);
		machines_spawn_fixed(l.world);
		l.seq = 0;
		l.seed = 0x9e3779b97f4a7c15u * (n + 1);
		ask_all(&l);
		begin(&l);
		/* A build of a newer level lives at it, too. */
		world_lane(l.world)->level = 1 + n % l.registry.max_level;
		for (unsigned i = 0; i < TURNS; i++) {
			const struct vtl *v = world_at(l.world, KIND_vtl, 0);

			if (v->sm.state == vtl_POWERED_OFF)
				break;
			make_event(&l);
			live(&l);
			if (l.fresh)
				ask_all(&l);
			if (pick(&l, 500) == 0)
				restore(&l);
		}
		end(&l);
		turns += l.seq;
		world_free(l.world);
		world_free(l.spare);
	}
	cr_log_info("%lu turns", (unsigned long)turns);
	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		for (unsigned i = 0; machines[k] && i < machines[k]->n_states; i++)
			cr_assert(i == 0 || l.reached[k][machines[k]->states[i].code] ||
				  machines[k]->states[i].since > 1,
				  "%s: %s was never reached", machines[k]->name,
				  machines[k]->states[i].name);
	digest_compare();
	/* Each draw is a process: under sanitizers that takes minutes. */
	if (!SANITIZED)
		cr_assert_eq(answers_try(), 0);
	/* Who counts what is taken (tests/coverage) wants all of it. */
	if (getenv("HOLDFAST_COVERAGE"))
		cr_log_info("%u rows are left for stories", rows_try());
	free(l.packed);
}
