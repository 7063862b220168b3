/* The predecessor: the process that handed the guest on, and follows.
 *
 * It goes on from the cut with the world it has, steps what the new owner
 * proposes (engine/vote.h) or confirms, and compares. It takes the guest back
 * when the operator says so, when the new owner dies, stands still, or differs.
 * Invariants: while the vote is open nothing has happened that it did not agree
 * to; it never writes what is the owner's, and never takes from a live owner
 * but by the owner's own flip or behind the thread fence of a dead one. It
 * leaves when the servicing machine no longer names it. */
#include "devices/hands.h"
#include "engine/faults.h"
#include "engine/owner.h"
#include "engine/slice.h"
#include "engine/vote.h"
#include "persist/codec.h"
#include "servicing/paravisor.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"
#include "statemachines/servicing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	VOTING_POLL_NS = 100000,  /* a proposal wakes it; this is for a wake-up it missed */
	WATCHING_POLL_NS = 500000,
	RETURN_NS = 50000000,     /* how long an owner may take to hand back when asked */
};

enum outcome { GOES_ON, IS_MINE, LEAVES };

/* ---- what it is compared with ---------------------------------------------------- */

/* The new owner's first record tells the state it began with. */
void probation_turn(struct paravisor *p, const struct log_record *h, const void *payload)
{
	struct rec_serving s;

	if (p->cut_seq == 0 || h->kind != KIND_servicing || h->code != servicing_EV_SERVING ||
	    h->len < sizeof(s))
		return;
	memcpy(&s, payload, sizeof(s));
	if (s.cut_seq == p->cut_seq && s.state_hash && s.state_hash != p->cut_hash)
		p->hash_differs = true;
}

static void begin(struct paravisor *p, uint64_t position, uint64_t chain)
{
	uint32_t owner = OWNER_SLOT(atomic_load(&p->c.h->owner));

	follow_resume(&p->follow, &p->c, position, chain);
	p->hash_differs = false;
	p->cut_seq = world_lane_const(p->world)->seq;
	if (codec_state_hash(p->world, p->follow.buffer, LIMIT_SLOT_BYTES, &p->cut_hash) < 0)
		p->cut_hash = 0;
	expect_load(&p->expect, &p->c, p->c.proc[owner % LIMIT_PROCS].exe_row);
}

/* ---- leaving --------------------------------------------------------------------- */

static bool is_named(const struct paravisor *p)
{
	const struct servicing *s = world_at(p->world, KIND_servicing, 0);

	return s->sm.state == servicing_FLIPPING ||
	       ((s->sm.state == servicing_PROBATION || s->sm.state == servicing_RETURNING) &&
		s->predecessor == p->slot + 1);
}

/* ---- taking back ------------------------------------------------------------------ */

/* While it only follows it holds no mutex: the sentinel may still wait for the
 * one it gave up at the flip. */
static bool lock(struct paravisor *p)
{
	int r = owner_lock(&p->c, p->slot, 0, FENCE_NS);

	if (r < 0)
		paravisor_failed(p, "cannot hold its own mutex: %s", strerror(-r));
	return r == 0;
}

/* Mine when the owner has flipped here, or is dead and this slot named. */
static enum outcome look_at_word(struct paravisor *p, uint64_t word)
{
	bool mine;

	if (OWNER_STATE(word) == OWNER_FLIPPING && atomic_load(&p->c.h->flip_to) == p->slot) {
		mine = lock(p) && follower_accept(p);
		p->reason = TAKEOVER_ROLLBACK;
		return mine ? IS_MINE : LEAVES;
	}
	if (OWNER_STATE(word) == OWNER_TAKING && OWNER_SLOT(word) == p->slot) {
		mine = lock(p) && follower_take(p);
		if (!p->cause[0])
			atomic_store(&p->c.h->decided_ns, atomic_load(&p->c.h->death_ns));
		if (mine && !p->cause[0])
			snprintf(p->cause, sizeof(p->cause), "the new owner died at turn %" PRIu64,
				 world_lane_const(p->world)->seq);
		return mine ? IS_MINE : LEAVES;
	}
	return GOES_ON;
}

/* The partition kills an owner that cannot hand back any more; the thread fence
 * then gives the guest to this process. */
static void ask_to_kill(struct paravisor *p, uint64_t word)
{
	struct wire_header *h = p->c.h;
	struct fault_point at = { .seq = world_lane_const(p->world)->seq + 1 };

	fprintf(stderr, "paravisor[%u]: the owner in slot %u is given up: %s\n", p->slot,
		OWNER_SLOT(word), p->cause);
	faults_note(&p->c, &at);
	atomic_store(&h->kill_ask, WIRE_ASK(OWNER_EPOCH(word), OWNER_SLOT(word)));
	hands_kick_partition(p->hands);
}

