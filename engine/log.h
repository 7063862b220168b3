/* engine/log.h - the log ring of a lane, in custody.
 *
 * append -> step -> confirm -> effects -> done. One writer (the owner of the
 * epoch), any number of readers. Positions are free-running byte offsets;
 * position % size is the place. A record never wraps: a LOG_PAD fills the end.
 * Bytes beyond the tail never happened. Each record carries an XXH3-64 chained
 * over its predecessor, so a hole, a swap or a flipped bit is found by whoever
 * reads. The layout of struct log_record is for ever. */
#ifndef ENGINE_LOG_H
#define ENGINE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_type {
	LOG_EVENT = 1,      /* an outside event */
	LOG_CONFIRM = 2,    /* closes the turn of `seq`; payload: its effects */
	LOG_PAD = 3,        /* nothing up to the end of the ring */
	LOG_VOID = 4,       /* one effect of the confirmed turn `seq` will never be performed */
	LOG_QUARANTINE = 5, /* takes the place of the event of `seq`, which has no confirm yet */
	LOG_INSTEAD = 6,    /* the confirm of `seq` was rejected by a take-over; payload as a confirm's:
			     * what stands in its place */
	LOG_PROPOSE = 7,    /* as a confirm, but it waits for the predecessor's vote: nothing of it
			     * has happened before its confirm follows */
	LOG_CHECKPOINT = 8, /* the first record behind a checkpoint's cut, turn `seq`: what was packed.
			     * No turn and no effect: who does not know it goes on */
};

struct log_record {
	uint64_t seq;           /* of the turn */
	uint64_t time_ns;       /* partition's clock */
	uint32_t len;           /* of the payload, unpadded */
	uint16_t type;          /* enum log_type */
	uint8_t lane;
	uint8_t source;         /* enum source */
	uint16_t kind, index;   /* target machine */
	uint32_t generation;
	uint32_t epoch;
	uint16_t code;          /* event */
	uint16_t flags;         /* 0 */
	uint64_t source_pos;
	uint64_t chain;         /* XXH3-64(all above and payload, seed: chain before) */
};                              /* 56 bytes; payload follows, padded to 8 */

/* Fixed part of a LOG_QUARANTINE's payload, and of the QUARANTINE event that a
 * machine gets; the payload of what it replaces follows, as far as it fits. */
struct log_quarantine {
	uint64_t source_pos;    /* of the event that is replaced */
	uint16_t code;          /* that event; 0: it was an effect */
	uint16_t effect;        /* that effect; 0: it was an event */
	uint32_t reserved;
};

/* Payload of a LOG_VOID. */
struct log_void {
	uint32_t effect;        /* its place in the turn, from 0 */
	uint16_t code;          /* EFFECT_* */
	uint16_t reserved;
};

/* Payload of a LOG_CHECKPOINT. It is behind the tail before the checkpoint is
 * valid, so that one that was changed afterwards is known to be another. */
struct log_checkpoint {
	uint64_t position;      /* of the cut */
	uint64_t bytes;         /* packed */
	uint64_t hash[2];       /* XXH3-128 of them */
};

/* The words of a lane, in custody. Each stands on its own cache line because
 * readers poll them. */
struct log_words {
	_Alignas(64) _Atomic uint64_t tail;   /* position: all below is committed */
	_Alignas(64) _Atomic uint64_t oldest; /* position of the oldest valid record */
	_Alignas(64) _Atomic uint64_t done;   /* turn: all effects up to it were performed */
	_Alignas(64) uint64_t bytes;          /* size of the ring, a power of two */
};

/* The writer. Embedded in the lane; no memory of its own. */
struct log_writer {
	struct log_words *words;
	uint8_t *ring;
	uint64_t size;
	uint64_t end;           /* staged: behind the last record written */
	uint64_t chain;
	uint64_t keep;          /* position that must not be overwritten (older valid checkpoint) */
	uint8_t lane;
};

void log_words_init(struct log_words *w, uint64_t bytes);

/* @position and @chain: where a reader that verified everything has ended. */
void log_writer_init(struct log_writer *lw, struct log_words *w, uint8_t *ring, uint8_t lane,
		     uint64_t position, uint64_t chain, uint64_t keep);

/* Bytes that may still be appended before @keep would be overwritten. */
uint64_t log_room(const struct log_writer *lw);
/* Bytes that one record with @len of payload takes at most (padding included). */
uint64_t log_cost(uint32_t len);

/* Writes one record behind the staged ones; it has happened only when
 * log_commit() has stored the tail. @h: all but `len`, `lane`, `chain`, which
 * are filled in. The caller has checked log_room(): fact(). */
void log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		uint32_t len);
/* Where the payload of the next record will lie, if it has @len bytes: filled in
 * there and then given to log_append(), it is not copied. */
void *log_reserve(struct log_writer *lw, uint32_t len);
void log_commit(struct log_writer *lw);

/* A reader with its own cursor. @scratch of LOG_SCRATCH bytes is the caller's:
 * a record is copied there before it is believed. */
enum { LOG_SCRATCH = 512 << 10 };
struct log_reader {
	const struct log_words *words;
	const uint8_t *ring;
	uint64_t size;
	uint64_t position;
	uint64_t chain;
	uint8_t *scratch;
};

enum log_result {
	LOG_OK = 0,
	LOG_E_END = 1,      /* nothing more is committed */
	LOG_E_LAPPED = 2,   /* overwritten while reading: start again from a checkpoint */
	LOG_E_DAMAGED = 3,  /* length or chain does not hold */
};

void log_reader_init(struct log_reader *lr, const struct log_words *w, const uint8_t *ring,
		     uint64_t position, uint64_t chain, uint8_t *scratch);

/* Next record; pads are passed over. The payload lies in the scratch, valid
 * until the next call. */
enum log_result log_read(struct log_reader *lr, struct log_record *ret,
			 const uint8_t **ret_payload);

/* The chain value of a record: exported for archive and replay. */
uint64_t log_chain(const struct log_record *h, const void *payload, uint64_t before);

#endif
