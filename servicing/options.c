/* Options by table: getopt_long does the reading, options.def says what there
 * is. What has been seen is kept for the one command of this process. */
#include "servicing/options.h"

#include "servicing/commands.h"

#include "engine/fact.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32 };

const struct command_text command_texts[] = {
#define COMMAND(name, function, operands, doc) { name, operands, doc },
#include "servicing/commands.def"
#undef COMMAND
};
const size_t command_texts_n = ARRAY_LEN(command_texts);

const struct option_text option_texts[] = {
#define OPTION(command, name, code, argument, how, doc) \
	{ command, name, code, argument, OPTION_##how, doc },
#include "servicing/options.def"
#undef OPTION
};
const size_t option_texts_n = ARRAY_LEN(option_texts);

static bool seen[ARRAY_LEN(option_texts)];

static unsigned table_of(const char *command, struct option table[OPTIONS_MAX + 1],
			 size_t at[OPTIONS_MAX])
{
	unsigned n = 0;

	for (size_t i = 0; i < option_texts_n; i++) {
		const struct option_text *o = &option_texts[i];

		if (strcmp(o->command, command) != 0)
			continue;
		fact(n < OPTIONS_MAX);
		at[n] = i;
		table[n++] = (struct option){
			o->name, o->argument ? required_argument : no_argument, NULL, o->code };
	}
	table[n] = (struct option){ 0 };
	return n;
}

static int missing(const char *command, unsigned n, const size_t at[])
{
	for (unsigned i = 0; i < n; i++) {
		const struct option_text *o = &option_texts[at[i]];

		if (o->how != OPTION_MUST || seen[at[i]])
			continue;
		fprintf(stderr, "holdfast: %s: --%s %s is missing: %s\n", command, o->name,
			o->argument, o->doc);
		return '?';
	}
	return -1;
}

static int unknown(int argc, char **argv)
{
	const char *what = optind > 0 && optind <= argc ? argv[optind - 1] : "?";

	fprintf(stderr, "holdfast: %s: %s %s; `holdfast help %s` lists the options\n", argv[0], what,
		optopt ? "has no value, or takes none" : "is not an option, or more than one",
		argv[0]);
	return '?';
}

int command_option(int argc, char **argv)
{
	struct option table[OPTIONS_MAX + 1];
	size_t at[OPTIONS_MAX];
	unsigned n = table_of(argv[0], table, at);
	int index = -1, code;

	if (optind <= 1)
		memset(seen, 0, sizeof(seen));
	opterr = 0;
	optopt = 0;
	code = getopt_long(argc, argv, "", table, &index);
	if (code == -1)
		return missing(argv[0], n, at);
	if (code == '?' || index < 0)
		return unknown(argc, argv);
	seen[at[index]] = true;
	return code;
}

int command_number(const char *command, const char *name, const char *text,
		   unsigned long long max, unsigned long long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (!errno && isdigit((unsigned char)text[0]) && !*end && *ret <= max)
		return 0;
	fprintf(stderr, "holdfast: %s: --%s %s: give a number from 0 to %llu\n", command, name, text,
		max);
	return 2;
}

void command_synopsis(const char *name, char *ret, size_t size)
{
	size_t used = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < option_texts_n && used < size; i++) {
		const struct option_text *o = &option_texts[i];
		bool must = o->how == OPTION_MUST;

		if (strcmp(o->command, name) == 0)
			used += (size_t)snprintf(ret + used, size - used, "%s%s--%s%s%s%s%s",
						 used ? " " : "", must ? "" : "[", o->name,
						 o->argument ? " " : "", o->argument ? o->argument : "",
						 must ? "" : "]", o->how == OPTION_MANY ? "..." : "");
	}
	for (size_t i = 0; i < command_texts_n && used < size; i++) {
		const struct command_text *c = &command_texts[i];

		if (strcmp(c->name, name) == 0 && c->operands[0])
			used += (size_t)snprintf(ret + used, size - used, "%s%s", used ? " " : "",
						 c->operands);
	}
}

int command_usage(const char *name)
{
	char synopsis[1024];

	command_synopsis(name, synopsis, sizeof(synopsis));
	fprintf(stderr, "holdfast: usage: holdfast %s %s\n", name, synopsis);
	return 2;
}
