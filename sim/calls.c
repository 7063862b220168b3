/* Descriptors: a number in a process, an object behind it.
 *
 * Memory is a real memfd, mapped once for all processes: an address is the
 * same in each, so data that a dead process was to receive still has a place.
 * Who may touch what is the product's own business, and is checked by oracles. */
#include "sim/kernel.h"

#include "engine/fact.h"
#include "sim/run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STDIO = 3 };

static struct object objects[SIM_OBJECTS];
static unsigned n_objects;

struct object *object_at(int16_t index)
{
	return index < 0 ? NULL : &objects[index];
}

struct object *object_of(int fd)
{
	struct process *p = process_current();

	if (!p || fd < 0 || fd >= SIM_FDS || p->fd[fd] < 0)
		return NULL;
	return &objects[p->fd[fd]];
}

int descriptor_add(struct process *p, int16_t object, int from)
{
	for (int fd = from; fd < SIM_FDS; fd++) {
		if (p->fd[fd] >= 0)
			continue;
		p->fd[fd] = object;
		objects[object].refs++;
		return fd;
	}
	return -EMFILE;
}

int object_open(enum object_type type, uint64_t value)
{
	unsigned i = 0;

	while (i < n_objects && objects[i].type != OBJECT_FREE)
		i++;
	if (i == n_objects)
		n_objects++;
	fact(n_objects < SIM_OBJECTS);
	objects[i] = (struct object){ .type = type, .value = value, .real_fd = -1 };
	return descriptor_add(process_current(), (int16_t)i, STDIO);
}

static void put(struct object *o)
{
	if (--o->refs)
		return;
	if (o->map)
		__real_munmap(o->map, o->bytes);
	if (o->view)
		__real_munmap(o->view, o->bytes);
	if (o->real_fd >= 0)
		__real_close(o->real_fd);
	o->type = OBJECT_FREE;
}

static void forget_loops(struct object *o, const struct process *p)
{
	for (unsigned i = 0; i < o->n_loops;) {
		if (loop_process(o->loop[i].loop) == p)
			o->loop[i] = o->loop[--o->n_loops];
		else
			i++;
	}
}

void descriptors_close(struct process *p)
{
	for (int fd = 0; fd < SIM_FDS; fd++) {
		if (p->fd[fd] < 0)
			continue;
		forget_loops(&objects[p->fd[fd]], p);
		put(&objects[p->fd[fd]]);
		p->fd[fd] = -1;
	}
}

int __wrap_close(int fd)
{
	struct process *p = process_current();

	if (!p)
		return __real_close(fd);
	if (!object_of(fd)) {
		errno = EBADF;
		return -1;
	}
	forget_loops(object_of(fd), p);
	put(object_of(fd));
	p->fd[fd] = -1;
	return 0;
}

int __wrap_fcntl64(int fd, int command, ...)
{
	struct process *p = process_current();
	va_list args;
	int from;

	va_start(args, command);
	from = va_arg(args, int);
	va_end(args);
	fact(command == F_DUPFD_CLOEXEC);
	if (!object_of(fd)) {
		errno = EBADF;
		return -1;
	}
	return descriptor_add(p, p->fd[fd], from);
}

/* ---- eventfds -------------------------------------------------------------------- */

void event_add(struct object *o, uint64_t n)
{
	bool was_empty = o->value == 0;

	o->value += n;
	if (o->waiting) {
		fiber_wake_set(o->waiting);
		o->waiting = 0;
	}
	for (unsigned i = 0; was_empty && i < o->n_loops; i++)
		loop_event(o->loop[i].loop, o->loop[i].fd);
}

