/* Turns over a toy machine: order, policies, spawn and retire, quota, levels. */
#include "engine/test_kit.h"

#include <signal.h>

static struct world *w;

static void setup(void)
{
	w = toy_world();
}

static void teardown(void)
{
	w = world_free(w);
}

TestSuite(world, .init = setup, .fini = teardown);

Test(world, a_row_moves_and_emits)
{
	struct turn t;
	struct effect e;
	uint32_t at = 0, n = 0;
	bool bad;

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	t = toy_turn(w, 0, toy_EV_ADD, 5, "abc");
	cr_assert_eq(toy_at(w, 0)->sm.state, toy_OPEN);
	cr_assert_eq(toy_at(w, 0)->total, 5);
	cr_assert_eq(t.n_effects, 1);
	cr_assert(effect_next(&toy_registry, t.effects, t.bytes, 2, &at, &n, &e, &bad));
	cr_assert_eq(((const struct rec_amount *)e.p)->amount, 5);
	cr_assert_eq(e.tail_len, 3);
	cr_assert_eq(effect_id(&e), 2u << 12);
	cr_assert_not(effect_next(&toy_registry, t.effects, t.bytes, 2, &at, &n, &e, &bad));
	cr_assert_not(bad);
}

Test(world, otherwise_rejects_ignores_and_defers)
{
	toy_turn(w, 0, toy_EV_ADD, 1, "");
	cr_assert_eq(toy_at(w, 0)->refused, 1, "CLOSED rejects");
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_ADD, 5000, "");
	cr_assert_eq(toy_at(w, 0)->total, 0, "OPEN ignores what no guard wants");
	toy_turn(w, 0, toy_EV_PAUSE, 0, "");
	toy_turn(w, 0, toy_EV_ADD, 7, "x");
	toy_turn(w, 0, toy_EV_ADD, 8, "yz");
	cr_assert_eq(toy_at(w, 0)->total, 0);
	toy_turn(w, 0, toy_EV_RESUME, 0, "");
	cr_assert_eq(toy_at(w, 0)->total, 15, "both came back, in order");
	cr_assert_eq(toy_at(w, 0)->last[2], 7);
	cr_assert_eq(toy_at(w, 0)->last[3], 8);
	cr_assert_eq(toy_at(w, 0)->sm.deferred, 0);
}

Test(world, the_deferral_queue_is_bounded)
{
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_PAUSE, 0, "");
	for (unsigned i = 0; i < LIMIT_DEFERRED + 3; i++)
		toy_turn(w, 0, toy_EV_ADD, 1, "");
	cr_assert_eq(toy_at(w, 0)->refused, 3);
	toy_turn(w, 0, toy_EV_RESUME, 0, "");
	cr_assert_eq(toy_at(w, 0)->total, LIMIT_DEFERRED);
}

Test(world, spawn_takes_the_lowest_free_index_and_generations_differ)
{
	uint32_t first;

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_ADD, 10, "");
	toy_turn(w, 0, toy_EV_SPLIT, 0, "");
	toy_turn(w, 0, toy_EV_SPLIT, 0, "");
	cr_assert_eq(toy_at(w, 1)->total, 5);
	cr_assert_eq(toy_at(w, 2)->total, 5);
	first = toy_at(w, 1)->sm.generation;
	toy_turn(w, 1, toy_EV_END, 0, "");
	cr_assert_null(toy_at(w, 1));
	toy_turn(w, 0, toy_EV_SPLIT, 0, "");
	cr_assert_not_null(toy_at(w, 1));
	cr_assert_neq(toy_at(w, 1)->sm.generation, first);
	cr_assert_eq(world_live(w, TOY_KIND), 3);
}

Test(world, an_event_to_the_dead_is_counted)
{
	toy_turn(w, 9, toy_EV_ADD, 1, "");
	cr_assert_eq(world_lane(w)->ignored, 1);
}

