/* tests/bench/recording.h - a stretch of a real VM's log, to be run again.
 *
 * A packed checkpoint and every batch behind it: what the machines were given,
 * in which portions, and which effects they asked for. Taken from the custody of
 * a running VM, kept in a file, read back whole. */
#ifndef TESTS_BENCH_RECORDING_H
#define TESTS_BENCH_RECORDING_H

#include "engine/custody.h"
#include "engine/slot.h"
#include "engine/world.h"

struct recorded {
	struct log_record head;
	const uint8_t *payload;      /* into `bytes` */
	const uint8_t *effects;      /* of its confirm record: canonical bytes */
	uint32_t effects_len;
	uint32_t batch;              /* of the first event of a batch: how many; else 0 */
};

struct recording {
	uint8_t *slot;               /* packed checkpoint */
	size_t slot_len;
	uint8_t *bytes;              /* records behind it, header and payload, unpadded */
	size_t len;
	struct recorded *event;
	size_t n, batches;
	uint64_t record_bytes;       /* of all records as they lie in a ring */
	size_t records;
};

/* Writes the older checkpoint of the VM in @state and the log behind it to
 * @path. 0, or 1 after one line on stderr. */
int recording_take(const char *state, const char *path);
/* Reads it back. 0, or 1 after one line on stderr. */
int recording_load(const char *path, struct recording *ret);
void recording_free(struct recording *r);

/* Puts the checkpoint into @w. Exits when it cannot. */
void recording_begin(const struct recording *r, struct world *w);

#endif
