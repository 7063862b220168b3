/* servicing/notify.h - `holdfast run` under a service manager: sd_notify(3).
 *
 * Where NOTIFY_SOCKET is set, one thread of `run` tells there
 *   READY=1      an owner serves the guest; again when a replacement is over
 *   RELOADING=1  a successor was started (whoever asked for it)
 *   STATUS=...   which build serves, in which epoch
 *   WATCHDOG=1   as often as WATCHDOG_USEC wants, while the partition answers
 *   STOPPING=1   the VM has ended
 * Whether the paravisor works is the partition's own watchdog's to see. Without
 * NOTIFY_SOCKET nothing happens. */
#ifndef SERVICING_NOTIFY_H
#define SERVICING_NOTIFY_H

/* Takes the variables out of the environment, before anybody inherits them. */
void notify_take_environment(void);
/* The VM in @state_dir has started. */
void notify_begin(const char *state_dir);
void notify_end(void);

#endif
