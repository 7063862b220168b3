/* The plan: deaths, replacements, pauses, jumps of the clock.
 *
 * A kill strikes after a number of points of the present owner or taker, drawn
 * anew each time; a part of them soon after the last, so that recovery itself
 * is hit. Everything else comes when the log has grown by a drawn number of
 * events. With `plan_limit` the plan ends after so many acts: a failing run is
 * made shorter by it (shrink.c). */
#include "sim/plan.h"

#include "engine/owner.h"
#include "sim/keep.h"
#include "sim/moment.h"
#include "sim/oracle.h"
#include "sim/programs.h"
#include "sim/scenario.h"
#include "sim/shelf.h"

#include <string.h>

enum {
	KILL_POINTS = 14000,      /* of the owner, mean */
	RARE_POINTS = 1000000,    /* in one seed of so many: long lives, lapped followers */
	RARE_EVERY = 5,
	SOON_POINTS = 500,
	SOON_EVERY = 4,           /* one kill in so many follows soon */
	ACT_EVENTS = 4000,        /* mean distance of acts */
	TICK_NS = 300000,
	JUMP_NS = 1500000000,
	MEMORY_EVERY = 25,        /* one spawn in so many fails an allocation */
	ALLOCATIONS = 14,
};

#define PAUSE_NS UINT64_C(3000000000)

static struct {
	struct custody *c;
	struct chance chance;
	uint64_t kill_points, kill_in, next_act, done;
	bool soon;
	enum fault queue[4];      /* for the operator */
	unsigned n_queue;
	bool committed;           /* level 2: there is no way back to the older build */
} plan;

/* Acts and how often each is drawn. */
static const struct { enum fault fault; unsigned weight; } acts[] = {
	{ FAULT_REPLACE, 4 }, { FAULT_UPGRADE, 16 }, { FAULT_TWICE, 2 }, { FAULT_ROLLBACK, 2 },
	{ FAULT_COMMIT, 2 }, { FAULT_STANDBY, 4 }, { FAULT_PAUSE, 4 }, { FAULT_KILL_FOLLOWER, 4 },
	{ FAULT_CLOCK, 2 },
};

bool plan_allows(enum fault f)
{
	/* The hostile guest's honest client takes no error for an answer. */
	if (options.hostile && (f == FAULT_DISK_ERROR || f == FAULT_DISK_TORN))
		return false;
	return options.faults >> f & 1;
}

static bool spent(void)
{
	return options.plan_limit && plan.done >= options.plan_limit;
}

bool plan_may(enum fault f)
{
	return plan_allows(f) && !spent();
}

void plan_did(enum fault f)
{
	result.fault[f]++;
	result.planned = ++plan.done;
}

/* ---- kills ------------------------------------------------------------------------ */

static void draw_kill(void)
{
	plan.soon = chance_once_in(&plan.chance, SOON_EVERY);
	plan.kill_in = 1 + chance_below(&plan.chance, plan.soon ? SOON_POINTS
							       : 2 * plan.kill_points);
}

static bool is_owner(const struct process *p)
{
	uint64_t word = atomic_load(&plan.c->h->owner);

	return OWNER_STATE(word) != OWNER_NONE && OWNER_SLOT(word) == p->slot &&
	       OWNER_EPOCH(word) != 0;
}

static enum fault kind_of(const struct process *p, enum point at)
{
	if (plan.soon || !p->serves)
		return FAULT_KILL_RECOVERY;
	return at == POINT_TURN ? FAULT_KILL_TURN
	     : at == POINT_EFFECT ? FAULT_KILL_EFFECT : FAULT_KILL_CALL;
}

bool plan_kills(const struct process *p, enum point at)
{
	enum fault f;

	if (options.scenario)
		return is_owner(p) && scenario_kills(at);
	if (--plan.kill_in)
		return false;
	if (!is_owner(p)) {
		plan.kill_in = 1;
		return false;
	}
	f = kind_of(p, at);
	draw_kill();
	if (!plan_may(f))
		return false;
	plan_did(f);
	return true;
}

