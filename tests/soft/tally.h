/* tests/soft/tally.h - latencies and completion gaps. Times are nanoseconds of
 * CLOCK_MONOTONIC. A histogram has one user at a time; gaps any number. */
#ifndef TESTS_SOFT_TALLY_H
#define TESTS_SOFT_TALLY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
	TALLY_FINE = 16, /* buckets of each power of two: 6 % wide at most */
	TALLY_BUCKETS = 61 * TALLY_FINE,
	TALLY_GAPS = 128, /* the longest ones are kept */
};

struct tally_histogram {
	uint64_t count, max;
	uint64_t bucket[TALLY_BUCKETS];
};

void tally_add(struct tally_histogram *histogram, uint64_t ns);
void tally_merge(struct tally_histogram *into, const struct tally_histogram *from);

/* The upper edge of the bucket where `per_mille` of all are reached; max at most. */
uint64_t tally_quantile(const struct tally_histogram *histogram, uint32_t per_mille);

struct tally_gap {
	uint64_t end, length;
};

struct tally_gaps {
	_Atomic uint64_t last, longest;
	pthread_mutex_t lock; /* of the members below */
	uint32_t kept;
	struct tally_gap gap[TALLY_GAPS]; /* longest first */
};

void tally_gaps_begin(struct tally_gaps *gaps, uint64_t now);
void tally_gaps_completion(struct tally_gaps *gaps, uint64_t now);

#endif
