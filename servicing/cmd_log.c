/* `holdfast log`: the event log, decoded; archive and ring in one stream. */
#include "servicing/commands.h"
#include "servicing/decode.h"
#include "servicing/export.h"
#include "servicing/expr.h"
#include "servicing/history.h"
#include "servicing/options.h"
#include "servicing/page.h"
#include "servicing/registry.h"
#include "servicing/view.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	POLL_US = 20000, IDLE_POLLS = 50,
	SEEN = 4096,                     /* a confirm is never that far behind its event */
};

struct log_options {
	const char *state, *machine, *html, *export;
	uint64_t from, to, epoch;
	uint16_t effect;                 /* code + 1; 0: any */
	const char *event;
	bool follow, json;
	uint64_t seen[SEEN];             /* events shown, by sequence: their confirms too */
};

static bool find_event(struct log_options *o, const char *name)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = program.machines[k];

		for (unsigned i = 0; d && i < d->n_events; i++) {
			if (strcmp(d->events[i].name, name) != 0)
				continue;
			o->event = d->events[i].name;
			return true;
		}
	}
	fprintf(stderr, "holdfast: log: --event %s: no machine has such an event; `holdfast "
		"machines` lists them\n", name);
	return false;
}

static bool find_effect(struct log_options *o, const char *name)
{
	for (unsigned i = 0; i < program.n_effects; i++) {
		if (program.effects[i].name && strcmp(program.effects[i].name, name) == 0)
			o->effect = (uint16_t)(i + 1);
	}
	if (o->effect)
		return true;
	fprintf(stderr, "holdfast: log: --effect %s: there is no such effect; `holdfast machines "
		"--schema` lists them\n", name);
	return false;
}

static bool find_machine(struct log_options *o, const char *name)
{
	struct expr_error why;
	struct expr_path path;

	o->machine = name;
	if (expr_path(&program, name, &path, &why) && path.what <= PATH_INSTANCE)
		return true;
	fprintf(stderr, "holdfast: log: --machine %s: column %u: %s\n", name, why.column,
		path.what > PATH_INSTANCE ? "a machine was expected, not a field" : why.text);
	return false;
}

static bool number(const char *name, uint64_t *ret)
{
	unsigned long long n;

	if (command_number("log", name, optarg, UINT64_MAX, &n))
		return false;
	*ret = n;
	return true;
}

static bool take_option(struct log_options *o, int option)
{
	switch (option) {
	case 's':
		o->state = optarg;
		return true;
	case 'f':
		return o->follow = true;
	case 'j':
		return o->json = true;
	case 'm':
		return find_machine(o, optarg);
	case 'E':
		return find_event(o, optarg);
	case 'F':
		return find_effect(o, optarg);
	case 'n':
		return number("from", &o->from);
	case 't':
		return number("to", &o->to);
	case 'e':
		return number("epoch", &o->epoch);
	case 'h':
		o->html = optarg;
		return true;
	case 'x':
		o->export = optarg;
		return true;
	default:
		return false;
	}
}

static int arguments(int argc, char **argv, struct log_options *o)
{
	int option;

	o->to = UINT64_MAX;
	while ((option = command_option(argc, argv)) != -1) {
		if (!take_option(o, option))
			return 2;
	}
	return optind == argc ? 0 : command_usage(argv[0]);
}

static bool has_effect(const struct log_options *o, const struct log_record *h,
		       const uint8_t *payload)
{
	const uint8_t *effects = payload + sizeof(struct log_confirm);
	uint32_t len = h->len - (uint32_t)sizeof(struct log_confirm), at = 0, n = 0;
	struct effect e;
	bool bad;

	if (h->type != LOG_CONFIRM || h->len < sizeof(struct log_confirm))
		return false;
	while (effect_next(&program, effects, len, h->seq, &at, &n, &e, &bad)) {
		if (e.head.code + 1 == o->effect)
			return true;
	}
	return false;
}

