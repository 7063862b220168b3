/* servicing/commands.h - the commands' entry points, from commands.def.
 *
 * Each parses its own arguments (argv[0] is the command's name), prints errors
 * as one line (what, where, what to do) and returns the exit status: 0 done,
 * 1 failed and the guest is unharmed, 2 wrong usage. */
#ifndef SERVICING_COMMANDS_H
#define SERVICING_COMMANDS_H

#include <stdio.h>

#define COMMAND(name, function, operands, doc) int function(int argc, char **argv);
#include "servicing/commands.def"
#undef COMMAND

/* The paravisor itself: spawned by the partition, never typed. */
int cmd_paravisor(int argc, char **argv);

/* All commands, or how to call one; the exit status. */
int help_all(FILE *out);
int help_command(const char *name);

/* "holdfast: usage: holdfast NAME ..." to stderr; returns 2. */
int command_usage(const char *name);

#endif
