/* Following, record by record: which difference is named, what a log that does not hold
 * together is told, and what a predecessor keeps of its own. The records are made by a
 * second world, which steps the same events. */
#include "engine/follow.h"
#include "engine/test_toy.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { BYTES = 512 };

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
	theirs = world_new(&toy_registry);
	ours = world_new(&toy_registry);
	world_spawn_fixed(theirs, TOY_KIND, 1);
	world_spawn_fixed(ours, TOY_KIND, 1);
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

/* One ADD, as a log has it: the event, and behind it the confirm's payload. */
struct logged {
	struct log_record event, confirm;
	struct rec_amount amount;
	struct log_confirm head;
	uint8_t effects[BYTES];
};

static struct logged add_one(uint32_t amount)
{
	struct turn t = toy_turn(theirs, 0, toy_EV_ADD, amount, "");
	const struct lane_state *lane = world_lane_const(theirs);
	struct logged l = {
		.event = { .seq = lane->seq, .time_ns = lane->time_ns, .epoch = 1,
			   .type = LOG_EVENT, .kind = TOY_KIND, .code = toy_EV_ADD,
			   .len = sizeof(l.amount) },
		.amount = { .amount = amount },
		.head = { .n_effects = t.n_effects, .bytes = t.bytes },
	};

	memcpy(l.effects, t.effects, t.bytes);
	l.confirm = l.event;
	l.confirm.type = LOG_CONFIRM;
	l.confirm.len = (uint32_t)(sizeof(l.head) + t.bytes);
	return l;
}

static int take_event(const struct logged *l)
{
	return follow_record(&f, &l->event, 0, (const uint8_t *)&l->amount);
}

static int take_confirm(const struct logged *l)
{
	return follow_record(&f, &l->confirm, 0, (const uint8_t *)&l->head);
}

static int take_proposal(const struct logged *l)
{
	struct log_record h = l->confirm;

	h.type = LOG_PROPOSE;
	return follow_record(&f, &h, 0, (const uint8_t *)&l->head);
}

static int take(const struct logged *l)
{
	cr_assert_eq(take_event(l), FOLLOW_OK);
	return take_confirm(l);
}

static struct effect_head *head_of(struct logged *l)
{
	return (struct effect_head *)(void *)l->effects;
}

/* Changes one thing that was recorded, and is told its name. */
static void differs_in(const char *name, void (*change)(struct logged *l))
{
	struct logged l = add_one(5);

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

static void other_machine(struct logged *l)
{
	head_of(l)->index = 1;
}

static void other_kind(struct logged *l)
{
	head_of(l)->kind++;
}

static void other_generation(struct logged *l)
{
	head_of(l)->generation++;
}

static void other_amount(struct logged *l)
{
	l->effects[sizeof(struct effect_head)]++;
}

static void longer(struct logged *l)
{
	head_of(l)->len += 8;
	l->head.bytes += 8;
	l->confirm.len += 8;
}

static void none(struct logged *l)
{
	l->head.bytes = 0;
	l->confirm.len = sizeof(l->head);
}

static void twice(struct logged *l)
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

Test(follow, equal_effects_are_no_difference)
{
	for (uint32_t i = 1; i < 20; i++) {
		struct logged l = add_one(i);

		cr_assert_eq(take(&l), FOLLOW_OK);
	}
	cr_assert_eq(n_seen, 0);
	cr_assert_eq(f.events, 19);
	cr_assert_eq(f.divergences, 0);
}

Test(follow, a_confirm_that_does_not_fit_is_damage)
{
	struct logged l = add_one(5), bad;

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
	struct logged l = add_one(5), bad = l;

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
	struct logged l = add_one(5);

	cr_assert_eq(take_event(&l), FOLLOW_OK);
	cr_assert_eq(take_proposal(&l), FOLLOW_OK);
	cr_assert_eq(follow_ahead(&f), 0);
	cr_assert_eq(f.events, 0);
	cr_assert_eq(take_confirm(&l), FOLLOW_OK);
}

Test(follow, what_is_proposed_is_stepped_once)
{
	struct logged first, second;
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
	struct logged l = add_one(5);

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
		struct logged l = add_one(5);

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
		struct logged l = add_one(0);

		other_machine(&l);
		r = take(&l);
	}
	cr_assert_eq(r, FOLLOW_E_ROOM);
}

/* ---- quarantine ------------------------------------------------------------------------ */

Test(follow, what_killed_two_owners_is_replaced)
{
	struct {
		struct log_quarantine q;
		struct rec_amount was;
	} instead = { .q = { .code = toy_EV_ADD } };
	struct logged l = add_one(5);
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
	cr_assert_eq(((const struct toy *)world_at(ours, TOY_KIND, 0))->refused, 100);
}

Test(follow, what_waits_has_a_bound)
{
	struct logged l = add_one(1);
	int r = FOLLOW_OK;

	for (unsigned i = 0; i < 100000 && r == FOLLOW_OK; i++)
		r = take_event(&l);
	cr_assert_eq(r, FOLLOW_E_DAMAGED);
	follow_pending_clear(&f);
	cr_assert_eq(follow_pending_count(&f), 0);
}
