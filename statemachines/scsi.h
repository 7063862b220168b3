/* statemachines/scsi.h - one storage request; its index is its slot in custody. */
#ifndef STATEMACHINES_SCSI_H
#define STATEMACHINES_SCSI_H

#define SM_DEF "statemachines/scsi.def"
#define SM_PREFIX scsi
#include "engine/sm_declare.h"

enum { OVERLAP_ANY = 0xffff }; /* overlap.disk: all of them */

#endif
