/* The partition as a process, with play.c as paravisor and guest: spawn,
 * mailboxes, kills, take-overs, crash loop, control socket, and where there is
 * a /dev/kvm a small long-mode guest. */
#include "engine/custody.h"
#include "engine/partition/control.h"
#include "tests/child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 20, MS = 1000000 };

static struct live {
	char dir[32];
	pid_t pid;
	struct custody c;
	char said[256];
} live;

static int config_fd(const char *wish)
{
	struct wire_notice n = { .op = OP_CONFIG, .bytes = (uint32_t)strlen(wish) };
	int fd = memfd_create("config", 0);

	memcpy(n.data, wish, n.bytes);
	cr_assert_eq(write(fd, &n, sizeof(n)), (ssize_t)sizeof(n));
	return fd;
}

static void exec_partition(const char *backend, const char *wish, const char *cmdline, int ready)
{
	const char *play = getenv("PARTITION_PLAY");
	char config[12], exe[12], guest[12], ready_text[12];

	snprintf(config, sizeof(config), "%d", config_fd(wish));
	snprintf(exe, sizeof(exe), "%d", open(play, O_RDONLY));
	snprintf(guest, sizeof(guest), "%d", open(play, O_RDONLY));
	snprintf(ready_text, sizeof(ready_text), "%d", ready);
	execl(getenv("HOLDFAST_PARTITION"), "holdfast-partition", "--ready-fd", ready_text,
	      "--state-dir", live.dir, "--backend", backend, "--memory", "67108864", "--vps", "2",
	      "--name", wish, "--config-fd", config, "--exe-fd", exe, "--guest-fd", guest,
	      "--cmdline", cmdline, "--force-kvm", NULL);
	_exit(127);
}

/* True: it is ready. Else live.said holds the line it gave. */
static bool start(const char *backend, const char *wish, const char *cmdline)
{
	int pipe_fd[2];
	ssize_t n;

	snprintf(live.dir, sizeof(live.dir), "/tmp/partition-XXXXXX");
	cr_assert_not_null(mkdtemp(live.dir));
	cr_assert_eq(pipe(pipe_fd), 0);
	live.pid = child_fork();
	if (live.pid == 0)
		exec_partition(backend, wish, cmdline, pipe_fd[1]);
	close(pipe_fd[1]);
	n = read(pipe_fd[0], live.said, sizeof(live.said) - 1);
	close(pipe_fd[0]);
	cr_assert_gt(n, 0);
	live.said[n] = '\0';
	return n == 1 && live.said[0] == 0;
}

static int control(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/control", live.dir);
	cr_assert_eq(connect(s, (const struct sockaddr *)&at, sizeof(at)), 0);
	return s;
}

static struct control_reply ask(int s, uint32_t op, uint32_t arg, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { 0 };
	struct control_request rq = { .magic = WIRE_MAGIC, .op = op, .arg = arg };
	struct control_reply reply = { 0 };
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes,
			    .msg_controllen = sizeof(room.bytes) };

	cr_assert_eq(send(s, &rq, sizeof(rq), 0), (ssize_t)sizeof(rq));
	cr_assert_eq(recvmsg(s, &m, 0), (ssize_t)sizeof(reply));
	if (ret_fd) {
		cr_assert_not_null(CMSG_FIRSTHDR(&m));
		memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	}
	return reply;
}

