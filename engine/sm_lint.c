/* Lint of the tables: what no compiler can see. Each finding is a sentence. */
#include "engine/fact.h"
#include "engine/sm_tools.h"

#include <stdarg.h>
#include <string.h>

struct lint {
	const struct sm_desc *d;
	FILE *out;
	unsigned found;
};

static void __attribute__((format(printf, 2, 3))) say(struct lint *l, const char *format, ...)
{
	va_list ap;

	l->found++;
	fprintf(l->out, "%s: ", l->d->name);
	va_start(ap, format);
	vfprintf(l->out, format, ap);
	va_end(ap);
	fputc('\n', l->out);
}

static unsigned state_index(const struct sm_desc *d, uint16_t code)
{
	return (unsigned)(sm_state_find(d, code) - d->states);
}

static void names_exist(struct lint *l)
{
	for (unsigned i = 0; i < l->d->n_rows; i++) {
		const struct sm_row *r = &l->d->rows[i];
		const struct sm_state *from = sm_state_find(l->d, r->from);
		const struct sm_state *to = sm_state_find(l->d, r->to);
		const struct sm_event_desc *on = sm_event_find(l->d, r->on);

		if (!from || !to || !on)
			say(l, "row %u names a state or event that is not in the table", i);
		else if (r->since < from->since || r->since < to->since || r->since < on->since)
			say(l, "row %u (%s --%s--> %s) is of level %u but uses something newer; "
			       "give it the highest level of what it names",
			    i, from->name, on->name, to->name, r->since);
	}
}

/* Marks what rows of at most @level reach from the initial state. */
static void reach(const struct sm_desc *d, unsigned level, bool *seen)
{
	bool grew = true;

	memset(seen, 0, LIMIT_STATES);
	seen[0] = true;
	while (grew) {
		grew = false;
		for (unsigned i = 0; i < d->n_rows; i++) {
			const struct sm_row *r = &d->rows[i];
			unsigned from = state_index(d, r->from), to = state_index(d, r->to);

			if (r->since <= level && seen[from] && !seen[to])
				seen[to] = grew = true;
		}
	}
}

static void states_reached(struct lint *l)
{
	bool seen[LIMIT_STATES];
	unsigned top = sm_desc_level(l->d);

	reach(l->d, top, seen);
	for (unsigned i = 0; i < l->d->n_states; i++)
		if (!seen[i])
			say(l, "state %s cannot be reached from %s", l->d->states[i].name,
			    l->d->states[0].name);
	for (unsigned level = 1; level < top; level++) {
		reach(l->d, level, seen);
		for (unsigned i = 0; i < l->d->n_states; i++)
			if (seen[i] && l->d->states[i].since > level)
				say(l, "state %s of level %u can be reached at level %u",
				    l->d->states[i].name, l->d->states[i].since, level);
	}
}

static void rows_shadowed(struct lint *l)
{
	for (unsigned i = 0; i < l->d->n_rows; i++) {
		for (unsigned j = 0; j < i; j++) {
			const struct sm_row *a = &l->d->rows[j], *b = &l->d->rows[i];

			if (a->from == b->from && a->on == b->on && a->guard == sm_always &&
			    a->since <= b->since)
				say(l, "row %u (%s on %s) can never be taken: row %u has no guard", i,
				    sm_state_find(l->d, b->from)->name,
				    sm_event_find(l->d, b->on)->name, j);
		}
	}
}

static bool total(const struct sm_desc *d, const struct sm_state *s, const struct sm_event_desc *e)
{
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];

		if (r->from == s->code && r->on == e->code && r->guard == sm_always &&
		    r->since <= (s->since > e->since ? s->since : e->since))
			return true;
	}
	return false;
}

static void guest_cannot_assert(struct lint *l)
{
	for (unsigned i = 0; i < l->d->n_states; i++)
		for (unsigned n = 0; n < l->d->n_events; n++) {
			const struct sm_state *s = &l->d->states[i];
			const struct sm_event_desc *e = &l->d->events[n];

			if (s->otherwise == SM_BUG && e->origin == SM_GUEST && !total(l->d, s, e))
				say(l, "a guest can end us: %s in state %s", e->name, s->name);
		}
}

static void fields_fit(struct lint *l)
{
	uint32_t end = sizeof(struct sm_head);

	for (unsigned i = 0; i < l->d->n_fields; i++) {
		const struct sm_field *f = &l->d->fields[i];

		if (i && f->id <= l->d->fields[i - 1].id)
			say(l, "field %s: ids ascend in the list (%u after %u)", f->name, f->id,
			    l->d->fields[i - 1].id);
		if (f->offset < end)
			say(l, "field %s overlaps the one before", f->name);
		end = f->offset + 1;
	}
}

unsigned sm_lint(const struct sm_desc *d, FILE *out)
{
	struct lint l = { .d = d, .out = out };

	names_exist(&l);
	if (l.found)
		return l.found;
	states_reached(&l);
	rows_shadowed(&l);
	guest_cannot_assert(&l);
	fields_fit(&l);
	return l.found;
}
