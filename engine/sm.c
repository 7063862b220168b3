/* Lookups in a machine's tables. */
#include "engine/world.h"

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
