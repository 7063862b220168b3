/* The owner's pipeline in one process: a predecessor's log is written by hand, up to where
 * it died; what the next owner performs, leaves out and tells the log is compared. Then
 * batches, the vote, and a log that is nearly full. */
#include "engine/lane.h"
#include "engine/test_kit.h"
#include "engine/vote.h"

enum { MOST = 2048, VOTER = 3 };

/* What the hands were asked for, and what they have to offer. */
static struct {
	unsigned n, redone, flushes, rebuilds, taken;
	uint64_t turn[MOST];
	uint32_t sum[MOST];
	unsigned inputs, answers;
	uint32_t tail;
} hands;

static struct custody c;
static struct log_writer log_;
static struct world *theirs;
static struct follower f;
static struct lane l;

static bool offer(struct lane *to)
{
	static const uint8_t zeros[TOY_TAIL];
	struct rec_amount a = { .amount = 1 };
	struct lane_event e = { .kind = TOY_KIND, .code = toy_EV_ADD, .fixed = &a,
				.fixed_len = sizeof(a), .tail = zeros, .tail_len = hands.tail };

	return lane_offer(to, &e);
}

static unsigned collect(void *user, struct lane *to, unsigned max)
{
	unsigned n = 0;

	(void)user;
	for (; n < max && hands.inputs; n++, hands.inputs--)
		cr_assert(offer(to));
	return n;
}

static void taken(void *user)
{
	(void)user;
	hands.taken++;
}

static void perform(void *user, const struct effect *e, bool redo)
{
	(void)user;
	cr_assert_lt(hands.n, MOST);
	hands.turn[hands.n] = e->seq;
	hands.sum[hands.n++] = ((const struct rec_amount *)e->p)->amount;
	hands.redone += redo;
}

static void flush(void *user)
{
	(void)user;
	hands.flushes++;
}

static void rebuild(void *user, const struct world *w)
{
	(void)user;
	(void)w;
	hands.rebuilds++;
}

static void answers(void *user, struct lane *to)
{
	(void)user;
	for (; hands.answers; hands.answers--)
		cr_assert(offer(to));
}

static const struct lane_ops ops = { .collect = collect, .taken = taken, .perform = perform,
				     .flush = flush, .rebuild = rebuild, .answers = answers };

static void turn_on(void)
{
	struct toy_logged t = toy_logged(theirs, toy_EV_TURN_ON, 0, 0);

	toy_write(&log_, &t);
	atomic_store(&c.lane_words[0].done, 1);
}

static void setup(void)
{
	cr_assert_eq(custody_create(&c), 0);
	log_writer_init(&log_, &c.lane_words[0], c.lane_ring, 0, 0, 0, 0);
	theirs = toy_world();
	turn_on();
}

static void teardown(void)
{
	toy_leave(&f);
	world_free(theirs);
	custody_detach(&c);
}

TestSuite(recover, .init = setup, .fini = teardown, .timeout = 60);

/* Turns up to @n, each of 1 more. */
static void write_turns(uint64_t n)
{
	while (world_lane(theirs)->seq < n) {
		struct toy_logged t = toy_logged(theirs, toy_EV_ADD, 1, 0);

		toy_write(&log_, &t);
	}
}

static void start(void)
{
	lane_start(&l, &c, f.world, &toy_codec, &ops, NULL, 2, &f);
}

/* The next owner of what was written. */
static int take_over(void)
{
	toy_follow(&f, &c);
	start();
	return lane_recover(&l, &f);
}

/* Records of @type in the log, all of it. */
static unsigned records(enum log_type type)
{
	static uint8_t scratch[LOG_SCRATCH];
	struct log_reader lr;
	struct log_record h;
	const uint8_t *p;
	unsigned n = 0;

	log_reader_init(&lr, &c.lane_words[0], c.lane_ring, 0, 0, scratch);
	while (log_read(&lr, &h, &p) == LOG_OK)
		n += h.type == type;
	cr_assert_eq(lr.position, atomic_load(&c.lane_words[0].tail));
	return n;
}

static uint64_t done(void)
{
	return atomic_load(&c.lane_words[0].done);
}

/* ---- redo --------------------------------------------------------------------------- */

