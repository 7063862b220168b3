/* The console: a tape, breakpoints, and a table of commands (travel.def). A
 * command gets its arguments as one string and answers whether it was done;
 * what is refused is told in one line that begins with '?'. */
#include "servicing/travel.h"

#include "engine/fact.h"
#include "servicing/breaks.h"
#include "servicing/decode.h"
#include "servicing/line.h"
#include "servicing/registry.h"
#include "servicing/show.h"
#include "servicing/trace.h"
#include "servicing/why.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CHANGES = 3 };

struct travel {
	struct tape *t;
	struct breaks breaks;
	struct world *other;             /* of diff */
	struct trace *trace;
	bool ended;
};

struct travel_command {
	const char *name;
	bool (*run)(struct travel *v, const char *arguments);
	const char *arguments, *doc;
};

__attribute__((format(printf, 1, 2)))
static bool refuse(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("? ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	return false;
}

static bool refuse_expr(const struct expr_error *why)
{
	return refuse("column %u: %s", why->column, why->text);
}

/* A whole number and nothing else; @standard when there is none. */
static bool number(const char *text, uint64_t standard, uint64_t *ret)
{
	char *end;

	*ret = standard;
	if (!*text)
		return true;
	errno = 0;
	*ret = strtoull(text, &end, 0);
	if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0)
		return true;
	return refuse("a number was expected, not '%s'", text);
}

/* Where one is now. */
static bool tell(const struct travel *v)
{
	uint64_t place = tape_place(v->t);
	struct tape_event e;

	if (place == 0) {
		printf("before the first event; the oldest state is the one behind event %" PRIu64
		       "\n", tape_seq(v->t, 0));
		return true;
	}
	e = tape_event(v->t, place - 1);
	decode_print(&program, e.h, e.payload, stdout);
	if (place == tape_events(v->t))
		printf("this is the last event\n");
	return true;
}

/* ---- going ---------------------------------------------------------------------- */

static bool go_forward(struct travel *v, const char *arguments)
{
	uint64_t n, left = tape_events(v->t) - tape_place(v->t);

	if (!number(arguments, 1, &n))
		return false;
	if (left == 0)
		return refuse("this is the last event");
	tape_go(v->t, tape_place(v->t) + (n < left ? n : left));
	return tell(v);
}

static bool go_back(struct travel *v, const char *arguments)
{
	uint64_t n, place = tape_place(v->t);

	if (!number(arguments, 1, &n))
		return false;
	if (place == 0)
		return refuse("this is before the first event");
	tape_go(v->t, n < place ? place - n : 0);
	return tell(v);
}

static bool find(struct travel *v, const char *text, uint64_t *ret_place)
{
	char why[160];
	uint64_t seq;

	if (!*text)
		return refuse("an event's number was expected");
	return number(text, 0, &seq) &&
	       (tape_find(v->t, seq, ret_place, why) || refuse("%s", why));
}

static bool go_to(struct travel *v, const char *arguments)
{
	uint64_t place;

	if (!find(v, arguments, &place))
		return false;
	tape_go(v->t, place);
	return tell(v);
}

static bool go_first(struct travel *v, const char *arguments)
{
	(void)arguments;
	tape_go(v->t, 0);
	return tell(v);
}

static bool go_last(struct travel *v, const char *arguments)
{
	(void)arguments;
	tape_go(v->t, tape_events(v->t));
	return tell(v);
}

static bool arrived(const struct travel *v, const struct breakpoint *p)
{
	if (p)
		printf("breakpoint %u: %s\n", p->number, p->text);
	else
		printf("no breakpoint was hit\n");
	return tell(v);
}

static bool go_on(struct travel *v, const char *arguments)
{
	(void)arguments;
	return arrived(v, breaks_forward(&v->breaks, v->t));
}

static bool go_reverse(struct travel *v, const char *arguments)
{
	(void)arguments;
	return arrived(v, breaks_backward(&v->breaks, v->t));
}

static bool go_until(struct travel *v, const char *arguments)
{
	struct expr_error why;
	struct expr *e = expr_parse(&program, arguments, &why);
	bool found = false;

	if (!e)
		return refuse_expr(&why);
	while (!found && tape_place(v->t) < tape_events(v->t)) {
		tape_step(v->t);
		found = expr_true(e, tape_world(v->t));
	}
	expr_free(e);
	return (found || refuse("it is not true up to the last event")) && tell(v);
}

