/* Processes: paravisors and the guest of `soft`, started by descriptor.
 *
 * clone(CLONE_VM | CLONE_VFORK): the child borrows this address space until it
 * executes, so its cost does not depend on the guest's size. Until then it
 * does nothing but duplicate descriptors and execute. A paravisor finds
 * custody at WIRE_FD_CUSTODY and row n of the table at WIRE_FD_BASE + n; all
 * else is close-on-exec. Both hub and sentinel spawn; neither ever ends, which
 * the death signal of the children relies on.
 *
 * A slot's words belong to the process while it lives. They are made new, with
 * new mutexes, only in a slot whose process is reaped and which the ownership
 * word does not name. */
#include "engine/partition/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_STACK = 64 << 10, CHILD_FAILED = 127 };

extern char **environ;

static int child_main(void *arg)
{
	const struct spawn *s = arg;
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(s->in_fd, STDIN_FILENO) < 0 || dup2(s->out_fd, STDOUT_FILENO) < 0 ||
	    dup2(s->err_fd, STDERR_FILENO) < 0)
		_exit(CHILD_FAILED);
	for (uint32_t i = 0; i < s->n_fds; i++) {
		if (dup2(s->fds[i].from, s->fds[i].to) < 0)
			_exit(CHILD_FAILED);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execveat(s->exe_fd, "", s->argv, environ, AT_EMPTY_PATH);
	_exit(CHILD_FAILED);
}

pid_t spawn_process(const struct spawn *s)
{
	uint8_t *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t all, before;
	struct spawn copy = *s;
	pid_t pid;
	int error;

	if (stack == MAP_FAILED)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = clone(child_main, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &copy);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	munmap(stack, CHILD_STACK);
	return pid < 0 ? -error : pid;
}

static const char *role_name(enum wire_role role)
{
	switch (role) {
	case ROLE_FIRST:
		return "first";
	case ROLE_SUCCESSOR:
		return "successor";
	case ROLE_TAKER:
		return "taker";
	case ROLE_STANDBY:
		return "standby";
	}
	return "?";
}

/* Slots that the ownership protocol may still speak of. */
static bool named(const struct partition *p, uint32_t slot)
{
	uint64_t w = atomic_load(&p->c.h->owner);

	if (OWNER_STATE(w) != OWNER_NONE && OWNER_SLOT(w) == slot)
		return true;
	return OWNER_STATE(w) == OWNER_FLIPPING && atomic_load(&p->c.h->flip_to) == slot;
}

/* The free slot that was used longest ago. */
static int free_slot(struct partition *p)
{
	for (uint32_t i = 0; i < LIMIT_PROCS; i++) {
		uint32_t slot = (p->next_slot + i) % LIMIT_PROCS;

		if (!p->child[slot].alive && !p->child[slot].gone_pending && !named(p, slot)) {
			p->next_slot = slot + 1;
			return (int)slot;
		}
	}
	return -EBUSY;
}

static int fresh(struct partition *p, uint32_t slot, uint32_t exe_row, enum wire_role role)
{
	struct wire_proc *proc = &p->c.proc[slot];

	for (uint32_t t = 0; t < LIMIT_THREADS; t++) {
		int error = custody_mutex_init(&proc->thread[t]);

		if (error)
			return error;
	}
	atomic_store(&proc->followed_seq, 0);
	atomic_store(&proc->heartbeat_ns, 0);
	atomic_store(&proc->cut_seq, 0);
	memset(proc->build, 0, sizeof(proc->build));
	memset(proc->why, 0, sizeof(proc->why));
	proc->role = role;
	proc->exe_row = exe_row;
	atomic_store(&proc->pid, 0);
	atomic_store(&proc->state, PROC_SPAWNED);
	return 0;
}

static uint32_t list_fds(const struct partition *p, struct spawn_fd list[LIMIT_FDS + 1])
{
	const struct wire_header *h = p->c.h;
	uint32_t n = 0;

	list[n++] = (struct spawn_fd){ .from = p->c.fd, .to = WIRE_FD_CUSTODY };
	for (uint32_t i = 0; i < h->n_fds; i++) {
		if (h->fds[i].fd >= 0 && !resource_is_disk(&h->fds[i]))
			list[n++] = (struct spawn_fd){ .from = h->fds[i].fd,
						       .to = WIRE_FD_BASE + (int)i };
	}
	return n;
}

