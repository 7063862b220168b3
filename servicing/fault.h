/* servicing/fault.h - a dying owner says on which record it died. */
#ifndef SERVICING_FAULT_H
#define SERVICING_FAULT_H

#include "engine/faults.h"

/* Handles SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT on a stack of its own:
 * notes a fault at @p in custody, then dies of the signal. A signal that another
 * process sent is noted as none. Both arguments live as long as the process. */
void fault_install(struct custody *c, const struct fault_point *p);

#endif
