/* fuzz/fuzz_text.c - what people write: expressions, breakpoints, disks, sizes,
 * the options of `run`.
 *
 * Texts are made of the words that the tables know, sometimes of any bytes. What
 * is refused is told in one sentence at a column inside the text; what is parsed
 * can be asked about a running guest's world, as often as one likes, and gives
 * the same answer twice. */
#include "fuzz/answers.h"
#include "fuzz/driver.h"
#include "fuzz/feed.h"
#include "fuzz/oracle.h"
#include "fuzz/program.h"
#include "fuzz/story.h"

#include "engine/fact.h"
#include "servicing/breaks.h"
#include "servicing/expr.h"
#include "servicing/options.h"
#include "servicing/run_config.h"
#include "statemachines/machines.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT = 400, WORDS = 24, ARGUMENTS = 12 };

static struct {
	uint64_t inputs, parsed, refused, breaks, disks, sizes, runs;
} figures;
static struct world *world;
static struct answers answers;
static FILE *nowhere, *told;
static uint8_t payload[LIMIT_PAYLOAD];

void story_turn(void *user, struct event *ev)
{
	answers_turn(&answers, &fuzz_program, user, ev);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	nowhere = fopen("/dev/null", "we");
	world = world_new(&fuzz_program);
	if (!nowhere || !world)
		exit(1);
	told = stderr;
	machines_spawn_fixed(world);
	story_tell(story_steps(), &answers, world, payload, world);
	return 0;
}

/* ---- texts ------------------------------------------------------------------------- */

static const struct sm_desc *some_machine(struct feed *f)
{
	const struct sm_desc *d;

	do
		d = machines[feed_below(f, LIMIT_KINDS)];
	while (!d && f->left);
	return d ? d : machines[1];
}

static const char *word_of_machine(struct feed *f)
{
	const struct sm_desc *d = some_machine(f);

	switch (feed_below(f, 4)) {
	case 0:
		return d->name;
	case 1:
		return d->states[feed_below(f, d->n_states)].name;
	case 2:
		return d->events[feed_below(f, d->n_events)].name;
	default:
		return d->n_fields ? d->fields[feed_below(f, d->n_fields)].name : "state";
	}
}

static const char *some_word(struct feed *f)
{
	static const char *const words[] = {
		"(", ")", "[", "]", "[*]", ".", "==", "!=", "<", "<=", ">", ">=", "+", "-", "&", "&&",
		"||", "!", "and", "or", "not", "count", "true", "false", "seq", "time_ns", "epoch",
		"level", "state", "generation", "0", "1", "0x10", "18446744073709551615",
		"99999999999999999999", ",", "=", "ro", "4k", "optical", "controller=1", "lun=2",
		"lun=99", "sector=4096", "512M", "4G", "1T", "0", "-1", "-", "machine", "event",
		"field", "when", ".state==",
	};

	return feed_once_in(f, 2) ? words[feed_below(f, ARRAY_LEN(words))] : word_of_machine(f);
}

static void make_text(struct feed *f, char *text)
{
	static const char *const gaps[] = { "", "", " ", ".", "[0]", ",", " == ", " and " };
	unsigned words = 1 + feed_u8(f) % WORDS;
	size_t len = 0;

	if (feed_once_in(f, 8)) {
		len = feed_u8(f);
		feed_bytes(f, (uint8_t *)text, len);
		text[len] = '\0';
		return;
	}
	while (words-- && len < TEXT - 64)
		len += (size_t)snprintf(text + len, TEXT - len, "%s%s", some_word(f),
					gaps[feed_below(f, ARRAY_LEN(gaps))]);
}

/* A relation as a person would write it. */
static void make_relation(struct feed *f, char *text)
{
	static const char *const signs[] = { "==", "!=", "<", "<=", ">", ">=" };
	const struct sm_desc *d = some_machine(f);
	const char *field = d->n_fields ? d->fields[feed_below(f, d->n_fields)].name : "state";

	snprintf(text, TEXT, "%s%s%u].%s %s %u", d->name, feed_once_in(f, 8) ? "[*" : "[",
		 feed_below(f, 4), feed_once_in(f, 3) ? "state" : field,
		 signs[feed_below(f, ARRAY_LEN(signs))], feed_u8(f));
}

/* ---- what is asked of them ------------------------------------------------------------ */

static void check_refusal(const char *text, const struct expr_error *why)
{
	figures.refused++;
	if (why->text[0] == '\0' || !memchr(why->text, 0, sizeof(why->text)))
		oracle_failed("a refusal without a sentence", why->column, strlen(text));
	if (why->column == 0 || why->column > strlen(text) + 1)
		oracle_failed("a refusal outside the text", why->column, strlen(text));
}

