/* tests/soft/test_softload.c - the whole guest, as a child process, against
 * fakehost.c: what it must live with, and that it finds each broken rule. */
#include "tests/soft/fakehost.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 16, DISK = 64 << 20 };

static const struct fakehost_options GOOD = {.vps = 2, .sub_channels = 3, .disk_bytes = DISK};

static struct fakehost_result run(const struct fakehost_options *options, const char *command)
{
	static struct fakehost_result result;
	char copy[512], *argv[WORDS] = {getenv("SOFTLOAD")};
	int n = 1;

	cr_assert_not_null(argv[0], "SOFTLOAD names the guest");
	snprintf(copy, sizeof(copy), "%s", command);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[n++] = word;
	fakehost_run(options, argv, &result);
	return result;
}

static uint64_t figure(const struct fakehost_result *result, const char *name)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(result->line, key);
	cr_assert_not_null(at, "%s is not in: %s", name, result->line);
	return strtoull(at + strlen(key), NULL, 10);
}

static void expect_good(const struct fakehost_result *result)
{
	cr_assert_eq(result->status, 0, "status %d: %s", result->status, result->line);
	cr_assert_not_null(strstr(result->line, "\"ok\":true"));
	cr_assert(result->unloaded);
	cr_assert(result->disabled);
}

Test(softload, a_good_host_is_good_on_every_channel, .timeout = 60)
{
	const struct fakehost_result result =
		run(&GOOD, "load channels=4 depth=16 ops=20000 churn=5");

	expect_good(&result);
	cr_assert_eq(figure(&result, "channels"), 4);
	cr_assert_eq(figure(&result, "ops"), 20000);
	cr_assert_gt(figure(&result, "verified"), 8000);
	cr_assert_gt(figure(&result, "churned"), 0);
	cr_assert_eq(figure(&result, "unexpected"), 0);
	cr_assert_eq(figure(&result, "unreleased"), 0);
}

Test(softload, fewer_channels_than_wanted_are_used, .timeout = 60)
{
	struct fakehost_options options = GOOD;
	struct fakehost_result result;

	options.sub_channels = 0;
	result = run(&options, "load channels=4 depth=8 ops=2000 region=8M");
	expect_good(&result);
	cr_assert_eq(figure(&result, "channels"), 1);
}

Test(softload, a_small_ring_waits_for_room, .timeout = 60)
{
	const struct fakehost_result result =
		run(&GOOD, "load channels=2 ring=4096 depth=200 ops=20000 bs=8192 offset=512");

	expect_good(&result);
	cr_assert_gt(figure(&result, "ring_full"), 0);
	cr_assert_gt(result.waited_for_room, 0, "the host had to signal");
}

Test(softload, it_lives_with_what_a_server_may_do, .timeout = 120)
{
	static const enum fakehost_fault faults[] = {
		FAKE_ATTENTION, FAKE_BUSY, FAKE_ABSENT, FAKE_SIGNAL_MORE, FAKE_REVERSE,
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct fakehost_options options = GOOD;
		struct fakehost_result result;

		options.fault = faults[i];
		options.fault_at = 2000;
		result = run(&options, "load channels=2 depth=32 ops=8000 region=8M churn=20");
		expect_good(&result);
		if (faults[i] == FAKE_ATTENTION || faults[i] == FAKE_BUSY)
			cr_assert_gt(figure(&result, "again"), 20);
		if (faults[i] == FAKE_ABSENT)
			cr_assert_gt(figure(&result, "gap_max_us"), 1400000);
	}
}

