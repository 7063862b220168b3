/* Readiness: what is reported, how often, and how long one waits for it. */
#include "engine/loop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct loop *l;
static int bell, other;
static unsigned rung, others;

static void ready(void *user, int fd)
{
	cr_assert_eq(user, &rung);
	if (fd == bell)
		rung++;
	else if (fd == other)
		others++;
	else
		cr_assert_fail("descriptor %d", fd);
}

static void setup(void)
{
	bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l = loop_new(ready, &rung);
	cr_assert_not_null(l);
}

static void teardown(void)
{
	l = loop_free(l);
	close(bell);
	close(other);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 60);

static void ring(int fd)
{
	uint64_t one = 1;

	cr_assert_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

Test(loop, only_what_is_readable_is_reported)
{
	cr_assert_eq(loop_watch(l, bell), 0);
	cr_assert_eq(loop_watch(l, other), 0);
	cr_assert_eq(loop_watch(l, bell), 0, "twice is one watch");
	loop_wait(l, 0);
	cr_assert_eq(rung + others, 0);
	ring(bell);
	loop_wait(l, 0);
	cr_assert_eq(rung, 1);
	loop_wait(l, 60);
	cr_assert_eq(rung, 2, "nobody has read it");
	cr_assert_eq(others, 0);
}

Test(loop, a_wait_ends_without_anything)
{
	cr_assert_eq(loop_watch(l, bell), 0);
	loop_wait(l, 0.01);
	cr_assert_eq(rung, 0);
}

Test(loop, what_is_not_watched_any_more_is_not_reported)
{
	uint64_t n;

	cr_assert_eq(loop_watch(l, bell), 0);
	ring(bell);
	loop_unwatch_all(l);
	loop_wait(l, 0);
	cr_assert_eq(rung, 0);
	cr_assert_eq(loop_watch(l, bell), 0);
	loop_wait(l, 0);
	cr_assert_eq(rung, 1);
	cr_assert_eq(read(bell, &n, sizeof(n)), sizeof(n), "the descriptor is the caller's");
}

Test(loop, what_is_no_descriptor_is_refused)
{
	cr_assert_eq(loop_watch(l, -1), -EBADF);
	cr_assert_eq(loop_watch(l, 1 << 20), -EBADF);
	cr_assert_null(loop_free(NULL));
}
