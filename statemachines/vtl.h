/* statemachines/vtl.h - VTL0 as a whole. Events: vtl_EV_*, states: vtl_*. */
#ifndef STATEMACHINES_VTL_H
#define STATEMACHINES_VTL_H

#define SM_DEF "statemachines/vtl.def"
#define SM_PREFIX vtl
#include "engine/sm_declare.h"

#endif