/* ---- breakpoints ---------------------------------------------------------------- */

static bool list_breaks(const struct travel *v)
{
	for (unsigned i = 0; i < v->breaks.n; i++)
		printf("%u: %s\n", v->breaks.item[i].number, v->breaks.item[i].text);
	if (v->breaks.n == 0)
		printf("there are no breakpoints\n");
	return true;
}

static bool add_break(struct travel *v, const char *arguments)
{
	struct expr_error why;
	const struct breakpoint *p;

	if (!*arguments)
		return list_breaks(v);
	p = breaks_add(&v->breaks, &program, arguments, &why);
	if (!p)
		return refuse_expr(&why);
	printf("breakpoint %u: %s\n", p->number, p->text);
	return true;
}

static bool drop_break(struct travel *v, const char *arguments)
{
	uint64_t n;

	if (!number(arguments, 0, &n))
		return false;
	return breaks_delete(&v->breaks, (unsigned)n) || refuse("there is no breakpoint %s",
								arguments);
}

/* ---- looking -------------------------------------------------------------------- */

static bool print_value(struct travel *v, const char *text)
{
	struct expr_error why;
	struct expr *e = expr_parse(&program, text, &why);
	const struct sm_desc *d;
	const struct sm_state *s;
	uint64_t n;

	if (!e)
		return refuse_expr(&why);
	s = NULL;
	if (!expr_value(e, tape_world(v->t), &n, &d))
		printf("nobody lives there\n");
	else if (d && (s = sm_state_find(d, (uint16_t)n)) != NULL)
		printf("%s\n", s->name);
	else if (n > 4095)
		printf("%" PRIu64 " (0x%" PRIx64 ")\n", n, n);
	else
		printf("%" PRIu64 "\n", n);
	expr_free(e);
	return true;
}

static bool print(struct travel *v, const char *arguments)
{
	struct world *w = tape_world(v->t);
	struct expr_error why;
	struct expr_path p;
	char value[SHOW_VALUE];

	if (!*arguments) {
		show_all(w, NULL, stdout);
		return true;
	}
	if (!expr_path(&program, arguments, &p, &why))
		return print_value(v, arguments);
	if (p.what == PATH_MACHINE && show_all(w, p.desc, stdout) == 0)
		printf("no %s lives now\n", p.desc->name);
	else if (p.what == PATH_INSTANCE ||
		 (p.what == PATH_FIELD && p.field->count > 1 && !p.element_given))
		show_instance(w, p.desc, p.index, stdout);
	else if (p.what != PATH_MACHINE)
		printf("%s\n", show_path(w, &p, value));
	return true;
}

/* State of an instance by name, NULL: nobody lives there. */
static const char *state_at(const struct travel *v, const struct sm_desc *d, unsigned index)
{
	const struct sm_head *h = world_at(tape_world(v->t), d->kind, (uint16_t)index);
	const struct sm_state *s = h ? sm_state_find(d, h->state) : NULL;

	return s ? s->name : NULL;
}

/* Neighbours in the same state are one word: [2..63]=EMPTY. */
static bool machines(struct travel *v, const char *arguments)
{
	(void)arguments;
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = program.machines[k];
		bool any = false;

		for (unsigned i = 0, last; d && i < d->capacity; i = last + 1) {
			const char *state = state_at(v, d, i);

			last = i;
			if (!state)
				continue;
			while (last + 1u < d->capacity && state_at(v, d, last + 1) == state)
				last++;
			printf("%s[%u", any ? " " : d->name, i);
			if (last > i)
				printf("..%u", last);
			printf("]=%s", state);
			any = true;
		}
		if (any)
			printf("\n");
	}
	return true;
}

static void watch(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		  const struct sm_row *row)
{
	trace_add(user, cx, from, to, row);
}

