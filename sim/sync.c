/* What threads wait with: futexes, mutexes, conditions, time.
 *
 * A mutex is kept in the bytes of the pthread_mutex_t, so that one in shared
 * memory is one for all. Its owner is a fiber of a process: one whose process
 * has ended leaves a robust mutex to the next with EOWNERDEAD, any other is
 * held for ever, as on Linux. Condition variables are addresses. */
#include "sim/kernel.h"

#include "engine/fact.h"
#include "sim/run.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct mutex {
	uint32_t pid;             /* of who holds it; 0: free */
	uint32_t fiber;
	uint32_t robust;
	uint32_t reserved;
};
_Static_assert(sizeof(struct mutex) <= sizeof(pthread_mutex_t), "kept in its bytes");

/* All mutexes are waited for at this one address: they are few, and each
 * waiter looks again. Who may wait there is known, because most unlocks find
 * nobody; a fiber that was ended there stays in the set until its bit is used. */
static const char mutexes;
static uint64_t mutex_waiters;

static uint64_t after(uint64_t ns)
{
	return ns < UINT64_MAX - kernel.now ? kernel.now + ns : UINT64_MAX;
}

static uint64_t ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * UINT64_C(1000000000) + (uint64_t)t->tv_nsec;
}

/* ---- mutexes --------------------------------------------------------------------- */

static struct mutex *mutex_of(pthread_mutex_t *m)
{
	return (struct mutex *)(void *)m;
}

static bool holder_lives(const struct mutex *m)
{
	const struct process *p = process_by_pid((int)m->pid);

	return p && p->alive;
}

static void take(struct mutex *m)
{
	m->pid = (uint32_t)process_current()->pid;
	m->fiber = kernel.current->id;
}

static bool wait_for_mutex(uint64_t deadline)
{
	uint64_t self = UINT64_C(1) << kernel.current->id;
	bool woken;

	mutex_waiters |= self;
	woken = fiber_block(&mutexes, deadline);
	mutex_waiters &= ~self;
	return woken;
}

static int lock_until(pthread_mutex_t *at, uint64_t deadline)
{
	struct mutex *m = mutex_of(at);

	for (;;) {
		if (m->pid == 0) {
			take(m);
			return 0;
		}
		if (m->robust && !holder_lives(m)) {
			take(m);
			return EOWNERDEAD;
		}
		if (!wait_for_mutex(deadline))
			return ETIMEDOUT;
	}
}

static void wake_waiters(void)
{
	if (mutex_waiters)
		fiber_wake_those(mutex_waiters, &mutexes, UINT32_MAX);
}

void mutex_orphaned(void)
{
	wake_waiters();
}

int __wrap_pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust)
{
	*(int *)attr = robust;
	return 0;
}

int __wrap_pthread_mutexattr_init(pthread_mutexattr_t *attr)
{
	*(int *)attr = PTHREAD_MUTEX_STALLED;
	return 0;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *at, const pthread_mutexattr_t *attr)
{
	*mutex_of(at) = (struct mutex){
		.robust = attr && *(const int *)attr == PTHREAD_MUTEX_ROBUST,
	};
	return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *at)
{
	if (!process_current())
		return 0;
	run_point(POINT_CALL);
	return lock_until(at, UINT64_MAX);
}

int __wrap_pthread_mutex_clocklock(pthread_mutex_t *at, clockid_t clock, const struct timespec *t)
{
	(void)clock;
	run_point(POINT_CALL);
	return lock_until(at, ns_of(t));
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *at)
{
	return lock_until(at, 0) == ETIMEDOUT ? EBUSY : 0;
}

int __wrap_pthread_mutex_consistent(pthread_mutex_t *at)
{
	(void)at;
	return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *at)
{
	struct mutex *m = mutex_of(at);

	if (!process_current())
		return 0;
	m->pid = 0;
	wake_waiters();
	run_point(POINT_CALL);
	return 0;
}

/* ---- conditions ------------------------------------------------------------------- */

