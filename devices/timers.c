/* Deadlines of machines.
 *
 * A machine that wants to be told the time has a field deadline_ns and an event
 * TIMER; which ones have is found in their descriptions, once. Nothing is armed:
 * the field is the timer, so a new owner has it as soon as it has the machine,
 * and a follower, which collects nothing, tells nobody. */
#include "devices/hands_state.h"

#include "engine/fact.h"

#include <string.h>

static const struct sm_field *deadline_field(const struct sm_desc *d)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];

		if (f->type == SM_T_u64 && f->count == 1 && strcmp(f->name, "deadline_ns") == 0)
			return f;
	}
	return NULL;
}

static const struct sm_event_desc *timer_event(const struct sm_desc *d)
{
	for (unsigned i = 0; i < d->n_events; i++)
		if (d->events[i].rec == &rec_desc_deadline && strcmp(d->events[i].name, "TIMER") == 0)
			return &d->events[i];
	return NULL;
}

void timers_find(struct hands *h)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = h->registry->machines[k];
		const struct sm_field *f = d ? deadline_field(d) : NULL;
		const struct sm_event_desc *e = d ? timer_event(d) : NULL;

		if (!f || !e)
			continue;
		fact(h->n_timers + d->capacity <= TIMERS_MAX);
		for (uint16_t i = 0; i < d->capacity; i++)
			h->timer[h->n_timers++] = (struct timer){ .kind = d->kind, .index = i,
								  .code = e->code,
								  .offset = f->offset };
	}
}

void timers_forget(struct hands *h)
{
	for (unsigned i = 0; i < h->n_timers; i++)
		h->timer[i].told = 0;
}

uint64_t timer_deadline(const struct hands *h, const struct world *w, unsigned n)
{
	const struct timer *t = &h->timer[n];
	const void *machine = world_at(w, t->kind, t->index);
	uint64_t deadline = 0;

	if (machine)
		memcpy(&deadline, (const char *)machine + t->offset, sizeof(deadline));
	return deadline == t->told ? 0 : deadline;
}

uint64_t timers_next(const struct hands *h)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; h->epoch && h->world && i < h->n_timers; i++) {
		uint64_t deadline = timer_deadline(h, h->world, i);

		if (deadline && deadline < next)
			next = deadline;
	}
	return next;
}
