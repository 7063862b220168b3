/* The composition of tables for the fuzz targets. */
#include "fuzz/program.h"

#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/variant.h"

const struct registry fuzz_program = {
	.machines = machines,
	.effects = effects,
	.n_effects = EFFECT_CODES,
	.max_level = MACHINES_LEVEL,
};
