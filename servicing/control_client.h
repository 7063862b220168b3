/* servicing/control_client.h - a command's side of the control socket. */
#ifndef SERVICING_CONTROL_CLIENT_H
#define SERVICING_CONTROL_CLIENT_H

#include "engine/custody.h"
#include "engine/partition/control.h"

/* Connects to @state_dir/control. Returns a descriptor owned by the caller, or
 * a negative errno after printing one line that says what, where, what to do. */
int control_connect(const char *state_dir);

/* One request and its reply. @send_fd: rides along, -1 none. @ret_fd: receives
 * a descriptor of the reply, owned by the caller; NULL: not wanted. Returns 0 or
 * a negative errno; a refused request is 0 with @ret->status set. */
int control_call(int sock, const struct control_request *rq, int send_fd,
		 struct control_reply *ret, int *ret_fd);

/* Fills the fixed members of a request. */
void control_request_init(struct control_request *rq, enum control_op op);

/* Read-only custody of the VM in @state_dir. Prints why not. 0 or -errno. */
int control_custody(const char *state_dir, struct custody *c);

#endif
