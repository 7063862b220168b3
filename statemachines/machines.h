/* statemachines/machines.h - the registry: kinds, capacities, descriptors. */
#ifndef STATEMACHINES_MACHINES_H
#define STATEMACHINES_MACHINES_H

#include "engine/limits.h"
#include "engine/sm.h"

enum kind {
#define MACHINE(code, prefix, capacity) KIND_##prefix = (code),
#include "statemachines/machines.def"
#undef MACHINE
};

enum kind_capacity {
#define MACHINE(code, prefix, capacity) CAPACITY_##prefix = (capacity),
#include "statemachines/machines.def"
#undef MACHINE
};

/* Descriptors by kind code; [0] and gaps are NULL. LIMIT_KINDS entries. */
extern const struct sm_desc *const machines[LIMIT_KINDS];

/* Instances that exist before the first event and for ever, so that the hands
 * can address them: vtl, uart, cmos, vmbus, servicing and the integration
 * components at index 0, every vp, disk and storvsp, and channel 0, which keeps
 * relid 0 from being used. To be called once on a new (or reset) world that is
 * not loaded from a checkpoint. */
struct world;
void machines_spawn_fixed(struct world *w);

/* Generation 0: "whoever lives there". */
static inline struct sm_ref ref_of(uint16_t kind, uint16_t index)
{
	return (struct sm_ref){ .kind = kind, .index = index, .generation = 0 };
}

#endif
