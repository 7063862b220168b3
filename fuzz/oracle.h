/* fuzz/oracle.h - what must be true after every turn, whatever the input was. A
 * breach is told on stderr and ends the process with SIGABRT. */
#ifndef FUZZ_ORACLE_H
#define FUZZ_ORACLE_H

#include "engine/world.h"

/* Ends the process: what was expected, and where. */
_Noreturn void oracle_failed(const char *what, uint64_t seq, uint64_t value);

/* Every effect of the turn holds together and asks for nothing that the guest
 * must not reach: ranges on the disk, lengths, processors, read-only disks. */
void oracle_effects(const struct world *w, const struct turn *t, uint64_t seq);

/* All predicates of the instances of @kind (0: of all kinds). */
void oracle_predicates(const struct world *w, uint16_t kind);

/* The worlds are equal: packed bytes, and room for blobs (a leaked blob is
 * reached by nobody, so it is not saved). */
void oracle_equal(const struct world *a, const struct world *b);

/* Packs @a and unpacks it into @b, which is filled with 0xA5 before. */
void oracle_restore(const struct world *a, struct world *b);

/* As above, but through a build that knows fewer fields: @quarters of four of each
 * machine's (1..3). What it does not know it must keep. False: it said that there
 * is too much of that, and @b is not restored. */
bool oracle_shift(const struct world *a, struct world *b, unsigned quarters);

/* All answers were given: nothing is in flight any more. */
void oracle_idle(const struct world *w);

#endif
