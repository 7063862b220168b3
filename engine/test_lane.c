/* The owner's pipeline under sudden death: a child process serves inputs from
 * shared memory and ends itself at the k-th call of its hands, for every k; the
 * next owner recovers from custody. Each input is applied exactly once. */
#include "engine/lane.h"
#include "engine/test_kit.h"
#include "tests/child.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <xxhash.h>

enum { INPUTS = 40, DIED = 77 };

/* Outside the paravisor: a source with its published head, a target that keeps
 * the id of the last effect applied. */
struct outside {
	uint64_t taken;
	uint64_t last_id;
	uint64_t n, sum, order_errors;
	unsigned die_at, calls, checkpoint_every;
	uint32_t hand_bug;      /* sum whose effect ends the process */
	uint32_t hand_bug_last; /* 0: only that one; else all up to this */
	unsigned at_once;       /* inputs of a batch; 0: 3 */
	uint32_t cures;
};

struct hands_toy {
	struct outside *o;
	uint64_t at;            /* next input to collect; rebuilt from the world */
};

static struct outside *outside;
static struct custody c;

static void point(struct outside *o)
{
	if (++o->calls == o->die_at)
		toy_exit(DIED);
}

static unsigned collect(void *user, struct lane *l, unsigned max)
{
	struct hands_toy *h = user;
	unsigned n = 0, at_once = h->o->at_once ? h->o->at_once : 3;

	point(h->o);
	if (max > at_once)
		max = at_once;
	for (; n < max && h->at < INPUTS; n++) {
		struct rec_amount a = { .amount = (uint32_t)h->at + 1 };
		struct lane_event e = { .kind = TOY_KIND, .code = toy_EV_ADD, .fixed = &a,
					.fixed_len = sizeof(a), .source = SOURCE_POSTED,
					.source_pos = ++h->at };

		cr_assert(lane_offer(l, &e));
	}
	return n;
}

static void taken(void *user)
{
	struct hands_toy *h = user;

	point(h->o);
	h->o->taken = h->at;
}

static struct lane *serving;

/* As the handler of a fatal signal. */
static void fault(void)
{
	faults_note(&c, &serving->point);
	toy_exit(DIED);
}

static void perform(void *user, const struct effect *e, bool redo)
{
	struct hands_toy *h = user;
	uint64_t sum = ((const struct rec_amount *)e->p)->amount;

	point(h->o);
	if (redo && effect_id(e) <= h->o->last_id)
		return;
	if (h->o->hand_bug && sum >= h->o->hand_bug &&
	    sum <= (h->o->hand_bug_last ? h->o->hand_bug_last : h->o->hand_bug))
		fault();
	if (effect_id(e) <= h->o->last_id)
		h->o->order_errors++;
	h->o->n++;
	h->o->sum = sum;
	h->o->last_id = effect_id(e);
	point(h->o);
}

static void flush(void *user)
{
	point(((struct hands_toy *)user)->o);
}

static void rebuild(void *user, const struct world *w)
{
	struct hands_toy *h = user;

	h->at = world_lane_const(w)->source_pos[SOURCE_POSTED];
	h->o->taken = h->at;
}

static void answers(void *user, struct lane *l)
{
	(void)l;
	point(((struct hands_toy *)user)->o);
}

static const struct lane_ops ops = { .collect = collect, .taken = taken, .perform = perform,
				     .flush = flush, .rebuild = rebuild, .answers = answers };

/* One owner's life: recover, serve to the end or to its death. */
static void serve(uint32_t epoch)
{
	struct world *w = world_new(&toy_registry);
	struct hands_toy hands = { .o = outside };
	struct follower f;
	struct lane l;
	struct lane_event on = { .kind = TOY_KIND, .code = toy_EV_TURN_ON };
	char why[160];
	unsigned batches = 0;

	cr_assert_eq(follow_init(&f, w), 0);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0xA5, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	cr_assert_eq(f.divergences, 0);
	rebuild(&hands, w);
	serving = &l;
	lane_start(&l, &c, w, &toy_codec, &ops, &hands, epoch, &f);
	cr_assert_eq(lane_recover(&l, &f), 0);
	if (world_lane(w)->seq == 0)
		lane_offer(&l, &on);
	while (lane_batch(&l))
		if (outside->checkpoint_every && ++batches % outside->checkpoint_every == 0)
			cr_assert_eq(lane_checkpoint(&l), 0);
	outside->cures = toy_at(w, 0)->refused / 100;
	follow_deinit(&f);
	world_free(w);
}

