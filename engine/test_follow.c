/* Following, record by record: which difference is named, what a log that does not hold
 * together is told, and what a predecessor keeps of its own. The records are made by a
 * second world, which steps the same events. */
#include "engine/test_kit.h"

#include <stdlib.h>

static struct world *theirs, *ours;
static struct follower f;
static struct divergence seen;
static unsigned n_seen;
static bool expected;

static bool differs(void *user, const struct divergence *d)
{
	(void)user;
	seen = *d;
	n_seen++;
	return expected;
}

static void setup(void)
{
	theirs = toy_world();
	ours = toy_world();
	cr_assert_eq(follow_init(&f, ours), 0);
	f.differs = differs;
	toy_turn(theirs, 0, toy_EV_TURN_ON, 0, "");
	toy_turn(ours, 0, toy_EV_TURN_ON, 0, "");
}

static void teardown(void)
{
	follow_deinit(&f);
	world_free(theirs);
	world_free(ours);
}

TestSuite(follow, .init = setup, .fini = teardown);

static struct toy_logged add_one(uint32_t amount)
{
	return toy_logged(theirs, toy_EV_ADD, amount, 0);
}

static int take_event(const struct toy_logged *l)
{
	return follow_record(&f, &l->event, 0, (const uint8_t *)&l->amount);
}

static int take_confirm(const struct toy_logged *l)
{
	return follow_record(&f, &l->confirm, 0, (const uint8_t *)&l->head);
}

static int take_proposal(const struct toy_logged *l)
{
	struct log_record h = l->confirm;

	h.type = LOG_PROPOSE;
	return follow_record(&f, &h, 0, (const uint8_t *)&l->head);
}

static int take(const struct toy_logged *l)
{
	cr_assert_eq(take_event(l), FOLLOW_OK);
	return take_confirm(l);
}

static struct effect_head *head_of(struct toy_logged *l)
{
	return (struct effect_head *)(void *)l->effects;
}

/* Changes one thing that was recorded, and is told its name. */
static void differs_in(const char *name, void (*change)(struct toy_logged *l))
{
	struct toy_logged l = add_one(5);

	change(&l);
	n_seen = 0;
	expected = false;
	cr_assert_eq(take(&l), FOLLOW_E_DIVERGED);
	cr_assert_geq(n_seen, 1);
	cr_assert_str_eq(seen.field, name);
	cr_assert_eq(seen.seq, l.event.seq);
	cr_assert_str_eq(seen.effect->name, "COUNTED");
	l = add_one(5);
	change(&l);
	expected = true;
	cr_assert_eq(take(&l), FOLLOW_OK, "expected");
}

static void other_machine(struct toy_logged *l)
{
	head_of(l)->index = 1;
}

static void other_kind(struct toy_logged *l)
{
	head_of(l)->kind++;
}

static void other_generation(struct toy_logged *l)
{
	head_of(l)->generation++;
}

static void other_amount(struct toy_logged *l)
{
	l->effects[sizeof(struct effect_head)]++;
}

static void longer(struct toy_logged *l)
{
	head_of(l)->len += 8;
	l->head.bytes += 8;
	l->confirm.len += 8;
}

static void none(struct toy_logged *l)
{
	l->head.bytes = 0;
	l->confirm.len = sizeof(l->head);
}

static void twice(struct toy_logged *l)
{
	memcpy(l->effects + l->head.bytes, l->effects, l->head.bytes);
	l->confirm.len += l->head.bytes;
	l->head.bytes *= 2;
}

Test(follow, a_difference_is_named)
{
	differs_in("machine", other_machine);
	differs_in("machine", other_kind);
	differs_in("machine", other_generation);
	differs_in("amount", other_amount);
	differs_in("length", longer);
	differs_in("count", none);
	cr_assert_eq(seen.recorded, 0);
	cr_assert_eq(seen.computed, 1);
	differs_in("count", twice);
	cr_assert_eq(seen.recorded, 1);
	cr_assert_eq(seen.computed, 0);
}

Test(follow, a_tail_that_differs_is_named)
{
	struct toy_logged l = toy_logged(theirs, toy_EV_ADD, 5, 8);

	l.effects[l.head.bytes - 1] ^= 1;
	cr_assert_eq(take(&l), FOLLOW_E_DIVERGED);
	cr_assert_str_eq(seen.field, "tail");
}

