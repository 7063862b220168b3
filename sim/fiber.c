/* Fibers: a stack, a stack pointer, and one that runs.
 *
 * Invariants: a bit of kernel.runnable is set exactly for the fibers in
 * FIBER_RUNNABLE, one of kernel.blocked for those in FIBER_BLOCKED; kernel.current
 * is NULL only in the scheduler, which runs on the real stack of the process; a
 * fiber that ended is never resumed, and its stack is kept for the next one. */
#include "sim/kernel.h"

#include "engine/fact.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifndef SIM_ASAN
#define SIM_ASAN 0
#endif
#if SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK = 512 << 10 };

struct sim_kernel kernel;
static void *scheduler_sp;
#if SIM_ASAN
static const void *scheduler_stack;
static size_t scheduler_bytes;
#endif

/* Saves what a call must keep, changes the stack, and returns on the other. */
void fiber_switch(void **save, void *to);
__asm__(".text\n"
	".globl fiber_switch\n"
	".type fiber_switch, @function\n"
	"fiber_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size fiber_switch, .-fiber_switch\n");

/* ---- switching ------------------------------------------------------------------- */

static void to_scheduler(void)
{
	struct fiber *f = kernel.current;

#if SIM_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(f->state == FIBER_FREE ? NULL : &fake, scheduler_stack,
				       scheduler_bytes);
	fiber_switch(&f->sp, scheduler_sp);
	__sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_bytes);
#else
	fiber_switch(&f->sp, scheduler_sp);
#endif
}

static void resume(struct fiber *f)
{
	kernel.current = f;
	kernel.steps++;
#if SIM_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, f->stack, STACK);
	fiber_switch(&scheduler_sp, f->sp);
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
	fiber_switch(&scheduler_sp, f->sp);
#endif
	kernel.current = NULL;
}

static _Noreturn void begin(void)
{
	struct fiber *f = kernel.current;

#if SIM_ASAN
	__sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_bytes);
#endif
	f->entry(f->argument);
	fiber_exit();
}

struct fiber *fiber_new(struct process *p, void *(*entry)(void *), void *argument)
{
	struct fiber *f = NULL;
	void **sp;

	for (unsigned i = 0; i < SIM_FIBERS && !f; i++)
		if (kernel.fiber[i].state == FIBER_FREE && &kernel.fiber[i] != kernel.current)
			f = &kernel.fiber[i];
	fact(f);
	if (!f->stack) {
		f->stack = aligned_alloc(4096, STACK);
		fact(f->stack);
	}
#if SIM_ASAN
	__asan_unpoison_memory_region(f->stack, STACK);
#endif
	sp = (void **)(void *)(f->stack + STACK);
	*--sp = NULL;                        /* where begin() must not return to */
	*--sp = (void *)(uintptr_t)begin;
	sp -= 6;
	memset(sp, 0, 6 * sizeof(*sp));
	f->process = p;
	f->sp = sp;
	f->entry = entry;
	f->argument = argument;
	f->deadline = UINT64_MAX;
	f->address = NULL;
	f->id = (unsigned)(f - kernel.fiber);
	f->thread = ++kernel.n_threads * SIM_FIBERS + f->id;
	f->state = FIBER_RUNNABLE;
	f->ended = false;
	kernel.runnable |= UINT64_C(1) << f->id;
	if (kernel.holds_new)
		kernel.held |= UINT64_C(1) << f->id;
	p->fibers++;
	return f;
}

_Noreturn void fiber_exit(void)
{
	struct fiber *f = kernel.current;

	f->state = FIBER_FREE;
	kernel.runnable &= ~(UINT64_C(1) << f->id);
	kernel.held &= ~(UINT64_C(1) << f->id);
	if (f->process->alive)
		f->process->fibers--;
	f->ended = true;
	fiber_wake_all(&f->thread, UINT32_MAX);
	to_scheduler();
	abort();
}

/* ---- waiting --------------------------------------------------------------------- */

bool fiber_block(const void *address, uint64_t deadline)
{
	struct fiber *f = kernel.current;

	f->state = FIBER_BLOCKED;
	kernel.runnable &= ~(UINT64_C(1) << f->id);
	kernel.blocked |= UINT64_C(1) << f->id;
	f->address = address;
	f->deadline = deadline;
	f->timed_out = false;
	if (deadline < kernel.next_deadline)
		kernel.next_deadline = deadline;
	to_scheduler();
	return !f->timed_out;
}

