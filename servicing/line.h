/* servicing/line.h - lines of standard input, edited when it is a terminal.
 *
 * Editing is libedit's, loaded when it is first needed: a paravisor, which is
 * the same program, must not pay for it when it is started. Without the library
 * lines are read plainly. */
#ifndef SERVICING_LINE_H
#define SERVICING_LINE_H

#include <stdbool.h>

struct line_reader {
	bool terminal;
	char *(*edit)(const char *prompt);
	int (*remember)(const char *line);
	char *line;
};

void line_begin(struct line_reader *r);
/* The next line without its end; NULL at the end of input. Valid until the next call. */
const char *line_read(struct line_reader *r, const char *prompt);
void line_end(struct line_reader *r);

#endif
