/* servicing/archive_status.h - what the archiver tells about itself.
 *
 * LMDB can crash who opens a damaged file, so `inspect` opens none: the archiver
 * keeps one page of text beside the archive, DIR/archive.status, written in
 * place (its room is taken when it is made). Whether the archiver lives is told
 * by its lock on DIR/archive/writer. */
#ifndef SERVICING_ARCHIVE_STATUS_H
#define SERVICING_ARCHIVE_STATUS_H

#include "engine/custody.h"

#include <cjson/cJSON.h>

struct archive_status {
	const char *state;          /* "running", "ended", "full", "failed" */
	uint64_t seq, position;     /* history reaches to here */
	uint64_t bytes, gaps, verified, unverified;
	const char *why;            /* of "failed" */
};

/* Opens DIR/archive.status for writing; a descriptor, or -errno. */
int archive_status_open(const char *dir);
/* -1 as @fd is allowed. */
void archive_status_write(int fd, const struct archive_status *s);

/* Adds object "archive" to @tree, if there ever was an archiver in @dir; a state
 * "running" that nobody holds the lock for is shown as "died". */
void archive_status_show(cJSON *tree, const char *dir, const struct custody *c);

#endif
