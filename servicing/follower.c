/* A process that does not own the guest yet: the first ever, the taker that the
 * partition named after a death, a successor, a standby. All load the newest
 * checkpoint and the log behind it from custody; the latter two follow the live
 * log, compare every turn's effects, and have their hands in order before they
 * are needed. */
#include "devices/hands.h"
#include "engine/owner.h"
#include "engine/slice.h"
#include "persist/codec.h"
#include "servicing/paravisor.h"
#include "servicing/registry.h"
#include "statemachines/machines.h"
#include "statemachines/servicing.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum {
	LEAK_BYTES = 4 << 20,     /* a follower allocates nothing: what grows so much, leaks */
	LEAK_POLLS = 256,
	MIRROR_TURNS = 4096,      /* the hands are derived again so often */
	SPIN_NS = 2000000,        /* by then a successor that is ready has the guest, mostly */
	IDLE_POLLS = 64,          /* without news before it looks less often */
	IDLE_POLL_NS = 1000000,
};

/* ---- loading ----------------------------------------------------------------- */

/* Names what follow_run() says; true: all is well. */
static bool followed(struct paravisor *p, const char *when, int r)
{
	const struct lane_state *lane = world_lane_const(p->world);

	switch (r) {
	case FOLLOW_OK:
		return true;
	case FOLLOW_E_DIVERGED:
		return paravisor_failed(p, "%s%s", when, p->expect.text);
	case FOLLOW_E_LEVEL:
		return paravisor_failed(p, "%sat turn %" PRIu64 " a level was committed that this build "
					"does not serve; it serves %u at most", when, lane->seq,
					program.max_level);
	default:
		return paravisor_failed(p, "%sthe log does not hold together behind turn %" PRIu64,
					when, lane->seq);
	}
}

/* A checkpoint that was changed behind its writer's back. */
static void tell_refused(const struct paravisor *p, const char *why)
{
	const struct slot_cut *cut = &p->follow.cut;

	if (cut->refused[0] || cut->refused[1])
		fprintf(stderr, "paravisor[%u]: %s; it is passed over, and turn %" PRIu64 " taken to "
			"begin with\n", p->slot, why, cut->seq);
}

static bool load(struct paravisor *p)
{
	char why[160] = "";
	int r = FOLLOW_E_LAPPED;

	atomic_store(&p->c.proc[p->slot].state, PROC_LOADING);
	for (unsigned attempt = 0; attempt < 8 && r == FOLLOW_E_LAPPED; attempt++) {
		r = follow_begin(&p->follow, &p->c, &program_codec, program_fresh, p->fill, why);
		if (r < 0)
			return paravisor_failed(p, "loading: %s", why);
		tell_refused(p, why);
		r = follow_run(&p->follow, UINT64_MAX);
	}
	return followed(p, "loading: ", r);
}

enum life follower_first(struct paravisor *p)
{
	if (!load(p))
		return LIFE_ENDS;
	if (owner_first(&p->c, p->slot) < 0)
		return paravisor_failed(p, "another process serves already");
	p->epoch = 1;
	p->reason = TAKEOVER_FIRST;
	return LIFE_SERVES;
}

bool follower_take(struct paravisor *p)
{
	int r = follow_run(&p->follow, UINT64_MAX);

	if (!followed(p, "taking over: ", r))
		return false;
	if (follow_lacks(&p->follow))
		return paravisor_failed(p, "taking over: the log ends at turn %" PRIu64 ", but turn %" PRIu64
					" was performed: a part of it is lost",
					world_lane_const(p->world)->seq,
					(uint64_t)atomic_load(&p->c.lane_words[0].done));
	r = owner_take(&p->c, p->slot, FENCE_NS, &p->epoch);
	if (r < 0)
		return paravisor_failed(p, "not named to take over, or an old thread lives: %s",
					strerror(-r));
	p->reason = TAKEOVER_DEATH;
	p->stop_ns = atomic_load(&p->c.h->death_ns);
	return true;
}

enum life follower_taker(struct paravisor *p)
{
	return load(p) && follower_take(p) ? LIFE_SERVES : LIFE_ENDS;
}

/* ---- following ------------------------------------------------------------------ */

bool follower_accept(struct paravisor *p)
{
	const struct wire_header *h = p->c.h;
	uint64_t seq = atomic_load(&h->flip_seq);
	int r = follow_run(&p->follow, UINT64_MAX);
	uint64_t at = world_lane_const(p->world)->seq - follow_ahead(&p->follow);

	p->stop_ns = atomic_load(&h->flip_stop_ns);
	if (!followed(p, "", r))
		return false;
	if (at != seq || p->follow.reader.position != atomic_load(&h->flip_position) ||
	    p->follow.reader.chain != atomic_load(&h->flip_chain))
		return paravisor_failed(p, "the cut is at turn %" PRIu64 ", this build at %" PRIu64,
					seq, at);
	r = owner_accept(&p->c, p->slot, FENCE_NS, &p->epoch);
	if (r < 0)
		return paravisor_failed(p, "the owner went on: %s", strerror(-r));
	return true;
}

