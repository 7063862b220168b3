/* holdfast-partition: plays the hypervisor's part for one VM and outlives every
 * paravisor of it.
 *
 * Started by `holdfast run`, which has opened everything: nothing is opened by
 * path here but the state directory and /dev/kvm. It answers on --ready-fd
 * with one zero byte, or with one line that says what is wrong. */
#include "engine/partition/partition.h"

#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, LINE = 512, FD_NAMES = LIMIT_DISKS + 8 };

/* The last line logged: what --ready-fd is told when the start fails. */
static char last_line[LINE];

struct named_fd { char name[24]; int fd; };
struct named_fds { uint32_t n; struct named_fd fd[FD_NAMES]; };

void partition_log(const char *format, ...)
{
	char line[LINE];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "holdfast-partition: %s\n", line);
	memcpy(last_line, line, sizeof(last_line));
}

/* ---- arguments ------------------------------------------------------------------ */

enum option_code {
	OPT_STATE_DIR, OPT_BACKEND, OPT_MEMORY, OPT_VPS, OPT_NAME, OPT_HUGETLB, OPT_CONFIG_FD,
	OPT_FD, OPT_EXE_FD, OPT_READY_FD, OPT_GUEST_FD, OPT_CMDLINE, OPT_FORCE_KVM,
	OPT_FILL, OPT_STANDBY, OPT_WATCHDOG,
	OPT_END,
};

static const struct option OPTIONS[] = {
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "vps", required_argument, NULL, OPT_VPS },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "hugetlb", no_argument, NULL, OPT_HUGETLB },
	{ "config-fd", required_argument, NULL, OPT_CONFIG_FD },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "exe-fd", required_argument, NULL, OPT_EXE_FD },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "guest-fd", required_argument, NULL, OPT_GUEST_FD },
	{ "cmdline", required_argument, NULL, OPT_CMDLINE },
	{ "force-kvm", no_argument, NULL, OPT_FORCE_KVM },
	{ "paravisor-fill", required_argument, NULL, OPT_FILL },
	{ "standby", no_argument, NULL, OPT_STANDBY },
	{ "watchdog", required_argument, NULL, OPT_WATCHDOG },
	{ NULL, 0, NULL, 0 },
};

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end || *ret > max ? -EINVAL : 0;
}

static int parse_fd(const char *text, int *ret)
{
	uint64_t n;

	if (parse_number(text, INT16_MAX, &n) || fcntl((int)n, F_GETFD) < 0)
		return -EBADF;
	*ret = (int)n;
	return 0;
}

static int parse_named_fd(const char *text, struct named_fds *ret)
{
	const char *equals = strchr(text, '=');
	size_t bytes = equals ? (size_t)(equals - text) : 0;
	struct named_fd *f;

	if (bytes == 0 || bytes >= sizeof(ret->fd[0].name) || ret->n == FD_NAMES)
		return -EINVAL;
	f = &ret->fd[ret->n];
	memcpy(f->name, text, bytes);
	f->name[bytes] = '\0';
	if (parse_fd(equals + 1, &f->fd))
		return -EBADF;
	ret->n++;
	return 0;
}

static int parse_backend(const char *text, struct options *o)
{
	if (strcmp(text, BACKEND_KVM.name) == 0)
		o->backend = &BACKEND_KVM;
	else if (strcmp(text, BACKEND_SOFT.name) == 0)
		o->backend = &BACKEND_SOFT;
	else
		return -EINVAL;
	return 0;
}

