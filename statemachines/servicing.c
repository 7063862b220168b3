/* Who serves the guest. The machine decides and reports; the partition spawns,
 * the hands flip, and the first record of a new owner says that it happened.
 *
 * Invariants: a successor is named exactly in FOLLOWING and FLIPPING; a
 * predecessor that can take the guest back only in PROBATION and RETURNING.
 * Every SERVICE and ROLLBACK is answered by one REPORT, with the phase in its
 * text when it failed. A deadline is a field; who arms no timer gets none. */
#include "statemachines/servicing.h"

#include "engine/world.h"
#include "statemachines/effects.h"
#include "statemachines/heartbeat_ic.h"
#include "statemachines/machines.h"
#include "statemachines/operator.h"
#include "statemachines/scsi.h"
#include "statemachines/timesync_ic.h"

#include <string.h>

enum { TEXT_MAX = 512 };
/* Deadlines of the phases. A successor starts in milliseconds and loads a
 * checkpoint of up to LIMIT_SLOT_BYTES in tens of them: what takes this long
 * hangs. FLIPPING and RETURNING have theirs in the process whose lane has
 * stopped: nobody takes a TIMER while nobody serves. */
static const uint64_t spawning_ns = 10ull * 1000000000;
static const uint64_t following_ns = 60ull * 1000000000;

static bool holds_alone(const void *self)
{
	const struct servicing *s = self;

	return s->successor == 0 && s->predecessor == 0;
}

static bool holds_successor(const void *self)
{
	const struct servicing *s = self;

	return s->successor != 0 && s->predecessor == 0;
}

static bool holds_no_successor(const void *self)
{
	return ((const struct servicing *)self)->successor == 0;
}

static bool holds_predecessor(const void *self)
{
	const struct servicing *s = self;

	return s->successor == 0 && s->predecessor != 0;
}

/* ---- text --------------------------------------------------------------- */

struct text {
	char s[TEXT_MAX];
	size_t len;
};

static void put(struct text *t, const char *s, size_t len)
{
	for (size_t i = 0; i < len && s[i] && t->len < sizeof(t->s); i++)
		t->s[t->len++] = s[i];
}

static void put_words(struct text *t, const char *words)
{
	put(t, words, TEXT_MAX);
}

static void put_number(struct text *t, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	put(t, digits + at, sizeof(digits) - at);
}

static const char *phase_name(uint16_t state)
{
	switch (state) {
	case servicing_SPAWNING:
		return "spawning";
	case servicing_FOLLOWING:
		return "following";
	case servicing_FLIPPING:
		return "flipping";
	case servicing_PROBATION:
		return "probation";
	case servicing_RETURNING:
		return "returning";
	default:
		return "after the return";
	}
}

/* ---- reports ------------------------------------------------------------ */

static void enter(struct sm_cx *cx, uint16_t state)
{
	((struct servicing *)cx->self)->entered_ns[state] = cx->time_ns;
}

static void report(struct sm_cx *cx, uint32_t status, const char *text)
{
	struct servicing *s = cx->self;

	operator_report(cx, s->op, s->token, status, text);
	s->token = 0;
}

/* Why a replacement ended, for `inspect` and the operator: phase, cause, time. */
static struct text note_end(struct sm_cx *cx, const char *cause, size_t len)
{
	struct servicing *s = cx->self;
	struct text t = { .len = 0 };

	put_words(&t, phase_name(s->sm.state));
	put_words(&t, ": ");
	put(&t, cause, len);
	put_words(&t, ", ");
	put_number(&t, (cx->time_ns - s->started_ns) / 1000000);
	put_words(&t, " ms after it was asked for");
	sm_blob_set(cx, &s->why, t.s, t.len);
	s->failed_in = s->sm.state;
	s->failed_ns = cx->time_ns;
	enter(cx, servicing_ROLLED_BACK);
	return t;
}

/* Ends an attempt: the guest stays where it is. */
static void fail(struct sm_cx *cx, uint32_t status, const char *cause, size_t len)
{
	struct servicing *s = cx->self;
	struct text t = note_end(cx, cause, len);

	operator_report_bytes(cx, s->op, s->token, status, (const uint8_t *)t.s, t.len);
	s->failures++;
	s->token = 0;
	s->successor = 0;
	s->predecessor = 0;
	s->deadline_ns = 0;
}