static void one_expression(struct feed *f)
{
	struct expr_error why = { 0 };
	const struct sm_desc *state;
	uint64_t value[2] = { 0 };
	char text[TEXT];
	struct expr *e;

	if (feed_once_in(f, 2))
		make_relation(f, text);
	else
		make_text(f, text);
	e = expr_parse(&fuzz_program, text, &why);
	if (!e) {
		check_refusal(text, &why);
		return;
	}
	figures.parsed++;
	if (expr_true(e, world) != expr_true(e, world) ||
	    expr_value(e, world, &value[0], &state) != expr_value(e, world, &value[1], &state) ||
	    value[0] != value[1])
		oracle_failed("an expression with two answers", 0, value[0]);
	expr_free(e);
}

static void one_path(struct feed *f)
{
	struct expr_error why = { 0 };
	struct expr_path p;
	char text[TEXT];
	uint64_t value;

	make_text(f, text);
	if (!expr_path(&fuzz_program, text, &p, &why)) {
		check_refusal(text, &why);
		return;
	}
	if (p.what != PATH_MACHINE)
		expr_path_value(&p, world, &value);
}

static void one_break(struct feed *f)
{
	static const char *const kinds[] = { "machine ", "state ", "event ", "field ", "when ", "" };
	static struct breaks b;
	struct expr_error why = { 0 };
	char text[TEXT + 16];
	int n = snprintf(text, sizeof(text), "%s", kinds[feed_below(f, ARRAY_LEN(kinds))]);

	if (feed_once_in(f, 2)) {
		const struct sm_desc *d = some_machine(f);

		snprintf(text + n, TEXT, "%s[0] %s", d->name,
			 feed_once_in(f, 2) ? d->states[feed_below(f, d->n_states)].name
					    : d->events[feed_below(f, d->n_events)].name);
	} else {
		make_text(f, text + n);
	}
	if (breaks_add(&b, &fuzz_program, text, &why))
		figures.breaks++;
	else if (why.text[0] == '\0')
		oracle_failed("a breakpoint refused without a sentence", 0, strlen(text));
	if (feed_once_in(f, 4))
		breaks_clear(&b);
	else if (feed_once_in(f, 2))
		breaks_delete(&b, feed_u8(f));
}

static void one_disk(struct feed *f)
{
	unsigned controller, lun;
	struct disk_option o;
	char text[TEXT];
	uint64_t size;

	if (feed_once_in(f, 2))
		snprintf(text, sizeof(text), "%u%s", feed_u16(f), some_word(f));
	else
		make_text(f, text);
	figures.sizes += run_config_size(text, &size) == 0;
	disk_option_place("--disk", text, &controller, &lun);
	figures.disks += disk_option_parse("--disk", text, &o) == 0;
}

/* `run` with options of its table, each with some argument. */
static void one_run(struct feed *f)
{
	static char text[ARGUMENTS][TEXT + 64];
	char *argv[ARGUMENTS + 2] = { "run" };
	static struct run_config rc;
	int argc = 1;

	while (argc <= ARGUMENTS && (argc < 4 || !feed_once_in(f, 6))) {
		const struct option_text *o = &option_texts[feed_below(f, (uint32_t)option_texts_n)];
		char *at = text[argc - 1];
		int n = 0;

		if (strcmp(o->command, "run") == 0)
			n = snprintf(at, 64, "--%s%s", o->name, o->argument ? "=" : "");
		make_text(f, at + n);
		argv[argc++] = at;
	}
	optind = 0;
	if (run_config_parse(&rc, argc, argv) == 0) {
		figures.runs++;
		if (rc.vps == 0 || rc.vps > LIMIT_VPS || rc.n_disks > LIMIT_DISKS)
			oracle_failed("figures that were not checked", rc.vps, rc.n_disks);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(struct feed *) = { one_expression, one_expression, one_path,
							   one_break, one_disk, one_run };
	struct feed f = { data, size };

	while (f.left) {
		unsigned which = feed_below(&f, ARRAY_LEN(parsers));

		figures.inputs++;
		if (parsers[which] == one_disk || parsers[which] == one_run)
			stderr = nowhere;
		parsers[which](&f);
		stderr = told;
	}
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f parsed=%" PRIu64 " refused=%" PRIu64
	       " breaks=%" PRIu64 " disks=%" PRIu64 " sizes=%" PRIu64 " runs=%" PRIu64 "\n",
	       figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0,
	       figures.parsed, figures.refused, figures.breaks, figures.disks, figures.sizes,
	       figures.runs);
}