Test(world, an_event_to_who_lived_there_before_is_counted)
{
	struct event ev = { .time_ns = 1000, .kind = TOY_KIND, .index = 1, .code = toy_EV_END,
			    .payload = "" };
	uint32_t live;

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_SPLIT, 0, "");
	toy_turn(w, 1, toy_EV_END, 0, "");
	toy_turn(w, 0, toy_EV_SPLIT, 0, "");
	live = toy_at(w, 1)->sm.generation;
	for (int more = -1; more <= 1; more++) {
		ev.seq = world_lane(w)->seq + 1;
		ev.generation = live + (uint32_t)more;
		world_turn(w, &ev);
		cr_assert_eq(toy_at(w, 1) == NULL, more >= 0, "generation %+d", more);
	}
	cr_assert_eq(world_lane(w)->ignored, 2);
}

Test(world, capacity_is_a_guard)
{
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	for (unsigned i = 0; i < 100; i++)
		toy_turn(w, 0, toy_EV_SPLIT, 0, "");
	cr_assert_eq(world_live(w, TOY_KIND), 70);
	cr_assert_eq(world_room(w, TOY_KIND), 0);
}

Test(world, blobs_grow_read_and_are_given_back)
{
	unsigned before = world_blob_room(w);
	char text[700], got[1400];

	memset(text, 'q', 200);
	text[200] = '\0';
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	for (unsigned i = 0; i < 7; i++)
		toy_turn(w, 0, toy_EV_ADD, 1, text);
	cr_assert_eq(world_blob_len(w, toy_at(w, 0)->list), 1400);
	cr_assert_eq(world_blob_read(w, toy_at(w, 0)->list, 0, got, 1400), 1400);
	cr_assert_eq(got[1399], 'q');
	cr_assert_eq(world_blob_read(w, toy_at(w, 0)->list, 1390, got, 100), 10);
	toy_turn(w, 0, toy_EV_END, 0, "");
	cr_assert_eq(world_blob_room(w), before);
}

/* Two processes have counted differently below the level; from it on they are alike. */
Test(world, fields_of_a_level_begin_at_its_raise)
{
	const struct toy *t;

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_ADD, 5, "abc");
	toy_turn(w, 0, toy_EV_ADD, 5, "abc");
	t = toy_at(w, 0);
	cr_assert_eq(t->gold, 2);
	cr_assert_neq(t->ingot, 0);
	toy_turn(w, 0, toy_EV_RAISE, 2, "");
	cr_assert_eq(world_lane_const(w)->level, 2);
	cr_assert_eq(t->gold, 7, "as if it had been absent");
	cr_assert_eq(t->ingot, 0);
	cr_assert_eq(t->total, 10);
	toy_turn(w, 0, toy_EV_ADD, 5, "abc");
	toy_turn(w, 0, toy_EV_RAISE, 2, "");
	cr_assert_eq(t->gold, 8, "a level that is in force is not raised");
	cr_assert_neq(t->ingot, 0);
}

Test(world, what_is_above_the_level_does_nothing)
{
	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(w, 0, toy_EV_GILD, 0, "");
	cr_assert_eq(toy_at(w, 0)->sm.state, toy_OPEN);
	world_lane(w)->level = 2;
	toy_turn(w, 0, toy_EV_GILD, 0, "");
	cr_assert_eq(toy_at(w, 0)->sm.state, toy_GOLDEN);
}

Test(world, a_gap_in_the_sequence_is_a_fact, .signal = SIGABRT)
{
	struct event ev = { .seq = 5, .kind = TOY_KIND, .code = toy_EV_TURN_ON, .payload = "" };

	world_turn(w, &ev);
}

Test(world, damaged_effects_are_refused)
{
	struct turn t;
	uint8_t copy[256];

	toy_turn(w, 0, toy_EV_TURN_ON, 0, "");
	t = toy_turn(w, 0, toy_EV_ADD, 5, "abc");
	for (uint32_t cut = 1; cut < t.bytes; cut++) {
		struct effect e;
		uint32_t at = 0, n = 0;
		bool bad;

		memcpy(copy, t.effects, cut);
		cr_assert_not(effect_next(&toy_registry, copy, cut, 2, &at, &n, &e, &bad));
		cr_assert(bad);
	}
}
