/* The paravisor process: one slot in custody, one lane, one loop.
 *
 * It begins as one of three: the first owner ever; the taker that the partition
 * named after a death; a successor that follows the live log until the owner
 * flips. All three load the newest checkpoint and the log behind it from
 * custody, and become owner by the same three steps: own the word, put the
 * hands right, serve. */
#include "servicing/paravisor.h"

#include "devices/hands.h"
#include "engine/fact.h"
#include "engine/loop.h"
#include "engine/owner.h"
#include "persist/codec.h"
#include "servicing/build_id.h"
#include "servicing/commands.h"
#include "servicing/expect.h"
#include "servicing/fault.h"
#include "servicing/registry.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/servicing.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	FENCE_NS = 2000000000,       /* threads of a dead epoch are gone long before */
	FLIP_NS = 1000000000,        /* past it the old owner goes on */
	FOLLOW_POLL_NS = 200000,     /* a follower looks at the log so often */
	LINGER_NS = 100000000,       /* step of waiting for own requests after a flip */
};
static const uint64_t linger_max_ns = 60000000000ull;

static int __attribute__((format(printf, 2, 3))) failed(struct paravisor *p,
							const char *format, ...)
{
	struct wire_proc *proc = &p->c.proc[p->slot];
	va_list ap;

	va_start(ap, format);
	vsnprintf(proc->why, sizeof(proc->why), format, ap);
	va_end(ap);
	fprintf(stderr, "paravisor[%u]: %s\n", p->slot, proc->why);
	atomic_store(&proc->state, PROC_FAILED);
	hands_kick_partition(p->hands);
	return 1;
}

/* ---- between lane and hands ------------------------------------------------- */

static void perform(void *user, const struct effect *e, bool redo)
{
	struct paravisor *p = user;

	if (e->head.code == EFFECT_FLIP && !redo) {
		const struct rec_successor *s = e->p;

		p->flip_to = s->slot;
		p->flip_asked = true;
		return;
	}
	hands_perform(p->hands, e, redo);
}

static unsigned collect(void *user, struct lane *l, unsigned max)
{
	struct paravisor *p = user;

	return hands_collect(p->hands, p->world, l, max);
}

static void taken(void *user)
{
	hands_taken(((struct paravisor *)user)->hands);
}

static void flush(void *user)
{
	struct paravisor *p = user;

	hands_flush(p->hands);
}

static void rebuild(void *user, const struct world *w)
{
	hands_rebuild(((struct paravisor *)user)->hands, w);
}

static void answers(void *user, struct lane *l)
{
	hands_answers(((struct paravisor *)user)->hands, l);
}

static const struct lane_ops lane_ops = {
	.collect = collect, .taken = taken, .perform = perform, .flush = flush,
	.rebuild = rebuild, .answers = answers,
};

/* ---- becoming owner ---------------------------------------------------------- */

static void offer_serving(struct paravisor *p, enum wire_takeover reason, uint64_t stop_ns)
{
	const char *build = build_text();
	struct rec_serving s = {
		.cut_seq = world_lane_const(p->world)->seq, .stop_ns = stop_ns,
		.epoch = p->epoch, .reason = (uint32_t)reason,
		.level = world_lane_const(p->world)->level, .slot = p->slot,
	};
	struct lane_event e = {
		.kind = KIND_servicing, .index = 0, .code = servicing_EV_SERVING, .fixed = &s,
		.fixed_len = sizeof(s), .tail = build, .tail_len = (uint32_t)strlen(build),
	};

	if (codec_state_hash(p->world, p->follow.buffer, LIMIT_SLOT_BYTES, &s.state_hash) < 0)
		s.state_hash = 0;
	fact(lane_offer(&p->lane, &e));
	atomic_fetch_add(&p->c.h->takeovers, 1);
}

