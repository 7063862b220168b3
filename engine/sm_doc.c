/* Pictures and pages, made from the tables, so that they cannot lie. */
#include "engine/sm_tools.h"

const char *sm_origin_name(enum sm_origin o)
{
	static const char *const names[] = { "guest", "host", "operator", "self" };

	return names[o];
}

const char *sm_policy_name(enum sm_policy p)
{
	static const char *const names[] = { "ignored", "rejected", "deferred", "a bug" };

	return names[p];
}

const char *sm_type_name(enum sm_type t)
{
	static const char *const names[] = { "bool", "u8", "u16", "u32", "u64", "blob" };

	return names[t];
}

void sm_dot(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "digraph %s {\n\trankdir=LR;\n\tnode [shape=box, style=rounded];\n", d->name);
	fprintf(out, "\tinitial [shape=point];\n\tinitial -> %s;\n", d->states[0].name);
	for (unsigned i = 0; i < d->n_states; i++)
		fprintf(out, "\t%s [tooltip=\"%s\"];\n", d->states[i].name, d->states[i].doc);
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];
		bool plain = r->guard == sm_always;

		fprintf(out, "\t%s -> %s [label=\"%s%s%s%s\\n/ %s\"%s];\n",
			sm_state_find(d, r->from)->name, sm_state_find(d, r->to)->name,
			sm_event_find(d, r->on)->name, plain ? "" : " [",
			plain ? "" : r->guard_name, plain ? "" : "]", r->act_name,
			r->since > 1 ? ", style=dashed" : "");
	}
	fprintf(out, "}\n");
}

static void page_states(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "\n## States\n\n| code | state | since | other events are | meaning |\n"
		     "|---|---|---|---|---|\n");
	for (unsigned i = 0; i < d->n_states; i++)
		fprintf(out, "| %u | %s | %u | %s | %s |\n", d->states[i].code, d->states[i].name,
			d->states[i].since, sm_policy_name(d->states[i].otherwise),
			d->states[i].doc);
}

static void page_events(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "\n## Events\n\n| code | event | since | from | payload | meaning |\n"
		     "|---|---|---|---|---|---|\n");
	for (unsigned i = 0; i < d->n_events; i++)
		fprintf(out, "| %u | %s | %u | %s | %s | %s |\n", d->events[i].code,
			d->events[i].name, d->events[i].since, sm_origin_name(d->events[i].origin),
			d->events[i].rec->name, d->events[i].doc);
}

static void page_fields(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "\n## Saved fields\n\n| id | field | type | since | when absent | meaning |\n"
		     "|---|---|---|---|---|---|\n");
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];

		fprintf(out, "| %u | %s | %s", f->id, f->name, sm_type_name(f->type));
		if (f->count > 1)
			fprintf(out, "[%u]", f->count);
		fprintf(out, " | %u | %llu | %s |\n", f->since, (unsigned long long)f->absent, f->doc);
	}
}

static void page_rows(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "\n## Transitions, tried in order\n\n"
		     "| from | event | guard | action | to | since |\n|---|---|---|---|---|---|\n");
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];

		fprintf(out, "| %s | %s | %s | %s | %s | %u |\n", sm_state_find(d, r->from)->name,
			sm_event_find(d, r->on)->name, r->guard == sm_always ? "" : r->guard_name,
			r->act == sm_nothing ? "" : r->act_name, sm_state_find(d, r->to)->name,
			r->since);
	}
}

void sm_page(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "# %s\n\n%s\n\nKind %u, at most %u instances. Generated from "
		     "`statemachines/%s.def` by `holdfast machines --doc`; picture: [%s.dot](%s.dot).\n",
		d->name, d->doc, d->kind, d->capacity, d->name, d->name, d->name);
	page_states(d, out);
	page_events(d, out);
	page_rows(d, out);
	page_fields(d, out);
}
