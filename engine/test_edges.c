/* What nobody of ours asks for: places that are none, saved states that do not hold
 * together, quotas that are used up, tables with a mistake. */
#include "engine/blob.h"
#include "engine/sm_tools.h"
#include "engine/test_kit.h"

#include <stdlib.h>

static struct world *w;

static void setup(void)
{
	w = toy_world();
}

static void teardown(void)
{
	w = world_free(w);
}

TestSuite(edges, .init = setup, .fini = teardown);

static struct toy *first(void)
{
	return toy_at(w, 0);
}

Test(edges, places_that_are_none)
{
	const uint16_t kinds[] = { TOY_KIND + 1, LIMIT_KINDS, UINT16_MAX };

	cr_assert_null(world_free(NULL));
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		cr_assert_null(world_at(w, kinds[i], 0));
		cr_assert_null(world_place(w, kinds[i], 0, 1));
		cr_assert_eq(world_live(w, kinds[i]), 0);
		cr_assert_eq(world_room(w, kinds[i]), 0);
		cr_assert_eq(world_generation(w, kinds[i], 0), 0);
		world_set_generation(w, kinds[i], 0, 5);
	}
	cr_assert_null(world_at(w, TOY_KIND, 70));
	cr_assert_null(world_at(w, TOY_KIND, 1));
	cr_assert_null(world_place(w, TOY_KIND, 70, 1));
	cr_assert_null(world_place(w, TOY_KIND, 1, 0), "generation 0 is never alive");
	cr_assert_null(world_place(w, TOY_KIND, 0, 9), "somebody lives there");
	cr_assert_eq(world_generation(w, TOY_KIND, 70), 0);
	world_set_generation(w, TOY_KIND, 70, 5);
	cr_assert_eq(world_live(w, TOY_KIND), 1);
}

Test(edges, events_that_nobody_knows_are_counted)
{
	struct event ev = { .epoch = 1, .payload = "" };
	const struct {
		uint16_t kind, code;
		uint32_t generation;
	} events[] = {
		{ LIMIT_KINDS, 1, 0 }, { TOY_KIND + 1, 1, 0 }, { TOY_KIND, 63, 0 },
		{ TOY_KIND, UINT16_MAX, 0 }, { TOY_KIND, toy_EV_TURN_ON, 9 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
		ev.seq = ev.time_ns = i + 1;
		ev.kind = events[i].kind;
		ev.code = events[i].code;
		ev.generation = events[i].generation;
		cr_assert_eq(world_turn(w, &ev).n_effects, 0);
		cr_assert_eq(world_lane(w)->ignored, i + 1);
	}
	cr_assert_eq(first()->sm.state, toy_CLOSED);
}

Test(edges, a_payload_that_is_too_short_is_completed)
{
	struct event ev = { .seq = 2, .time_ns = 20, .epoch = 1, .kind = TOY_KIND,
			    .code = toy_EV_ADD, .payload = "\x05", .len = 1 };

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	world_turn(w, &ev);
	cr_assert_eq(first()->total, 5);
	ev.seq = 3;
	ev.len = 0;
	cr_assert_eq(world_turn(w, &ev).n_effects, 1);
	cr_assert_eq(first()->total, 5);
}

/* ---- saved states ----------------------------------------------------------------- */

static bool deferred_loads(const struct sm_message *m, size_t bytes, unsigned times)
{
	const char *why = "";
	uint8_t packed[4096];

	for (unsigned i = 0; i < times; i++)
		memcpy(packed + i * bytes, m, bytes);
	first()->sm.state = toy_BUSY;
	first()->sm.deferred = world_blob_new(w, packed, bytes * times);
	return world_loaded(w, &why);
}

Test(edges, what_was_put_off_must_hold_together)
{
	struct {
		struct sm_message m;
		uint64_t payload;
	} one = { .m = { .event = toy_EV_ADD, .len = 8 } };

	cr_assert(deferred_loads(&one.m, sizeof(one), 1));
	cr_assert(deferred_loads(&one.m, sizeof(one), LIMIT_DEFERRED));
	cr_assert_not(deferred_loads(&one.m, sizeof(one), LIMIT_DEFERRED + 1), "too many");
	cr_assert_not(deferred_loads(&one.m, sizeof(one.m) - 1, 1), "cut short");
	cr_assert_not(deferred_loads(&one.m, sizeof(one.m), 1), "without its payload");
	one.m.len = LIMIT_PAYLOAD + 1;
	cr_assert_not(deferred_loads(&one.m, sizeof(one), 1));
	one.m.len = 8;
	one.m.event = 60;
	cr_assert_not(deferred_loads(&one.m, sizeof(one), 1), "an event that nobody knows");
	one.m.event = UINT16_MAX;
	cr_assert_not(deferred_loads(&one.m, sizeof(one), 1));
}

Test(edges, states_and_predicates_are_checked)
{
	const char *why = NULL;

	cr_assert(world_loaded(w, &why));
	first()->sm.state = 77;
	cr_assert_not(world_loaded(w, &why));
	cr_assert_str_eq(why, "toy");
	first()->sm.state = toy_OPEN;
	first()->total = 1u << 30;
	cr_assert_not(world_loaded(w, &why));
	cr_assert_str_eq(why, "OPEN");
}

/* ---- tables that say less than the toy's -------------------------------------------------- */

static struct sm_desc changed;
static const struct sm_desc *const changed_machines[LIMIT_KINDS] = { [TOY_KIND] = &changed };
static const struct registry changed_registry = { changed_machines, toy_effects, 2, 2 };

static void with_changed(const struct sm_row *rows)
{
	changed.rows = rows ? rows : changed.rows;
	world_free(w);
	w = world_new(&changed_registry);
	world_spawn_fixed(w, TOY_KIND, 1);
}

static bool total_is_even(const void *self)
{
	return ((const struct toy *)self)->total % 2 == 0;
}

Test(edges, the_expensive_predicate_is_asked_of_what_is_loaded)
{
	const char *why = "";

	changed = toy_sm;
	changed.holds_full = total_is_even;
	with_changed(NULL);
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_ADD, 3, "");
	cr_assert_not(world_loaded(w, &why));
	cr_assert_str_eq(why, "OPEN");
	toy_turn(w, 0, toy_EV_ADD, 3, "");
	cr_assert(world_loaded(w, &why));
}

