/* tests/crash/crashpoints.c - SIGKILL behind every instruction that matters.
 *
 *   crashpoints --holdfast PATH --guest PATH --scenario read|write|message|takeover
 *               [--changed] [--every N] [--limit K] [--failures N] [--json FILE]
 *
 * Two recording passes find the points of the scenario's window (points.h); then
 * the same operation is done once for each point, and the paravisor is killed
 * there. The partition starts another, whose memory is filled with 0xA5 before
 * it recovers, and the guest says whether its operation was done exactly once.
 * --changed leaves out points whose store wrote what was there already: nobody
 * can tell them from the point before.
 * Exit status: 0 all well; 1 a failure, each told; 2 wrong usage. */
#include "engine/fact.h"
#include "tests/crash/pass.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	RECORDINGS = 2,      /* of an operation; a take-over is ten times as long: one */
	RECORD_TRIES = 3,    /* the partition loses patience with a taker that is stepped slowly */
	ATTEMPTS = 6,        /* at a point that the window did not come to */
	FAILURES = 8,        /* then it gives up; --failures */
	POINTS_OF_A_VM = 500, /* its log stays short */
	MISSED_PERCENT = 5,  /* more points not reached: a failure of the proof */
	PROGRESS_S = 10,
};

struct run {
	const char *holdfast, *guest, *scenario, *json;
	unsigned every, limit, give_up, same;
	bool changed;
	char program[PATH_MAX];
	struct vm vm;
	bool up, keep;
	struct pass pass;
	struct points points;
	unsigned shot, killed, recovered, exactly_once, missed, failures, of_vm;
	uint64_t *recovery_ns;
	uint64_t told_ns;
	FILE *report;
};

/* ---- the VM ------------------------------------------------------------------------- */

static void stop_vm(struct run *run)
{
	if (run->up)
		vm_end(&run->vm, run->keep);
	run->up = run->keep = false;
	run->of_vm = 0;
}

static int start_vm(struct run *run)
{
	int r;

	if (run->up && run->of_vm < POINTS_OF_A_VM)
		return 0;
	stop_vm(run);
	r = vm_start(&run->vm, run->holdfast, run->guest);
	run->up = true;
	run->keep = r < 0;
	return r;
}

/* ---- recording ------------------------------------------------------------------------ */

static int record_once(struct run *run, struct points *ret)
{
	struct points seen = { 0 };
	char why[PASS_LINE] = "";
	int r = start_vm(run);

	if (r == 0)
		r = pass_record(&run->pass, &seen, why);
	if (r == 0)
		r = points_merge(ret, &seen) < 0 ? -1 : 0;
	points_free(&seen);
	if (r == 0)
		return 0;
	printf("%s: recording failed: %s\n", run->scenario, why);
	run->keep = true;
	stop_vm(run);
	return -1;
}

static int record(struct run *run, struct points *ret)
{
	unsigned failed = 0, done = 0, want = run->pass.takeover ? 1 : RECORDINGS;

	while (done < want && failed < RECORD_TRIES) {
		if (record_once(run, ret) < 0)
			failed++;
		else
			done++;
	}
	return done == want ? 0 : -1;
}

static bool is_submission(const struct point *p)
{
	enum { IO_URING_ENTER = 426 };

	return p->kind == POINT_SYSCALL && p->number == IO_URING_ENTER;
}

/* The owner dies with its write confirmed and placed, and not submitted. */
static int choose_death(struct run *run)
{
	struct points write = { 0 };
	unsigned i = 0;

	run->pass.takeover = false;
	if (record(run, &write) < 0)
		return -1;
	while (i + 1 < write.n && !is_submission(&write.point[i + 1]))
		i++;
	run->pass.death = write.point[i + 1 < write.n ? i : write.n / 2];
	run->pass.takeover = true;
	points_free(&write);
	return 0;
}

/* ---- shooting ------------------------------------------------------------------------- */

static void tell_failure(struct run *run, unsigned n, const char *why)
{
	char text[1024];
	static char escaped[2048];
	size_t at = 0;

	point_describe(&run->points.point[n], text, sizeof(text));
	printf("%s: point %u: %s\n    %s\n", run->scenario, n, why, text);
	fflush(stdout);
	if (!run->report)
		return;
	for (const char *c = text; *c && at + 2 < sizeof(escaped); c++) {
		if (*c == '"' || *c == '\\')
			escaped[at++] = '\\';
		escaped[at++] = *c;
	}
	escaped[at] = '\0';
	fprintf(run->report, "%s{\"point\":%u,\"at\":\"%s\"}", run->failures ? "," : "", n, escaped);
}

static void tell_progress(struct run *run, unsigned n)
{
	if (mono_now_ns() - run->told_ns < PROGRESS_S * UINT64_C(1000000000))
		return;
	printf("%s: %u of %u\n", run->scenario, n, run->points.n);
	fflush(stdout);
	run->told_ns = mono_now_ns();
}

static void shoot(struct run *run, unsigned n)
{
	struct pass_outcome outcome;
	enum pass_result r = PASS_MISSED;

	for (unsigned i = 0; i < ATTEMPTS && r == PASS_MISSED; i++) {
		if (start_vm(run) < 0) {
			run->failures = run->give_up;
			return;
		}
		run->of_vm++;
		r = pass_shoot(&run->pass, &run->points.point[n], &outcome);
	}
	run->shot++;
	run->missed += r == PASS_MISSED;
	run->killed += outcome.killed_ns != 0;
	run->recovered += outcome.recovered;
	run->exactly_once += outcome.exactly_once;
	if (r == PASS_KILLED)
		run->recovery_ns[run->exactly_once - 1] = outcome.recovery_ns;
	if (r != PASS_FAILED)
		return;
	tell_failure(run, n, outcome.why);
	run->failures++;
	run->keep = run->failures == 1;
	stop_vm(run);
}

