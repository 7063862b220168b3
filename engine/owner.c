/* Ownership moves. One word, compare-exchange only; see owner.h. */
#include "engine/owner.h"

#include <errno.h>
#include <time.h>

enum {
	NAMING_NS = 1000000000, /* who spawns a taker names it long before */
	SLICE_NS = 10000000,    /* a wait for a mutex looks so often whether it still needs it */
	LOOK_NS = 1000000,      /* how often an offering owner looks whether its successor lives */
};

int owner_lock(struct custody *c, unsigned slot, unsigned thread, uint64_t timeout_ns)
{
	pthread_mutex_t *m = &c->proc[slot].thread[thread];
	uint64_t until = mono_now_ns() + timeout_ns;
	struct timespec ts = { .tv_sec = (time_t)(until / 1000000000),
			       .tv_nsec = (long)(until % 1000000000) };
	int r = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &ts);

	if (r == EOWNERDEAD)
		r = pthread_mutex_consistent(m);
	return -r;
}

void owner_unlock(struct custody *c, unsigned slot, unsigned thread)
{
	pthread_mutex_unlock(&c->proc[slot].thread[thread]);
}

static void serve(struct custody *c, unsigned slot)
{
	atomic_store(&c->proc[slot].state, PROC_OWNER);
}

int owner_first(struct custody *c, unsigned slot)
{
	if (!custody_owner_move(c, OWNER_WORD(0, 0, OWNER_NONE), OWNER_WORD(1, slot, OWNER_OWNED)))
		return -EBUSY;
	serve(c, slot);
	return 0;
}

static bool was_owner(const struct custody *c, unsigned slot)
{
	return atomic_load(&c->proc[slot].state) == PROC_OWNER;
}

/* Passes through one mutex. A slot whose process was reaped meanwhile, or gave
 * the guest on in order, needs no fence. */
static int pass(struct custody *c, unsigned slot, unsigned thread, uint64_t timeout_ns)
{
	uint64_t until = mono_now_ns() + timeout_ns;

	for (;;) {
		int r = owner_lock(c, slot, thread, SLICE_NS);

		if (r == 0)
			owner_unlock(c, slot, thread);
		if (r == 0 || !was_owner(c, slot))
			return 0;
		if (r != -ETIMEDOUT || mono_now_ns() > until)
			return r;
	}
}

/* Passes through every mutex of a slot: nobody of it can write any more. */
static int fence(struct custody *c, unsigned slot, uint64_t timeout_ns)
{
	for (unsigned t = 0; t < LIMIT_THREADS; t++) {
		int r = pass(c, slot, t, timeout_ns);

		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_named(uint64_t word, unsigned slot)
{
	return OWNER_STATE(word) == OWNER_TAKING && OWNER_SLOT(word) == slot;
}

/* A taker is spawned before it is named, and may be ready first. */
static uint64_t await_name(struct custody *c, unsigned slot)
{
	uint64_t until = mono_now_ns() + NAMING_NS, now, word;

	while (!is_named(word = atomic_load(&c->h->owner), slot) && (now = mono_now_ns()) < until)
		custody_owner_wait(c, word, until - now);
	return word;
}

int owner_take(struct custody *c, unsigned slot, uint64_t timeout_ns, uint32_t *ret_epoch)
{
	uint64_t word = await_name(c, slot);
	uint32_t epoch = OWNER_EPOCH(word);

	if (!is_named(word, slot))
		return -EPERM;
	for (unsigned s = 0; s < LIMIT_PROCS; s++) {
		int r;

		if (s == slot || !was_owner(c, s))
			continue;
		r = fence(c, s, timeout_ns);
		if (r < 0)
			return r;
		atomic_store(&c->h->predecessor, s + 1);
		atomic_store(&c->proc[s].state, PROC_RETIRED);
	}
	if (!custody_owner_move(c, word, OWNER_WORD(epoch + 1, slot, OWNER_OWNED)))
		return -EPERM;
	serve(c, slot);
	*ret_epoch = epoch + 1;
	return 0;
}

int owner_offer(struct custody *c, unsigned slot, uint32_t epoch, unsigned successor)
{
	atomic_store(&c->h->flip_to, successor);
	if (!custody_owner_move(c, OWNER_WORD(epoch, slot, OWNER_OWNED),
				OWNER_WORD(epoch, slot, OWNER_FLIPPING)))
		return -EPERM;
	owner_unlock(c, slot, 0);
	return 0;
}

/* Alive, and has not said that it gives up. */
static bool may_accept(const struct custody *c, unsigned slot)
{
	const struct wire_proc *p = &c->proc[slot];

	return atomic_load(&p->pid) != 0 && atomic_load(&p->state) != PROC_FAILED;
}

int owner_await(struct custody *c, unsigned slot, uint32_t epoch, uint64_t timeout_ns)
{
	uint64_t flipping = OWNER_WORD(epoch, slot, OWNER_FLIPPING);
	uint64_t until = mono_now_ns() + timeout_ns;
	uint32_t to = atomic_load(&c->h->flip_to);

	while (atomic_load(&c->h->owner) == flipping && mono_now_ns() < until &&
	       may_accept(c, to))
		custody_owner_wait(c, flipping, LOOK_NS);
	if (!custody_owner_move(c, flipping, OWNER_WORD(epoch, slot, OWNER_OWNED))) {
		atomic_store(&c->proc[slot].state, PROC_RETIRED);
		return 0;
	}
	owner_lock(c, slot, 0, timeout_ns);
	return -ETIMEDOUT;
}

int owner_accept(struct custody *c, unsigned slot, uint64_t timeout_ns, uint32_t *ret_epoch)
{
	int r;
	uint64_t word = atomic_load(&c->h->owner);
	uint32_t epoch = OWNER_EPOCH(word), old = OWNER_SLOT(word);

	if (OWNER_STATE(word) != OWNER_FLIPPING || atomic_load(&c->h->flip_to) != slot)
		return -EPERM;
	r = fence(c, old, timeout_ns);
	if (r < 0)
		return r;
	if (!custody_owner_move(c, word, OWNER_WORD(epoch + 1, slot, OWNER_OWNED)))
		return -EPERM;
	atomic_store(&c->h->predecessor, old + 1);
	serve(c, slot);
	*ret_epoch = epoch + 1;
	return 0;
}
