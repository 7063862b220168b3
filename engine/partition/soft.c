/* The `soft` back end: the guest is a native program in a process of its own.
 *
 * It maps RAM and its call slots (soft_abi.h) and nothing else. A VP thread
 * sleeps on its slot, takes each call's arguments once, and completes it. The
 * guest can write its slots at any time: it confuses only itself. Doorbells
 * and interrupts are eventfds that guest and paravisor share directly. A reset
 * kills the program; VP_START starts it anew. */
#include "engine/partition/partition.h"
#include "engine/partition/soft_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* A call is looked for again after this long, should a stop have come between
 * the VP thread's look and its sleep. */
#define LOOK_UP_NS UINT64_C(1000000000)

enum { SOFT_ARGS = 64, SOFT_HZ = 1000000000, SOFT_MAX_ACCESS = 8 };

struct soft {
	int slots_fd, log_fd;
	struct soft_vp *slot;
	char *words;                  /* the command line, split in place */
	char *argv[SOFT_ARGS + 1];
};

static int split(struct soft *s, const char *cmdline)
{
	char *save = NULL, *word;
	uint32_t n = 0;

	s->words = strdup(cmdline && cmdline[0] ? cmdline : "guest");
	if (!s->words)
		return -ENOMEM;
	for (word = strtok_r(s->words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (n == SOFT_ARGS)
			return -E2BIG;
		s->argv[n++] = word;
	}
	return 0;
}

static int make_slots(struct partition *p, struct soft *s)
{
	size_t bytes = sizeof(struct soft_vp) * p->o.vps;
	void *at;

	s->slots_fd = resource_lift(memfd_create("holdfast-vps", MFD_CLOEXEC));
	if (s->slots_fd < 0)
		return s->slots_fd;
	if (ftruncate(s->slots_fd, (off_t)bytes))
		return -errno;
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->slots_fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	s->slot = at;
	for (uint32_t i = 0; i < p->o.vps; i++) {
		s->slot[i].vps = p->o.vps;
		s->slot[i].ram_bytes = p->ram_bytes;
	}
	return 0;
}

static int create(struct partition *p)
{
	struct soft *s = calloc(1, sizeof(*s));
	int error;

	if (!s)
		return -ENOMEM;
	p->machine = s;
	p->c.h->tsc_hz = SOFT_HZ;
	p->c.h->apic_hz = SOFT_HZ;
	if (p->o.guest_fd < 0) {
		partition_log("the soft back end needs --guest-fd");
		return -EINVAL;
	}
	s->log_fd = resource_lift(openat(p->dir_fd, "guest.log",
					 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
	if (s->log_fd < 0)
		return s->log_fd;
	error = split(s, p->o.cmdline);
	return error ? error : make_slots(p, s);
}

/* ---- calls ------------------------------------------------------------------- */

static int convert(const struct soft_vp *slot, struct vp_exit *e)
{
	uint32_t call = *(const volatile uint32_t *)&slot->call;

	*e = (struct vp_exit){ .address = slot->address, .value = slot->value,
			       .value2 = slot->value2, .size = slot->size };
	switch (call) {
	case SOFT_RDMSR:
	case SOFT_WRMSR:
		e->exit = call == SOFT_RDMSR ? EXIT_RDMSR : EXIT_WRMSR;
		e->size = 8;
		break;
	case SOFT_HYPERCALL:
		e->exit = EXIT_HYPERCALL;
		return 0;
	case SOFT_IN:
	case SOFT_OUT:
		e->exit = EXIT_PIO;
		break;
	case SOFT_READ:
	case SOFT_WRITE:
		e->exit = EXIT_MMIO;
		break;
	default:
		return -EINVAL;
	}
	e->is_read = call == SOFT_RDMSR || call == SOFT_IN || call == SOFT_READ;
	return e->size == 0 || e->size > SOFT_MAX_ACCESS ? -EINVAL : 0;
}

static void complete(struct partition *p, uint32_t vp, uint64_t answer, bool fault)
{
	struct soft_vp *slot = &((struct soft *)p->machine)->slot[vp];

	slot->result = answer;
	slot->fault = fault;
	atomic_store_explicit(&slot->state, SOFT_IDLE, memory_order_release);
	futex_wake(&slot->state);
}

static int run(struct partition *p, uint32_t vp, struct vp_exit *ret_exit)
{
	struct soft_vp *slot = &((struct soft *)p->machine)->slot[vp];

	if (atomic_load_explicit(&slot->state, memory_order_acquire) != SOFT_POSTED) {
		futex_wait(&slot->state, SOFT_IDLE, LOOK_UP_NS);
		return -EAGAIN;
	}
	if (convert(slot, ret_exit)) {
		complete(p, vp, 0, true);
		return -EAGAIN;
	}
	if (ret_exit->exit == EXIT_RDMSR || ret_exit->exit == EXIT_WRMSR)
		ret_exit->value2 = custody_now_ns(&p->c) / 100;
	return 0;
}

static void kick(struct partition *p, uint32_t vp)
{
	futex_wake(&((struct soft *)p->machine)->slot[vp].state);
}

/* ---- the guest's process ------------------------------------------------------ */

static void list_fds(const struct partition *p, const struct soft *s, struct spawn_fd *list,
		     uint32_t *ret_n)
{
	uint32_t n = 0;

	list[n++] = (struct spawn_fd){ .from = s->slots_fd, .to = SOFT_FD_VPS };
	list[n++] = (struct spawn_fd){ .from = p->ram_fd, .to = SOFT_FD_RAM };
	for (uint32_t i = 0; i < p->o.vps; i++)
		list[n++] = (struct spawn_fd){ .from = p->irq_fd[i], .to = SOFT_FD_IRQ + (int)i };
	for (uint32_t i = 0; i < LIMIT_CHANNELS; i++)
		list[n++] = (struct spawn_fd){ .from = p->door_fd[i], .to = SOFT_FD_DOOR + (int)i };
	*ret_n = n;
}

static int start(struct partition *p, const uint64_t arg[4])
{
	struct soft *s = p->machine;
	struct spawn_fd fds[2 + LIMIT_VPS + LIMIT_CHANNELS];
	struct spawn sp = { .exe_fd = p->o.guest_fd, .in_fd = STDIN_FILENO, .out_fd = s->log_fd,
			    .err_fd = s->log_fd, .argv = s->argv, .fds = fds };
	pid_t pid;
	int fd;

	(void)arg;
	if (atomic_load(&p->guest_pidfd) >= 0)
		return -EBUSY;
	list_fds(p, s, fds, &sp.n_fds);
	pid = spawn_process(&sp);
	if (pid < 0)
		return pid;
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		return -errno;
	atomic_store(&p->guest_pidfd, fd);
	return 0;
}

static void kill_guest(struct partition *p)
{
	int fd = atomic_exchange(&p->guest_pidfd, -1);
	siginfo_t end;

	if (fd < 0)
		return;
	pidfd_send_signal(fd, SIGKILL, NULL, 0);
	waitid(P_PIDFD, (id_t)fd, &end, WEXITED);
	close(fd);
}

static int reset(struct partition *p)
{
	struct soft *s = p->machine;

	kill_guest(p);
	for (uint32_t i = 0; i < p->o.vps; i++)
		atomic_store(&s->slot[i].state, SOFT_IDLE);
	return 0;
}

/* ---- interrupts --------------------------------------------------------------- */

static void interrupt(struct partition *p, uint32_t vp, uint8_t vector)
{
	atomic_store(&((struct soft *)p->machine)->slot[vp].vector, vector);
	signal_eventfd(p->irq_fd[vp]);
}

static int set_vectors(struct partition *p, const uint8_t vector[LIMIT_VPS])
{
	struct soft *s = p->machine;

	for (uint32_t i = 0; i < p->o.vps; i++)
		atomic_store(&s->slot[i].vector, vector[i]);
	return 0;
}

/* The guest rings door.N itself. */
static int set_door(struct partition *p, uint32_t door, uint32_t before, uint32_t after)
{
	(void)p;
	(void)door;
	(void)before;
	(void)after;
	return 0;
}

static int inject_nmi(struct partition *p, uint32_t vp)
{
	(void)p;
	(void)vp;
	return -EOPNOTSUPP;
}

const struct backend BACKEND_SOFT = {
	.name = "soft",
	.code = 2,
	.create = create,
	.run = run,
	.complete = complete,
	.kick = kick,
	.start = start,
	.reset = reset,
	.interrupt = interrupt,
	.set_vectors = set_vectors,
	.set_door = set_door,
	.inject_nmi = inject_nmi,
	.destroy = kill_guest,
};
