/* The lint of all tables, without what else is a `holdfast`: the first that a mutant
 * meets. Exit status 1: something was found. */
#include "engine/sm_tools.h"
#include "statemachines/machines.h"

int main(void)
{
	unsigned found = 0;

	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (machines[k])
			found += sm_lint(machines[k], stderr);
	return found ? 1 : 0;
}
