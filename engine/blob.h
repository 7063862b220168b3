/* engine/blob.h - the world's arena of immutable byte strings.
 *
 * Uniform chunks, chained. Whether there is room depends on the number of free
 * chunks only, never on their layout, so that a loaded world behaves like the
 * one that was saved. Handle = first chunk + 1; 0 is "none". */
#ifndef ENGINE_BLOB_H
#define ENGINE_BLOB_H

#include "engine/limits.h"
#include "engine/sm.h"

struct blobs {
	uint8_t (*chunk)[LIMIT_BLOB_CHUNK];
	uint16_t *next;          /* chunk + 1; 0: last */
	uint32_t *len;           /* of the blob, at its first chunk; 0: not a first chunk */
	uint64_t *free;          /* bit set: chunk is free */
	uint32_t n_free;
	uint32_t hint;           /* no free chunk in a word below */
	uint32_t used;           /* no chunk from here on was taken since the fill */
};

int blobs_init(struct blobs *b);          /* 0 or -ENOMEM */
void blobs_deinit(struct blobs *b);
/* As after blobs_init(). @fill, unless 0, goes into every chunk; @again: it was
 * the fill of the last time, so what was not taken since has it. */
void blobs_reset(struct blobs *b, uint8_t fill, bool again);

/* 0 when @len is 0 or there is no room. */
sm_blob blobs_new(struct blobs *b, const void *bytes, size_t len);
/* Old bytes followed by new ones; the old handle is freed. 0: no room, old kept. */
sm_blob blobs_append(struct blobs *b, sm_blob old, const void *bytes, size_t len);
void blobs_free(struct blobs *b, sm_blob h);
size_t blobs_len(const struct blobs *b, sm_blob h);
size_t blobs_read(const struct blobs *b, sm_blob h, size_t offset, void *dst, size_t len);

#endif
