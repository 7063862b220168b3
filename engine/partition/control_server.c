/* The control socket: clients come, ask, are answered (control.h).
 *
 * SOCK_SEQPACKET, non-blocking, one packet a request. A client is known by a
 * token that is never used twice, so that a late report finds either the one
 * who asked or nobody. Console clients keep their own place in the output; the
 * ring's writer does not know of them and may overwrite what they have not
 * read. What a client sends is checked like anything from outside. */
#include "engine/partition/control.h"
#include "engine/partition/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum client_mode { CLIENT_ASKS = 0, CLIENT_CONSOLE = 1, CLIENT_WAITS = 2 };
enum { CONSOLE_PACKET = 4096, LISTEN_BACKLOG = 16 };

struct client {
	int fd;                       /* -1: free */
	uint32_t token;
	enum client_mode mode;
	uint64_t position;            /* console: of the output stream */
	bool blocked;                 /* console: the socket is full */
};

struct control {
	int listen_fd;
	uint32_t tokens;              /* given out */
	struct client client[CONTROL_CLIENTS];
};

static int bind_socket(struct partition *p, int fd)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/control", p->dir_fd);
	unlinkat(p->dir_fd, "control", 0);
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) ||
	    fchmodat(p->dir_fd, "control", 0600, 0) || listen(fd, LISTEN_BACKLOG))
		return -errno;
	return 0;
}

int control_create(struct partition *p)
{
	struct control *c = calloc(1, sizeof(*c));
	int error;

	if (!c)
		return -ENOMEM;
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++)
		c->client[i].fd = -1;
	c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	error = c->listen_fd < 0 ? -errno : bind_socket(p, c->listen_fd);
	if (error) {
		if (c->listen_fd >= 0)
			close(c->listen_fd);
		free(c);
		return error;
	}
	p->control = c;
	return 0;
}

static void drop(struct client *c)
{
	close(c->fd);
	*c = (struct client){ .fd = -1 };
}

void control_destroy(struct partition *p)
{
	struct control *c = p->control;

	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		if (c->client[i].fd >= 0)
			drop(&c->client[i]);
	}
	close(c->listen_fd);
	unlinkat(p->dir_fd, "control", 0);
	free(c);
	p->control = NULL;
}

/* ---- answers ------------------------------------------------------------------ */

static void send_reply(struct client *c, const struct control_reply *reply, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { 0 };
	struct control_reply copy = *reply;
	struct iovec iov = { .iov_base = &copy, .iov_len = sizeof(copy) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *h;

		m.msg_control = room.bytes;
		m.msg_controllen = sizeof(room.bytes);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	}
	if (sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		drop(c);
}

static void answer(struct client *c, int error, const char *text)
{
	struct control_reply reply = { .status = (uint32_t)-error };

	snprintf(reply.text, sizeof(reply.text), "%s", text);
	send_reply(c, &reply, -1);
}

static void give_custody(struct partition *p, struct client *c)
{
	const struct control_reply reply = { .value = p->c.bytes };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", p->c.fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		answer(c, -errno, "custody cannot be opened for reading");
		return;
	}
	send_reply(c, &reply, fd);
	close(fd);
}

/* ---- requests ----------------------------------------------------------------- */

/* Into the inbox; the owner's REPORT is the answer. False: it was refused. */
static bool pass_notice(struct partition *p, struct client *c, struct wire_notice *n)
{
	int error;

	n->token = c->token;
	error = n->bytes > sizeof(n->data) ? -EINVAL : hub_notice(p, n);
	if (error)
		answer(c, error, error == -EAGAIN ? "the paravisor has too much to do; try again" :
						    "the notice is malformed");
	return !error;
}

/* What a client may put into the inbox itself; the rest is the partition's, or
 * comes with a descriptor. */
static void pass_request(struct partition *p, struct client *c, struct wire_notice *n)
{
	switch (n->op) {
	case OP_SHUTDOWN:
	case OP_POWER_OFF:
	case OP_ROLLBACK:
	case OP_COMMIT:
	case OP_RESIZE:
	case OP_DISK_REMOVE:
	case OP_DISK_EJECT:
	case OP_CONTROLLER_REMOVE:
		pass_notice(p, c, n);
		break;
	default:
		answer(c, -EINVAL, "that is not for a client to say");
	}
}

static void pass_service(struct partition *p, struct client *c, struct wire_notice *n, int fd)
{
	int row = fd < 0 ? -EBADF : spawn_exe_row(p, fd);

	if (row < 0) {
		answer(c, row, "no descriptor of an executable came with the request");
		return;
	}
	n->op = OP_SERVICE;
	n->arg = (uint32_t)row;
	pass_notice(p, c, n);
}

