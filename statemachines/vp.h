/* statemachines/vp.h - a virtual processor; its index is the VP index. */
#ifndef STATEMACHINES_VP_H
#define STATEMACHINES_VP_H

#define SM_DEF "statemachines/vp.def"
#define SM_PREFIX vp
#include "engine/sm_declare.h"

#endif
