/* The vote: one word, see vote.h. The turn in an open word never moves back. */
#include "engine/vote.h"

#include <sched.h>

enum {
	SPINS = 200,          /* looks before it sleeps: a vote comes within microseconds */
	LOOK_NS = 1000000,    /* how often a sleeper looks whether its voter still lives */
};

#define WORD(seq, state) ((uint64_t)(seq) << 2 | (state))
#define STATE(word) ((enum wire_vote)((word) & 3))

static bool move(struct custody *c, uint64_t from, uint64_t to)
{
	if (!atomic_compare_exchange_strong(&c->h->vote, &from, to))
		return false;
	atomic_fetch_add(&c->h->vote_futex, 1);
	futex_wake(&c->h->vote_futex);
	return true;
}

void vote_open(struct custody *c, uint64_t seq)
{
	atomic_store(&c->h->vote, WORD(seq, VOTE_OPEN));
}

void vote_agree(struct custody *c, uint64_t seq)
{
	uint64_t word = atomic_load(&c->h->vote);

	if (STATE(word) == VOTE_OPEN && seq > word >> 2)
		move(c, word, WORD(seq, VOTE_OPEN));
}

bool vote_refuse(struct custody *c, uint64_t seq)
{
	uint64_t word = atomic_load(&c->h->vote);

	return STATE(word) == VOTE_OPEN && seq > word >> 2 &&
	       move(c, word, WORD(seq, VOTE_REFUSED));
}

bool vote_is_open(const struct custody *c)
{
	return STATE(atomic_load(&c->h->vote)) != VOTE_OFF;
}

bool vote_close(struct custody *c)
{
	for (;;) {
		uint64_t word = atomic_load(&c->h->vote);

		if (STATE(word) == VOTE_REFUSED)
			return false;
		if (STATE(word) == VOTE_OFF || move(c, word, WORD(word >> 2, VOTE_OFF)))
			return true;
	}
}

/* A process that follows the owner after having been it. */
static bool voter_lives(const struct custody *c)
{
	uint32_t slot = atomic_load(&c->h->predecessor);

	return slot && slot <= LIMIT_PROCS && atomic_load(&c->proc[slot - 1].pid) != 0;
}

/* VOTE_*, or -1: not yet. */
static int look(const struct custody *c, uint64_t seq)
{
	uint64_t word = atomic_load(&c->h->vote);

	switch (STATE(word)) {
	case VOTE_OPEN:
		return word >> 2 >= seq ? VOTE_AGREED : -1;
	case VOTE_REFUSED:
		return VOTE_E_REFUSED;
	default:
		return VOTE_E_CLOSED;
	}
}

int vote_await(struct custody *c, uint64_t seq, uint64_t timeout_ns)
{
	uint64_t until = mono_now_ns() + timeout_ns;
	int r;

	atomic_fetch_add(&c->h->owner_futex, 1);
	futex_wake(&c->h->owner_futex);
	for (unsigned i = 0; i < SPINS; i++) {
		r = look(c, seq);
		if (r >= 0)
			return r;
		sched_yield();
	}
	for (;;) {
		uint32_t ticket = atomic_load(&c->h->vote_futex);

		r = look(c, seq);
		if (r >= 0)
			return r;
		if (mono_now_ns() > until || !voter_lives(c)) {
			vote_close(c);
			continue;
		}
		futex_wait(&c->h->vote_futex, ticket, LOOK_NS);
	}
}
