/* archive, log, replay, inspect and list against a partition of the test's own:
 * real custody, a real lane with toy machines, a control socket that hands
 * custody out. The commands run in processes of their own. */
#include "servicing/commands.h"
#include "servicing/registry.h"

#include "engine/lane.h"
#include "engine/partition/control.h"
#include "persist/codec.h"
#include "persist/toys.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TAIL = 900, OUTPUT = 1 << 20 };

const struct slot_codec program_codec = { .pack = codec_pack, .unpack = codec_unpack };
static char dir[64];
static struct custody c;
static struct world *w;
static struct follower f;
static struct lane l;
static uint64_t seed = 77;
static unsigned offered, batch_limit;
static int listening = -1, clients[64];
static unsigned n_clients;
static pthread_t server;

void program_fresh(struct world *to)
{
	world_spawn_fixed(to, KIND_LAMP, 8);
}

/* ---- the lane -------------------------------------------------------------------- */

static unsigned collect(void *hands, struct lane *to, unsigned max)
{
	uint8_t tail[TAIL];
	struct rec_toy toy = { .number = toy_random(&seed) };
	struct lane_event e = { .kind = KIND_LAMP, .code = lamp_EV_PRESS, .fixed = &toy,
				.fixed_len = sizeof(toy), .tail = tail };
	unsigned n;

	(void)hands;
	memset(tail, 0x5a, sizeof(tail));
	for (n = 0; n < max && offered < batch_limit; n++, offered++) {
		e.index = (uint16_t)(toy_random(&seed) % 9);
		e.tail_len = (uint32_t)(toy_random(&seed) % TAIL);
		cr_assert(lane_offer(to, &e));
	}
	return n;
}

static void nothing(void *hands)
{
	(void)hands;
}

static void perform(void *hands, const struct effect *e, bool redo)
{
	(void)hands;
	(void)e;
	(void)redo;
}

static void rebuild(void *hands, const struct world *from)
{
	(void)hands;
	(void)from;
}

static void answers(void *hands, struct lane *to)
{
	(void)hands;
	(void)to;
}

static const struct lane_ops ops = {
	.collect = collect, .taken = nothing, .perform = perform, .flush = nothing,
	.rebuild = rebuild, .answers = answers,
};

static void press(unsigned n)
{
	offered = 0;
	batch_limit = n;
	while (lane_batch(&l))
		;
	cr_assert_eq(offered, n);
}

/* ---- the control socket ------------------------------------------------------------ */

static void reply_custody(int s)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct control_request rq;
	struct control_reply reply = { 0 };
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	if (recv(s, &rq, sizeof(rq), 0) != (ssize_t)sizeof(rq))
		return;
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &c.fd, sizeof(int));
	sendmsg(s, &m, MSG_NOSIGNAL);
}

/* One request at most per client; the connection stays until the VM's end. */
static void *serve(void *unused)
{
	(void)unused;
	for (;;) {
		int s = accept(listening, NULL, NULL);
		struct timeval patience = { .tv_usec = 50000 };

		if (s < 0)
			return NULL;
		setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		clients[n_clients++] = s;
		reply_custody(s);
	}
}

static void start_server(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", dir);
	listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(listening, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(listening, 8), 0);
	cr_assert_eq(pthread_create(&server, NULL, serve, NULL), 0);
}

static void end_vm(void)
{
	if (listening < 0)
		return;
	shutdown(listening, SHUT_RDWR);
	pthread_join(server, NULL);
	close(listening);
	listening = -1;
	for (unsigned i = 0; i < n_clients; i++)
		close(clients[i]);
}

/* ---- running commands ---------------------------------------------------------------- */

static char output[OUTPUT];

static pid_t spawn(int (*command)(int, char **), char *const *argv, int argc, int out)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid)
		return pid;
	for (int fd = 3; fd < 64; fd++) {
		if (fd != out)
			close(fd);
	}
	dup2(out, 1);
	optind = 0;
	exit(command(argc, (char **)(uintptr_t)argv));
}

