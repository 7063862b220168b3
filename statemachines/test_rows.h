/* statemachines/test_rows.h - every row of every table is taken once.
 *
 * Lives (test_machines.c) take most rows. What is left is tried from the states
 * they reached: in a copy of such a world the row's event comes to the instance,
 * with payloads, senders and fields drawn from what lives there, as long as the
 * state's predicate holds. A draw that no sender would make may end in a fact, so
 * it is made in a process of its own. What is shown: each row can be taken, ends
 * in a state whose predicate holds, and asks for effects that can be read; and each
 * answer to an event that no row takes leaves the machine as it is. */
#ifndef STATEMACHINES_TEST_ROWS_H
#define STATEMACHINES_TEST_ROWS_H

#include "engine/world.h"

/* A row was taken. */
void rows_taken(const struct sm_desc *d, const struct sm_row *row);
/* A world in which (@kind, @index) is in @state; the bytes are copied. */
void rows_keep(uint16_t kind, uint16_t index, uint16_t state, const uint8_t *packed, size_t len);
/* Tries what is left; how many rows nothing has taken (they are told on stderr). */
unsigned rows_try(void);
/* Each state is asked each event so that no row's guard is true, as above: how many
 * answers were not taken, or changed more than the state's policy allows: told on
 * stderr. An event that is ignored changes nothing and asks for nothing, one that is
 * put off is kept, one that is rejected is counted. */
unsigned answers_try(void);

#endif
