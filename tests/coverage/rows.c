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
#include "statemachines/effects.h"
#include "statemachines/machines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct coverage none;

/* The place of these tables in @f, read into @c; false: not there. */
static bool find(FILE *f, uint64_t tables, struct coverage *c)
{
	while (fread(c, sizeof(*c), 1, f) == 1)
		if (atomic_load(&c->tables) == tables)
			return true;
	return false;
}

static void print_rows(const struct sm_desc *d, const struct coverage *c)
{
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];

		printf("row %s %u %s %s %s %s %s %" PRIu64 "\n", d->name, r->since,
		       sm_state_find(d, r->from)->name, sm_event_find(d, r->on)->name,
		       r->guard_name, r->act_name, sm_state_find(d, r->to)->name,
		       atomic_load(&c->row[d->kind][i]));
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
			       atomic_load(&c->otherwise[d->kind][i][n]));
		}
	}
}

int main(int argc, char **argv)
{
	const struct registry program = { .machines = machines, .effects = effects,
					  .n_effects = EFFECT_CODES };
	struct coverage *c = malloc(sizeof(*c));
	const struct coverage *found = &none;
	FILE *f;

	if (argc != 2 || !c) {
		fprintf(stderr, "usage: rows FILE\n");
		return 2;
	}
	f = fopen(argv[1], "rbe");
	if (!f) {
		perror(argv[1]);
		return 1;
	}
	if (find(f, coverage_tables(&program), c))
		found = c;
	fclose(f);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (!machines[k])
			continue;
		print_rows(machines[k], found);
		print_answers(machines[k], found);
	}
	free(c);
	return 0;
}
