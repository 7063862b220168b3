/* The hub: one thread, one poll(2), everything that is not a VP or a wait for
 * the owner's death.
 *
 * Each wake-up looks at every source; all of them are cheap to look at and
 * idempotent, so no wake-up has to say what it was for. */
#include "engine/partition/partition.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HUB_POLLS = 3 + LIMIT_PROCS + CONTROL_POLLS };

/* How long clients that do not read hold up the end of the VM. */
#define LAST_WORDS_NS UINT64_C(500000000)

void hub_end(struct partition *p, int status)
{
	bool before = false;

	if (atomic_compare_exchange_strong(&p->ending, &before, true))
		atomic_store(&p->exit_status, status);
	signal_eventfd(p->wake_fd);
}

int hub_notice(struct partition *p, const struct wire_notice *n)
{
	struct wire_inbox *in = p->c.inbox;
	uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&in->tail, memory_order_acquire) >= ARRAY_LEN(in->entry))
		return -EAGAIN;
	in->entry[head % ARRAY_LEN(in->entry)] = *n;
	atomic_store_explicit(&in->head, head + 1, memory_order_release);
	signal_eventfd(p->kick_fd);
	return 0;
}

/* True: the inbox is full, some configuration waits. */
static bool feed_config(struct partition *p)
{
	while (p->config_next < p->config_n) {
		if (hub_notice(p, &p->config[p->config_next]))
			return true;
		p->config_next++;
	}
	return false;
}

static void drain(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		;
}

/* The guest of `soft` has ended, and with it the VM. */
static void reap_guest(struct partition *p)
{
	int fd = atomic_load(&p->guest_pidfd);
	siginfo_t end = { 0 };

	if (fd < 0 || waitid(P_PIDFD, (id_t)fd, &end, WEXITED | WNOHANG) || end.si_pid == 0)
		return;
	atomic_store(&p->guest_pidfd, -1);
	close(fd);
	partition_log("the guest ended: %s %d",
		      end.si_code == CLD_EXITED ? "status" : "signal", end.si_status);
	hub_end(p, end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status);
}

static bool any_gone_pending(const struct partition *p)
{
	bool any = false;

	for (uint32_t i = 0; i < LIMIT_PROCS; i++)
		any |= p->child[i].gone_pending;
	return any;
}

/* Everything once. True: something waits for no event, come again soon. */
static bool look(struct partition *p)
{
	bool again;

	spawn_kill_asked(p);
	spawn_reap(p);
	reap_guest(p);
	declared_reconcile(p);
	again = feed_config(p);
	again |= synic_poll(p);
	again |= command_run(p);
	again |= spawn_standby(p);
	control_reports(p);
	control_console(p);
	watchdog_look(p);
	return again | any_gone_pending(p);
}

static uint32_t fill(struct partition *p, struct pollfd fds[HUB_POLLS])
{
	uint32_t n = 0;

	fds[n++] = (struct pollfd){ .fd = p->part_fd, .events = POLLIN };
	fds[n++] = (struct pollfd){ .fd = p->wake_fd, .events = POLLIN };
	fds[n++] = (struct pollfd){ .fd = atomic_load(&p->guest_pidfd), .events = POLLIN };
	pthread_mutex_lock(&p->children_lock);
	for (uint32_t i = 0; i < LIMIT_PROCS; i++) {
		if (p->child[i].alive)
			fds[n++] = (struct pollfd){ .fd = p->child[i].pidfd, .events = POLLIN };
	}
	pthread_mutex_unlock(&p->children_lock);
	return n;
}

static void kill_all(struct partition *p)
{
	p->backend->destroy(p);
	spawn_end(p);
}

/* The last output reaches whoever listens, within a bound. */
static void last_words(struct partition *p)
{
	uint64_t until = mono_now_ns() + LAST_WORDS_NS;
	struct pollfd fds[CONTROL_POLLS];

	do {
		uint32_t n = control_poll(p, fds);
		bool writes = false;

		for (uint32_t i = 0; i < n; i++)
			writes |= (fds[i].events & POLLOUT) != 0;
		if (!writes)
			break;
		poll(fds, n, PARTITION_POLL_MS);
		control_console(p);
	} while (mono_now_ns() < until);
	control_ended(p);
}

int hub_run(struct partition *p)
{
	while (!atomic_load(&p->ending)) {
		struct pollfd fds[HUB_POLLS];
		bool again = look(p);
		uint32_t n = fill(p, fds);
		uint32_t clients = control_poll(p, fds + n);
		int wait = again ? PARTITION_POLL_MS : watchdog_wait_ms(p);

		if (atomic_load(&p->ending))
			break;
		if (poll(fds, n + clients, wait) < 0 && errno != EINTR)
			return -errno;
		drain(p->part_fd);
		drain(p->wake_fd);
		control_serve(p, fds + n, clients);
	}
	control_console(p);
	kill_all(p);
	last_words(p);
	control_destroy(p);
	unlinkat(p->dir_fd, "partition.pid", 0);
	return 0;
}