static void attach(void)
{
	int s = control(), fd = -1;

	cr_assert_eq(ask(s, CONTROL_CUSTODY, 0, &fd).status, 0);
	cr_assert_eq(custody_attach(&live.c, fd, false), 0);
	cr_assert_eq(mmap(NULL, WIRE_PAGE, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	close(s);
}

static int exit_status(void)
{
	char path[64];
	int status;

	cr_assert_eq(waitpid(live.pid, &status, 0), live.pid);
	live.pid = 0;
	snprintf(path, sizeof(path), "%s/control", live.dir);
	cr_assert_neq(access(path, F_OK), 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static uint32_t epoch_when_owned(uint32_t at_least)
{
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t w = atomic_load(&live.c.h->owner);

		if (OWNER_STATE(w) == OWNER_OWNED && OWNER_EPOCH(w) >= at_least)
			return OWNER_EPOCH(w);
		usleep(1000);
	}
	return 0;
}

/* @n kills of the owner; prints the time from SIGKILL to the next owner. */
static void kill_many(const char *what)
{
	uint64_t worst = 0, sum = 0;

	for (uint32_t i = 0; i < KILLS; i++) {
		int s = control();
		struct control_reply reply = ask(s, CONTROL_KILL, 0, NULL);
		uint64_t gap;

		cr_assert_eq(reply.status, 0, "%s", reply.text);
		cr_assert_eq(epoch_when_owned(i + 2), i + 2);
		while (atomic_load(&live.c.stats->n_gaps) < i + 1)
			usleep(100);
		gap = live.c.stats->gap[i % 64].gap_ns;
		worst = gap > worst ? gap : worst;
		sum += gap;
		close(s);
		usleep(30000);
	}
	printf("%s: %d kills, SIGKILL to next owner: mean %.2f ms, worst %.2f ms, longest wait of "
	       "a VP %.2f ms\n", what, KILLS, (double)sum / KILLS / MS, (double)worst / MS,
	       (double)atomic_load(&live.c.h->vp_wait_ns_max) / MS);
}

static void end(void)
{
	cr_assert_eq(ask(control(), CONTROL_END, 0, NULL).status, 0);
	cr_assert_eq(exit_status(), 0);
}

/* The guest goes on; a test's own time bounds it. */
static void until_posted(uint64_t n)
{
	while (atomic_load(&live.c.posted->tail) < n)
		usleep(1000);
}

static void start_soft(const char *wish)
{
	cr_assert(start("soft", wish, "guest 100000000 7"), "%s", live.said);
	attach();
	until_posted(10);
}

/* Whatever became of the test, nothing of it stays. */
static void clean(void)
{
	static const char *const files[] = { "control", "partition.pid", "partition.log",
					     "paravisor.log", "guest.log" };
	char path[64];

	if (live.pid > 0) {
		kill(live.pid, SIGKILL);
		waitpid(live.pid, NULL, 0);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", live.dir, files[i]);
		unlink(path);
	}
	rmdir(live.dir);
}

TestSuite(partition_live, .fini = clean);

Test(partition_live, guest_runs_and_its_status_is_the_partition_s, .timeout = 60)
{
	cr_assert(start("soft", "soft", "guest 2000 7"), "%s", live.said);
	cr_assert_eq(exit_status(), 7);
}

Test(partition_live, killed_owners_are_followed_by_spawned_takers, .timeout = 60)
{
	start_soft("soft");
	kill_many("spawned taker");
	until_posted(1001);
	cr_assert_eq(atomic_load(&live.c.h->kills), KILLS);
	end();
}

Test(partition_live, killed_owners_are_followed_by_standbys, .timeout = 60)
{
	start_soft("soft standby");
	usleep(100000);
	kill_many("standby");
	cr_assert_eq(atomic_load(&live.c.h->kills), KILLS);
	end();
}

Test(partition_live, crash_loop_rests_and_goes_on, .timeout = 60)
{
	uint64_t before = mono_now_ns();

	start_soft("soft crash");
	cr_assert_eq(epoch_when_owned(5), 5);
	cr_assert_gt(mono_now_ns() - before, UINT64_C(2000) * MS);
	end();
}

Test(partition_live, idle_owner_is_not_killed_when_only_a_busy_one_shall_be, .timeout = 60)
{
	start_soft("soft");
	cr_assert_eq(ask(control(), CONTROL_KILL, 1, NULL).status, EAGAIN);
	cr_assert_eq(atomic_load(&live.c.h->kills), 0);
	end();
}

Test(partition_live, waiting_client_gets_the_status, .timeout = 60)
{
	struct control_reply reply;

	cr_assert(start("soft", "soft", "guest 20000 9"), "%s", live.said);
	reply = ask(control(), CONTROL_WAIT, 0, NULL);
	cr_assert_eq(reply.value, 9);
	cr_assert_eq(exit_status(), 9);
}

Test(partition_live, console_passes_both_ways, .timeout = 60)
{
	struct control_request rq = { .magic = WIRE_MAGIC, .op = CONTROL_CONSOLE };
	char heard[16] = "";
	int s;

	start_soft("soft");
	s = control();
	cr_assert_eq(send(s, &rq, sizeof(rq), 0), (ssize_t)sizeof(rq));
	cr_assert_eq(send(s, "hello", 5, 0), 5);
	cr_assert_eq(recv(s, heard, sizeof(heard), 0), 5);
	cr_assert_str_eq(heard, "hello");
	end();
	cr_assert_eq(recv(s, heard, sizeof(heard), 0), 0);
}

/* A request with a descriptor; the paravisor's report comes back. */
static struct control_reply service(int exe)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { 0 };
	struct control_request rq = { .magic = WIRE_MAGIC, .op = CONTROL_SERVICE };
	struct iovec iov = { .iov_base = &rq, .iov_len = sizeof(rq) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes,
			    .msg_controllen = sizeof(room.bytes) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	struct control_reply reply = { 0 };
	int s = control();

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &exe, sizeof(exe));
	cr_assert_eq(sendmsg(s, &m, 0), (ssize_t)sizeof(rq));
	cr_assert_eq(recv(s, &reply, sizeof(reply), 0), (ssize_t)sizeof(reply));
	close(s);
	return reply;
}

Test(partition_live, successor_runs_the_given_executable_and_its_end_is_told, .timeout = 60)
{
	struct control_reply reply;
	int pid;

	start_soft("soft");
	reply = service(open(getenv("PARTITION_PLAY"), O_RDONLY));
	cr_assert_eq(reply.status, 0);
	cr_assert_str_eq(reply.text, "done");
	while (atomic_load(&live.c.proc[1].state) != PROC_READY)
		usleep(1000);
	cr_assert_eq(live.c.proc[1].role, ROLE_SUCCESSOR);
	cr_assert_str_eq(live.c.h->fds[live.c.proc[1].exe_row].name, "exe.1");
	pid = atomic_load(&live.c.proc[1].pid);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	while (atomic_load(&live.c.stats->checkpoints) == 0)
		usleep(1000);
	cr_assert_eq(atomic_load(&live.c.proc[1].state), PROC_FREE);
	cr_assert_eq(OWNER_SLOT(atomic_load(&live.c.h->owner)), 0);
	end();
}

Test(partition_live, missing_guest_is_one_line, .timeout = 60)
{
	setenv("PARTITION_PLAY", "/nonexistent", 1);
	cr_assert_not(start("soft", "soft", "guest 1 0"));
	cr_assert_gt(strlen(live.said), 10);
}

/* MSR, absorbed and unmatched doorbells, hypercall IN, MMIO, triple fault,
 * reset and all of it again: play.c ends with 7 when every value was right. */
Test(partition_live, kvm_conforms, .timeout = 60)
{
	if (access("/dev/kvm", R_OK | W_OK))
		cr_skip_test("no /dev/kvm");
	cr_assert(start("kvm", "kvm", ""), "%s", live.said);
	attach();
	cr_assert_eq(exit_status(), 7);
	cr_assert_eq(atomic_load(&live.c.stats->doorbells_unmatched), 2);
	cr_assert_eq(atomic_load(&live.c.stats->exits[EXIT_RDMSR]), 4);
	cr_assert_eq(atomic_load(&live.c.stats->exits[EXIT_HYPERCALL]), 2);
	cr_assert_eq(atomic_load(&live.c.stats->exits[EXIT_PIO]), 6);
	cr_assert_eq(atomic_load(&live.c.stats->exits[EXIT_MMIO]), 4);
}
