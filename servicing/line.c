/* Lines from a person (libedit's readline interface) or from a pipe. */
#include "servicing/line.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char *const libraries[] = { "libedit.so.2", "libedit.so.0" };

/* dlsym's object pointer as the function it is (POSIX, dlsym(), RATIONALE). */
static bool find(void *library, const char *name, void *ret, size_t size)
{
	void *p = dlsym(library, name);

	memcpy(ret, &p, size);
	return p != NULL;
}

void line_begin(struct line_reader *r)
{
	*r = (struct line_reader){ .terminal = isatty(STDIN_FILENO) == 1 };
	for (unsigned i = 0; r->terminal && !r->edit && i < 2; i++) {
		void *library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);

		if (library && !(find(library, "readline", &r->edit, sizeof(r->edit)) &&
				 find(library, "add_history", &r->remember, sizeof(r->remember))))
			r->edit = NULL;
	}
}

static char *read_plainly(struct line_reader *r, const char *prompt)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (r->terminal) {
		printf("%s", prompt);
		fflush(stdout);
	}
	n = getline(&line, &room, stdin);
	if (n < 0) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\r\n")] = '\0';
	if (!r->terminal)
		printf("%s%s\n", prompt, line);
	return line;
}

const char *line_read(struct line_reader *r, const char *prompt)
{
	free(r->line);
	fflush(stdout);
	r->line = r->edit ? r->edit(prompt) : read_plainly(r, prompt);
	if (r->line && r->edit && r->line[0])
		r->remember(r->line);
	return r->line;
}

void line_end(struct line_reader *r)
{
	free(r->line);
	r->line = NULL;
}
