/* tests/bench/samples.c - exact quantiles: samples are kept and sorted. */
#include "tests/bench/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void samples_init(struct samples *s, size_t capacity)
{
	s->v = malloc(capacity * sizeof(*s->v));
	s->n = 0;
	s->capacity = capacity;
	if (!s->v) {
		fprintf(stderr, "bench: no memory\n");
		exit(1);
	}
	memset(s->v, 1, capacity * sizeof(*s->v));
}

void samples_add(struct samples *s, double v)
{
	if (s->n < s->capacity)
		s->v[s->n++] = v;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(const struct samples *s, double part)
{
	size_t at = (size_t)((double)s->n * part);

	return s->n == 0 ? 0. : s->v[at < s->n ? at : s->n - 1];
}

double samples_quantile(struct samples *s, double part)
{
	qsort(s->v, s->n, sizeof(*s->v), order);
	return quantile(s, part);
}

void samples_print(struct samples *s, const char *name, double value)
{
	qsort(s->v, s->n, sizeof(*s->v), order);
	printf("{\"name\":\"%s\",\"n\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"value\":%.3f}\n",
	       name, s->n, quantile(s, .5), quantile(s, .99), quantile(s, 1.), value);
}
