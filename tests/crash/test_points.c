/* The tracer against a program of which every point is known: it finds exactly
 * those, and a process killed at one has done all before it and nothing behind. */
#include "tests/crash/points.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 8192, SHARED = 3, KNOWN = 16, MEMCPY_FROM = 4096, MEMCPY_TO = 5096 };

struct expected {
	enum point_kind kind;
	uint64_t offset, mark; /* mark: a byte that only this point makes differ from 0 */
	uint32_t nth;
};

static const struct expected EXPECTED[KNOWN] = {
	{ POINT_STORE, 0, 0, 1 },	{ POINT_STORE, 8, 8, 1 },      { POINT_STORE, 16, 16, 1 },
	{ POINT_STORE, 24, 24, 1 },	{ POINT_STORE, 32, 32, 1 },    { POINT_STORE, 48, 48, 1 },
	{ POINT_STORE, 64, 79, 1 },	{ POINT_STORE, 128, 128, 1 },  { POINT_STORE, 136, 136, 1 },
	{ POINT_STORE, 140, 140, 1 },	{ POINT_PART, 1024, 1024, 1 },
	{ POINT_STORE, 1024, 1323, 1 },
	{ POINT_STORE, 192, 199, 1 },	{ POINT_STORE, 2048, 2048, 1 },
	{ POINT_STORE, 2052, 2052, 2 }, { POINT_STORE, 2056, 2056, 3 },
};

static const char *sample(void)
{
	const char *path = getenv("CRASH_SAMPLE");

	cr_assert_not_null(path);
	return path;
}

/* Descriptor 3 of this process belongs to Criterion; only the sample's is ours. */
static uint8_t *make_memory(int *ret_fd)
{
	uint8_t *m;

	*ret_fd = memfd_create("sample", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(*ret_fd, BYTES), 0);
	m = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	cr_assert_neq(m, MAP_FAILED);
	return m;
}

/* Starts the sample and lets it run to the function window(). */
static void begin(struct trace *t, int fd, struct tracee *ret)
{
	struct place window;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		raise(SIGSTOP);
		dup2(fd, SHARED);
		execl(sample(), sample(), NULL);
		_exit(127);
	}
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert_eq(trace_seize(pid), 0);
	kill(pid, SIGCONT);
	while (!t->n_started)
		trace_wait(t, 1000000);
	cr_assert_eq(trace_take_started(t), pid);
	cr_assert_eq(tracee_open(ret, t, pid), 0);
	cr_assert_eq(elf_function(sample(), "window", &window), 0);
	cr_assert_eq(tracee_break(ret, space_address(&ret->space, &window)), 0);
	cr_assert_eq(tracee_run(ret), TRACEE_STOPPED);
	cr_assert_eq(space_read(&ret->space, pid), 0);
}

static void record(int fd, struct points *points)
{
	struct trace t = { 0 };
	struct tracee te;

	begin(&t, fd, &te);
	cr_assert_eq(points_record(&te, sample(), false, points), -ESRCH, "the sample ends");
	tracee_close(&te);
}

Test(points, finds_exactly_the_known_ones)
{
	struct points p = { 0 };
	unsigned i = 0;
	int fd;

	make_memory(&fd);
	record(fd, &p);
	cr_assert_eq(p.undecoded, 0);
	cr_assert_gt(p.n, KNOWN + 2u);
	for (; i < KNOWN; i++) {
		cr_assert_eq(p.point[i].kind, EXPECTED[i].kind, "%u", i);
		cr_assert_eq(p.point[i].store.offset, EXPECTED[i].offset, "%u", i);
		cr_assert_eq(p.point[i].nth, EXPECTED[i].nth, "%u", i);
	}
	cr_assert_eq(p.point[i].kind, POINT_SYSCALL);
	cr_assert_eq(p.point[i++].number, SYS_getppid);
	for (; p.point[i].kind != POINT_SYSCALL; i++) {
		cr_assert_geq(p.point[i].store.offset, MEMCPY_FROM);
		cr_assert_lt(p.point[i].store.offset, MEMCPY_TO);
	}
	cr_assert_gt(i, KNOWN + 1u, "memcpy stores");
	cr_assert_eq(p.point[i].number, SYS_getppid);
	points_free(&p);
}

/* Which of the marks are there after a kill at point @n. */
static void check_memory(const uint8_t *m, unsigned n)
{
	for (unsigned i = 0; i < KNOWN; i++)
		cr_assert_eq(m[EXPECTED[i].mark] != 0, i <= n, "point %u, killed at %u", i, n);
}

Test(points, a_kill_lands_behind_its_instruction)
{
	int fd;
	uint8_t *m = make_memory(&fd);
	struct points p = { 0 };

	record(fd, &p);
	for (unsigned n = 0; n < KNOWN; n++) {
		struct trace t = { 0 };
		struct tracee te;
		uint64_t ns;

		memset(m, 0, BYTES);
		begin(&t, fd, &te);
		cr_assert_eq(points_shoot(&te, &p.point[n], &ns), SHOT_KILLED);
		tracee_close(&te);
		check_memory(m, n);
	}
	points_free(&p);
}

Test(points, a_place_that_is_not_reached_is_told)
{
	struct trace t = { 0 };
	struct points p = { 0 };
	struct tracee te;
	uint64_t ns;
	int fd;

	make_memory(&fd);
	record(fd, &p);
	p.point[KNOWN - 1].nth = 4;
	begin(&t, fd, &te);
	cr_assert_eq(points_shoot(&te, &p.point[KNOWN - 1], &ns), SHOT_ENDED);
	tracee_close(&te);
	points_free(&p);
}