/* A drive without medium comes without a file. */
static void pass_disk(struct partition *p, struct client *c, struct wire_notice *n, int fd)
{
	int row;

	if (n->op != OP_DISK_ADD && n->op != OP_DISK_INSERT) {
		answer(c, -EINVAL, "a file can be added or inserted");
		if (fd >= 0)
			close(fd);
		return;
	}
	row = fd < 0 ? 0 : resource_disk_add(p, fd);
	if (row < 0) {
		answer(c, row, row == -EINVAL ? "a disk is a regular file or a block device" :
			       row == -EEXIST ? "that file is a disk of this VM already; give each once" :
						"the VM has no place for another file");
		return;
	}
	n->value = (uint64_t)row;
	if (!pass_notice(p, c, n) && fd >= 0)
		resource_disk_drop(p, (uint32_t)row);
}

static bool owner_of(const struct partition *p, uint32_t *ret_slot)
{
	uint64_t w = atomic_load(&p->c.h->owner);

	*ret_slot = OWNER_SLOT(w);
	return *ret_slot < LIMIT_PROCS &&
	       (OWNER_STATE(w) == OWNER_OWNED || OWNER_STATE(w) == OWNER_FLIPPING);
}

/* The stamp comes before the signal, or the taker could already read it. */
static int kill_stamped(struct partition *p, uint32_t slot, bool busy_only,
			struct control_reply *reply)
{
	struct child *child = &p->child[slot];
	int error;

	if (!child->alive)
		return -ESRCH;
	reply->pid = (uint32_t)child->pid;
	reply->value = atomic_load(&p->c.stats->inflight);
	if (busy_only && reply->value == 0)
		return -EAGAIN;
	error = spawn_kill_stamped(p, slot);
	if (!error)
		atomic_fetch_add(&p->c.h->kills, 1);
	return error;
}

static void kill_owner(struct partition *p, struct client *c, bool busy_only)
{
	struct control_reply reply = { 0 };
	uint32_t slot;
	int error = -ESRCH;

	if (owner_of(p, &slot)) {
		pthread_mutex_lock(&p->children_lock);
		error = kill_stamped(p, slot, busy_only, &reply);
		pthread_mutex_unlock(&p->children_lock);
	}
	reply.status = (uint32_t)-error;
	snprintf(reply.text, sizeof(reply.text), "%s",
		 error == -ESRCH ? "nobody owns the guest at this moment" :
		 error == -EAGAIN ? "no request was in flight" : "");
	send_reply(c, &reply, -1);
}

static void end_now(struct partition *p, struct client *c)
{
	answer(c, 0, "");
	hub_end(p, 0);
}

/* @fd: what rode along, or -1; it is used up. */
static void request(struct partition *p, struct client *c, struct control_request *rq, int fd)
{
	switch (rq->op) {
	case CONTROL_CUSTODY:
		give_custody(p, c);
		break;
	case CONTROL_NOTICE:
		pass_request(p, c, &rq->notice);
		break;
	case CONTROL_SERVICE:
		pass_service(p, c, &rq->notice, fd);
		return;
	case CONTROL_DISK:
		pass_disk(p, c, &rq->notice, fd);
		return;
	case CONTROL_KILL:
		kill_owner(p, c, rq->arg == 1);
		break;
	case CONTROL_CONSOLE:
		c->mode = CLIENT_CONSOLE;
		c->position = rq->value;
		break;
	case CONTROL_WAIT:
		c->mode = CLIENT_WAITS;
		break;
	case CONTROL_END:
		end_now(p, c);
		break;
	default:
		answer(c, -EOPNOTSUPP, "this partition does not know that request");
	}
	if (fd >= 0)
		close(fd);
}

/* ---- console ------------------------------------------------------------------- */

/* Kept output at @position, at most @max bytes; moves @position over what was
 * overwritten meanwhile. */
static size_t copy_output(const struct wire_console *out, uint64_t *position, uint8_t *to,
			  size_t max)
{
	for (;;) {
		uint64_t head = atomic_load_explicit(&out->head, memory_order_acquire);
		size_t n;

		if (*position > head)
			*position = head;
		if (head - *position > LIMIT_CONSOLE_BYTES)
			*position = head - LIMIT_CONSOLE_BYTES;
		n = head - *position < max ? (size_t)(head - *position) : max;
		for (size_t i = 0; i < n; i++)
			to[i] = out->bytes[(*position + i) % LIMIT_CONSOLE_BYTES];
		atomic_thread_fence(memory_order_acquire);
		head = atomic_load_explicit(&out->head, memory_order_relaxed);
		if (head - *position <= LIMIT_CONSOLE_BYTES)
			return n;
	}
}

static void stream(struct partition *p, struct client *c)
{
	for (;;) {
		uint8_t packet[CONSOLE_PACKET];
		size_t n = copy_output(p->c.console_out, &c->position, packet, sizeof(packet));

		c->blocked = false;
		if (n == 0)
			return;
		if (send(c->fd, packet, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			if (errno == EAGAIN)
				c->blocked = true;
			else
				drop(c);
			return;
		}
		c->position += n;
	}
}

void control_console(struct partition *p)
{
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *c = &p->control->client[i];

		if (c->fd >= 0 && c->mode == CLIENT_CONSOLE)
			stream(p, c);
	}
}

