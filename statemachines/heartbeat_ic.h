/* statemachines/heartbeat_ic.h - the integration component that asks the guest whether it lives. */
#ifndef STATEMACHINES_HEARTBEAT_IC_H
#define STATEMACHINES_HEARTBEAT_IC_H

#define SM_DEF "statemachines/heartbeat_ic.def"
#define SM_PREFIX heartbeat_ic
#include "engine/sm_declare.h"

#endif
