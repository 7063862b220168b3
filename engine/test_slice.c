/* The wish for a short slice: it is taken back whole, and leaves alone what else a
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
Test(slice, is_short_and_usual_again)
{
	const struct sched_attr before = now();

	cr_assert_eq(slice_shortest(), 0);
	if (before.sched_runtime)
		cr_assert_eq(now().sched_runtime, 100000);
	cr_assert_eq(slice_usual(), 0);
	cr_assert_eq(now().sched_runtime, before.sched_runtime);
}

Test(slice, leaves_niceness_and_policy)
{
	const struct sched_attr before = now();
	const int nice = before.sched_nice < 17 ? before.sched_nice + 3 : 19;

	cr_assert_eq(setpriority(PRIO_PROCESS, 0, nice), 0);
	cr_assert_eq(slice_shortest(), 0);
	cr_assert_eq(now().sched_nice, nice);
	cr_assert_eq(now().sched_policy, before.sched_policy);
	cr_assert_eq(slice_usual(), 0);
	cr_assert_eq(now().sched_nice, nice);
}
