/* sim/one.h - runs one seed. */
#ifndef SIM_ONE_H
#define SIM_ONE_H

#include "sim/run.h"

enum { ONE_TAIL = 4096 };

/* In a child process. @tail: the last of what the programs said. */
void run_one(const struct run_options *o, struct run_result *ret, char tail[ONE_TAIL]);

#endif
