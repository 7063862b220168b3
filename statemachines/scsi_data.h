/* statemachines/scsi_data.h - parameter data that a disk returns, and sense.
 *
 * Pure builders (SPC-4 7.8 vital product data, SBC-3 6.5; protocol C.4). Each
 * writes at most SCSI_DATA_MAX bytes and returns how many; the caller cuts
 * them to what the guest allows. */
#ifndef STATEMACHINES_SCSI_DATA_H
#define STATEMACHINES_SCSI_DATA_H

#include "statemachines/scsi_cdb.h"

#include <stddef.h>

enum {
	SCSI_DATA_MAX = 8 + 64 * 8,      /* REPORT LUNS with 64 of them */
	SCSI_SENSE_BYTES = 18,
	SCSI_UNMAP_DESCRIPTORS = 64,     /* in one list */
	SCSI_UNMAP_LIST = 8 + SCSI_UNMAP_DESCRIPTORS * 16,
	SCSI_UNMAP_BYTES = 1 << 30,      /* most that one descriptor, or WRITE SAME, may name */
};

/* Sense key, additional sense code and qualifier in one word. */
#define SCSI_SENSE(key, asc, ascq) ((uint32_t)(key) << 16 | (uint32_t)(asc) << 8 | (uint32_t)(ascq))
#define SENSE_READ_ERROR SCSI_SENSE(0x03, 0x11, 0x00)
#define SENSE_WRITE_ERROR SCSI_SENSE(0x03, 0x0c, 0x00)
#define SENSE_OPCODE SCSI_SENSE(0x05, 0x20, 0x00)
#define SENSE_RANGE SCSI_SENSE(0x05, 0x21, 0x00)
#define SENSE_FIELD SCSI_SENSE(0x05, 0x24, 0x00)
#define SENSE_NO_LUN SCSI_SENSE(0x05, 0x25, 0x00)
#define SENSE_LIST SCSI_SENSE(0x05, 0x26, 0x00)
#define SENSE_RESET SCSI_SENSE(0x06, 0x29, 0x00)
#define SENSE_CAPACITY SCSI_SENSE(0x06, 0x2a, 0x09)
#define SENSE_WRITE_PROTECTED SCSI_SENSE(0x07, 0x27, 0x00)
#define SENSE_NO_SPACE SCSI_SENSE(0x07, 0x27, 0x07)

/* What is told of a disk. */
struct scsi_disk {
	uint64_t blocks;
	uint64_t identity[2];
	uint32_t block_bytes;
	bool read_only;
};

/* Fixed format, SPC-4 4.5.3. @sense 0: "no sense". */
void scsi_put_sense(uint8_t p[SCSI_SENSE_BYTES], uint32_t sense);

/* @d NULL: no such LUN (the answer says so in its first byte). 0: no such page. */
size_t scsi_put_inquiry(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			const struct scsi_disk *d);
size_t scsi_put_capacity(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			 const struct scsi_disk *d);
/* 0: no such page. */
size_t scsi_put_mode(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		     const struct scsi_disk *d);
/* Bit n of @luns: LUN n exists. */
size_t scsi_put_luns(uint8_t p[SCSI_DATA_MAX], uint64_t luns);

/* Reads an UNMAP parameter list into pairs {first block, count}; empty
 * descriptors are left out. Returns the number of pairs, or -1: the list does
 * not hold together, -2: a range lies behind the disk. */
int scsi_parse_unmap(const uint8_t *p, size_t len, uint64_t blocks, uint32_t block_bytes,
		     uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS]);

#endif
