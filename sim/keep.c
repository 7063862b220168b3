/* The log of a run, kept for `holdfast replay`: an archive, written from
 * outside the simulated machine, so that a run is the same with and without.
 *
 * Invariant: nothing is lost as long as keep_run() is called before the ring
 * has gone round; if it has, a new run of the archive begins at a checkpoint. */
#include "sim/keep.h"

#include "engine/fact.h"
#include "engine/slot.h"
#include "persist/archive.h"
#include "persist/schema.h"
#include "sim/programs.h"
#include "sim/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct {
	struct custody *c;
	struct archive *archive;
	struct log_reader reader;
	uint64_t checkpoint;
	uint8_t scratch[LOG_SCRATCH], state[LIMIT_SLOT_BYTES];
} keep;

static void place_reader(void)
{
	const struct archive_place *at = archive_place(keep.archive);

	log_reader_init(&keep.reader, &keep.c->lane_words[0], keep.c->lane_ring, at->position,
			at->chain, keep.scratch);
}

void keep_start(struct custody *c)
{
	const struct registry *r = program_tables(PROGRAM_B)->registry;
	struct archive_options o = { .version = "sim", .build = "sim", .identity = c->h->wall_ns,
				     .schema_hash = schema_hash(r), .level = r->max_level };
	char path[4096], why[ARCHIVE_WHY] = "";
	struct fiber *f = kernel.current;
	int error;

	if (!options.state_dir)
		return;
	kernel.current = NULL;
	keep.c = c;
	mkdir(options.state_dir, 0700);
	snprintf(path, sizeof(path), "%s/archive", options.state_dir);
	error = archive_open(path, &o, &keep.archive, why);
	if (error)
		run_failed("--state %s: %s", options.state_dir, why);
	place_reader();
	kernel.current = f;
}

static void begin_again(void)
{
	struct slot_cut cut;
	size_t len;

	if (slot_copy(keep.c, false, keep.state, &len, &cut))
		return;
	fact(archive_gap(keep.archive, &cut, keep.state, len) == 0);
	keep.checkpoint = cut.generation;
	place_reader();
}

static void take_checkpoint(void)
{
	struct slot_cut cut;
	size_t len;

	if (slot_copy(keep.c, false, keep.state, &len, &cut) ||
	    cut.generation == keep.checkpoint ||
	    cut.position > archive_place(keep.archive)->position)
		return;
	fact(archive_checkpoint(keep.archive, &cut, keep.state, len, false) == 0);
	keep.checkpoint = cut.generation;
}

void keep_run(void)
{
	struct log_record h;
	const uint8_t *payload;
	enum log_result got;

	if (!keep.archive)
		return;
	while ((got = log_read(&keep.reader, &h, &payload)) == LOG_OK)
		fact(archive_append(keep.archive, keep.reader.position - log_cost(h.len), &h,
				    payload) == 0);
	if (got != LOG_E_END)
		begin_again();
	take_checkpoint();
}

void keep_end(void)
{
	struct fiber *f = kernel.current;

	kernel.current = NULL;
	keep_run();
	if (keep.archive)
		archive_flush(keep.archive);
	keep.archive = archive_close(keep.archive);
	kernel.current = f;
}
