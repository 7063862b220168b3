/* Sense data. A disk of the host fails in more ways than a guest has words for:
 * what says something about the medium, the space or the permission is told as
 * that, a device that is no more as a failed unit, and all else as an error of
 * the medium where it happened. */
#include "statemachines/scsi_sense.h"

#include <string.h>

/* errno values of completions: the ABI of Linux, spelt out because machines
 * include no system header. */
enum {
	NO_PERMISSION = 1, NO_SUCH_DEVICE_ADDRESS = 6, NOT_OPENED_FOR_WRITING = 9, TRY_AGAIN = 11,
	NO_MEMORY = 12, ACCESS_DENIED = 13, BAD_ADDRESS = 14, NO_SUCH_DEVICE = 19,
	NOT_POSSIBLE = 22, FILE_TOO_BIG = 27, NO_SPACE = 28, READ_ONLY = 30, UNSUPPORTED = 95,
	TIMED_OUT = 110, REMOTE_ERROR = 121, QUOTA_EXCEEDED = 122, NO_MEDIUM = 123,
};

void scsi_put_sense(uint8_t p[SCSI_SENSE_BYTES], uint32_t sense)
{
	memset(p, 0, SCSI_SENSE_BYTES);
	p[0] = 0x70; /* current, fixed format */
	p[2] = (uint8_t)(sense >> 16);
	p[7] = SCSI_SENSE_BYTES - 8;
	p[12] = (uint8_t)(sense >> 8);
	p[13] = (uint8_t)sense;
}

void scsi_put_sense_descriptor(uint8_t p[SCSI_SENSE_DESCRIPTOR_BYTES], uint32_t sense)
{
	memset(p, 0, SCSI_SENSE_DESCRIPTOR_BYTES);
	p[0] = 0x72; /* current, descriptor format */
	p[1] = (uint8_t)(sense >> 16);
	p[2] = (uint8_t)(sense >> 8);
	p[3] = (uint8_t)sense;
}

uint32_t scsi_sense_of_error(uint32_t error, bool writes)
{
	switch (error) {
	case TRY_AGAIN:
	case NO_MEMORY:
		return 0;
	case BAD_ADDRESS:
	case NOT_POSSIBLE:
		return SENSE_FIELD;
	case NO_SPACE:
	case QUOTA_EXCEEDED:
	case FILE_TOO_BIG:
		return SENSE_NO_SPACE;
	case READ_ONLY:
		return SENSE_WRITE_PROTECTED;
	case NO_PERMISSION:
	case ACCESS_DENIED:
	case NOT_OPENED_FOR_WRITING:
		return writes ? SENSE_WRITE_PROTECTED : SENSE_UNIT_FAILURE;
	case UNSUPPORTED:
		return SENSE_OPCODE;
	case NO_SUCH_DEVICE_ADDRESS:
	case NO_SUCH_DEVICE:
	case NO_MEDIUM:
		return SENSE_UNIT_FAILURE;
	case TIMED_OUT:
	case REMOTE_ERROR:
		return SENSE_TARGET_FAILURE;
	default:
		return writes ? SENSE_WRITE_ERROR : SENSE_READ_ERROR;
	}
}
