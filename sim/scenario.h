/* sim/scenario.h - one scenario for all crash points: boot, open, load with 32
 * requests in flight on each channel of a slow disk, a channel that is rescinded,
 * a replacement by the other build with a vote, the rest of the load, close.
 *
 * Nothing in it is left to chance but who runs next and how long a request
 * takes, which the seed draws. The points are the turn boundaries of the owners
 * (before and behind each record, tail, head) and the places before, in and
 * behind each effect, numbered from 1 on in the order in which they are met. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "sim/run.h"
#include "statemachines/records.h"

enum { SCENARIO_REPLACED_AT = 500 }; /* events */

/* The guest's words; how many. */
unsigned scenario_words(char (*words)[48]);
/* What the operator wants of the replacement. */
struct rec_service_ask scenario_ask(void);
/* The owner is at a point: does it die here? */
bool scenario_kills(enum point at);

/* Runs the scenario without a death, then @count times with one: at points from
 * @from on, or, for 0, at points that the seed of @o chooses over all of it. A
 * line for each is added to @record (NULL: nowhere); the log of a single one is
 * left where @o says. True: one did not hold. */
bool scenario_run(const struct run_options *o, uint64_t count, uint64_t from, const char *record);

#endif
