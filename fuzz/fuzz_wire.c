/* fuzz/fuzz_wire.c - what reaches the partition from outside: the control socket,
 * and the page of a posted message.
 *
 * engine/partition's own code serves real sockets; the rest of the partition is
 * played here. Clients send requests of any content and length, with and without
 * descriptors, and go when they like; the owner's words in custody are anything.
 * No descriptor stays, what is passed on lies inside its limits, and a reply is
 * one whole reply. */
#include "fuzz/driver.h"
#include "fuzz/feed.h"
#include "fuzz/oracle.h"

#include "engine/partition/control.h"
#include "engine/partition/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 3, STEPS = 48, PAGE = 4096 };

static struct {
	uint64_t inputs, requests, notices, replies, posted, dropped;
} figures;

static struct partition p;
static struct feed *feed;
static char dir[] = "/tmp/holdfast-fuzz-XXXXXX";
static int client[CLIENTS], null_fd;
static uint8_t guest_page[PAGE];

/* ---- the rest of the partition ---------------------------------------------------- */

void partition_log(const char *format, ...)
{
	(void)format;
}

int hub_notice(struct partition *at, const struct wire_notice *n)
{
	(void)at;
	if (n->bytes > sizeof(n->data))
		oracle_failed("a notice longer than its place", n->op, n->bytes);
	if (n->token == 0)
		oracle_failed("a notice of nobody", n->op, n->token);
	figures.notices++;
	return feed_once_in(feed, 4) ? -EAGAIN : 0;
}

void hub_end(struct partition *at, int status)
{
	(void)at;
	(void)status;
}

int spawn_exe_row(struct partition *at, int fd)
{
	(void)at;
	close(fd);
	return feed_once_in(feed, 4) ? -ENOSPC : 40;
}

int spawn_kill_stamped(struct partition *at, uint32_t slot)
{
	(void)at;
	if (slot >= LIMIT_PROCS)
		oracle_failed("a process that cannot be", slot, LIMIT_PROCS);
	return -ESRCH;
}

int resource_disk_add(struct partition *at, int fd)
{
	(void)at;
	close(fd);
	return feed_once_in(feed, 4) ? -ENOSPC : 41;
}

int resource_disk_drop(struct partition *at, uint32_t row)
{
	(void)at;
	return row < LIMIT_FDS ? 0 : -EINVAL;
}

/* One page of RAM. */
void *resource_ram(const struct partition *at, uint64_t gpa, uint64_t bytes)
{
	(void)at;
	return gpa < PAGE && bytes <= PAGE - gpa ? guest_page + gpa : NULL;
}

void signal_eventfd(int fd)
{
	(void)fd;
}

/* ---- beginning and end ------------------------------------------------------------- */

static void clean_up(void)
{
	unlinkat(p.dir_fd, "control", 0);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || !mkdtemp(dir) || custody_create(&p.c))
		exit(1);
	p.dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	atexit(clean_up);
	pthread_mutex_init(&p.posted_lock, NULL);
	pthread_mutex_init(&p.children_lock, NULL);
	for (int i = 0; i < CLIENTS; i++)
		client[i] = -1;
	return p.dir_fd < 0 || control_create(&p) ? exit(1), 1 : 0;
}

static int lowest_free(void)
{
	int fd = dup(null_fd);

	close(fd);
	return fd;
}

static void serve(void)
{
	struct pollfd fds[64];
	uint32_t n = control_poll(&p, fds);

	if (n > 64)
		oracle_failed("more clients than there may be", n, 64);
	if (poll(fds, n, 0) > 0)
		control_serve(&p, fds, n);
}

/* ---- clients --------------------------------------------------------------------------- */

static void come(int i)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (client[i] >= 0)
		return;
	client[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/control", dir);
	if (client[i] < 0 || connect(client[i], (const struct sockaddr *)&at, sizeof(at)))
		oracle_failed("a client cannot connect", (uint64_t)i, (uint64_t)errno);
}

static void go(int i)
{
	if (client[i] >= 0)
		close(client[i]);
	client[i] = -1;
}