static void setup(void)
{
	cr_assert_eq(custody_create(&c), 0);
	outside = mmap(NULL, sizeof(*outside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
}

static void begin_again(void)
{
	memset(outside, 0, sizeof(*outside));
	log_words_init(&c.lane_words[0], LIMIT_LOG_BYTES);
	memset(c.h->fault, 0, sizeof(c.h->fault));
	c.h->faults = c.h->quarantines = 0;
	c.slot_head[0].generation = c.slot_head[1].generation = 0;
}

/* Serves, dying at the @k-th call, then again without dying. True: it died. */
static bool one_death(unsigned k, unsigned checkpoint_every, unsigned deaths)
{
	int status = 0;
	bool died = false;

	begin_again();
	outside->checkpoint_every = checkpoint_every;
	for (unsigned life = 0; life <= deaths; life++) {
		pid_t pid = child_fork();

		if (pid == 0) {
			outside->calls = 0;
			outside->die_at = life < deaths ? k : 0;
			serve(life + 1);
			toy_exit(0);
		}
		waitpid(pid, &status, 0);
		died |= WIFEXITED(status) && WEXITSTATUS(status) == DIED;
	}
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "death at call %u", k);
	cr_assert_eq(outside->n, INPUTS, "death at call %u: %lu effects", k, (unsigned long)outside->n);
	cr_assert_eq(outside->sum, INPUTS * (INPUTS + 1) / 2);
	cr_assert_eq(outside->order_errors, 0, "death at call %u", k);
	cr_assert_eq(outside->taken, INPUTS);
	return died;
}

TestSuite(lane, .init = setup, .timeout = 120);

Test(lane, a_death_at_any_call_applies_each_input_once)
{
	unsigned k = 1;

	while (one_death(k, 0, 1))
		k++;
	cr_assert_gt(k, INPUTS, "the deaths covered the whole run");
}

Test(lane, a_death_behind_a_checkpoint_too)
{
	for (unsigned k = 1; k < 60; k++)
		cr_assert(one_death(k, 3, 2), "nobody died at call %u", k);
}

Test(lane, a_skipped_record_is_never_silently_accepted)
{
	struct world *w = world_new(&toy_registry);
	struct follower f;
	char why[160];
	struct log_record h;
	uint64_t second;

	one_death(0, 0, 0);
	memcpy(&h, c.lane_ring, sizeof(h));
	second = log_cost(h.len);
	cr_assert_eq(follow_init(&f, w), 0);
	memcpy(&h, c.lane_ring + second, sizeof(h));
	memmove(c.lane_ring + second, c.lane_ring + second + log_cost(h.len), 4096);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_E_DAMAGED);
	follow_deinit(&f);
	world_free(w);
}

static unsigned third_dies_at;

/* Lives until one is through; returns how many died, and follows the log anew. */
static unsigned lives(void)
{
	struct world *w = world_new(&toy_registry);
	struct follower f;
	char why[160];
	unsigned deaths = 0;
	int status;

	for (;; deaths++) {
		pid_t pid = child_fork();

		if (pid == 0) {
			outside->calls = 0;
			outside->die_at = deaths == 2 ? third_dies_at : 0;
			serve(deaths + 1);
			toy_exit(0);
		}
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != DIED || deaths > 20)
			break;
	}
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_assert_eq(follow_init(&f, w), 0);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0x5A, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	cr_assert_eq(f.divergences, 0);
	cr_assert_eq(toy_at(w, 0)->refused, 100 * outside->cures);
	follow_deinit(&f);
	world_free(w);
	return deaths;
}

/* A guest whose every event is answered by the hands: something is staged when
 * each batch begins. */
enum { SMALL_LOG = 1 << 20, ENDLESS = 30000 };
static unsigned endless;

static bool offer_one(struct lane *l)
{
	struct rec_amount a = { .amount = 1 };
	struct lane_event e = { .kind = TOY_KIND, .code = toy_EV_ADD, .fixed = &a,
				.fixed_len = sizeof(a) };

	return lane_offer(l, &e);
}

