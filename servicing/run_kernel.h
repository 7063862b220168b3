/* servicing/run_kernel.h - is what `run` was given as guest fit to be started? */
#ifndef SERVICING_RUN_KERNEL_H
#define SERVICING_RUN_KERNEL_H

#include "servicing/run_config.h"

/* Bytes of RAM below the gap at 3 GiB; the rest goes to 4 GiB. */
uint64_t run_low_bytes(const struct run_config *rc);

/* kvm: rehearses the loading of kernel, initrd and command line in memory of
 * its own. soft: the kernel is a program this host can execute. Prints one
 * line and returns a negative errno when they are unfit. */
int run_kernel_check(const struct run_config *rc);

#endif
