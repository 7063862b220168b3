/* Steps of a turn. The engine tells a message's sender but not at which of its
 * steps it was sent; messages are delivered in the order in which they were
 * sent, so the cause of a step is never before the cause of the step before
 * it: the sender's first step from there on. */
#include "servicing/trace.h"

#include "engine/sm_tools.h"
#include "servicing/decode.h"

#include <string.h>

void trace_clear(struct trace *t)
{
	t->n = t->left_out = 0;
}

static bool same(struct sm_ref a, struct sm_ref b)
{
	return a.kind == b.kind && a.index == b.index && a.generation == b.generation;
}

static uint16_t cause_of(const struct trace *t, struct sm_ref from)
{
	unsigned first = t->n && t->step[t->n - 1].cause != TRACE_NONE ? t->step[t->n - 1].cause
								       : 0;

	if (from.generation == 0)
		return TRACE_NONE;
	for (unsigned i = first; i < t->n; i++) {
		if (same(t->step[i].ref, from))
			return (uint16_t)i;
	}
	return TRACE_NONE;
}

unsigned trace_add(struct trace *t, const struct sm_cx *cx, uint16_t from, uint16_t to,
		   const struct sm_row *row)
{
	if (t->n == LIMIT_TRACE_STEPS) {
		t->left_out++;
		return TRACE_NONE;
	}
	t->step[t->n] = (struct trace_step){
		.ref = cx->ref, .from = cx->from, .desc = cx->desc, .event = cx->event,
		.row = row, .from_state = from, .to_state = to,
		.cause = cause_of(t, cx->from),
		.retired = world_at(cx->world, cx->ref.kind, cx->ref.index) == NULL,
	};
	return t->n++;
}

static const char *state_name(const struct sm_desc *d, uint16_t code)
{
	const struct sm_state *s = sm_state_find(d, code);

	return s ? s->name : "?";
}

void trace_print_step(const struct trace_step *s, FILE *out)
{
	const struct sm_state *before = sm_state_find(s->desc, s->from_state);

	fprintf(out, "%s[%u] %s  %s", s->desc->name, s->ref.index, s->event->name,
		state_name(s->desc, s->from_state));
	if (s->to_state != s->from_state)
		fprintf(out, " -> %s", state_name(s->desc, s->to_state));
	if (s->retired)
		fprintf(out, " -> gone");
	if (s->row)
		fprintf(out, "  (%s / %s)", s->row->guard_name, s->row->act_name);
	else
		fprintf(out, "  (no row: %s)",
			before ? sm_policy_name(before->otherwise) : "?");
}

static unsigned depth_of(const struct trace *t, unsigned i)
{
	unsigned depth = 0;

	while (t->step[i].cause != TRACE_NONE && depth < 16) {
		i = t->step[i].cause;
		depth++;
	}
	return depth;
}

static void print_line(const struct trace *t, unsigned i, FILE *out)
{
	fprintf(out, "    %*s", (int)(2 * depth_of(t, i)), "");
	trace_print_step(&t->step[i], out);
	fprintf(out, "\n");
}

void trace_print(const struct trace *t, FILE *out)
{
	for (unsigned i = 0; i < t->n; i++)
		print_line(t, i, out);
	if (t->left_out)
		fprintf(out, "    (%u more steps)\n", t->left_out);
}

void trace_print_path(const struct trace *t, unsigned last, FILE *out)
{
	uint16_t path[64];
	unsigned n = 0;

	for (unsigned i = last; i != TRACE_NONE && n < 64; i = t->step[i].cause)
		path[n++] = (uint16_t)i;
	while (n-- > 0)
		print_line(t, path[n], out);
}
