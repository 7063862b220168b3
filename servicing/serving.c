/* The owner's life: from the moment the ownership word is its own until the
 * guest is handed on. What it does before its first look at the rings is the
 * window in which nobody serves: it derives and signals, and makes nothing. */
#include "devices/hands.h"
#include "engine/fact.h"
#include "engine/loop.h"
#include "engine/owner.h"
#include "engine/slice.h"
#include "engine/vote.h"
#include "persist/codec.h"
#include "servicing/badbuild.h"
#include "servicing/build_id.h"
#include "servicing/paravisor.h"
#include "servicing/registry.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/servicing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LEAK_BYTES = 32 << 20, LEAK_LOOK_NS = 1000000000 };

/* ---- between lane and hands ------------------------------------------------- */

static void perform(void *user, const struct effect *e, bool redo)
{
	struct paravisor *p = user;

	if (e->head.code == EFFECT_FLIP) {
		const struct rec_successor *s = e->p;

		/* Of a former owner's flip nothing is left to do. */
		p->flip_to = s->slot;
		p->flip_asked = !redo;
		return;
	}
	hands_perform(p->hands, e, redo);
}

/* A look at every source: the first after a take-over ends its window. */
static unsigned collect(void *user, struct lane *l, unsigned max)
{
	struct paravisor *p = user;
	unsigned n = hands_collect(p->hands, p->world, l, max);

	if (p->first_ns == 0)
		p->first_ns = mono_now_ns();
	return n;
}

