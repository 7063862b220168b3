/* One run: faults by chance, kills at points, and the end.
 *
 * Invariant: every draw comes from the generators of the seed; a fault that is
 * switched off still draws, so that the rest of the run stays as it was for as
 * long as it can. */
#include "sim/run.h"

#include "engine/fact.h"
#include "sim/keep.h"
#include "sim/moment.h"
#include "sim/oracle.h"
#include "sim/plan.h"
#include "sim/shelf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OTHERS_RUN = 97 };     /* points between which others get the processor */

struct run_options options;
struct run_result result;
struct kernel_events kernel_events;

static const struct { const char *word; uint32_t every; } faults[FAULTS] = {
#define FAULT(name, word, every, doc) [FAULT_##name] = { word, every },
#include "sim/faults.def"
#undef FAULT
};

const char *fault_name(enum fault f)
{
	return faults[f].word;
}

bool run_fault(enum fault f)
{
	bool due = chance_once_in(&kernel.fault, faults[f].every);

	if (!due || !plan_allows(f))
		return false;
	result.fault[f]++;
	return true;
}

bool run_wait_is_interrupted(void)
{
	return run_fault(FAULT_INTERRUPTED);
}

bool run_wake_up_is_lost(void)
{
	return run_fault(FAULT_LOST_WAKE);
}

bool run_allocation_fails(void)
{
	struct process *p = process_current();

	if (++p->allocations != p->fail_at)
		return false;
	result.fault[FAULT_NO_MEMORY]++;
	return true;
}

void run_point(enum point p)
{
	struct process *self;

	if (!kernel.current)
		return;
	self = kernel.current->process;
	if (self->role == PROCESS_PARAVISOR && plan_kills(self, p))
		process_end(self, 0, SIGKILL);
	if (chance_once_in(&kernel.schedule, OTHERS_RUN))
		fiber_yield();
}

void run_between_batches(void)
{
	oracle_batch();
}

void run_turn(void)
{
	moment_turn();
}

void run_process_ends(struct process *p, int status, int signal)
{
	if (p->role == PROCESS_PARAVISOR)
		oracle_ends(p);
	else if (p->role == PROCESS_ARCHIVER)
		shelf_archiver_ends(p, status, signal);
}

/* ---- the end --------------------------------------------------------------------- */

void run_guest_has_ended(void)
{
	result.virtual_ns = kernel.now - kernel.start;
}

void run_done(void)
{
	keep_end();
	result.events = oracle_events();
	result.steps = kernel.steps;
	if (!result.virtual_ns)
		run_guest_has_ended();
	result.completions = kernel_events.completions;
	kernel.over = true;
}

_Noreturn void run_failed(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(result.why, sizeof(result.why), format, args);
	va_end(args);
	result.failed = true;
	run_done();
	run_report();
}