Test(follow, another_effect_is_named)
{
	static const struct effect_desc two[] = {
		[TOY_COUNTED] = { 1, 1, FOLLOW_SWALLOW, &rec_desc_amount, "COUNTED", "" },
		[TOY_COUNTED + 1] = { 2, 1, FOLLOW_SWALLOW, &rec_desc_amount, "OTHER", "" },
	};
	static const struct registry registry = { toy_machines, two, 3, 2 };
	struct toy_logged l;

	world_free(ours);
	ours = world_new(&registry);
	toy_fresh(ours);
	toy_turn(ours, 0, toy_EV_TURN_ON, 0, "");
	f.world = ours;
	l = add_one(5);
	head_of(&l)->code++;
	cr_assert_eq(take(&l), FOLLOW_E_DIVERGED);
	cr_assert_str_eq(seen.field, "code");
	cr_assert_str_eq(seen.effect->name, "OTHER");
}

Test(follow, equal_effects_are_no_difference)
{
	for (uint32_t i = 1; i < 20; i++) {
		struct toy_logged l = add_one(i);

		cr_assert_eq(take(&l), FOLLOW_OK);
	}
	cr_assert_eq(n_seen, 0);
	cr_assert_eq(f.events, 19);
	cr_assert_eq(f.divergences, 0);
}

Test(follow, a_confirm_that_does_not_fit_is_damage)
{
	struct toy_logged l = add_one(5), bad;

	cr_assert_eq(take_confirm(&l), FOLLOW_E_DAMAGED, "of no event");
	cr_assert_eq(take_event(&l), FOLLOW_OK);
	bad = l;
	bad.confirm.seq++;
	cr_assert_eq(take_confirm(&bad), FOLLOW_E_DAMAGED, "of another turn");
	bad = l;
	bad.confirm.len = sizeof(bad.head) - 1;
	cr_assert_eq(take_confirm(&bad), FOLLOW_E_DAMAGED, "too short");
	bad = l;
	bad.head.bytes++;
	cr_assert_eq(take_confirm(&bad), FOLLOW_E_DAMAGED, "with another length");
	cr_assert_eq(take_confirm(&l), FOLLOW_OK);
	cr_assert_eq(follow_pending_count(&f), 0);
}

Test(follow, events_out_of_order_are_damage)
{
	struct toy_logged l = add_one(5), bad = l;

	bad.event.seq = bad.confirm.seq = l.event.seq + 1;
	cr_assert_eq(take(&bad), FOLLOW_E_DAMAGED);
	bad = l;
	bad.event.time_ns = 0;
	cr_assert_eq(take(&bad), FOLLOW_E_DAMAGED);
	bad = l;
	bad.event.source = SOURCES;
	cr_assert_eq(take(&bad), FOLLOW_E_DAMAGED);
	cr_assert_eq(f.events, 0, "none of them was stepped");
	cr_assert_eq(take(&l), FOLLOW_OK);
}

/* ---- a predecessor -------------------------------------------------------------------- */

Test(follow, nobody_else_looks_at_proposals)
{
	struct toy_logged l = add_one(5);

	cr_assert_eq(take_event(&l), FOLLOW_OK);
	cr_assert_eq(take_proposal(&l), FOLLOW_OK);
	cr_assert_eq(follow_ahead(&f), 0);
	cr_assert_eq(f.events, 0);
	cr_assert_eq(take_confirm(&l), FOLLOW_OK);
}

Test(follow, what_is_proposed_is_stepped_once)
{
	struct toy_logged first, second;
	const uint8_t *own;
	uint32_t len;

	cr_assert_eq(follow_own_init(&f), 0);
	first = add_one(5);
	second = add_one(6);
	cr_assert_eq(take_proposal(&first), FOLLOW_E_DAMAGED, "of no event");
	cr_assert_eq(take_event(&first), FOLLOW_OK);
	cr_assert_eq(take_event(&second), FOLLOW_OK);
	cr_assert_eq(take_proposal(&first), FOLLOW_OK);
	cr_assert_eq(take_proposal(&second), FOLLOW_OK);
	cr_assert_eq(follow_ahead(&f), 2);
	own = follow_ahead_at(&f, 1, &len);
	cr_assert_eq(len, second.head.bytes);
	cr_assert_arr_eq(own, second.effects, len);
	cr_assert_eq(take_confirm(&first), FOLLOW_OK);
	cr_assert_eq(follow_ahead(&f), 1);
	cr_assert_eq(take_confirm(&second), FOLLOW_OK);
	cr_assert_eq(follow_ahead(&f), 0);
	cr_assert_eq(f.events, 2);
}

