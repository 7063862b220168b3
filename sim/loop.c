/* engine/loop.h over simulated descriptors, in place of libev.
 *
 * What became readable is queued at the loop when it does; a wait reports it
 * and queues again what its callback did not read (level-triggered). The
 * owner's batches lie between two waits: the oracles look here. */
#include "engine/loop.h"

#include "engine/fact.h"
#include "sim/kernel.h"
#include "sim/run.h"

#include <errno.h>

enum { WORDS = SIM_FDS / 64 };

struct sim_loop {
	struct process *process;
	struct fiber *waiting;
	loop_ready *ready;
	void *user;
	uint64_t queued[WORDS];
	unsigned n_queued;
	int watched[SIM_FDS];
	unsigned n_watched;
};

struct process *loop_process(const struct sim_loop *l)
{
	return l->process;
}

struct sim_loop *__wrap_loop_new(loop_ready *ready, void *user)
{
	struct sim_loop *l = __wrap_calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->process = process_current();
	l->ready = ready;
	l->user = user;
	return l;
}

void loop_event(struct sim_loop *l, int fd)
{
	uint64_t bit = UINT64_C(1) << (fd % 64);

	if (l->queued[fd / 64] & bit)
		return;
	l->queued[fd / 64] |= bit;
	l->n_queued++;
	if (l->waiting)
		fiber_wake(l->waiting);
}

int __wrap_loop_watch(struct sim_loop *l, int fd)
{
	struct object *o = object_of(fd);

	if (!o)
		return -EBADF;
	for (unsigned i = 0; i < o->n_loops; i++)
		if (o->loop[i].loop == l)
			return 0;
	fact(o->n_loops < OBJECT_LOOPS);
	o->loop[o->n_loops].loop = l;
	o->loop[o->n_loops++].fd = fd;
	l->watched[l->n_watched++] = fd;
	if (o->value)
		loop_event(l, fd);
	return 0;
}

void __wrap_loop_unwatch_all(struct sim_loop *l)
{
	for (unsigned i = 0; i < l->n_watched; i++) {
		struct object *o = object_of(l->watched[i]);

		for (unsigned n = 0; o && n < o->n_loops; n++)
			if (o->loop[n].loop == l)
				o->loop[n--] = o->loop[--o->n_loops];
	}
	l->n_watched = 0;
	for (unsigned i = 0; i < WORDS; i++)
		l->queued[i] = 0;
	l->n_queued = 0;
}

static void report(struct sim_loop *l)
{
	for (unsigned i = 0; i < WORDS && l->n_queued; i++) {
		uint64_t set = l->queued[i];

		l->n_queued -= (unsigned)__builtin_popcountll(set);
		l->queued[i] = 0;
		for (; set; set &= set - 1) {
			int fd = (int)(i * 64 + (unsigned)__builtin_ctzll(set));
			struct object *o;

			l->ready(l->user, fd);
			o = object_of(fd);
			if (o && o->value)
				loop_event(l, fd);
		}
	}
}

void __wrap_loop_wait(struct sim_loop *l, double timeout_s)
{
	run_between_batches();
	run_point(POINT_CALL);
	if (l->n_queued == 0 && timeout_s > 0) {
		l->waiting = kernel.current;
		fiber_block(l, kernel.now + (uint64_t)(timeout_s * 1e9));
		l->waiting = NULL;
	} else {
		fiber_yield();
	}
	report(l);
}
