/* tests/bench/samples.h - one figure's samples, and the line a benchmark prints.
 *
 * A sample is a double in the figure's unit. The array is grown once at the
 * start, so that adding one costs no page fault while something is timed. */
#ifndef TESTS_BENCH_SAMPLES_H
#define TESTS_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
	double *v;
	size_t n, capacity;
};

/* Room for @capacity samples, touched. Exits when there is no memory. */
void samples_init(struct samples *s, size_t capacity);
/* Samples beyond the capacity are dropped. */
void samples_add(struct samples *s, double v);
/* The sample that @part of all do not exceed. Sorts the samples. */
double samples_quantile(struct samples *s, double part);
/* Prints one JSON object: n, p50, p99, max and @value. Sorts the samples. */
void samples_print(struct samples *s, const char *name, double value);

uint64_t bench_now_ns(void);

#endif