Test(follow, a_proposal_that_differs_is_refused)
{
	struct toy_logged l = add_one(5);

	cr_assert_eq(follow_own_init(&f), 0);
	other_amount(&l);
	cr_assert_eq(take_event(&l), FOLLOW_OK);
	cr_assert_eq(take_proposal(&l), FOLLOW_E_DIVERGED);
	cr_assert_eq(follow_ahead(&f), 1, "its own effects are kept");
}

Test(follow, rejected_confirms_are_kept_and_read_over)
{
	uint32_t len = 0;
	uint64_t seq = 0;

	cr_assert_null(follow_rejected(&f, 0, &seq, &len));
	cr_assert_eq(follow_own_init(&f), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct toy_logged l = add_one(5);

		f.overrules = i;
		other_amount(&l);
		cr_assert_eq(take(&l), i ? FOLLOW_OK : FOLLOW_E_DIVERGED);
		cr_assert_not_null(follow_rejected(&f, i, &seq, &len));
		cr_assert_eq(seq, l.event.seq);
		cr_assert_eq(len, l.head.bytes);
	}
	cr_assert_null(follow_rejected(&f, 2, &seq, &len));
}

Test(follow, rejected_confirms_have_a_bound)
{
	int r = FOLLOW_OK;

	cr_assert_eq(follow_own_init(&f), 0);
	f.overrules = true;
	for (unsigned i = 0; i < 100000 && r == FOLLOW_OK; i++) {
		struct toy_logged l = add_one(0);

		other_machine(&l);
		r = take(&l);
	}
	cr_assert_eq(r, FOLLOW_E_ROOM);
}

Test(follow, what_is_borne_out_behind_a_rejected_confirm)
{
	struct toy_logged wrong, right;
	uint64_t seq;
	uint32_t len;

	cr_assert_eq(follow_own_init(&f), 0);
	f.overrules = true;
	wrong = add_one(5);
	other_amount(&wrong);
	cr_assert_eq(take(&wrong), FOLLOW_OK);
	right = add_one(6);
	cr_assert_eq(take_event(&right), FOLLOW_OK);
	cr_assert_eq(take_proposal(&right), FOLLOW_OK);
	cr_assert_eq(take_confirm(&right), FOLLOW_OK);
	cr_assert_eq(follow_ahead(&f), 0);
	cr_assert_not_null(follow_rejected(&f, 0, &seq, &len), "it is kept on");
}

Test(follow, a_proposal_without_effects_is_kept_too)
{
	struct toy_logged l = toy_logged(theirs, toy_EV_CURE, 0, 0);
	uint32_t len = 1;

	cr_assert_eq(follow_own_init(&f), 0);
	cr_assert_eq(take_event(&l), FOLLOW_OK);
	cr_assert_eq(take_proposal(&l), FOLLOW_OK);
	cr_assert_not_null(follow_ahead_at(&f, 0, &len));
	cr_assert_eq(len, 0);
}

Test(follow, a_proposal_of_damage_is_damage)
{
	struct toy_logged l = add_one(5);

	cr_assert_eq(follow_own_init(&f), 0);
	l.event.time_ns = 0;
	cr_assert_eq(take_event(&l), FOLLOW_OK);
	cr_assert_eq(take_proposal(&l), FOLLOW_E_DAMAGED);
	cr_assert_eq(follow_ahead(&f), 0);
}

/* Effects of 16 KiB each: their bytes end before their places. */
Test(follow, own_effects_have_a_bound_in_bytes)
{
	unsigned n = 0;
	int r = FOLLOW_OK;

	cr_assert_eq(follow_own_init(&f), 0);
	f.overrules = true;
	for (; r == FOLLOW_OK; n++) {
		struct toy_logged l = toy_logged(theirs, toy_EV_ADD, 1, TOY_TAIL);

		other_machine(&l);
		r = take(&l);
	}
	cr_assert_eq(r, FOLLOW_E_ROOM);
	cr_assert_eq(n, (16 << 20) / (LIMIT_PAYLOAD + sizeof(struct effect_head)) + 1);
	for (unsigned i = 0; i < 2; i++) {
		struct toy_logged l = toy_logged(theirs, toy_EV_ADD, 1, TOY_TAIL);

		cr_assert_eq(take_event(&l), FOLLOW_OK);
		cr_assert_eq(take_proposal(&l), FOLLOW_E_ROOM);
		cr_assert_eq(follow_ahead(&f), 0);
		follow_pending_clear(&f);
	}
}