static int parse_one(int code, const char *arg, struct options *o, struct named_fds *named)
{
	uint64_t n = 0;
	int error = 0;

	switch (code) {
	case OPT_STATE_DIR:
		o->state_dir = arg;
		return 0;
	case OPT_BACKEND:
		return parse_backend(arg, o);
	case OPT_MEMORY:
		return parse_number(arg, UINT64_C(1) << 46, &o->memory);
	case OPT_VPS:
		error = parse_number(arg, LIMIT_VPS, &n);
		o->vps = (uint32_t)n;
		return error;
	case OPT_NAME:
		o->name = arg;
		return 0;
	case OPT_HUGETLB:
		o->hugetlb = true;
		return 0;
	case OPT_CONFIG_FD:
		return parse_fd(arg, &o->config_fd);
	case OPT_FD:
		return parse_named_fd(arg, named);
	case OPT_EXE_FD:
		return parse_fd(arg, &o->exe_fd);
	case OPT_READY_FD:
		return parse_fd(arg, &o->ready_fd);
	case OPT_GUEST_FD:
		return parse_fd(arg, &o->guest_fd);
	case OPT_CMDLINE:
		o->cmdline = arg;
		return 0;
	case OPT_FORCE_KVM:
		o->force_kvm = true;
		return 0;
	case OPT_FILL:
		o->fill = arg;
		return 0;
	case OPT_STANDBY:
		o->standby = true;
		return 0;
	case OPT_WATCHDOG:
		error = parse_number(arg, PARTITION_WATCHDOG_MAX, &n);
		o->watchdog_ns = n * UINT64_C(1000000000);
		return error;
	default:
		return -EINVAL;
	}
}

static int parse(int argc, char **argv, struct options *o, struct named_fds *named)
{
	int code;

	*o = (struct options){ .config_fd = -1, .exe_fd = -1, .ready_fd = -1, .guest_fd = -1,
			       .vps = 1, .name = "holdfast" };
	while ((code = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		if (parse_one(code, optarg, o, named)) {
			partition_log("wrong value of --%s: %s",
				      code < OPT_END ? OPTIONS[code].name : "?",
				      optarg ? optarg : "");
			return -EINVAL;
		}
	}
	if (optind != argc || !o->state_dir || !o->backend || o->memory == 0 || o->vps == 0 ||
	    o->memory % WIRE_PAGE || o->config_fd < 0 || o->exe_fd < 0 || o->ready_fd < 0) {
		partition_log("usage: holdfast-partition --state-dir DIR --backend kvm|soft "
			      "--memory BYTES --vps N --name S [--hugetlb] --config-fd N "
			      "[--fd NAME=N]... --exe-fd N --ready-fd N [--guest-fd N] "
			      "[--cmdline S] [--force-kvm] [--standby] [--watchdog S] "
			      "[--paravisor-fill BYTE]");
		return -EINVAL;
	}
	if (getenv("HOLDFAST_FORCE_KVM"))
		o->force_kvm = true;
	return 0;
}

/* ---- becoming a daemon ------------------------------------------------------------- */

/* Rows take numbers up to PARTITION_FD_FREE in children, their sources above. */
static void raise_fd_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

static int open_log(const struct partition *p, const char *name)
{
	return resource_lift(openat(p->dir_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
				    0600));
}

static int detach_stdio(struct partition *p)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open_log(p, "partition.log");

	if (null < 0 || log < 0)
		return -ENOENT;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(log, STDERR_FILENO) < 0)
		return -errno;
	close(null);
	close(log);
	p->log_fd = open_log(p, "paravisor.log");
	return p->log_fd < 0 ? p->log_fd : 0;
}

