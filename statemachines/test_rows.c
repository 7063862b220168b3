/* Taking rows that lives did not take: see test_rows.h. Internal events come from
 * a machine of the test's own, which speaks in the name of any other. */
#include "statemachines/test_rows.h"

#include "persist/codec.h"
#include "statemachines/channel.h"
#include "statemachines/effects.h"
#include "statemachines/heartbeat_ic.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"
#include "statemachines/scsi.h"
#include "statemachines/shutdown_ic.h"
#include "statemachines/timesync_ic.h"
#include "statemachines/variant.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"
#include "tests/child.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROMPTER = LIMIT_KINDS - 1, KEPT = 512, ROWS = 1024, OTHERS = 64, TAIL = 256 };
enum { INSTANCE = 4096 };
enum { DRAWS = 150, TRIES = 16, FROM_OTHERS = 2 };

static bool taken[LIMIT_KINDS][ROWS];
static struct {
	uint16_t kind, index, state;
	uint8_t *bytes;
	size_t len;
} kept[KEPT];
static unsigned n_kept;

/* ---- the prompter ----------------------------------------------------------- */

static struct {
	struct sm_ref from, to;
	uint16_t event;
	_Alignas(8) uint8_t payload[LIMIT_PAYLOAD];
	uint32_t fixed, tail;
} line;

static void say_line(struct sm_cx *cx)
{
	struct sm_ref own = cx->ref;

	cx->ref = line.from;
	sm_post(cx, line.to, line.event, line.payload, line.payload + line.fixed, line.tail);
	cx->ref = own;
}

static const struct sm_state prompter_states[] = {
	{ 1, 1, SM_IGNORE, sm_holds_always, "ON", "speaks" },
};
static const struct sm_event_desc prompter_events[] = {
	{ 1, 1, SM_HOST, &rec_desc_none, "SPEAK", "" },
};
static const struct sm_row prompter_rows[] = {
	{ 1, 1, 1, 1, sm_always, say_line, "sm_always", "say_line" },
};
static const struct sm_desc prompter = {
	.name = "prompter", .doc = "", .kind = PROMPTER, .capacity = 1, .n_states = 1,
	.n_events = 1, .n_rows = 1, .size = sizeof(struct sm_head), .key_offset = -1,
	.states = prompter_states, .events = prompter_events, .rows = prompter_rows,
};
static const struct sm_desc *with_prompter[LIMIT_KINDS];
static struct registry registry;

static struct world *prompted_world(void)
{
	struct world *w;

	memcpy(with_prompter, machines, sizeof(with_prompter));
	cr_assert_null(with_prompter[PROMPTER], "kind %d is in use", PROMPTER);
	with_prompter[PROMPTER] = &prompter;
	registry = (struct registry){ .machines = with_prompter, .effects = effects,
				      .n_effects = EFFECT_CODES, .max_level = MACHINES_LEVEL };
	w = world_new(&registry);
	cr_assert_not_null(w);
	return w;
}

/* In a world without one; the next event of its kind speaks. */
static void place_prompter(struct world *w)
{
	struct sm_head *h = world_place(w, PROMPTER, 0, 1);

	cr_assert_not_null(h);
	h->state = prompter_states[0].code;
}

/* ---- what was taken --------------------------------------------------------- */

void rows_taken(const struct sm_desc *d, const struct sm_row *row)
{
	size_t n = (size_t)(row - d->rows);

	if (n < ROWS)
		taken[d->kind][n] = true;
}

void rows_keep(uint16_t kind, uint16_t index, uint16_t state, const uint8_t *packed, size_t len)
{
	if (n_kept == KEPT)
		return;
	kept[n_kept].kind = kind;
	kept[n_kept].index = index;
	kept[n_kept].state = state;
	kept[n_kept].bytes = malloc(len);
	cr_assert_not_null(kept[n_kept].bytes);
	memcpy(kept[n_kept].bytes, packed, len);
	kept[n_kept++].len = len;
}

/* ---- drawing ----------------------------------------------------------------- */

/* What a draw is for: @row, or in the state @from the answer to @on when no row is
 * taken (then @row is NULL). */
struct aim {
	const struct sm_desc *d;
	uint16_t from;
	const struct sm_event_desc *on;
	const struct sm_row *row;
};

struct draw {
	uint64_t seed;
	struct world *w;
	struct sm_ref self, other[OTHERS];
	unsigned n_others;
	const struct aim *aim;
	unsigned steps;         /* but the prompter's */
	bool hit;
};