/* ---- what is read along the way ----------------------------------------------------- */

static unsigned n_turns;

static void count_turn(void *user, const struct log_record *event, const void *payload,
		       const struct turn *turn)
{
	cr_assert_eq(user, &n_turns);
	cr_assert_eq(event->code, toy_EV_ADD);
	cr_assert_eq(((const struct rec_amount *)payload)->amount, 7);
	cr_assert_eq(turn->n_effects, 1);
	n_turns++;
}

Test(follow, each_turn_is_shown)
{
	struct toy_logged l = add_one(7);

	f.on_turn = count_turn;
	f.user = &n_turns;
	cr_assert_eq(take(&l), FOLLOW_OK);
	cr_assert_eq(n_turns, 1);
}

Test(follow, a_log_that_ends_before_what_was_performed_is_not_whole)
{
	struct log_words words;
	struct toy_logged l = add_one(1);

	log_words_init(&words, 4096);
	f.reader.words = &words;
	cr_assert_eq(take(&l), FOLLOW_OK);
	cr_assert_not(follow_lacks(&f));
	atomic_store(&words.done, world_lane_const(ours)->seq);
	cr_assert_not(follow_lacks(&f));
	atomic_store(&words.done, world_lane_const(ours)->seq + 1);
	cr_assert(follow_lacks(&f));
}

Test(follow, a_level_above_ours_ends_it)
{
	struct toy_logged l = toy_logged(theirs, toy_EV_RAISE, 2, 0);

	cr_assert_eq(take(&l), FOLLOW_OK);
	cr_assert_eq(world_lane(ours)->level, 2);
	l = toy_logged(theirs, toy_EV_RAISE, 3, 0);
	cr_assert_eq(take(&l), FOLLOW_E_LEVEL);
	cr_assert_eq(world_lane(ours)->level, 2);
}

Test(follow, an_event_that_is_too_long_is_damage)
{
	struct toy_logged l = toy_logged(theirs, toy_EV_ADD, 1, TOY_TAIL);

	l.event.len++;
	cr_assert_eq(take(&l), FOLLOW_E_DAMAGED);
	cr_assert_eq(f.events, 0);
}

/* ---- in a ring ------------------------------------------------------------------------ */

static struct custody c;
static struct log_writer log_;

/* The events so far are the checkpoint's: none of them is in the ring. */
static void open_ring(void)
{
	cr_assert_eq(custody_create(&c), 0);
	log_writer_init(&log_, &c.lane_words[0], c.lane_ring, 0, 0, 0, 0);
	log_reader_init(&f.reader, &c.lane_words[0], c.lane_ring, 0, 0, f.buffer);
}

static void write_turns(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct toy_logged l = add_one(1);

		toy_write(&log_, &l);
	}
}

Test(follow, it_stops_at_the_turn_that_was_asked_for)
{
	open_ring();
	write_turns(5);
	cr_assert_eq(follow_run(&f, 4), FOLLOW_OK);
	cr_assert_eq(world_lane(ours)->seq, 4);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	cr_assert_eq(world_lane(ours)->seq, 6);
	custody_detach(&c);
}

Test(follow, the_first_confirm_above_done_is_remembered)
{
	uint64_t third;

	open_ring();
	write_turns(2);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	cr_assert_eq(f.redo_seq, 2);
	atomic_store(&c.lane_words[0].done, 3);
	third = log_.end;
	write_turns(2);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	cr_assert(f.redo_marked);
	cr_assert_eq(f.redo_seq, 4);
	cr_assert_gt(f.redo_position, third);
	atomic_store(&c.lane_words[0].done, 6);
	write_turns(1);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	cr_assert_not(f.redo_marked, "all is done");
	custody_detach(&c);
}

Test(follow, who_is_lapped_or_finds_damage_says_so)
{
	open_ring();
	write_turns(3);
	atomic_store(&c.lane_words[0].oldest, log_.end);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_E_LAPPED);
	atomic_store(&c.lane_words[0].oldest, 0);
	cr_assert_eq(follow_run(&f, 2), FOLLOW_OK);
	c.lane_ring[f.reader.position] ^= 1;
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_E_DAMAGED);
	custody_detach(&c);
}