static unsigned collect_endless(void *user, struct lane *l, unsigned max)
{
	(void)user;
	endless++;
	return max && offer_one(l);
}

static void answer_endless(void *user, struct lane *l)
{
	(void)user;
	if (endless)
		offer_one(l);
	endless = 0;
}

static void ignore_effect(void *user, const struct effect *e, bool redo)
{
	(void)user;
	(void)e;
	(void)redo;
}

static void ignore(void *user)
{
	(void)user;
}

static void ignore_world(void *user, const struct world *w)
{
	(void)user;
	(void)w;
}

Test(lane, checkpoints_are_made_though_answers_are_always_staged)
{
	static const struct lane_ops busy = { .collect = collect_endless, .taken = ignore,
					      .perform = ignore_effect, .flush = ignore,
					      .rebuild = ignore_world, .answers = answer_endless };
	struct world *w = world_new(&toy_registry);
	struct follower f;
	struct lane l;
	char why[160];

	log_words_init(&c.lane_words[0], SMALL_LOG);
	cr_assert_eq(follow_init(&f, w), 0);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0, why), 0);
	lane_start(&l, &c, w, &toy_codec, &busy, NULL, 1, &f);
	cr_assert_eq(lane_recover(&l, &f), 0);
	for (unsigned i = 0; i < ENDLESS; i++)
		cr_assert_neq(lane_batch(&l), 0);
	cr_assert_gt(l.log.end, 3 * SMALL_LOG, "the ring was gone round");
	cr_assert_gt(atomic_load(&c.stats->checkpoints), 3 * 16);
	follow_deinit(&f);
	world_free(w);
}

Test(lane, owners_that_die_early_do_not_put_a_checkpoint_off_for_ever)
{
	static const struct lane_ops busy = { .collect = collect_endless, .taken = ignore,
					      .perform = ignore_effect, .flush = ignore,
					      .rebuild = ignore_world, .answers = answer_endless };

	log_words_init(&c.lane_words[0], SMALL_LOG);
	for (uint32_t epoch = 1; epoch < 300; epoch++) {
		struct world *w = world_new(&toy_registry);
		struct follower f;
		struct lane l;
		char why[160];

		cr_assert_eq(follow_init(&f, w), 0);
		cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0, why), 0);
		cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
		lane_start(&l, &c, w, &toy_codec, &busy, NULL, epoch, &f);
		cr_assert_eq(lane_recover(&l, &f), 0);
		while (l.log.end - f.reader.position < SMALL_LOG / 100)
			lane_batch(&l);
		lane_settle(&l);
		follow_deinit(&f);
		world_free(w);
	}
	cr_assert_gt(atomic_load(&c.stats->checkpoints), 30);
}

Test(lane, an_event_that_killed_two_owners_is_replaced)
{
	begin_again();
	toy_bug = fault;
	toy_bug_amount = 14;
	cr_assert_eq(lives(), 2);
	cr_assert_eq(outside->cures, 1);
	cr_assert_eq(c.h->quarantines, 1);
	cr_assert_eq(outside->n, INPUTS - 1, "all others were applied");
	cr_assert_eq(outside->sum, INPUTS * (INPUTS + 1) / 2 - 14);
	cr_assert_eq(outside->taken, INPUTS);
}

Test(lane, an_effect_that_killed_two_owners_is_left_out)
{
	begin_again();
	outside->hand_bug = 14 * 15 / 2;
	cr_assert_eq(lives(), 2);
	cr_assert_eq(outside->cures, 1);
	cr_assert_eq(outside->n, INPUTS - 1);
	cr_assert_eq(outside->sum, INPUTS * (INPUTS + 1) / 2);
	cr_assert_eq(outside->order_errors, 0);
}

Test(lane, many_effects_of_one_batch_that_killed_two_owners_are_left_out)
{
	begin_again();
	outside->at_once = INPUTS;
	outside->hand_bug = 14 * 15 / 2;
	outside->hand_bug_last = 20 * 21 / 2;
	cr_assert_eq(lives(), 2 * 7);
	cr_assert_eq(outside->cures, 1, "one machine is told once");
	cr_assert_eq(outside->n, INPUTS - 7);
	cr_assert_eq(outside->order_errors, 0);
}

