/* statemachines/scsi_mode.h - mode pages (SPC-4 6.9 to 6.12, 7.5; SBC-3 6.5;
 * MMC-6 7). Pure functions. The one thing that a guest can set is whether a disk
 * has a write cache (caching page, WCE). */
#ifndef STATEMACHINES_SCSI_MODE_H
#define STATEMACHINES_SCSI_MODE_H

#include "statemachines/scsi_data.h"

enum { SCSI_MODE_LIST = 256 }; /* longest list of MODE SELECT */

/* Answer to MODE SENSE; as the functions of scsi_data.h. 0: no such page. */
size_t scsi_put_mode(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		     const struct scsi_disk *d);

/* Reads the list of a MODE SELECT. 0 and *@ret_write_through, or a sense: it
 * wants what cannot be set, or does not hold together. */
uint32_t scsi_parse_mode_select(const uint8_t *p, size_t len, bool six, const struct scsi_disk *d,
				bool *ret_write_through);

#endif
