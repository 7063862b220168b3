/* archive, log, replay, inspect and list against a partition of the test's own:
 * real custody, a real lane with toy machines, a control socket that hands
 * custody out. The commands run in processes of their own. */
#include "servicing/commands.h"
#include "servicing/registry.h"

#include "engine/lane.h"
#include "engine/partition/control.h"
#include "persist/archive.h"
#include "persist/codec.h"
#include "persist/toys.h"
#include "servicing/breaks.h"
#include "tests/child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <lmdb.h>
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
static FILE *input;              /* of the next command; NULL: none */

static pid_t spawn(int (*command)(int, char **), char *const *argv, int argc, int out)
{
	pid_t pid = child_fork();

	cr_assert_geq(pid, 0);
	if (pid)
		return pid;
	if (input)
		dup2(fileno(input), 0);
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

/* The same with @text as its standard input. */
static int run_console(const char *text)
{
	int r;

	input = tmpfile();
	fputs(text, input);
	fflush(input);
	lseek(fileno(input), 0, SEEK_SET);
	r = run(cmd_replay, "--step", NULL, NULL);
	fclose(input);
	input = NULL;
	return r;
}

static pid_t start_archive(void)
{
	const char *argv[] = { "archive", "--state", dir, NULL };

	return spawn(cmd_archive, (char *const *)(uintptr_t)argv, 3, 2);
}

/* Until the archiver has written event @seq: it gives way to everything else. */
static void wait_archived(uint64_t seq)
{
	char archive[128], why[ARCHIVE_WHY];
	int found = ARCHIVE_E_END;

	snprintf(archive, sizeof(archive), "%s/archive", dir);
	for (unsigned i = 0; i < 4000 && found != ARCHIVE_OK; i++) {
		struct archive_reader *r;

		usleep(20000);
		if (archive_reader_open(archive, &r, why) != 0)
			continue;
		found = archive_seek_seq(r, seq);
		archive_reader_close(r);
	}
	cr_assert_eq(found, ARCHIVE_OK, "event %lu was not archived", (unsigned long)seq);
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

TestSuite(history, .init = setup, .fini = teardown, .timeout = 200);

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

	for (unsigned i = 1; i <= 9; i++) {
		press(10000);
		wait_archived(i * 10000);
	}
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(run(cmd_replay, "--verify", NULL, NULL), 0, "%s", output);
	cr_assert_eq(figure("events="), 90000);
	cr_assert_geq(figure("states compared: "), 1);
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
	wait_archived(90000);
	press(100);
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 0, "%s", output);
	cr_assert(figure("events=") >= 100);
}