int __wrap_eventfd(unsigned n, int flags)
{
	int fd = object_open(OBJECT_EVENT, n);

	object_of(fd)->blocking = !(flags & O_NONBLOCK);
	return fd;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
	struct object *o = object_of(fd);
	uint64_t value;

	if (!process_current())
		return __real_write(fd, bytes, n);
	if (!o) {
		errno = EBADF;
		return -1;
	}
	run_point(POINT_CALL);
	if (o->type == OBJECT_EVENT) {
		fact(n == sizeof(value));
		memcpy(&value, bytes, n);
		event_add(o, value);
		run_point(POINT_CALL);
	}
	return (ssize_t)n;
}

static void wait_on(struct object *o)
{
	uint64_t self = UINT64_C(1) << kernel.current->id;

	o->waiting |= self;
	fiber_block(o, UINT64_MAX);
	o->waiting &= ~self;
}

ssize_t __wrap_read(int fd, void *bytes, size_t n)
{
	struct object *o = object_of(fd);

	if (!o || o->type != OBJECT_EVENT || n < sizeof(o->value)) {
		errno = EBADF;
		return -1;
	}
	run_point(POINT_CALL);
	while (o->value == 0 && o->blocking)
		wait_on(o);
	if (o->value == 0) {
		errno = EAGAIN;
		return -1;
	}
	memcpy(bytes, &o->value, sizeof(o->value));
	o->value = 0;
	return sizeof(o->value);
}

static bool readable(const struct object *o)
{
	if (!o)
		return false;
	if (o->type == OBJECT_PID)
		return !process_by_pid((int)o->value)->alive;
	return o->type == OBJECT_EVENT && o->value != 0;
}

static int look(struct pollfd *fds, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = readable(object_of(fds[i].fd)) ? POLLIN : 0;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static void poll_set(struct pollfd *fds, nfds_t n, bool waits)
{
	uint64_t self = UINT64_C(1) << kernel.current->id;

	for (nfds_t i = 0; i < n; i++) {
		struct object *o = object_of(fds[i].fd);
		uint64_t *set = !o ? NULL
				: o->type == OBJECT_PID
					? &process_by_pid((int)o->value)->watchers
					: &o->waiting;

		if (set)
			*set = waits ? *set | self : *set & ~self;
	}
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	uint64_t until = timeout_ms < 0 ? UINT64_MAX
					: kernel.now + (uint64_t)timeout_ms * UINT64_C(1000000);
	int ready = look(fds, n);

	while (ready == 0 && kernel.now < until) {
		poll_set(fds, n, true);
		fiber_block(fds, until);
		poll_set(fds, n, false);
		ready = look(fds, n);
	}
	return ready;
}

/* ---- memory ---------------------------------------------------------------------- */

int __wrap_memfd_create(const char *name, unsigned flags)
{
	int real = __real_memfd_create(name, flags), fd;

	fact(real >= 0);
	fd = object_open(OBJECT_MEMORY, 0);
	object_of(fd)->real_fd = real;
	return fd;
}

int __wrap_ftruncate64(int fd, off_t bytes)
{
	struct object *o = object_of(fd);

	fact(o && o->type == OBJECT_MEMORY);
	o->bytes = (uint64_t)bytes;
	return __real_ftruncate64(o->real_fd, bytes);
}

static void *mapped(const struct object *o, void **at, int protection)
{
	if (!*at)
		*at = __real_mmap64(NULL, o->bytes, protection, MAP_SHARED, o->real_fd, 0);
	return *at;
}

void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	struct object *o = object_of(fd);

	if (!process_current() || fd < 0)
		return __real_mmap64(at, bytes, protection, flags, fd, offset);
	fact(o && o->type == OBJECT_MEMORY);
	if (flags & MAP_FIXED)
		return __real_mmap64(at, bytes, protection, flags, o->real_fd, offset);
	fact(offset == 0 && bytes == o->bytes);
	if (process_current()->role == PROCESS_ARCHIVER)
		return mapped(o, &o->view, protection);
	return mapped(o, &o->map, PROT_READ | PROT_WRITE);
}