static void shoot_all(struct run *run)
{
	unsigned n = 0;

	for (; n < run->points.n && run->shot < run->limit && run->failures < run->give_up;
	     n += run->every) {
		if (run->changed && run->points.point[n].same)
			continue;
		tell_progress(run, n);
		shoot(run, n);
	}
	if (run->failures >= run->give_up)
		printf("%s: given up after %u failures\n", run->scenario, run->failures);
}

/* ---- the verdict ---------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double recovery_ms(const struct run *run, unsigned percent)
{
	unsigned n = run->exactly_once;

	return n ? (double)run->recovery_ns[(n - 1) * percent / 100] / 1e6 : 0;
}

static int verdict(struct run *run)
{
	const struct points *p = &run->points;
	bool good = run->failures == 0 && p->undecoded == 0 && run->shot > 0 &&
		    run->missed * 100 <= run->shot * MISSED_PERCENT;

	qsort(run->recovery_ns, run->exactly_once, sizeof(*run->recovery_ns), compare);
	printf("%s: points=%u (%u changed nothing) of %" PRIu64 " instructions (undecoded=%" PRIu64
	       "), tried=%u killed=%u recovered=%u exactly_once=%u not_reached=%u failures=%u\n",
	       run->scenario, p->n, run->same, p->steps, p->undecoded, run->shot, run->killed,
	       run->recovered, run->exactly_once, run->missed, run->failures);
	printf("%s: SIGKILL to service: p50=%.1f ms p99=%.1f ms max=%.1f ms\n", run->scenario,
	       recovery_ms(run, 50), recovery_ms(run, 99), recovery_ms(run, 100));
	if (run->report)
		fprintf(run->report,
			"],\"scenario\":\"%s\",\"points\":%u,\"unchanged\":%u,\"instructions\":%" PRIu64
			",\"tried\":%u,\"killed\":%u,\"recovered\":%u,\"exactly_once\":%u"
			",\"not_reached\":%u,\"ok\":%s,\"recovery_ms\":{\"p50\":%.3f"
			",\"p99\":%.3f,\"max\":%.3f}}\n",
			run->scenario, p->n, run->same, p->steps, run->shot, run->killed,
			run->recovered, run->exactly_once, run->missed, good ? "true" : "false",
			recovery_ms(run, 50), recovery_ms(run, 99), recovery_ms(run, 100));
	return good ? 0 : 1;
}

static int prove(struct run *run)
{
	run->pass.vm = &run->vm;
	run->pass.program = run->program;
	if (run->pass.takeover && choose_death(run) < 0)
		return 1;
	if (record(run, &run->points) < 0)
		return 1;
	run->recovery_ns = calloc(run->points.n + 1, sizeof(*run->recovery_ns));
	if (!run->recovery_ns)
		return 1;
	run->told_ns = mono_now_ns();
	for (unsigned i = 0; i < run->points.n; i++)
		run->same += run->points.point[i].same;
	shoot_all(run);
	return verdict(run);
}

static int usage(void)
{
	fputs("usage: crashpoints --holdfast PATH --guest PATH --scenario "
	      "read|write|message|takeover [--changed] [--every N] [--limit K] "
	      "[--failures N] [--json FILE]\n", stderr);
	return 2;
}

static int set_scenario(struct run *run, const char *name)
{
	static const struct { const char *name; char letter; } known[] = {
		{ "read", 'r' }, { "write", 'w' }, { "message", 'm' }, { "takeover", 'w' },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(known[i].name, name) != 0)
			continue;
		run->scenario = known[i].name;
		run->pass.letter = known[i].letter;
		run->pass.takeover = i == 3;
		return 0;
	}
	return -EINVAL;
}

static int parse(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "holdfast", required_argument, NULL, 'h' }, { "guest", required_argument, NULL, 'g' },
		{ "scenario", required_argument, NULL, 's' }, { "every", required_argument, NULL, 'e' },
		{ "limit", required_argument, NULL, 'l' },    { "json", required_argument, NULL, 'j' },
		{ "changed", no_argument, NULL, 'c' },
		{ "failures", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	int option, r = 0;

	run->every = 1;
	run->limit = UINT_MAX;
	run->give_up = FAILURES;
	while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'h': run->holdfast = optarg; break;
		case 'g': run->guest = optarg; break;
		case 's': r = set_scenario(run, optarg); break;
		case 'e': run->every = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'l': run->limit = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f': run->give_up = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': run->changed = true; break;
		case 'j': run->json = optarg; break;
		default: r = -EINVAL; break;
		}
	}
	if (r < 0 || optind != argc || !run->holdfast || !run->guest || !run->scenario ||
	    !run->every)
		return -EINVAL;
	return realpath(run->holdfast, run->program) ? 0 : -errno;
}

int main(int argc, char **argv)
{
	static struct run run;
	int status;

	if (parse(&run, argc, argv) < 0)
		return usage();
	run.report = run.json ? fopen(run.json, "we") : NULL;
	if (run.report)
		fputs("{\"failures\":[", run.report);
	status = prove(&run);
	stop_vm(&run);
	if (run.report && fclose(run.report) != 0)
		status = 1;
	points_free(&run.points);
	free(run.recovery_ns);
	return status;
}