static pid_t start(struct partition *p, uint32_t slot, uint32_t exe_row, enum wire_role role)
{
	struct spawn_fd fds[LIMIT_FDS + 1];
	char name[] = "holdfast", verb[] = "paravisor", slot_opt[] = "--slot",
	     role_opt[] = "--role", fill_opt[] = "--fill", number[12], role_arg[16], fill[8];
	char *argv[] = { name, verb, slot_opt, number, role_opt, role_arg,
			 p->o.fill ? fill_opt : NULL, fill, NULL };
	struct spawn s = { .exe_fd = p->c.h->fds[exe_row].fd, .in_fd = STDIN_FILENO,
			   .out_fd = p->log_fd, .err_fd = p->log_fd, .argv = argv, .fds = fds };

	snprintf(number, sizeof(number), "%u", slot);
	snprintf(role_arg, sizeof(role_arg), "%s", role_name(role));
	snprintf(fill, sizeof(fill), "%s", p->o.fill ? p->o.fill : "");
	s.n_fds = list_fds(p, fds);
	return spawn_process(&s);
}

static bool is_exe(const struct partition *p, uint32_t row)
{
	const struct wire_fd *f = &p->c.h->fds[row];

	return row < p->c.h->n_fds && f->fd >= 0 && strncmp(f->name, "exe.", 4) == 0;
}

static int spawn_locked(struct partition *p, uint32_t exe_row, enum wire_role role)
{
	struct child *c;
	int slot = p->no_more_children ? -ESHUTDOWN : free_slot(p), error;
	pid_t pid;

	if (slot < 0)
		return slot;
	error = fresh(p, (uint32_t)slot, exe_row, role);
	pid = error ? error : start(p, (uint32_t)slot, exe_row, role);
	if (pid < 0) {
		atomic_store(&p->c.proc[slot].state, PROC_FREE);
		return pid;
	}
	c = &p->child[slot];
	*c = (struct child){ .alive = true, .pid = pid, .role = role, .exe_row = exe_row };
	c->pidfd = pidfd_open(pid, 0);
	atomic_store(&p->c.proc[slot].pid, pid);
	atomic_fetch_add(&p->c.h->spawns, 1);
	p->exe_used[exe_row] = atomic_load(&p->c.h->spawns);
	return slot;
}

int spawn_paravisor(struct partition *p, uint32_t exe_row, enum wire_role role)
{
	int slot;

	if (!is_exe(p, exe_row))
		return -ENOENT;
	pthread_mutex_lock(&p->children_lock);
	slot = spawn_locked(p, exe_row, role);
	pthread_mutex_unlock(&p->children_lock);
	if (slot < 0 && slot != -ESHUTDOWN)
		partition_log("cannot start a paravisor from row %u: %s", exe_row, strerror(-slot));
	signal_eventfd(p->wake_fd);
	return slot;
}

int spawn_kill(struct partition *p, uint32_t slot)
{
	int error = -ESRCH;

	pthread_mutex_lock(&p->children_lock);
	if (p->child[slot].alive)
		error = pidfd_send_signal(p->child[slot].pidfd, SIGKILL, NULL, 0) ? -errno : 0;
	pthread_mutex_unlock(&p->children_lock);
	return error;
}

int spawn_kill_stamped(struct partition *p, uint32_t slot)
{
	uint64_t before = atomic_load(&p->c.h->death_ns);
	int error;

	atomic_store(&p->kill_stamped, slot + 1);
	atomic_store(&p->c.h->death_ns, mono_now_ns());
	error = pidfd_send_signal(p->child[slot].pidfd, SIGKILL, NULL, 0) ? -ESRCH : 0;
	if (error) {
		atomic_store(&p->c.h->death_ns, before);
		atomic_store(&p->kill_stamped, 0);
	}
	return error;
}

void spawn_kill_asked(struct partition *p)
{
	uint64_t ask = atomic_exchange(&p->c.h->kill_ask, 0), word;
	uint32_t slot = (uint32_t)ask - 1;

	if (ask == 0 || slot >= LIMIT_PROCS)
		return;
	pthread_mutex_lock(&p->children_lock);
	word = atomic_load(&p->c.h->owner);
	if (OWNER_EPOCH(word) == ask >> 32 && OWNER_SLOT(word) == slot && p->child[slot].alive &&
	    (OWNER_STATE(word) == OWNER_OWNED || OWNER_STATE(word) == OWNER_FLIPPING)) {
		partition_log("the owner in slot %u stands still, or does not hand back: killed",
			      slot);
		spawn_kill_stamped(p, slot);
	}
	pthread_mutex_unlock(&p->children_lock);
}

bool spawn_alive(struct partition *p, uint32_t slot)
{
	bool alive;

	pthread_mutex_lock(&p->children_lock);
	alive = slot < LIMIT_PROCS && p->child[slot].alive;
	pthread_mutex_unlock(&p->children_lock);
	return alive;
}

/* ---- the dead ------------------------------------------------------------------ */

