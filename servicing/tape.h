/* servicing/tape.h - a recorded log in which one can go to any event.
 *
 * tape_open() reads the whole history once, steps it, and keeps every event,
 * its recorded effects, and a packed world every LIMIT_TAPE_EVENTS events, in
 * a file without a name ($TMPDIR, else /tmp). From then on no other source is
 * read: the VM may go on, and may overwrite what it likes.
 *
 * A *place* is a number of events that were stepped: place 0 is the oldest
 * state there is, place n the newest. Where records are missing the tape goes
 * on at the next checkpoint; event numbers (sequences) then jump, places do
 * not. Private to one thread. */
#ifndef SERVICING_TAPE_H
#define SERVICING_TAPE_H

#include "engine/follow.h"

#include <stdio.h>

struct tape;

/* Lies in the tape's memory as long as the tape does. */
struct tape_event {
	const struct log_record *h;
	const uint8_t *payload;
	const uint8_t *effects;          /* as recorded: canonical bytes */
	uint32_t effects_len;
};

/* @path as history_open() takes it. @progress: a terminal to count on, or NULL.
 * Prints why not. 0 or negative. A damaged end is told and left out. */
int tape_open(const char *path, FILE *progress, struct tape **ret);
struct tape *tape_close(struct tape *t);   /* returns NULL */

uint64_t tape_events(const struct tape *t);
struct tape_event tape_event(const struct tape *t, uint64_t n);  /* n < tape_events() */
double tape_seconds(const struct tape *t);                       /* of the pass */

/* Turns whose effects this build computes otherwise: how many, and the first
 * few of them, NULL behind the last. */
uint64_t tape_divergences(const struct tape *t);
const struct divergence *tape_divergence(const struct tape *t, unsigned n);

/* The world at the place. Valid for the tape's life; changed by tape_go(). */
struct world *tape_world(const struct tape *t);
uint64_t tape_place(const struct tape *t);
/* Sequence of the newest event at a place. */
uint64_t tape_seq(const struct tape *t, uint64_t place);

/* The place at which event @seq is the newest one. False: *@ret_why (160 bytes)
 * says what there is. */
bool tape_find(const struct tape *t, uint64_t seq, uint64_t *ret_place, char *ret_why);

/* Goes there. fact(): place <= tape_events(). */
void tape_go(struct tape *t, uint64_t place);
/* Steps the next event of the tape; at its end does nothing. The turn's
 * computed effects are valid until the next step. */
struct turn tape_step(struct tape *t);

/* Where events are missing before the next one: the world becomes the state that
 * this one is stepped from, as tape_step() does by itself. False: none are. */
bool tape_pass_hole(struct tape *t);

/* Place of the newest snapshot at or below @place: from there on to @place is
 * one stretch without a hole. */
uint64_t tape_snapshot(const struct tape *t, uint64_t place);

/* @to becomes the present world; made by world_new(). */
void tape_copy(struct tape *t, struct world *to);

#endif
