/* engine/coverage.h - which answers of the tables were taken, counted where they
 * are taken.
 *
 * Only in a build with -Dcoverage=true; elsewhere a step costs nothing more. The
 * counters lie in the file that the environment variable HOLDFAST_COVERAGE names,
 * mapped shared before main(), so that processes that are killed have counted too,
 * and processes that may open nothing later still count. Without the variable
 * nothing is counted. tests/coverage/ prints the file.
 *
 * With HOLDFAST_COVERAGE_LINES the counters of lines (of a build with
 * -Db_coverage=true) are written each second, too.
 *
 * Threads and processes: any number; every counter is atomic. */
#ifndef ENGINE_COVERAGE_H
#define ENGINE_COVERAGE_H

#include "engine/limits.h"
#include "engine/world.h"

#include <stdatomic.h>

#ifndef HOLDFAST_COVERAGE
#define HOLDFAST_COVERAGE 0
#endif

enum {
	COVERAGE_MACHINES = 1024, /* in one file: variants, and the toys of tests */
	COVERAGE_ROWS = 1024,     /* of one machine */
};

/* The counters of one machine's table. On disk; a file belongs to one tree. */
struct coverage {
	_Atomic uint64_t table;   /* coverage_table(); 0: nobody uses this place */
	_Atomic uint64_t row[COVERAGE_ROWS];
	/* By place in the table; where no row was taken. */
	_Atomic uint64_t otherwise[LIMIT_STATES][LIMIT_EVENTS];
};

#if HOLDFAST_COVERAGE
/* Hash of the names in the table: what a place in it means. */
uint64_t coverage_table(const struct sm_desc *d);
/* One step of @cx->desc in the state at @state: @row, or NULL. */
void coverage_step(const struct sm_cx *cx, unsigned state, const struct sm_row *row);
#else
static inline void coverage_step(const struct sm_cx *cx, unsigned state, const struct sm_row *row)
{
	(void)cx;
	(void)state;
	(void)row;
}
#endif

#endif