Test(recover, what_is_confirmed_above_done_is_performed_again)
{
	write_turns(9);
	atomic_store(&c.lane_words[0].done, 5);
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(hands.n, 4);
	cr_assert_eq(hands.redone, 4);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(hands.turn[i], 6 + i);
	cr_assert_eq(done(), 9);
	cr_assert_eq(hands.rebuilds, 1);
	cr_assert_eq(lane_batch(&l), 0, "nothing is left to do");
}

Test(recover, an_owner_that_went_on_meanwhile_leaves_nothing_to_redo)
{
	write_turns(9);
	atomic_store(&c.lane_words[0].done, 5);
	toy_follow(&f, &c);
	atomic_store(&c.lane_words[0].done, 9);
	start();
	cr_assert_eq(lane_recover(&l, &f), 0);
	cr_assert_eq(hands.n, 0);
}

Test(recover, an_owner_that_went_on_a_little_leaves_the_rest)
{
	write_turns(9);
	atomic_store(&c.lane_words[0].done, 5);
	toy_follow(&f, &c);
	atomic_store(&c.lane_words[0].done, 7);
	start();
	cr_assert_eq(lane_recover(&l, &f), 0);
	cr_assert_eq(hands.n, 2);
	cr_assert_eq(hands.turn[0], 8);
}

Test(recover, a_log_that_breaks_under_the_redo_is_told)
{
	write_turns(9);
	atomic_store(&c.lane_words[0].done, 5);
	toy_follow(&f, &c);
	start();
	c.lane_ring[f.redo_position] ^= 1;
	cr_assert_eq(lane_recover(&l, &f), -EBADMSG);
	cr_assert_eq(hands.n, 0);
	cr_assert_eq(done(), 5);
}

Test(recover, what_had_no_confirm_is_stepped_once)
{
	write_turns(3);
	atomic_store(&c.lane_words[0].done, 3);
	for (unsigned i = 0; i < 4; i++) {
		struct toy_logged t = toy_logged(theirs, toy_EV_ADD, 1, 0);

		toy_write_event(&log_, &t);
	}
	log_commit(&log_);
	hands.answers = 2;
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(hands.n, 6, "and the answers that the hands had");
	cr_assert_eq(hands.redone, 0);
	cr_assert_eq(hands.sum[5], 2 + 6);
	cr_assert_eq(done(), 9);
}

Test(recover, more_events_than_any_batch_are_damage)
{
	struct toy_logged t = toy_logged(theirs, toy_EV_ADD, 1, 0);

	for (unsigned i = 0; i <= LANE_STAGED; i++, t.event.seq++)
		toy_write_event(&log_, &t);
	log_commit(&log_);
	cr_assert_eq(take_over(), -EBADMSG);
	cr_assert_eq(hands.n, 0);
}

/* ---- a predecessor that takes the guest back --------------------------------------- */

/* It follows with effects of its own, and trusts these. */
static void take_back(void)
{
	char why[160];

	cr_assert_eq(toy_begin(&f, &c, why), 0);
	cr_assert_eq(follow_own_init(&f), 0);
	f.overrules = true;
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	start();
	cr_assert_eq(lane_recover(&l, &f), 0);
}

/* A turn whose effects tell of 1,000 too many. */
static struct toy_logged wrong_turn(void)
{
	struct toy_logged t = toy_logged(theirs, toy_EV_ADD, 1, 0);

	((struct rec_amount *)(void *)(t.effects + sizeof(struct effect_head)))->amount += 1000;
	return t;
}

