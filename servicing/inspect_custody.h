/* servicing/inspect_custody.h - custody, for people. */
#ifndef SERVICING_INSPECT_CUSTODY_H
#define SERVICING_INSPECT_CUSTODY_H

#include "engine/custody.h"

#include <cjson/cJSON.h>

/* Adds to @tree an object for each part of custody that tells something. */
void inspect_custody(cJSON *tree, const struct custody *c);

#endif
