/* ptrace(2).
 *
 * Breakpoints are written through /proc/PID/mem, which needs no stopped
 * process and leaves the file alone: text is mapped privately. A string
 * instruction with a prefix takes one step an iteration; as a whole it is
 * executed by a breakpoint behind it. */
#include "tests/crash/tracee.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS UINT64_C(1000000)
#define KILL_NS UINT64_C(10000000000)

enum { INT3 = 0xcc, SPINS = 400, NAP_NS = 20000, NO_ADDRESS = 0 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static long request(enum __ptrace_request what, pid_t pid, uintptr_t address, uintptr_t data)
{
	return ptrace(what, pid, (void *)address, (void *)data);
}

/* ---- all of them ----------------------------------------------------------------- */

/* How many threads of @tasks were not traced before. */
static unsigned seize_tasks(DIR *tasks)
{
	const uintptr_t options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
				  PTRACE_O_TRACEEXEC;
	struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(tasks)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		n += tid > 0 && request(PTRACE_SEIZE, tid, 0, options) == 0;
	}
	return n;
}

/* Threads that start meanwhile are found by looking again. */
int trace_seize(pid_t pid)
{
	unsigned n, all = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	do {
		DIR *tasks = opendir(path);

		if (!tasks)
			return -errno;
		n = seize_tasks(tasks);
		all += n;
		closedir(tasks);
	} while (n);
	return all ? 0 : -EPERM;
}

static void add_started(struct trace *t, pid_t pid)
{
	if (t->n_started == TRACE_STARTED)
		request(PTRACE_CONT, pid, 0, 0);
	else
		t->started[t->n_started++] = pid;
}

static void forget_started(struct trace *t, pid_t pid)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n_started; i++)
		if (t->started[i] != pid)
			t->started[n++] = t->started[i];
	t->n_started = n;
}

pid_t trace_take_started(struct trace *t)
{
	pid_t pid = t->n_started ? t->started[0] : 0;

	forget_started(t, pid);
	return pid;
}

/* A stop that is this module's own business goes on; true: the caller's. */
static bool stopped(struct trace *t, pid_t pid, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_EXEC)
		add_started(t, pid);
	else if (event == PTRACE_EVENT_STOP && sig != SIGTRAP)
		request(PTRACE_LISTEN, pid, 0, 0);
	else if (event != 0)
		request(PTRACE_CONT, pid, 0, 0);
	else if (sig == SIGTRAP)
		return true;
	else
		request(PTRACE_CONT, pid, 0, (uintptr_t)sig);
	return false;
}

/* Everything that is there is taken before the caller's stop is returned: else
 * a process that stops often would keep the others from going on. */
pid_t trace_wait(struct trace *t, uint64_t timeout_ns)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	uint64_t until = 0;
	pid_t ours = 0;

	for (unsigned idle = 0;; idle++) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);

		if (pid > 0 && WIFSTOPPED(status)) {
			if (stopped(t, pid, status))
				ours = pid;
			idle = 0;
		} else if (pid > 0) {
			t->ended = pid;
			t->ended_status = status;
			forget_started(t, pid);
			return ours;
		} else if (ours) {
			return ours;
		} else if (idle == SPINS) {
			until = now_ns() + timeout_ns;
		} else if (idle > SPINS) {
			if (now_ns() >= until)
				return 0;
			nanosleep(&nap, NULL);
		}
	}
}

int trace_continue(pid_t pid)
{
	return request(PTRACE_CONT, pid, 0, 0) < 0 ? -errno : 0;
}

int trace_kill(struct trace *t, pid_t pid)
{
	uint64_t until = now_ns() + KILL_NS;

	t->ended = 0;
	if (kill(pid, SIGKILL) < 0)
		return -errno;
	while (t->ended != pid) {
		if (now_ns() > until)
			return -ETIMEDOUT;
		trace_wait(t, POLL_NS);
	}
	return 0;
}

/* ---- one ------------------------------------------------------------------------- */

int tracee_open(struct tracee *te, struct trace *t, pid_t pid)
{
	char path[64];
	int r;

	*te = (struct tracee){ .trace = t, .decoder = decoder_new(), .pid = pid, .memory = -1 };
	if (!te->decoder)
		return -ENOMEM;
	r = space_read(&te->space, pid);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	te->memory = open(path, O_RDWR | O_CLOEXEC);
	return te->memory < 0 ? -errno : 0;
}

void tracee_close(struct tracee *te)
{
	if (te->memory >= 0)
		close(te->memory);
	te->memory = -1;
	te->decoder = decoder_free(te->decoder);
}

int tracee_break(struct tracee *te, uint64_t at)
{
	const uint8_t int3 = INT3;

	if (pread(te->memory, &te->broken, 1, (off_t)at) != 1 ||
	    pwrite(te->memory, &int3, 1, (off_t)at) != 1)
		return -EFAULT;
	te->break_at = at;
	return 0;
}

void tracee_unbreak(struct tracee *te)
{
	ssize_t n = 0;

	if (te->break_at != NO_ADDRESS)
		n = pwrite(te->memory, &te->broken, 1, (off_t)te->break_at);
	te->break_at = n < 0 ? te->break_at : NO_ADDRESS;
}