Test(recover, rejected_confirms_get_others_in_their_place)
{
	char why[160];

	for (unsigned i = 0; i < 3; i++) {
		struct toy_logged t = wrong_turn();

		toy_write(&log_, &t);
	}
	write_turns(6);
	atomic_store(&c.lane_words[0].done, 3);
	take_back();
	cr_assert_eq(records(LOG_INSTEAD), 3);
	cr_assert_eq(hands.n, 3, "turns 5 and 6 by the log, 4 by what stands in its place");
	cr_assert_eq(hands.turn[0], 5);
	cr_assert_eq(hands.turn[1], 6);
	cr_assert_eq(hands.turn[2], 4);
	cr_assert_eq(hands.sum[2], 3);
	toy_leave(&f);
	cr_assert_eq(toy_begin(&f, &c, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK, "who reads on knows");
	cr_assert_eq(world_lane(f.world)->seq, 6);
}

Test(recover, what_was_only_proposed_is_confirmed_as_it_was_stepped)
{
	struct toy_logged t[3];

	for (unsigned i = 0; i < 3; i++) {
		t[i] = wrong_turn();
		toy_write_event(&log_, &t[i]);
	}
	toy_write_effects(&log_, &t[0], LOG_PROPOSE);
	toy_write_effects(&log_, &t[1], LOG_PROPOSE);
	log_commit(&log_);
	take_back();
	cr_assert_eq(records(LOG_CONFIRM), 4);
	cr_assert_eq(hands.n, 3);
	cr_assert_eq(hands.redone, 2, "the hands were derived with these two");
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(hands.sum[i], i + 1, "its own effects");
	cr_assert_eq(done(), 4);
}

/* ---- what killed two owners --------------------------------------------------------- */

static void fault_twice(uint64_t turn, uint32_t effect)
{
	struct fault_point p = { .seq = turn, .effect = effect };

	faults_note(&c, &p);
	faults_note(&c, &p);
}

static unsigned cures(void)
{
	return toy_at(l.world, 0)->refused / 100;
}

Test(recover, a_void_effect_is_told_once)
{
	write_turns(9);
	atomic_store(&c.lane_words[0].done, 5);
	fault_twice(7, 1);
	fault_twice(8, 1);
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(hands.n, 2);
	cr_assert_eq(hands.turn[0], 6);
	cr_assert_eq(hands.turn[1], 9);
	cr_assert_eq(records(LOG_VOID), 2);
	cr_assert_eq(cures(), 1, "one machine, one event");
	cr_assert_eq(c.h->quarantines, 2);
}

Test(recover, each_machine_with_void_effects_is_told)
{
	struct toy_logged t;
	struct rec_amount a = { .amount = 1 };
	struct log_record h;

	write_turns(3);
	t = toy_logged(theirs, toy_EV_SPLIT, 0, 0);
	toy_write(&log_, &t);
	for (uint16_t index = 0; index < 2; index++) {
		h = (struct log_record){ .seq = 5 + index, .time_ns = UINT32_MAX, .kind = TOY_KIND,
					 .type = LOG_EVENT, .index = index, .code = toy_EV_ADD };
		log_append(&log_, &h, &a, sizeof(a));
	}
	log_commit(&log_);
	cr_assert_eq(take_over(), 0);
	toy_leave(&f);
	atomic_store(&c.lane_words[0].done, 4);
	fault_twice(5, 1);
	fault_twice(6, 1);
	hands.n = 0;
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(hands.n, 0);
	for (uint16_t index = 0; index < 2; index++)
		cr_assert_eq(toy_at(f.world, index)->refused, 100);
}

/* It died behind the tail that holds the event, before it moved DONE. */
Test(recover, a_machine_that_was_told_is_not_told_again)
{
	struct log_void said = { 0 };
	struct log_quarantine q = { .effect = TOY_COUNTED };
	struct log_record v = { .type = LOG_VOID, .seq = 7 }, h;
	struct toy_logged other;

	write_turns(9);
	atomic_store(&c.lane_words[0].done, 5);
	fault_twice(7, 1);
	v.time_ns = world_lane(theirs)->time_ns;
	log_append(&log_, &v, &said, sizeof(said));
	other = toy_logged(theirs, toy_EV_ADD, 1, 0);
	toy_write_event(&log_, &other);
	h = other.event;
	h.seq++;
	h.code = toy_EV_CURE;
	h.generation = toy_at(theirs, 0)->sm.generation;
	log_append(&log_, &h, &q, sizeof(q));
	log_commit(&log_);
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(cures(), 1);
	cr_assert_eq(records(LOG_VOID), 1);
	cr_assert_eq(c.h->quarantines, 0, "by another owner");
	cr_assert_eq(hands.n, 4);
	cr_assert_eq(done(), 11);
}

Test(recover, void_effects_have_a_bound)
{
	struct log_void said = { 0 };
	struct log_record v = { .type = LOG_VOID };

	write_turns(LIMIT_VOIDS + 10);
	atomic_store(&c.lane_words[0].done, 2);
	for (v.seq = 3; v.seq < LIMIT_VOIDS + 5; v.seq++)
		log_append(&log_, &v, &said, sizeof(said));
	log_append(&log_, &v, &said, sizeof(said) - 1);
	log_commit(&log_);
	fault_twice(LIMIT_VOIDS + 8, 1);
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(hands.n, 8, "all behind the first %u", (unsigned)LIMIT_VOIDS);
	cr_assert_eq(hands.turn[0], LIMIT_VOIDS + 3);
	cr_assert_eq(cures(), 1);
}

/* The same tables, but the machine has no event for it. */
static struct sm_desc uncured;
static const struct sm_desc *const uncured_machines[LIMIT_KINDS] = { [TOY_KIND] = &uncured };
static const struct registry uncured_registry = { uncured_machines, toy_effects, 2, 2 };

Test(recover, a_machine_that_cannot_be_told_is_left_alone)
{
	char why[160];

	uncured = toy_sm;
	uncured.quarantine = 0;
	write_turns(5);
	atomic_store(&c.lane_words[0].done, 3);
	fault_twice(5, 1);
	cr_assert_eq(follow_init(&f, world_new(&uncured_registry)), 0);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0x5A, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	start();
	cr_assert_eq(lane_recover(&l, &f), 0);
	cr_assert_eq(hands.n, 1);
	cr_assert_eq(records(LOG_VOID), 1);
	cr_assert_eq(world_lane(f.world)->seq, 5);
}

/* Whoever an event was for: there is a record of what stands in its place. */
Test(recover, an_event_to_nobody_that_killed_two_owners_is_replaced)
{
	const uint16_t kinds[] = { TOY_KIND, TOY_KIND + 1, UINT16_MAX };
	struct toy_logged t = toy_logged(theirs, toy_EV_ADD, 1, TOY_TAIL);

	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++, t.event.seq++) {
		t.event.kind = kinds[i];
		fault_twice(t.event.seq, 0);
		toy_write_event(&log_, &t);
	}
	log_commit(&log_);
	cr_assert_eq(take_over(), 0);
	cr_assert_eq(records(LOG_QUARANTINE), 3);
	cr_assert_eq(hands.n, 0);
	cr_assert_eq(cures(), 1);
	cr_assert_eq(world_lane(f.world)->ignored, 2);
}

