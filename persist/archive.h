/* persist/archive.h - the history of a lane in LMDB.
 *
 * Held: a header that every version can read for ever; the log's records as
 * they were, in segments; checkpoints; and where the archiver goes on, in the
 * same transaction as what it has written. A record's key is its position in
 * the log, free-running for the life of a partition. A *run* is an unbroken
 * chain of records; after a gap the next run starts at a checkpoint that is
 * marked unverified, because nothing here leads to it.
 *
 * Retention, by size and by age, drops whole oldest segments, but never the
 * first and the current, and none unless a checkpoint behind it was verified by
 * replay. Only a full map drops what was not.
 *
 * LMDB can be led astray by a file that was cut or damaged. What is seen of that is
 * ARCHIVE_E_DAMAGED, and all that the handle gives from then on; but only `archive`,
 * `log` and `replay` open one, never a paravisor. A writer syncs nothing while it works
 * (NOSYNC, no WRITEMAP): a crash of the host may cost the archive, as it costs
 * the machine. One writer (flock), any number of readers.
 *
 * Threads: one thread per handle. */
#ifndef PERSIST_ARCHIVE_H
#define PERSIST_ARCHIVE_H

#include "engine/log.h"
#include "engine/slot.h"

enum { ARCHIVE_FORMAT = 1, ARCHIVE_WHY = 256 };

/* For ever. */
struct archive_header {
	char magic[8];                 /* "HOLDARCH" */
	uint32_t format, level;
	uint64_t schema_hash;
	uint64_t identity;             /* of the partition: UNIX ns at its clock 0 */
	char version[32];              /* of the writer */
	char build[64];
};

struct archive_options {
	const char *version, *build;
	uint64_t schema_hash, identity;
	uint32_t level;
	uint64_t retention;            /* bytes of history kept; 0: ARCHIVE_RETENTION */
	uint64_t age_ns;               /* history older than this goes; 0: no limit */
	uint64_t segment;              /* bytes of a segment; 0: ARCHIVE_SEGMENT */
	uint64_t map;                  /* bytes LMDB may use; 0: twice the retention and more */
};

/* 1 GiB: about an hour of a busy guest; a segment is what a ring holds between
 * two checkpoints. */
#define ARCHIVE_RETENTION (1ull << 30)
#define ARCHIVE_SEGMENT (16ull << 20)

enum {
	ARCHIVE_OK = 0,
	ARCHIVE_E_END = 1,      /* nothing more is stored yet */
	ARCHIVE_E_GAP = 2,      /* the next record does not follow the last one; read on or look
				   for a checkpoint */
	ARCHIVE_E_DAMAGED = 3,  /* the chain does not hold, or the file was cut or damaged */
	ARCHIVE_E_FULL = 4,     /* no room, and nothing left to drop: this writer has ended */
	ARCHIVE_E_REFUSED = 5,  /* another format, another partition, another writer: see why */
	ARCHIVE_E_OTHER = 6,    /* holds the history of another partition */
};

/* Where a writer goes on; all zero in a new archive. */
struct archive_place {
	uint64_t seq;                  /* of the newest event held */
	uint64_t position, chain;      /* behind the newest record */
	uint32_t run, reserved;
};

struct archive;

/* Opens or makes the archive in @dir (made if it is not there). 0, -errno,
 * ARCHIVE_E_REFUSED, ARCHIVE_E_OTHER; @why (ARCHIVE_WHY bytes) says what. */
int archive_open(const char *dir, const struct archive_options *o, struct archive **ret,
		 char *why);
/* Writes what is staged. NULL is allowed; returns NULL. */
struct archive *archive_close(struct archive *a);

const struct archive_place *archive_place(const struct archive *a);

/* Stages one record of the log that begins at @position. What writes: 0, ARCHIVE_E_FULL,
 * ARCHIVE_E_DAMAGED, -errno. */
int archive_append(struct archive *a, uint64_t position, const struct log_record *h,
		   const void *payload);
/* Writes what is staged, and drops what is too old. */
int archive_flush(struct archive *a);
/* Records were lost: what comes next starts a run behind @cut, whose packed
 * state is @bytes. */
int archive_gap(struct archive *a, const struct slot_cut *cut, const uint8_t *bytes, size_t len);
/* @verified: replay from an older checkpoint came to the same state. */
int archive_checkpoint(struct archive *a, const struct slot_cut *cut, const uint8_t *bytes,
		       size_t len, bool verified);
/* Drops what is too old at @now_ns of the partition's clock. Cheap. */
void archive_expire(struct archive *a, uint64_t now_ns);
/* Bytes of records and checkpoints held. */
uint64_t archive_bytes(const struct archive *a);

/* ---- reading -------------------------------------------------------------------- */

struct archive_record {
	uint64_t position;
	struct log_record h;
	const uint8_t *payload;        /* valid until the next call */
	uint32_t run;
};

struct archive_checkpoint {
	struct slot_cut cut;           /* generation: 1 */
	bool unverified;               /* a run starts here, or replay did not come to this */
	const uint8_t *bytes;          /* valid until the next call */
	size_t len;
};

struct archive_reader;

/* 0, -errno, ARCHIVE_E_REFUSED. What reads: ARCHIVE_E_DAMAGED too. */
int archive_reader_open(const char *dir, struct archive_reader **ret, char *why);
struct archive_reader *archive_reader_close(struct archive_reader *r);
const struct archive_header *archive_reader_header(const struct archive_reader *r);

/* Next record will be the first one held whose position is >= @position. */
void archive_seek(struct archive_reader *r, uint64_t position);
/* The same by sequence: the first event held whose sequence is >= @seq. 0, E_END,
 * E_DAMAGED, -errno. */
int archive_seek_seq(struct archive_reader *r, uint64_t seq);
/* ARCHIVE_OK, E_END, E_GAP, E_DAMAGED, or -errno. */
int archive_next(struct archive_reader *r, struct archive_record *ret);
/* Tells the reader which chain value the next record builds upon. */
void archive_expect(struct archive_reader *r, const struct slot_cut *cut);

/* First checkpoint whose cut lies at or behind log position @position: 0 or E_END. */
int archive_checkpoint_from(struct archive_reader *r, uint64_t position,
			    struct archive_checkpoint *ret);
/* Newest one whose sequence is at most @seq: 0 or E_END. */
int archive_checkpoint_before(struct archive_reader *r, uint64_t seq,
			      struct archive_checkpoint *ret);

#endif
