/* Table of all effects, from effects.def. */
#include "statemachines/effects.h"

const struct effect_desc effects[EFFECT_CODES] = {
#define EFFECT(c, n, level, f, record, text)                                      \
	[c] = { .code = (c), .since = (level), .follow = FOLLOW_##f,                   \
		.rec = &rec_desc_##record, .name = #n, .doc = (text) },
#include "statemachines/effects.def"
#undef EFFECT
};
