/* engine/rec.h - typed payloads of events and effects.
 *
 * A record is a fixed little-endian struct, made from the field list in
 * statemachines/records.def, optionally followed by a tail of bytes. The
 * struct is laid out so that it has no padding (checked when compiled), hence
 * its bytes are canonical: they are what the log holds, what a confirm record
 * carries, what a follower compares. Records are on disk: fields are appended
 * to the end with a `since` level, never moved. */
#ifndef ENGINE_REC_H
#define ENGINE_REC_H

#include <stddef.h>
#include <stdint.h>

enum rec_type { REC_U8, REC_U16, REC_U32, REC_U64 };

/* What follows the fixed part. */
enum rec_tail {
	REC_NO_TAIL,
	REC_BYTES,     /* bytes a guard or action may read */
	REC_OPAQUE,    /* payload that no guard or action may read */
	REC_U64S,      /* a list of 64-bit words: PFNs, guest addresses */
};

struct rec_field {
	const char *name;
	const char *doc;
	uint16_t offset;
	uint16_t count;        /* > 1: an array */
	enum rec_type type;
};

struct rec_desc {
	const char *name;
	uint16_t size;         /* of the fixed part */
	uint16_t n_fields;
	enum rec_tail tail;
	const struct rec_field *fields;
};

/* Value of element @index of field @f in the record at @bytes. */
uint64_t rec_value(const struct rec_field *f, const void *bytes, unsigned index);

/* First field in which @a and @b differ, NULL when the fixed parts are equal. */
const struct rec_field *rec_difference(const struct rec_desc *d, const void *a, const void *b);

#endif
