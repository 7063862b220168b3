/* `holdfast log`: the event log, decoded; archive and ring in one stream. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/decode.h"
#include "servicing/history.h"
#include "servicing/registry.h"
#include "servicing/view.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

enum { POLL_US = 20000, IDLE_POLLS = 50 };

struct log_options {
	const char *state, *machine;
	uint64_t from;
	bool follow, json;
};

static int arguments(int argc, char **argv, struct log_options *o)
{
	unsigned long long n;
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == 's')
			o->state = optarg;
		else if (option == 'f')
			o->follow = true;
		else if (option == 'm')
			o->machine = optarg;
		else if (option == 'j')
			o->json = true;
		else if (option == '?' || command_number(argv[0], "from", optarg, UINT64_MAX, &n))
			return 2;
		else
			o->from = n;
	}
	return optind == argc ? 0 : command_usage(argv[0]);
}

static void print(const struct log_options *o, const struct history_record *rec)
{
	char *text;
	cJSON *json;

	if (rec->h.seq < o->from ||
	    (o->machine && !decode_about(&program, &rec->h, rec->payload, o->machine)))
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
static int pass_gap(struct history *h, const struct log_options *o)
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
		fprintf(stderr, "holdfast: the log does not hold together at position %llu; "
			"what follows is not shown\n",
			(unsigned long long)h->position);
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

static int print_all(struct history *h, const struct log_options *o)
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

int cmd_log(int argc, char **argv)
{
	struct log_options o = { 0 };
	struct history_state s;
	struct history h;
	int r = arguments(argc, argv, &o);

	if (r)
		return r;
	if (history_open(o.state, &h) < 0)
		return 1;
	r = history_begin(&h, &s);
	r = r == HISTORY_OK || r == HISTORY_E_END ? print_all(&h, &o) : report(&h, r);
	history_close(&h);
	return r;
}