static int cond_wait(pthread_cond_t *cond, pthread_mutex_t *at, uint64_t deadline)
{
	bool woken;

	mutex_of(at)->pid = 0;
	wake_waiters();
	woken = fiber_block(cond, deadline);
	lock_until(at, UINT64_MAX);
	return woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *at)
{
	return cond_wait(cond, at, UINT64_MAX);
}

/* Both clocks show the same here. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *at,
				  const struct timespec *t)
{
	return cond_wait(cond, at, ns_of(t));
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
	fiber_wake_all(cond, UINT32_MAX);
	return 0;
}

/* ---- threads ---------------------------------------------------------------------- */

int sim_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*entry)(void *),
			  void *argument)
{
	(void)attr;
	*ret = (pthread_t)fiber_new(process_current(), entry, argument)->thread;
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
	struct fiber *f = &kernel.fiber[(unsigned)thread % SIM_FIBERS];

	(void)ret;
	/* Its place may be another thread's by now. */
	while (f->state != FIBER_FREE && f->thread == thread)
		fiber_block(&f->thread, UINT64_MAX);
	return 0;
}

/* A signal's use here is to end a wait; those that are kicked wait on futexes. */
int __wrap_pthread_kill(pthread_t thread, int signal)
{
	(void)thread;
	(void)signal;
	return 0;
}

/* ---- futexes ---------------------------------------------------------------------- */

static long futex_wait_call(const uint32_t *word, uint32_t seen, const struct timespec *t)
{
	if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != seen) {
		errno = EAGAIN;
		return -1;
	}
	if (run_wait_is_interrupted()) {
		errno = EINTR;
		return -1;
	}
	if (fiber_block(word, t ? after(ns_of(t)) : UINT64_MAX))
		return 0;
	errno = ETIMEDOUT;
	return -1;
}

/* A wake-up that is lost is one that comes late: who waits with a limit finds
 * out by itself. */
static unsigned wake_word(const uint32_t *word, unsigned n)
{
	unsigned woken = 0;

	for (uint64_t set = kernel.blocked; set && woken < n; set &= set - 1) {
		struct fiber *f = &kernel.fiber[__builtin_ctzll(set)];

		if (f->address != word)
			continue;
		woken++;
		if (f->deadline != UINT64_MAX && run_wake_up_is_lost())
			continue;
		fiber_wake(f);
	}
	return woken;
}

long __wrap_syscall(long number, ...)
{
	va_list args;
	const uint32_t *word;
	int op;
	uint32_t value;
	const struct timespec *t;

	/* Slices are a wish (engine/slice.h), and fibers have none. */
	if (number == SYS_sched_getattr) {
		errno = ENOSYS;
		return -1;
	}
	if (number != SYS_futex)
		run_failed("system call %ld is not modelled", number);
	va_start(args, number);
	word = va_arg(args, const uint32_t *);
	op = va_arg(args, int) & FUTEX_CMD_MASK;
	value = va_arg(args, uint32_t);
	t = va_arg(args, const struct timespec *);
	va_end(args);
	if (!process_current())
		return 0;
	run_point(POINT_CALL);
	if (op == FUTEX_WAIT)
		return futex_wait_call(word, value, t);
	return (long)wake_word(word, value);
}

/* ---- time -------------------------------------------------------------------------- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	(void)clock;
	kernel.now += 30;
	ret->tv_sec = (time_t)(kernel.now / UINT64_C(1000000000));
	ret->tv_nsec = (long)(kernel.now % UINT64_C(1000000000));
	return 0;
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	(void)left;
	run_point(POINT_CALL);
	fiber_block(NULL, after(ns_of(t)));
	return 0;
}

int __wrap_usleep(useconds_t us)
{
	fiber_block(NULL, after((uint64_t)us * 1000));
	return 0;
}

unsigned __wrap_sleep(unsigned seconds)
{
	fiber_block(NULL, after((uint64_t)seconds * UINT64_C(1000000000)));
	return 0;
}

int __wrap_sched_yield(void)
{
	fiber_yield();
	return 0;
}