static void stamp_gap(struct paravisor *p, enum wire_takeover reason, uint64_t stop_ns,
		      uint64_t inflight)
{
	uint64_t served = mono_now_ns(), n = atomic_load(&p->c.stats->n_gaps);

	atomic_store(&p->c.h->served_ns, served);
	p->c.stats->gap[n % 64].seq = world_lane_const(p->world)->seq;
	p->c.stats->gap[n % 64].gap_ns = stop_ns && served > stop_ns ? served - stop_ns : 0;
	p->c.stats->gap[n % 64].inflight = inflight;
	p->c.stats->gap[n % 64].reason = (uint32_t)reason;
	p->c.stats->gap[n % 64].epoch = p->epoch;
	snprintf(p->c.stats->gap[n % 64].build, sizeof(p->c.stats->gap[0].build), "%.31s",
		 build_text());
	atomic_store(&p->c.stats->n_gaps, n + 1);
}

/* The word is ours: put the hands right, redo, and take in everything once. */
static int begin_serving(struct paravisor *p, enum wire_takeover reason, uint64_t stop_ns)
{
	uint64_t inflight = atomic_load(&p->c.stats->inflight);
	int r;

	hands_arm(p->hands, p->epoch);
	hands_rebuild(p->hands, p->world);
	r = hands_take_over(p->hands, p->world);
	if (r < 0)
		return failed(p, "cannot take over the io_uring: %s", strerror(-r));
	lane_start(&p->lane, &p->c, p->world, &program_codec, &lane_ops, p, p->epoch, &p->follow);
	r = lane_recover(&p->lane, &p->follow);
	if (r < 0)
		return failed(p, "the log does not hold together behind sequence %llu",
			      (unsigned long long)world_lane_const(p->world)->seq);
	follow_pending_clear(&p->follow);
	offer_serving(p, reason, stop_ns);
	hands_kick_all(p->hands, p->world);
	lane_batch(&p->lane);
	stamp_gap(p, reason, stop_ns, inflight);
	return 0;
}

/* ---- serving ------------------------------------------------------------------ */

static void on_ready(void *user, int fd)
{
	hands_readable(((struct paravisor *)user)->hands, fd);
}

/* Doors come and go with channels: hands tell when the set has changed. */
static int watch(struct paravisor *p)
{
	int fds[LIMIT_FDS];
	unsigned n;

	if (!hands_fds_changed(p->hands))
		return 0;
	loop_unwatch_all(p->loop);
	n = hands_fds(p->hands, fds, LIMIT_FDS);
	for (unsigned i = 0; i < n; i++) {
		int r = loop_watch(p->loop, fds[i]);

		if (r < 0)
			return failed(p, "cannot watch a descriptor: %s", strerror(-r));
	}
	return 0;
}

/* Stays until no request submitted by this process is left: it completes them
 * (its task work), nothing else. */
static int linger(struct paravisor *p)
{
	uint64_t until = mono_now_ns() + linger_max_ns;
	struct timespec step = { .tv_nsec = LINGER_NS };

	hands_disarm(p->hands);
	while (hands_requests_of(p->hands, p->epoch) && mono_now_ns() < until)
		nanosleep(&step, NULL);
	return 0;
}

/* Hands the lane to the successor at the end of a turn. True: it has it. */
static bool flip(struct paravisor *p)
{
	p->flip_asked = false;
	atomic_store(&p->c.h->flip_stop_ns, mono_now_ns());
	while (p->lane.n)
		lane_settle(&p->lane);
	atomic_store(&p->c.h->flip_seq, world_lane_const(p->world)->seq);
	atomic_store(&p->c.h->flip_position, p->lane.log.end);
	atomic_store(&p->c.h->flip_chain, p->lane.log.chain);
	if (owner_offer(&p->c, p->slot, p->epoch, p->flip_to) < 0)
		return false;
	if (owner_await(&p->c, p->slot, p->epoch, FLIP_NS) == 0)
		return true;
	return false;
}

