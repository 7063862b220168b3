/* tests/coverage/rows.c - the counters of engine/coverage.h as text.
 *
 *   rows FILE
 *
 * One line for each row and for each answer of the tables of this build:
 *   row MACHINE SINCE FROM EVENT GUARD ACTION TO COUNT
 *   answer MACHINE SINCE STATE EVENT POLICY COUNT
 * An answer is what a state says to an event for which no row's guard is true; a
 * pair with a row that is always taken has none. A file that was not counted into
 * by these tables is all zeros: so the lines are the list of what there is. */
#include "engine/coverage.h"
#include "engine/sm_tools.h"
#include "statemachines/machines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct coverage none;

/* The counters of this table in @file. */
static const struct coverage *find(const struct coverage *file, const struct sm_desc *d)
{
	for (unsigned i = 0; i < COVERAGE_MACHINES; i++)
		if (atomic_load(&file[i].table) == coverage_table(d))
			return &file[i];
	return &none;
}

static void print_rows(const struct sm_desc *d, const struct coverage *c)
{
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];

		printf("row %s %u %s %s %s %s %s %" PRIu64 "\n", d->name, r->since,
		       sm_state_find(d, r->from)->name, sm_event_find(d, r->on)->name,
		       r->guard_name, r->act_name, sm_state_find(d, r->to)->name,
		       atomic_load(&c->row[i]));
	}
}

static bool has_answer(const struct sm_desc *d, const struct sm_state *s,
		       const struct sm_event_desc *e)
{
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];

		if (r->from == s->code && r->on == e->code && r->guard == sm_always &&
		    r->since <= (s->since > e->since ? s->since : e->since))
			return false;
	}
	return true;
}

static void print_answers(const struct sm_desc *d, const struct coverage *c)
{
	for (unsigned i = 0; i < d->n_states; i++) {
		const struct sm_state *s = &d->states[i];

		for (unsigned n = 0; n < d->n_events; n++) {
			const struct sm_event_desc *e = &d->events[n];

			if (!has_answer(d, s, e))
				continue;
			printf("answer %s %u %s %s %s %" PRIu64 "\n", d->name,
			       s->since > e->since ? s->since : e->since, s->name, e->name,
			       s->otherwise == SM_BUG ? "bug" : sm_policy_name(s->otherwise),
			       atomic_load(&c->otherwise[i][n]));
		}
	}
}

int main(int argc, char **argv)
{
	const size_t bytes = COVERAGE_MACHINES * sizeof(struct coverage);
	struct coverage *file = calloc(1, bytes);
	FILE *f;

	if (argc != 2 || !file) {
		fprintf(stderr, "usage: rows FILE\n");
		return 2;
	}
	f = fopen(argv[1], "rbe");
	if (!f || fread(file, 1, bytes, f) != bytes) {
		fprintf(stderr, "rows: %s: not a file of counters\n", argv[1]);
		return 1;
	}
	fclose(f);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (!machines[k])
			continue;
		print_rows(machines[k], find(file, machines[k]));
		print_answers(machines[k], find(file, machines[k]));
	}
	free(file);
	return 0;
}
