/* The composition of tables: machines, effects, codec. */
#include "servicing/registry.h"

#include "persist/codec.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"

#ifndef HOLDFAST_LEVEL
#error "meson.build says which level this build can serve"
#endif

const struct registry program = {
	.machines = machines,
	.effects = effects,
	.n_effects = EFFECT_CODES,
	.max_level = HOLDFAST_LEVEL,
};

const struct slot_codec program_codec = { .pack = codec_pack, .unpack = codec_unpack };

void program_fresh(struct world *w)
{
	machines_spawn_fixed(w);
}
