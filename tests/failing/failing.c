/* tests/failing/failing.c - preloaded into every process of a VM: the n-th
 * allocation or system call of one of them fails, once.
 *
 * FAILING_FILE is a file of counters, shared by all; FAILING_WHO is the process
 * meant (run, partition, paravisor, service, archive), FAILING_AT the call, from 1;
 * 0 or nothing: only counted. Who called is told on stderr. What fails has errno ENOMEM for memory, EMFILE for
 * descriptors, EIO for the rest. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *p, size_t n);

static _Atomic unsigned *count; /* NULL: this process is not meant */
static unsigned fail_at;

static const char *who_am_i(void)
{
	static char line[512];
	const char *second;
	int fd = (int)syscall(257 /* openat */, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return "";
	line[n] = '\0';
	if (strstr(line, "holdfast-partition"))
		return "partition";
	second = line + strlen(line) + 1;
	return strstr(line, "holdfast") && second < line + n ? second : "";
}

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("FAILING_FILE"), *who = getenv("FAILING_WHO");
	const char *at = getenv("FAILING_AT");
	void *p;
	int fd;

	if (!path || !who || strcmp(who, who_am_i()) != 0)
		return;
	fd = (int)syscall(257, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = (void *)syscall(9 /* mmap */, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	fail_at = at ? (unsigned)strtoul(at, NULL, 10) : 0;
	count = p;
}

/* libseccomp 2.5 does not survive it; what it makes is made before any guest. */
static int is_forgiven(const void *caller)
{
	Dl_info i;

	return dladdr(caller, &i) && i.dli_fname && strstr(i.dli_fname, "libseccomp");
}

static int fails(int error, const void *caller)
{
	void *from[16];
	int depth;

	if (!count || is_forgiven(caller) || atomic_fetch_add(count, 1) + 1 != fail_at)
		return 0;
	depth = backtrace(from, 16);
	backtrace_symbols_fd(from, depth, STDERR_FILENO);
	errno = error;
	return 1;
}

void *malloc(size_t n)
{
	return fails(ENOMEM, __builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t bytes)
{
	return fails(ENOMEM, __builtin_return_address(0)) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t n)
{
	return fails(ENOMEM, __builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}

/* The next one of this name, with the same arguments. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILS(type, name, error, bad, parameters, arguments)      \
	type name parameters                                       \
	{                                                          \
		static __typeof__(&name) next;                     \
								   \
		if (!next)                                         \
			next = NEXT(name);                         \
		return fails(error, __builtin_return_address(0)) ? (bad) : next arguments;      \
	}

FAILS(void *, mmap, ENOMEM, MAP_FAILED, (void *at, size_t n, int prot, int flags, int fd, off_t o),
      (at, n, prot, flags, fd, o))
FAILS(int, ftruncate, EIO, -1, (int fd, off_t n), (fd, n))
FAILS(int, memfd_create, EMFILE, -1, (const char *name, unsigned flags), (name, flags))
FAILS(int, eventfd, EMFILE, -1, (unsigned n, int flags), (n, flags))
FAILS(int, socket, EMFILE, -1, (int domain, int type, int protocol), (domain, type, protocol))
FAILS(int, pipe2, EMFILE, -1, (int fd[2], int flags), (fd, flags))
FAILS(int, dup, EMFILE, -1, (int fd), (fd))
FAILS(int, dup2, EMFILE, -1, (int fd, int to), (fd, to))
FAILS(int, listen, EIO, -1, (int fd, int n), (fd, n))
FAILS(int, mkdir, EIO, -1, (const char *path, mode_t mode), (path, mode))
FAILS(int, epoll_create1, EMFILE, -1, (int flags), (flags))
FAILS(int, pthread_create, EIO, EAGAIN,
      (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *u), (t, a, f, u))

int open(const char *path, int flags, ...)
{
	static __typeof__(&open) next;
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (!next)
		next = NEXT(open);
	return fails(EMFILE, __builtin_return_address(0)) ? -1 : next(path, flags, mode);
}
