/* statemachines/scsi.h - one storage request; its index is its slot in custody. */
#ifndef STATEMACHINES_SCSI_H
#define STATEMACHINES_SCSI_H

#define SM_DEF "statemachines/scsi.def"
#define SM_PREFIX scsi
#include "engine/sm_declare.h"

/* srb.lun_flags: those of disk_config, and what the controller adds. */
enum srb_lun_flags {
	LUN_READ_ONLY = 1 << 0,
	LUN_VANISHED = 1 << 14,   /* it existed once */
	LUN_CHANGED = 1 << 15,    /* the guest has not been told of its new size */
};

enum { OVERLAP_ANY = 0xffff }; /* overlap.disk: all of them */

#endif