static uint32_t pick(struct draw *r, uint32_t n)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return (uint32_t)(r->seed >> 16) % n;
}

static void find_others(struct draw *r)
{
	r->n_others = 0;
	for (uint16_t k = 0; k < PROMPTER; k++)
		for (uint16_t i = 0; machines[k] && i < machines[k]->capacity && i < 8; i++) {
			const struct sm_head *h = world_at(r->w, k, i);

			if (h && r->n_others < OTHERS)
				r->other[r->n_others++] = (struct sm_ref){ k, i, h->generation };
		}
}

static struct sm_ref somebody(struct draw *r)
{
	return r->n_others ? r->other[pick(r, r->n_others)] : r->self;
}

static uint64_t some_field(struct draw *r, struct sm_ref of)
{
	const struct sm_desc *d = machines[of.kind];
	const struct sm_field *f;

	if (d->n_fields == 0)
		return 0;
	f = &d->fields[pick(r, d->n_fields)];
	return f->type == SM_T_blob ? 0 : codec_field(f, world_at(r->w, of.kind, of.index), 0);
}

static uint64_t some_value(struct draw *r)
{
	/* Ports and registers that guards know (protocol A.5, A.9; ACPI 4.8.3). */
	static const uint32_t places[] = { 0x70, 0x71, 0x604, 0x600, 0x600, 0xcf9, 0x64, 0x3f8,
					   0x40000003, 0x40000073, 0x40000105 };

	switch (pick(r, 9)) {
	case 8:
		return places[pick(r, ARRAY_LEN(places))];
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return pick(r, 64);
	case 3:
		return some_field(r, r->self);
	case 4:
		return some_field(r, somebody(r));
	case 5:
		return somebody(r).index;
	case 6:
		return somebody(r).generation;
	default:
		return UINT64_MAX >> pick(r, 64);
	}
}

/* Members of a record by its description; the first draws are all zeros. */
static void some_record(struct draw *r, const struct rec_desc *rec, bool plain)
{
	static const uint8_t width[] = { [REC_U8] = 1, [REC_U16] = 2, [REC_U32] = 4,
					 [REC_U64] = 8 };

	memset(line.payload, 0, rec->size + TAIL);
	line.fixed = rec->size;
	line.tail = rec->tail == REC_NO_TAIL || plain ? 0 : pick(r, TAIL / 8) * 8;
	for (uint32_t i = 0; i < line.tail && pick(r, 4); i++)
		line.payload[rec->size + i] = (uint8_t)pick(r, pick(r, 2) ? 4 : 256);
	for (unsigned i = 0; !plain && i < rec->n_fields; i++)
		for (unsigned n = 0; n < rec->fields[i].count; n++) {
			uint64_t value = some_value(r);
			size_t bytes = width[rec->fields[i].type];

			memcpy(line.payload + rec->fields[i].offset + n * bytes, &value, bytes);
		}
}

/* Another state of the same machine that its predicate allows; false: it does not. */
static bool some_state(struct draw *r)
{
	uint8_t *self = (uint8_t *)(uintptr_t)world_at(r->w, r->self.kind, r->self.index);

	for (unsigned n = pick(r, 4); n > 0 && r->aim->d->n_fields; n--) {
		static const uint8_t width[] = { [SM_T_bool] = 1, [SM_T_u8] = 1, [SM_T_u16] = 2,
						 [SM_T_u32] = 4, [SM_T_u64] = 8, [SM_T_blob] = 0 };
		const struct sm_field *f = &r->aim->d->fields[pick(r, r->aim->d->n_fields)];
		uint64_t value = some_value(r);

		if (f->type == SM_T_bool)
			value &= 1;
		memcpy(self + f->offset, &value, width[f->type]);
	}
	((struct sm_head *)(void *)self)->state = r->aim->from;
	return sm_state_find(r->aim->d, r->aim->from)->holds(self);
}

/* ---- one draw ------------------------------------------------------------------ */

static void on_step(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		    const struct sm_row *row)
{
	struct draw *r = user;

	(void)to;
	r->steps += cx->desc != &prompter;
	if (row == r->aim->row && from == r->aim->from && cx->event == r->aim->on &&
	    cx->ref.index == r->self.index)
		r->hit = true;
}

