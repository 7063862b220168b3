/* tests/soft/attack_state.h - a guest that brings its machines into each state
 * and then sends each event there; see attack_state.c. */
#ifndef TESTS_SOFT_ATTACK_STATE_H
#define TESTS_SOFT_ATTACK_STATE_H

#include "tests/soft/attack.h"

/* @cycles on a VM of its own making: nothing may be attached, attack->vm and pool
 * are not valid afterwards. 0, a negative errno, or a condition of softvm.h. */
int attack_states(struct attack *attack, uint64_t cycles);

#endif
