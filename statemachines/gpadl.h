/* statemachines/gpadl.h - a list of guest pages, found by the guest's handle. */
#ifndef STATEMACHINES_GPADL_H
#define STATEMACHINES_GPADL_H

#define SM_DEF "statemachines/gpadl.def"
#define SM_PREFIX gpadl
#include "engine/sm_declare.h"

#endif
