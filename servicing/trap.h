/* servicing/trap.h - SIGTRAP inside the actions that one event leads to.
 *
 * The machines are compiled with one no-operation at each function's entry
 * (statemachines/meson.build); a trap turns those of the event's actions into
 * breakpoint instructions for the length of that turn, in this process only. A
 * debugger then stops inside the action, with `cx` at hand, and may continue:
 * nothing of the function was overwritten. Without a debugger the process ends
 * by SIGTRAP. x86-64. */
#ifndef SERVICING_TRAP_H
#define SERVICING_TRAP_H

#include "servicing/tape.h"

/* Goes to the place before event number @place + 1 of the tape and steps it
 * with the traps set. Returns how many actions were trapped (0: the event
 * takes no row), or -errno after printing why not. */
int trap_event(struct tape *t, uint64_t place);

#endif
