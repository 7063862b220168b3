/*
 * The stamped block: what hfload writes and what hfload and hfverify check.
 *
 * Each block tells what it is (region, block, generation, writer, sequence), its payload follows from that by a
 * generator, and a checksum covers all of it. So a block that is damaged, old, misplaced or torn is told apart.
 *
 * A region belongs to one writer and starts with its index: stamped blocks of kind STAMP_INDEX which, once the run
 * is over, hold the generation of each data block of the region. All numbers are little-endian (x86 only).
 */
#ifndef HOLDFAST_TESTS_STAMP_H
#define HOLDFAST_TESTS_STAMP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define STAMP_MAGIC UINT64_C(0x4b4c425453414648) /* "HFASTBLK" */
#define STAMP_DATA 1u
#define STAMP_INDEX 2u
#define STAMP_BLOCK_MIN 512u
#define STAMP_BLOCK_MAX 65536u

struct stamp {
	uint64_t magic;
	uint64_t run; /* random, one for each run of hfload */
	uint32_t region;
	uint32_t writer;
	uint64_t block; /* within the region, the index blocks included */
	uint64_t generation;
	uint64_t sequence; /* counts the writes of this writer */
	uint32_t size;     /* bytes of the block */
	uint32_t kind;
	uint64_t sum; /* over the whole block, this field taken as 0 */
};

/* Follows the stamp in an index block; then come `count` generations, uint32_t each. */
struct stamp_index {
	uint32_t regions;
	uint32_t region_blocks; /* blocks of each region, the index included */
	uint32_t index_blocks;  /* of them index */
	uint32_t part;          /* which index block this is */
	uint32_t first;         /* first data block told about here */
	uint32_t count;
	uint64_t writes;
};

_Static_assert(sizeof(struct stamp) == 64, "stamp is on disk");
_Static_assert(sizeof(struct stamp_index) == 32, "index is on disk");

enum stamp_fault {
	STAMP_GOOD,
	STAMP_NOT_STAMPED, /* no magic: never written, or overwritten by something else */
	STAMP_DAMAGED,     /* checksum or payload wrong */
	STAMP_MISPLACED,   /* a good block of another place or run */
	STAMP_OLD,         /* a good block of this place, but an earlier generation: a write was lost or done twice */
	STAMP_FUTURE,      /* a later generation than was ever confirmed */
};

static inline const char *stamp_fault_name(enum stamp_fault fault)
{
	switch (fault) {
	case STAMP_GOOD: return "good";
	case STAMP_NOT_STAMPED: return "not-stamped";
	case STAMP_DAMAGED: return "damaged";
	case STAMP_MISPLACED: return "misplaced";
	case STAMP_OLD: return "old";
	case STAMP_FUTURE: return "future";
	}
	return "unknown";
}

static inline uint32_t stamp_gens_per_index(uint32_t size)
{
	return (uint32_t)((size - sizeof(struct stamp) - sizeof(struct stamp_index)) / sizeof(uint32_t));
}

/* How many of region_blocks must be index so that the rest fits into it. */
static inline uint32_t stamp_index_blocks(uint32_t size, uint32_t region_blocks)
{
	uint32_t n = 1;
	while ((uint64_t)n * stamp_gens_per_index(size) < (uint64_t)region_blocks - n) {
		n++;
	}
	return n;
}

static inline uint64_t stamp_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t stamp_seed(const struct stamp *s)
{
	uint64_t x = stamp_mix(s->run ^ ((uint64_t)s->region << 32) ^ s->writer);
	x = stamp_mix(x ^ s->block);
	x = stamp_mix(x ^ s->generation);
	return stamp_mix(x ^ s->sequence);
}

static inline uint64_t stamp_word(uint64_t seed, size_t i)
{
	uint64_t x = seed + (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ (x >> 32);
}

/* `block` is aligned to 8 bytes, as every O_DIRECT buffer is. */
static inline uint64_t stamp_checksum(const uint64_t *block, size_t size)
{
	const size_t hole = offsetof(struct stamp, sum) / sizeof(uint64_t);
	uint64_t h = UINT64_C(0x27d4eb2f165667c5) ^ size;
	for (size_t i = 0; i < size / sizeof(uint64_t); i++) {
		h = (h ^ (i == hole ? 0 : block[i])) * UINT64_C(0x9e3779b185ebca87);
		h = (h << 31) | (h >> 33);
	}
	return stamp_mix(h);
}

static inline void stamp_seal(uint64_t *block, const struct stamp *s)
{
	struct stamp sealed = *s;
	sealed.sum = 0;
	memcpy(block, &sealed, sizeof sealed);
	sealed.sum = stamp_checksum(block, s->size);
	memcpy(block, &sealed, sizeof sealed);
}

/* Make a whole data block. */
static inline void stamp_fill(uint64_t *block, const struct stamp *s)
{
	const uint64_t seed = stamp_seed(s);
	for (size_t i = sizeof *s / sizeof(uint64_t); i < s->size / sizeof(uint64_t); i++) {
		block[i] = stamp_word(seed, i);
	}
	stamp_seal(block, s);
}

/* Check a block of `size` bytes against what should be there (run, region, block, generation, kind). */
static inline enum stamp_fault stamp_check(const uint64_t *block, const struct stamp *want, struct stamp *got)
{
	memcpy(got, block, sizeof *got);
	if (got->magic != STAMP_MAGIC) {
		return STAMP_NOT_STAMPED;
	}
	if (got->size != want->size || got->sum != stamp_checksum(block, want->size)) {
		return STAMP_DAMAGED;
	}
	if (got->run != want->run || got->region != want->region || got->block != want->block || got->kind != want->kind) {
		return STAMP_MISPLACED;
	}
	if (got->kind == STAMP_DATA) {
		const uint64_t seed = stamp_seed(got);
		for (size_t i = sizeof *got / sizeof(uint64_t); i < want->size / sizeof(uint64_t); i++) {
			if (block[i] != stamp_word(seed, i)) {
				return STAMP_DAMAGED;
			}
		}
	}
	if (got->generation != want->generation) {
		return got->generation < want->generation ? STAMP_OLD : STAMP_FUTURE;
	}
	return STAMP_GOOD;
}

#endif
