/* tests/soft/arguments.h - what softload was asked to do. */
#ifndef TESTS_SOFT_ARGUMENTS_H
#define TESTS_SOFT_ARGUMENTS_H

#include "tests/soft/single.h"
#include "tests/soft/workload.h"

#include <stdio.h>

enum mode {
	MODE_LOAD,
	MODE_BENCH,
	MODE_IDLE,
	MODE_ONE_READ,
	MODE_ONE_WRITE,
	MODE_ONE_MESSAGE,
	MODE_IC,
};

struct arguments {
	enum mode mode;
	const char *mode_name, *report;
	uint32_t controller, controllers, channels, ring_bytes, patience_s;
	uint32_t reset_ms; /* 0: never */
	bool serial;
	bool open_message; /* one-message: OPENCHANNEL, in place of `message` */
	enum single_message message;
	struct workload_options load;
};

/* Fills in the defaults of the mode, then what argv says; argv[0] may be the
 * program's name or the mode. -EINVAL: told on stderr. */
int arguments_parse(int argc, char **argv, struct arguments *ret_arguments);
void arguments_usage(FILE *file);

#endif
