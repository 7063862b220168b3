/* tests/bench/floor.c - the least that handing a guest on can cost on this machine.
 *
 * Of two warm processes one hands so many descriptors and bytes to the other,
 * over a local socket and shared memory: it writes the bytes and passes the
 * descriptors; the other one waits for them and copies the bytes. A round begins
 * at a line on standard input and tells the ns from the first write until the
 * other side has all.
 *
 * usage: floor DESCRIPTORS BYTES */
#include "tests/bench/samples.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

enum { FDS_A_MESSAGE = 253, FDS_MAX = 1024 }; /* SCM_MAX_FD */

struct shared {
	_Atomic uint64_t end_ns;
	size_t bytes;
	uint8_t state[];
};

struct side {
	struct shared *shared;
	unsigned n_fds;
	int fd[FDS_MAX];
	int in, out;             /* sockets */
	uint8_t *own;            /* the bytes as this process has them */
};

static int give_up(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

union control {
	char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
	struct cmsghdr align;
};

static void send_fds(int to, const int *fd, unsigned n)
{
	union control control = { 0 };
	char word = 'g';
	struct iovec iov = { &word, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			    .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fd, n * sizeof(int));
	if (sendmsg(to, &m, 0) != 1)
		give_up("sendmsg");
}

static unsigned take_fds(int from, int *fd)
{
	union control control = { 0 };
	char word;
	struct iovec iov = { &word, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	size_t n;

	if (recvmsg(from, &m, MSG_CMSG_CLOEXEC) != 1)
		exit(0);
	c = CMSG_FIRSTHDR(&m);
	if (!c)
		give_up("no descriptors came");
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fd, CMSG_DATA(c), n * sizeof(int));
	return (unsigned)n;
}

static void hand_on(struct side *s)
{
	memcpy(s->shared->state, s->own, s->shared->bytes);
	for (unsigned at = 0; at < s->n_fds; at += FDS_A_MESSAGE) {
		unsigned left = s->n_fds - at;

		send_fds(s->out, s->fd + at, left < FDS_A_MESSAGE ? left : FDS_A_MESSAGE);
	}
}

static void take(struct side *s)
{
	int fd[FDS_MAX];
	unsigned n = 0;

	while (n < s->n_fds)
		n += take_fds(s->in, fd + n);
	memcpy(s->own, s->shared->state, s->shared->bytes);
	atomic_store(&s->shared->end_ns, bench_now_ns());
	for (unsigned i = 0; i < n; i++)
		close(fd[i]);
}

static void make(struct side *s, unsigned n_fds, size_t bytes)
{
	s->shared = mmap(NULL, sizeof(*s->shared) + bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (s->shared == MAP_FAILED)
		give_up("mmap");
	s->shared->bytes = bytes;
	s->n_fds = n_fds;
	for (unsigned i = 0; i < n_fds; i++) {
		s->fd[i] = eventfd(0, EFD_CLOEXEC);
		if (s->fd[i] < 0)
			give_up("eventfd");
	}
}

/* Both warm their own memory: what is measured is handing on. */
static void warm(struct side *s)
{
	s->own = malloc(s->shared->bytes + 1);
	if (!s->own)
		give_up("no memory");
	memset(s->own, 7, s->shared->bytes + 1);
	memcpy(s->own, s->shared->state, s->shared->bytes);
}

static void other_side(struct side *s, const int done)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	warm(s);
	for (;;) {
		take(s);
		if (write(done, "x", 1) != 1)
			exit(0);
	}
}

int main(int argc, char **argv)
{
	static struct side s;
	unsigned n_fds = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	size_t bytes = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	int pair[2], done[2];
	char line[16], word;

	if (n_fds == 0 || n_fds > FDS_MAX || bytes == 0) {
		fprintf(stderr, "usage: floor DESCRIPTORS (1 to %d) BYTES\n", FDS_MAX);
		return 2;
	}
	make(&s, n_fds, bytes);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) || pipe(done))
		give_up("socketpair");
	s.out = pair[0];
	s.in = pair[1];
	if (fork() == 0)
		other_side(&s, done[1]);
	warm(&s);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t begin = bench_now_ns();

		hand_on(&s);
		if (read(done[0], &word, 1) != 1)
			give_up("the other side is gone");
		printf("%llu\n", (unsigned long long)(atomic_load(&s.shared->end_ns) - begin));
		fflush(stdout);
	}
	return 0;
}
