/* `holdfast run`: a thin client. It opens and checks everything that has a
 * path, hands descriptors and configuration to a detached partition, and stays
 * at the guest's console until the VM ends. After start nothing is opened by
 * path again. */
#include "servicing/commands.h"
#include "servicing/console_client.h"
#include "servicing/notify.h"
#include "servicing/run_config.h"

#include "engine/fact.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	END_MS = 10000,       /* PARTITION_END_NS and the last words, with room */
	ORPHANS_MS = 5000,    /* as PARTITION_END_NS */
};

/* What a partition makes in its directory. */
static const char *const TRACES[] = { "control", "partition.pid", "partition.log", "paravisor.log",
				      "guest.log" };

/* What of the directory was there before: the rest goes when the start fails. */
struct state_dir {
	const char *path;
	bool made, had[ARRAY_LEN(TRACES)];
};

/* A partition holds its directory's lock as long as it lives. */
static int in_use(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int e = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return e;
}

static int refuse_state(const char *dir, int error)
{
	if (error == EWOULDBLOCK)
		fprintf(stderr, "holdfast: --state %s: in use by a running VM; give another, or "
				"`holdfast shutdown --state %s`\n", dir, dir);
	else
		fprintf(stderr, "holdfast: --state %s: %s; give a directory of your own, or a new "
				"one in a place that exists and where you may write\n", dir, strerror(error));
	return -error;
}

static int make_state_dir(const char *dir, struct state_dir *ret)
{
	struct stat st;
	int e;

	*ret = (struct state_dir){ .path = dir, .made = mkdir(dir, 0700) == 0 };
	if (!ret->made && errno != EEXIST)
		return refuse_state(dir, errno);
	e = in_use(dir);
	if (!e && chmod(dir, 0700) < 0)
		e = errno;
	if (e)
		return refuse_state(dir, e);
	for (size_t i = 0; i < ARRAY_LEN(TRACES); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", dir, TRACES[i]);
		ret->had[i] = lstat(path, &st) == 0;
	}
	return 0;
}

/* Nothing stays of a VM that did not start. */
static void forget_state_dir(const struct state_dir *d)
{
	if (in_use(d->path))
		return;
	for (size_t i = 0; i < ARRAY_LEN(TRACES); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", d->path, TRACES[i]);
		if (!d->had[i])
			unlink(path);
	}
	if (d->made)
		rmdir(d->path);
}

/* The partition lies beside this program. */
static int partition_path(char *path, size_t capacity)
{
	ssize_t n = readlink("/proc/self/exe", path, capacity - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash - path) + sizeof("/holdfast-partition") > capacity)
		return -ENAMETOOLONG;
	memcpy(slash, "/holdfast-partition", sizeof("/holdfast-partition"));
	return access(path, X_OK) < 0 ? -errno : 0;
}

struct arguments {
	char *argv[2 * RUN_FDS_MAX + 40];
	char text[RUN_FDS_MAX + 16][64];
	int argc, texts;
};

static void add(struct arguments *a, const char *option, const char *value)
{
	fact((size_t)a->argc + 3 < ARRAY_LEN(a->argv));
	a->argv[a->argc++] = (char *)(uintptr_t)option;
	if (value)
		a->argv[a->argc++] = (char *)(uintptr_t)value;
}

static void __attribute__((format(printf, 3, 4))) addf(struct arguments *a, const char *option,
						       const char *format, ...)
{
	char *text = a->text[a->texts++];
	va_list ap;

	fact((size_t)a->texts <= ARRAY_LEN(a->text));
	va_start(ap, format);
	vsnprintf(text, sizeof(a->text[0]), format, ap);
	va_end(ap);
	add(a, option, text);
}

