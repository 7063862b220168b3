/* servicing/fault.h - a dying owner says on which record it died. */
#ifndef SERVICING_FAULT_H
#define SERVICING_FAULT_H

#include "engine/custody.h"
#include "engine/world.h"

/* Handles SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT on a stack of its own:
 * stores FAULT(sequence being stepped) in custody, then dies of the signal. */
void fault_install(struct custody *c, const struct lane_state *lane);

#endif
