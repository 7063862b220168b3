/* statemachines/channel.h - a VMBus channel; its index is the relid. */
#ifndef STATEMACHINES_CHANNEL_H
#define STATEMACHINES_CHANNEL_H

#define SM_DEF "statemachines/channel.def"
#define SM_PREFIX channel
#include "engine/sm_declare.h"

#endif