static void build_arguments(struct arguments *a, const struct run_config *rc, const char *path,
			    int ready_fd)
{
	memset(a, 0, sizeof(*a));
	add(a, path, NULL);
	add(a, "--state-dir", rc->state);
	add(a, "--backend", rc->backend == 1 ? "kvm" : "soft");
	addf(a, "--memory", "%llu", (unsigned long long)rc->memory);
	addf(a, "--vps", "%u", rc->vps);
	add(a, "--name", rc->name);
	if (rc->hugetlb)
		add(a, "--hugetlb", NULL);
	if (rc->force_kvm)
		add(a, "--force-kvm", NULL);
	if (rc->standby)
		add(a, "--standby", NULL);
	addf(a, "--watchdog", "%u", rc->watchdog_s);
	if (rc->fill)
		add(a, "--paravisor-fill", rc->fill);
	addf(a, "--config-fd", "%d", rc->config_fd);
	addf(a, "--exe-fd", "%d", rc->exe_fd);
	addf(a, "--ready-fd", "%d", ready_fd);
	for (unsigned i = 0; i < rc->n_fds; i++)
		addf(a, "--fd", "%s=%d", rc->fds[i].name, rc->fds[i].fd);
	if (rc->backend == 2) {
		addf(a, "--guest-fd", "%d", rc->kernel_fd);
		add(a, "--cmdline", rc->cmdline);
	}
}

/* Waits for the partition, which has told that it ends; what it held is free
 * then. If it was killed, the children it leaves behind die of its death and
 * come to this process, because it is their subreaper. Returns its exit status. */
static int reap_partition(pid_t pid)
{
	int fd = pidfd_open(pid, 0), status = 0;
	struct pollfd ended = { .fd = fd, .events = POLLIN };

	if (poll(&ended, 1, END_MS) == 0) {
		fprintf(stderr, "holdfast: partition %d does not end: killed\n", (int)pid);
		pidfd_send_signal(fd, SIGKILL, NULL, 0);
	}
	close(fd);
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	for (int i = 0; i < ORPHANS_MS && waitpid(-1, NULL, WNOHANG) >= 0; i++)
		usleep(1000);
	return 1;
}

/* Starts the partition and waits for its one word. Returns its pid or -errno. */
static pid_t start_partition(const struct run_config *rc)
{
	static struct arguments a;
	char path[PATH_MAX], line[512];
	int pipe_fds[2], r = partition_path(path, sizeof(path));
	ssize_t n;
	pid_t pid;

	if (r < 0) {
		fprintf(stderr, "holdfast: holdfast-partition is not beside this program (%s); "
				"install both in one directory\n", strerror(-r));
		return r;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
		r = -errno;
		fprintf(stderr, "holdfast: no pipe to the partition (%s); raise the limit of open files\n",
			strerror(-r));
		return r;
	}
	build_arguments(&a, rc, path, pipe_fds[1]);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = fork();
	if (pid == 0) {
		fcntl(pipe_fds[1], F_SETFD, 0);
		fcntl(rc->config_fd, F_SETFD, 0);
		fcntl(rc->exe_fd, F_SETFD, 0);
		fcntl(rc->kernel_fd, F_SETFD, 0);
		for (unsigned i = 0; i < rc->n_fds; i++)
			fcntl(rc->fds[i].fd, F_SETFD, 0);
		execv(path, a.argv);
		_exit(127);
	}
	close(pipe_fds[1]);
	n = pid < 0 ? snprintf(line, sizeof(line), "no process for its partition (%s); raise the limit "
			       "of processes", strerror(errno))
		    : read(pipe_fds[0], line, sizeof(line) - 1);
	close(pipe_fds[0]);
	if (n == 1 && line[0] == '\0')
		return pid;
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (pid > 0)
		reap_partition(pid);
	fprintf(stderr, "holdfast: the VM did not start: %s\n",
		n > 0 ? line : "its partition ended without a word");
	return -EIO;
}

int cmd_run(int argc, char **argv)
{
	static struct run_config rc;
	int r = run_config_parse(&rc, argc, argv), status;
	struct state_dir dir;
	bool ended;
	pid_t pid;

	if (r > 0)
		return r;
	if (run_config_open(&rc) < 0 || make_state_dir(rc.state, &dir) < 0)
		return 1;
	notify_take_environment();
	pid = start_partition(&rc);
	if (pid < 0) {
		forget_state_dir(&dir);
		return 1;
	}
	run_config_close(&rc);
	notify_begin(rc.state);
	r = console_run(rc.state, true, &ended);
	if (!ended)
		return r;
	notify_end();
	status = reap_partition(pid);
	return r ? r : status;
}
