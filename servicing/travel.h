/* servicing/travel.h - the time-travel console of `holdfast replay --step`. */
#ifndef SERVICING_TRAVEL_H
#define SERVICING_TRAVEL_H

#include "servicing/tape.h"

/* Reads commands from standard input until its end or `quit`: with line editing
 * and history on a terminal, else plainly, each command repeated in the output.
 * Returns 0, or 1 when input was no terminal and a command was refused. */
int travel(struct tape *t);

#endif
