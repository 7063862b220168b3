/* Windows: how each begins and when it is over.
 *
 * What is checked after each kill: a new owner serves, the guest's operation is
 * answered; then, by the guest's `v`, that nothing was lost, doubled or different
 * from what was asked for; and by the kernel's count of completed requests, that
 * no request was performed twice. */
#include "tests/crash/pass.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>

#define SECOND UINT64_C(1000000000)

enum { RECORD_S = 200, SHOOT_S = 15, ANSWER_S = 15, QUIET_LOOKS = 3 };

static int __attribute__((format(printf, 2, 3))) failed(char why[PASS_LINE],
							const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, PASS_LINE, format, ap);
	va_end(ap);
	return -1;
}

/* ---- when a window is over ---------------------------------------------------------- */

static bool late(struct pass *p)
{
	p->late = mono_now_ns() > p->deadline;
	return p->late;
}

/* The guest has its answer and the process sleeps, several times in a row. */
static bool operation_over(void *context)
{
	struct pass *p = context;
	uint64_t at;

	if (!vm_answered(p->vm) || !tracee_sleeps(p->te.pid, &at)) {
		p->looks = 0;
		return late(p);
	}
	return ++p->looks >= QUIET_LOOKS;
}

static bool takeover_over(void *context)
{
	struct pass *p = context;

	if (atomic_load(&p->vm->c.stats->n_gaps) != p->gaps)
		return true;
	return late(p);
}

/* A kill at full speed: the breakpoint may lie behind the window's end. */
static bool takeover_passed(void *context)
{
	return takeover_over(context) && operation_over(context);
}

/* ---- how it begins ------------------------------------------------------------------- */

static int open_window(struct pass *p, pid_t pid, unsigned seconds, char why[PASS_LINE])
{
	p->deadline = mono_now_ns() + seconds * SECOND;
	p->late = false;
	p->looks = 0;
	if (tracee_open(&p->te, &p->vm->trace, pid) < 0)
		return failed(why, "cannot trace %d", pid);
	p->te.context = p;
	p->te.over = operation_over;
	return 0;
}

/* Holds the owner where its epoll_wait has just told of something. */
static int begin_operation(struct pass *p, char letter, unsigned seconds, char why[PASS_LINE])
{
	struct user_regs_struct regs;
	uint64_t at;
	pid_t pid = vm_idle(p->vm, ANSWER_S, &at);
	enum tracee_result r;

	if (!pid)
		return failed(why, "no idle owner");
	if (!vm_performed(p->vm, &p->performed))
		return failed(why, "the kernel does not tell how many requests it completed");
	if (open_window(p, pid, seconds, why) < 0)
		return -1;
	if (tracee_break(&p->te, at) < 0 || vm_ask(p->vm, letter) < 0)
		return failed(why, "the owner or the guest is gone");
	r = tracee_await(&p->te);
	while (r == TRACEE_STOPPED && tracee_registers(&p->te, &regs) == 0 && (int)regs.rax <= 0) {
		r = tracee_execute(&p->te, tracee_insn(&p->te, at), false);
		if (r != TRACEE_STOPPED || tracee_break(&p->te, at) < 0)
			break;
		r = tracee_run(&p->te);
	}
	return r == TRACEE_STOPPED ? 0 : failed(why, "the owner did not wake up: %s",
						p->vm->reply);
}

