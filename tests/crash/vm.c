/* The world around a paravisor: started once, asked often. */
#include "tests/crash/vm.h"

#include "servicing/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define LOOK_NS UINT64_C(200000)

enum { START_S = 30, END_S = 5, IDLE_LOOKS = 3 };

static int failed(const char *what, int error)
{
	fprintf(stderr, "crashpoints: %s: %s\n", what, strerror(error));
	return -1;
}

static int listen_at(struct vm *vm)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%.90s/guest", vm->dir);
	vm->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (vm->listener < 0 || bind(vm->listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(vm->listener, 1) < 0)
		return failed(a.sun_path, errno);
	return 0;
}

static void run_holdfast(const struct vm *vm, const char *holdfast, const char *guest,
			 const char *disk)
{
	char cmdline[VM_PATH + 64], log[VM_PATH + 16];
	int null = open("/dev/null", O_RDONLY), out;

	snprintf(cmdline, sizeof(cmdline), "stepguest sock=%s/guest", vm->dir);
	snprintf(log, sizeof(log), "%s/console", vm->dir);
	out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	setenv("MALLOC_PERTURB_", "90", 1); /* fresh memory of malloc() is filled with 0xA5 */
	execl(holdfast, holdfast, "run", "--backend", "soft", "--kernel", guest, "--cmdline",
	      cmdline, "--vps", "1", "--memory", "16M", "--disk", disk, "--state", vm->state,
	      "--paravisor-fill", "0xA5", "--watchdog", "0" /* a tracer holds owners still */, NULL);
	_exit(127);
}

static int start_run(struct vm *vm, const char *holdfast, const char *guest)
{
	char disk[VM_PATH + 16];
	int fd;

	snprintf(disk, sizeof(disk), "%s/disk", vm->dir);
	fd = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, VM_DISK_BYTES) < 0)
		return failed(disk, errno);
	close(fd);
	vm->run = fork();
	if (vm->run == 0)
		run_holdfast(vm, holdfast, guest, disk);
	return vm->run < 0 ? failed("fork", errno) : 0;
}

