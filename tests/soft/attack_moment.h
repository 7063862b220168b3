/* tests/soft/attack_moment.h - two things that a server meets at once; see
 * attack_moment.c. */
#ifndef TESTS_SOFT_ATTACK_MOMENT_H
#define TESTS_SOFT_ATTACK_MOMENT_H

#include "tests/soft/attack_cycle.h"

/* One moment, chosen by the dice, with @c from cycle_init(). It leaves the
 * connection as it is, and @c as its primary channel. */
void attack_moment(struct cycle *c);

#endif