/* Counted from the moment when it had first caught up. */
struct live {
	uint64_t since_ns, since_events;
	uint64_t mirrored;        /* events, when the hands were last derived */
	uint64_t spin_until_ns;   /* until then it looks without a pause */
	unsigned polls, idle;
};

/* The operator may ask for so many events, and so long. */
static bool has_followed_enough(const struct paravisor *p, const struct live *l)
{
	const struct servicing *s = world_at(p->world, KIND_servicing, 0);

	if (p->role != ROLE_SUCCESSOR)
		return true;
	return p->follow.events - l->since_events >= s->follow_events &&
	       mono_now_ns() - l->since_ns >= s->follow_ns;
}

/* Everything that a take-over derives is derived, and touched, ahead of it. */
static void mirror(struct paravisor *p, struct live *l)
{
	uint64_t hash;

	hands_rebuild(p->hands, p->world);
	hands_warm(p->hands, p->role == ROLE_SUCCESSOR && has_followed_enough(p, l));
	/* For the memory that it touches. */
	if (codec_state_hash(p->world, p->follow.buffer, LIMIT_SLOT_BYTES, &hash) < 0)
		return;
	l->mirrored = p->follow.events;
}

static void say_ready(struct paravisor *p)
{
	struct wire_proc *proc = &p->c.proc[p->slot];

	atomic_store(&proc->cut_seq, world_lane_const(p->world)->seq);
	atomic_store(&proc->state, PROC_READY);
	hands_kick_partition(p->hands);
}

/* A successor of a replacement that is over: the machine no longer speaks of it. */
static bool is_wanted(const struct paravisor *p)
{
	const struct servicing *s = world_at(p->world, KIND_servicing, 0);

	if (p->role != ROLE_SUCCESSOR || s->sm.state == servicing_SPAWNING)
		return true;
	return s->successor == p->slot + 1;
}

static bool is_sound(struct paravisor *p, struct live *l)
{
	if (!is_wanted(p))
		return paravisor_failed(p, "the replacement was called off");
	if (++l->polls % LEAK_POLLS == 0 && heap_bytes() > p->heap + LEAK_BYTES)
		return paravisor_failed(p, "it leaks: %zu bytes in %" PRIu64 " events",
					heap_bytes() - p->heap, p->follow.events);
	return true;
}

static bool catch_up(struct paravisor *p)
{
	int r = follow_run(&p->follow, UINT64_MAX);

	return r == FOLLOW_E_LAPPED ? load(p) : followed(p, "", r);
}

/* What the owner did while the hands were derived is followed before the word
 * goes out: the flip comes at once, and would wait for it. A process that slept
 * then would take as long to wake as all the rest of the take-over. */
static bool get_ready(struct paravisor *p, struct live *l)
{
	mirror(p, l);
	if (!catch_up(p))
		return false;
	if (atomic_load(&p->c.proc[p->slot].state) != PROC_FOLLOWING)
		return true;      /* lapped, and begun again */
	if (p->role == ROLE_SUCCESSOR)
		l->spin_until_ns = mono_now_ns() + SPIN_NS;
	say_ready(p);
	return true;
}

/* One look at the log. False: this process gives up. */
static bool look(struct paravisor *p, struct live *l)
{
	struct wire_proc *proc = &p->c.proc[p->slot];
	uint64_t before = p->follow.events;

	if (!catch_up(p) || !is_sound(p, l))
		return false;
	atomic_store(&proc->followed_seq, world_lane_const(p->world)->seq);
	l->idle = p->follow.events == before ? l->idle + 1 : 0;
	if (atomic_load(&proc->state) == PROC_LOADING) {
		*l = (struct live){ .since_ns = mono_now_ns(), .since_events = p->follow.events };
		mirror(p, l);
		atomic_store(&proc->state, PROC_FOLLOWING);
	}
	if (atomic_load(&proc->state) == PROC_FOLLOWING && has_followed_enough(p, l) &&
	    !get_ready(p, l))
		return false;
	if (p->follow.events - l->mirrored > MIRROR_TURNS)
		mirror(p, l);
	return true;
}

static void pause_looking(struct paravisor *p, const struct live *l, uint64_t word)
{
	if (mono_now_ns() < l->spin_until_ns) {
		sched_yield();
		return;
	}
	custody_owner_wait(&p->c, word, l->idle > IDLE_POLLS ? IDLE_POLL_NS : FOLLOW_POLL_NS);
}

enum life follower_live(struct paravisor *p)
{
	struct live l = { 0 };

	slice_shortest();
	if (!load(p))
		return LIFE_ENDS;
	p->heap = heap_bytes();
	for (;;) {
		uint64_t word = atomic_load(&p->c.h->owner);

		if (!look(p, &l))
			return LIFE_ENDS;
		if (OWNER_STATE(word) == OWNER_FLIPPING &&
		    atomic_load(&p->c.h->flip_to) == p->slot) {
			p->reason = TAKEOVER_PLANNED;
			return follower_accept(p) ? LIFE_SERVES : LIFE_ENDS;
		}
		if (OWNER_STATE(word) == OWNER_TAKING && OWNER_SLOT(word) == p->slot)
			return follower_take(p) ? LIFE_SERVES : LIFE_ENDS;
		pause_looking(p, &l, word);
	}
}
