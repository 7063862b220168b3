/* statemachines/cmos.h - the real-time clock. */
#ifndef STATEMACHINES_CMOS_H
#define STATEMACHINES_CMOS_H

#define SM_DEF "statemachines/cmos.def"
#define SM_PREFIX cmos
#include "engine/sm_declare.h"

#endif