Test(lane, a_machine_is_told_of_its_void_effect_whatever_dies_in_between)
{
	for (third_dies_at = 1; third_dies_at < 24; third_dies_at++) {
		begin_again();
		outside->hand_bug = 14 * 15 / 2;
		cr_assert_eq(lives(), 3, "death at call %u", third_dies_at);
		cr_assert_eq(outside->cures, 1, "death at call %u", third_dies_at);
		cr_assert_eq(outside->n, INPUTS - 1);
		cr_assert_eq(outside->order_errors, 0);
	}
}

Test(lane, two_hundred_kills_quarantine_nothing)
{
	for (unsigned k = 1; k < 9; k++)
		one_death(k, 3, 25);
	cr_assert_eq(c.h->quarantines, 0);
	cr_assert_eq(outside->cures, 0);
}

/* ---- checkpoints and what the log tells of them ------------------------------------ */

/* A whole run that leaves two checkpoints. */
static void run_with_checkpoints(void)
{
	begin_again();
	outside->checkpoint_every = 3;
	cr_assert_eq(lives(), 0);
}

static unsigned newer_slot(void)
{
	return c.slot_head[0].generation > c.slot_head[1].generation ? 0 : 1;
}

/* As somebody would who knows all there is to know about a slot. */
static void change_slot(unsigned slot)
{
	struct toy_saved *s = (void *)c.slot[slot];
	XXH128_hash_t hash;

	s->total++;
	hash = XXH3_128bits(s, sizeof(*s));
	c.slot_head[slot].hash[0] = hash.low64;
	c.slot_head[slot].hash[1] = hash.high64;
}

struct loaded {
	int r;
	struct slot_cut cut;
	uint64_t total;
	char why[160];
};

static struct loaded load(void)
{
	struct world *w = world_new(&toy_registry);
	struct loaded l = { .why = "" };
	struct follower f;

	cr_assert_eq(follow_init(&f, w), 0);
	l.r = follow_begin(&f, &c, &toy_codec, toy_fresh, 0x5A, l.why);
	l.cut = f.cut;
	if (l.r == 0) {
		cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
		l.total = toy_at(w, 0)->total;
	}
	follow_deinit(&f);
	world_free(w);
	return l;
}

Test(lane, a_changed_checkpoint_is_passed_over)
{
	unsigned newer;
	struct loaded l;

	run_with_checkpoints();
	newer = newer_slot();
	change_slot(newer);
	l = load();
	cr_assert_eq(l.r, 0);
	cr_assert_eq(l.total, INPUTS * (INPUTS + 1) / 2);
	cr_assert_eq(l.cut.generation, c.slot_head[1 - newer].generation);
	cr_assert_eq(l.cut.refused[newer], c.slot_head[newer].generation);
	cr_assert_eq(l.cut.refused[1 - newer], 0);
	cr_assert(strstr(l.why, "the log tells of"), "%s", l.why);
}

Test(lane, both_checkpoints_changed_leave_the_log_or_nothing)
{
	struct loaded l;

	run_with_checkpoints();
	change_slot(0);
	change_slot(1);
	l = load();
	cr_assert_eq(l.r, 0);
	cr_assert_eq(l.total, INPUTS * (INPUTS + 1) / 2);
	cr_assert_eq(l.cut.generation, 0, "from the beginning of the log");
	atomic_store(&c.lane_words[0].oldest, log_cost(0));
	l = load();
	cr_assert_eq(l.r, -EBADMSG);
	cr_assert(strstr(l.why, "the log tells of"), "%s", l.why);
}

Test(lane, a_changed_place_of_a_checkpoint_is_passed_over)
{
	run_with_checkpoints();
	for (unsigned field = 0; field < 3; field++) {
		struct wire_slot_head *h = &c.slot_head[newer_slot()];
		uint64_t *word = field == 0 ? &h->seq : field == 1 ? &h->position : &h->chain;
		struct loaded l;

		*word ^= 8;
		l = load();
		cr_assert_eq(l.r, 0, "field %u", field);
		cr_assert_eq(l.total, INPUTS * (INPUTS + 1) / 2);
		cr_assert_neq(l.cut.generation, h->generation);
		*word ^= 8;
	}
}

