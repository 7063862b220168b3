/* engine/sm_tools.h - what people and CI get from the tables. */
#ifndef ENGINE_SM_TOOLS_H
#define ENGINE_SM_TOOLS_H

#include "engine/world.h"

#include <stdio.h>

/* Checks one machine; writes a sentence per defect; returns how many. */
unsigned sm_lint(const struct sm_desc *d, FILE *out);

/* Graphviz picture of one machine. */
void sm_dot(const struct sm_desc *d, FILE *out);

/* Markdown page: sentence, picture (as text source), states, events, fields, rows. */
void sm_page(const struct sm_desc *d, FILE *out);

const char *sm_origin_name(enum sm_origin o);
const char *sm_policy_name(enum sm_policy p);
const char *sm_type_name(enum sm_type t);

#endif
