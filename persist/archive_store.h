/* persist/archive_store.h - what lies in the LMDB file; of the archive only.
 *
 *   "meta"         "header" -> struct archive_header, "place" -> struct archive_place
 *   "segments"     number -> struct store_segment
 *   "checkpoints"  log position of the cut -> struct store_checkpoint, packed state
 *   "s<number>"    log position of the first record -> chunk: entries one behind another
 * Numbers are native 64-bit words (MDB_INTEGERKEY). */
#ifndef PERSIST_ARCHIVE_STORE_H
#define PERSIST_ARCHIVE_STORE_H

#include "persist/archive.h"

#include <lmdb.h>

enum {
	STORE_DBS = 16,              /* named databases open at a time */
	STORE_READERS = 32,
	STORE_CHUNK = 256 << 10,     /* a chunk is written when it has this size */
	STORE_BUFFER = 1 << 20,      /* and never exceeds this: a record has at most LOG_SCRATCH */
};

#define STORE_MAGIC "HOLDARCH"

struct store_segment {
	uint64_t first_position, end_position;
	uint64_t first_seq, last_seq;    /* of events */
	uint64_t chain_before;           /* of its first record */
	uint64_t bytes;
	uint32_t run;
	uint32_t end_s;                  /* partition's clock at its last record; 0: not known */
};

struct store_checkpoint {
	uint64_t seq, chain;
	uint32_t run, unverified;
};

struct store_entry {
	uint64_t position;
	struct log_record h;             /* payload follows, padded to 8 */
};
_Static_assert(sizeof(struct store_entry) == 64, "on disk");

void store_segment_name(uint64_t number, char ret[24]);

/* liblmdb believes its file and reads it through a mapping: one that was cut or
 * damaged may lead it anywhere. store_guarded() runs @fn and gives what that gives,
 * or STORE_FAULT, a number that neither errno nor liblmdb has: then what belongs to
 * the environment may not be touched again, not even to close it. The environment is
 * made by store_env_create(). Not to be nested; one thread of a process at a time. */
enum { STORE_FAULT = -20000 };
typedef int store_fn(void *user);
int store_guarded(store_fn *fn, void *user);
int store_env_create(MDB_env **ret);

/* The error of LMDB as ours: LMDB's own numbers become -EIO, with text. */
int store_error(int rc, const char *what, char *why);

static inline MDB_val store_val(const void *p, size_t len)
{
	return (MDB_val){ .mv_size = len, .mv_data = (void *)(uintptr_t)p };
}

/* Checks magic and format; ARCHIVE_E_REFUSED with a sentence. */
int store_header_check(const MDB_val *v, struct archive_header *ret, char *why);

/* Chain value before the record at @position when the one before ended at
 * @end: a gap is a pad of the ring, which is chained too. */
uint64_t store_chain_before(uint64_t position, uint64_t end, uint64_t chain, uint8_t lane);

#endif
