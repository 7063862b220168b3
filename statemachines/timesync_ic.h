/* statemachines/timesync_ic.h - the integration component that tells the guest the time. */
#ifndef STATEMACHINES_TIMESYNC_IC_H
#define STATEMACHINES_TIMESYNC_IC_H

#define SM_DEF "statemachines/timesync_ic.def"
#define SM_PREFIX timesync_ic
#include "engine/sm_declare.h"

#endif
