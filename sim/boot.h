/* sim/boot.h - begins a run: the partition's process, which starts the rest. */
#ifndef SIM_BOOT_H
#define SIM_BOOT_H

void boot(void);

#endif
