/* sim/keep.h - the log of a run in --state DIR, for `holdfast replay`. */
#ifndef SIM_KEEP_H
#define SIM_KEEP_H

#include "engine/custody.h"

void keep_start(struct custody *c);   /* nothing without --state */
void keep_run(void);                  /* now and then, from outside the machine */
void keep_end(void);

#endif