static void say_why(struct partition *p, uint32_t slot, const siginfo_t *end)
{
	struct child *c = &p->child[slot];
	const char *why = p->c.proc[slot].why;

	if (atomic_load(&p->c.proc[slot].state) == PROC_FAILED && why[0])
		snprintf(c->why, sizeof(c->why), "%.*s", (int)sizeof(c->why) - 1, why);
	else if (end->si_code == CLD_EXITED)
		snprintf(c->why, sizeof(c->why), "it ended with status %d", end->si_status);
	else
		snprintf(c->why, sizeof(c->why), "it was killed by signal %d", end->si_status);
}

static bool was_owner(const struct partition *p, uint32_t slot)
{
	uint64_t w = atomic_load(&p->c.h->owner);

	return p->child[slot].died_owner ||
	       (OWNER_STATE(w) != OWNER_NONE && OWNER_SLOT(w) == slot);
}

/* Before anybody has owned, a first paravisor that gives up ends the VM: what
 * it could not do, another will not do either. */
static void first_ended(struct partition *p, uint32_t slot, bool killed)
{
	if (OWNER_STATE(atomic_load(&p->c.h->owner)) != OWNER_NONE)
		return;
	if (killed) {
		p->child[slot].alive = false;
		if (spawn_locked(p, p->child[slot].exe_row, ROLE_FIRST) >= 0)
			return;
	}
	snprintf(p->end_why, sizeof(p->end_why), "the first paravisor did not start: %s",
		 p->child[slot].why);
	partition_log("%s", p->end_why);
	hub_end(p, 1);
}

static void ended(struct partition *p, uint32_t slot, const siginfo_t *end)
{
	struct child *c = &p->child[slot];
	bool killed = end->si_code != CLD_EXITED && end->si_status == SIGKILL;
	uint32_t state = atomic_load(&p->c.proc[slot].state);

	say_why(p, slot, end);
	if (was_owner(p, slot)) {
		partition_log("paravisor %d (slot %u), the owner, ended: %s", c->pid, slot, c->why);
		if (!killed || c->stood_still)
			ownership_fault(p);
	} else if ((state != PROC_OWNER && state != PROC_RETIRED) ||
		   atomic_load(&p->c.h->predecessor) == slot + 1) {
		/* A successor, or a predecessor, which may not have said yet that it
		 * follows: the machine knows which, if any. */
		c->gone_pending = true;
	}
	if (c->role == ROLE_STANDBY && state == PROC_FAILED)
		p->standby_ns = mono_now_ns() + PARTITION_STANDBY_FAILED_NS;
	c->gave_up = end->si_code == CLD_EXITED;
	close(c->pidfd);
	c->alive = false;
	atomic_store(&p->c.proc[slot].pid, 0);
	atomic_store(&p->c.proc[slot].state, PROC_FREE);
	if (c->role == ROLE_FIRST)
		first_ended(p, slot, killed);
	atomic_fetch_add(&p->c.h->owner_futex, 1);
	futex_wake(&p->c.h->owner_futex);
}

static void tell_gone(struct partition *p, uint32_t slot)
{
	struct child *c = &p->child[slot];
	struct wire_notice n = { .op = OP_SUCCESSOR_GONE, .arg = slot };

	n.bytes = (uint32_t)strlen(c->why);
	memcpy(n.data, c->why, n.bytes);
	if (hub_notice(p, &n) == 0)
		c->gone_pending = false;
}

/* A follower has caught up with the live log: the owner is told, once. */
static void tell_ready(struct partition *p, uint32_t slot)
{
	struct child *c = &p->child[slot];
	struct wire_notice n = { .op = OP_SUCCESSOR_READY, .arg = slot };

	if (c->ready_told || c->role != ROLE_SUCCESSOR ||
	    atomic_load(&p->c.proc[slot].state) != PROC_READY)
		return;
	n.value = atomic_load(&p->c.proc[slot].followed_seq);
	c->ready_told = hub_notice(p, &n) == 0;
}

void spawn_reap(struct partition *p)
{
	pthread_mutex_lock(&p->children_lock);
	for (uint32_t slot = 0; slot < LIMIT_PROCS; slot++) {
		struct child *c = &p->child[slot];
		siginfo_t end = { 0 };

		if (c->alive && waitid(P_PIDFD, (id_t)c->pidfd, &end, WEXITED | WNOHANG) == 0 &&
		    end.si_pid == c->pid)
			ended(p, slot, &end);
		if (c->alive)
			tell_ready(p, slot);
		if (c->gone_pending)
			tell_gone(p, slot);
	}
	pthread_mutex_unlock(&p->children_lock);
}

