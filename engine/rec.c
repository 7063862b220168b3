/* Reading typed payload records through their descriptors. */
#include "engine/rec.h"

#include "engine/fact.h"

#include <string.h>

static size_t width(enum rec_type type)
{
	static const size_t widths[] = { 1, 2, 4, 8 };

	return widths[type];
}

uint64_t rec_value(const struct rec_field *f, const void *bytes, unsigned index)
{
	const uint8_t *p = (const uint8_t *)bytes + f->offset + index * width(f->type);
	uint64_t v = 0;

	fact(index < f->count);
	memcpy(&v, p, width(f->type));
	return v;
}

const struct rec_field *rec_difference(const struct rec_desc *d, const void *a, const void *b)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct rec_field *f = &d->fields[i];
		size_t bytes = f->count * width(f->type);

		if (memcmp((const char *)a + f->offset, (const char *)b + f->offset, bytes) != 0)
			return f;
	}
	return NULL;
}
