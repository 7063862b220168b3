/* holdfast: dispatch of commands, and nothing else. */
#include "servicing/commands.h"

#include "engine/fact.h"
#include "servicing/build_id.h"

#include <stdio.h>
#include <string.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
#define COMMAND(name, function, operands, doc) { name, function },
#include "servicing/commands.def"
#undef COMMAND
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return help_all(stderr);
	if (strcmp(argv[1], "--help") == 0)
		return help_all(stdout);
	if (strcmp(argv[1], "--version") == 0) {
		printf("holdfast %s\n", build_text());
		return 0;
	}
	if (strcmp(argv[1], "paravisor") == 0)
		return cmd_paravisor(argc - 1, argv + 1);
	if (argc == 3 && strcmp(argv[2], "--help") == 0)
		return help_command(argv[1]);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, argv[1]) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "holdfast: no command '%s'; `holdfast help` lists them\n", argv[1]);
	return 2;
}
