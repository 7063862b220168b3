/* statemachines/storvsp.h - a synthetic SCSI controller; index: controller. */
#ifndef STATEMACHINES_STORVSP_H
#define STATEMACHINES_STORVSP_H

#include "statemachines/variant.h"

#define SM_DEF "statemachines/storvsp.def"
#define SM_PREFIX storvsp
#include "engine/sm_declare.h"

/* There from the start; one behind them is made, with all before it, when a disk
 * names it, so that the state of a VM that needs none does not grow. */
enum { STORVSP_FIXED = 4 };

/* Its answer to what a disk machine says of itself. */
enum lun_answer {
	LUN_TAKEN = 0,      /* the guest will see it so */
	LUN_GONE = 1,       /* taken away, and no request is out on it: RELEASED follows */
	LUN_OCCUPIED = 2,
	LUN_NO_ROOM = 3,    /* no channel for the controller */
	LUN_LOCKED_IN = 4,  /* the guest holds the medium; it was asked */
};
enum { LUN_ANY = 0xffff };   /* disk_config.lun, lun.lun: the controller chooses */
enum { LUN_FORCED = 1 << 15 }; /* lun.flags: take the medium although the guest holds it */

/* Media events of an optical drive (MMC-6 6.5.2, table "Media Event Codes"). */
enum medium_event {
	MEDIUM_NO_CHANGE = 0,
	MEDIUM_EJECT_REQUEST = 1,
	MEDIUM_NEW = 2,
	MEDIUM_REMOVAL = 3,
};

#endif