#define FAIL(cx, status, text) fail(cx, status, text, sizeof(text) - 1)

static void refuse(struct sm_cx *cx, uint32_t status, const char *text)
{
	const struct rec_operator *p = cx->p;

	operator_report(cx, p->op, p->token, status, text);
}

static void refuse_busy(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_BUSY, "a replacement is under way: wait for its report");
}

static void refuse_level(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_INVALID,
	       "the level is below the one in force, or above what this build serves");
}

static void refuse_return(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_NONE, "there is no predecessor to give the guest back to");
}

/* ---- commands --------------------------------------------------------- */

static void command(struct sm_cx *cx, uint32_t op, uint64_t arg)
{
	struct rec_command c = { .op = op, .arg = { arg } };

	sm_effect(cx, EFFECT_COMMAND, &c, NULL, 0);
}

static void begin_phase(struct sm_cx *cx, uint16_t state, uint64_t limit_ns)
{
	((struct servicing *)cx->self)->deadline_ns = cx->time_ns + limit_ns;
	enter(cx, state);
}

static bool is_due(const struct sm_cx *cx)
{
	const struct rec_deadline *p = cx->p;
	const struct servicing *s = cx->self;

	return s->deadline_ns && p->deadline_ns == s->deadline_ns;
}

/* What the operator asked for beside the executable; nothing: no vote, no
 * probation, ready as soon as it has caught up. */
static void take_ask(struct sm_cx *cx)
{
	struct rec_service_ask ask = { 0 };
	struct servicing *s = cx->self;

	if (cx->tail_len >= sizeof(ask))
		memcpy(&ask, cx->tail, sizeof(ask));
	s->follow_events = ask.follow_events;
	s->follow_ns = ask.follow_ns < LIMIT_SERVICE_NS ? ask.follow_ns : LIMIT_SERVICE_NS;
	s->voting = ask.voting;
	s->probation_ns = ask.probation_ns < LIMIT_SERVICE_NS ? ask.probation_ns : LIMIT_SERVICE_NS;
}

static void spawn(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	struct servicing *s = cx->self;

	s->row = p->arg;
	s->flags = p->value;
	s->token = p->token;
	s->op = p->op;
	s->started_ns = cx->time_ns;
	s->spawn_seq = cx->seq;
	s->followed_seq = 0;
	s->failed_in = 0;
	take_ask(cx);
	sm_blob_clear(cx, &s->why);
	begin_phase(cx, servicing_SPAWNING, spawning_ns);
	command(cx, COMMAND_SPAWN, p->arg);
}

/* The predecessor of the replacement before is no way back any more; it reads
 * this turn and goes. */
static void end_and_spawn(struct sm_cx *cx)
{
	((struct servicing *)cx->self)->predecessor = 0;
	spawn(cx);
}

/* An effect's id is its turn and its place there (engine/effect.h): a reply to
 * an earlier SPAWN is not this one's. */
static bool is_reply(const struct sm_cx *cx)
{
	const struct rec_command_done *p = cx->p;

	return p->op == COMMAND_SPAWN &&
	       p->id >> 12 == ((const struct servicing *)cx->self)->spawn_seq;
}

static bool spawned(const struct sm_cx *cx)
{
	const struct rec_command_done *p = cx->p;

	return is_reply(cx) && p->status == 0 && p->value < LIMIT_PROCS;
}

static bool spawn_failed(const struct sm_cx *cx)
{
	return is_reply(cx);
}

static void report_unspawned(struct sm_cx *cx)
{
	FAIL(cx, OPERATOR_E_NONE, "the partition could not start the successor");
}

static void note_successor(struct sm_cx *cx)
{
	struct servicing *s = cx->self;

	s->successor = (uint32_t)((const struct rec_command_done *)cx->p)->value + 1;
	begin_phase(cx, servicing_FOLLOWING, following_ns + s->follow_ns);
}

/* ---- until the flip --------------------------------------------------- */

static bool is_successor(const struct sm_cx *cx)
{
	return ((const struct rec_successor *)cx->p)->slot + 1 ==
	       ((const struct servicing *)cx->self)->successor;
}

static void flip_to(struct sm_cx *cx, uint32_t slot)
{
	struct rec_successor to = { .slot = slot, .seq = cx->seq };

	((struct servicing *)cx->self)->flip_seq = cx->seq;
	sm_effect(cx, EFFECT_FLIP, &to, NULL, 0);
}

