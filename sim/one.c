/* One run in a real process of its own: whatever it leaves behind, and however
 * it ends, the next one starts from nothing. */
#include "sim/one.h"

#include "engine/fact.h"
#include "sim/boot.h"
#include "sim/oracle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 200, STUCK = 3, TAIL = 4096, TOLD_BYTES = 1 << 16, SLICE_NS = 700, HOSTILE_SLICE_NS = 8000 };
#define START_NS UINT64_C(1000000000000)

struct telling {
	struct run_result result;
	char tail[TAIL];              /* of what the programs wrote to standard error */
};

static int telling_fd = -1;
static uint64_t started_ns;

static uint64_t cpu_now_ns(void)
{
	struct timespec t;

	__real_clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void read_tail(char tail[TAIL])
{
	off_t end;
	ssize_t n;

	fflush(stderr);
	end = lseek(STDERR_FILENO, 0, SEEK_CUR);
	n = pread(STDERR_FILENO, tail, TAIL - 1, end > TAIL - 1 ? end - (TAIL - 1) : 0);
	tail[n > 0 ? n : 0] = '\0';
}

/* Into the pipe; the parent does the talking. */
_Noreturn void run_report(void)
{
	static struct telling t;
	const uint8_t *at = (const uint8_t *)&t;
	size_t left = sizeof(t);

	kernel.current = NULL;
	result.cpu_ns = cpu_now_ns() - started_ns;
	t.result = result;
	if (!options.verbose)
		read_tail(t.tail);
	while (left) {
		ssize_t n = __real_write(telling_fd, at, left);

		if (n <= 0)
			break;
		at += n;
		left -= (size_t)n;
	}
	__real__exit(result.failed);
}

/* What the programs print stays with them, unless it is asked for. */
static void turn_away_output(void)
{
	int out = __real_memfd_create("sim-stdout", 0), err = __real_memfd_create("sim-stderr", 0);

	fact(out >= 0 && err >= 0);
	dup2(out, STDOUT_FILENO);
	if (!options.verbose) {
		dup2(err, STDERR_FILENO);
		setvbuf(stderr, NULL, _IOFBF, TOLD_BYTES);
	}
	__real_close(out);
	__real_close(err);
}

/* A program that makes no call any more is ended at the second one. The time is the
 * process's own: a busy machine ends no run. */
static void on_time_up(int signal)
{
	(void)signal;
	if (kernel.late)
		__real__exit(STUCK);
	kernel.late = true;
}

static void start_timer(void)
{
	const struct itimerval limit = { .it_value.tv_sec = PATIENCE_S,
					 .it_interval.tv_sec = PATIENCE_S / 10 };

	signal(SIGPROF, on_time_up);
	fact(setitimer(ITIMER_PROF, &limit, NULL) == 0);
}

static _Noreturn void child(int fd)
{
	telling_fd = fd;
	started_ns = cpu_now_ns();
	turn_away_output();
	start_timer();
	kernel.now = kernel.start = START_NS;
	/* Attackers never sleep: with more, a second of theirs is not too many events. */
	kernel.slice_ns = options.hostile ? HOSTILE_SLICE_NS : SLICE_NS;
	kernel.next_deadline = UINT64_MAX;
	kernel.schedule.state = options.seed * 4 + 0;
	kernel.host.state = options.seed * 4 + 1;
	kernel.fault.state = options.seed * 4 + 2;
	kernel.data.state = options.seed * 4 + 3;
	boot();
	kernel_run(plan_tick);
	run_report();
}

static void crashed(struct run_result *r, int status)
{
	r->failed = true;
	if (WIFSIGNALED(status))
		snprintf(r->why, sizeof(r->why), "signal %d", WTERMSIG(status));
	else
		snprintf(r->why, sizeof(r->why), "%s", WEXITSTATUS(status) == STUCK
				 ? "a program runs and makes no call" : "the run ended silently");
}

void run_one(const struct run_options *o, struct run_result *ret, char tail[ONE_TAIL])
{
	static struct telling t;
	uint8_t *at = (uint8_t *)&t;
	int fds[2], status = 0;
	ssize_t n;
	pid_t pid;

	memset(&t, 0, sizeof(t));
	fflush(NULL);
	fact(pipe(fds) == 0);
	pid = fork();
	fact(pid >= 0);
	if (pid == 0) {
		options = *o;
		__real_close(fds[0]);
		child(fds[1]);
	}
	__real_close(fds[1]);
	while ((n = __real_read(fds[0], at, sizeof(t) - (size_t)(at - (uint8_t *)&t))) > 0)
		at += n;
	__real_close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*ret = t.result;
	memcpy(tail, t.tail, ONE_TAIL);
	if (at != (uint8_t *)(&t + 1))
		crashed(ret, status);
}

void __wrap_abort(void)
{
	if (telling_fd < 0)
		__real_abort();
	oracle_tell_lane();
	run_failed("a program ended itself: a fact did not hold");
}

_Static_assert((int)ONE_TAIL == (int)TAIL, "one.h");
