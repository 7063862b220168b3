/* servicing/show.h - machines and their differences as lines of text. */
#ifndef SERVICING_SHOW_H
#define SERVICING_SHOW_H

#include "engine/world.h"
#include "servicing/expr.h"

#include <stdio.h>

enum { SHOW_VALUE = 160 };

/* A field's value into @ret (SHOW_VALUE): states by name, blobs by length and
 * first bytes, arrays of one element by that, large numbers in hex. @self lives. */
const char *show_value(const struct world *w, const struct sm_field *f, const void *self,
		       unsigned element, char *ret);
/* The same for a path of one instance; "nobody lives there". */
const char *show_path(const struct world *w, const struct expr_path *p, char *ret);
/* "channel[3].in_position" into @ret (80 bytes). */
const char *show_path_name(const struct expr_path *p, char *ret);

/* "channel[3] state=OPEN generation=1 relid=3 ...": one line. */
void show_instance(const struct world *w, const struct sm_desc *d, uint16_t index, FILE *out);
/* Every live instance of @d, or of all machines (NULL). Returns how many. */
unsigned show_all(const struct world *w, const struct sm_desc *d, FILE *out);

/* One line for each machine.field in which the worlds differ; returns how many. */
unsigned show_difference(const struct world *a, const struct world *b, FILE *out);

#endif
