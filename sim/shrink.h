/* sim/shrink.h - from a run that fails to a shorter one. */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "sim/run.h"

/* Prints the command of the shortest run found that fails, and makes @o it. */
void shrink(struct run_options *o, const struct run_result *r);

#endif
