/* fuzz/story.h - how a guest gets somewhere: configuration, start, contact,
 * offers, GPADL, open, handshake, sub-channel, requests. */
#ifndef FUZZ_STORY_H
#define FUZZ_STORY_H

#include "engine/world.h"
#include "fuzz/answers.h"

unsigned story_steps(void);

/* Takes the first @steps steps in @w; every turn goes through story_turn(), and
 * the answers that it is owed are given in between. */
void story_tell(unsigned steps, struct answers *a, const struct world *w, uint8_t *payload,
		void *user);

/* @n more sub-channels, opened; for a story that was told to its end. */
void story_more_channels(unsigned n, struct answers *a, const struct world *w, uint8_t *payload,
			 void *user);
/* UNLOAD. */
void story_unload(struct answers *a, const struct world *w, uint8_t *payload, void *user);

/* The target's: one turn. */
void story_turn(void *user, struct event *ev);

#endif
