/*
 * hfspin: how long a processor of the guest stands still. One real-time thread on the last processor does nothing but
 * read the clock; the longest pause between two readings is kept for each step of 100 ms.
 *
 * usage: hfspin SECONDS NAME
 *
 * It ends with one line, "HFSPIN name=NAME steps=N p50_us=… p99_us=… max_us=…", of the steps' longest pauses.
 * Exit status: 0, or 2 for wrong usage or when it may not run alone on its processor.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS_MAX = 600, STEPS_A_SECOND = 10 };
#define SECOND UINT64_C(1000000000)

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* The longest pause that begins before @end. */
static uint64_t longest_pause(uint64_t end)
{
	uint64_t longest = 0;
	uint64_t last = now();

	while (last < end) {
		const uint64_t t = now();

		if (t - last > longest)
			longest = t - last;
		last = t;
	}
	return longest;
}

/* Real-time threads may take all of their processor, until the kernel is told otherwise again. */
static int run_alone(void)
{
	const struct sched_param first = {.sched_priority = 1};
	FILE *limit = fopen("/proc/sys/kernel/sched_rt_runtime_us", "w");
	cpu_set_t last;

	if (!limit || fputs("-1", limit) < 0 || fclose(limit) != 0)
		return -1;
	CPU_ZERO(&last);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	if (sched_setaffinity(0, sizeof(last), &last) < 0)
		return -1;
	return sched_setscheduler(0, SCHED_FIFO, &first);
}

static int by_length(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static uint64_t pause[SECONDS_MAX * STEPS_A_SECOND];
	const long seconds = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
	const size_t steps = (size_t)seconds * STEPS_A_SECOND;
	uint64_t end;

	if (seconds < 1 || seconds > SECONDS_MAX) {
		fputs("usage: hfspin SECONDS NAME\n", stderr);
		return 2;
	}
	if (run_alone() < 0) {
		perror("hfspin");
		return 2;
	}
	end = now();
	for (size_t i = 0; i < steps; i++) {
		end += SECOND / STEPS_A_SECOND;
		pause[i] = longest_pause(end);
	}
	qsort(pause, steps, sizeof(pause[0]), by_length);
	printf("HFSPIN name=%s steps=%zu p50_us=%" PRIu64 " p99_us=%" PRIu64 " max_us=%" PRIu64
	       "\n",
	       argv[2], steps, pause[steps / 2] / 1000, pause[steps * 99 / 100] / 1000,
	       pause[steps - 1] / 1000);
	return 0;
}
