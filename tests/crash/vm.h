/* tests/crash/vm.h - a VM on the soft back end whose paravisors are traced.
 *
 * `holdfast run` with stepguest as its guest. Every thread of the partition is
 * traced, so that each paravisor it starts stops at its first instruction. */
#ifndef TESTS_CRASH_VM_H
#define TESTS_CRASH_VM_H

#include "engine/custody.h"
#include "tests/crash/tracee.h"

enum { VM_PATH = 96, VM_LINE = 256, VM_DISK_BYTES = 1 << 20 };

struct vm {
	char dir[VM_PATH], state[VM_PATH];
	pid_t run, partition;
	int listener, guest; /* sockets */
	struct custody c;    /* read-only */
	struct trace trace;
	char reply[VM_LINE]; /* the guest's last line */
	bool asked, replied;
};

/* Starts it and waits until the guest is ready. 0, or -1 after one line on stderr;
 * vm_end() in both cases. */
int vm_start(struct vm *vm, const char *holdfast, const char *guest);
/* The VM's end. @keep: its directory is left, and named on stderr. */
void vm_end(struct vm *vm, bool keep);

/* Tells the guest; the answer comes later. */
int vm_ask(struct vm *vm, char command);
/* Looks whether it has come. */
bool vm_answered(struct vm *vm);
/* Waits for it, letting new paravisors start, at most @seconds. 0: "ok". */
int vm_await(struct vm *vm, unsigned seconds);

/* Pid of the paravisor that serves, 0 if none does. */
pid_t vm_owner(const struct vm *vm);
/* Waits until an owner sleeps in its loop, letting new paravisors start. Its pid
 * and where it will go on; 0: not within @seconds. */
pid_t vm_idle(struct vm *vm, unsigned seconds, uint64_t *ret_at);
/* Waits for the next paravisor, which stays at its first instruction. 0: none came. */
pid_t vm_next(struct vm *vm, unsigned seconds);
/* Waits until a taker is named. False: none was. */
bool vm_named(struct vm *vm, unsigned seconds);
/* How many requests the kernel has completed in the VM's io_uring since its
 * start, by the kernel's own account (low 32 bits). False: it does not tell. */
bool vm_performed(const struct vm *vm, uint32_t *ret);
/* Lets paravisors that wait at their first instruction go. */
void vm_release(struct vm *vm);

#endif