static int await_guest(struct vm *vm)
{
	uint64_t until = mono_now_ns() + START_S * SECOND;

	while (vm->guest < 0 && mono_now_ns() < until && vm->trace.ended != vm->run) {
		trace_wait(&vm->trace, LOOK_NS);
		vm->guest = accept4(vm->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	if (vm->guest < 0) {
		fprintf(stderr, "crashpoints: the guest did not start; see %s\n", vm->dir);
		return -1;
	}
	vm->asked = true;
	vm_await(vm, START_S);
	if (strcmp(vm->reply, "ready") == 0)
		return 0;
	fprintf(stderr, "crashpoints: the guest is not ready: %s; see %s\n", vm->reply, vm->dir);
	return -1;
}

static int trace_partition(struct vm *vm)
{
	char path[VM_PATH + 32];
	FILE *f;
	int n, r;

	snprintf(path, sizeof(path), "%s/partition.pid", vm->state);
	f = fopen(path, "re");
	n = f ? fscanf(f, "%d", &vm->partition) : 0;
	if (f)
		fclose(f);
	if (n != 1)
		return failed(path, f ? EINVAL : ENOENT);
	r = trace_seize(vm->partition);
	return r < 0 ? failed("tracing the partition (ptrace)", -r) : 0;
}

/* The first paravisor was started before there was anybody to trace it. */
static int trace_owner(struct vm *vm)
{
	pid_t owner = vm_owner(vm);
	int r = owner ? trace_seize(owner) : -ESRCH;

	return r < 0 ? failed("tracing the paravisor (ptrace)", -r) : 0;
}

int vm_start(struct vm *vm, const char *holdfast, const char *guest)
{
	*vm = (struct vm){ .listener = -1, .guest = -1, .dir = "/tmp/crashpoints-XXXXXX" };
	if (!mkdtemp(vm->dir))
		return failed(vm->dir, errno);
	snprintf(vm->state, sizeof(vm->state), "%.80s/state", vm->dir);
	if (listen_at(vm) < 0 || start_run(vm, holdfast, guest) < 0 || await_guest(vm) < 0)
		return -1;
	if (control_custody(vm->state, &vm->c) < 0)
		return -1;
	return trace_partition(vm) < 0 ? -1 : trace_owner(vm);
}

static void remove_dir(const char *dir)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
}

void vm_end(struct vm *vm, bool keep)
{
	uint64_t until = mono_now_ns() + END_S * SECOND;

	if (vm->guest >= 0)
		close(vm->guest);
	if (vm->listener >= 0)
		close(vm->listener);
	if (vm->partition > 0)
		kill(vm->partition, SIGKILL);
	else if (vm->run > 0)
		kill(vm->run, SIGTERM);
	while (vm->run > 0 && mono_now_ns() < until && vm->trace.ended != vm->run) {
		pid_t pid = trace_wait(&vm->trace, LOOK_NS);

		if (pid)
			trace_continue(pid);
		vm_release(vm);
	}
	if (vm->run > 0 && vm->trace.ended != vm->run)
		kill(vm->run, SIGKILL);
	if (vm->c.base)
		custody_detach(&vm->c);
	if (keep)
		fprintf(stderr, "crashpoints: logs are in %s\n", vm->dir);
	else
		remove_dir(vm->dir);
}

/* ---- the guest ----------------------------------------------------------------- */

int vm_ask(struct vm *vm, char command)
{
	vm->asked = true;
	vm->replied = false;
	vm->reply[0] = '\0';
	return send(vm->guest, &command, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

bool vm_answered(struct vm *vm)
{
	ssize_t n;

	if (vm->replied)
		return true;
	n = recv(vm->guest, vm->reply, sizeof(vm->reply) - 1, MSG_DONTWAIT);
	if (n < 0)
		return false;
	vm->reply[n] = '\0';
	if (n == 0)
		snprintf(vm->reply, sizeof(vm->reply), "the guest has ended");
	vm->replied = true;
	return true;
}

int vm_await(struct vm *vm, unsigned seconds)
{
	uint64_t until = mono_now_ns() + seconds * SECOND;

	while (!vm_answered(vm)) {
		pid_t pid = trace_wait(&vm->trace, LOOK_NS);

		if (pid)
			trace_continue(pid);
		vm_release(vm);
		if (mono_now_ns() < until)
			continue;
		snprintf(vm->reply, sizeof(vm->reply), "no answer of the guest in %u s", seconds);
		return -1;
	}
	return strcmp(vm->reply, "ok") == 0 ? 0 : -1;
}

/* ---- its paravisors -------------------------------------------------------------- */

pid_t vm_owner(const struct vm *vm)
{
	uint64_t word = atomic_load(&vm->c.h->owner);

	if (OWNER_STATE(word) != OWNER_OWNED || OWNER_SLOT(word) >= LIMIT_PROCS)
		return 0;
	return atomic_load(&vm->c.proc[OWNER_SLOT(word)].pid);
}

void vm_release(struct vm *vm)
{
	pid_t pid;

	while ((pid = trace_take_started(&vm->trace)) != 0)
		trace_continue(pid);
}

pid_t vm_idle(struct vm *vm, unsigned seconds, uint64_t *ret_at)
{
	uint64_t until = mono_now_ns() + seconds * SECOND, turns = 0;

	for (unsigned looks = 0; mono_now_ns() < until;) {
		uint64_t now = atomic_load(&vm->c.stats->turns);
		pid_t pid = vm_owner(vm);

		looks = pid && tracee_sleeps(pid, ret_at) && now == turns ? looks + 1 : 0;
		if (looks == IDLE_LOOKS)
			return pid;
		turns = now;
		pid = trace_wait(&vm->trace, LOOK_NS);
		if (pid)
			trace_continue(pid);
		vm_release(vm);
	}
	return 0;
}

static bool cq_tail(const char *fdinfo, uint32_t *ret)
{
	char line[VM_LINE];
	FILE *f = fopen(fdinfo, "re");
	bool got = false;

	while (f && !got && fgets(line, sizeof(line), f))
		got = sscanf(line, "CqTail: %" SCNu32, ret) == 1;
	if (f)
		fclose(f);
	return got;
}

bool vm_performed(const struct vm *vm, uint32_t *ret)
{
	char path[VM_PATH + 32];
	int row = custody_fd_row(&vm->c, "uring.0");

	if (row < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", vm->partition, vm->c.h->fds[row].fd);
	return cq_tail(path, ret);
}

bool vm_named(struct vm *vm, unsigned seconds)
{
	uint64_t until = mono_now_ns() + seconds * SECOND;

	while (OWNER_STATE(atomic_load(&vm->c.h->owner)) != OWNER_TAKING) {
		if (mono_now_ns() > until)
			return false;
		trace_wait(&vm->trace, LOOK_NS);
	}
	return true;
}

pid_t vm_next(struct vm *vm, unsigned seconds)
{
	uint64_t until = mono_now_ns() + seconds * SECOND;

	while (mono_now_ns() < until) {
		pid_t pid = trace_take_started(&vm->trace);

		if (pid)
			return pid;
		pid = trace_wait(&vm->trace, LOOK_NS);
		if (pid)
			trace_continue(pid);
	}
	return 0;
}
