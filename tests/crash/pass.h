/* tests/crash/pass.h - one pass over a window: recorded, or cut off at a point.
 *
 * An operation's window begins when the idle owner wakes up for it, and ends
 * when the guest has its answer and the owner sleeps again. A take-over's
 * window begins with the taker's first lock, and ends when what it took in
 * together with its first SERVING record is done; the owner before it dies in
 * the middle of a write, so that there is something to redo. */
#ifndef TESTS_CRASH_PASS_H
#define TESTS_CRASH_PASS_H

#include "tests/crash/points.h"
#include "tests/crash/vm.h"

enum { PASS_LINE = 400 };

struct pass {
	struct vm *vm;
	const char *program;     /* the paravisor's executable */
	char letter;             /* the guest's operation */
	bool takeover;
	struct point death;      /* take-over: where the owner dies */
	/* Of the present window. */
	struct tracee te;
	uint64_t deadline;
	uint32_t performed;      /* requests the kernel had completed before it */
	uint64_t gaps;           /* take-overs that were finished before it */
	unsigned looks;
	bool late;
};

enum pass_result {
	PASS_KILLED,
	PASS_MISSED,  /* the window ended before the point; the guest was content */
	PASS_FAILED,  /* @why says what */
};

struct pass_outcome {
	bool recovered;          /* another paravisor served */
	bool exactly_once;
	uint64_t killed_ns, recovery_ns;
	char why[PASS_LINE];
};

/* Steps through one window, then has everything checked. 0, or -1 and @why. */
int pass_record(struct pass *p, struct points *ret, char why[PASS_LINE]);
enum pass_result pass_shoot(struct pass *p, const struct point *point, struct pass_outcome *ret);

#endif
