/* tests/soft/single.h - exactly one operation between two touches of a port, so
 * that whoever records the run finds the window. */
#ifndef TESTS_SOFT_SINGLE_H
#define TESTS_SOFT_SINGLE_H

#include "tests/soft/guestscsi.h"

enum { SINGLE_PORT = 0x500, SINGLE_BEGIN = 1, SINGLE_END = 2 }; /* OUT, 4 bytes */

enum single_message { SINGLE_MODIFY, SINGLE_GPADL, SINGLE_TEARDOWN };

struct single_result {
	uint64_t mismatches, latency_ns;
};

/* 4 KiB of `lun` at `byte`. A write is read back and compared afterwards; a read
 * is of what was written there before. */
int single_transfer(struct guestscsi *scsi, const struct guestscsi_disk *disk, uint8_t lun,
		    uint64_t byte, bool write, struct single_result *ret_result);

/* One channel message and its answer, on the primary channel: a new interrupt
 * target, a GPADL made, or a GPADL torn down. */
int single_message(struct guestscsi *scsi, enum single_message message,
		   struct single_result *ret_result);

/* OPENCHANNEL of the n-th controller, which is left open for guestscsi_open(). */
int single_open(struct guestbus *bus, uint32_t controller, uint32_t ring_bytes,
		struct single_result *ret_result);

#endif
