/* statemachines/effects.h - codes and descriptors of effects, from effects.def. */
#ifndef STATEMACHINES_EFFECTS_H
#define STATEMACHINES_EFFECTS_H

#include "engine/effect.h"
#include "statemachines/records.h"

enum effect_code {
#define EFFECT(code, name, since, follow, record, doc) EFFECT_##name = (code),
#include "statemachines/effects.def"
#undef EFFECT
	EFFECT_CODES /* one above the highest; not on disk */
};

/* All effects by code, EFFECT_CODES entries; gaps have no name. */
extern const struct effect_desc effects[EFFECT_CODES];

/* disk_submit.op */
/* disk_submit.flags */
enum { DISK_FLAG_FUA = 1, DISK_FLAG_BLOCK_DEVICE = 2 };

enum disk_op { DISK_READ = 1, DISK_WRITE = 2, DISK_FLUSH = 3, DISK_UNMAP = 4, DISK_ZERO = 5 };

/* ring_bad.reason */
enum ring_fault {
	RING_FAULT_WRITE_INDEX = 1, /* not below the size, not a multiple of 8 */
	RING_FAULT_LENGTH = 2,      /* packet longer than what was written, or than LIMIT_PACKET */
	RING_FAULT_OFFSET = 3,      /* offset8 outside the packet */
	RING_FAULT_READ_INDEX = 4,  /* of the server-to-guest ring */
	RING_FAULT_TYPE = 5,        /* of a packet: no device takes it */
};

#endif