/* An event of that name, or the confirm record of one. */
static bool has_event(struct log_options *o, const struct log_record *h)
{
	const struct sm_desc *d = h->kind < LIMIT_KINDS ? program.machines[h->kind] : NULL;
	const struct sm_event_desc *e = d ? sm_event_find(d, h->code) : NULL;

	if (h->type == LOG_CONFIRM)
		return o->seen[h->seq % SEEN] == h->seq;
	if (h->type != LOG_EVENT || !e || strcmp(e->name, o->event) != 0)
		return false;
	o->seen[h->seq % SEEN] = h->seq;
	return true;
}

static bool wanted(struct log_options *o, const struct history_record *rec)
{
	if (rec->h.seq < o->from || rec->h.seq > o->to || (o->epoch && rec->h.epoch != o->epoch))
		return false;
	if (o->machine && !decode_about(&program, &rec->h, rec->payload, o->machine))
		return false;
	return (!o->event || has_event(o, &rec->h)) &&
	       (!o->effect || has_effect(o, &rec->h, rec->payload));
}

static void print(struct log_options *o, const struct history_record *rec)
{
	char *text;
	cJSON *json;

	if (!wanted(o, rec))
		return;
	if (!o->json) {
		decode_print(&program, &rec->h, rec->payload, stdout);
		return;
	}
	json = decode_record(&program, &rec->h, rec->payload);
	text = json ? cJSON_PrintUnformatted(json) : NULL;
	if (text)
		puts(text);
	cJSON_free(text);
	cJSON_Delete(json);
}

/* What is missing is said once; then on with what there is. */
static int pass_gap(struct history *h, struct log_options *o)
{
	struct history_state s;
	struct history_record rec;
	int x;

	fprintf(stderr, "holdfast: records are missing behind position %llu: "
		"they were overwritten before the archive had them\n",
		(unsigned long long)h->position);
	x = history_next(h, &rec);
	if (x == HISTORY_OK)
		print(o, &rec);
	return x == HISTORY_E_GAP ? history_resume(h, &s) : x;
}

static int report(struct history *h, int x)
{
	if (x == HISTORY_OK || x == HISTORY_E_END)
		return 0;
	if (x == HISTORY_E_DAMAGED)
		fprintf(stderr, "holdfast: %s, at position %llu; what follows is not shown\n",
			history_why(h), (unsigned long long)h->position);
	else
		fprintf(stderr, "holdfast: reading the log failed (%d)\n", x);
	return 1;
}

/* At the end of the log: false when there is nothing to wait for. */
static bool wait_for_more(const struct log_options *o, unsigned *idle)
{
	if (!o->follow)
		return false;
	fflush(stdout);
	usleep(POLL_US);
	return ++*idle % IDLE_POLLS != 0 || view_alive(o->state);
}

static int print_all(struct history *h, struct log_options *o)
{
	unsigned idle = 0;
	int x = HISTORY_OK;

	while (x == HISTORY_OK && !ferror(stdout)) {
		struct history_record rec;

		x = history_next(h, &rec);
		if (x == HISTORY_OK) {
			print(o, &rec);
			idle = 0;
		} else if (x == HISTORY_E_GAP) {
			x = pass_gap(h, o);
		} else if (x == HISTORY_E_END && wait_for_more(o, &idle)) {
			x = HISTORY_OK;
		}
	}
	return report(h, x);
}

/* A page or an export: what needs the states as well. */
static int write_file(const struct log_options *o)
{
	struct tape *t;
	int r;

	if (tape_open(o->state, isatty(STDERR_FILENO) == 1 ? stderr : NULL, &t) < 0)
		return 1;
	r = o->html ? page_write(t, o->html, o->from, o->to)
		    : export_write(t, o->export, o->from, o->to);
	tape_close(t);
	return r < 0 ? 1 : 0;
}

int cmd_log(int argc, char **argv)
{
	static struct log_options o;
	struct history_state s;
	struct history h;
	int r = arguments(argc, argv, &o);

	if (r)
		return r;
	if (o.html || o.export)
		return write_file(&o);
	if (history_open(o.state, &h) < 0)
		return 1;
	r = history_begin(&h, &s);
	r = r == HISTORY_OK || r == HISTORY_E_END ? print_all(&h, &o) : report(&h, r);
	history_close(&h);
	return r;
}