Test(edges, who_answers_no_rejection_counts_it)
{
	changed = toy_sm;
	changed.reject = NULL;
	with_changed(NULL);
	toy_turn(w, 0, toy_EV_ADD, 1, "");
	cr_assert_eq(world_lane(w)->rejected, 1);
	cr_assert_eq(first()->refused, 0);
}

Test(edges, a_row_above_the_level_is_passed_over)
{
	struct sm_row rows[16];

	changed = toy_sm;
	cr_assert_leq(toy_sm.n_rows, ARRAY_LEN(rows));
	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	rows[0].since = 2;
	with_changed(rows);
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	cr_assert_eq(first()->sm.state, toy_CLOSED);
	world_lane(w)->level = 2;
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	cr_assert_eq(first()->sm.state, toy_OPEN);
}

/* ---- who watches, and who lived where --------------------------------------------------- */

static struct {
	unsigned n;
	uint16_t from, to;
	bool row;
} watched;

static void watch(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		  const struct sm_row *row)
{
	cr_assert_eq(user, w);
	cr_assert_eq(cx->self, first());
	watched.n++;
	watched.from = from;
	watched.to = to;
	watched.row = row != NULL;
}

Test(edges, each_step_is_shown)
{
	world_watch_set(w, watch, w);
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	cr_assert(watched.n == 1 && watched.row);
	cr_assert(watched.from == toy_CLOSED && watched.to == toy_OPEN);
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	cr_assert(watched.n == 2 && !watched.row);
	cr_assert(watched.from == toy_OPEN && watched.to == toy_OPEN);
}

Test(edges, generations_go_round_without_0)
{
	world_set_generation(w, TOY_KIND, 1, UINT32_MAX);
	cr_assert_eq(world_generation(w, TOY_KIND, 1), UINT32_MAX);
	world_spawn_fixed(w, TOY_KIND, 1);
	cr_assert_eq(world_generation(w, TOY_KIND, 1), 1);
	cr_assert_not_null(world_at(w, TOY_KIND, 1));
}

/* The quota of lists is the guest's: what it has used up is no room to put off either. */
Test(edges, nothing_is_put_off_without_room)
{
	uint32_t len = (world_blob_room(w) - 3) * LIMIT_BLOB_CHUNK;
	uint8_t *much = calloc(1, len);
	struct event ev = { .kind = TOY_KIND, .code = toy_EV_TURN_ON, .epoch = 1, .payload = "" };

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_PAUSE, 0, "");
	ev.seq = 3;
	ev.time_ns = 30;
	world_turn(w, &ev);
	cr_assert_eq(world_blob_len(w, first()->sm.deferred), sizeof(struct sm_message), "without a payload");
	first()->list = world_blob_new(w, much, len - LIMIT_BLOB_CHUNK);
	cr_assert_neq(first()->list, 0);
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	cr_assert_eq(first()->refused, 1);
	cr_assert_eq(world_blob_len(w, first()->sm.deferred), sizeof(struct sm_message));
	free(much);
}

/* ---- effects ------------------------------------------------------------------------ */

