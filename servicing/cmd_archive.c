/* `holdfast archive`: follows the log ring and copies it into DIR/archive.
 *
 * It may die, hang or lag: it only reads custody. Lapped, it starts a new run
 * at the newest checkpoint. It gives way to everything else (nice). It ends
 * with the VM, at SIGTERM, or when there is no room, and says which. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/build_id.h"
#include "servicing/control_client.h"
#include "servicing/registry.h"

#include "persist/archive.h"
#include "persist/schema.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NICENESS = 10, IDLE_MS = 20, FLUSH_NS = 200000000, BATCH = 4096 };

struct archiver {
	char dir[4096];
	struct custody c;
	struct archive *a;
	struct log_reader reader;
	uint8_t *scratch, *state;
	uint64_t checkpoint;             /* generation of the newest one archived */
	uint64_t flushed_ns;
	int control;                     /* hangs up when the VM ends */
	bool ended;
};

static volatile sig_atomic_t stop;

static void on_signal(int n)
{
	(void)n;
	stop = 1;
}

static int arguments(int argc, char **argv, const char **ret_state)
{
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		*ret_state = optarg;
	}
	return optind == argc ? 0 : command_usage(argv[0]);
}

/* The history of another VM, in the same directory, steps aside. */
static int step_aside(const char *dir)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "writer" };
	char previous[4200], path[4300];

	snprintf(previous, sizeof(previous), "%s.previous", dir);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", previous, names[i]);
		unlink(path);
	}
	rmdir(previous);
	if (rename(dir, previous) == 0)
		return 0;
	fprintf(stderr, "holdfast: %s holds the history of another VM and cannot be moved to %s "
		"(%s); move it away\n", dir, previous, strerror(errno));
	return -errno;
}

static int open_archive(struct archiver *p)
{
	struct archive_options o = {
		.version = HOLDFAST_VERSION, .build = build_text(),
		.schema_hash = schema_hash(&program), .identity = p->c.h->wall_ns,
		.level = program.max_level,
	};
	char why[ARCHIVE_WHY] = "";
	int r = archive_open(p->dir, &o, &p->a, why);

	if (r == ARCHIVE_E_OTHER) {
		r = step_aside(p->dir);
		if (r < 0)
			return r;
		r = archive_open(p->dir, &o, &p->a, why);
	}
	if (r == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: %s; move it away or free some room\n", p->dir,
		why[0] ? why : strerror(r < 0 ? -r : EPROTO));
	return r < 0 ? r : -EPROTO;
}

static int attach(struct archiver *p, const char *state)
{
	int r;

	if ((size_t)snprintf(p->dir, sizeof(p->dir), "%s/archive", state) >= sizeof(p->dir))
		return -ENAMETOOLONG;
	if (custody_attach(&p->c, WIRE_FD_CUSTODY, false) != 0) {
		r = control_custody(state, &p->c);
		if (r < 0)
			return r;
	}
	p->control = control_connect(state);
	p->scratch = malloc(LOG_SCRATCH);
	p->state = malloc(LIMIT_SLOT_BYTES);
	if (p->control < 0)
		return p->control;
	return p->scratch && p->state ? open_archive(p) : -ENOMEM;
}

static void place_reader(struct archiver *p)
{
	const struct archive_place *at = archive_place(p->a);

	log_reader_init(&p->reader, &p->c.lane_words[0], p->c.lane_ring, at->position, at->chain,
			p->scratch);
}

/* The checkpoint to go on from: the older one loses less, if its records are
 * still there. */
static int choose_checkpoint(struct archiver *p, size_t *ret_len, struct slot_cut *ret)
{
	const struct log_words *words = &p->c.lane_words[0];

	if (slot_copy(&p->c, true, p->state, ret_len, ret) == 0 &&
	    ret->position >= atomic_load(&words->oldest))
		return 0;
	return slot_copy(&p->c, false, p->state, ret_len, ret);
}

