/* The wish for a short slice: the last one counts, and it leaves alone what else a
 * thread was given. What it does for a thread that wakes is the bench's to show. */
#include "engine/slice.h"

#include <criterion/criterion.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sched_attr now(void)
{
	struct sched_attr attr = { .size = sizeof(attr) };

	cr_assert_eq(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0), 0);
	return attr;
}

/* A kernel that has no slices of a thread's own tells 0. */
Test(slice, who_waits_has_a_shorter_one_than_who_serves)
{
	const struct sched_attr before = now();

	cr_assert_eq(slice_shortest(), 0);
	if (before.sched_runtime)
		cr_assert_eq(now().sched_runtime, 100000);
	cr_assert_eq(slice_serving(), 0);
	if (before.sched_runtime)
		cr_assert_eq(now().sched_runtime, 500000);
}

Test(slice, leaves_niceness_and_policy)
{
	const struct sched_attr before = now();
	const int nice = before.sched_nice < 17 ? before.sched_nice + 3 : 19;

	cr_assert_eq(setpriority(PRIO_PROCESS, 0, nice), 0);
	cr_assert_eq(slice_shortest(), 0);
	cr_assert_eq(now().sched_nice, nice);
	cr_assert_eq(now().sched_policy, before.sched_policy);
	cr_assert_eq(slice_serving(), 0);
	cr_assert_eq(now().sched_nice, nice);
}