Test(lane, the_next_checkpoint_takes_the_place_of_a_refused_one)
{
	struct hands_toy hands = { .o = outside };
	struct world *w = world_new(&toy_registry);
	struct follower f;
	struct lane l;
	char why[160];
	unsigned bad;
	uint64_t good, refused;

	run_with_checkpoints();
	bad = newer_slot();
	good = c.slot_head[1 - bad].generation;
	refused = c.slot_head[bad].generation;
	change_slot(bad);
	cr_assert_eq(follow_init(&f, w), 0);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	lane_start(&l, &c, w, &toy_codec, &ops, &hands, 9, &f);
	cr_assert_eq(c.slot_head[bad].generation % 2, 1, "nobody is to believe it");
	cr_assert_eq(l.log.keep, c.slot_head[1 - bad].position);
	cr_assert_eq(lane_recover(&l, &f), 0);
	cr_assert_eq(lane_checkpoint(&l), 0);
	cr_assert_eq(c.slot_head[1 - bad].generation, good);
	cr_assert_gt(c.slot_head[bad].generation, refused);
	cr_assert_eq(c.slot_head[bad].generation % 2, 0);
	follow_deinit(&f);
	world_free(w);
}

/* The log is told first: a death in between leaves a record and no slot. */
Test(lane, a_death_before_a_checkpoint_is_valid_leaves_the_older_one)
{
	struct loaded l;
	unsigned newer;

	run_with_checkpoints();
	newer = newer_slot();
	c.slot_head[newer].generation--;
	l = load();
	cr_assert_eq(l.r, 0);
	cr_assert_eq(l.total, INPUTS * (INPUTS + 1) / 2);
	cr_assert_eq(l.cut.refused[0] + l.cut.refused[1], 0);
}

/* Builds before this record did not tell the log. */
Test(lane, a_checkpoint_that_the_log_does_not_tell_of_is_believed)
{
	struct world *w = world_new(&toy_registry);
	struct log_writer full;
	struct follower f;
	struct loaded l;
	char why[160];

	run_with_checkpoints();
	cr_assert_eq(follow_init(&f, w), 0);
	cr_assert_eq(follow_begin(&f, &c, &toy_codec, toy_fresh, 0, why), 0);
	cr_assert_eq(follow_run(&f, UINT64_MAX), FOLLOW_OK);
	log_writer_init(&full, &c.lane_words[0], c.lane_ring, 0, f.reader.position, f.reader.chain,
			0);
	full.size = full.end;
	cr_assert_eq(slot_write(&c, &toy_codec, w, &full), 0);
	cr_assert_eq(full.end, atomic_load(&c.lane_words[0].tail), "no record");
	l = load();
	cr_assert_eq(l.r, 0);
	cr_assert_eq(l.cut.position, full.end);
	cr_assert_eq(l.total, INPUTS * (INPUTS + 1) / 2);
	follow_deinit(&f);
	world_free(w);
}

/* Recorded effects behind the last computed one that are none at all. */
Test(lane, recorded_effects_that_do_not_hold_together_are_a_divergence)
{
	static uint8_t changed[LIMIT_TURN_BYTES], scratch[LOG_SCRATCH];
	struct world *w = world_new(&toy_registry);
	struct log_record h = { .type = LOG_EVENT };
	struct log_confirm confirm;
	struct log_reader lr;
	struct follower f;
	const uint8_t *p;

	run_with_checkpoints();
	cr_assert_eq(follow_init(&f, w), 0);
	toy_fresh(w);
	log_reader_init(&lr, &c.lane_words[0], c.lane_ring, 0, 0, scratch);
	for (;;) {
		cr_assert_eq(log_read(&lr, &h, &p), LOG_OK);
		if (h.type == LOG_CONFIRM && h.len > sizeof(confirm))
			break;
		cr_assert_eq(follow_record(&f, &h, 0, p), FOLLOW_OK);
	}
	memset(changed, 0xff, sizeof(changed));
	memcpy(&confirm, p, sizeof(confirm));
	memcpy(changed, p, h.len);
	confirm.bytes += 8;
	memcpy(changed, &confirm, sizeof(confirm));
	h.len += 8;
	cr_assert_eq(follow_record(&f, &h, 0, changed), FOLLOW_E_DIVERGED);
	cr_assert_eq(f.divergences, 1);
	follow_deinit(&f);
	world_free(w);
}
