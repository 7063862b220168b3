/* engine/slot.h - checkpoint slots A and B in custody.
 *
 * A checkpoint is written whole into the slot that is not the newest; the log is
 * told what was packed (LOG_CHECKPOINT, the first record behind the cut); then
 * one release store of its generation makes it valid (odd while it is written).
 * It is read like a record: generation, copy, hash, generation. One that the log
 * tells otherwise of is refused. A log without such a record was written by a
 * build that knew none: there the slot's own hash must do. */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include "engine/custody.h"
#include "engine/log.h"
#include "engine/world.h"

/* How a world becomes bytes: given by the composition root (persist/codec.c). */
struct slot_codec {
	/* 0, or -ENOSPC when it needs more than @capacity. */
	int (*pack)(const struct world *w, uint8_t *bytes, size_t capacity, size_t *ret_len);
	/* Into a world just reset. 0, or negative; @why (160 bytes) says what is wrong. */
	int (*unpack)(struct world *w, const uint8_t *bytes, size_t len, char *why);
};

/* Where a reader of the log goes on behind a checkpoint. */
struct slot_cut {
	uint64_t generation;   /* 0: there is no checkpoint; start with an empty world */
	uint64_t seq, position, chain;
	uint64_t refused[2];   /* by slot_load(): generations of slots that are not what was
				* written there; 0: none */
};

/* Does the record behind the cut tell of these packed bytes? */
enum slot_told {
	SLOT_TOLD_NOTHING,     /* it is another record */
	SLOT_TOLD_SAME,
	SLOT_TOLD_OTHER,       /* other bytes, another turn, another place: refuse them */
};
enum slot_told slot_told(const struct log_record *h, const void *payload,
			 const struct slot_cut *cut, const uint8_t *bytes, size_t len);

/* Writes a checkpoint of @w, the cut being the end of @log, where nothing is
 * staged; the record that tells of it is appended and committed. Owner only; at a
 * batch's end. Returns 0 or -errno; on failure the older slots stay valid. */
int slot_write(struct custody *c, const struct slot_codec *codec, const struct world *w,
	       struct log_writer *log);

/* Copies the newest valid slot to @buffer (LIMIT_SLOT_BYTES) and unpacks it. One
 * that is not what was written, by its hash or by the log, is passed over: the
 * older one is taken, or the empty world as long as the log is whole from its
 * beginning on; @ret->refused then names it and @why (160 bytes) says what is
 * wrong, else @why is left alone. No valid slot: generation 0 in *@ret and an
 * untouched world. Returns 0, or negative when slots exist but none can be used;
 * @why tells. */
int slot_load(const struct custody *c, const struct slot_codec *codec, struct world *w,
	      uint8_t *buffer, struct slot_cut *ret, char *why);

/* Makes what slot_load() has refused invalid for everybody, so that the next
 * checkpoint takes its place and not that of the good one. Owner only. */
void slot_drop_refused(struct custody *c, const struct slot_cut *cut);

/* Copies the packed bytes of the newest (@older false) or the older valid slot
 * to @buffer (LIMIT_SLOT_BYTES). 0, or -EAGAIN: there is none, or it was being
 * written; -EBADMSG: it is not what was written there, *@ret tells which. Any
 * process. */
int slot_copy(const struct custody *c, bool older, uint8_t *buffer, size_t *ret_len,
	      struct slot_cut *ret);

/* Log position of the newest valid slot; 0: there is none. */
uint64_t slot_newest(const struct custody *c);

/* Log position of the older valid slot: what the writer must keep. */
uint64_t slot_keep(const struct custody *c);

#endif