static int write_pid(const struct partition *p)
{
	int fd = openat(p->dir_fd, "partition.pid", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int error = fd < 0 || dprintf(fd, "%d\n", getpid()) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

static int daemonize(struct partition *p)
{
	int error;

	setsid();
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	raise_fd_limit();
	p->dir_fd = resource_lift(open(p->o.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (p->dir_fd < 0) {
		partition_log("%s: %s", p->o.state_dir, strerror(-p->dir_fd));
		return p->dir_fd;
	}
	if (flock(p->dir_fd, LOCK_EX | LOCK_NB)) {
		partition_log("%s: in use by a running VM; give another directory", p->o.state_dir);
		close(p->dir_fd);
		p->dir_fd = -1;
		return -EWOULDBLOCK;
	}
	error = detach_stdio(p);
	if (!error)
		error = write_pid(p);
	if (error)
		partition_log("%s: log and pid files: %s", p->o.state_dir, strerror(-error));
	return error;
}

/* ---- start --------------------------------------------------------------------- */

static int read_config(struct partition *p)
{
	struct stat st;
	uint64_t n;

	if (fstat(p->o.config_fd, &st))
		return -errno;
	n = (uint64_t)st.st_size / sizeof(struct wire_notice);
	if (n == 0 || n > PARTITION_NOTICES || (uint64_t)st.st_size % sizeof(struct wire_notice))
		return -EINVAL;
	p->config = calloc(n, sizeof(*p->config));
	if (!p->config)
		return -ENOMEM;
	if (pread(p->o.config_fd, p->config, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	p->config_n = (uint32_t)n;
	close(p->o.config_fd);
	return 0;
}

/* The guest of `soft` may be a row as well: a duplicate, taken before the rows. */
static int keep_guest(struct partition *p)
{
	if (p->o.guest_fd < 0)
		return 0;
	p->o.guest_fd = fcntl(p->o.guest_fd, F_DUPFD_CLOEXEC, PARTITION_FD_FREE);
	return p->o.guest_fd < 0 ? -errno : 0;
}

/* The first rows, in the order of the options: whoever gave them knows their
 * numbers. */
static int add_named(struct partition *p, const struct named_fds *named)
{
	for (uint32_t i = 0; i < named->n; i++) {
		int fd = resource_lift(named->fd[i].fd);
		int row = fd < 0 ? fd : custody_fd_add(&p->c, named->fd[i].name, fd);

		if (row < 0)
			return row;
	}
	return 0;
}

/* The inbox holds the configuration before the first paravisor looks. */
static int start_first(struct partition *p)
{
	int row = spawn_exe_row(p, p->o.exe_fd), error;

	if (row < 0)
		return row;
	while (p->config_next < p->config_n && hub_notice(p, &p->config[p->config_next]) == 0)
		p->config_next++;
	error = control_create(p);
	if (error)
		return error;
	error = spawn_paravisor(p, (uint32_t)row, ROLE_FIRST);
	if (error < 0)
		return error;
	return ownership_start(p);
}

static void give_up(const char *what, int error)
{
	if (error)
		partition_log("%s are kept: %s", what, strerror(-error));
}

/* All is made and nothing runs: threads and children inherit this. A guest of
 * `soft` is a program of the operator's that may write files. */
static void confine(const struct partition *p)
{
	give_up("namespaces", sandbox_namespaces(p->backend->code == BACKEND_KVM.code));
	give_up("privileges", sandbox_privileges());
	give_up("limits", sandbox_limits(PARTITION_FILES));
	give_up("system calls", sandbox_forbid());
}

static int bring_up(struct partition *p, const struct named_fds *named)
{
	int error = daemonize(p);

	if (!error)
		error = read_config(p);
	if (!error)
		error = resource_custody(p);
	if (!error)
		error = keep_guest(p);
	if (!error)
		error = add_named(p, named);
	if (!error)
		error = resource_create(p);
	if (!error)
		error = p->backend->create(p);
	if (!error)
		confine(p);
	if (!error)
		error = vp_create(p);
	if (!error)
		error = start_first(p);
	return error;
}

static void say_ready(const struct partition *p, int error)
{
	const char ready = 0;
	ssize_t n;

	if (!error)
		n = write(p->o.ready_fd, &ready, 1);
	else if (last_line[0])
		n = dprintf(p->o.ready_fd, "%s\n", last_line);
	else
		n = dprintf(p->o.ready_fd, "the partition cannot start: %s\n", strerror(-error));
	if (n < 0)
		partition_log("nobody waits for the start: %s", strerror(errno));
	close(p->o.ready_fd);
}

int main(int argc, char **argv)
{
	static struct partition p;
	static struct named_fds named;
	int error;

	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (parse(argc, argv, &p.o, &named)) {
		if (p.o.ready_fd >= 0)
			say_ready(&p, -EINVAL);
		return EXIT_USAGE;
	}
	p.backend = p.o.backend;
	atomic_store(&p.guest_pidfd, -1);
	vp_prepare(&p);
	error = bring_up(&p, &named);
	say_ready(&p, error);
	if (error) {
		if (p.c.h)
			spawn_end(&p);
		if (p.dir_fd > 0) {
			unlinkat(p.dir_fd, "control", 0);
			unlinkat(p.dir_fd, "partition.pid", 0);
		}
		return EXIT_FAILED;
	}
	error = hub_run(&p);
	_exit(error ? EXIT_FAILED : atomic_load(&p.exit_status));
}