/* Mappings of whole objects are everybody's and stay. */
int __wrap_munmap(void *at, size_t bytes)
{
	if (!process_current())
		return __real_munmap(at, bytes);
	for (unsigned i = 0; i < n_objects; i++)
		if (objects[i].type == OBJECT_MEMORY &&
		    (objects[i].map == at || objects[i].view == at))
			return 0;
	return __real_munmap(at, bytes);
}

int __wrap_mprotect(void *at, size_t bytes, int protection)
{
	(void)at;
	(void)bytes;
	(void)protection;
	return 0;
}

int __wrap_madvise(void *at, size_t bytes, int advice)
{
	(void)at;
	(void)bytes;
	(void)advice;
	return 0;
}

int __wrap_fstat64(int fd, struct stat *ret)
{
	const struct object *o = object_of(fd);

	if (!o) {
		errno = EBADF;
		return -1;
	}
	*ret = (struct stat){ .st_size = (off_t)o->bytes, .st_mode = S_IFREG };
	if (o->type == OBJECT_DISK)
		disk_stat((unsigned)o->value, ret);
	return 0;
}

int __wrap_fstatfs64(int fd, struct statfs *ret)
{
	(void)fd;
	*ret = (struct statfs){ .f_type = TMPFS_MAGIC };
	return 0;
}

/* Log files: their lines go to nobody. */
int __wrap_openat64(int dir, const char *name, int flags, ...)
{
	(void)dir;
	(void)name;
	(void)flags;
	return object_open(OBJECT_SINK, 0);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	(void)dir;
	(void)name;
	(void)flags;
	return 0;
}

/* ---- processes -------------------------------------------------------------------- */

int __wrap_pidfd_open(int pid, unsigned flags)
{
	(void)flags;
	fact(process_by_pid(pid));
	return object_open(OBJECT_PID, (uint64_t)pid);
}

int __wrap_pidfd_send_signal(int fd, int signal, siginfo_t *info, unsigned flags)
{
	struct object *o = object_of(fd);
	struct process *p = o && o->type == OBJECT_PID ? process_by_pid((int)o->value) : NULL;

	(void)info;
	(void)flags;
	if (!p || !p->alive) {
		errno = ESRCH;
		return -1;
	}
	process_end(p, 0, signal);
	return 0;
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *ret, int how)
{
	struct object *o = object_of((int)id);
	struct process *p;

	fact(type == P_PIDFD && o && o->type == OBJECT_PID);
	p = process_by_pid((int)o->value);
	*ret = (siginfo_t){ 0 };
	while (p->alive && !(how & WNOHANG)) {
		p->watchers |= UINT64_C(1) << kernel.current->id;
		fiber_block(p, UINT64_MAX);
	}
	if (p->alive)
		return 0;
	ret->si_pid = p->pid;
	ret->si_code = p->signal ? CLD_KILLED : CLD_EXITED;
	ret->si_status = p->signal ? p->signal : p->status;
	return 0;
}

void __wrap__exit(int status)
{
	if (!process_current())
		__real__exit(status);
	process_end(process_current(), status, 0);
	abort();
}

/* No signal is ever sent here but SIGKILL, and SIGTERM to an archiver. */
int __wrap_sigaction(int signal, const struct sigaction *new, struct sigaction *old)
{
	struct process *p = process_current();

	(void)old;
	if (p && p->role == PROCESS_ARCHIVER && signal == SIGTERM && new)
		p->on_term = new->sa_handler;
	return 0;
}

int __wrap_sigaltstack(const stack_t *new, stack_t *old)
{
	(void)new;
	(void)old;
	return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *new, sigset_t *old)
{
	(void)how;
	(void)new;
	(void)old;
	return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t n, unsigned flags)
{
	uint8_t *at = bytes;

	(void)flags;
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)chance_draw(&kernel.data);
	return (ssize_t)n;
}

int __wrap_getpid(void)
{
	return process_current() ? process_current()->pid : __real_getpid();
}
