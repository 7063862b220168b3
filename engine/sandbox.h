/* engine/sandbox.h - what a process gives up once it has all it needs.
 *
 * The partition, alone in its process, makes the VM and then calls all of these
 * but the last: its threads and every child have less from then on. An archiver
 * is nobody's child and gives up its privileges itself. Paravisor and archiver
 * call sandbox_allow_only() when everything is open. What is refused fails with
 * EPERM; nobody is killed for it, because a paravisor's death is a fault of the
 * VM. Nothing given up comes back.
 *
 * All return 0 or a negative errno; after an error the process has what it had. */
#ifndef ENGINE_SANDBOX_H
#define ENGINE_SANDBOX_H

#include <stdbool.h>

/* No new privileges by executing, and no capabilities. */
int sandbox_privileges(void);

/* No core file, and no descriptor from @files on. */
int sandbox_limits(unsigned files);

/* A network without interfaces, IPC and host name of its own, for this process
 * and its children; @read_only: nothing can be written by path either. -EPERM
 * without CAP_SYS_ADMIN. One thread only. */
int sandbox_namespaces(bool read_only);

/* System calls that no process of a VM needs, and sockets but AF_UNIX. */
int sandbox_forbid(void);

enum sandbox_set { SANDBOX_PARAVISOR, SANDBOX_ARCHIVER };

/* Only the calls of @set, and no memory that is executable. In builds that
 * sanitizers or coverage run in, which need more, it does nothing. */
int sandbox_allow_only(enum sandbox_set set);

#endif