/* A killed process ends when the kernel has let go of its last request. */
static void await_end(struct partition *p, uint32_t slot, uint64_t until)
{
	struct child *c = &p->child[slot];
	struct pollfd ended = { .fd = c->pidfd, .events = POLLIN };
	uint64_t now = mono_now_ns();
	siginfo_t end;

	if (!c->alive)
		return;
	if (poll(&ended, 1, now < until ? (int)((until - now) / 1000000) : 0) != 1 ||
	    waitid(P_PIDFD, (id_t)c->pidfd, &end, WEXITED | WNOHANG)) {
		partition_log("paravisor %d does not end: its disks stay locked until the kernel "
			      "lets go of its requests", c->pid);
		return;
	}
	pthread_mutex_lock(&p->children_lock);
	close(c->pidfd);
	c->alive = false;
	pthread_mutex_unlock(&p->children_lock);
}

static void close_disks(struct partition *p)
{
	for (uint32_t i = 0; i < p->c.h->n_fds; i++) {
		if (p->c.h->fds[i].fd >= 0 && resource_is_disk(&p->c.h->fds[i]))
			resource_disk_drop(p, i);
	}
}

void spawn_end(struct partition *p)
{
	uint64_t until = mono_now_ns() + PARTITION_END_NS;

	pthread_mutex_lock(&p->children_lock);
	p->no_more_children = true;
	pthread_mutex_unlock(&p->children_lock);
	for (uint32_t i = 0; i < LIMIT_PROCS; i++)
		spawn_kill(p, i);
	for (uint32_t i = 0; i < LIMIT_PROCS; i++)
		await_end(p, i, until);
	close_disks(p);
}

/* ---- the standby ------------------------------------------------------------------ */

/* A child that stands by: it never owned. */
static bool stands_by(const struct partition *p, uint32_t slot)
{
	uint32_t state = atomic_load(&p->c.proc[slot].state);

	return p->child[slot].alive && p->child[slot].role == ROLE_STANDBY &&
	       state >= PROC_SPAWNED && state <= PROC_READY;
}

/* True: there is one of this build. One of another build is sent away. */
static bool has_standby(struct partition *p, uint32_t owner, uint32_t row)
{
	bool has = false;

	for (uint32_t slot = 0; slot < LIMIT_PROCS; slot++) {
		if (slot == owner || !stands_by(p, slot) || named(p, slot))
			continue;
		if (p->child[slot].exe_row == row && !has)
			has = true;
		else
			pidfd_send_signal(p->child[slot].pidfd, SIGKILL, NULL, 0);
	}
	return has;
}

bool spawn_standby(struct partition *p)
{
	uint64_t word = atomic_load(&p->c.h->owner);
	uint32_t owner = OWNER_SLOT(word);
	bool due = false;

	if (!p->o.standby || OWNER_STATE(word) != OWNER_OWNED || owner >= LIMIT_PROCS)
		return false;
	pthread_mutex_lock(&p->children_lock);
	if (p->child[owner].alive && !has_standby(p, owner, p->child[owner].exe_row)) {
		due = mono_now_ns() < p->standby_ns;
		if (!due) {
			spawn_locked(p, p->child[owner].exe_row, ROLE_STANDBY);
			p->standby_ns = mono_now_ns() + PARTITION_STANDBY_NS;
		}
	}
	pthread_mutex_unlock(&p->children_lock);
	return due;
}

/* ---- executables ------------------------------------------------------------------ */

static bool exe_in_use(const struct partition *p, uint32_t row)
{
	uint32_t predecessor = atomic_load(&p->c.h->predecessor);
	bool used = predecessor && predecessor <= LIMIT_PROCS &&
		    p->child[predecessor - 1].exe_row == row;

	for (uint32_t i = 0; i < LIMIT_PROCS; i++)
		used |= (p->child[i].alive || named(p, i)) && p->child[i].exe_row == row;
	return used;
}

/* Closes the executable that was used longest ago when there are too many. */
static void drop_oldest_exe(struct partition *p)
{
	uint32_t n = 0;
	int oldest = -1;

	for (uint32_t i = 0; i < p->c.h->n_fds; i++) {
		if (!is_exe(p, i))
			continue;
		n++;
		if (!exe_in_use(p, i) &&
		    (oldest < 0 || p->exe_used[i] < p->exe_used[oldest]))
			oldest = (int)i;
	}
	if (n < PARTITION_EXES || oldest < 0)
		return;
	close(p->c.h->fds[oldest].fd);
	p->c.h->fds[oldest].fd = -1;
}

int spawn_exe_row(struct partition *p, int fd)
{
	char name[24];
	int row, high = resource_lift(fd);

	if (high < 0)
		return high;
	pthread_mutex_lock(&p->children_lock);
	drop_oldest_exe(p);
	snprintf(name, sizeof(name), "exe.%u", p->exes);
	row = custody_fd_add(&p->c, name, high);
	if (row >= 0) {
		p->exes++;
		p->exe_used[row] = atomic_load(&p->c.h->spawns);
	} else {
		close(high);
	}
	pthread_mutex_unlock(&p->children_lock);
	return row;
}
