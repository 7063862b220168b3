/* engine/lane.h - the owner's side of a lane: append, step, confirm, effects, done.
 *
 * One thread. The hands are reached through struct lane_ops only, so the same
 * pipeline runs against custody, a test, or a simulation. A batch:
 *   collect -> append events, store the tail -> taken
 *   step each, append its confirm, store the tail
 *   perform all effects, flush
 *   append the hands' answers (they open the next batch), store the tail
 *   store DONE
 * so a death at any point leaves what DESIGN §4 says. While the predecessor
 * votes, effects are proposed first and confirmed when it agrees. */
#ifndef ENGINE_LANE_H
#define ENGINE_LANE_H

#include "engine/faults.h"
#include "engine/follow.h"
#include "engine/log.h"
#include "engine/slot.h"

struct lane;

/* Events staged: those of a batch, the answers that open the next one; and after a death
 * the machines whose effects are void. */
enum { LANE_OFFERED = LIMIT_BATCH + LIMIT_CHANNELS, LANE_STAGED = LANE_OFFERED + LIMIT_VOIDS };

struct lane_ops {
	/* Offers up to @max input events by lane_offer(). */
	unsigned (*collect)(void *hands, struct lane *l, unsigned max);
	/* The append of all offered events is committed: publish sources' heads. */
	void (*taken)(void *hands);
	/* One effect. @redo: only what its target says was not applied. */
	void (*perform)(void *hands, const struct effect *e, bool redo);
	/* The batch's effects were all performed: submit, publish, signal. */
	void (*flush)(void *hands);
	/* Throw everything away and derive it from machine state. */
	void (*rebuild)(void *hands, const struct world *w);
	/* Offers answers to effects of this batch. */
	void (*answers)(void *hands, struct lane *l);
};

struct lane {
	struct custody *c;
	struct world *world;
	const struct slot_codec *codec;
	const struct lane_ops *ops;
	void *hands;
	struct log_writer log;
	uint64_t seq;                 /* of the last event appended */
	uint64_t checkpointed;        /* log position of the newest checkpoint */
	uint32_t epoch;
	unsigned n;                   /* staged events, from `staged` on */
	uint64_t staged[LANE_STAGED]; /* their log positions */
	unsigned max_batch;
	unsigned batch;               /* events of the next batch at most; max_batch bounds it */
	uint64_t now_ns;              /* of the events being offered; 0: to be read */
	bool input_stopped;           /* the log is nearly full and no checkpoint could be made */
	bool distrusts;               /* newest checkpoints may be of a state that was wrong */
	bool recovering;              /* staged events may be such that killed an owner */
	struct fault_point point;     /* what a fault now would be about */
	uint64_t vote_until;          /* turns up to here are voted on; 0: none */
	bool refused;                 /* the predecessor refused a staged turn: no more is done */
};

/* What the hands hand in. @fixed and @tail are copied. */
struct lane_event {
	uint16_t kind, index;
	uint32_t generation;
	uint16_t code;
	uint8_t source;
	uint64_t source_pos;
	const void *fixed;
	uint32_t fixed_len;
	const void *tail;
	uint32_t tail_len;
};

/* Starts to write behind @f, which has followed to the end of the log under
 * ownership of @epoch. Nothing is performed yet. */
void lane_start(struct lane *l, struct custody *c, struct world *w, const struct slot_codec *codec,
		const struct lane_ops *ops, void *hands, uint32_t epoch, const struct follower *f);

/* Redo: performs again, from the confirm records and never by stepping, every
 * effect of confirmed turns above DONE. Then confirms what a predecessor has
 * stepped ahead, and steps the rest of the unconfirmed tail. Confirms that it
 * rejected are told to be so, with its own effects in their place. What killed
 * two owners is not tried again: the machine is quarantined, by a record
 * LOG_QUARANTINE in place of an event, by LOG_VOID and an event for an effect (one
 * event for all of a machine's; of LIMIT_VOIDS effects at most).
 * Returns 0, or -EBADMSG when the log does not hold together. */
int lane_recover(struct lane *l, const struct follower *f);

/* Stages one event; it has happened when the batch is run. False: the batch is
 * full (nothing was staged). Stamps it with the partition's clock. */
bool lane_offer(struct lane *l, const struct lane_event *e);

/* Collects and runs one batch. Returns the number of turns; 0: nothing to do. */
unsigned lane_batch(struct lane *l);

/* Runs what is staged (answers of the hands) without taking new input. */
void lane_settle(struct lane *l);

/* The owner before may have written its own state, and it may have been wrong: a
 * checkpoint is made as soon as there is time. */
void lane_distrust_checkpoints(struct lane *l);

/* Makes a checkpoint now, between two batches. 0 or -errno. */
int lane_checkpoint(struct lane *l);

#endif
