/* statemachines/variant.h - which build of the pair this is.
 *
 * Variant b (meson -Dvariant=b) has one more field, event and state, of level
 * 2, in the storvsp machine, and one changed reply (the revision an INQUIRY
 * tells). The two are what upgrade and rollback are tested with. Variant c is b
 * with one more field, of level 3, in the disk machine: what only b and c know
 * must survive a and each other (tests/compat). */
#ifndef STATEMACHINES_VARIANT_H
#define STATEMACHINES_VARIANT_H

#ifndef HOLDFAST_VARIANT_B
#define HOLDFAST_VARIANT_B 0
#endif
#ifndef HOLDFAST_VARIANT_C
#define HOLDFAST_VARIANT_C 0
#endif

enum { MACHINES_LEVEL = 1 + HOLDFAST_VARIANT_B + HOLDFAST_VARIANT_C }; /* highest level this build can serve */

#endif
