/* servicing/export.h - a log in one file that any holdfast can replay.
 *
 * The file: struct export_header, then records as in the log (struct
 * log_record, payload padded to 8), each chained over the one before it from
 * the header's check on. Two more types of record:
 *   EXPORT_STATE  a packed world: the first record, and behind each hole
 *   EXPORT_END    the last one; payload: struct export_end
 * Opaque payload is replaced (redact.h); the recorded effects are those that
 * the replaced events lead to, so the file replays without a difference where
 * the log did. The reader believes nothing: lengths, chain, order and end are
 * checked before a record is given. Threads: one per handle. */
#ifndef SERVICING_EXPORT_H
#define SERVICING_EXPORT_H

#include "engine/log.h"
#include "servicing/tape.h"

enum { EXPORT_FORMAT = 1, EXPORT_STATE = 0x100, EXPORT_END = 0x101, EXPORT_WHY = 256 };

/* For ever. */
struct export_header {
	char magic[8];                   /* "HOLDEXPT" */
	uint32_t byte_order;             /* 0x01020304 */
	uint32_t format;
	uint32_t level;                  /* highest in force within the file */
	uint32_t reserved;
	uint64_t schema_hash;            /* of the exporting build */
	char version[32], build[64];     /* of the exporting build */
	uint64_t check;                  /* XXH3-64 of all above */
};
_Static_assert(sizeof(struct export_header) == 136, "on disk");

struct export_end {
	uint64_t events, records;
	uint64_t state_hash;             /* at the end: codec_state_hash() */
	uint64_t redacted;               /* payloads that were replaced */
};

/* Writes the events @from to @to (0, UINT64_MAX: all there are) of @t to
 * @path, which must not exist. Prints what was written, or why not. 0 or -errno. */
int export_write(struct tape *t, const char *path, uint64_t from, uint64_t to);

enum {
	EXPORT_OK = 0,
	EXPORT_E_END = 1,
	EXPORT_E_DAMAGED = 2,            /* export_why() tells */
	EXPORT_E_REFUSED = 3,            /* no export, or one this build cannot read: @why */
};

struct export_reader;

/* 0, EXPORT_E_REFUSED, -errno. @why: EXPORT_WHY bytes. */
int export_reader_open(const char *path, struct export_reader **ret, char *why);
struct export_reader *export_reader_close(struct export_reader *r);   /* returns NULL */

/* Next record: an event, a confirm, or a state. @payload is valid until the
 * next call. EXPORT_OK, E_END, E_DAMAGED. */
int export_next(struct export_reader *r, struct log_record *ret, const uint8_t **ret_payload);
/* What is damaged and where, for people. */
const char *export_why(const struct export_reader *r);
/* The end record; valid behind E_END. */
const struct export_end *export_end(const struct export_reader *r);
uint64_t export_position(const struct export_reader *r);

#endif
