/* servicing/decode.h - records and machines with the names of their tables. */
#ifndef SERVICING_DECODE_H
#define SERVICING_DECODE_H

#include "engine/log.h"
#include "engine/world.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* "channel[3]" into @ret (32 bytes); an unknown kind by its number. */
const char *decode_machine(const struct registry *r, unsigned kind, unsigned index, char *ret);

/* A number with all its digits, which cJSON's own numbers would lose. */
void decode_number(cJSON *to, const char *name, uint64_t v);

/* One object per record: an event with its fields, a confirm with its effects.
 * The caller deletes it. NULL: no memory. */
cJSON *decode_record(const struct registry *r, const struct log_record *h, const uint8_t *payload);

/* The same as text, one line, for a confirm one more per effect. */
void decode_print(const struct registry *r, const struct log_record *h, const uint8_t *payload,
		  FILE *out);

/* Effects as canonical bytes, a line each. */
void decode_print_effects(const struct registry *r, uint64_t seq, const uint8_t *bytes,
			  uint32_t len, FILE *out);

/* Is the record about this machine ("channel", "channel[3]")? A confirm is,
 * when the machine asked for one of its effects. */
bool decode_about(const struct registry *r, const struct log_record *h, const uint8_t *payload,
		  const char *machine);

/* State, generation and fields of a live instance. The caller deletes it. */
cJSON *decode_instance(const struct world *w, const struct sm_desc *d, uint16_t index);

#endif