/* ---- batches -------------------------------------------------------------------------- */

Test(recover, batches_grow_while_they_are_filled)
{
	const unsigned sizes[] = { 4, 8, 16, 32, 64, 64, 40, 1, 4 };

	cr_assert_eq(take_over(), 0);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		hands.inputs = i < 6 ? 200 : i == 6 ? 40 : i == 7 ? 1 : 200;
		cr_assert_eq(lane_batch(&l), sizes[i], "batch %u", i);
	}
	cr_assert_eq(hands.taken, ARRAY_LEN(sizes));
	cr_assert_eq(hands.redone, 0);
}

Test(recover, a_full_batch_takes_no_more)
{
	unsigned n = 0;

	cr_assert_eq(take_over(), 0);
	lane_settle(&l);
	cr_assert_eq(hands.flushes, 1, "of the recovery: nothing was staged");
	while (offer(&l))
		n++;
	cr_assert_eq(n, LANE_OFFERED);
	lane_settle(&l);
	cr_assert_eq(hands.n, LANE_OFFERED);
	cr_assert_eq(hands.taken, 0);
	cr_assert_eq(toy_at(l.world, 0)->total, LANE_OFFERED);
}

Test(recover, more_answers_than_a_batch_go_alone)
{
	cr_assert_eq(take_over(), 0);
	for (unsigned i = 0; i < 10; i++)
		cr_assert(offer(&l));
	hands.inputs = 5;
	cr_assert_eq(lane_batch(&l), 10);
	cr_assert_eq(hands.inputs, 5);
	cr_assert_eq(lane_batch(&l), 5);
}

Test(recover, a_checkpoint_that_is_not_trusted_is_made_anew)
{
	cr_assert_eq(take_over(), 0);
	hands.inputs = 1;
	lane_batch(&l);
	cr_assert_eq(atomic_load(&c.stats->checkpoints), 0);
	lane_distrust_checkpoints(&l);
	lane_batch(&l);
	cr_assert_eq(atomic_load(&c.stats->checkpoints), 1);
	lane_batch(&l);
	cr_assert_eq(atomic_load(&c.stats->checkpoints), 1);
}

static bool no_room;

static int pack_if(const struct world *w, uint8_t *bytes, size_t capacity, size_t *ret_len)
{
	return no_room ? -ENOSPC : toy_pack(w, bytes, capacity, ret_len);
}

static const struct slot_codec sometimes = { pack_if, toy_unpack };

