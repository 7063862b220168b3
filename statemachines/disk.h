/* statemachines/disk.h - a disk of the host. */
#ifndef STATEMACHINES_DISK_H
#define STATEMACHINES_DISK_H

#define SM_DEF "statemachines/disk.def"
#define SM_PREFIX disk
#include "engine/sm_declare.h"

#endif