static bool event(struct travel *v, const char *arguments)
{
	uint64_t here = tape_place(v->t), place = here;
	struct tape_event e;

	if (*arguments && !find(v, arguments, &place))
		return false;
	if (place == 0)
		return refuse("this is before the first event");
	e = tape_event(v->t, place - 1);
	decode_print(&program, e.h, e.payload, stdout);
	tape_go(v->t, place - 1);
	trace_clear(v->trace);
	world_watch_set(tape_world(v->t), watch, v->trace);
	tape_step(v->t);
	world_watch_set(tape_world(v->t), NULL, NULL);
	trace_print(v->trace, stdout);
	decode_print_effects(&program, e.h->seq, e.effects, e.effects_len, stdout);
	tape_go(v->t, here);
	return true;
}

static bool diff(struct travel *v, const char *arguments)
{
	uint64_t here = tape_place(v->t), a, b = here;
	char first[32];
	size_t n = strcspn(arguments, " ");

	snprintf(first, sizeof(first), "%.*s", (int)n, arguments);
	arguments += n + strspn(arguments + n, " ");
	if (!find(v, first, &a) || (*arguments && !find(v, arguments, &b)))
		return false;
	tape_go(v->t, a);
	tape_copy(v->t, v->other);
	tape_go(v->t, b);
	if (show_difference(v->other, tape_world(v->t), stdout) == 0)
		printf("nothing differs\n");
	tape_go(v->t, here);
	return true;
}

static bool why(struct travel *v, const char *arguments)
{
	size_t n = strcspn(arguments, " ");
	struct expr_error error;
	struct expr_path p;
	uint64_t changes;
	char path[96];

	snprintf(path, sizeof(path), "%.*s", (int)n, arguments);
	if (!number(arguments + n + strspn(arguments + n, " "), CHANGES, &changes))
		return false;
	if (!expr_path(&program, path, &p, &error))
		return refuse_expr(&error);
	if (p.what < PATH_STATE)
		return refuse("a field was expected: %s[N].FIELD", p.desc->name);
	if (p.what == PATH_FIELD && p.field->count > 1 && !p.element_given)
		return refuse("%s is an array: %s[N].%s[0] to [%u]", p.field->name, p.desc->name,
			      p.field->name, p.field->count - 1u);
	return why_print(v->t, &p, (unsigned)changes, stdout) >= 0 || refuse("no memory");
}

static bool help(struct travel *v, const char *arguments);

static bool quit(struct travel *v, const char *arguments)
{
	(void)arguments;
	v->ended = true;
	return true;
}

/* ---- the table ------------------------------------------------------------------ */

static const struct travel_command commands[] = {
#define TRAVEL(name, function, arguments, doc) { name, function, arguments, doc },
#include "servicing/travel.def"
#undef TRAVEL
};

static bool help(struct travel *v, const char *arguments)
{
	(void)v;
	(void)arguments;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("%-9s %s%s%s\n", commands[i].name, commands[i].arguments,
		       *commands[i].arguments ? ": " : "", commands[i].doc);
	printf("A command may be cut short: f, b, t, c, r, p, w. Expressions: docs/REPLAY.md.\n");
	return true;
}

static bool run(struct travel *v, const char *line)
{
	size_t n;

	line += strspn(line, " \t");
	n = strcspn(line, " \t");
	if (n == 0 || *line == '#')
		return true;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strncmp(commands[i].name, line, n) == 0)
			return commands[i].run(v, line + n + strspn(line + n, " \t"));
	}
	return refuse("there is no command '%.*s'; help lists them", (int)n, line);
}

int travel(struct tape *t)
{
	struct travel v = { .t = t, .other = world_new(&program),
			    .trace = calloc(1, sizeof(*v.trace)) };
	struct line_reader in;
	const char *line;
	bool good = v.other && v.trace;

	line_begin(&in);
	if (!good)
		refuse("no memory");
	while (v.other && v.trace && !v.ended) {
		char prompt[40];

		snprintf(prompt, sizeof(prompt), "(%" PRIu64 ") ", tape_seq(t, tape_place(t)));
		line = line_read(&in, prompt);
		if (!line)
			break;
		good = run(&v, line) && good;
	}
	line_end(&in);
	breaks_clear(&v.breaks);
	world_free(v.other);
	free(v.trace);
	return good || in.terminal ? 0 : 1;
}