Test(recover, without_a_checkpoint_input_waits_before_the_log_is_full)
{
	unsigned turns = 0;
	uint64_t most;

	cr_assert_eq(take_over(), 0);
	l.codec = &sometimes;
	no_room = true;
	hands.inputs = UINT32_MAX;
	hands.tail = TOY_TAIL;
	for (unsigned n; (n = lane_batch(&l)) != 0; hands.n = 0)
		turns += n;
	cr_assert_gt(turns, 100);
	cr_assert_eq(atomic_load(&c.stats->log_full_waits), 1);
	most = (LIMIT_BATCH + 1) * (LIMIT_TURN_BYTES + LIMIT_PACKET + 512);
	cr_assert_lt(log_room(&l.log), most);
	cr_assert_gt(log_room(&l.log), most / 2, "a batch would still go in");
	cr_assert_eq(lane_batch(&l), 0, "it goes on waiting");
	no_room = false;
	cr_assert_eq(lane_checkpoint(&l), 0);
	cr_assert_eq(lane_checkpoint(&l), 0, "both slots: the older one is what is kept");
	cr_assert_gt(lane_batch(&l), 0);
	cr_assert_eq(atomic_load(&c.stats->log_full_waits), 2);
}

/* ---- the vote ------------------------------------------------------------------------- */

/* An owner whose turns up to @until are voted on; the voter agrees up to @agrees. */
static void is_voted_on(uint64_t until, uint64_t agrees)
{
	cr_assert_eq(take_over(), 0);
	l.vote_until = until;
	atomic_store(&c.h->predecessor, VOTER + 1);
	atomic_store(&c.proc[VOTER].pid, getpid());
	vote_open(&c, agrees);
}

Test(recover, what_is_agreed_to_is_proposed_and_confirmed)
{
	is_voted_on(5, 1000);
	hands.inputs = 4;
	cr_assert_eq(lane_batch(&l), 4);
	cr_assert_eq(records(LOG_PROPOSE), 4);
	cr_assert_eq(records(LOG_CONFIRM), 1 + 4);
	cr_assert_eq(hands.n, 4);
	cr_assert_eq(hands.sum[3], 4);
	hands.inputs = 4;
	cr_assert_eq(lane_batch(&l), 4);
	cr_assert_eq(records(LOG_PROPOSE), 4, "nobody votes on turn 6");
	cr_assert_not(vote_is_open(&c));
	cr_assert_eq(hands.n, 8);
}

Test(recover, what_is_refused_never_happens)
{
	is_voted_on(1000, 1);
	cr_assert(vote_refuse(&c, 3));
	hands.inputs = 4;
	hands.n = 0;
	lane_batch(&l);
	cr_assert(l.refused);
	cr_assert_eq(hands.n, 0);
	cr_assert_eq(done(), 1);
	cr_assert_eq(records(LOG_PROPOSE), 4);
	cr_assert_eq(records(LOG_CONFIRM), 1);
	cr_assert_eq(lane_batch(&l), 0);
	lane_settle(&l);
	cr_assert_eq(hands.n, 0);
}

Test(recover, a_refusal_behind_the_last_voted_turn_counts)
{
	is_voted_on(2, 1);
	cr_assert(vote_refuse(&c, 2));
	hands.inputs = 4;
	lane_batch(&l);
	cr_assert(l.refused);
	cr_assert_eq(records(LOG_PROPOSE), 0);
	cr_assert_eq(hands.n, 0);
}

Test(recover, a_vote_that_was_closed_is_not_waited_for)
{
	is_voted_on(1000, 1);
	cr_assert(vote_close(&c));
	hands.inputs = 4;
	cr_assert_eq(lane_batch(&l), 4);
	cr_assert_eq(records(LOG_PROPOSE), 0);
	cr_assert_eq(l.vote_until, 0);
	cr_assert_eq(hands.n, 4);
}

Test(recover, a_voter_that_is_dead_votes_no_more)
{
	const uint32_t nobody[] = { 0, LIMIT_PROCS + 1, VOTER + 1 };

	for (unsigned i = 0; i < ARRAY_LEN(nobody); i++) {
		hands.n = 0;
		if (i)
			toy_leave(&f);
		is_voted_on(1000, 1);
		atomic_store(&c.h->predecessor, nobody[i]);
		atomic_store(&c.proc[VOTER].pid, 0);
		hands.inputs = 4;
		cr_assert_eq(lane_batch(&l), 4);
		cr_assert_eq(hands.n, 4);
		cr_assert_not(vote_is_open(&c));
	}
}
