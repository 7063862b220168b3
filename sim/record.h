/* sim/record.h - what is told of a run. */
#ifndef SIM_RECORD_H
#define SIM_RECORD_H

#include "sim/run.h"

/* One line to standard output: figures, or why it failed and how to run it again. */
void record_tell(const struct run_options *o, const struct run_result *r, bool json);
/* Appends one line of JSON to @path; NULL: nowhere. 0, or 1 after telling why not. */
int record_add(const char *path, const struct run_options *o, const struct run_result *r);

#endif
