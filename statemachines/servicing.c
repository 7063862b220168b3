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

enum { TEXT_MAX = 512 };
/* A successor loads a checkpoint of up to LIMIT_SLOT_BYTES and catches up: it
 * takes milliseconds; a minute is a hang. */
static const uint64_t phase_ns = 60ull * 1000000000;

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

/* ---- reports ---------------------------------------------------------- */

static void report(struct sm_cx *cx, uint32_t status, const char *text)
{
	struct servicing *s = cx->self;

	operator_report(cx, s->op, s->token, status, text);
	s->token = 0;
}

/* Ends an attempt: the guest stays where it is. */
static void fail(struct sm_cx *cx, uint32_t status, const char *text, size_t len)
{
	struct servicing *s = cx->self;

	sm_blob_set(cx, &s->why, text, len);
	operator_report_bytes(cx, s->op, s->token, status, (const uint8_t *)text, len);
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

static void begin_phase(struct sm_cx *cx)
{
	((struct servicing *)cx->self)->deadline_ns = cx->time_ns + phase_ns;
}

static bool is_due(const struct sm_cx *cx)
{
	const struct rec_deadline *p = cx->p;
	const struct servicing *s = cx->self;

	return s->deadline_ns && p->deadline_ns == s->deadline_ns;
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
	s->followed_seq = 0;
	sm_blob_clear(cx, &s->why);
	begin_phase(cx);
	command(cx, COMMAND_SPAWN, p->arg);
}

/* The predecessor of the replacement before is no way back any more. */
static void end_and_spawn(struct sm_cx *cx)
{
	struct servicing *s = cx->self;

	if (s->predecessor)
		command(cx, COMMAND_KILL, s->predecessor - 1);
	s->predecessor = 0;
	spawn(cx);
}

static bool spawned(const struct sm_cx *cx)
{
	const struct rec_command_done *p = cx->p;

	return p->op == COMMAND_SPAWN && p->status == 0 && p->value < LIMIT_PROCS;
}

static bool spawn_failed(const struct sm_cx *cx)
{
	return ((const struct rec_command_done *)cx->p)->op == COMMAND_SPAWN;
}

static void report_unspawned(struct sm_cx *cx)
{
	FAIL(cx, OPERATOR_E_NONE,
	     "spawning: the partition could not start the successor; the guest goes on unharmed");
}

static void note_successor(struct sm_cx *cx)
{
	((struct servicing *)cx->self)->successor =
		(uint32_t)((const struct rec_command_done *)cx->p)->value + 1;
	begin_phase(cx);
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

	sm_effect(cx, EFFECT_FLIP, &to, NULL, 0);
}

static void flip(struct sm_cx *cx)
{
	const struct rec_successor *p = cx->p;
	struct servicing *s = cx->self;

	s->followed_seq = p->seq;
	s->deadline_ns = 0;
	flip_to(cx, p->slot);
}

static void report_gone(struct sm_cx *cx)
{
	static const char silent[] =
		"following: the successor ended without a word; the guest goes on unharmed";
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
	FAIL(cx, OPERATOR_E_TIME,
	     "following: the successor was not ready in time; the guest goes on unharmed");
}

static void cancel(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	give_up_successor(cx);
	FAIL(cx, OPERATOR_E_CANCELLED,
	     "following: taken back by the operator; the guest goes on unharmed");
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

static void fail_by_death(struct sm_cx *cx)
{
	give_up_successor(cx);
	note_serving(cx);
	FAIL(cx, OPERATOR_E_DIED,
	     "the owner died before the flip; another one serves, of the same build");
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
	operator_report_bytes(cx, s->op, s->token, OPERATOR_OK, cx->tail,
			      cx->tail_len < TEXT_MAX ? cx->tail_len : TEXT_MAX);
	s->token = 0;
}

/* ---- probation -------------------------------------------------------- */

static bool level_allowed(const struct sm_cx *cx)
{
	uint64_t level = ((const struct rec_operator *)cx->p)->value;

	return level == 0 || (level >= sm_level(cx) &&
			      level <= world_registry(cx->world)->max_level);
}

static void commit_level(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	if (p->value)
		sm_raise_level(cx, (unsigned)p->value);
	operator_report(cx, p->op, p->token, OPERATOR_OK, "committed");
}

static void commit(struct sm_cx *cx)
{
	struct servicing *s = cx->self;

	if (s->predecessor)
		command(cx, COMMAND_KILL, s->predecessor - 1);
	s->predecessor = 0;
	commit_level(cx);
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

static void lose_way_back(struct sm_cx *cx)
{
	((struct servicing *)cx->self)->predecessor = 0;
}

static void flip_back(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	struct servicing *s = cx->self;

	s->token = p->token;
	s->op = p->op;
	flip_to(cx, s->predecessor - 1);
}

static bool by_predecessor(const struct sm_cx *cx)
{
	return ((const struct rec_serving *)cx->p)->slot + 1 ==
	       ((const struct servicing *)cx->self)->predecessor;
}

/* The new owner died and the old one has the guest again. */
static void note_return(struct sm_cx *cx)
{
	note_serving(cx);
	((struct servicing *)cx->self)->predecessor = 0;
}

static void report_return(struct sm_cx *cx)
{
	note_return(cx);
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
