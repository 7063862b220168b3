/* statemachines/scsi_sense.h - sense data (SPC-4 4.5), and which of it tells of
 * which error of the host. Pure functions. */
#ifndef STATEMACHINES_SCSI_SENSE_H
#define STATEMACHINES_SCSI_SENSE_H

#include <stdbool.h>
#include <stdint.h>

enum { SCSI_SENSE_BYTES = 18 };

/* Sense key, additional sense code and qualifier in one word. */
#define SCSI_SENSE(key, asc, ascq) ((uint32_t)(key) << 16 | (uint32_t)(asc) << 8 | (uint32_t)(ascq))
#define SENSE_STOPPED SCSI_SENSE(0x02, 0x04, 0x02)
#define SENSE_NO_MEDIUM SCSI_SENSE(0x02, 0x3a, 0x01)
#define SENSE_TRAY_OPEN SCSI_SENSE(0x02, 0x3a, 0x02)
#define SENSE_READ_ERROR SCSI_SENSE(0x03, 0x11, 0x00)
#define SENSE_WRITE_ERROR SCSI_SENSE(0x03, 0x0c, 0x00)
#define SENSE_UNIT_FAILURE SCSI_SENSE(0x04, 0x3e, 0x01)
#define SENSE_TARGET_FAILURE SCSI_SENSE(0x04, 0x44, 0x00)
#define SENSE_LIST_LENGTH SCSI_SENSE(0x05, 0x1a, 0x00)
#define SENSE_OPCODE SCSI_SENSE(0x05, 0x20, 0x00)
#define SENSE_RANGE SCSI_SENSE(0x05, 0x21, 0x00)
#define SENSE_FIELD SCSI_SENSE(0x05, 0x24, 0x00)
#define SENSE_NO_LUN SCSI_SENSE(0x05, 0x25, 0x00)
#define SENSE_LIST SCSI_SENSE(0x05, 0x26, 0x00)
#define SENSE_LOCKED_IN SCSI_SENSE(0x05, 0x53, 0x02)
#define SENSE_MEDIUM SCSI_SENSE(0x06, 0x28, 0x00)
#define SENSE_RESET SCSI_SENSE(0x06, 0x29, 0x00)
#define SENSE_CAPACITY SCSI_SENSE(0x06, 0x2a, 0x09)
#define SENSE_WRITE_PROTECTED SCSI_SENSE(0x07, 0x27, 0x00)
#define SENSE_NO_SPACE SCSI_SENSE(0x07, 0x27, 0x07)

/* Fixed format, SPC-4 4.5.3. @sense 0: "no sense". */
void scsi_put_sense(uint8_t p[SCSI_SENSE_BYTES], uint32_t sense);

/* Descriptor format without descriptors, SPC-4 4.5.2. */
enum { SCSI_SENSE_DESCRIPTOR_BYTES = 8 };
void scsi_put_sense_descriptor(uint8_t p[SCSI_SENSE_DESCRIPTOR_BYTES], uint32_t sense);

/* What errno @error (positive, the ABI of Linux; 0: fewer bytes than there should
 * be) of a request means to the guest. @writes: it changes the medium, or
 * flushes. 0: nothing is wrong with the disk, try again later (BUSY). */
uint32_t scsi_sense_of_error(uint32_t error, bool writes);

#endif