/* How many effects it had. */
static uint32_t speak(struct draw *r, const struct sm_event_desc *e)
{
	const struct lane_state *l = world_lane_const(r->w);
	struct event ev = { .seq = l->seq + 1, .time_ns = l->time_ns + (UINT64_C(1) << pick(r, 40)),
			    .epoch = l->epoch ? l->epoch : 1, .kind = r->self.kind,
			    .index = r->self.index, .code = e->code, .payload = line.payload,
			    .len = line.fixed + line.tail };
	uint32_t at = 0, n = 0;
	struct effect effect;
	struct turn t;
	bool bad;

	line.to = r->self;
	line.event = e->code;
	line.from = somebody(r);
	if (e->origin == SM_SELF) {
		ev.kind = PROMPTER;
		ev.index = 0;
		ev.code = prompter_events[0].code;
		ev.len = 0;
		place_prompter(r->w);
	}
	t = world_turn(r->w, &ev);
	while (effect_next(&registry, t.effects, t.bytes, ev.seq, &at, &n, &effect, &bad))
		;
	if (bad || n != t.n_effects)
		abort();
	return n;
}

/* Nobody else was stepped, and the instance is as it was: but for what it puts off
 * and, where it rejects, its answer to the sender. */
static bool is_answer(const struct draw *r, const uint8_t *before, uint64_t rejected,
		      uint32_t asked)
{
	const struct sm_head *h = world_at(r->w, r->self.kind, r->self.index);
	const struct sm_head *was = (const void *)before;
	enum sm_policy policy = sm_state_find(r->aim->d, r->aim->from)->otherwise;
	size_t fields = r->aim->d->size - sizeof(*h);

	if (!h || h->state != was->state || h->generation != was->generation ||
	    memcmp(before + sizeof(*h), h + 1, fields) != 0)
		return false;
	if ((h->deferred != was->deferred) != (policy == SM_DEFER) ||
	    world_lane_const(r->w)->rejected != rejected + (policy == SM_REJECT))
		return false;
	return policy == SM_REJECT || (r->steps == 1 && asked == 0);
}

enum drawn { DRAWN_OTHER, DRAWN_HIT, DRAWN_WRONG };

static enum drawn draw(struct world *w, unsigned state, const struct aim *aim, unsigned n)
{
	static uint8_t before[INSTANCE];
	struct draw r = { .seed = 0x9e3779b97f4a7c15u * (n + 1), .w = w, .aim = aim };
	char why[CODEC_WHY];
	uint64_t rejected;
	uint32_t asked;

	world_reset(w, 0);
	if (codec_unpack(w, kept[state].bytes, kept[state].len, why))
		return DRAWN_OTHER;
	world_lane(w)->level = registry.max_level;
	r.self = (struct sm_ref){ aim->d->kind, kept[state].index, 0 };
	find_others(&r);
	some_record(&r, aim->on->rec, n == 0);
	if ((n > 1 || kept[state].state != aim->from) && !some_state(&r))
		return DRAWN_OTHER;
	memcpy(before, world_at(w, r.self.kind, r.self.index), aim->d->size);
	rejected = world_lane_const(w)->rejected;
	world_watch_set(w, on_step, &r);
	asked = speak(&r, aim->on);
	if (!r.hit)
		return DRAWN_OTHER;
	return aim->row || is_answer(&r, before, rejected, asked) ? DRAWN_HIT : DRAWN_WRONG;
}

/* ---- all of them ------------------------------------------------------------------ */

struct progress {
	_Atomic unsigned next;  /* draw that is made, in the child */
	_Atomic bool taken;
	_Atomic bool wrong;
};

/* In a child: draws from @p->next on. It ends when a fact fails. */
static void draw_on(struct world *w, unsigned state, const struct aim *aim, struct progress *p)
{
	const struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	for (unsigned n = p->next; n < DRAWS && !p->taken; n++) {
		enum drawn drawn;

		p->next = n + 1;
		drawn = draw(w, state, aim, n);
		p->taken = drawn != DRAWN_OTHER;
		p->wrong = drawn == DRAWN_WRONG;
	}
	_exit(0);
}