static int status_of(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs to the end; its standard output is in `output`. */
static const char *name_of(int (*command)(int, char **))
{
	return command == cmd_list ? "list" : command == cmd_inspect ? "inspect" :
	       command == cmd_log ? "log" : command == cmd_replay ? "replay" : "archive";
}

static int run(int (*command)(int, char **), const char *a, const char *b, const char *d)
{
	const char *argv[] = { name_of(command), "--state", dir, a, b, d, NULL };
	int argc = d ? 6 : b ? 5 : a ? 4 : 3, r;
	FILE *file = tmpfile();
	size_t n;

	argv[argc] = NULL;
	fflush(NULL);
	r = status_of(spawn(command, (char *const *)(uintptr_t)argv, argc, fileno(file)));
	rewind(file);
	n = fread(output, 1, sizeof(output) - 1, file);
	output[n] = '\0';
	fclose(file);
	return r;
}

static pid_t start_archive(void)
{
	const char *argv[] = { "archive", "--state", dir, NULL };

	return spawn(cmd_archive, (char *const *)(uintptr_t)argv, 3, 2);
}

/* The value behind "name=" in the output. */
static uint64_t figure(const char *name)
{
	const char *at = strstr(output, name);

	cr_assert_not_null(at, "no %s in: %s", name, output);
	return strtoull(at + strlen(name), NULL, 10);
}

static void setup(void)
{
	char why[160];

	snprintf(dir, sizeof(dir), "/tmp/holdfast-history-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(custody_create(&c), 0);
	c.h->vps = 2;
	c.h->wall_ns = 1234567;
	snprintf(c.h->name, sizeof(c.h->name), "toys");
	atomic_store(&c.h->owner, OWNER_WORD(1, 0, OWNER_OWNED));
	atomic_store(&c.proc[0].pid, getpid());
	atomic_store(&c.proc[0].state, PROC_OWNER);
	snprintf(c.proc[0].build, sizeof(c.proc[0].build), "0.1.0-a abcd");
	w = world_new(&program);
	cr_assert_eq(follow_init(&f, w), 0);
	cr_assert_eq(follow_begin(&f, &c, &program_codec, program_fresh, 0, why), 0);
	lane_start(&l, &c, w, &program_codec, &ops, NULL, 1, &f);
	start_server();
}

static void teardown(void)
{
	char command[256];

	end_vm();
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(history, .init = setup, .fini = teardown, .timeout = 60);

Test(history, replay_of_the_ring_agrees)
{
	press(5000);
	cr_assert_eq(run(cmd_replay, "--verify", NULL, NULL), 0, "%s", output);
	cr_assert_eq(figure("events="), 5000);
	cr_assert_eq(figure("divergences="), 0);
	cr_assert_eq(run(cmd_replay, "--to", "123", NULL), 0);
	cr_assert_eq(figure("events="), 123);
}

Test(history, replay_of_a_lapped_ring_starts_at_a_checkpoint)
{
	press(90000);
	cr_assert_gt(atomic_load(&c.lane_words[0].oldest), 0);
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 0, "%s", output);
	cr_assert(figure("events=") > 1000 && figure("events=") < 90000);
}

Test(history, the_archive_keeps_what_the_ring_forgot)
{
	pid_t pid = start_archive();

	for (unsigned i = 0; i < 90; i++) {
		press(1000);
		usleep(10000);
	}
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(run(cmd_replay, "--verify", NULL, NULL), 0, "%s", output);
	cr_assert_eq(figure("events="), 90000);
	cr_assert_gt(figure("states compared: "), 2);
	printf("%s", strstr(output, "replay:"));
	cr_assert_eq(run(cmd_log, "--from", "89999", NULL), 0);
	cr_assert_not_null(strstr(output, "PRESS number="));
}

Test(history, a_killed_archiver_goes_on)
{
	for (unsigned round = 0; round < 4; round++) {
		pid_t pid = start_archive();

		press(3000);
		usleep(300000);
		press(1000);
		kill(pid, SIGKILL);
		cr_assert_eq(status_of(pid), 128 + SIGKILL);
	}
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 0, "%s", output);
	cr_assert_eq(figure("events="), 16000, "archive and ring together hold all");
}

Test(history, a_late_archiver_starts_at_a_checkpoint)
{
	pid_t pid;

	press(90000);
	pid = start_archive();
	usleep(500000);
	press(100);
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 0, "%s", output);
	cr_assert(figure("events=") >= 100);
}

