/* statemachines/scsi_cdb.h - what a command descriptor block asks for.
 *
 * Pure function (SPC-4, SBC-3, MMC-6, command by command; protocol C.4). */
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
	SCSI_MODE_SELECT,
	SCSI_PREVENT,
	SCSI_GET_EVENT,
	SCSI_GET_CONFIGURATION,
	SCSI_READ_TOC,
	SCSI_READ_DISC_INFORMATION,
	SCSI_MECHANISM_STATUS,
};

struct scsi_command {
	enum scsi_command_kind kind;
	uint64_t lba;
	uint64_t count;        /* blocks */
	uint32_t allocation;   /* bytes of parameters at most; UNMAP, MODE SELECT: of its list */
	uint8_t page;          /* INQUIRY, MODE SENSE; REPORT LUNS: SELECT REPORT */
	bool evpd;             /* INQUIRY of a page */
	bool fua;              /* READ, WRITE */
	bool no_data;          /* WRITE SAME */
	uint8_t control;       /* MODE SENSE: page control, 0 current, 1 changeable, 2 default */
	bool no_descriptor;    /* MODE SENSE: DBD */
	bool descriptor;       /* REQUEST SENSE: DESC */
	bool start, eject;     /* START STOP UNIT: START, LOEJ */
	bool prevent;          /* PREVENT ALLOW MEDIUM REMOVAL */
	bool msf;              /* READ TOC: addresses as minute, second, frame */
	uint8_t format;        /* READ TOC: its format; GET CONFIGURATION: RT */
	uint16_t feature;      /* GET CONFIGURATION: first one */
	bool lba_with_count;   /* the range is to be checked against the disk */
};

enum scsi_cdb_error {
	SCSI_E_OPCODE = 1,  /* 05/20/00 */
	SCSI_E_FIELD = 2,   /* 05/24/00 */
};

/* @cdb has 16 bytes, @len of them are the guest's. 0, or scsi_cdb_error. */
int scsi_cdb_parse(const uint8_t cdb[16], unsigned len, struct scsi_command *ret);

#endif
