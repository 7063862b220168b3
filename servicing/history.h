/* servicing/history.h - all records that are still to be had, in one stream.
 *
 * First those of the archive, where there is one, then those of the running
 * VM's ring, joined by position and chain; or those of an exported file.
 * Private to one thread. */
#ifndef SERVICING_HISTORY_H
#define SERVICING_HISTORY_H

#include "engine/custody.h"
#include "persist/archive.h"

struct export_reader;

struct history {
	struct archive_reader *archive;  /* NULL: none, or all of it was read */
	struct export_reader *file;      /* then neither archive nor VM */
	struct custody live;
	bool attached;                   /* to a running VM */
	bool in_ring;
	struct log_reader ring;
	uint64_t position, chain;        /* behind the last record */
	uint8_t *scratch, *state;
	struct slot_cut cut;             /* file: of the state that was met */
	size_t state_len;                /* file: it waits for history_resume(); 0: none */
};

struct history_record {
	struct log_record h;
	const uint8_t *payload;          /* valid until the next call */
	uint64_t position;
};

enum {
	HISTORY_OK = 0,
	HISTORY_E_END = 1,
	HISTORY_E_GAP = 2,     /* records are missing: history_resume() */
	HISTORY_E_DAMAGED = 3, /* what is there does not hold together */
};

/* State to go on from behind a gap. */
struct history_state {
	struct slot_cut cut;
	const uint8_t *bytes;            /* packed; valid until the next call. NULL: the
					    empty world, at the very beginning */
	size_t len;
};

/* @path: a state directory, an archive, or an exported file. Prints why not. 0 or
 * -errno. */
int history_open(const char *path, struct history *ret);
void history_close(struct history *h);

/* Places the stream at the oldest state from which records follow without a
 * hole. HISTORY_OK, E_END (there is nothing), -errno. */
int history_begin(struct history *h, struct history_state *ret);
/* Behind a gap: the next state from which records follow. */
int history_resume(struct history *h, struct history_state *ret);
/* Next record; HISTORY_*, -errno. */
int history_next(struct history *h, struct history_record *ret);

/* Behind HISTORY_E_DAMAGED: what does not hold together, for people. */
const char *history_why(const struct history *h);

/* Behind HISTORY_E_END of an exported file: the hash of the state it ended with. */
bool history_end_hash(const struct history *h, uint64_t *ret);

/* The archived checkpoint whose cut is the place the stream has come to:
 * HISTORY_OK, or E_END when there is none exactly here. */
int history_checkpoint_here(struct history *h, struct history_state *ret);
/* @rec tells of a checkpoint that the archive holds as another one. */
bool history_contradicts(struct history *h, const struct history_record *rec);
/* Log position of the next archived checkpoint from the present place on. */
uint64_t history_next_checkpoint(struct history *h);

#endif