/* Changes the last byte of the archive's first checkpoint. */
static void change_checkpoint(void)
{
	char archive[128];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_cursor *cursor;
	MDB_val key, value;
	uint8_t *copy;

	snprintf(archive, sizeof(archive), "%s/archive", dir);
	cr_assert_eq(mdb_env_create(&env), 0);
	cr_assert_eq(mdb_env_set_maxdbs(env, 4), 0);
	cr_assert_eq(mdb_env_open(env, archive, 0, 0600), 0);
	cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_dbi_open(txn, "checkpoints", MDB_INTEGERKEY, &dbi), 0);
	cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
	cr_assert_eq(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
	copy = malloc(value.mv_size);
	memcpy(copy, value.mv_data, value.mv_size);
	copy[value.mv_size - 1] ^= 1;
	value.mv_data = copy;
	cr_assert_eq(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
	mdb_cursor_close(cursor);
	cr_assert_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	free(copy);
}

Test(history, a_changed_checkpoint_of_the_archive_is_told)
{
	pid_t pid = start_archive();

	press(10000);
	wait_archived(10000);
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(run(cmd_replay, "--verify", NULL, NULL), 0, "%s", output);
	change_checkpoint();
	cr_assert_eq(run(cmd_replay, "--verify", NULL, NULL), 1);
	cr_assert_not_null(strstr(output, "not the one that the log tells of"), "%s", output);
}

Test(history, a_changed_checkpoint_of_the_archive_is_not_begun_with)
{
	pid_t pid;
	uint64_t events;

	press(90000);
	pid = start_archive();
	wait_archived(90000);
	press(10000);
	wait_archived(100000);
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 0, "%s", output);
	events = figure("events=");
	change_checkpoint();
	cr_assert_eq(run(cmd_replay, NULL, NULL, NULL), 0, "%s", output);
	cr_assert(figure("events=") < events && figure("events=") > 0, "the next one is");
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

/* ---- going to and fro --------------------------------------------------------------- */

static bool has(const char *text)
{
	return strstr(output, text) != NULL;
}

Test(history, replay_stops_where_an_expression_is_true)
{
	press(5000);
	cr_assert_eq(run(cmd_replay, "--until", "lamp[2].presses == 40", "--show=lamp[2].presses"),
		     0, "%s", output);
	cr_assert(has("lamp[2].presses 40\n"), "%s", output);
	cr_assert_eq(run(cmd_replay, "--until", "lamp[2].presses == 50000", NULL), 1);
	cr_assert_eq(run(cmd_replay, "--until", "lamp[2].pressed == 4", NULL), 2);
	cr_assert_eq(run(cmd_replay, "--to", "5001", NULL), 1);
	cr_assert_eq(run(cmd_replay, "--to", "12x", NULL), 2);
	cr_assert_eq(run(cmd_replay, "--to", "77", "--show=all"), 0);
	cr_assert(has("behind event 77:") && has("lamp[7] state="), "%s", output);
}

static uint64_t hash_at(struct tape *t)
{
	static uint8_t packed[LIMIT_SLOT_BYTES];
	uint64_t hash = 0;

	cr_assert_eq(codec_state_hash(tape_world(t), packed, sizeof(packed), &hash), 0);
	return hash;
}

Test(history, a_tape_goes_anywhere)
{
	enum { EVENTS = 20000, TRIES = 60 };
	struct { uint64_t place, hash; } at[TRIES];
	struct tape *t;
	char why[160];

	press(EVENTS);
	cr_assert_eq(tape_open(dir, NULL, &t), 0);
	cr_assert_eq(tape_events(t), EVENTS);
	for (unsigned i = 0; i < TRIES; i++) {
		at[i].place = toy_random(&seed) % (EVENTS + 1);
		tape_go(t, at[i].place);
		at[i].hash = hash_at(t);
	}
	tape_go(t, 0);
	for (uint64_t place = 0;; place++) {
		for (unsigned i = 0; i < TRIES; i++)
			cr_assert(at[i].place != place || at[i].hash == hash_at(t));
		if (place == EVENTS)
			break;
		tape_step(t);
	}
	cr_assert(tape_find(t, 77, &at[0].place, why) && at[0].place == 77);
	cr_assert_not(tape_find(t, EVENTS + 1, &at[0].place, why));
	cr_assert_not_null(strstr(why, "event 20001 is beyond the end; there are 0 to 20000"));
	cr_assert_eq(tape_snapshot(t, 5000), LIMIT_TAPE_EVENTS);
	tape_close(t);
}

Test(history, a_tape_passes_over_what_is_missing)
{
	struct tape *t;
	uint64_t place;
	char why[160];
	pid_t pid;

	pid = start_archive();
	press(1000);
	wait_archived(1000);
	kill(pid, SIGKILL);
	status_of(pid);
	press(90000);
	pid = start_archive();
	wait_archived(91000);
	press(100);
	end_vm();
	cr_assert_eq(status_of(pid), 0);
	cr_assert_eq(tape_open(dir, NULL, &t), 0);
	cr_assert(tape_find(t, 1000, &place, why) && place == 1000);
	cr_assert_not(tape_find(t, 1500, &place, why));
	cr_assert_not_null(strstr(why, "missing"), "%s", why);
	cr_assert(tape_find(t, 91100, &place, why) && place == tape_events(t));
	tape_go(t, place);
	cr_assert_eq(world_lane_const(tape_world(t))->seq, 91100);
	tape_go(t, 1000);
	cr_assert_eq(world_lane_const(tape_world(t))->seq, 1000);
	tape_step(t);
	cr_assert_eq(world_lane_const(tape_world(t))->seq, tape_seq(t, 1001));
	tape_go(t, 1000);
	cr_assert_eq(world_lane_const(tape_world(t))->seq, 1000);
	tape_close(t);
}

Test(history, the_console_goes_to_and_fro)
{
	press(9000);
	cr_assert_eq(run_console("to 5000\nforward 2\nback\nb 3\nfirst\nlast\n"
				 "print lamp[2].presses\ndiff 8999 9000\nto 5000\n"
				 "break machine lamp[2]\nreverse\nevent\nmachines\nquit\nto 1\n"), 0, "%s", output);
	cr_assert(has("(5000) forward 2\n") && has("(5002) back") && has("(5001) b 3"), "%s",
		  output);
	cr_assert(has("(0) last") && has("(9000) print lamp[2].presses\n"));
	cr_assert(has("seq: 8999 -> 9000\n") && has("    lamp[2] PRESS  "), "%s", output);
	cr_assert_not(has(") to 1\n"), "quit ends");
	cr_assert_eq(run_console("to 9001\n"), 1);
	cr_assert(has("? event 9001 is beyond the end; there are 0 to 9000\n"));
	cr_assert_eq(run_console("fly\n"), 1);
	cr_assert_eq(run_console("print lamp[1].wat\n"), 1);
	cr_assert(has("? column 9: lamp has no field 'wat'; did you mean watt\n"), "%s", output);
}

Test(history, breakpoints_hit_in_both_directions)
{
	const char *at;
	char back[64];

	press(9000);
	cr_assert_eq(run_console("break when lamp[3].presses == 500\ncontinue\ncontinue\nreverse\n"
				 "print lamp[3].presses\nback\nprint lamp[3].presses\n"), 0);
	cr_assert(has("breakpoint 1: when lamp[3].presses == 500\n") && has("\n500\n") &&
		  has("\n499\n") && has("no breakpoint was hit"), "%s", output);
	/* The same place from both sides. */
	cr_assert_eq(run_console("b field lamp[5].presses\nto 4500\nbreak field lamp[5].presses\n"
				 "reverse\nreverse\ncontinue\nquit\n"), 1);
	at = strstr(output, ") reverse");
	cr_assert_not_null(at);
	at = strstr(at, "\n(");
	snprintf(back, sizeof(back), "%.*s", (int)strcspn(at + 1, ")"), at + 1);
	at = strstr(output, ") quit");
	cr_assert_eq(strncmp(at - strlen(back), back, strlen(back)), 0, "%s", output);
	cr_assert_eq(run_console("break state lamp[1] LIT\ncontinue\nprint lamp[1].state\n"
				 "break event lamp[6] PRESS\ndelete 1\ncontinue\n"), 0);
	cr_assert(has("\nLIT\n") && has("breakpoint 2: event lamp[6] PRESS\n"));
}

Test(history, why_names_the_event)
{
	press(9000);
	cr_assert_eq(run_console("break when lamp[3].presses == 500\ncontinue\nlast\n"
				 "until seq > 8000\nto 6000\nwhy lamp[3].presses 2\n"), 1);
	cr_assert(has("? it is not true up to the last event"));
	cr_assert_eq(run_console("to 6000\nwhy lamp[3].presses 2\n"), 0);
	cr_assert(has("lamp[3].presses is ") && has("lamp[3] PRESS") && has("lamp[3].presses: "),
		  "%s", output);
	cr_assert_eq(run_console("first\nwhy lamp[3].presses\n"), 0);
	cr_assert(has("nothing has changed it"));
}

Test(history, states_of_two_events_are_compared)
{
	const char *argv[] = { "replay", "--diff", "10", "11", dir, NULL };
	FILE *file = tmpfile();

	press(50);
	fflush(NULL);
	cr_assert_eq(status_of(spawn(cmd_replay, (char *const *)(uintptr_t)argv, 5, fileno(file))),
		     0);
	rewind(file);
	output[fread(output, 1, sizeof(output) - 1, file)] = '\0';
	fclose(file);
	cr_assert(has("seq: 10 -> 11\n") && has("differences between event 10 and event 11\n"),
		  "%s", output);
	cr_assert_eq(run(cmd_replay, "--seek-bench", "50", NULL), 0);
	cr_assert(has("\"name\":\"replay.seek_ms\",\"n\":50,"));
}

Test(history, breakpoints_are_parsed)
{
	static struct breaks b;
	struct expr_error why;

	cr_assert_not_null(breaks_add(&b, &program, "machine lamp[1]", &why));
	cr_assert_not_null(breaks_add(&b, &program, "state lamp LIT", &why));
	cr_assert_not_null(breaks_add(&b, &program, "event lamp[2] PRESS", &why));
	cr_assert_not_null(breaks_add(&b, &program, "field lamp[2].watt", &why));
	cr_assert_not_null(breaks_add(&b, &program, "when lamp[2].watt > 3", &why));
	cr_assert_null(breaks_add(&b, &program, "state lamp[1] LIGHT", &why));
	cr_assert_eq(why.column, 15);
	cr_assert_null(breaks_add(&b, &program, "when lamp[2].wat > 3", &why));
	cr_assert_eq(why.column, 14);
	cr_assert_null(breaks_add(&b, &program, "field lamp[2]", &why));
	cr_assert_null(breaks_add(&b, &program, "lamp[2]", &why));
	cr_assert(breaks_delete(&b, 2) && !breaks_delete(&b, 2) && b.n == 4);
	breaks_clear(&b);
	cr_assert_eq(b.n, 0);
}
