/* servicing/why.h - which events led a field to its value. */
#ifndef SERVICING_WHY_H
#define SERVICING_WHY_H

#include "servicing/expr.h"
#include "servicing/tape.h"

/* Prints the last @changes changes of what @p names up to the present place:
 * event, the steps that led to it, value before and after; for the newest also
 * the events that this one answers, back to one that came by itself. Leaves the
 * tape where it was. Returns how many changes were found, or -ENOMEM. */
int why_print(struct tape *t, const struct expr_path *p, unsigned changes, FILE *out);

#endif
