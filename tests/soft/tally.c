/* tests/soft/tally.c - a log-linear histogram, and the longest intervals between
 * successive completions.
 *
 * Bucket i < TALLY_FINE holds the value i; above that each power of two is cut
 * into TALLY_FINE equal parts. Gaps are found by exchanging `last`, so each
 * completion sees its predecessor exactly once; only one that may be kept takes
 * the lock. */
#include "tests/soft/tally.h"

#include <string.h>

enum { FINE_BITS = 4 };
_Static_assert(TALLY_FINE == 1 << FINE_BITS, "one figure");

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t power;

	if (ns < TALLY_FINE)
		return (uint32_t)ns;
	power = 63 - (uint32_t)__builtin_clzll(ns);
	return (power - FINE_BITS + 1) * TALLY_FINE +
	       (uint32_t)(ns >> (power - FINE_BITS) & (TALLY_FINE - 1));
}

static uint64_t upper_edge(uint32_t bucket)
{
	const uint32_t shift = bucket / TALLY_FINE - 1;

	if (bucket < TALLY_FINE)
		return bucket;
	return ((uint64_t)(TALLY_FINE + bucket % TALLY_FINE + 1) << shift) - 1;
}

void tally_add(struct tally_histogram *histogram, uint64_t ns)
{
	histogram->count++;
	histogram->bucket[bucket_of(ns)]++;
	if (ns > histogram->max)
		histogram->max = ns;
}

void tally_merge(struct tally_histogram *into, const struct tally_histogram *from)
{
	into->count += from->count;
	for (uint32_t i = 0; i < TALLY_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
	if (from->max > into->max)
		into->max = from->max;
}

uint64_t tally_quantile(const struct tally_histogram *histogram, uint32_t per_mille)
{
	const uint64_t wanted = (histogram->count * per_mille + 999) / 1000;
	uint64_t seen = 0;

	for (uint32_t i = 0; i < TALLY_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if (seen >= wanted && seen > 0)
			return upper_edge(i) < histogram->max ? upper_edge(i) : histogram->max;
	}
	return 0;
}

void tally_gaps_begin(struct tally_gaps *gaps, uint64_t now)
{
	memset(gaps, 0, sizeof(*gaps));
	pthread_mutex_init(&gaps->lock, NULL);
	atomic_store(&gaps->last, now);
}

static void keep(struct tally_gaps *gaps, const struct tally_gap *gap)
{
	uint32_t at = gaps->kept;

	while (at > 0 && gaps->gap[at - 1].length < gap->length)
		at--;
	if (at == TALLY_GAPS)
		return;
	if (gaps->kept < TALLY_GAPS)
		gaps->kept++;
	memmove(&gaps->gap[at + 1], &gaps->gap[at], (gaps->kept - 1 - at) * sizeof(*gap));
	gaps->gap[at] = *gap;
	atomic_store(&gaps->longest, gaps->gap[0].length);
}

void tally_gaps_completion(struct tally_gaps *gaps, uint64_t now)
{
	const uint64_t before = atomic_exchange(&gaps->last, now);
	const struct tally_gap gap = {.end = now, .length = now > before ? now - before : 0};

	/* A gap far below the longest is not worth the lock. */
	if (gap.length <= atomic_load_explicit(&gaps->longest, memory_order_relaxed) / 64)
		return;
	pthread_mutex_lock(&gaps->lock);
	keep(gaps, &gap);
	pthread_mutex_unlock(&gaps->lock);
}