static void flip(struct sm_cx *cx)
{
	const struct rec_successor *p = cx->p;
	struct servicing *s = cx->self;

	s->followed_seq = p->seq;
	s->deadline_ns = 0;
	enter(cx, servicing_FLIPPING);
	flip_to(cx, p->slot);
}

static void report_gone(struct sm_cx *cx)
{
	static const char silent[] = "the successor ended without a word";
	uint32_t len = cx->tail_len < TEXT_MAX ? cx->tail_len : TEXT_MAX;

	if (len)
		fail(cx, OPERATOR_E_CANCELLED, (const char *)cx->tail, len);
	else
		FAIL(cx, OPERATOR_E_CANCELLED, silent);
}

static void give_up_successor(struct sm_cx *cx)
{
	const struct servicing *s = cx->self;

	if (s->successor)
		command(cx, COMMAND_KILL, s->successor - 1);
}

static void fail_by_time(struct sm_cx *cx)
{
	give_up_successor(cx);
	FAIL(cx, OPERATOR_E_TIME, "the successor was not ready in time");
}

static void cancel(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	give_up_successor(cx);
	FAIL(cx, OPERATOR_E_CANCELLED, "called off by the operator");
	operator_report(cx, p->op, p->token, OPERATOR_OK, "the replacement was called off");
}

/* ---- a new owner ------------------------------------------------------ */

/* Requests in flight were submitted by somebody who may be gone; and there was
 * a time in which nobody served. */
static void tell_others(struct sm_cx *cx)
{
	const struct rec_serving *p = cx->p;

	if (p->reason == SERVING_FIRST)
		return;
	sm_post_all(cx, KIND_scsi, scsi_EV_SERVING, p, NULL, 0);
	sm_post(cx, ref_of(KIND_heartbeat_ic, 0), heartbeat_ic_EV_SERVING, p, NULL, 0);
	sm_post(cx, ref_of(KIND_timesync_ic, 0), timesync_ic_EV_SERVING, p, NULL, 0);
}

static void note_serving(struct sm_cx *cx)
{
	const struct rec_serving *p = cx->p;
	struct servicing *s = cx->self;

	s->owner = p->slot + 1;
	s->gap_ns = p->stop_ns && cx->time_ns > p->stop_ns ? cx->time_ns - p->stop_ns : 0;
	s->planned += p->reason == SERVING_PLANNED;
	s->deaths += p->reason == SERVING_DEATH;
	sm_blob_set(cx, &s->build, cx->tail, cx->tail_len < TEXT_MAX ? cx->tail_len : TEXT_MAX);
	tell_others(cx);
}

static void note_facts(struct sm_cx *cx)
{
	const struct rec_owner_facts *p = cx->p;
	struct servicing *s = cx->self;

	if (p->slot + 1 != s->owner)
		return;
	s->followed = p->followed;
	s->differences = p->differences;
	s->serves = p->serves;
}

static void fail_by_death(struct sm_cx *cx)
{
	give_up_successor(cx);
	note_serving(cx);
	FAIL(cx, OPERATOR_E_DIED, "the owner died before the flip; another one of its build serves");
}

static bool is_planned(const struct sm_cx *cx)
{
	const struct rec_serving *p = cx->p;

	return p->reason == SERVING_PLANNED &&
	       p->slot + 1 == ((const struct servicing *)cx->self)->successor;
}

static void begin_probation(struct sm_cx *cx)
{
	struct servicing *s = cx->self;

	s->predecessor = s->owner;
	s->successor = 0;
	note_serving(cx);
	begin_phase(cx, servicing_PROBATION, s->probation_ns);
	operator_report_bytes(cx, s->op, s->token, OPERATOR_OK, cx->tail,
			      cx->tail_len < TEXT_MAX ? cx->tail_len : TEXT_MAX);
	s->token = 0;
}

/* ---- probation -------------------------------------------------------- */

/* Of the owner that logged the event: followers of other builds agree. */
static uint64_t level_asked(const struct sm_cx *cx)
{
	uint64_t level = ((const struct rec_operator *)cx->p)->value;
	const struct servicing *s = cx->self;

	if (level == LEVEL_HIGHEST)
		level = s->serves > sm_level(cx) ? s->serves : sm_level(cx);
	return level;
}

