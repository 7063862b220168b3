/* statemachines/scsi_optical.h - what an optical drive tells of itself and its
 * medium: one data track, one session, a DVD-ROM (MMC-6). Pure builders; as the
 * functions of scsi_data.h. */
#ifndef STATEMACHINES_SCSI_OPTICAL_H
#define STATEMACHINES_SCSI_OPTICAL_H

#include "statemachines/scsi_data.h"

/* READ TOC/PMA/ATIP; 0: no such format or track. */
size_t scsi_put_toc(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		    const struct scsi_disk *d);
size_t scsi_put_configuration(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			      const struct scsi_disk *d);
/* GET EVENT STATUS NOTIFICATION; @event: enum medium_event. */
size_t scsi_put_event(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		      const struct scsi_disk *d, uint16_t event);
size_t scsi_put_disc_information(uint8_t p[SCSI_DATA_MAX]);
size_t scsi_put_mechanism(uint8_t p[SCSI_DATA_MAX], const struct scsi_disk *d);

#endif
