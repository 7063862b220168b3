/* Blobs: chained chunks, lowest free chunk first. */
#include "engine/blob.h"

#include "engine/fact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = LIMIT_BLOB_CHUNKS / 64 };
_Static_assert(LIMIT_BLOB_CHUNKS % 64 == 0, "whole words");
_Static_assert(LIMIT_BLOB_CHUNKS < UINT16_MAX, "next is 16 bits, one-based");

int blobs_init(struct blobs *b)
{
	*b = (struct blobs){ 0 };
	b->chunk = malloc(sizeof(*b->chunk) * LIMIT_BLOB_CHUNKS);
	b->next = malloc(sizeof(*b->next) * LIMIT_BLOB_CHUNKS);
	b->len = malloc(sizeof(*b->len) * LIMIT_BLOB_CHUNKS);
	b->free = malloc(sizeof(*b->free) * WORDS);
	if (!b->chunk || !b->next || !b->len || !b->free) {
		blobs_deinit(b);
		return -ENOMEM;
	}
	memset(b->len, 0, sizeof(*b->len) * LIMIT_BLOB_CHUNKS);
	memset(b->free, 0xff, sizeof(*b->free) * WORDS);
	b->n_free = LIMIT_BLOB_CHUNKS;
	return 0;
}

void blobs_deinit(struct blobs *b)
{
	free(b->chunk);
	free(b->next);
	free(b->len);
	free(b->free);
	*b = (struct blobs){ 0 };
}

void blobs_reset(struct blobs *b, uint8_t fill, bool again)
{
	uint32_t used = b->used;

	if (fill) { /* a chunk is written before it is read */
		uint32_t n = again ? used : LIMIT_BLOB_CHUNKS;

		memset(b->chunk, fill, sizeof(*b->chunk) * n);
		memset(b->next, fill, sizeof(*b->next) * n);
		b->used = 0;
	}
	memset(b->len, 0, sizeof(*b->len) * used);
	memset(b->free, 0xff, sizeof(*b->free) * WORDS);
	b->n_free = LIMIT_BLOB_CHUNKS;
	b->hint = 0;
}

static uint32_t chunks_of(size_t len)
{
	return (uint32_t)((len + LIMIT_BLOB_CHUNK - 1) / LIMIT_BLOB_CHUNK);
}

static uint32_t take(struct blobs *b)
{
	uint32_t w = b->hint, bit;

	fact(b->n_free);
	while (!b->free[w]) {
		w++;
		fact(w < WORDS);
	}
	bit = (uint32_t)__builtin_ctzll(b->free[w]);
	b->free[w] &= b->free[w] - 1;
	b->hint = w;
	b->n_free--;
	if (w * 64 + bit >= b->used)
		b->used = w * 64 + bit + 1;
	return w * 64 + bit;
}

sm_blob blobs_new(struct blobs *b, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint32_t n = chunks_of(len), first = 0, last = 0;

	if (len == 0 || n > b->n_free)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t c = take(b);
		size_t part = len - (size_t)i * LIMIT_BLOB_CHUNK;

		if (part > LIMIT_BLOB_CHUNK)
			part = LIMIT_BLOB_CHUNK;
		memcpy(b->chunk[c], p + (size_t)i * LIMIT_BLOB_CHUNK, part);
		b->next[c] = 0;
		if (i == 0)
			first = c;
		else
			b->next[last] = (uint16_t)(c + 1);
		last = c;
	}
	b->len[first] = (uint32_t)len;
	return first + 1;
}

sm_blob blobs_append(struct blobs *b, sm_blob old, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t before = blobs_len(b, old), used;
	uint32_t c;

	if (before == 0)
		return blobs_new(b, bytes, len);
	if (chunks_of(before + len) - chunks_of(before) > b->n_free)
		return 0;
	for (c = old - 1; b->next[c]; c = b->next[c] - 1u)
		;
	used = before % LIMIT_BLOB_CHUNK;
	for (size_t done = 0; done < len;) {
		size_t part = len - done;

		if (used == 0) {
			uint32_t fresh = take(b);

			b->next[c] = (uint16_t)(fresh + 1);
			b->next[fresh] = 0;
			c = fresh;
		}
		if (part > LIMIT_BLOB_CHUNK - used)
			part = LIMIT_BLOB_CHUNK - used;
		memcpy(b->chunk[c] + used, p + done, part);
		done += part;
		used = (used + part) % LIMIT_BLOB_CHUNK;
	}
	b->len[old - 1] = (uint32_t)(before + len);
	return old;
}

void blobs_free(struct blobs *b, sm_blob h)
{
	uint32_t c;

	if (h == 0)
		return;
	fact(h <= LIMIT_BLOB_CHUNKS && b->len[h - 1]);
	b->len[h - 1] = 0;
	for (c = h - 1;;) {
		uint32_t next = b->next[c];

		b->free[c / 64] |= 1ull << c % 64;
		b->n_free++;
		if (c / 64 < b->hint)
			b->hint = c / 64;
		if (next == 0)
			return;
		c = next - 1;
	}
}

size_t blobs_len(const struct blobs *b, sm_blob h)
{
	if (h == 0)
		return 0;
	fact(h <= LIMIT_BLOB_CHUNKS && b->len[h - 1]);
	return b->len[h - 1];
}

size_t blobs_read(const struct blobs *b, sm_blob h, size_t offset, void *dst, size_t len)
{
	size_t total = blobs_len(b, h), done = 0;
	uint32_t c;

	if (offset >= total)
		return 0;
	if (len > total - offset)
		len = total - offset;
	for (c = h - 1; offset >= LIMIT_BLOB_CHUNK; offset -= LIMIT_BLOB_CHUNK)
		c = b->next[c] - 1u;
	while (done < len) {
		size_t part = len - done;

		if (part > LIMIT_BLOB_CHUNK - offset)
			part = LIMIT_BLOB_CHUNK - offset;
		memcpy((uint8_t *)dst + done, b->chunk[c] + offset, part);
		done += part;
		offset = 0;
		if (done < len)
			c = b->next[c] - 1u;
	}
	return len;
}
