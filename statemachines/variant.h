/* statemachines/variant.h - which build of the pair this is.
 *
 * Variant b (meson -Dvariant=b) has one more field, event and state, of level
 * 2, in the storvsp machine, and one changed reply (the revision an INQUIRY
 * tells). The two are what upgrade and rollback are tested with. */
#ifndef STATEMACHINES_VARIANT_H
#define STATEMACHINES_VARIANT_H

#ifndef HOLDFAST_VARIANT_B
#define HOLDFAST_VARIANT_B 0
#endif

enum { MACHINES_LEVEL = HOLDFAST_VARIANT_B ? 2 : 1 }; /* highest level this build can serve */

#endif
