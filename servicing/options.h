/* servicing/options.h - the tables of commands and options, and parsing by them.
 *
 * A command calls command_option() until it returns -1, then looks at what is
 * left from optind on. Errors are one line that says what, where and what to
 * do. One thread, one command a process. */
#ifndef SERVICING_OPTIONS_H
#define SERVICING_OPTIONS_H

#include <stddef.h>

enum option_how { OPTION_ONCE, OPTION_MUST, OPTION_MANY };

struct option_text {
	const char *command, *name;
	int code;
	const char *argument;       /* NULL: a flag */
	enum option_how how;
	const char *doc;
};

struct command_text {
	const char *name, *operands, *doc;
};

extern const struct option_text option_texts[];
extern const size_t option_texts_n;
extern const struct command_text command_texts[];
extern const size_t command_texts_n;

/* Next option of the command argv[0]: its code, with optarg set; -1: no more,
 * and none is missing; '?': wrong usage, an error was printed. */
int command_option(int argc, char **argv);

/* A whole number that is all of @text, at most @max. 0, or 2 after printing
 * what is wrong with option @name. */
int command_number(const char *command, const char *name, const char *text,
		   unsigned long long max, unsigned long long *ret);

/* What follows "holdfast NAME" in a call, as one line of at most @size bytes. */
void command_synopsis(const char *name, char *ret, size_t size);

#endif
