/* Faults on purpose. The process's own; rebuilt from nothing: a taker that is
 * started with the same environment does its own. */
#include "devices/sabotage.h"

#if HOLDFAST_SABOTAGE

#include <stdlib.h>
#include <string.h>

enum { CHOSEN = 300 };

static uint64_t calls;
static bool deaf;

enum sabotage sabotage_kind(void)
{
	static const char *const names[] = { "", "kick", "double", "flip", "hand", "stay" };
	const char *want = getenv("HOLDFAST_SABOTAGE");

	for (int i = SABOTAGE_KICK; want && i <= SABOTAGE_STAY; i++) {
		if (strcmp(want, names[i]) == 0)
			return (enum sabotage)i;
	}
	return SABOTAGE_NONE;
}

bool sabotage_now(enum sabotage kind)
{
	return sabotage_kind() == kind && ++calls == CHOSEN;
}

void sabotage_deafen(void)
{
	deaf = sabotage_kind() == SABOTAGE_KICK;
}

bool sabotage_deaf(void)
{
	return deaf;
}

#else

/* An ordinary build has none: this unit holds the switch alone. */
_Static_assert(HOLDFAST_SABOTAGE == 0, "-Dsabotage");

#endif