static enum tracee_result wait_stop(struct tracee *te)
{
	uint64_t asked = now_ns();

	te->trace->ended = 0;
	for (;;) {
		pid_t pid = trace_wait(te->trace, POLL_NS);

		if (pid == te->pid)
			return TRACEE_STOPPED;
		if (te->trace->ended == te->pid)
			return TRACEE_ENDED;
		if (pid)
			request(PTRACE_CONT, pid, 0, 0);
		if (now_ns() - asked < POLL_NS)
			continue;
		asked = now_ns();
		if (te->over && te->over(te->context))
			return TRACEE_OVER;
	}
}

enum tracee_result tracee_await(struct tracee *te)
{
	enum tracee_result r = wait_stop(te);
	struct user_regs_struct regs;
	uint64_t at = te->break_at;

	tracee_unbreak(te);
	if (r != TRACEE_STOPPED || tracee_registers(te, &regs) < 0)
		return r;
	if (regs.rip == at + 1) {
		regs.rip = at;
		request(PTRACE_SETREGS, te->pid, 0, (uintptr_t)&regs);
	}
	return r;
}

enum tracee_result tracee_run(struct tracee *te)
{
	request(PTRACE_CONT, te->pid, 0, 0);
	return tracee_await(te);
}

int tracee_registers(const struct tracee *te, struct user_regs_struct *ret)
{
	return request(PTRACE_GETREGS, te->pid, 0, (uintptr_t)ret) < 0 ? -errno : 0;
}

const struct insn *tracee_insn(struct tracee *te, uint64_t at)
{
	const struct insn *known = decoder_at(te->decoder, at, NULL, 0);
	uint8_t text[INSN_BYTES];
	ssize_t n;

	if (known)
		return known;
	n = pread(te->memory, text, sizeof(text), (off_t)at);
	return decoder_at(te->decoder, at, text, n > 0 ? (size_t)n : 0);
}

void tracee_pin(const struct tracee *te)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : (unsigned)cpu, &set);
	sched_setaffinity(te->pid, sizeof(set), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

void tracee_unpin(void)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	sched_setaffinity(0, sizeof(set), &set);
}

void tracee_peek(const struct tracee *te, uint64_t from, void *to, size_t bytes)
{
	ssize_t n = pread(te->memory, to, bytes, (off_t)from);

	(void)n;
}

/* Mappings change: an address of none of the known ones makes them be read again. */
static bool known(const struct space *s, uint64_t address)
{
	for (unsigned i = 0; i < s->n; i++)
		if (address >= s->map[i].from && address < s->map[i].to)
			return true;
	return false;
}

bool tracee_stores(struct tracee *te, const struct insn *in, const struct user_regs_struct *regs,
		   struct tracee_store *ret)
{
	for (unsigned i = 0; i < in->n_stores; i++) {
		struct insn_range r = insn_store(in, i, regs);
		const struct space_map *m;

		if (!known(&te->space, r.from))
			space_read(&te->space, te->pid);
		m = space_shared(&te->space, r.from, r.bytes);
		if (!m)
			continue;
		snprintf(ret->path, sizeof(ret->path), "%s", m->path);
		ret->offset = r.from - m->from + m->offset;
		ret->address = r.from;
		ret->bytes = r.bytes;
		return true;
	}
	return false;
}

static bool maps_memory(const struct user_regs_struct *regs)
{
	switch (regs->rax) {
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mremap:
	case SYS_mprotect:
		return true;
	default:
		return false;
	}
}

/* What does not enter the kernel cannot wait: this waits for it alone. */
static enum tracee_result step(struct tracee *te)
{
	int status;

	request(PTRACE_SINGLESTEP, te->pid, 0, 0);
	if (waitpid(te->pid, &status, __WALL) != te->pid || !WIFSTOPPED(status)) {
		te->trace->ended = te->pid;
		te->trace->ended_status = status;
		return TRACEE_ENDED;
	}
	if (stopped(te->trace, te->pid, status))
		return TRACEE_STOPPED;
	return wait_stop(te);
}

enum tracee_result tracee_execute(struct tracee *te, const struct insn *in, bool part)
{
	struct user_regs_struct regs;
	enum tracee_result r;

	if (in->repeated && !part && tracee_break(te, in->at + in->bytes) == 0)
		return tracee_run(te);
	if (!in->syscall)
		return step(te);
	tracee_registers(te, &regs);
	request(PTRACE_SINGLESTEP, te->pid, 0, 0);
	r = wait_stop(te);
	if (r == TRACEE_STOPPED && maps_memory(&regs))
		space_read(&te->space, te->pid);
	return r;
}

bool tracee_sleeps(pid_t pid, uint64_t *ret_at)
{
	char path[64], line[256];
	unsigned long long at;
	long number;
	FILE *f;
	bool got;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	got = fgets(line, sizeof(line), f) &&
	      sscanf(line, "%ld %*s %*s %*s %*s %*s %*s %*s %llx", &number, &at) == 2 &&
	      (number == SYS_epoll_wait || number == SYS_epoll_pwait || number == SYS_epoll_pwait2);
	fclose(f);
	*ret_at = got ? at : 0;
	return got;
}
