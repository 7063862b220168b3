/* servicing/page.h - a log as one page for a browser.
 *
 * The page needs nothing but itself: a lane per machine, its states as bars
 * over time, messages as arrows, outside events as dots, take-overs as lines
 * across all lanes. What exceeds its bounds (limits.h) is left out evenly, the
 * shortest bars first, and the page says how much. */
#ifndef SERVICING_PAGE_H
#define SERVICING_PAGE_H

#include "servicing/tape.h"

/* Writes events @from to @to of @t to @path, which is replaced when it is
 * there. Prints what was written, or why not. 0 or -errno. */
int page_write(struct tape *t, const char *path, uint64_t from, uint64_t to);

/* The page around its data; made from page.html when the program is built. */
extern const char page_head[], page_tail[];

#endif
