/* The control socket from the client's side: SOCK_SEQPACKET, one packet a
 * message, descriptors by SCM_RIGHTS. */
#include "servicing/control_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int control_connect(const char *state_dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", state_dir);
	int s, e;

	if (n < 0 || (size_t)n >= sizeof(a.sun_path)) {
		fprintf(stderr, "holdfast: %s: path too long for a socket; use a shorter --state\n",
			state_dir);
		return -ENAMETOOLONG;
	}
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s >= 0 && connect(s, (struct sockaddr *)&a, sizeof(a)) == 0)
		return s;
	e = errno;
	if (s >= 0)
		close(s);
	fprintf(stderr, "holdfast: no VM answers in %s (%s); is it running? see `holdfast run`\n",
		state_dir, strerror(e));
	return -e;
}

void control_request_init(struct control_request *rq, enum control_op op)
{
	memset(rq, 0, sizeof(*rq));
	rq->magic = WIRE_MAGIC;
	rq->op = op;
}

static int send_request(int sock, const struct control_request *rq, int send_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct control_request copy = *rq;
	struct iovec iov = { .iov_base = &copy, .iov_len = sizeof(copy) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (send_fd >= 0) {
		struct cmsghdr *h;

		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &send_fd, sizeof(int));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int receive_reply(int sock, struct control_reply *ret, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *h;
	ssize_t n;
	int fd = -1;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != sizeof(*ret))
		return -ECONNRESET;
	h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	if (ret_fd)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	ret->text[sizeof(ret->text) - 1] = '\0';
	return 0;
}

int control_call(int sock, const struct control_request *rq, int send_fd,
		 struct control_reply *ret, int *ret_fd)
{
	int r = send_request(sock, rq, send_fd);

	return r < 0 ? r : receive_reply(sock, ret, ret_fd);
}

int control_custody(const char *state_dir, struct custody *c)
{
	struct control_request rq;
	struct control_reply reply;
	int s = control_connect(state_dir), fd = -1, r;

	if (s < 0)
		return s;
	control_request_init(&rq, CONTROL_CUSTODY);
	r = control_call(s, &rq, -1, &reply, &fd);
	close(s);
	if (r == 0 && (reply.status || fd < 0))
		r = -(int)(reply.status ? reply.status : EPROTO);
	if (r == 0) {
		r = custody_attach(c, fd, false);
		close(fd);
	}
	if (r != 0)
		fprintf(stderr, "holdfast: %s: cannot read the VM's custody (%s)\n", state_dir,
			r < 0 ? strerror(-r) : "made by another version; use the holdfast that made it");
	return r > 0 ? -EPROTO : r;
}
