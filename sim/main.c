/* holdfast-sim: `holdfast sim` is this program.
 *
 * Runs seeds one after another and tells of each what it was and how it ended.
 * Everything but real time depends on the options alone. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "sim/moment.h"
#include "sim/one.h"
#include "sim/oracle.h"
#include "sim/programs.h"
#include "sim/record.h"
#include "sim/scenario.h"
#include "sim/shrink.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, DISK_MS_MOST = 1000 };

static int usage(void)
{
	command_usage("sim");
	fputs("words of --faults:", stderr);
	for (int i = 0; i < FAULTS; i++)
		fprintf(stderr, " %s", fault_name((enum fault)i));
	fputc('\n', stderr);
	return EXIT_USAGE;
}

static int take_fault(const char *word, size_t n, struct run_options *o)
{
	bool off = *word == '-';

	if (off) {
		word++;
		n--;
	}
	for (int i = 0; i < FAULTS; i++) {
		const char *name = fault_name((enum fault)i);

		if (strlen(name) != n || strncmp(name, word, n) != 0)
			continue;
		if (off)
			o->faults &= ~(UINT64_C(1) << i);
		else
			o->faults |= UINT64_C(1) << i;
		return 0;
	}
	fprintf(stderr, "holdfast: sim: --faults: no fault '%.*s'\n", (int)n, word);
	return EXIT_USAGE;
}

static int take_faults(const char *list, struct run_options *o)
{
	const uint64_t all = (UINT64_C(1) << FAULTS) - 1;
	int r = 0;

	o->faults = *list == '-' ? all : 0;
	while (*list && !r) {
		size_t n = strcspn(list, ",");

		if (n == 3 && strncmp(list, "all", n) == 0)
			o->faults = all;
		else if (n == 4 && strncmp(list, "none", n) == 0)
			o->faults = 0;
		else
			r = take_fault(list, n, o);
		list += n + (list[n] == ',');
	}
	return r;
}

struct arguments {
	struct run_options o;
	uint64_t seeds, seconds;
	uint64_t kill_points, kill_from;  /* of the fixed scenario */
	bool shrink, json;
	const char *record;
};

static int take_number(const char *name, uint64_t *ret)
{
	unsigned long long n;
	int r = command_number("sim", name, optarg, UINT64_MAX, &n);

	*ret = n;
	return r;
}

static int take_cut(struct run_options *o)
{
	if (o->n_cuts == RUN_CUTS) {
		fprintf(stderr, "holdfast: sim: --cut: %d at most\n", RUN_CUTS);
		return EXIT_USAGE;
	}
	return take_number("cut", &o->cut[o->n_cuts++]);
}

static int take_disk_ms(struct run_options *o)
{
	int r = take_number("disk-ms", &o->disk_ms);

	if (r || (o->disk_ms >= 1 && o->disk_ms <= DISK_MS_MOST))
		return r;
	fprintf(stderr, "holdfast: sim: --disk-ms: from 1 to %d\n", DISK_MS_MOST);
	return EXIT_USAGE;
}

static int take_option(int option, struct arguments *a)
{
	switch (option) {
	case 's':
		return take_number("seed", &a->o.seed);
	case 'n':
		return take_number("seeds", &a->seeds);
	case 'e':
		return take_number("events", &a->o.events);
	case 't':
		return take_number("seconds", &a->seconds);
	case 'c':
		return take_cut(&a->o);
	case 'g':
		a->o.guest_words = optarg;
		return 0;
	case 'w':
		return moment_add(optarg);
	case 'a':
		return take_number("acts", &a->o.plan_limit);
	case 'k':
		return take_number("kill-points", &a->kill_points);
	case 'K':
		return take_number("kill-from", &a->kill_from);
	case 'f':
		return take_faults(optarg, &a->o);
	case 'd':
		a->o.state_dir = optarg;
		return 0;
	case 'r':
		a->record = optarg;
		return 0;
	case 'D':
		return take_disk_ms(&a->o);
	case 'H':
		a->o.hostile = true;
		return 0;
	case 'S':
		a->shrink = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case 'v':
		a->o.verbose = true;
		return 0;
	default:
		return usage();
	}
}

static int parse(int argc, char **argv, struct arguments *a)
{
	int option, r = 0;

	*a = (struct arguments){ .seeds = 1, .o = { .seed = 1, .events = 100000 } };
	take_faults("all", &a->o);
	while (!r && (option = command_option(argc, argv)) != -1)
		r = take_option(option, a);
	if (!r && (optind != argc || a->seeds == 0 || a->o.events == 0 ||
		   (a->kill_from && !a->kill_points) ||
		   (a->o.disk_ms && (a->o.hostile || a->kill_points))))
		r = usage();
	return r;
}

/* The log of a run is kept when it is the only one, or has failed. */
static void keep_log(const struct run_options *o)
{
	static char tail[ONE_TAIL];
	struct run_result again;

	if (!o->state_dir)
		return;
	run_one(o, &again, tail);
	printf("its log: holdfast replay --state %s --step\n", o->state_dir);
}

static bool time_is_up(const struct arguments *a)
{
	static time_t began;
	struct timespec t;

	__real_clock_gettime(CLOCK_MONOTONIC, &t);
	if (began == 0)
		began = t.tv_sec;
	return a->seconds && (uint64_t)(t.tv_sec - began) >= a->seconds;
}

/* True: it failed. */
static bool run_seed(const struct arguments *a)
{
	static char tail[ONE_TAIL];
	struct run_options o = a->o;
	struct run_result ended;

	if (a->seeds > 1 || a->shrink)
		o.state_dir = NULL;
	run_one(&o, &ended, tail);
	record_tell(&o, &ended, a->json);
	if (record_add(a->record, &o, &ended))
		return true;
	if (!ended.failed)
		return false;
	fputs(tail, stderr);
	if (a->shrink)
		shrink(&o, &ended);
	if (a->shrink || a->seeds > 1) {
		o.state_dir = a->o.state_dir;
		keep_log(&o);
	}
	return true;
}

int main(int argc, char **argv)
{
	static char name[] = "sim";
	struct arguments a;
	bool failed = false;
	int r;

	argv[0] = name;
	if (programs_load())
		return EXIT_FAILED;
	r = parse(argc, argv, &a);
	if (r)
		return r;
	oracle_prepare();
	if (a.kill_points)
		return scenario_run(&a.o, a.kill_points, a.kill_from, a.record) ? EXIT_FAILED : 0;
	for (uint64_t i = 0; i < a.seeds && !failed && !time_is_up(&a); i++, a.o.seed++)
		failed = run_seed(&a);
	return failed ? EXIT_FAILED : 0;
}
