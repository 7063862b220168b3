/* Lookups in a machine's tables. */
#include "engine/world.h"

#include <string.h>

const struct sm_state *sm_state_find(const struct sm_desc *d, uint16_t code)
{
	for (unsigned i = 0; i < d->n_states; i++)
		if (d->states[i].code == code)
			return &d->states[i];
	return NULL;
}

const struct sm_event_desc *sm_event_find(const struct sm_desc *d, uint16_t code)
{
	for (unsigned i = 0; i < d->n_events; i++)
		if (d->events[i].code == code)
			return &d->events[i];
	return NULL;
}

unsigned sm_desc_level(const struct sm_desc *d)
{
	unsigned level = 1;

	for (unsigned i = 0; i < d->n_states; i++)
		level = d->states[i].since > level ? d->states[i].since : level;
	for (unsigned i = 0; i < d->n_events; i++)
		level = d->events[i].since > level ? d->events[i].since : level;
	for (unsigned i = 0; i < d->n_fields; i++)
		level = d->fields[i].since > level ? d->fields[i].since : level;
	for (unsigned i = 0; i < d->n_rows; i++)
		level = d->rows[i].since > level ? d->rows[i].since : level;
	return level;
}

void sm_field_set(const struct sm_field *f, void *self, unsigned n, uint64_t v)
{
	char *p = (char *)self + f->offset;
	uint32_t u32 = (uint32_t)v;
	uint16_t u16 = (uint16_t)v;
	uint8_t u8 = (uint8_t)v;
	bool b = v != 0;

	switch (f->type) {
	case SM_T_bool:
		memcpy(p + n * sizeof(b), &b, sizeof(b));
		break;
	case SM_T_u8:
		memcpy(p + n, &u8, sizeof(u8));
		break;
	case SM_T_u16:
		memcpy(p + n * sizeof(u16), &u16, sizeof(u16));
		break;
	case SM_T_u32:
	case SM_T_blob:
		memcpy(p + n * sizeof(u32), &u32, sizeof(u32));
		break;
	case SM_T_u64:
		memcpy(p + n * sizeof(v), &v, sizeof(v));
		break;
	}
}
