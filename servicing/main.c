/* holdfast: dispatch of commands, and nothing else. */
#include "servicing/commands.h"

#include "engine/fact.h"
#include "servicing/build_id.h"

#include <stdio.h>
#include <string.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage, *doc;
};

static const struct command commands[] = {
#define COMMAND(name, function, usage, doc) { name, function, usage, doc },
#include "servicing/commands.def"
#undef COMMAND
};

int command_usage(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			fprintf(stderr, "usage: holdfast %s %s\n", name, commands[i].usage);
	return 2;
}

static int usage(FILE *out)
{
	fprintf(out, "usage: holdfast COMMAND ...\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].doc);
	fprintf(out, "\n  holdfast COMMAND --help   how to call it\n  holdfast --version\n");
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return usage(stdout);
	if (strcmp(argv[1], "--version") == 0) {
		printf("holdfast %s\n", build_text());
		return 0;
	}
	if (strcmp(argv[1], "paravisor") == 0)
		return cmd_paravisor(argc - 1, argv + 1);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, argv[1]) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "holdfast: no command '%s'; `holdfast help` lists them\n", argv[1]);
	return 2;
}