static void flip_refused(struct paravisor *p)
{
	static const char why[] = "flipping: the successor did not take over in time";
	struct rec_successor s = { .slot = p->flip_to, .status = ETIMEDOUT };
	struct lane_event e = {
		.kind = KIND_servicing, .code = servicing_EV_SUCCESSOR_GONE, .fixed = &s,
		.fixed_len = sizeof(s), .tail = why, .tail_len = sizeof(why) - 1,
	};

	lane_offer(&p->lane, &e);
}

#if HOLDFAST_SABOTAGE
/* A test of the hands: one turn a batch, and nothing of them outlives it. */
static bool forgets(void)
{
	const char *how = getenv("HOLDFAST_SABOTAGE");

	return how && strcmp(how, "rebuild") == 0;
}
#endif

static int serve(struct paravisor *p)
{
#if HOLDFAST_SABOTAGE
	p->lane.max_batch = forgets() ? 1 : p->lane.max_batch;
#endif
	for (;;) {
		unsigned n = lane_batch(&p->lane);

#if HOLDFAST_SABOTAGE
		if (n && forgets())
			hands_rebuild(p->hands, p->world);
#endif

		if (p->flip_asked) {
			if (flip(p))
				return linger(p);
			flip_refused(p);
			continue;
		}
		if (watch(p))
			return 1;
		loop_wait(p->loop, n ? 0. : hands_patience(p->hands));
	}
}

/* ---- the three beginnings ------------------------------------------------------ */

static int load(struct paravisor *p)
{
	char why[160] = "";
	int r;

	atomic_store(&p->c.proc[p->slot].state, PROC_LOADING);
	for (unsigned attempt = 0; attempt < 8; attempt++) {
		r = follow_begin(&p->follow, &p->c, &program_codec, program_fresh, p->fill, why);
		if (r < 0)
			return failed(p, "loading: %s", why);
		r = follow_run(&p->follow, UINT64_MAX);
		if (r != FOLLOW_E_LAPPED)
			break;
	}
	if (r == FOLLOW_OK)
		return 0;
	if (r == FOLLOW_E_DIVERGED)
		return failed(p, "loading: %s", p->expect.text);
	return failed(p, "loading: the log does not hold together behind sequence %llu",
		      (unsigned long long)world_lane_const(p->world)->seq);
}

static int run_first(struct paravisor *p)
{
	if (load(p))
		return 1;
	if (owner_first(&p->c, p->slot) < 0)
		return failed(p, "another process serves already");
	p->epoch = 1;
	return begin_serving(p, TAKEOVER_FIRST, 0) ? 1 : serve(p);
}

static int run_taker(struct paravisor *p)
{
	int r;

	if (load(p))
		return 1;
	r = owner_take(&p->c, p->slot, FENCE_NS, &p->epoch);
	if (r < 0)
		return failed(p, "not named to take over, or an old thread lives: %s", strerror(-r));
	r = begin_serving(p, TAKEOVER_DEATH, atomic_load(&p->c.h->death_ns));
	return r ? r : serve(p);
}

/* Follows until the owner flips to this slot, or is dead and this slot named. */
static int follow_live(struct paravisor *p, enum wire_takeover *ret_reason)
{
	struct wire_proc *proc = &p->c.proc[p->slot];

	for (;;) {
		uint64_t word = atomic_load(&p->c.h->owner);
		int r = follow_run(&p->follow, UINT64_MAX);

		if (r == FOLLOW_E_LAPPED && load(p))
			return 1;
		if (r == FOLLOW_E_DIVERGED)
			return failed(p, "following: %s", p->expect.text);
		if (r == FOLLOW_E_DAMAGED)
			return failed(p, "following: the log does not hold together");
		atomic_store(&proc->followed_seq, world_lane_const(p->world)->seq);
		if (atomic_load(&proc->state) == PROC_LOADING) {
			atomic_store(&proc->state, PROC_READY);
			hands_kick_partition(p->hands);
		}
		if (OWNER_STATE(word) == OWNER_FLIPPING &&
		    atomic_load(&p->c.h->flip_to) == p->slot) {
			*ret_reason = TAKEOVER_PLANNED;
			return 0;
		}
		if (OWNER_STATE(word) == OWNER_TAKING && OWNER_SLOT(word) == p->slot) {
			*ret_reason = TAKEOVER_DEATH;
			return 0;
		}
		custody_owner_wait(&p->c, word, FOLLOW_POLL_NS);
	}
}

