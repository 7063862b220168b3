/* The registry of machines, from machines.def. */
#include "statemachines/machines.h"

#include "engine/world.h"
#include "statemachines/storvsp.h"

#define MACHINE(code, prefix, capacity) extern const struct sm_desc prefix##_sm;
#include "statemachines/machines.def"
#undef MACHINE

const struct sm_desc *const machines[LIMIT_KINDS] = {
#define MACHINE(code, prefix, capacity) [code] = &prefix##_sm,
#include "statemachines/machines.def"
#undef MACHINE
};

void machines_spawn_fixed(struct world *w)
{
	world_spawn_fixed(w, KIND_vtl, CAPACITY_vtl);
	world_spawn_fixed(w, KIND_vp, CAPACITY_vp);
	world_spawn_fixed(w, KIND_uart, CAPACITY_uart);
	world_spawn_fixed(w, KIND_cmos, CAPACITY_cmos);
	world_spawn_fixed(w, KIND_vmbus, CAPACITY_vmbus);
	world_spawn_fixed(w, KIND_channel, 1);
	world_spawn_fixed(w, KIND_storvsp, STORVSP_FIXED);
	world_spawn_fixed(w, KIND_disk, CAPACITY_disk);
	world_spawn_fixed(w, KIND_servicing, CAPACITY_servicing);
	world_spawn_fixed(w, KIND_shutdown_ic, CAPACITY_shutdown_ic);
	world_spawn_fixed(w, KIND_heartbeat_ic, CAPACITY_heartbeat_ic);
	world_spawn_fixed(w, KIND_timesync_ic, CAPACITY_timesync_ic);
}
