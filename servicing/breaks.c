/* Breakpoints. Machines, states and events are seen step by step; fields and
 * expressions when a turn has ended. Backwards means: from one snapshot before
 * forwards, keeping the last hit, and on to the snapshot before that. */
#include "servicing/breaks.h"

#include "engine/fact.h"

#include <stdio.h>
#include <string.h>

static bool refuse(struct expr_error *why, unsigned column, const char *text, const char *name)
{
	why->column = column;
	snprintf(why->text, sizeof(why->text), text, name);
	return false;
}

/* State or event @name of the machine; false: it has none. */
static bool find_code(struct breakpoint *p, const char *name, unsigned column,
		      struct expr_error *why)
{
	const struct sm_desc *d = p->path.desc;

	for (unsigned i = 0; p->type == BREAK_STATE && i < d->n_states; i++) {
		if (strcmp(d->states[i].name, name) == 0) {
			p->code = d->states[i].code;
			return true;
		}
	}
	for (unsigned i = 0; p->type == BREAK_EVENT && i < d->n_events; i++) {
		if (strcmp(d->events[i].name, name) == 0) {
			p->code = d->events[i].code;
			return true;
		}
	}
	why->column = column;
	snprintf(why->text, sizeof(why->text), "%s has no %s '%.40s'; `holdfast machines %s` "
		 "lists them", d->name, p->type == BREAK_STATE ? "state" : "event", name, d->name);
	return false;
}

/* "M[N] NAME" or "M[N]"; @column of the first character. */
static bool parse_machine(struct breakpoint *p, const struct registry *r, const char *text,
			  unsigned column, struct expr_error *why)
{
	size_t n = strcspn(text, " "), gap = strspn(text + n, " ");
	char path[80];

	snprintf(path, sizeof(path), "%.*s", (int)n, text);
	if (!expr_path(r, path, &p->path, why)) {
		why->column += column - 1;
		return false;
	}
	if (p->path.what != PATH_MACHINE && p->path.what != PATH_INSTANCE)
		return refuse(why, column, "a machine was expected, not its field '%s'", path);
	if (p->type != BREAK_MACHINE)
		return find_code(p, text + n + gap, column + (unsigned)(n + gap), why);
	return text[n + gap] == '\0' ||
	       refuse(why, column + (unsigned)(n + gap), "nothing was expected behind it: '%s'",
		      text + n + gap);
}

static bool parse_rest(struct breakpoint *p, const struct registry *r, const char *text,
		       unsigned column, struct expr_error *why)
{
	if (p->type == BREAK_WHEN) {
		p->expr = expr_parse(r, text, why);
		why->column += p->expr ? 0 : column - 1;
		return p->expr != NULL;
	}
	if (p->type != BREAK_FIELD)
		return parse_machine(p, r, text, column, why);
	if (!expr_path(r, text, &p->path, why)) {
		why->column += column - 1;
		return false;
	}
	return p->path.what > PATH_INSTANCE ||
	       refuse(why, column, "a field was expected: %s[N].FIELD", p->path.desc->name);
}

const struct breakpoint *breaks_add(struct breaks *b, const struct registry *r, const char *text,
				    struct expr_error *ret_why)
{
	static const char *const types[] = { "machine", "state", "event", "field", "when" };
	size_t n = strcspn(text, " "), gap = strspn(text + n, " ");
	struct breakpoint *p = &b->item[b->n];

	if (b->n == LIMIT_BREAKPOINTS) {
		refuse(ret_why, 1, "there are as many as there may be; delete one%s", "");
		return NULL;
	}
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		if (strlen(types[i]) != n || strncmp(types[i], text, n) != 0)
			continue;
		*p = (struct breakpoint){ .type = (enum break_type)i };
		if (!parse_rest(p, r, text + n + gap, (unsigned)(n + gap) + 1, ret_why))
			return NULL;
		p->number = ++b->given;
		snprintf(p->text, sizeof(p->text), "%s", text);
		b->n++;
		return p;
	}
	refuse(ret_why, 1, "machine, state, event, field or when was expected, not '%s'", text);
	return NULL;
}

bool breaks_delete(struct breaks *b, unsigned number)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (b->item[i].number != number)
			continue;
		expr_free(b->item[i].expr);
		memmove(&b->item[i], &b->item[i + 1], (b->n - i - 1) * sizeof(b->item[0]));
		b->n--;
		return true;
	}
	return false;
}

void breaks_clear(struct breaks *b)
{
	while (b->n)
		breaks_delete(b, b->item[0].number);
}

/* ---- running -------------------------------------------------------------------- */

static bool is_about(const struct breakpoint *p, const struct sm_cx *cx)
{
	return cx->ref.kind == p->path.desc->kind &&
	       (p->path.what == PATH_MACHINE || cx->ref.index == p->path.index);
}

static void on_step(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		    const struct sm_row *row)
{
	struct breaks *b = user;

	(void)row;
	for (unsigned i = 0; i < b->n; i++) {
		struct breakpoint *p = &b->item[i];

		if (p->type > BREAK_EVENT || !is_about(p, cx))
			continue;
		if (p->type == BREAK_MACHINE ||
		    (p->type == BREAK_EVENT && cx->event->code == p->code) ||
		    (p->type == BREAK_STATE && from != to && to == p->code))
			p->hit = true;
	}
}

static void look(struct breakpoint *p, const struct world *w, bool *ret_there, uint64_t *ret)
{
	*ret = 0;
	*ret_there = true;
	if (p->type == BREAK_WHEN)
		*ret = expr_true(p->expr, w);
	else if (p->type == BREAK_FIELD)
		*ret_there = expr_path_value(&p->path, w, ret);
}

static void begin(struct breaks *b, struct tape *t)
{
	for (unsigned i = 0; i < b->n; i++)
		look(&b->item[i], tape_world(t), &b->item[i].there, &b->item[i].value);
	world_watch_set(tape_world(t), on_step, b);
}

/* Steps one event: the first breakpoint it hits, or NULL. */
static const struct breakpoint *step(struct breaks *b, struct tape *t)
{
	const struct breakpoint *found = NULL;

	for (unsigned i = 0; i < b->n; i++)
		b->item[i].hit = false;
	tape_step(t);
	for (unsigned i = 0; i < b->n; i++) {
		struct breakpoint *p = &b->item[i];
		uint64_t value;
		bool there;

		look(p, tape_world(t), &there, &value);
		if (p->type == BREAK_WHEN)
			p->hit = value && !p->value;
		else if (p->type == BREAK_FIELD)
			p->hit = there != p->there || value != p->value;
		p->there = there;
		p->value = value;
		if (p->hit && !found)
			found = p;
	}
	return found;
}

const struct breakpoint *breaks_forward(struct breaks *b, struct tape *t)
{
	const struct breakpoint *found = NULL;

	begin(b, t);
	while (!found && tape_place(t) < tape_events(t))
		found = step(b, t);
	world_watch_set(tape_world(t), NULL, NULL);
	return found;
}

const struct breakpoint *breaks_backward(struct breaks *b, struct tape *t)
{
	uint64_t end = tape_place(t) ? tape_place(t) - 1 : 0, place = 0;
	const struct breakpoint *found = NULL;

	while (!found && end > 0) {
		uint64_t start = tape_snapshot(t, end - 1);

		tape_go(t, start);
		begin(b, t);
		while (tape_place(t) < end) {
			const struct breakpoint *p = step(b, t);

			if (p) {
				found = p;
				place = tape_place(t);
			}
		}
		world_watch_set(tape_world(t), NULL, NULL);
		end = start;
	}
	tape_go(t, place);
	return found;
}