Test(edges, effects_of_a_damaged_log_are_refused)
{
	static const struct effect_desc gap[3] = { [1] = { 1, 1, FOLLOW_SWALLOW, &rec_desc_amount,
							   "COUNTED", "" } };
	const struct registry r = { toy_machines, gap, 3, 2 };
	const struct effect_head heads[] = {
		{ .code = 3, .len = 8 }, { .code = 2, .len = 8 }, { .code = 0, .len = 8 },
		{ .code = 1, .len = LIMIT_PAYLOAD + 1 }, { .code = 1, .len = 4 },
		{ .code = 1, .len = 16 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(heads); i++) {
		uint8_t bytes[sizeof(heads[0]) + 8] = { 0 };
		uint32_t at = 0, n = 0;
		struct effect e;
		bool bad;

		memcpy(bytes, &heads[i], sizeof(heads[0]));
		cr_assert_not(effect_next(&r, bytes, sizeof(bytes), 1, &at, &n, &e, &bad));
		cr_assert(bad, "case %u", i);
	}
}

Test(edges, the_first_field_that_differs_is_named)
{
	struct rec_amount a = { 1, 2 }, b = a;

	cr_assert_null(rec_difference(&rec_desc_amount, &a, &b));
	b.reserved = 3;
	cr_assert_str_eq(rec_difference(&rec_desc_amount, &a, &b)->name, "reserved");
	b.amount = 3;
	cr_assert_str_eq(rec_difference(&rec_desc_amount, &a, &b)->name, "amount");
}

/* ---- quota ---------------------------------------------------------------------------- */

/* What only a fill can show stays shown when little of it is written again. */
Test(edges, blobs_filled_again_hold_nothing_old)
{
	const uint8_t *bytes;
	struct blobs b;
	uint8_t much[3 * LIMIT_BLOB_CHUNK] = "";

	cr_assert_eq(blobs_init(&b), 0);
	blobs_reset(&b, 0xa5, false);
	bytes = &b.chunk[0][0];
	for (unsigned round = 0; round < 3; round++) {
		cr_assert(blobs_new(&b, much, sizeof(much)));
		cr_assert_eq(b.used, 3);
		if (round == 1)
			blobs_reset(&b, 0, false);
		blobs_reset(&b, 0xa5, true);
		for (size_t i = 0; i < (size_t)LIMIT_BLOB_CHUNKS * LIMIT_BLOB_CHUNK; i++)
			cr_assert_eq(bytes[i], 0xa5, "byte %zu", i);
		for (unsigned i = 0; i < LIMIT_BLOB_CHUNKS; i++)
			cr_assert(b.len[i] == 0 && b.next[i] == 0xa5a5);
	}
	blobs_deinit(&b);
}

Test(edges, who_has_no_room_keeps_what_there_was)
{
	static uint8_t much[LIMIT_BLOB_CHUNK * LIMIT_BLOB_CHUNKS];
	struct blobs b;
	sm_blob small, large;
	char back[8] = "";

	cr_assert_eq(blobs_init(&b), 0);
	blobs_reset(&b, 0, true);
	small = blobs_new(&b, "small", 5);
	cr_assert(small);
	cr_assert_eq(blobs_new(&b, much, sizeof(much)), 0, "one chunk is taken");
	large = blobs_new(&b, much, sizeof(much) - LIMIT_BLOB_CHUNK);
	cr_assert(large);
	cr_assert_eq(b.n_free, 0);
	cr_assert_eq(blobs_new(&b, "x", 1), 0);
	cr_assert_eq(blobs_append(&b, small, much, LIMIT_BLOB_CHUNK), 0);
	cr_assert_eq(blobs_read(&b, small, 0, back, sizeof(back)), 5);
	cr_assert_str_eq(back, "small");
	cr_assert_neq(blobs_append(&b, small, "er", 2), 0, "its chunk has room");
	blobs_free(&b, large);
	cr_assert_eq(b.n_free, LIMIT_BLOB_CHUNKS - 1);
	cr_assert_eq(blobs_len(&b, 0), 0);
	cr_assert_eq(blobs_new(&b, "", 0), 0);
	blobs_deinit(&b);
}

/* ---- tables ---------------------------------------------------------------------------- */

static char *text;

static unsigned lint(const struct sm_desc *d)
{
	size_t len;
	FILE *f = open_memstream(&text, &len);
	unsigned n = sm_lint(d, f);

	fclose(f);
	return n;
}

Test(edges, rows_that_name_nothing_are_found)
{
	struct sm_row rows[16];
	struct sm_desc d = toy_sm;

	cr_assert_leq(toy_sm.n_rows, ARRAY_LEN(rows));
	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	d.rows = rows;
	rows[0].from = 99;
	cr_assert_gt(lint(&d), 0);
	rows[0] = toy_sm.rows[0];
	rows[0].to = 99;
	cr_assert_gt(lint(&d), 0);
	rows[0] = toy_sm.rows[0];
	rows[0].on = 99;
	cr_assert_gt(lint(&d), 0);
	rows[0] = toy_sm.rows[0];
	cr_assert_eq(lint(&d), 0, "%s", text);
}

Test(edges, fields_out_of_order_or_over_each_other_are_found)
{
	struct sm_field fields[16];
	const size_t bytes = toy_sm.n_fields * sizeof(fields[0]);
	struct sm_desc d = toy_sm;

	cr_assert_leq(bytes, sizeof(fields));
	memcpy(fields, toy_sm.fields, bytes);
	d.fields = fields;
	fields[2].id = fields[1].id;
	cr_assert_gt(lint(&d), 0);
	memcpy(fields, toy_sm.fields, bytes);
	fields[1].offset = fields[0].offset;
	cr_assert_gt(lint(&d), 0);
}