/* From states that were reached; @any: or from others, changed into this one. */
static bool try_states(struct world *w, const struct aim *aim, struct progress *p, bool any)
{
	unsigned states = 0;

	for (unsigned i = 0; i < n_kept && (!any || states < FROM_OTHERS); i++) {
		if (kept[i].kind != aim->d->kind || (kept[i].state != aim->from) != any)
			continue;
		states++;
		p->next = 0;
		p->taken = false;
		for (unsigned n = 0; n < TRIES && p->next < DRAWS && !p->taken; n++) {
			pid_t child = child_fork();
			int status;

			cr_assert_geq(child, 0);
			if (child == 0)
				draw_on(w, i, aim, p);
			cr_assert_eq(waitpid(child, &status, 0), child);
		}
		if (p->taken)
			return true;
	}
	return false;
}

static bool try(struct world *w, const struct aim *aim, struct progress *p)
{
	p->wrong = false;
	return try_states(w, aim, p, false) || try_states(w, aim, p, true);
}

static struct progress *shared(void)
{
	void *p = mmap(NULL, sizeof(struct progress), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

unsigned rows_try(void)
{
	struct progress *p = shared();
	struct world *w = prompted_world();
	unsigned left = 0;

	for (unsigned k = 0; k < PROMPTER; k++) {
		const struct sm_desc *d = machines[k];

		for (unsigned i = 0; d && i < d->n_rows && i < ROWS; i++) {
			const struct sm_row *row = &d->rows[i];
			const struct aim aim = { d, row->from, sm_event_find(d, row->on), row };

			if (taken[k][i] || row->since > registry.max_level || try(w, &aim, p))
				continue;
			left++;
			fprintf(stderr, "rows: %s %s on %s [%s] / %s: not taken\n", d->name,
				sm_state_find(d, row->from)->name, sm_event_find(d, row->on)->name,
				row->guard_name, row->act_name);
		}
	}
	world_free(w);
	munmap(p, sizeof(*p));
	return left;
}

/* No row of @s is for @e whatever comes. */
static bool may_answer(const struct sm_desc *d, const struct sm_state *s,
		       const struct sm_event_desc *e)
{
	for (unsigned i = 0; i < d->n_rows; i++)
		if (d->rows[i].from == s->code && d->rows[i].on == e->code &&
		    d->rows[i].guard == sm_always)
			return false;
	return s->otherwise != SM_BUG;
}

/* What draws do not hit, because it takes one number of many or a world that is full:
 * answers with a test of their own, here or among the stories. */
static bool has_own_test(const struct aim *aim)
{
	switch (aim->d->kind) {
	case KIND_scsi: /* story quarantine_disk */
		return aim->from == scsi_SUBMITTED && aim->on->code == scsi_EV_QUARANTINE;
	case KIND_shutdown_ic: /* a_component_without_a_channel_waits */
		return aim->from == shutdown_ic_EMPTY && aim->on->code == shutdown_ic_EV_OFFER;
	case KIND_heartbeat_ic:
		return aim->from == heartbeat_ic_EMPTY && aim->on->code == heartbeat_ic_EV_OFFER;
	case KIND_timesync_ic:
		return aim->from == timesync_ic_EMPTY && aim->on->code == timesync_ic_EV_OFFER;
	default:
		return false;
	}
}

static unsigned try_answers(struct world *w, const struct sm_desc *d, const struct sm_state *s,
			    struct progress *p)
{
	unsigned left = 0;

	for (unsigned i = 0; i < d->n_events; i++) {
		const struct aim aim = { d, s->code, &d->events[i], NULL };

		if (!may_answer(d, s, aim.on) || has_own_test(&aim) ||
		    (try(w, &aim, p) && !p->wrong))
			continue;
		left++;
		fprintf(stderr, "answers: %s %s to %s: %s\n", d->name, s->name, aim.on->name,
			p->wrong ? "it changes something" : "not taken");
	}
	return left;
}

unsigned answers_try(void)
{
	struct progress *p = shared();
	struct world *w = prompted_world();
	unsigned left = 0;

	for (unsigned k = 0; k < PROMPTER; k++)
		for (unsigned i = 0; machines[k] && i < machines[k]->n_states; i++)
			left += try_answers(w, machines[k], &machines[k]->states[i], p);
	world_free(w);
	munmap(p, sizeof(*p));
	return left;
}

/* All relids are in use: nobody is offered, and nothing is remembered of it. */
Test(rows, a_component_without_a_channel_waits)
{
	static const struct {
		uint16_t kind, event;
	} components[] = {
		{ KIND_shutdown_ic, shutdown_ic_EV_OFFER },
		{ KIND_heartbeat_ic, heartbeat_ic_EV_OFFER },
		{ KIND_timesync_ic, timesync_ic_EV_OFFER },
	};
	struct world *w = prompted_world();

	machines_spawn_fixed(w);
	for (uint16_t i = 0; i < CAPACITY_channel; i++) {
		struct sm_head *h = world_place(w, KIND_channel, i, 1);

		if (h)
			h->state = channel_BLANK;
	}
	cr_assert_eq(world_room(w, KIND_channel), 0);
	for (unsigned i = 0; i < ARRAY_LEN(components); i++) {
		const struct sm_head *h = world_at(w, components[i].kind, 0);
		struct sm_head before = *h;
		struct event ev = { .seq = i + 1, .time_ns = i + 1, .epoch = 1,
				    .kind = components[i].kind, .code = components[i].event };

		cr_assert_eq(world_turn(w, &ev).n_effects, 0);
		cr_assert_eq(memcmp(h, &before, sizeof(before)), 0);
		cr_assert_eq(world_lane_const(w)->rejected, 0);
	}
	world_free(w);
}

/* A sub-channel that the guest leaves while its controller has not revoked it: the
 * bus is told, and the relid is free. */
static void leave(uint16_t event)
{
	const struct rec_channel_send send = { .ends_request = 1 };
	struct event ev = { .seq = 1, .time_ns = 1, .epoch = 1, .kind = PROMPTER,
			    .code = prompter_events[0].code };
	struct world *w = prompted_world();
	struct channel *c;
	struct vmbus *b;

	machines_spawn_fixed(w);
	place_prompter(w);
	b = (struct vmbus *)(uintptr_t)world_at(w, KIND_vmbus, 0);
	b->sm.state = vmbus_DISCONNECTING;
	b->version = VMBUS_V5_3;
	b->unload_asked = true;
	b->waiting = 2;
	c = world_place(w, KIND_channel, 5, 1);
	cr_assert_not_null(c);
	c->sm.state = channel_CLOSING;
	c->relid = 5;
	c->key = 5;
	c->subchannel = 1;
	c->inflight = c->gpadl_generation = 1;
	c->disconnecting = true;
	c->device_kind = KIND_storvsp;
	c->device_generation = 1;
	line.from = (struct sm_ref){ KIND_scsi, 0, 1 };
	line.to = (struct sm_ref){ KIND_channel, 5, 1 };
	line.event = event;
	line.fixed = event == channel_EV_SEND ? sizeof(send) : 0;
	line.tail = 0;
	memcpy(line.payload, &send, line.fixed);
	world_turn(w, &ev);
	cr_assert_null(world_at(w, KIND_channel, 5));
	cr_assert_eq(b->waiting, 1);
	world_free(w);
}

Test(rows, a_leaving_subchannel_goes_with_its_last_answer)
{
	leave(channel_EV_SEND);
}

Test(rows, a_leaving_subchannel_goes_with_its_last_request)
{
	leave(channel_EV_ENDED);
}

/* A packet for a channel whose doorbell is not in force yet: it is dropped, who gave it
 * goes on, and the channel stays as it is. */
Test(rows, a_packet_before_the_doorbell_is_in_force_opens_nothing)
{
	const struct rec_channel_send send = { .ends_request = 1 };
	struct event ev = { .seq = 1, .time_ns = 1, .epoch = 1, .kind = PROMPTER,
			    .code = prompter_events[0].code };
	struct world *w = prompted_world();
	struct channel *c;

	machines_spawn_fixed(w);
	place_prompter(w);
	c = world_place(w, KIND_channel, 5, 1);
	cr_assert_not_null(c);
	c->sm.state = channel_ARMING;
	c->relid = 5;
	c->key = 5;
	c->inflight = 2;
	c->gpadl_generation = c->device_generation = 1;
	c->in_size = c->out_size = 4096;
	c->device_kind = KIND_storvsp;
	line.from = (struct sm_ref){ KIND_scsi, 0, 1 };
	line.to = (struct sm_ref){ KIND_channel, 5, 1 };
	line.event = channel_EV_SEND;
	line.fixed = sizeof(send);
	line.tail = 0;
	memcpy(line.payload, &send, sizeof(send));
	cr_assert_eq(world_turn(w, &ev).n_effects, 0);
	c = (struct channel *)(uintptr_t)world_at(w, KIND_channel, 5);
	cr_assert_eq(c->sm.state, channel_ARMING);
	cr_assert_eq(c->inflight, 1);
	world_free(w);
}