/* The owner has stopped: read to its end, compare, take the word. */
static int accept_flip(struct paravisor *p)
{
	uint64_t seq = atomic_load(&p->c.h->flip_seq);
	int r = follow_run(&p->follow, UINT64_MAX);

	if (r != FOLLOW_OK || world_lane_const(p->world)->seq != seq ||
	    p->follow.reader.position != atomic_load(&p->c.h->flip_position) ||
	    p->follow.reader.chain != atomic_load(&p->c.h->flip_chain))
		return failed(p, "flipping: at the cut %llu this build is at %llu: %s",
			      (unsigned long long)seq,
			      (unsigned long long)world_lane_const(p->world)->seq,
			      p->expect.text[0] ? p->expect.text : "the log differs");
	r = owner_accept(&p->c, p->slot, FENCE_NS, &p->epoch);
	if (r < 0)
		return failed(p, "flipping: the owner went on: %s", strerror(-r));
	return 0;
}

static int run_successor(struct paravisor *p)
{
	enum wire_takeover reason = TAKEOVER_PLANNED;
	uint64_t stop_ns;
	int r;

	if (load(p) || follow_live(p, &reason))
		return 1;
	if (reason == TAKEOVER_PLANNED) {
		stop_ns = atomic_load(&p->c.h->flip_stop_ns);
		r = accept_flip(p);
	} else {
		stop_ns = atomic_load(&p->c.h->death_ns);
		r = follow_run(&p->follow, UINT64_MAX) == FOLLOW_OK
			    ? owner_take(&p->c, p->slot, FENCE_NS, &p->epoch) : -EBADMSG;
		if (r < 0)
			return failed(p, "taking over: %s", strerror(-r));
	}
	if (r)
		return 1;
	r = begin_serving(p, reason, stop_ns);
	return r ? r : serve(p);
}

/* ---- start ---------------------------------------------------------------------- */

static int attach(struct paravisor *p)
{
	struct wire_proc *proc;
	int r = custody_attach(&p->c, WIRE_FD_CUSTODY, true);

	if (r != 0) {
		fprintf(stderr, "holdfast: paravisor: not started by a partition, or by one of "
				"another version (%d)\n", r);
		return 1;
	}
	if (p->slot >= LIMIT_PROCS)
		return command_usage("paravisor");
	proc = &p->c.proc[p->slot];
	snprintf(proc->build, sizeof(proc->build), "%s", build_text());
	atomic_store(&proc->pid, (int32_t)getpid());
	r = owner_lock(&p->c, p->slot, 0, FENCE_NS);
	return r < 0 ? failed(p, "cannot hold its own mutex: %s", strerror(-r)) : 0;
}

static int prepare(struct paravisor *p)
{
	p->world = world_new(&program);
	p->hands = hands_new(&p->c, &program);
	p->loop = loop_new(on_ready, p);
	if (!p->world || !p->hands || !p->loop || follow_init(&p->follow, p->world) < 0)
		return failed(p, "no memory");
	p->follow.differs = expect_differs;
	p->follow.user = &p->expect;
	fault_install(&p->c, &p->lane.point);
	return 0;
}

int cmd_paravisor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "slot", required_argument, NULL, 's' },
		{ "role", required_argument, NULL, 'r' },
		{ "fill", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	static struct paravisor p;
	const char *role = "";
	int option;

	p.slot = LIMIT_PROCS;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			p.slot = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'r')
			role = optarg;
		else if (option == 'f')
			p.fill = (uint8_t)strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (attach(&p) || prepare(&p))
		return 1;
	expect_load(&p.expect, &p.c);
	if (strcmp(role, "first") == 0)
		return run_first(&p);
	if (strcmp(role, "taker") == 0)
		return run_taker(&p);
	return run_successor(&p);
}
