/* engine/follow.h - following a lane's log: replay, successor, taker, inspection.
 *
 * A follower loads the newest checkpoint, reads the log behind it, and steps
 * each event when it meets that turn's confirm record; it compares the effects
 * it computed with the recorded ones and performs none. What has no confirm yet
 * waits. Private to one thread. */
#ifndef ENGINE_FOLLOW_H
#define ENGINE_FOLLOW_H

#include "engine/log.h"
#include "engine/slot.h"

/* A turn whose effects differ from the recorded ones. */
struct divergence {
	uint64_t seq;
	uint16_t kind, index;            /* machine whose effect differs */
	const struct effect_desc *effect;
	const char *field;               /* "count", "code", "length", "tail", a field's name; "bytes":
					  * the recorded ones do not hold together, effect 0 */
	uint64_t recorded, computed;     /* the field's values, where they are numbers */
};

/* Returns true when the difference was expected (and is to be passed over). */
typedef bool follow_differs(void *user, const struct divergence *d);
/* Each turn, after it was stepped; may be NULL. */
typedef void follow_turn(void *user, const struct log_record *event, const void *payload,
			 const struct turn *turn);

struct follow_pending;               /* events without a confirm record */
struct follow_own;                   /* effects of its own, of turns that no confirm bears out */

struct follower {
	struct world *world;
	struct log_reader reader;
	struct slot_cut cut;             /* the checkpoint it began with, and those it refused */
	uint64_t events, divergences, expected;
	/* Reader's place before the first confirm above DONE, for redo. */
	uint64_t redo_position, redo_chain, redo_seq;
	bool redo_marked;
	struct follow_pending *pending;
	struct follow_own *own;          /* NULL: not a predecessor */
	bool overrules;                  /* a confirm that differs is rejected, and read on */
	follow_differs *differs;
	follow_turn *on_turn;
	void *user;
	uint8_t *buffer;
};

enum {
	FOLLOW_OK = 0,
	FOLLOW_E_LAPPED = 1,    /* begin again: follow_begin() */
	FOLLOW_E_DAMAGED = 2,   /* the log does not hold together at reader.position */
	FOLLOW_E_DIVERGED = 3,  /* an unexpected difference; the world is not to be trusted */
	FOLLOW_E_LEVEL = 4,     /* the level was raised above what this build serves */
	FOLLOW_E_ROOM = 5,      /* more effects of its own than there is room for */
};

/* @w: made by world_new(), owned by the caller. -ENOMEM or 0. */
int follow_init(struct follower *f, struct world *w);
void follow_deinit(struct follower *f);

/* Loads the newest checkpoint (or the empty world made by @fresh, called after
 * world_reset()) and places the reader behind it. 0 or negative; @why (160).
 * What was refused, and is passed over, is in @f->cut and @why: slot_load(). */
int follow_begin(struct follower *f, const struct custody *c, const struct slot_codec *codec,
		 void (*fresh)(struct world *w), uint8_t fill, char *why);

/* Reads on to the end of the log, or until the turn @to was stepped
 * (UINT64_MAX: the end). FOLLOW_OK or FOLLOW_E_*. */
int follow_run(struct follower *f, uint64_t to);

/* Takes one record that was read elsewhere (an archive): an event waits, its
 * confirm record steps and compares it. FOLLOW_OK or FOLLOW_E_*. */
int follow_record(struct follower *f, const struct log_record *h, uint64_t position,
		  const uint8_t *payload);

/* Steps one event and compares @recorded canonical effects: for logs that do
 * not lie in a ring (archive, export). FOLLOW_OK or FOLLOW_E_DIVERGED. */
int follow_step(struct follower *f, const struct log_record *h, const void *payload,
		const uint8_t *recorded, uint32_t len);

/* Events read and not yet confirmed, oldest first; NULL behind the last. */
unsigned follow_pending_count(const struct follower *f);
const struct log_record *follow_pending_at(const struct follower *f, unsigned n,
					   const uint8_t **ret_payload);
/* Log position of the nth of them. */
uint64_t follow_pending_position(const struct follower *f, unsigned n);
void follow_pending_clear(struct follower *f);

/* ---- a predecessor ----
 *
 * It was the owner up to a cut and follows on with the world it has. It steps
 * what is only proposed, so that it can vote, and keeps the effects it computed
 * until a confirm bears them out. What it keeps is what it will confirm, or put
 * in the place of a confirm it rejects, when it is the owner again. */

/* Allocates what is kept. -ENOMEM or 0. */
int follow_own_init(struct follower *f);
/* Follows from @position and @chain, where the world is, on. */
void follow_resume(struct follower *f, const struct custody *c, uint64_t position, uint64_t chain);
/* Pending events, from the oldest on, that were stepped by their proposal. The
 * world's sequence is that many turns ahead of the last confirmed one. */
unsigned follow_ahead(const struct follower *f);
/* The owner has gone: does the log end before the turn up to which all was performed?
 * Then a part of it is lost, and who goes on from here would be another machine than
 * the guest's. */
bool follow_lacks(const struct follower *f);
/* Own effects of the @n-th of them. */
const uint8_t *follow_ahead_at(const struct follower *f, unsigned n, uint32_t *ret_len);
/* Own effects of the @n-th rejected confirm, oldest first; NULL behind the last. */
const uint8_t *follow_rejected(const struct follower *f, unsigned n, uint64_t *ret_seq,
			       uint32_t *ret_len);

/* The confirm record's payload begins with this, then the effects follow. */
struct log_confirm {
	uint32_t n_effects;
	uint32_t bytes;
};

/* The event a record holds. */
struct event event_of(const struct log_record *h, const void *payload);

#endif
