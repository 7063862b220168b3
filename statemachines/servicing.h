/* statemachines/servicing.h - who serves the guest, and replacing it. */
#ifndef STATEMACHINES_SERVICING_H
#define STATEMACHINES_SERVICING_H

#define SM_DEF "statemachines/servicing.def"
#define SM_PREFIX servicing
#include "engine/sm_declare.h"

#endif
