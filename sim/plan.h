/* sim/plan.h - what is done to the system, and when: by the number of events
 * logged, so that it does not depend on how long anything takes. */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "sim/run.h"

/* Whether fault @f is switched on. */
bool plan_allows(enum fault f);
/* The same for what is done on purpose: not once --acts are spent. */
bool plan_may(enum fault f);
/* It was done. */
void plan_did(enum fault f);
/* A paravisor is at a point: does it die here? Counts it. */
bool plan_kills(const struct process *p, enum point at);
/* A paravisor is spawned. */
void plan_spawned(struct process *p);

/* The operator is to do this, as soon as the hub looks. */
void plan_ask(enum fault f);
/* What the operator wants done next, in the partition's hub; FAULTS: nothing. */
enum fault plan_operator(void);
/* The hub is to look at it (boot.c). */
void hub_knock(void);

#endif