static void send_request(int i, const void *bytes, size_t len, bool with_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (with_fd) {
		struct cmsghdr *h;

		m.msg_control = room.bytes;
		m.msg_controllen = sizeof(room.bytes);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &null_fd, sizeof(null_fd));
	}
	figures.requests++;
	if (sendmsg(client[i], &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		figures.dropped++;
}

static void ask(struct feed *f, int i)
{
	struct control_request rq = { .magic = WIRE_MAGIC };
	size_t len = sizeof(rq);

	if (client[i] < 0)
		return;
	rq.op = feed_below(f, 12);
	rq.arg = feed_u8(f);
	rq.value = feed_once_in(f, 2) ? feed_u64(f) : 0;
	rq.notice.op = feed_u8(f) % 24;
	rq.notice.bytes = feed_once_in(f, 4) ? feed_u32(f) : feed_u8(f);
	feed_bytes(f, rq.notice.data, feed_u8(f));
	if (feed_once_in(f, 16))
		rq.magic = feed_u32(f);
	if (feed_once_in(f, 16))
		len = feed_u16(f) % sizeof(rq);
	send_request(i, &rq, len, feed_once_in(f, 3));
}

/* Takes what came back, and the descriptor in it. */
static void listen_to(int i)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room;
	static uint8_t bytes[8192];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes,
			    .msg_controllen = sizeof(room.bytes) };
	ssize_t n = client[i] < 0 ? -1 : recvmsg(client[i], &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	if (h && h->cmsg_type == SCM_RIGHTS) {
		int fd;

		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
		close(fd);
	}
	if (n == (ssize_t)sizeof(struct control_reply)) {
		struct control_reply reply;

		memcpy(&reply, bytes, sizeof(reply));
		figures.replies++;
		if (!memchr(reply.text, 0, sizeof(reply.text)))
			oracle_failed("a reply without an end", reply.status, reply.value);
	}
}

/* ---- the owner, and the guest ------------------------------------------------------------ */

/* Somebody owns the guest, or nobody, or the word is no state at all. */
static void own(struct feed *f)
{
	uint32_t slot = feed_u8(f) % (LIMIT_PROCS + 2u);

	atomic_store(&p.c.h->owner, feed_once_in(f, 4) ? feed_u64(f)
						       : OWNER_WORD(1, slot, feed_u8(f) % 6u));
	p.child[slot % LIMIT_PROCS].alive = feed_once_in(f, 2);
}

static void report(struct feed *f)
{
	struct wire_inbox *in = p.c.inbox;
	uint64_t head = atomic_load(&in->report_head);
	struct wire_notice *n = &in->report[head % ARRAY_LEN(in->report)];

	n->token = feed_u8(f);
	n->arg = feed_u8(f);
	n->bytes = feed_once_in(f, 3) ? feed_u32(f) : feed_u8(f);
	memset(n->data, 'x', sizeof(n->data));
	atomic_store(&in->report_head, feed_once_in(f, 16) ? feed_u64(f) : head + 1);
	control_reports(&p);
	if (atomic_load(&in->report_head) - atomic_load(&in->report_tail) > ARRAY_LEN(in->report))
		atomic_store(&in->report_head, atomic_load(&in->report_tail));
}

static void post(struct feed *f)
{
	struct wire_posted_queue *q = p.c.posted;
	uint64_t before = atomic_load(&q->head);
	uint32_t bytes = feed_once_in(f, 2) ? feed_u8(f) : feed_u32(f);
	uint64_t gpa = feed_once_in(f, 4) ? feed_u64(f) : (feed_u8(f) & 0xf8u) * 16u;

	feed_bytes(f, guest_page, feed_u8(f));
	if (gpa < PAGE - 16)
		memcpy(guest_page + gpa + 12, &bytes, sizeof(bytes));
	if (posted_put(&p, feed_u8(f) % LIMIT_VPS, feed_once_in(f, 8) ? feed_u64(f) : 0x5c, gpa)) {
		if (atomic_load(&q->head) != before)
			oracle_failed("a refused message is queued", before, gpa);
	} else {
		const struct wire_posted *e = &q->entry[before % LIMIT_MESSAGE_QUEUE];

		figures.posted++;
		if (e->bytes > LIMIT_MESSAGE || memcmp(e->payload, guest_page + gpa + 16, e->bytes))
			oracle_failed("a message that was not posted", before, e->bytes);
	}
	if (feed_once_in(f, 2))
		atomic_store(&q->tail, atomic_load(&q->head));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	int before = lowest_free();

	feed = &f;
	figures.inputs++;
	for (unsigned i = 0; i < STEPS && f.left; i++) {
		int who = (int)feed_below(&f, CLIENTS);

		switch (feed_below(&f, 11)) {
		case 10:
			own(&f);
			break;
		case 0:
			come(who);
			break;
		case 1:
			go(who);
			break;
		case 2:
			report(&f);
			break;
		case 3:
			post(&f);
			break;
		case 4:
			control_console(&p);
			break;
		case 5:
			listen_to(who);
			break;
		default:
			come(who);
			ask(&f, who);
			break;
		}
		if (!feed_once_in(&f, 4))
			serve();
	}
	for (int i = 0; i < CLIENTS; i++)
		go(i);
	for (unsigned i = 0; i < 2 * CLIENTS + 2; i++)
		serve();
	if (lowest_free() != before)
		oracle_failed("a descriptor was left open", figures.inputs, (uint64_t)before);
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f requests=%" PRIu64 " notices=%" PRIu64
	       " replies=%" PRIu64 " posted=%" PRIu64 " dropped=%" PRIu64 "\n",
	       figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0,
	       figures.requests, figures.notices, figures.replies, figures.posted,
	       figures.dropped);
}
