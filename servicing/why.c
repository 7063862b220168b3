/* Looking back. A change is looked for from the newest snapshot before the
 * place, then from the one before that. What a HOST's event answers is found in
 * the recorded effects: the last turn before it in which its machine asked the
 * hands for something. */
#include "servicing/why.h"

#include "servicing/decode.h"
#include "servicing/registry.h"
#include "servicing/show.h"
#include "servicing/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN = 6 };

struct why {
	struct tape *t;
	const struct expr_path *path;
	struct trace *trace;
	FILE *out;
	/* of the turn being stepped */
	bool there;
	uint64_t value;
	unsigned step;                   /* that changed it last, TRACE_NONE */
	char before[SHOW_VALUE], after[SHOW_VALUE];
};

/* Did the value change since the last look? */
static bool moved(struct why *y, const struct world *w)
{
	uint64_t value;
	bool there = expr_path_value(y->path, w, &value);
	bool differs = there != y->there || (there && value != y->value);

	y->there = there;
	y->value = value;
	return differs;
}

static void on_step(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		    const struct sm_row *row)
{
	struct why *y = user;
	unsigned at = trace_add(y->trace, cx, from, to, row);
	char before[SHOW_VALUE];

	memcpy(before, y->after, sizeof(before));
	show_path(cx->world, y->path, y->after);
	if (!moved(y, cx->world))
		return;
	if (y->step == TRACE_NONE)
		memcpy(y->before, before, sizeof(before));
	y->step = at;
}

/* The place behind the last event up to place @end that changed the value; 0:
 * none did. */
static uint64_t last_change(struct why *y, uint64_t end)
{
	uint64_t found = 0;

	while (!found && end > 0) {
		uint64_t start = tape_snapshot(y->t, end - 1);

		tape_go(y->t, start);
		moved(y, tape_world(y->t));
		while (tape_place(y->t) < end) {
			tape_step(y->t);
			if (moved(y, tape_world(y->t)))
				found = tape_place(y->t);
		}
		end = start;
	}
	return found;
}

static void step_traced(struct why *y, uint64_t place)
{
	tape_go(y->t, place - 1);
	trace_clear(y->trace);
	moved(y, tape_world(y->t));
	show_path(tape_world(y->t), y->path, y->after);
	y->step = TRACE_NONE;
	world_watch_set(tape_world(y->t), on_step, y);
	tape_step(y->t);
	world_watch_set(tape_world(y->t), NULL, NULL);
}

static void print_event(const struct why *y, uint64_t place)
{
	struct tape_event e = tape_event(y->t, place - 1);

	decode_print(&program, e.h, e.payload, y->out);
}

static void print_change(struct why *y, uint64_t place)
{
	char name[80];

	step_traced(y, place);
	print_event(y, place);
	if (y->step == TRACE_NONE) {
		fprintf(y->out, "    (events are missing before this one)\n");
		return;
	}
	trace_print_path(y->trace, y->step, y->out);
	fprintf(y->out, "    %s: %s -> %s\n", show_path_name(y->path, name), y->before, y->after);
}

/* ---- what an event answers ---------------------------------------------------- */

/* First effect of event @n that the machine asked for; NULL: none. */
static const struct effect_desc *asked(const struct why *y, uint64_t n, uint16_t kind,
				       uint16_t index, struct effect *ret)
{
	struct tape_event e = tape_event(y->t, n);
	uint32_t at = 0, count = 0;
	bool bad;

	while (effect_next(&program, e.effects, e.effects_len, e.h->seq, &at, &count, ret, &bad)) {
		if (ret->head.kind == kind && ret->head.index == index)
			return &program.effects[ret->head.code];
	}
	return NULL;
}

static bool comes_by_itself(const struct tape_event *e)
{
	const struct sm_desc *d = e->h->kind < LIMIT_KINDS ? program.machines[e->h->kind] : NULL;
	const struct sm_event_desc *event = d ? sm_event_find(d, e->h->code) : NULL;

	return !event || event->origin != SM_HOST;
}

/* The last step of @ref's machine in the traced turn. */
static unsigned step_of(const struct trace *t, uint16_t kind, uint16_t index)
{
	unsigned found = TRACE_NONE;

	for (unsigned i = 0; i < t->n; i++) {
		if (t->step[i].ref.kind == kind && t->step[i].ref.index == index)
			found = i;
	}
	return found;
}

/* From the event that led to @place back to what asked for it; the place of
 * that, 0 when there is none. */
static uint64_t print_asker(struct why *y, uint64_t place)
{
	struct tape_event e = tape_event(y->t, place - 1);
	char name[32];

	if (comes_by_itself(&e))
		return 0;
	for (uint64_t n = place - 1; n-- > 0;) {
		struct effect f;
		const struct effect_desc *d = asked(y, n, e.h->kind, e.h->index, &f);

		if (!d)
			continue;
		fprintf(y->out, "  which follows %s, asked for by %s in\n", d->name,
			decode_machine(&program, f.head.kind, f.head.index, name));
		step_traced(y, n + 1);
		print_event(y, n + 1);
		trace_print_path(y->trace, step_of(y->trace, e.h->kind, e.h->index), y->out);
		return n + 1;
	}
	return 0;
}

int why_print(struct tape *t, const struct expr_path *p, unsigned changes, FILE *out)
{
	struct why y = { .t = t, .path = p, .out = out, .trace = calloc(1, sizeof(*y.trace)) };
	uint64_t here = tape_place(t), end = here;
	char name[80], value[SHOW_VALUE];
	unsigned n = 0;

	if (!y.trace)
		return -ENOMEM;
	fprintf(out, "%s is %s behind event %" PRIu64 "\n", show_path_name(p, name),
		show_path(tape_world(t), p, value), tape_seq(t, here));
	for (; n < changes; n++) {
		uint64_t asker = end = last_change(&y, end);

		if (end == 0)
			break;
		print_change(&y, end);
		for (unsigned i = 0; n == 0 && i < CHAIN && asker; i++)
			asker = print_asker(&y, asker);
		end--;
	}
	if (n == 0)
		fprintf(out, "nothing has changed it since the oldest state there is\n");
	free(y.trace);
	tape_go(t, here);
	return (int)n;
}
