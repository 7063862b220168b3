/* statemachines/disk.h - a disk or an optical drive of the host. */
#ifndef STATEMACHINES_DISK_H
#define STATEMACHINES_DISK_H

#define SM_DEF "statemachines/disk.def"
#define SM_PREFIX disk
#include "engine/sm_declare.h"

/* disk_config.flags */
enum disk_flags {
	DISK_READ_ONLY = 1 << 0,
	DISK_BUFFERED = 1 << 1,      /* opened without O_DIRECT */
	DISK_BLOCK_DEVICE = 1 << 2,
	DISK_OPTICAL = 1 << 3,       /* a drive with removable media; read-only */
};
enum { DISK_OPTICAL_BLOCK = 2048 };

#endif
