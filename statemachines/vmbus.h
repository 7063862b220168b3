/* statemachines/vmbus.h - the connection of guest and bus. */
#ifndef STATEMACHINES_VMBUS_H
#define STATEMACHINES_VMBUS_H

#define SM_DEF "statemachines/vmbus.def"
#define SM_PREFIX vmbus
#include "engine/sm_declare.h"

#endif
