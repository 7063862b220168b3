/* Console client: two control connections, one for bytes, one that waits for
 * the VM's end. */
#include "servicing/console_client.h"

#include "servicing/control_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum { ESCAPE = 0x1d }; /* ^] */

static struct termios terminal_before;
static bool terminal_changed;

static void terminal_restore(void)
{
	if (terminal_changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

/* Keystrokes go to the guest one by one; ^C stays ours when it is `run`'s. */
static void terminal_raw(bool keep_signals)
{
	struct termios t;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &terminal_before) < 0)
		return;
	t = terminal_before;
	cfmakeraw(&t);
	t.c_oflag |= OPOST;
	if (keep_signals)
		t.c_lflag |= ISIG;
	terminal_changed = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
	atexit(terminal_restore);
}

static int start(const char *dir, enum control_op op)
{
	struct control_request rq;
	int s = control_connect(dir);

	if (s < 0)
		return s;
	control_request_init(&rq, op);
	if (send(s, &rq, sizeof(rq), MSG_NOSIGNAL) < 0) {
		int e = errno;

		close(s);
		return -e;
	}
	return s;
}

static int interrupt_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* First: ask the guest. Again: cut its power. */
static void interrupted(const char *dir, unsigned times)
{
	struct control_request rq;
	int s = control_connect(dir);

	if (s < 0)
		return;
	control_request_init(&rq, times > 1 ? CONTROL_END : CONTROL_NOTICE);
	rq.notice.op = OP_SHUTDOWN;
	fprintf(stderr, times > 1 ? "\r\nholdfast: power off\r\n"
				  : "\r\nholdfast: asked the guest to shut down; ^C again cuts its power\r\n");
	if (send(s, &rq, sizeof(rq), MSG_NOSIGNAL) < 0)
		fprintf(stderr, "holdfast: %s\r\n", strerror(errno));
	close(s);
}

static bool copy_out(int s)
{
	char bytes[65536];
	ssize_t n = recv(s, bytes, sizeof(bytes), 0);

	if (n <= 0)
		return false;
	for (ssize_t done = 0; done < n;) {
		ssize_t w = write(STDOUT_FILENO, bytes + done, (size_t)(n - done));

		if (w <= 0)
			return true;
		done += w;
	}
	return true;
}

/* False: no more input. */
static bool copy_in(int s, bool owns_vm, bool *ret_leave)
{
	char bytes[512];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n <= 0)
		return false;
	if (!owns_vm && memchr(bytes, ESCAPE, (size_t)n))
		*ret_leave = true;
	else if (send(s, bytes, (size_t)n, MSG_NOSIGNAL) < 0)
		return false;
	return true;
}

static int ended(int wait_fd, bool owns_vm)
{
	struct control_reply reply;
	ssize_t n = recv(wait_fd, &reply, sizeof(reply), 0);

	if (n != (ssize_t)sizeof(reply)) {
		fprintf(stderr, "holdfast: the partition is gone, and the VM with it; "
				"see partition.log in the state directory\n");
		return 1;
	}
	if (reply.text[0])
		fprintf(stderr, "holdfast: %.*s\n", (int)sizeof(reply.text), reply.text);
	return owns_vm ? (int)reply.value : 0;
}

static int converse(const char *dir, int console, int wait_fd, int signals, bool owns_vm,
		    bool *ret_ended)
{
	struct pollfd p[4] = {
		{ .fd = console, .events = POLLIN }, { .fd = wait_fd, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN }, { .fd = signals, .events = POLLIN },
	};
	unsigned interrupts = 0;
	bool leave = false;

	while (!leave) {
		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return 1;
		if (p[0].revents && !copy_out(console))
			p[0].fd = -1;
		if (p[2].revents && !copy_in(console, owns_vm, &leave))
			p[2].fd = -1;
		if (p[3].revents) {
			struct signalfd_siginfo si;

			if (read(signals, &si, sizeof(si)) < 0 || !owns_vm)
				return 1;
			interrupted(dir, ++interrupts);
		}
		if (p[1].revents && (p[0].fd < 0 || !p[0].revents)) {
			*ret_ended = true;
			return ended(wait_fd, owns_vm);
		}
	}
	return 0;
}

int console_run(const char *state_dir, bool owns_vm, bool *ret_ended)
{
	int wait_fd = start(state_dir, CONTROL_WAIT);
	int console = wait_fd < 0 ? -1 : start(state_dir, CONTROL_CONSOLE);
	int signals, r;

	*ret_ended = wait_fd < 0 || console < 0;
	if (*ret_ended)
		return 1;
	signals = interrupt_fd();
	terminal_raw(owns_vm);
	r = converse(state_dir, console, wait_fd, signals, owns_vm, ret_ended);
	terminal_restore();
	close(console);
	close(wait_fd);
	close(signals);
	return r;
}
