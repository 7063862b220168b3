/* statemachines/scsi_data.h - parameter data that a disk returns.
 *
 * Pure builders (SPC-4 7.8 vital product data, SBC-3 6.5; protocol C.4). Each
 * writes at most SCSI_DATA_MAX bytes and returns how many; the caller cuts
 * them to what the guest allows. */
#ifndef STATEMACHINES_SCSI_DATA_H
#define STATEMACHINES_SCSI_DATA_H

#include "statemachines/scsi_cdb.h"
#include "statemachines/scsi_sense.h"

#include <stddef.h>

enum {
	SCSI_DATA_MAX = 8 + 64 * 8,      /* REPORT LUNS with 64 of them */
	SCSI_UNMAP_DESCRIPTORS = 64,     /* in one list */
	SCSI_UNMAP_LIST = 8 + SCSI_UNMAP_DESCRIPTORS * 16,
	SCSI_UNMAP_BYTES = 1 << 30,      /* most that one descriptor, or WRITE SAME, may name */
};

/* What is told of a disk. */
struct scsi_disk {
	uint64_t blocks;
	uint64_t identity[2];
	uint32_t block_bytes;
	bool read_only;
	bool write_through;    /* the guest has turned off the write cache */
	bool optical, tray_open, locked;
};

/* @d NULL: no such LUN (the answer says so in its first byte). 0: no such page. */
size_t scsi_put_inquiry(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			const struct scsi_disk *d);
size_t scsi_put_capacity(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			 const struct scsi_disk *d);
/* Bit n of @luns: LUN n exists. */
size_t scsi_put_luns(uint8_t p[SCSI_DATA_MAX], uint64_t luns);

enum { SCSI_LUNS_WELL_KNOWN = 1 }; /* SELECT REPORT; there are none */

enum scsi_unmap_error {
	UNMAP_E_LIST = -1,   /* more, or more blocks at a time, than is told in VPD B0 */
	UNMAP_E_RANGE = -2,  /* a range lies behind the disk */
	UNMAP_E_LENGTH = -3, /* shorter than its header */
};

/* Reads an UNMAP parameter list into pairs {first block, count}; empty and
 * incomplete descriptors are left out (SBC-3 5.28.2). Returns the number of pairs,
 * or scsi_unmap_error. */
int scsi_parse_unmap(const uint8_t *p, size_t len, uint64_t blocks, uint32_t block_bytes,
		     uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS]);

#endif
