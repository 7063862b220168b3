/* Facts: what happens when one does not hold. */
#include "engine/fact.h"

#include <stdio.h>
#include <stdlib.h>

void fact_failed(const char *expression, const char *file, int line)
{
	fprintf(stderr, "holdfast: %s:%d: fact does not hold: %s\n", file, line, expression);
	abort();
}
