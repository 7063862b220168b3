/* fuzz/feed.h - the bytes of one fuzz input, taken from the front. Behind the
 * end everything reads as 0, so that every input is a whole run. */
#ifndef FUZZ_FEED_H
#define FUZZ_FEED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct feed {
	const uint8_t *p;
	size_t left;
};

static inline void feed_bytes(struct feed *f, void *dst, size_t n)
{
	size_t have = f->left < n ? f->left : n;

	if (have)
		memcpy(dst, f->p, have);
	if (n > have)
		memset((uint8_t *)dst + have, 0, n - have);
	f->p += have;
	f->left -= have;
}

static inline uint8_t feed_u8(struct feed *f)
{
	uint8_t v;

	feed_bytes(f, &v, sizeof(v));
	return v;
}

static inline uint16_t feed_u16(struct feed *f)
{
	uint16_t v;

	feed_bytes(f, &v, sizeof(v));
	return v;
}

static inline uint32_t feed_u32(struct feed *f)
{
	uint32_t v;

	feed_bytes(f, &v, sizeof(v));
	return v;
}

static inline uint64_t feed_u64(struct feed *f)
{
	uint64_t v;

	feed_bytes(f, &v, sizeof(v));
	return v;
}

/* Below @n; one byte where that is enough. 0 for @n 0. */
static inline uint32_t feed_below(struct feed *f, uint32_t n)
{
	if (n <= 1)
		return 0;
	return (n <= 256 ? feed_u8(f) : feed_u16(f)) % n;
}

/* True once in @n times. */
static inline int feed_once_in(struct feed *f, uint32_t n)
{
	return feed_below(f, n) == n - 1;
}

#endif
