/* servicing/verifier.h - checkpoints checked by replay, beside a live log.
 *
 * It holds a world at the cut of one checkpoint. When the next one appears it
 * steps the log in between and compares the states. Only reads custody. What
 * cannot be followed (lapped, another build's state, a damaged log) makes that
 * checkpoint unverified, and the base for the next. Private to one thread. */
#ifndef SERVICING_VERIFIER_H
#define SERVICING_VERIFIER_H

#include "engine/follow.h"

struct verifier {
	struct world *world, *other;
	struct follower f;
	const struct custody *c;
	uint8_t *packed;
	bool based;                      /* `world` stands at a cut */
	uint64_t verified, unverified;   /* checkpoints so far */
};

/* Begins at the empty state in front of the first record, if the ring still
 * holds that. 0 or -ENOMEM. */
int verifier_open(struct verifier *v, const struct custody *c);
void verifier_close(struct verifier *v);

/* Takes a checkpoint as the new base, unchecked. */
void verifier_base(struct verifier *v, const struct slot_cut *cut, const uint8_t *bytes,
		   size_t len);

/* True: replay from the base comes to this state. It is the base from now on. */
bool verifier_check(struct verifier *v, const struct slot_cut *cut, const uint8_t *bytes,
		    size_t len);

#endif
