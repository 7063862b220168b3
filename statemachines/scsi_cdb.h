/* statemachines/scsi_cdb.h - what a command descriptor block asks for.
 *
 * Pure function (SPC-4 and SBC-3, command by command; protocol C.4). */
#ifndef STATEMACHINES_SCSI_CDB_H
#define STATEMACHINES_SCSI_CDB_H

#include <stdbool.h>
#include <stdint.h>

enum scsi_command_kind {
	SCSI_TEST_UNIT_READY,
	SCSI_REQUEST_SENSE,
	SCSI_INQUIRY,
	SCSI_MODE_SENSE_6,
	SCSI_MODE_SENSE_10,
	SCSI_START_STOP,
	SCSI_READ_CAPACITY_10,
	SCSI_READ_CAPACITY_16,
	SCSI_READ,
	SCSI_WRITE,
	SCSI_VERIFY,
	SCSI_SYNCHRONIZE,
	SCSI_UNMAP,
	SCSI_WRITE_SAME,
	SCSI_REPORT_LUNS,
};

struct scsi_command {
	enum scsi_command_kind kind;
	uint64_t lba;
	uint64_t count;        /* blocks */
	uint32_t allocation;   /* bytes of parameters at most; UNMAP: of its list */
	uint8_t page;          /* INQUIRY, MODE SENSE */
	bool evpd;             /* INQUIRY of a page */
	bool fua;              /* READ, WRITE */
	bool unmap, no_data;   /* WRITE SAME */
	bool compare;          /* VERIFY with data: not supported */
	bool lba_with_count;   /* the range is to be checked against the disk */
};

enum scsi_cdb_error {
	SCSI_E_OPCODE = 1,  /* 05/20/00 */
	SCSI_E_FIELD = 2,   /* 05/24/00 */
};

/* @cdb has 16 bytes, @len of them are the guest's. 0, or scsi_cdb_error. */
int scsi_cdb_parse(const uint8_t cdb[16], unsigned len, struct scsi_command *ret);

#endif
