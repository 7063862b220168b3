/* engine/effect.h - requests of machines to the hands, as canonical bytes.
 *
 * A turn's effects lie one behind another in its confirm record:
 *   struct effect_head, fixed record, tail, padded with zeros to 8 bytes.
 * These bytes are what is performed, performed again after a death, compared
 * by a follower and checked by replay. */
#ifndef ENGINE_EFFECT_H
#define ENGINE_EFFECT_H

#include "engine/rec.h"

enum effect_follow {
	FOLLOW_SWALLOW, /* visible to guest, disk or partition: a follower does nothing */
	FOLLOW_MIRROR,  /* only prepares the hands */
};

struct effect_desc {
	uint16_t code, since;
	enum effect_follow follow;
	const struct rec_desc *rec;
	const char *name, *doc;
};

struct effect_head {
	uint16_t code;
	uint16_t kind;      /* machine that asked */
	uint16_t index;
	uint16_t reserved;
	uint32_t len;       /* fixed part and tail, without padding */
	uint32_t generation;
};

/* One effect, seen inside a buffer of canonical bytes. */
struct effect {
	struct effect_head head;
	const void *p;          /* fixed part */
	const uint8_t *tail;
	uint32_t tail_len;
	uint64_t seq;           /* of the turn */
	uint32_t n;             /* position in the turn, from 0 */
};

/* Identity of an effect, unique and growing in a lane: what targets keep. A
 * turn has fewer than 4,096 effects (LIMIT_TURN_EFFECTS). */
static inline uint64_t effect_id(const struct effect *e)
{
	return e->seq << 12 | e->n;
}

#endif
