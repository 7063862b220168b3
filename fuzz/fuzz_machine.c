/* fuzz/fuzz_machine.c - the whole world under any sequence of outside events.
 *
 * An input is a sequence of turns over all machines. It begins with the empty
 * world, with a guest that has got somewhere, or with a real state (file named
 * by FUZZ_STATES, written by fuzz/states). At points that the input chooses the
 * world is packed and unpacked into a second one filled with 0xA5, mostly by way of
 * a build that knows fewer fields; both then take the same turns, and must ask for
 * the same effects and be equal at the end: run(A+B) = run(A), save, restore,
 * run(B). After every turn: oracle.h. */
#include "fuzz/alphabet.h"
#include "fuzz/answers.h"
#include "fuzz/driver.h"
#include "fuzz/library.h"
#include "fuzz/oracle.h"
#include "fuzz/program.h"
#include "fuzz/story.h"

#include "engine/fact.h"
#include "statemachines/channel.h"
#include "statemachines/machines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The hands read a ring only while this much is free (DESIGN 3, backpressure). */
enum { SPARE_REQUESTS = 8, SPARE_CHUNKS = 36 };
enum { FILL = 0xA5, BURST_MAX = 1500, RESTORES_MAX = 3, SETTLE_TURNS = 60000, ROWS = 1024 };

static struct {
	uint64_t turns, steps, rows, runs, restores, shifts, settled, unsettled, from_states;
	uint64_t row[LIMIT_KINDS][ROWS];
} figures;

struct run {
	struct feed feed;
	struct world *a, *b;
	bool twin;       /* b is a's twin */
	unsigned restores, quarters;
	uint8_t patience; /* how readily the hands answer */
	bool held_back;	  /* the hands read a ring only while there is room */
	struct alphabet_memory memory;
	struct answers answers;
	uint16_t touched[LIMIT_KINDS];
	uint8_t payload[LIMIT_PAYLOAD];
	uint8_t effects[LIMIT_TURN_BYTES];
};

static struct run run;

