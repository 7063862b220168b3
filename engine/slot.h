/* engine/slot.h - checkpoint slots A and B in custody.
 *
 * A checkpoint is written whole into the slot that is not the newest, then one
 * release store of its generation makes it valid (odd while it is written). It
 * is read like a record: generation, copy, hash, generation. */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include "engine/custody.h"
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
};

/* Writes a checkpoint of @w at the cut (@position, @chain). Owner only; at a
 * batch's end. Returns 0 or -errno; on failure the older slots stay valid. */
int slot_write(struct custody *c, const struct slot_codec *codec, const struct world *w,
	       uint64_t position, uint64_t chain);

/* Copies the newest valid slot to @buffer (LIMIT_SLOT_BYTES) and unpacks it.
 * No valid slot: generation 0 in *@ret and an untouched world. Returns 0, or
 * negative when slots exist but none can be used; @why (160 bytes) tells. */
int slot_load(const struct custody *c, const struct slot_codec *codec, struct world *w,
	      uint8_t *buffer, struct slot_cut *ret, char *why);

/* Copies the packed bytes of the newest (@older false) or the older valid slot
 * to @buffer (LIMIT_SLOT_BYTES). 0, or -EAGAIN: there is none, or it was being
 * written. Any process. */
int slot_copy(const struct custody *c, bool older, uint8_t *buffer, size_t *ret_len,
	      struct slot_cut *ret);

/* Log position of the newest valid slot; 0: there is none. */
uint64_t slot_newest(const struct custody *c);

/* Log position of the older valid slot: what the writer must keep. */
uint64_t slot_keep(const struct custody *c);

#endif