/* 0, ARCHIVE_E_FULL, -errno. Without a checkpoint to go on from: later. */
static int start_run(struct archiver *p)
{
	struct slot_cut cut;
	size_t len;
	int r;

	if (choose_checkpoint(p, &len, &cut) < 0)
		return 0;
	r = archive_gap(p->a, &cut, p->state, len);
	if (r == 0) {
		fprintf(stderr, "holdfast: %s: fell behind the log; a new run starts at sequence "
			"%" PRIu64 "\n", p->dir, cut.seq);
		p->checkpoint = cut.generation;
		place_reader(p);
	}
	return r;
}

/* A new checkpoint, once all before its cut is held. */
static int take_checkpoint(struct archiver *p)
{
	struct slot_cut cut;
	size_t len;
	int r;

	if (slot_copy(&p->c, false, p->state, &len, &cut) < 0 || cut.generation == p->checkpoint ||
	    cut.position > archive_place(p->a)->position)
		return 0;
	r = archive_checkpoint(p->a, &cut, p->state, len);
	if (r == 0)
		p->checkpoint = cut.generation;
	return r;
}

/* Reads up to BATCH records. *@ret_end: no more are committed. */
static int copy_records(struct archiver *p, bool *ret_end)
{
	*ret_end = false;
	for (unsigned i = 0; i < BATCH; i++) {
		struct log_record h;
		const uint8_t *payload;
		enum log_result got = log_read(&p->reader, &h, &payload);
		int r;

		if (got == LOG_E_END) {
			*ret_end = true;
			return 0;
		}
		if (got != LOG_OK)
			return start_run(p);
		r = archive_append(p->a, p->reader.position - log_cost(h.len), &h, payload);
		if (r)
			return r;
	}
	return 0;
}

static int flush_when_due(struct archiver *p)
{
	uint64_t now = mono_now_ns();

	if (now - p->flushed_ns < FLUSH_NS)
		return 0;
	p->flushed_ns = now;
	return archive_flush(p->a);
}

static void rest(struct archiver *p)
{
	struct pollfd pfd = { .fd = p->control, .events = POLLIN };

	if (poll(&pfd, 1, IDLE_MS) > 0)
		p->ended = true;
}

static int follow(struct archiver *p)
{
	bool end = false;
	int r = 0;

	while (r == 0 && !(end && (stop || p->ended))) {
		if (end)
			rest(p);
		r = copy_records(p, &end);
		if (r == 0)
			r = take_checkpoint(p);
		if (r == 0)
			r = flush_when_due(p);
	}
	return r ? r : archive_flush(p->a);
}

static int report(const struct archiver *p, int r)
{
	uint64_t seq = archive_place(p->a)->seq;

	if (r == 0)
		return 0;
	if (r == ARCHIVE_E_FULL)
		fprintf(stderr, "holdfast: %s: no room, and nothing left to drop: history ends at "
			"sequence %" PRIu64 ", the VM goes on; free some room and start "
			"`holdfast archive` again\n", p->dir, seq);
	else
		fprintf(stderr, "holdfast: %s: cannot be written (%s): history ends at sequence "
			"%" PRIu64 ", the VM goes on\n", p->dir, strerror(-r), seq);
	return 1;
}

int cmd_archive(int argc, char **argv)
{
	static struct archiver p = { .control = -1 };
	struct sigaction sa = { .sa_handler = on_signal };
	const char *state = NULL;
	int r = arguments(argc, argv, &state);

	if (r)
		return r;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	setpriority(PRIO_PROCESS, 0, NICENESS);
	r = attach(&p, state);
	if (r == 0) {
		place_reader(&p);
		r = report(&p, follow(&p));
	} else {
		r = 1;
	}
	p.a = archive_close(p.a);
	free(p.scratch);
	free(p.state);
	if (p.control >= 0)
		close(p.control);
	return r;
}