void fiber_wake(struct fiber *f)
{
	if (f->state != FIBER_BLOCKED)
		return;
	f->state = FIBER_RUNNABLE;
	f->address = NULL;
	f->deadline = UINT64_MAX;
	kernel.blocked &= ~(UINT64_C(1) << f->id);
	kernel.runnable |= UINT64_C(1) << f->id;
}

void fiber_wake_set(uint64_t set)
{
	for (; set; set &= set - 1)
		fiber_wake(&kernel.fiber[__builtin_ctzll(set)]);
}

unsigned fiber_wake_those(uint64_t set, const void *address, unsigned n)
{
	unsigned woken = 0;

	for (set &= kernel.blocked; set && woken < n; set &= set - 1) {
		struct fiber *f = &kernel.fiber[__builtin_ctzll(set)];

		if (f->address != address)
			continue;
		fiber_wake(f);
		woken++;
	}
	return woken;
}

unsigned fiber_wake_all(const void *address, unsigned n)
{
	return fiber_wake_those(UINT64_MAX, address, n);
}

void fiber_yield(void)
{
	to_scheduler();
}

void process_hold(struct process *p)
{
	for (unsigned i = 0; i < SIM_FIBERS; i++)
		if (kernel.fiber[i].state != FIBER_FREE && kernel.fiber[i].process == p)
			kernel.held |= UINT64_C(1) << i;
}

bool process_is_held(const struct process *p)
{
	for (uint64_t set = kernel.held; set; set &= set - 1)
		if (kernel.fiber[__builtin_ctzll(set)].process == p)
			return true;
	return false;
}

void processes_go(void)
{
	kernel.held = 0;
	kernel.holds_new = false;
}

void process_release(struct process *p)
{
	for (uint64_t set = kernel.held; set; set &= set - 1) {
		unsigned i = (unsigned)__builtin_ctzll(set);

		if (kernel.fiber[i].process == p)
			kernel.held &= ~(UINT64_C(1) << i);
	}
}

void process_pause(struct process *p, uint64_t ns)
{
	for (unsigned i = 0; i < SIM_FIBERS; i++) {
		struct fiber *f = &kernel.fiber[i];

		if (f->state == FIBER_FREE || f->process != p)
			continue;
		f->state = FIBER_BLOCKED;
		f->address = NULL;
		f->deadline = kernel.now + ns;
		kernel.runnable &= ~(UINT64_C(1) << f->id);
		kernel.blocked |= UINT64_C(1) << f->id;
		if (f->deadline < kernel.next_deadline)
			kernel.next_deadline = f->deadline;
	}
}

/* ---- the scheduler ---------------------------------------------------------------- */

/* Fibers whose time has come; the first deadline of the others. */
static void expire(void)
{
	uint64_t next = UINT64_MAX;

	for (uint64_t set = kernel.blocked; set; set &= set - 1) {
		struct fiber *f = &kernel.fiber[__builtin_ctzll(set)];

		if (f->deadline <= kernel.now) {
			fiber_wake(f);
			f->timed_out = true;
		} else if (f->deadline < next) {
			next = f->deadline;
		}
	}
	kernel.next_deadline = next;
}

/* Any of those that can run: a fixed order would hide races. */
static struct fiber *choose(uint64_t ready)
{
	unsigned from = (unsigned)(chance_draw(&kernel.schedule) & (SIM_FIBERS - 1));
	uint64_t turned = ready >> from | (from ? ready << (SIM_FIBERS - from) : 0);

	return &kernel.fiber[((unsigned)__builtin_ctzll(turned) + from) % SIM_FIBERS];
}

void kernel_run(uint64_t (*tick)(void))
{
	while (!kernel.over) {
		uint64_t ready;

		if (kernel.now >= kernel.next_tick)
			kernel.next_tick = tick();
		if (kernel.now >= kernel.next_deadline)
			expire();
		if (kernel.over)
			return;
		ready = kernel.runnable & ~kernel.held;
		if (!ready) {
			uint64_t next = kernel.next_deadline < kernel.next_tick
						? kernel.next_deadline : kernel.next_tick;

			fact(next != UINT64_MAX);
			if (next > kernel.now)
				kernel.now = next;
			continue;
		}
		resume(choose(ready));
		kernel.now += kernel.slice_ns;
	}
}
