/* fuzz/answers.h - the hands, the partition and the disk, as far as the machines
 * see them: every effect that is to be answered leaves a true answer here. It
 * stays until it is given; a wrong one may be given any time before. */
#ifndef FUZZ_ANSWERS_H
#define FUZZ_ANSWERS_H

#include "engine/world.h"
#include "fuzz/feed.h"

enum { ANSWERS = 8192, ANSWER_FIXED = 128 };

struct answer {
	uint16_t kind, index, code, effect;
	uint32_t generation, len, list; /* list: bytes of a parameter list behind it */
	uint8_t fixed[ANSWER_FIXED];
};

struct answers {
	struct answer at[ANSWERS];
	unsigned n;
	bool lost; /* there was no room for one: nothing can be said about the end */
};

/* The answer that @e is owed, if any. */
void answers_take(struct answers *a, const struct registry *r, const struct effect *e);

/* @ev as the next turn of @w, ev->time_ns after the last; takes what its effects are owed.
 * The turn is good until the next one. */
struct turn answers_turn(struct answers *a, const struct registry *r, struct world *w,
			 struct event *ev);

/* Makes the event of answer @n: payload bytes and the rest of *@ev. @f NULL: as
 * a disk that works and memory of zeros would answer. */
void answers_event(const struct answers *a, unsigned n, const struct world *w, struct feed *f,
		   struct event *ev, uint8_t *payload);

/* Answer @n was given. Keeps the order of the others. */
void answers_drop(struct answers *a, unsigned n);

#endif