static size_t input_room(const struct partition *p)
{
	const struct wire_console *in = p->c.console_in;
	uint64_t used = atomic_load(&in->head) - atomic_load(&in->tail);

	return used < LIMIT_CONSOLE_BYTES ? (size_t)(LIMIT_CONSOLE_BYTES - used) : 0;
}

/* Only called with room for a whole packet. */
static void take_input(struct partition *p, struct client *c)
{
	struct wire_console *in = p->c.console_in;
	uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
	uint8_t packet[CONSOLE_PACKET];
	ssize_t n = recv(c->fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || n > CONSOLE_PACKET) {
		drop(c);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		in->bytes[(head + (uint64_t)i) % LIMIT_CONSOLE_BYTES] = packet[i];
	atomic_store_explicit(&in->head, head + (uint64_t)n, memory_order_release);
	signal_eventfd(p->kick_fd);
}

/* ---- the socket ------------------------------------------------------------------ */

static int only_fd(struct msghdr *m)
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);
	int fd;

	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
	    h->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

static void take_request(struct partition *p, struct client *c)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { 0 };
	struct control_request rq;
	struct iovec iov = { .iov_base = &rq, .iov_len = sizeof(rq) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes,
			    .msg_controllen = sizeof(room.bytes) };
	ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd = n > 0 ? only_fd(&m) : -1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(rq) || (m.msg_flags & MSG_TRUNC) || rq.magic != WIRE_MAGIC) {
		if (fd >= 0)
			close(fd);
		drop(c);
		return;
	}
	request(p, c, &rq, fd);
}

static struct client *free_client(struct control *c)
{
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		if (c->client[i].fd < 0)
			return &c->client[i];
	}
	return NULL;
}

static bool may_control(int fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes))
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static void accept_client(struct partition *p)
{
	struct control *control = p->control;
	int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c = free_client(control);

	if (fd < 0)
		return;
	if (!c || !may_control(fd)) {
		close(fd);
		return;
	}
	if (++control->tokens == 0)
		control->tokens = 1;
	*c = (struct client){ .fd = fd, .token = control->tokens };
}

/* What is asked of a client's socket now: no input that has no room. */
static short wanted(const struct partition *p, const struct client *c)
{
	short events = c->mode == CLIENT_CONSOLE && input_room(p) < CONSOLE_PACKET ? 0 : POLLIN;

	return c->blocked ? (short)(events | POLLOUT) : events;
}

uint32_t control_poll(struct partition *p, struct pollfd *fds)
{
	struct control *control = p->control;
	uint32_t n = 0;

	fds[n++] = (struct pollfd){ .fd = control->listen_fd, .events = POLLIN };
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		const struct client *c = &control->client[i];

		if (c->fd >= 0)
			fds[n++] = (struct pollfd){ .fd = c->fd, .events = wanted(p, c) };
	}
	return n;
}

static void serve_client(struct partition *p, const struct pollfd *ready)
{
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *c = &p->control->client[i];

		if (c->fd != ready->fd)
			continue;
		if (!(ready->revents & POLLIN))
			drop(c);
		else if (c->mode == CLIENT_CONSOLE)
			take_input(p, c);
		else
			take_request(p, c);
		return;
	}
}

void control_serve(struct partition *p, const struct pollfd *fds, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			serve_client(p, &fds[i]);
	}
	if (fds[0].revents & POLLIN)
		accept_client(p);
}

/* ---- from the owner --------------------------------------------------------------- */

static void report(struct partition *p, const struct wire_notice *n)
{
	struct control_reply reply = { .status = (uint32_t)n->value, .value = n->value };
	size_t bytes = n->bytes < sizeof(n->data) ? n->bytes : sizeof(n->data);
	uint32_t token = n->token ? n->token : n->arg;

	if (bytes >= sizeof(reply.text))
		bytes = sizeof(reply.text) - 1;
	memcpy(reply.text, n->data, bytes);
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *c = &p->control->client[i];

		if (c->fd >= 0 && c->token == token && c->mode == CLIENT_ASKS)
			send_reply(c, &reply, -1);
	}
}

void control_reports(struct partition *p)
{
	struct wire_inbox *in = p->c.inbox;
	uint64_t tail = atomic_load_explicit(&in->report_tail, memory_order_relaxed);

	for (;;) {
		uint64_t head = atomic_load_explicit(&in->report_head, memory_order_acquire);
		struct wire_notice n;

		if (head == tail || head - tail > ARRAY_LEN(in->report))
			return;
		n = in->report[tail % ARRAY_LEN(in->report)];
		report(p, &n);
		tail++;
		atomic_store_explicit(&in->report_tail, tail, memory_order_release);
	}
}

void control_ended(struct partition *p)
{
	struct control_reply reply = { .value = (uint64_t)atomic_load(&p->exit_status) };

	snprintf(reply.text, sizeof(reply.text), "%s", p->end_why);
	for (uint32_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *c = &p->control->client[i];

		if (c->fd >= 0 && c->mode == CLIENT_WAITS)
			send_reply(c, &reply, -1);
	}
}