/* The owner is asked to hand back; one that does not is killed. */
static enum outcome take_back(struct paravisor *p, bool ask)
{
	uint64_t word = atomic_load(&p->c.h->owner), until = mono_now_ns() + RETURN_NS;
	uint64_t epoch = OWNER_EPOCH(word);
	enum outcome o = GOES_ON;

	atomic_store(&p->c.h->decided_ns, mono_now_ns());
	if (ask) {
		atomic_store(&p->c.h->return_ask, WIRE_ASK(epoch, p->slot));
		hands_kick_owner(p->hands);
	} else {
		ask_to_kill(p, word);
	}
	for (; o == GOES_ON && OWNER_EPOCH(word) == epoch; word = atomic_load(&p->c.h->owner)) {
		o = look_at_word(p, word);
		if (o != GOES_ON)
			break;
		if (ask && mono_now_ns() > until) {
			ask_to_kill(p, word);
			ask = false;
		}
		custody_owner_wait(&p->c, word, FOLLOW_POLL_NS);
	}
	return o == GOES_ON ? LEAVES : o;
}

/* ---- following ---------------------------------------------------------------------- */

/* Standing still: its loop turns every HEARTBEAT_NS while it is watched. */
static bool stands_still(struct paravisor *p, uint64_t word)
{
	const struct wire_proc *owner = &p->c.proc[OWNER_SLOT(word) % LIMIT_PROCS];
	uint64_t beat = atomic_load_explicit(&owner->heartbeat_ns, memory_order_relaxed);
	uint64_t now = mono_now_ns(), owned = p->watch_ns;

	if (OWNER_STATE(word) != OWNER_OWNED || atomic_load(&p->c.h->unwatched))
		return false;
	if (beat < owned)
		beat = owned;
	if (now < beat + HANG_NS)
		return false;
	snprintf(p->cause, sizeof(p->cause), "the new owner stood still for %" PRIu64 " ms",
		 (now - beat) / 1000000);
	return true;
}

/* What it differs in, or the reason it gives itself. */
static enum outcome disagree(struct paravisor *p)
{
	uint64_t seq = world_lane_const(p->world)->seq;
	bool held = vote_refuse(&p->c, seq);

	snprintf(p->cause, sizeof(p->cause), "%s%s",
		 p->hash_differs ? "the new owner began with another state" : p->expect.text,
		 held ? "" : "; it was seen after the fact");
	p->follow.overrules = true;
	return take_back(p, true);
}

static enum outcome go_on(struct paravisor *p, uint64_t word)
{
	if (follow_ahead(&p->follow))
		vote_agree(&p->c, world_lane_const(p->world)->seq);
	return stands_still(p, word) ? take_back(p, false) : look_at_word(p, word);
}

static enum outcome follow(struct paravisor *p, uint64_t word)
{
	int r = follow_run(&p->follow, UINT64_MAX);

	if (r == FOLLOW_E_DIVERGED || (r == FOLLOW_OK && p->hash_differs))
		return disagree(p);
	if (r == FOLLOW_OK && is_named(p))
		return go_on(p, word);
	if (r != FOLLOW_OK && r != FOLLOW_E_LEVEL)
		paravisor_failed(p, "the predecessor lost the log behind turn %" PRIu64,
				 world_lane_const(p->world)->seq);
	return LEAVES;
}

/* What the owner proposes wakes it: the same futex as the ownership word's. */
static void wait_for_news(struct paravisor *p, uint32_t ticket)
{
	futex_wait(&p->c.h->owner_futex, ticket,
		   vote_is_open(&p->c) ? VOTING_POLL_NS : WATCHING_POLL_NS);
}

/* The cause that the owner gave, when it handed back by itself. */
static void note_cause(struct paravisor *p, uint32_t owner)
{
	const struct wire_proc *proc = &p->c.proc[owner % LIMIT_PROCS];

	if (!p->cause[0] && proc->why[0])
		snprintf(p->cause, sizeof(p->cause), "%.150s", proc->why);
}

enum life probation_run(struct paravisor *p)
{
	struct wire_proc *proc = &p->c.proc[p->slot];
	enum outcome o = GOES_ON;
	uint32_t owner = OWNER_SLOT(atomic_load(&p->c.h->owner));

	slice_shortest();
	begin(p, p->lane.log.end, p->lane.log.chain);
	p->watch_ns = mono_now_ns();
	atomic_store(&proc->state, PROC_PROBATION);
	hands_kick_owner(p->hands);
	while (o == GOES_ON) {
		uint32_t ticket = atomic_load(&p->c.h->owner_futex);

		o = follow(p, atomic_load(&p->c.h->owner));
		if (o == GOES_ON)
			wait_for_news(p, ticket);
	}
	p->cut_seq = 0;
	if (o == IS_MINE) {
		note_cause(p, owner);
		p->returns = true;
		return LIFE_SERVES;
	}
	vote_close(&p->c);
	if (atomic_load(&proc->state) == PROC_PROBATION)
		atomic_store(&proc->state, PROC_RETIRED);
	return LIFE_ENDS;
}