Test(softload, it_finds_each_broken_rule, .timeout = 120)
{
	static const struct {
		enum fakehost_fault fault;
		const char *figure;
	} cases[] = {
		{FAKE_DOUBLE, "doubles"},
		{FAKE_DROP, "lost"},
		{FAKE_FLIP, "mismatches"},
		{FAKE_LOSE_WRITE, "mismatches"},
		{FAKE_FAIL, "errors"},
		{FAKE_SHORT, "bad_replies"},
		{FAKE_WRONG_CHANNEL, "doubles"},
		{FAKE_TRAILER, "bad_replies"},
		{FAKE_OFFER_TWICE, "unexpected"},
		{FAKE_ANSWER_TWICE, "unexpected"},
		{FAKE_RESCIND, "error"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fakehost_options options = GOOD;
		struct fakehost_result result;

		options.fault = cases[i].fault;
		options.fault_at = 1000;
		/* A flipped bit shows in a read of a known block, a failure in any request. */
		result = run(&options,
			     cases[i].fault == FAKE_FLIP
				     ? "load depth=8 ops=3000 region=1M mix=read lost=1"
				     : "load depth=8 ops=3000 region=1M lost=1 channels=2");
		cr_assert_eq(result.status, 1, "fault %d: status %d: %s", (int)cases[i].fault,
			     result.status, result.line);
		cr_assert_not_null(strstr(result.line, "\"ok\":false"));
		cr_assert_gt(figure(&result, cases[i].figure), 0, "%s: %s", cases[i].figure,
			     result.line);
	}
}

static int check_outside(const char *backing, const char *report)
{
	const char *softchk = getenv("SOFTCHK");
	int status;
	pid_t pid;

	cr_assert_not_null(softchk);
	pid = fork();
	if (pid == 0) {
		execl(softchk, softchk, backing, report, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(softload, softchk_agrees_and_finds_one_changed_byte, .timeout = 60)
{
	char backing[64], report[64], generations[96], command[256];
	struct fakehost_options options = GOOD;
	struct fakehost_result result;
	FILE *file;

	snprintf(backing, sizeof(backing), "/tmp/softload-disk.%d", (int)getpid());
	snprintf(report, sizeof(report), "/tmp/softload-report.%d", (int)getpid());
	snprintf(generations, sizeof(generations), "%s.generations", report);
	snprintf(command, sizeof(command), "load channels=2 ops=5000 region=4M report=%s", report);
	options.disk_bytes = 8 << 20;
	options.backing = backing;
	result = run(&options, command);
	expect_good(&result);
	cr_assert_eq(check_outside(backing, report), 0);
	file = fopen(backing, "r+e");
	cr_assert(file && fseek(file, 4096 + 1000, SEEK_SET) == 0 && fputs("x", file) >= 0);
	fclose(file);
	cr_assert_eq(check_outside(backing, report), 1);
	unlink(backing);
	unlink(report);
	unlink(generations);
}

Test(softload, exactly_one_operation_lies_between_the_marks, .timeout = 60)
{
	static const char *const commands[] = {
		"one-read",
		"one-write",
		"one-message",
		"one-message kind=modify",
		"one-message kind=teardown",
		"one-message kind=open",
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct fakehost_result result = run(&GOOD, commands[i]);

		expect_good(&result);
		cr_assert_eq(result.inside, 1, "%s: %lu", commands[i],
			     (unsigned long)result.inside);
	}
}

Test(softload, bench_takes_figures_and_idle_waits, .timeout = 60)
{
	struct fakehost_result result = run(&GOOD, "bench channels=2 depth=32 seconds=1");

	expect_good(&result);
	cr_assert_gt(figure(&result, "iops"), 100);
	cr_assert_eq(figure(&result, "verified"), 0);
	result = run(&GOOD, "idle seconds=1");
	expect_good(&result);
}

Test(softload, wrong_words_are_refused, .timeout = 60)
{
	static const char *const commands[] = {"",
					       "loud",
					       "load depth=0",
					       "load depht=3",
					       "load bs=x",
					       "load offset=100",
					       "load seconds=0",
					       "load mix=none"};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		cr_assert_eq(run(&GOOD, commands[i]).status, 2, "'%s'", commands[i]);
}
