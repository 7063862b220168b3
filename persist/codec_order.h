/* persist/codec_order.h - a machine's fields by ascending id; of the codec only. */
#ifndef PERSIST_CODEC_ORDER_H
#define PERSIST_CODEC_ORDER_H

#include "engine/limits.h"
#include "engine/sm.h"

struct codec_order {
	const struct sm_field *field[LIMIT_FIELDS];
	unsigned n;
};

/* Fields of @d up to @level. */
void codec_order(const struct sm_desc *d, unsigned level, struct codec_order *ret);

#endif
