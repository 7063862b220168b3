/* fuzz/driver.c - runs a fuzz target without libFuzzer.
 *
 *   fuzz_x [seed=N] [runs=N] [seconds=N] [bytes=N] [detail] [FILE...]
 *
 * With files: each is one input. Otherwise `runs` inputs are made from the
 * seed, run after run, so that (seed, run) names an input for ever. When a fact
 * fails or a signal comes, the input is written to crash-SEED-RUN and its place
 * is told; giving that file as FILE runs it again. */
#include "fuzz/driver.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BYTES_DEFAULT = 4096, BYTES_MAX = 1 << 20 };

static struct {
	uint64_t seed, runs, seconds, bytes, run;
	int detail;
	uint8_t *input;
	size_t len;
	const char *file;
} driver = { .seed = 1, .runs = 1000, .bytes = BYTES_DEFAULT };

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Only what a signal handler may do, and snprintf into its own stack. */
static void on_crash(int number)
{
	char path[96], text[256];
	int n, fd;

	signal(number, SIG_DFL);
	if (driver.file) {
		n = snprintf(text, sizeof(text), "fuzz: signal %d in %s\n", number, driver.file);
	} else {
		snprintf(path, sizeof(path), "crash-%" PRIu64 "-%" PRIu64, driver.seed, driver.run);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (fd >= 0 && write(fd, driver.input, driver.len) == (ssize_t)driver.len)
			close(fd);
		n = snprintf(text, sizeof(text),
			     "fuzz: signal %d, seed=%" PRIu64 " run %" PRIu64 ", input in %s\n",
			     number, driver.seed, driver.run, path);
	}
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(1);
	raise(number);
}

static void make_input(uint64_t run)
{
	uint64_t state = driver.seed * UINT64_C(0x2545F4914F6CDD1D) + run;

	driver.len = driver.bytes / 8 + mix(&state) % (driver.bytes - driver.bytes / 8);
	for (size_t at = 0; at < driver.len; at += 8) {
		uint64_t word = mix(&state);

		memcpy(driver.input + at, &word,
		       driver.len - at < 8 ? driver.len - at : sizeof(word));
	}
}

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rbe");

	if (!f) {
		perror(path);
		return 1;
	}
	driver.file = path;
	driver.len = fread(driver.input, 1, BYTES_MAX, f);
	fclose(f);
	LLVMFuzzerTestOneInput(driver.input, driver.len);
	return 0;
}

/* An option of ours, or 0. */
static int take_option(const char *arg)
{
	static const struct {
		const char *name;
		uint64_t *value;
	} options[] = { { "seed=", &driver.seed }, { "runs=", &driver.runs },
			{ "seconds=", &driver.seconds }, { "bytes=", &driver.bytes } };

	if (strcmp(arg, "detail") == 0)
		return driver.detail = 1;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t n = strlen(options[i].name);

		if (strncmp(arg, options[i].name, n) == 0) {
			*options[i].value = strtoull(arg + n, NULL, 0);
			return 1;
		}
	}
	return 0;
}

static void run_seeds(void)
{
	double start = seconds_of(CLOCK_MONOTONIC);

	for (driver.run = 0; driver.seconds || driver.run < driver.runs; driver.run++) {
		if (driver.seconds && seconds_of(CLOCK_MONOTONIC) - start >= (double)driver.seconds)
			break;
		make_input(driver.run);
		LLVMFuzzerTestOneInput(driver.input, driver.len);
	}
}

int main(int argc, char **argv)
{
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	int files = 0, error = 0;
	double start;

	driver.input = malloc(BYTES_MAX);
	if (!driver.input)
		return 1;
	LLVMFuzzerInitialize(&argc, &argv);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], on_crash);
	for (int i = 1; i < argc; i++)
		if (!take_option(argv[i]))
			argv[++files] = argv[i];
	if (driver.bytes < 64 || driver.bytes > BYTES_MAX) {
		fprintf(stderr, "fuzz: bytes must be 64..%d\n", BYTES_MAX);
		return 2;
	}
	start = seconds_of(CLOCK_PROCESS_CPUTIME_ID); /* rates are of a core */
	for (int i = 1; i <= files; i++)
		error |= run_file(argv[i]);
	if (files == 0)
		run_seeds();
	if (files == 0)
		printf("seed=%" PRIu64 " runs=%" PRIu64 " ", driver.seed, driver.run);
	fuzz_report(seconds_of(CLOCK_PROCESS_CPUTIME_ID) - start, driver.detail);
	free(driver.input);
	return error;
}