static void taken(void *user)
{
	struct paravisor *p = user;

	hands_taken(p->hands);
	badbuild_turn(p->world, true);
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

static void offer(struct paravisor *p, uint16_t code, const void *fixed, uint32_t len,
		  const char *text)
{
	struct lane_event e = {
		.kind = KIND_servicing, .index = 0, .code = code, .fixed = fixed,
		.fixed_len = len, .tail = text, .tail_len = text ? (uint32_t)strlen(text) : 0,
	};

	fact(lane_offer(&p->lane, &e));
}

static void offer_serving(struct paravisor *p)
{
	const struct lane_state *lane = world_lane_const(p->world);
	struct rec_serving s = {
		.cut_seq = lane->seq, .stop_ns = p->stop_ns, .epoch = p->epoch,
		.reason = (uint32_t)p->reason, .level = lane->level, .slot = p->slot,
	};
	struct rec_owner_facts facts = {
		.followed = p->follow.events, .differences = p->follow.expected,
		.serves = program.max_level, .slot = p->slot,
	};

	if (codec_state_hash(p->world, p->follow.buffer, LIMIT_SLOT_BYTES, &s.state_hash) < 0)
		s.state_hash = 0;
	offer(p, servicing_EV_SERVING, &s, sizeof(s), build_text());
	offer(p, servicing_EV_OWNER_FACTS, &facts, sizeof(facts), NULL);
	atomic_fetch_add(&p->c.h->takeovers, 1);
}

/* Why the predecessor has the guest again. */
static void offer_returned(struct paravisor *p)
{
	struct rec_successor s = { .slot = atomic_load(&p->c.h->predecessor) - 1,
				   .seq = world_lane_const(p->world)->seq };

	if (p->cause[0])
		offer(p, servicing_EV_RETURNED, &s, sizeof(s), p->cause);
	p->cause[0] = '\0';
}

static uint64_t longest_wait(const struct paravisor *p, uint64_t now)
{
	uint64_t longest = 0;

	for (unsigned i = 0; i < p->c.h->vps; i++) {
		const struct wire_mailbox *m = &p->c.mailbox[i];

		if ((atomic_load(&m->state) & 3) == MAILBOX_POSTED && now > m->posted_ns &&
		    now - m->posted_ns > longest)
			longest = now - m->posted_ns;
	}
	return longest;
}

static uint64_t since(uint64_t from, uint64_t to)
{
	return from && to > from ? to - from : 0;
}

/* The figures of this take-over, in custody: no owner's death loses them. */
static void stamp_window(struct paravisor *p, uint64_t inflight)
{
	struct wire_stats *stats = p->c.stats;
	uint64_t stop_ns = p->stop_ns;
	uint64_t n = atomic_load(&stats->n_gaps), at = n % ARRAY_LEN(stats->gap);

	atomic_store(&p->c.h->served_ns, p->first_ns);
	stats->gap[at].seq = world_lane_const(p->world)->seq;
	stats->gap[at].gap_ns = since(stop_ns, p->first_ns);
	stats->gap[at].inflight = inflight;
	stats->gap[at].reason = (uint32_t)p->reason;
	stats->gap[at].epoch = p->epoch;
	memset(stats->gap[at].build, 0, sizeof(stats->gap[at].build));
	strncpy(stats->gap[at].build, build_text(), sizeof(stats->gap[at].build) - 1);
	stats->window[at].owned_ns = since(stop_ns, p->owned_ns);
	stats->window[at].armed_ns = since(stop_ns, p->armed_ns);
	stats->window[at].first_ns = since(stop_ns, p->first_ns);
	stats->window[at].vp_wait_ns = p->wait_ns;
	stats->window[at].vp_stopped = atomic_load(&p->c.h->vp_stopped);
	stats->window[at].followed = p->follow.events;
	stats->window[at].differences = p->follow.expected;
	atomic_store(&stats->n_gaps, n + 1);
}

/* After a planned flip the old owner votes, if the operator asked for it. */
static void begin_vote(struct paravisor *p)
{
	const struct servicing *s = world_at(p->world, KIND_servicing, 0);
	uint64_t seq = world_lane_const(p->world)->seq;

	if (p->reason == TAKEOVER_PLANNED && s->sm.state == servicing_FLIPPING && s->voting &&
	    vote_is_open(&p->c))
		p->lane.vote_until = s->voting < UINT64_MAX / 4 - seq ? seq + s->voting
								       : UINT64_MAX / 4;
	else
		atomic_store(&p->c.h->vote, VOTE_OFF);
}

static bool take_over(struct paravisor *p)
{
	uint64_t inflight = atomic_load(&p->c.stats->inflight);
	int r;

	p->owned_ns = mono_now_ns();
	p->first_ns = 0;
	p->flip_asked = false;
	p->first_epoch = p->first_epoch ? p->first_epoch : p->epoch;
	hands_arm(p->hands, p->epoch);
	hands_rebuild(p->hands, p->world);
	r = hands_take_over(p->hands, p->world);
	if (r < 0)
		return paravisor_failed(p, "cannot take over the io_uring: %s", strerror(-r));
	lane_start(&p->lane, &p->c, p->world, &program_codec, &lane_ops, p, p->epoch, &p->follow);
	p->lane.max_batch = badbuild_forgets() ? 1 : p->lane.max_batch;
	r = lane_recover(&p->lane, &p->follow);
	if (r < 0)
		return paravisor_failed(p, "the log does not hold together behind sequence %llu",
					(unsigned long long)world_lane_const(p->world)->seq);
	follow_pending_clear(&p->follow);
	begin_vote(p);
	offer_serving(p);
	offer_returned(p);
	p->armed_ns = mono_now_ns();
	p->wait_ns = longest_wait(p, p->armed_ns);
	hands_look_everywhere(p->hands);
	lane_batch(&p->lane);
	hands_kick_all(p->hands);
	stamp_window(p, inflight);
	if (p->returns)
		lane_distrust_checkpoints(&p->lane);
	p->heap = heap_bytes();
	return true;
}

/* ---- handing on ----------------------------------------------------------------- */

/* The turn up to which everything was confirmed and done. */
static uint64_t confirmed(const struct paravisor *p)
{
	return p->lane.refused ? atomic_load(&p->c.lane_words[0].done)
			       : world_lane_const(p->world)->seq;
}

static bool is_returning(const struct paravisor *p)
{
	const struct servicing *s = world_at(p->world, KIND_servicing, 0);

	return s->sm.state != servicing_FLIPPING;
}

/* Hands the lane on at the end of a turn, or before one that was refused. True:
 * the other one has it. Forward, this process promises to vote. */
static bool flip(struct paravisor *p, bool back)
{
	uint64_t now = mono_now_ns();

	atomic_store(&p->c.h->flip_stop_ns, now);
	if (back && atomic_load(&p->c.h->return_ask) >> 32 != p->epoch)
		atomic_store(&p->c.h->decided_ns, now);
	p->flip_asked = false;
	while (p->lane.n && !p->lane.refused)
		lane_settle(&p->lane);
	atomic_store(&p->c.h->flip_seq, confirmed(p));
	atomic_store(&p->c.h->flip_position, p->lane.log.end);
	atomic_store(&p->c.h->flip_chain, p->lane.log.chain);
	if (!back)
		vote_open(&p->c, confirmed(p));
	if (owner_offer(&p->c, p->slot, p->epoch, p->flip_to) < 0)
		return false;
	if (owner_await(&p->c, p->slot, p->epoch, FLIP_NS) == 0)
		return true;
	if (!back)
		atomic_store(&p->c.h->vote, VOTE_OFF);
	return false;
}

static enum life handed_on(struct paravisor *p, bool back)
{
	hands_disarm(p->hands);
	return back ? LIFE_ENDS : LIFE_FOLLOWS;
}

/* The other one did not take it: this one goes on, but not behind a refusal. */
static bool flip_refused(struct paravisor *p)
{
	const struct wire_proc *other = &p->c.proc[p->flip_to];
	struct rec_successor s = { .slot = p->flip_to, .status = ETIMEDOUT };
	char why[sizeof(other->why)] = "the other side did not take over in time";

	if (atomic_load(&other->state) == PROC_FAILED && other->why[0])
		memcpy(why, other->why, sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	if (p->lane.refused)
		return paravisor_failed(p, "a turn was refused, and the predecessor is gone");
	offer(p, servicing_EV_SUCCESSOR_GONE, &s, sizeof(s), why);
	return true;
}

/* The slot that was owner before, and follows; LIMIT_PROCS: none. */
static unsigned predecessor(const struct paravisor *p)
{
	uint32_t slot = atomic_load(&p->c.h->predecessor);

	if (slot && slot <= LIMIT_PROCS && slot != p->slot + 1 &&
	    atomic_load(&p->c.proc[slot - 1].state) == PROC_PROBATION)
		return slot - 1;
	return LIMIT_PROCS;
}

/* One that leaks says so itself, while there is somebody to hand back to. */
static bool leaks(struct paravisor *p)
{
	struct wire_proc *proc = &p->c.proc[p->slot];
	uint64_t now = mono_now_ns();
	size_t heap;

	if (now < p->leak_look_ns)
		return false;
	p->leak_look_ns = now + LEAK_LOOK_NS;
	heap = heap_bytes();
	if (heap < p->heap + LEAK_BYTES)
		return false;
	snprintf(proc->why, sizeof(proc->why), "it leaks: %zu bytes since it serves",
		 heap - p->heap);
	return true;
}

/* The guest is to go back to the predecessor, for one reason or another. */
static bool is_to_return(struct paravisor *p)
{
	unsigned to = predecessor(p);

	if (!p->lane.refused && to == LIMIT_PROCS)
		return false;
	if (!p->lane.refused && atomic_load(&p->c.h->return_ask) != WIRE_ASK(p->epoch, to) &&
	    !leaks(p))
		return false;
	p->flip_to = to == LIMIT_PROCS ? atomic_load(&p->c.h->predecessor) - 1 : to;
	return true;
}

/* ---- serving ------------------------------------------------------------------ */

void serving_on_ready(void *user, int fd)
{
	hands_readable(((struct paravisor *)user)->hands, fd);
}

/* Doors come and go with channels: hands tell when the set has changed. */
static bool watch(struct paravisor *p)
{
	int fds[LIMIT_FDS];
	unsigned n;

	if (!hands_fds_changed(p->hands))
		return true;
	loop_unwatch_all(p->loop);
	n = hands_fds(p->hands, fds, LIMIT_FDS);
	for (unsigned i = 0; i < n; i++) {
		int r = loop_watch(p->loop, fds[i]);

		if (r < 0)
			return paravisor_failed(p, "cannot watch a descriptor: %s", strerror(-r));
	}
	return true;
}

/* The header's words that others read. */
static void tell(struct paravisor *p)
{
	struct wire_header *h = p->c.h;
	uint32_t level = world_lane_const(p->world)->level;

	atomic_store_explicit(&p->c.proc[p->slot].heartbeat_ns, mono_now_ns(),
			      memory_order_relaxed);
	if (atomic_load_explicit(&h->level, memory_order_relaxed) != level)
		atomic_store(&h->level, level);
}

/* Who took the guest back has a checkpoint of its own: paravisor.log tells which, when
 * the slots have long got others. */
static void tell_checkpoint(struct paravisor *p)
{
	const struct wire_slot_head *own = p->c.slot_head;

	if (!p->returns || p->lane.distrusts)
		return;
	p->returns = false;
	if (own->position != p->lane.checkpointed)
		own++;
	fprintf(stderr, "paravisor[%u]: has the guest again, in epoch %u: checkpoint %llu of its own, "
		"at sequence %llu\n", p->slot, p->epoch,
		(unsigned long long)atomic_load(&own->generation), (unsigned long long)own->seq);
}

static void wait_for_work(struct paravisor *p, unsigned n)
{
	const double beat = HEARTBEAT_NS / 1e9;
	double patience = n ? 0. : hands_patience(p->hands);

	if (patience > beat && predecessor(p) != LIMIT_PROCS)
		patience = beat;
	loop_wait(p->loop, patience);
}

enum life serving_run(struct paravisor *p)
{
	if (!take_over(p))
		return LIFE_ENDS;
	slice_serving();
	for (;;) {
		unsigned n = lane_batch(&p->lane);
		bool back = is_to_return(p);

		tell(p);
		tell_checkpoint(p);
		if (p->flip_asked || back) {
			back |= is_returning(p);
			if (flip(p, back))
				return handed_on(p, back);
			if (!flip_refused(p))
				return LIFE_ENDS;
			continue;
		}
		if (n)
			badbuild_forget(p->hands, p->world);
		if (!watch(p))
			return LIFE_ENDS;
		wait_for_work(p, n);
	}
}
