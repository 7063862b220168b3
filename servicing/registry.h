/* servicing/registry.h - the program's tables, put together once. */
#ifndef SERVICING_REGISTRY_H
#define SERVICING_REGISTRY_H

#include "engine/slot.h"
#include "engine/world.h"

extern const struct registry program;

/* msgpack of a world, for checkpoint slots. */
extern const struct slot_codec program_codec;

/* The machines that exist before the first event, into a world just reset. */
void program_fresh(struct world *w);

#endif
