/* sim/oracle.h - what must hold, looked at while the run goes on.
 *
 * Called from the paravisor programs (points.c) and the loop, with the process
 * that runs as the current one. Each ends the run as failed when it does not
 * hold (run_failed()). */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "engine/custody.h"
#include "engine/effect.h"
#include "engine/lane.h"
#include "sim/kernel.h"

/* Worlds that all runs of this process are restored into; once, behind the programs. */
void oracle_prepare(void);
/* The partition's custody; the first thing of a run. */
void oracle_start(struct custody *c);

void oracle_process_has(struct world *w);
void oracle_begins(void);             /* it loads a checkpoint */
/* It has, or goes on as a predecessor: from here it counts what it follows. */
void oracle_follows(const struct follower *f);
/* It has stepped a turn, as owner or follower. */
void oracle_stepped(const struct world *w);
void oracle_takes_over(struct lane *l, const struct follower *f);
void oracle_serves(void);
/* Who changes what the guest can see is the one owner. */
void oracle_owns(void);
void oracle_effect(const struct effect *e, bool redo);

/* A process is about to end, its memory is still there. */
void oracle_ends(const struct process *p);
/* Where the current process's lane is, to standard error. */
void oracle_tell_lane(void);
/* Between two batches of the current process. */
void oracle_batch(void);
/* Of the run: events logged so far. */
uint64_t oracle_events(void);
/* The guest has ended: what it has seen, in its own words. */
void oracle_guest(int status);
/* Each cut was stepped by the owner and by a follower. */
void oracle_cuts(void);
/* Virtual time goes on: does the system? */
void oracle_time(void);

#endif
