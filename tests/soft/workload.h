/* tests/soft/workload.h - load on one disk: every channel keeps `depth`
 * requests in flight, each completion issues the next request.
 *
 * With `stamped`, each block says what it is (tests/guest/stamp.h) and each read
 * is checked against what was written there last; without, only figures are
 * taken. Blocks are dealt out to channels, and a block has one request at a
 * time, so what it must hold is always known. */
#ifndef TESTS_SOFT_WORKLOAD_H
#define TESTS_SOFT_WORKLOAD_H

#include "tests/soft/guestscsi.h"
#include "tests/soft/tally.h"

enum workload_mix { WORKLOAD_RW = 0, WORKLOAD_READ = 1, WORKLOAD_WRITE = 2 };

struct workload_options {
	bool stamped, read_back;
	enum workload_mix mix;
	uint8_t lun;
	uint32_t depth, block_bytes, offset; /* offset: of the data in its first page */
	uint32_t seconds;		     /* 0: `ops` ends it */
	uint64_t ops;			     /* 0: `seconds` ends it */
	const char *until;		     /* so does a file of that name; NULL: none */
	uint64_t region;		     /* bytes from the disk's start */
	uint32_t flush_every;		     /* requests of a channel; 0 never */
	uint32_t lost_s;		     /* a request older than this is lost */
	uint32_t churn_ms;		     /* a channel message that often; 0 never */
	uint32_t poison_ms;		     /* an unknown command on the last channel; 0 never */
	const char *poison_from;	     /* counted from when that file is there; NULL: from the start */
	uint32_t poisons;		     /* on so many channels, the last ones */
	uint32_t poison_how;		     /* its second byte: what a sabotaged server does */
	bool spoil;			     /* instead: an index outside the ring */
};

struct workload_result {
	uint64_t run, blocks;
	uint64_t reads, writes, flushes, bytes, again;
	uint64_t verified, mismatches, failed, lost, late; /* late: lost ones that came after all */
	uint64_t churned;
	uint64_t poisoned, refused, rescinded; /* commands sent, answered by an error; channels */
	uint64_t load_ns, gap_channel_ns;
	bool stalled; /* nothing completed for `lost_s`, and the load was given up */
	struct tally_histogram latency;
	struct tally_gaps gaps;
};

struct workload;

/* Memory and requests on all channels. -EINVAL: the region is too small for
 * depth and channels; told on stderr. */
int workload_make(struct guestscsi *scsi, const struct guestscsi_disk *disk,
		  const struct workload_options *options, struct workload **ret_workload);

/* Fill (if only reads are wanted), load, read back, flush. 0 or an error of the
 * bus; findings are in the result, which belongs to the workload. */
int workload_run(struct workload *workload);
/* Ends the load early, as if its time were over. Any thread. */
void workload_stop(struct workload *workload);
const struct workload_result *workload_result(const struct workload *workload);

/* Writes what each block must hold, for softchk (struct generations_head and
 * one uint32_t a block). */
int workload_save(const struct workload *workload, const char *path);

#define GENERATIONS_MAGIC UINT64_C(0x534e454754464f53) /* "SOFTGENS" */
#define GENERATION_UNKNOWN UINT32_MAX		       /* a write failed: not to be checked */
struct generations_head {
	uint64_t magic, run, blocks;
	uint32_t block_bytes, reserved;
};

#endif
