/* `holdfast help`: everything that derives from commands.def and options.def:
 * help on the terminal, docs/cli.md, completion for bash. */
#include "servicing/commands.h"
#include "servicing/options.h"

#include "engine/limits.h"
#include "statemachines/machines.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SYNOPSIS = 1024 };

static const struct command_text *find(const char *name)
{
	for (size_t i = 0; i < command_texts_n; i++)
		if (strcmp(command_texts[i].name, name) == 0)
			return &command_texts[i];
	return NULL;
}

/* ---- terminal ------------------------------------------------------------------- */

int help_all(FILE *out)
{
	fprintf(out, "usage: holdfast COMMAND ...\n\n");
	for (size_t i = 0; i < command_texts_n; i++)
		fprintf(out, "  %-10s %s\n", command_texts[i].name, command_texts[i].doc);
	fprintf(out, "\n  holdfast help COMMAND   how to call it\n  holdfast --version\n");
	return out == stdout ? 0 : 2;
}

int help_command(const char *name)
{
	const struct command_text *c = find(name);
	char synopsis[SYNOPSIS], left[64];

	if (!c) {
		fprintf(stderr, "holdfast: no command '%s'; `holdfast help` lists them\n", name);
		return 2;
	}
	command_synopsis(name, synopsis, sizeof(synopsis));
	printf("holdfast %s: %s\n\nusage: holdfast %s %s\n\n", name, c->doc, name, synopsis);
	for (size_t i = 0; i < option_texts_n; i++) {
		const struct option_text *o = &option_texts[i];

		if (strcmp(o->command, name) != 0)
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->argument ? " " : "",
			 o->argument ? o->argument : "");
		printf("  %-24s %s%s\n", left, o->doc,
		       o->how == OPTION_MANY ? "; may be repeated" : "");
	}
	return 0;
}

/* ---- docs/cli.md ------------------------------------------------------------------- */

/* A bar would end the table's cell. */
static void print_cell(const char *text)
{
	for (; *text; text++)
		printf(*text == '|' ? "\\|" : "%c", *text);
}

static void page_of(const struct command_text *c)
{
	char synopsis[SYNOPSIS];
	bool any = false;

	command_synopsis(c->name, synopsis, sizeof(synopsis));
	printf("\n## holdfast %s\n\n", c->name);
	for (const char *p = c->doc; *p; p++)
		putchar(p == c->doc && *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
	printf(".\n\n    holdfast %s%s%s\n", c->name, synopsis[0] ? " " : "", synopsis);
	for (size_t i = 0; i < option_texts_n; i++) {
		const struct option_text *o = &option_texts[i];

		if (strcmp(o->command, c->name) != 0)
			continue;
		if (!any)
			printf("\n| option | meaning |\n|---|---|\n");
		any = true;
		printf("| `--%s%s", o->name, o->argument ? " " : "");
		print_cell(o->argument ? o->argument : "");
		printf("` | ");
		print_cell(o->doc);
		printf("%s |\n", o->how == OPTION_MUST ? " (must be given)" :
				 o->how == OPTION_MANY ? " (may be repeated)" : "");
	}
}

static int print_markdown(void)
{
	printf("# Command line\n\n"
	       "Made by `make docs` from `servicing/commands.def` and `servicing/options.def`.\n\n"
	       "Exit status: 0 done; 1 failed, and the guest is unharmed; 2 wrong usage. `run` ends "
	       "with the status of its VM.\nAn error is one line: what, where, what to do. "
	       "`holdfast help --completion` prints a completion script for bash.\n\n"
	       "The state directory (0700) holds `control`, the socket that only root and the VM's "
	       "user may use; `partition.log`,\n`paravisor.log`, `guest.log`; `partition.pid`; and "
	       "`archive/`, when `holdfast archive` runs.\n");
	for (size_t i = 0; i < command_texts_n; i++)
		page_of(&command_texts[i]);
	return 0;
}

/* ---- completion ------------------------------------------------------------------- */

static void print_commands(void)
{
	for (size_t i = 0; i < command_texts_n; i++)
		printf("%s%s", i ? " " : "", command_texts[i].name);
}

/* How the value of an option is completed. */
static void print_value_case(const struct option_text *o)
{
	if (!o->argument)
		return;
	if (strncmp(o->argument, "FILE", 4) == 0)
		printf("\t\"%s --%s\") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n",
		       o->command, o->name);
	else if (strcmp(o->argument, "DIR") == 0)
		printf("\t\"%s --%s\") compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n",
		       o->command, o->name);
	else if (strcmp(o->argument, "MACHINE") == 0)
		printf("\t\"%s --%s\") COMPREPLY=($(compgen -W \"$machines\" -- \"$cur\")); return ;;\n",
		       o->command, o->name);
	else if (strchr(o->argument, '|')) {
		printf("\t\"%s --%s\") COMPREPLY=($(compgen -W \"", o->command, o->name);
		for (const char *p = o->argument; *p; p++)
			putchar(*p == '|' ? ' ' : *p);
		printf("\" -- \"$cur\")); return ;;\n");
	} else {
		printf("\t\"%s --%s\") return ;;\n", o->command, o->name);
	}
}

static void print_words_case(const struct command_text *c)
{
	printf("\t%s) words=\"", c->name);
	for (size_t i = 0; i < option_texts_n; i++)
		if (strcmp(option_texts[i].command, c->name) == 0)
			printf("--%s ", option_texts[i].name);
	if (strcmp(c->operands, "[COMMAND]") == 0)
		printf("$commands");
	else if (strcmp(c->operands, "[MACHINE]") == 0 || strcmp(c->operands, "[PATH]") == 0)
		printf("$machines");
	printf("\" ;;\n");
}

static int print_completion(void)
{
	printf("# Completion for bash, made by `holdfast help --completion`.\n_holdfast() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	       "\tlocal commands=\"");
	print_commands();
	printf("\"\n\tlocal machines=\"");
	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (machines[k])
			printf("%s ", machines[k]->name);
	printf("\"\n\tCOMPREPLY=()\n\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$commands --help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
	       "\tcase \"${COMP_WORDS[1]} $prev\" in\n");
	for (size_t i = 0; i < option_texts_n; i++)
		print_value_case(&option_texts[i]);
	printf("\tesac\n\tcase \"${COMP_WORDS[1]}\" in\n");
	for (size_t i = 0; i < command_texts_n; i++)
		print_words_case(&command_texts[i]);
	printf("\tesac\n\tCOMPREPLY=($(compgen -W \"$words --help\" -- \"$cur\"))\n}\n"
	       "complete -F _holdfast holdfast\n");
	return 0;
}

int cmd_help(int argc, char **argv)
{
	int option, what = 0;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		what = option;
	}
	if (optind + 1 < argc)
		return command_usage(argv[0]);
	if (what == 'm')
		return print_markdown();
	if (what == 'c')
		return print_completion();
	return optind < argc ? help_command(argv[optind]) : help_all(stdout);
}
