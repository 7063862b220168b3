/* statemachines/shutdown_ic.h - the integration component that asks the guest to shut down. */
#ifndef STATEMACHINES_SHUTDOWN_IC_H
#define STATEMACHINES_SHUTDOWN_IC_H

#define SM_DEF "statemachines/shutdown_ic.def"
#define SM_PREFIX shutdown_ic
#include "engine/sm_declare.h"

#endif
