#include "engine/slice.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORTEST_NS UINT64_C(100000) /* the kernel's own bound */
#define SERVING_NS UINT64_C(500000)

/* glibc has no wrapper before 2.41. What else the thread was given stays. */
static int ask(uint64_t ns)
{
	struct sched_attr attr = { .size = sizeof(attr) };

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0))
		return -errno;
	if (attr.sched_policy != SCHED_NORMAL && attr.sched_policy != SCHED_BATCH)
		return 0;
	attr.sched_flags &= SCHED_FLAG_RESET_ON_FORK;
	attr.sched_runtime = ns;
	return syscall(SYS_sched_setattr, 0, &attr, 0) ? -errno : 0;
}

int slice_shortest(void)
{
	return ask(SHORTEST_NS);
}

int slice_serving(void)
{
	return ask(SERVING_NS);
}