static bool level_allowed(const struct sm_cx *cx)
{
	uint64_t level = level_asked(cx);

	return level == 0 || level == sm_level(cx) ||
	       (level > sm_level(cx) && level <= ((const struct servicing *)cx->self)->serves);
}

static void commit_level(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	uint64_t level = level_asked(cx);
	struct text t = { .len = 0 };

	if (level)
		sm_raise_level(cx, (unsigned)level);
	put_words(&t, "committed: level ");
	put_number(&t, level ? level : sm_level(cx));
	operator_report_bytes(cx, p->op, p->token, OPERATOR_OK, (const uint8_t *)t.s, t.len);
}

/* The predecessor reads this turn and goes. */
static void lose_way_back(struct sm_cx *cx)
{
	((struct servicing *)cx->self)->predecessor = 0;
}

static void done(struct sm_cx *cx)
{
	lose_way_back(cx);
	((struct servicing *)cx->self)->deadline_ns = 0;
	enter(cx, servicing_DONE);
}

static void commit(struct sm_cx *cx)
{
	done(cx);
	commit_level(cx);
}

static void end_probation(struct sm_cx *cx)
{
	const struct servicing *s = cx->self;

	done(cx);
	if (s->flags & SERVICE_COMMIT && s->serves > sm_level(cx))
		sm_raise_level(cx, s->serves);
}

static bool is_predecessor(const struct sm_cx *cx)
{
	return ((const struct rec_successor *)cx->p)->slot + 1 ==
	       ((const struct servicing *)cx->self)->predecessor;
}

static bool has_way_back(const struct sm_cx *cx)
{
	return ((const struct servicing *)cx->self)->predecessor != 0;
}

static void flip_back(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	struct servicing *s = cx->self;

	s->token = p->token;
	s->op = p->op;
	enter(cx, servicing_RETURNING);
	flip_to(cx, s->predecessor - 1);
}

static bool by_predecessor(const struct sm_cx *cx)
{
	return ((const struct rec_serving *)cx->p)->slot + 1 ==
	       ((const struct servicing *)cx->self)->predecessor;
}

/* The new owner died, hung or differed, and the old one has the guest again;
 * RETURNED tells which. */
static void note_return(struct sm_cx *cx)
{
	static const char cause[] = "the new owner lost the guest";
	struct servicing *s = cx->self;

	note_end(cx, cause, sizeof(cause) - 1);
	note_serving(cx);
	s->predecessor = 0;
	s->deadline_ns = 0;
	s->returns++;
}

static void note_cause(struct sm_cx *cx)
{
	struct servicing *s = cx->self;
	struct text t = { .len = 0 };

	put_words(&t, phase_name((uint16_t)s->failed_in));
	put_words(&t, ": ");
	put(&t, (const char *)cx->tail, cx->tail_len < TEXT_MAX / 2 ? cx->tail_len : TEXT_MAX / 2);
	put_words(&t, ", ");
	put_number(&t, (s->failed_ns - s->started_ns) / 1000000);
	put_words(&t, " ms after the replacement was asked for");
	sm_blob_set(cx, &s->why, t.s, t.len);
}

static void report_return(struct sm_cx *cx)
{
	static const char cause[] = "taken back by the operator";
	struct servicing *s = cx->self;

	note_end(cx, cause, sizeof(cause) - 1);
	note_serving(cx);
	s->predecessor = 0;
	s->deadline_ns = 0;
	s->returns++;
	report(cx, OPERATOR_OK, "the predecessor serves again");
}

static void fail_return(struct sm_cx *cx)
{
	note_serving(cx);
	report(cx, OPERATOR_E_DIED, "returning: the owner died; another one serves, of its build");
}

static void report_no_return(struct sm_cx *cx)
{
	lose_way_back(cx);
	report(cx, OPERATOR_E_NONE, "returning: the predecessor is gone; the guest stays with its owner");
}

#define SM_DEF "statemachines/servicing.def"
#define SM_PREFIX servicing
#define SM_KIND KIND_servicing
#define SM_CAPACITY CAPACITY_servicing
#define SM_DOC \
	"Who serves the guest, and the replacement of one paravisor by another (DESIGN 5)."
#include "engine/sm_define.h"
