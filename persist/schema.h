/* persist/schema.h - all tables as text: what other builds can rely on.
 *
 * One line a thing, in a fixed order (effects by code, machines by kind,
 * records by name), words separated by one blank:
 *   level N
 *   record NAME SIZE TAIL            word RECORD OFFSET TYPE NAME
 *   effect CODE NAME SINCE FOLLOW RECORD
 *   machine KIND NAME CAPACITY
 *   state M CODE NAME SINCE POLICY   event M CODE NAME SINCE ORIGIN RECORD
 *   field M ID NAME SINCE TYPE ABSENT    retired M ID
 *   row M SINCE FROM EVENT GUARD ACTION TO
 * Texts for people (doc) are left out: they may change freely. A golden file
 * of each published level stays in the tree and is never made again. */
#ifndef PERSIST_SCHEMA_H
#define PERSIST_SCHEMA_H

#include "engine/world.h"

#include <stdio.h>

/* Writes the text to @out. Returns 0 or -errno of the stream. */
int schema_text(const struct registry *r, FILE *out);

/* XXH3-64 of the text. */
uint64_t schema_hash(const struct registry *r);

/* The same for tables that never change, computed once for the first four
 * registries that are asked for. Any thread. */
uint64_t schema_hash_once(const struct registry *r);

/* Compares a published text with the present tables. What the golden text
 * holds must still be there, unchanged, in the same order; a field may have
 * become `retired`; all else that is new must have a level above the golden
 * one, or be appended to a record. 0; or SCHEMA_E_BROKEN, and @why (256 bytes)
 * says which rule and where. */
enum { SCHEMA_E_BROKEN = 1, SCHEMA_WHY = 256 };
int schema_check(const char *golden, const struct registry *r, char *why);

#endif