/* Kills the owner in the middle of a write and holds its taker at its first lock. */
static int begin_takeover(struct pass *p, unsigned seconds, char why[PASS_LINE])
{
	struct place lock;
	uint64_t ns;
	enum shot shot;
	pid_t taker;

	if (begin_operation(p, p->letter, seconds, why) < 0)
		return -1;
	shot = points_shoot(&p->te, &p->death, &ns);
	tracee_close(&p->te);
	if (shot != SHOT_KILLED)
		return failed(why, "the owner did not come to where it is to die");
	p->gaps = atomic_load(&p->vm->c.stats->n_gaps);
	taker = vm_next(p->vm, ANSWER_S);
	if (!taker || !vm_named(p->vm, ANSWER_S))
		return failed(why, "no taker was started and named");
	if (open_window(p, taker, seconds, why) < 0)
		return -1;
	if (elf_function(p->program, "owner_lock", &lock) < 0 ||
	    tracee_break(&p->te, space_address(&p->te.space, &lock)) < 0)
		return failed(why, "%s has no function owner_lock", p->program);
	if (tracee_run(&p->te) != TRACEE_STOPPED || space_read(&p->te.space, taker) < 0)
		return failed(why, "the taker did not come to its first lock");
	p->te.over = takeover_over;
	return 0;
}

static int begin(struct pass *p, unsigned seconds, char why[PASS_LINE])
{
	return p->takeover ? begin_takeover(p, seconds, why)
			   : begin_operation(p, p->letter, seconds, why);
}

/* ---- what must be true afterwards ----------------------------------------------------- */

/* One request for the operation, unless it is a message, and one for looking back. */
static int check_performed(struct pass *p, char why[PASS_LINE])
{
	uint32_t want = p->letter == 'm' ? 1 : 2, got;

	if (!vm_performed(p->vm, &got))
		return failed(why, "the kernel does not tell how many requests it completed");
	got -= p->performed;
	if (got == want)
		return 0;
	return failed(why, "the kernel performed %" PRIu32 " requests in place of %" PRIu32, got,
		      want);
}

static int check(struct pass *p, char why[PASS_LINE])
{
	uint64_t at;

	if (vm_await(p->vm, ANSWER_S) < 0)
		return failed(why, "the operation: %s", p->vm->reply);
	if (!vm_idle(p->vm, ANSWER_S, &at))
		return failed(why, "the owner does not come to rest");
	if (vm_ask(p->vm, 'v') < 0 || vm_await(p->vm, ANSWER_S) < 0)
		return failed(why, "looking back: %s", p->vm->reply);
	return check_performed(p, why);
}

int pass_record(struct pass *p, struct points *ret, char why[PASS_LINE])
{
	pid_t pid;
	int r = begin(p, RECORD_S, why);

	if (r == 0)
		r = points_record(&p->te, p->program, !p->takeover, ret);
	pid = p->te.pid;
	tracee_close(&p->te);
	if (r < 0)
		return why[0] ? -1 : failed(why, "recording: the process ended");
	if (p->late)
		return failed(why, "recording took more than %u s", RECORD_S);
	trace_kill(&p->vm->trace, pid);
	return check(p, why);
}

static enum pass_result after_kill(struct pass *p, struct pass_outcome *ret)
{
	uint64_t at, served;

	ret->exactly_once = check(p, ret->why) == 0;
	ret->recovered = ret->exactly_once || vm_idle(p->vm, 1, &at) != 0;
	served = atomic_load(&p->vm->c.h->served_ns);
	ret->recovery_ns = served > ret->killed_ns ? served - ret->killed_ns : 0;
	return ret->exactly_once ? PASS_KILLED : PASS_FAILED;
}

enum pass_result pass_shoot(struct pass *p, const struct point *point, struct pass_outcome *ret)
{
	enum shot shot;

	*ret = (struct pass_outcome){ 0 };
	if (begin(p, SHOOT_S, ret->why) < 0) {
		tracee_close(&p->te);
		return PASS_FAILED;
	}
	if (p->takeover)
		p->te.over = takeover_passed;
	shot = points_shoot(&p->te, point, &ret->killed_ns);
	tracee_unbreak(&p->te);
	tracee_close(&p->te);
	if (shot == SHOT_KILLED)
		return after_kill(p, ret);
	if (shot == SHOT_ENDED || p->late) {
		failed(ret->why, shot == SHOT_ENDED ? "the process ended by itself"
						    : "the window did not end");
		return PASS_FAILED;
	}
	return check(p, ret->why) == 0 ? PASS_MISSED : PASS_FAILED;
}
