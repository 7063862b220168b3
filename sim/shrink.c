/* Shrinking: fewer kinds of faults, fewer acts of the plan, fewer events, as
 * long as the run still fails.
 *
 * The kinds of faults are independent generators' draws, so one that is not
 * needed can go without changing what the others do before it matters; acts
 * are cut from the end. A run is deterministic: one trial each is enough. */
#include "sim/shrink.h"

#include "sim/one.h"
#include "sim/record.h"

#include <stdio.h>

static struct run_result last;

static bool fails(const struct run_options *o)
{
	static char tail[ONE_TAIL];

	run_one(o, &last, tail);
	return last.failed;
}

static void try_without(struct run_options *best, enum fault f)
{
	struct run_options o = *best;

	o.faults &= ~(UINT64_C(1) << f);
	if (o.faults != best->faults && fails(&o))
		*best = o;
}

/* Smallest value in [1, high] of one option with which it still fails. */
static void bisect(struct run_options *best, uint64_t *option, uint64_t high)
{
	uint64_t low = 0;

	while (high - low > 1 + high / 64) {
		uint64_t before = *option;

		*option = low + (high - low) / 2;
		if (fails(best)) {
			high = *option;
		} else {
			low = *option;
			*option = before;
		}
	}
}

void shrink(struct run_options *o, const struct run_result *r)
{
	struct run_options best = *o;

	best.verbose = false;
	if (r->planned > 1)
		bisect(&best, &best.plan_limit, r->planned);
	bisect(&best, &best.events, best.events);
	for (int f = 0; f < FAULTS; f++)
		try_without(&best, (enum fault)f);
	bisect(&best, &best.events, best.events);
	if (!fails(&best)) {
		printf("it cannot be made shorter\n");
		return;
	}
	printf("shrunk: ");
	record_tell(&best, &last, false);
	*o = best;
}
