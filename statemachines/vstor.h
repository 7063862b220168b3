/* statemachines/vstor.h - the 64-byte packet of a storage channel (protocol C.1;
 * drivers/scsi/storvsc_drv.c, struct vstor_packet and vmscsi_request). */
#ifndef STATEMACHINES_VSTOR_H
#define STATEMACHINES_VSTOR_H

#include "statemachines/bytes.h"

enum {
	VSTOR_BYTES = 64,
	VSTOR_SRB_BYTES = 52,        /* vmscsi_request.length */
	VSTOR_CDB_MAX = 16,
	VSTOR_SENSE_MAX = 20,
	VSTOR_TRANSFER = 0x80000,    /* max_transfer_bytes: 512 KiB, 129 pages, half of LIMIT_TRANSFER */
};

enum vstor_op {
	VSTOR_COMPLETE_IO = 1,
	VSTOR_EXECUTE_SRB = 3,
	VSTOR_RESET_LUN = 4,
	VSTOR_RESET_ADAPTER = 5,
	VSTOR_RESET_BUS = 6,
	VSTOR_BEGIN = 7,
	VSTOR_END = 8,
	VSTOR_QUERY_VERSION = 9,
	VSTOR_QUERY_PROPERTIES = 10,
	VSTOR_ENUMERATE_BUS = 11,
	VSTOR_CREATE_SUBCHANNELS = 13,
};

/* vstor_packet.status, as NTSTATUS */
#define VSTOR_OK 0u
#define VSTOR_E_REVISION 0xC0000059u  /* STATUS_REVISION_MISMATCH */
#define VSTOR_E_STATE 0xC0000184u     /* STATUS_INVALID_DEVICE_STATE */
#define VSTOR_E_RESOURCES 0xC000009Au /* STATUS_INSUFFICIENT_RESOURCES */

/* vmscsi_request.srb_status and scsi_status */
enum {
	SRB_SUCCESS = 0x01,
	SRB_ERROR = 0x04,
	SRB_INVALID_LUN = 0x20,
	SRB_AUTOSENSE = 0x80,
	SCSI_GOOD = 0,
	SCSI_CHECK_CONDITION = 2,
	SCSI_BUSY = 8,
};

/* Offsets in the packet. */
enum {
	VSTOR_AT_OP = 0,
	VSTOR_AT_FLAGS = 4,
	VSTOR_AT_STATUS = 8,
	VSTOR_AT_UNION = 12,
	VSTOR_AT_SRB_STATUS = 14,
	VSTOR_AT_SCSI_STATUS = 15,
	VSTOR_AT_PATH = 17,
	VSTOR_AT_TARGET = 18,
	VSTOR_AT_LUN = 19,
	VSTOR_AT_CDB_LENGTH = 20,
	VSTOR_AT_SENSE_LENGTH = 21,
	VSTOR_AT_DIRECTION = 22,
	VSTOR_AT_TRANSFER = 24,
	VSTOR_AT_CDB = 28,
	VSTOR_AT_SENSE = 28,
};

/* Makes an answer of the request at @p: operation, flags and status. */
static inline void vstor_complete(uint8_t p[VSTOR_BYTES], uint32_t status)
{
	put_le32(p + VSTOR_AT_OP, VSTOR_COMPLETE_IO);
	put_le32(p + VSTOR_AT_FLAGS, 0);
	put_le32(p + VSTOR_AT_STATUS, status);
}

/* Ends an SRB: @transferred bytes, without sense data. */
static inline void vstor_end_srb(uint8_t p[VSTOR_BYTES], uint8_t srb_status, uint8_t scsi_status,
				 uint32_t transferred)
{
	vstor_complete(p, VSTOR_OK);
	p[VSTOR_AT_SRB_STATUS] = srb_status;
	p[VSTOR_AT_SCSI_STATUS] = scsi_status;
	p[VSTOR_AT_SENSE_LENGTH] = 0;
	put_le32(p + VSTOR_AT_TRANSFER, transferred);
	memset(p + VSTOR_AT_SENSE, 0, VSTOR_SENSE_MAX);
}

#endif