void plan_spawned(struct process *p)
{
	bool fails = chance_once_in(&plan.chance, MEMORY_EVERY);
	uint64_t at = 1 + chance_below(&plan.chance, ALLOCATIONS);

	/* Nobody would come after the first. */
	if (fails && plan_allows(FAULT_NO_MEMORY) && !spent() && result.recoveries)
		p->fail_at = at;
}

/* ---- acts ------------------------------------------------------------------------- */

static struct process *some_follower(void)
{
	struct process *found = NULL;
	unsigned n = 0;

	for (int i = 0; i < kernel.n_processes; i++) {
		struct process *p = kernel.process[i];

		if (!p->alive || p->role != PROCESS_PARAVISOR || is_owner(p))
			continue;
		if (chance_below(&plan.chance, ++n) == 0)
			found = p;
	}
	return found;
}

void plan_ask(enum fault f)
{
	if (plan.n_queue == 4)
		return;
	plan.queue[plan.n_queue++] = f;
	hub_knock();
}

enum fault plan_operator(void)
{
	enum fault f;

	if (plan.n_queue == 0)
		return FAULTS;
	f = plan.queue[0];
	memmove(plan.queue, plan.queue + 1, --plan.n_queue * sizeof(plan.queue[0]));
	return f;
}

/* The other build; whether it knows more depends on who serves now. */
static enum fault other_build(void)
{
	for (int i = 0; i < kernel.n_processes; i++) {
		const struct process *p = kernel.process[i];

		if (p->alive && p->role == PROCESS_PARAVISOR && is_owner(p))
			return p->program == PROGRAM_A ? FAULT_UPGRADE : FAULT_DOWNGRADE;
	}
	return FAULT_UPGRADE;
}

static bool act_on_follower(enum fault f)
{
	struct process *p = some_follower();

	if (!p)
		return false;
	if (f == FAULT_KILL_FOLLOWER)
		process_end(p, 0, SIGKILL);
	else
		process_pause(p, chance_below(&plan.chance, PAUSE_NS));
	return true;
}

static void act(enum fault f)
{
	if (f == FAULT_UPGRADE)
		f = other_build();
	if (!plan_allows(f))
		return;
	switch (f) {
	case FAULT_PAUSE:
	case FAULT_KILL_FOLLOWER:
		if (!act_on_follower(f))
			return;
		break;
	case FAULT_CLOCK:
		kernel.now += chance_below(&plan.chance, JUMP_NS);
		break;
	case FAULT_TWICE:
		plan_ask(other_build());
		plan_ask(FAULT_REPLACE);
		break;
	default:
		plan_ask(f);
	}
	plan_did(f);
}

static void draw_act(void)
{
	unsigned total = 0, at;

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		total += acts[i].weight;
	at = (unsigned)chance_below(&plan.chance, total);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (at < acts[i].weight) {
			act(acts[i].fault);
			return;
		}
		at -= acts[i].weight;
	}
}

void plan_start(struct custody *c)
{
	plan.c = c;
	plan.chance.state = options.seed * 0x9e37 + 77;
	plan.next_act = chance_below(&plan.chance, 2 * ACT_EVENTS);
	plan.kill_points = chance_once_in(&plan.chance, RARE_EVERY) ? RARE_POINTS : KILL_POINTS;
	draw_kill();
}

uint64_t plan_tick(void)
{
	uint64_t disks = disk_run(), events = oracle_events(), next;

	result.events = events;
	if (options.scenario && plan.c && !plan.done && events >= SCENARIO_REPLACED_AT) {
		plan_ask(FAULT_UPGRADE);
		plan_did(FAULT_UPGRADE);
	}
	if (!options.scenario && plan.c && events >= plan.next_act) {
		plan.next_act = events + 1 + chance_below(&plan.chance, 2 * ACT_EVENTS);
		if (!spent())
			draw_act();
	}
	if (kernel.late)
		run_failed("no end in sight after %.3f virtual seconds",
			   (double)(kernel.now - kernel.start) / 1e9);
	oracle_time();
	shelf_tick(events);
	moment_tick();
	keep_run();
	next = kernel.now + (options.disk_ms ? options.disk_ms * 1000000 / 2 : TICK_NS);
	return disks < next ? disks : next;
}
