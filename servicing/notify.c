/* The protocol is one datagram of NAME=VALUE lines to a socket that is named in
 * the environment, promised to stay so: too little for a library.
 *
 * The thread reads custody, which the partition shares read-only, and asks the
 * partition for it again to see that it answers. What cannot be sent is lost: the
 * manager may be gone, and the VM is not to notice. */
#include "servicing/notify.h"

#include "servicing/control_client.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_NS = 100000000, LINES = 512 };

static struct {
	struct sockaddr_un to;
	socklen_t to_len;             /* 0: nobody wants to know */
	uint64_t watchdog_ns;         /* 0: not wanted */
	int socket, control;
	struct custody c;
} notify = { .socket = -1, .control = -1 };

static void take_address(const char *path)
{
	size_t n = strlen(path);

	if (n < 2 || n >= sizeof(notify.to.sun_path) || (*path != '/' && *path != '@'))
		return;
	notify.to.sun_family = AF_UNIX;
	memcpy(notify.to.sun_path, path, n);
	if (*path == '@')
		notify.to.sun_path[0] = '\0';
	notify.to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

void notify_take_environment(void)
{
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (path)
		take_address(path);
	if (usec && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
		notify.watchdog_ns = strtoull(usec, NULL, 10) * 1000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
	char lines[LINES];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(lines, sizeof(lines), format, args);
	va_end(args);
	if (n > 0 && n < LINES)
		sendto(notify.socket, lines, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT,
		       (const struct sockaddr *)&notify.to, notify.to_len);
}

/* False: the partition is gone. One that hangs keeps this thread here, and the
 * manager without its WATCHDOG=1. */
static bool partition_answers(void)
{
	struct control_request rq;
	struct control_reply reply;

	control_request_init(&rq, CONTROL_CUSTODY);
	return control_call(notify.control, &rq, -1, &reply, NULL) == 0 && reply.status == 0;
}

/* A successor is on its way, or the guest is being handed to it. */
static bool is_reloading(const struct custody *c)
{
	bool any = OWNER_STATE(atomic_load(&c->h->owner)) == OWNER_FLIPPING;

	for (unsigned i = 0; i < LIMIT_PROCS; i++) {
		uint32_t state = atomic_load(&c->proc[i].state);

		any |= c->proc[i].role == ROLE_SUCCESSOR && state >= PROC_SPAWNED &&
		       state <= PROC_READY;
	}
	return any;
}

static void tell_ready(const struct custody *c)
{
	uint64_t word = atomic_load(&c->h->owner);
	const struct wire_proc *p = &c->proc[OWNER_SLOT(word) % LIMIT_PROCS];

	tell("READY=1\nSTATUS=%.*s serves, epoch %u\n", (int)sizeof(p->build), p->build,
	     OWNER_EPOCH(word));
}

/* What was told last. */
struct told {
	bool ready, reloading;
	uint64_t watchdog_ns;
};

static bool look(struct told *t)
{
	uint64_t now = mono_now_ns();
	bool reloading = is_reloading(&notify.c);

	if (notify.watchdog_ns && now - t->watchdog_ns >= notify.watchdog_ns / 2) {
		if (!partition_answers())
			return false;
		t->watchdog_ns = now;
		tell("WATCHDOG=1\n");
	}
	if (OWNER_STATE(atomic_load(&notify.c.h->owner)) == OWNER_NONE)
		return true;
	if (t->ready && reloading && !t->reloading)
		tell("RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", now / 1000);
	if (!t->ready || (t->reloading && !reloading))
		tell_ready(&notify.c);
	t->ready = true;
	t->reloading = reloading;
	return true;
}

static void *watch(void *unused)
{
	uint64_t step = LOOK_NS;
	struct told t = { 0 };

	(void)unused;
	if (notify.watchdog_ns && notify.watchdog_ns / 4 < step)
		step = notify.watchdog_ns / 4;
	while (look(&t)) {
		struct timespec ts = { .tv_sec = 0, .tv_nsec = (long)step };

		nanosleep(&ts, NULL);
	}
	return NULL;
}

/* Signals are the main thread's. */
static void start_thread(void)
{
	pthread_t thread;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, watch, NULL) == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void notify_begin(const char *state_dir)
{
	if (notify.to_len == 0)
		return;
	notify.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	notify.control = control_connect(state_dir);
	if (notify.socket >= 0 && notify.control >= 0 && control_custody(state_dir, &notify.c) == 0)
		start_thread();
}

void notify_end(void)
{
	if (notify.socket >= 0)
		tell("STOPPING=1\n");
}
