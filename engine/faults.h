/* engine/faults.h - deaths by one's own doing, and what they were about.
 *
 * The owner keeps one word pair up to date: which turn it steps, or which
 * effect of which turn it performs. A handler of fatal signals copies it into
 * custody's table of faults. The second fault on the same record makes the next
 * owner quarantine that machine instead of trying a third time (lane.c). A
 * SIGKILL runs no handler, so a death from outside leaves nothing here. */
#ifndef ENGINE_FAULTS_H
#define ENGINE_FAULTS_H

#include "engine/custody.h"

/* Written by the lane's thread, read by a signal handler on the same thread. */
struct fault_point {
	volatile uint64_t seq;      /* turn; 0: none is being stepped or performed */
	volatile uint32_t effect;   /* effect being performed, counted from 1; 0: the step */
};

/* Notes a fault at @p. Async-signal-safe; any process that has custody mapped
 * writable. */
void faults_note(struct custody *c, const struct fault_point *p);

/* Whether the table holds two faults at this turn and effect. */
bool faults_twice(const struct custody *c, uint64_t seq, uint32_t effect);

/* Ids (effect_id()) of effects above turn @done that killed twice, at most
 * WIRE_FAULTS / 2; returns how many. */
unsigned faults_effects(const struct custody *c, uint64_t done,
			uint64_t ret_id[WIRE_FAULTS / 2]);

#endif
