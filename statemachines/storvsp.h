/* statemachines/storvsp.h - a synthetic SCSI controller; index: controller. */
#ifndef STATEMACHINES_STORVSP_H
#define STATEMACHINES_STORVSP_H

#include "statemachines/variant.h"

#define SM_DEF "statemachines/storvsp.def"
#define SM_PREFIX storvsp
#include "engine/sm_declare.h"

#endif