/* Changes the first recorded effect, makes the chain of that record hold, and
 * ends the log behind it. */
static void falsify(void)
{
	uint8_t *scratch = malloc(LOG_SCRATCH);
	uint64_t at = 0, chain = 0;
	struct log_reader lr;
	struct log_record h = { 0 };
	const uint8_t *p;

	log_reader_init(&lr, &c.lane_words[0], c.lane_ring, 0, 0, scratch);
	while (h.type != LOG_CONFIRM || h.len <= sizeof(struct log_confirm)) {
		at = lr.position;
		chain = lr.chain;
		cr_assert_eq(log_read(&lr, &h, &p), LOG_OK);
	}
	c.lane_ring[at + sizeof(h) + sizeof(struct log_confirm) + sizeof(struct effect_head)] ^= 1;
	h.chain = log_chain(&h, c.lane_ring + at + sizeof(h), chain);
	memcpy(c.lane_ring + at, &h, sizeof(h));
	atomic_store(&c.lane_words[0].tail, at + log_cost(h.len));
	free(scratch);
}

Test(history, a_divergence_is_named)
{
	press(50);
	falsify();
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 1);
	cr_assert_not_null(strstr(output, "machine=lamp["), "%s", output);
	cr_assert_not_null(strstr(output, "effect=SHINE field=number recorded="));
	cr_assert_eq(figure("divergences="), 1);
}

Test(history, damage_is_told)
{
	press(50);
	c.lane_ring[4096] ^= 1;
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 1);
	cr_assert_eq(run(cmd_log, NULL, NULL, NULL), 1);
}

Test(history, log_names_machines_and_effects)
{
	press(20);
	cr_assert_eq(run(cmd_log, NULL, NULL, NULL), 0);
	cr_assert_not_null(strstr(output, "PRESS number="));
	cr_assert_not_null(strstr(output, "SHINE number="));
	cr_assert_eq(run(cmd_log, "--json", "--machine", "lamp[3]"), 0);
	cr_assert_not_null(strstr(output, "\"machine\":\"lamp[3]\""));
	cr_assert_null(strstr(output, "\"machine\":\"lamp[4]\",\"generation\""));
}

Test(history, inspect_shows_every_machine)
{
	press(200);
	cr_assert_eq(run(cmd_inspect, NULL, NULL, NULL), 0);
	cr_assert_not_null(strstr(output, "lamp[7] state="), "%s", output);
	cr_assert_not_null(strstr(output, "ownership epoch=1 slot=0 state=owned"));
	cr_assert_eq(run(cmd_inspect, "lamp[2].state", NULL, NULL), 0);
	cr_assert(strstr(output, "LIT") || strstr(output, "DARK"));
	cr_assert_eq(run(cmd_inspect, "--json", "lamp[2]", NULL), 0);
	cr_assert_not_null(strstr(output, "\"watt\":"));
	cr_assert_eq(run(cmd_inspect, "lamp[9]", NULL, NULL), 1);
	cr_assert_eq(run(cmd_inspect, "--wrong", NULL, NULL), 2);
}

Test(history, list_is_one_line)
{
	press(3);
	cr_assert_eq(run(cmd_list, NULL, NULL, NULL), 0);
	cr_assert_eq(figure("paravisor_pid="), (uint64_t)getpid());
	cr_assert_eq(figure("epoch="), 1);
	cr_assert_not_null(strstr(output, "build=0.1.0-a-abcd slot=0 inflight=0 vp_stopped=0"));
}
