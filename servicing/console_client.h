/* servicing/console_client.h - a terminal at the guest's console. */
#ifndef SERVICING_CONSOLE_CLIENT_H
#define SERVICING_CONSOLE_CLIENT_H

#include <stdbool.h>

/* Copies between the terminal and the VM in @state_dir until the VM ends.
 * @owns_vm: `run`: ^C asks the guest to shut down, twice cuts its power, and
 * the result is the VM's exit status. Otherwise ^] leaves. Returns an exit
 * status; errors were printed. @ret_ended: the VM ends, or nobody answers for it. */
int console_run(const char *state_dir, bool owns_vm, bool *ret_ended);

#endif
