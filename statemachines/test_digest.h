/* statemachines/test_digest.h - what random lives did, in one line for each row.
 *
 * Stories tell single lives in full; this tells thousands of them in numbers: for
 * each row how often it was taken and a hash over all these steps (what came, and
 * the machine's fields after it), for each answer how often it was given, for each
 * effect how often it was asked for and a hash of what was asked; and for each state
 * what its predicate forbids. The lines are
 * compared with stories/lives-VARIANT.txt. A difference says that machines do
 * otherwise than they did, not that they do wrong: who means it writes the file anew
 * (HOLDFAST_WRITE_STORIES=1, in a build of each variant). */
#ifndef STATEMACHINES_TEST_DIGEST_H
#define STATEMACHINES_TEST_DIGEST_H

#include "engine/world.h"

/* One step, as a world tells who watches it. */
void digest_step(const struct sm_cx *cx, uint16_t from, const struct sm_row *row);
/* One effect of a turn. */
void digest_effect(const struct effect *e);
/* An instance that is in @s for the first time: which of its fields, set to 0, 1 or all
 * ones, its predicate forbids. */
void digest_predicate(const struct sm_desc *d, const struct sm_state *s, const void *self);
/* Compares, or writes; fails the test at the first line that differs. */
void digest_compare(void);

#endif