static void watch(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		  const struct sm_row *row)
{
	struct run *r = user;

	(void)from;
	(void)to;
	figures.steps++;
	r->touched[cx->desc->kind] = 1;
	if (row) {
		size_t n = (size_t)(row - cx->desc->rows);

		figures.rows++;
		if (n < ROWS)
			figures.row[cx->desc->kind][n]++;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	run.a = world_new(&fuzz_program);
	run.b = world_new(&fuzz_program);
	if (!run.a || !run.b)
		exit(1);
	world_watch_set(run.a, watch, &run);
	alphabet_init(&fuzz_program);
	library_load(getenv("FUZZ_STATES"));
	return 0;
}

/* ---- one turn ------------------------------------------------------------------------ */

static void learn(struct run *r, const struct turn *t, uint64_t seq)
{
	uint32_t at = 0, n = 0;
	struct effect e;
	bool bad;

	while (effect_next(&fuzz_program, t->effects, t->bytes, seq, &at, &n, &e, &bad)) {
		alphabet_learn(&r->memory, &e, &fuzz_program.effects[e.head.code]);
		answers_take(&r->answers, &fuzz_program, &e);
	}
}

static void check(struct run *r, const struct turn *t, uint64_t seq)
{
	oracle_effects(r->a, t, seq);
	for (uint16_t k = 1; k < LIMIT_KINDS; k++) {
		if (r->touched[k])
			oracle_predicates(r->a, k);
		r->touched[k] = 0;
	}
}

static bool is_held_back(const struct run *r, const struct event *ev)
{
	return r->held_back && ev->kind == KIND_channel && ev->code == channel_EV_PACKET &&
	       (world_room(r->a, KIND_scsi) <= SPARE_REQUESTS ||
		world_blob_room(r->a) <= SPARE_CHUNKS);
}

static void take_turn(struct run *r, struct event *ev)
{
	const struct lane_state *l = world_lane_const(r->a);
	struct turn t, u;

	if (is_held_back(r, ev))
		return;
	ev->seq = l->seq + 1;
	ev->time_ns += l->time_ns;
	if (ev->time_ns < l->time_ns)
		ev->time_ns = l->time_ns;
	ev->epoch = l->epoch ? l->epoch : 1;
	t = world_turn(r->a, ev);
	figures.turns++;
	check(r, &t, ev->seq);
	if (r->twin) {
		u = world_turn(r->b, ev);
		if (u.bytes != t.bytes || u.n_effects != t.n_effects ||
		    (t.bytes && memcmp(u.effects, t.effects, t.bytes) != 0))
			oracle_failed("a restored world asks for other effects", ev->seq, u.bytes);
	}
	learn(r, &t, ev->seq);
}

void story_turn(void *user, struct event *ev)
{
	take_turn(user, ev);
}

/* ---- what happens ---------------------------------------------------------------------- */

static void answer(struct run *r, struct event *ev)
{
	unsigned n = feed_once_in(&r->feed, 4) ? feed_u16(&r->feed) % r->answers.n : 0;
	uint16_t code = r->answers.at[n].code, kind = r->answers.at[n].kind;

	answers_event(&r->answers, n, r->a, &r->feed, ev, r->payload);
	if (feed_once_in(&r->feed, 8)) {
		const struct sm_event_desc *e =
			sm_event_find(fuzz_program.machines[kind], code);

		alphabet_mutate(&r->feed, &r->memory, e->rec, r->payload);
	} else {
		answers_drop(&r->answers, n);
	}
}

/* Many packets of one sort on one channel, or many answers at once. */
static void burst(struct run *r)
{
	unsigned n = feed_u16(&r->feed) % BURST_MAX;
	uint16_t channel = (uint16_t)feed_below(&r->feed, world_live(r->a, KIND_channel));
	uint8_t kind = feed_u8(&r->feed);
	static const uint8_t opcodes[] = { 0x2a, 0x28, 0x12, 0x42, 0x00, 0x35 };

	while (n--) {
		struct event ev = { .time_ns = 1000 };
		struct feed same = r->feed;

		if (kind % 2 == 0 && r->answers.n) {
			answers_event(&r->answers, 0, r->a, NULL, &ev, r->payload);
			answers_drop(&r->answers, 0);
		} else {
			ev.kind = KIND_channel;
			ev.index = channel;
			ev.code = channel_EV_PACKET;
			ev.payload = r->payload;
			ev.len = alphabet_packet(&same, r->a, channel, 3,
						 opcodes[kind / 2 % ARRAY_LEN(opcodes)],
						 r->payload);
		}
		take_turn(r, &ev);
	}
}

static void restore(struct run *r)
{
	unsigned quarters;

	if (r->restores++ >= RESTORES_MAX)
		return;
	if (r->twin)
		oracle_equal(r->a, r->b);
	oracle_predicates(r->a, 0);
	quarters = (r->quarters + r->restores) % 4;
	if (quarters && oracle_shift(r->a, r->b, quarters))
		figures.shifts++;
	else
		oracle_restore(r->a, r->b);
	r->twin = true;
	figures.restores++;
}

static void one_thing(struct run *r)
{
	uint8_t op = feed_u8(&r->feed);
	struct event ev = { 0 };

	if (op < 2) {
		restore(r);
		return;
	}
	if (op < 4) {
		burst(r);
		return;
	}
	ev.time_ns = (uint64_t)(op & 7) << (op & 31);
	if (op < r->patience && r->answers.n)
		answer(r, &ev);
	else
		alphabet_event(&r->feed, r->a, &r->memory, &ev, r->payload);
	if (op % 16 == 15) {
		ev.source = feed_u8(&r->feed) % SOURCES;
		ev.source_pos = feed_u16(&r->feed);
	}
	take_turn(r, &ev);
}

/* ---- begin and end ------------------------------------------------------------------------ */

static void begin(struct run *r)
{
	uint8_t how = feed_u8(&r->feed);

	r->twin = false;
	r->restores = 0;
	r->held_back = (how & 0x70) != 0;
	r->patience = feed_u8(&r->feed);
	r->quarters = how % 4;
	r->answers.n = 0;
	r->answers.lost = false;
	memset(&r->memory, 0, sizeof(r->memory));
	memset(r->payload, 0, sizeof(r->payload));
	world_reset(r->a, FILL);
	if (library_count() && (how & 1)) {
		library_restore(feed_u16(&r->feed), r->a);
		r->answers.lost = true; /* what it waits for is not known here */
		figures.from_states++;
		return;
	}
	machines_spawn_fixed(r->a);
	story_tell(feed_u8(&r->feed) % (story_steps() + 8), &r->answers, r->a, r->payload, r);
}

/* Gives all answers that are owed, as a guest that reads its rings would see. */
static void settle(struct run *r)
{
	unsigned turns = 0;

	while (r->answers.n && turns++ < SETTLE_TURNS) {
		struct event ev = { .time_ns = 1 };

		answers_event(&r->answers, 0, r->a, NULL, &ev, r->payload);
		answers_drop(&r->answers, 0);
		take_turn(r, &ev);
	}
	if (r->answers.n || r->answers.lost) {
		figures.unsettled++;
		return;
	}
	oracle_idle(r->a);
	figures.settled++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run.feed = (struct feed){ data, size };
	begin(&run);
	while (run.feed.left)
		one_thing(&run);
	restore(&run);
	settle(&run);
	oracle_predicates(run.a, 0);
	if (run.twin)
		oracle_equal(run.a, run.b);
	figures.runs++;
	return 0;
}

/* ---- figures -------------------------------------------------------------------------------- */

static void report_rows(int detail)
{
	unsigned taken = 0, all = 0;

	for (unsigned k = 1; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = fuzz_program.machines[k];

		for (unsigned i = 0; d && i < d->n_rows && i < ROWS; i++) {
			const struct sm_row *w = &d->rows[i];

			all++;
			taken += figures.row[k][i] != 0;
			if (detail && figures.row[k][i] == 0)
				printf("never: %s %s on %s %s -> %s\n", d->name,
				       sm_state_find(d, w->from)->name,
				       sm_event_find(d, w->on)->name, w->guard_name, w->act_name);
		}
	}
	printf("rows=%u/%u\n", taken, all);
}

void fuzz_report(double seconds, int detail)
{
	printf("turns=%" PRIu64 " steps=%" PRIu64 " transitions=%" PRIu64 " per_second=%.0f "
	       "restores=%" PRIu64 " shifts=%" PRIu64 " settled=%" PRIu64 " not_settled=%" PRIu64
	       " from_states=%" PRIu64 " ",
	       figures.turns, figures.steps, figures.rows,
	       seconds > 0 ? (double)figures.rows / seconds : 0.0, figures.restores, figures.shifts,
	       figures.settled, figures.unsettled, figures.from_states);
	report_rows(detail);
}
