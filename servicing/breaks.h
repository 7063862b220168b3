/* servicing/breaks.h - breakpoints over a tape, in both directions.
 *
 * What may be asked for:
 *   machine M[N]         any step of the machine (M: of any instance)
 *   state M[N] NAME      it enters this state
 *   event M[N] NAME      it is given this event, from outside or by a machine
 *   field M[N].F         the value changes, or somebody is born or retired there
 *   when EXPR            the expression becomes true
 * Private to one thread. */
#ifndef SERVICING_BREAKS_H
#define SERVICING_BREAKS_H

#include "servicing/expr.h"
#include "servicing/tape.h"

enum break_type { BREAK_MACHINE, BREAK_STATE, BREAK_EVENT, BREAK_FIELD, BREAK_WHEN };

struct breakpoint {
	unsigned number;                 /* from 1, never used again */
	enum break_type type;
	struct expr_path path;
	uint16_t code;                   /* of state or event */
	struct expr *expr;
	char text[120];
	/* while the tape runs */
	bool hit, there;
	uint64_t value;
};

struct breaks {
	struct breakpoint item[LIMIT_BREAKPOINTS];
	unsigned n, given;
};

/* NULL: @ret_why tells. */
const struct breakpoint *breaks_add(struct breaks *b, const struct registry *r, const char *text,
				    struct expr_error *ret_why);
bool breaks_delete(struct breaks *b, unsigned number);
void breaks_clear(struct breaks *b);

/* Goes on to the next place where one is hit, which is returned; NULL: there is
 * none up to the end, where the tape then stands. */
const struct breakpoint *breaks_forward(struct breaks *b, struct tape *t);
/* The same backwards: to the last place before the present one; NULL: place 0. */
const struct breakpoint *breaks_backward(struct breaks *b, struct tape *t);

#endif