/* A wrong confirm, and further on what is said to stand in its place. */
static int read_instead(void (*change)(struct toy_logged *l, struct log_record *h))
{
	struct toy_logged wrong = add_one(5), right = wrong;
	struct log_record h = wrong.confirm;

	other_amount(&wrong);
	open_ring();
	toy_write(&log_, &wrong);
	write_turns(1);
	h.type = LOG_INSTEAD;
	change(&right, &h);
	log_append(&log_, &h, &right.head, h.len);
	log_commit(&log_);
	return follow_run(&f, UINT64_MAX);
}

static void as_it_is(struct toy_logged *l, struct log_record *h)
{
	(void)l;
	(void)h;
}

static void of_another_turn(struct toy_logged *l, struct log_record *h)
{
	(void)l;
	h->seq++;
}

static void cut_short(struct toy_logged *l, struct log_record *h)
{
	h->len = sizeof(l->head) - 1;
}

static void with_more(struct toy_logged *l, struct log_record *h)
{
	(void)l;
	h->len += 8;
}

static void with_others(struct toy_logged *l, struct log_record *h)
{
	(void)h;
	other_amount(l);
}

Test(follow, what_was_rejected_is_known_by_what_stands_in_its_place)
{
	static void (*const no[])(struct toy_logged *, struct log_record *) = {
		of_another_turn, cut_short, with_more, with_others };

	cr_assert_eq(read_instead(as_it_is), FOLLOW_OK);
	for (unsigned i = 0; i < ARRAY_LEN(no); i++) {
		custody_detach(&c);
		teardown();
		setup();
		cr_assert_eq(read_instead(no[i]), FOLLOW_E_DIVERGED, "case %u", i);
	}
	custody_detach(&c);
}

/* ---- quarantine ------------------------------------------------------------------------ */

Test(follow, what_killed_two_owners_is_replaced)
{
	struct {
		struct log_quarantine q;
		struct rec_amount was;
	} instead = { .q = { .code = toy_EV_ADD } };
	struct toy_logged l = add_one(5);
	struct log_record h = l.event, other;
	struct log_confirm nothing = { 0 };
	const uint8_t *payload;

	h.type = LOG_QUARANTINE;
	h.code = toy_EV_CURE;
	h.len = sizeof(instead);
	cr_assert_eq(follow_record(&f, &h, 0, (void *)&instead), FOLLOW_E_DAMAGED, "of no event");
	cr_assert_eq(take_event(&l), FOLLOW_OK);
	other = h;
	other.seq++;
	cr_assert_eq(follow_record(&f, &other, 0, (void *)&instead), FOLLOW_E_DAMAGED);
	other = h;
	other.index++;
	cr_assert_eq(follow_record(&f, &other, 0, (void *)&instead), FOLLOW_E_DAMAGED);
	other = h;
	other.kind++;
	cr_assert_eq(follow_record(&f, &other, 0, (void *)&instead), FOLLOW_E_DAMAGED);
	other = h;
	other.len = sizeof(instead.q) - 1;
	cr_assert_eq(follow_record(&f, &other, 0, (void *)&instead), FOLLOW_E_DAMAGED);
	cr_assert_eq(follow_record(&f, &h, 0, (void *)&instead), FOLLOW_OK);
	cr_assert_eq(follow_pending_at(&f, 0, &payload)->code, toy_EV_CURE);
	cr_assert_null(follow_pending_at(&f, 1, &payload));
	h = l.confirm;
	h.len = sizeof(nothing);
	cr_assert_eq(follow_record(&f, &h, 0, (void *)&nothing), FOLLOW_OK);
	cr_assert_eq(toy_at(ours, 0)->refused, 100);
}

/* Of 16 KiB each: bytes end before places. */
Test(follow, what_waits_has_a_bound_in_bytes)
{
	struct toy_logged l = toy_logged(theirs, toy_EV_ADD, 1, TOY_TAIL);
	struct log_record h;
	unsigned n = 0;

	for (; take_event(&l) == FOLLOW_OK; n++)
		;
	cr_assert_eq(n, (4 << 20) / LIMIT_PAYLOAD);
	h = l.event;
	h.type = LOG_QUARANTINE;
	cr_assert_eq(follow_record(&f, &h, 0, (const uint8_t *)&l.amount), FOLLOW_E_DAMAGED);
}

Test(follow, what_waits_has_a_bound)
{
	struct toy_logged l = add_one(1);
	int r = FOLLOW_OK;

	for (unsigned i = 0; i < 100000 && r == FOLLOW_OK; i++)
		r = take_event(&l);
	cr_assert_eq(r, FOLLOW_E_DAMAGED);
	follow_pending_clear(&f);
	cr_assert_eq(follow_pending_count(&f), 0);
}
