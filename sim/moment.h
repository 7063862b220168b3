/* sim/moment.h - directed runs: at a moment that is chosen, a deed.
 *
 *   --when 'MOMENT: DEED DEED ...'      as often as wanted, taken in order
 *
 * A moment is an expression (servicing/expr.h) over the machines of the present
 * owner, and before it any of these words, for what custody alone tells:
 *   @mailbox   a processor waits in its mailbox
 *   @slot      a message waits because a SynIC slot is taken
 *   @notice    the owner has something in its inbox to take
 *   @posted    a message of the guest waits for the owner
 * It is looked at behind every turn, before any effect of the turn, and while no turn is run.
 * When it is true the deeds (deeds.def) are done at once, and the next step waits for its
 * own moment. A run that ends before every step was taken has failed: so a step
 * without a deed asserts that a moment comes.
 *
 * In a directed run a processor that has posted a message goes on when the owner
 * has stepped it, so that there is a moment between any two messages; and what the
 * operator asks for is always the same (moment_ask()). */
#ifndef SIM_MOMENT_H
#define SIM_MOMENT_H

#include "engine/custody.h"
#include "statemachines/records.h"

#include <stdbool.h>

/* One --when. 0, or 2 after telling what is wrong with it. Programs are loaded. */
int moment_add(const char *text);
bool moment_any(void);
/* The nth text, for the command that makes this run again; NULL behind the last. */
const char *moment_text(unsigned n);

void moment_start(struct custody *c);
/* The current process, an owner, has stepped a turn. May not return. */
void moment_turn(void);
/* While no fiber runs. */
void moment_tick(void);
/* A VP thread has queued a message. */
void moment_posted(void);
struct rec_service_ask moment_ask(void);
/* The guest has ended: every step was taken, or the run has failed. */
void moment_end(void);

#endif
