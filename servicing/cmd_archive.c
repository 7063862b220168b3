/* `holdfast archive`: follows the log ring and copies it into DIR/archive.
 *
 * It may die, hang or lag: it only reads custody. Lapped, it starts a new run
 * at the newest checkpoint. It gives way to everything else (nice). It ends
 * with the VM, at SIGTERM, or when there is no room, and says which. */
#include "servicing/archive_status.h"
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/build_id.h"
#include "servicing/control_client.h"
#include "servicing/registry.h"
#include "servicing/verifier.h"

#include "devices/sabotage.h"
#include "engine/sandbox.h"
#include "persist/archive.h"
#include "persist/schema.h"

#include <ctype.h>
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

enum { NICENESS = 10, IDLE_MS = 20, FLUSH_NS = 200000000, BATCH = 4096,
       ARCHIVER_FILES = 32 };

struct archiver {
	char dir[4096];
	struct custody c;
	struct archive *a;
	struct log_reader reader;
	uint8_t *scratch, *state;
	struct verifier v;
	uint64_t keep, age_s;            /* retention */
	uint64_t gaps;
	int status;                      /* DIR/archive.status, -1 none */
	uint64_t checkpoint;             /* generation of the newest one archived */
	uint64_t refused;                /* and of the last that was told to be another */
	struct slot_cut next;            /* of the one in `state`, not reached yet; 0: none */
	size_t next_len;
	uint64_t flushed_ns;
	int control;                     /* hangs up when the VM ends */
	bool ended;
	uint64_t last;                   /* asked to stop: the log's end then; 0: not asked */
};

#define KEEP_LEAST (UINT64_C(1) << 20)
#define KEEP_MOST (UINT64_C(1) << 40)

static volatile sig_atomic_t stop;

static void on_signal(int n)
{
	(void)n;
	stop = 1;
}

/* A number with K, M or G behind it; 0: it is none. */
static uint64_t size_of(const char *text)
{
	static const char units[] = "KMG";
	char *end;
	uint64_t n = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (!isdigit((unsigned char)*text) || (*end && (!unit || end[1])))
		return 0;
	return unit ? n << 10 * (unit - units + 1) : n;
}

static int arguments(int argc, char **argv, struct archiver *p, const char **ret_state)
{
	unsigned long long age = 0;
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		if (option == 's') {
			*ret_state = optarg;
		} else if (option == 'a') {
			if (command_number(argv[0], "age", optarg, UINT32_MAX, &age))
				return 2;
			p->age_s = age;
		} else {
			p->keep = size_of(optarg);
			if (p->keep < KEEP_LEAST || p->keep > KEEP_MOST) {
				fprintf(stderr, "holdfast: archive: --keep %s: a size from 1M to "
					"1024G expected\n", optarg);
				return 2;
			}
		}
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
		.level = program.max_level, .retention = p->keep,
		.age_ns = p->age_s * UINT64_C(1000000000),
		.segment = p->keep && p->keep / 8 < ARCHIVE_SEGMENT ? p->keep / 8 : 0,
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
	archive_status_write(p->status, &(struct archive_status){ .state = "failed", .why = why });
	return r < 0 ? r : -EPROTO;
}

#define NO_MEMORY "free some memory and start `holdfast archive` again; the VM goes on"

static int refuse(const struct archiver *p, int error, const char *cure)
{
	fprintf(stderr, "holdfast: %s: %s; %s\n", p->dir, strerror(-error), cure);
	return error;
}

static int attach(struct archiver *p, const char *state)
{
	int r;

	if ((size_t)snprintf(p->dir, sizeof(p->dir), "%s/archive", state) >= sizeof(p->dir))
		return refuse(p, -ENAMETOOLONG, "use a shorter --state");
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
	if (!p->scratch || !p->state)
		return refuse(p, -ENOMEM, NO_MEMORY);
	p->status = archive_status_open(state);
	r = open_archive(p);
	if (r)
		return r;
	r = verifier_open(&p->v, &p->c);
	return r ? refuse(p, r, NO_MEMORY) : 0;
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

/* 0, ARCHIVE_E_FULL, -errno. Without a checkpoint to go on from: later, *@ret_later
 * is set. */
static int start_run(struct archiver *p, bool *ret_later)
{
	struct slot_cut cut;
	size_t len;
	int r;

	p->next.generation = 0;
	if (choose_checkpoint(p, &len, &cut) < 0) {
		*ret_later = true;
		return 0;
	}
	r = archive_gap(p->a, &cut, p->state, len);
	if (r == 0) {
		fprintf(stderr, "holdfast: %s: fell behind the log; a new run starts at sequence "
			"%" PRIu64 "\n", p->dir, cut.seq);
		p->checkpoint = cut.generation;
		p->gaps++;
		verifier_base(&p->v, &cut, p->state, len);
		place_reader(p);
	}
	return r;
}

/* The newest checkpoint into `state`; false: there is none that is new and good. */
static bool see_checkpoint(struct archiver *p)
{
	int r = slot_copy(&p->c, false, p->state, &p->next_len, &p->next);

	if (r == -EBADMSG && p->next.generation != p->refused) {
		p->refused = p->next.generation;
		fprintf(stderr, "holdfast: %s: the checkpoint of turn %" PRIu64 " is not the one that "
			"the log tells of; it is left out\n", p->dir, p->next.seq);
	}
	return r == 0 && p->next.generation != p->checkpoint;
}

/* A new checkpoint is taken when it is seen and stored once all before its cut
 * is held: an archiver that lags still stores some. */
static int take_checkpoint(struct archiver *p)
{
	int r;

	if (p->next.generation == 0 && !see_checkpoint(p)) {
		p->next.generation = 0;
		return 0;
	}
	if (p->next.position > archive_place(p->a)->position)
		return 0;
	r = archive_checkpoint(p->a, &p->next, p->state, p->next_len,
			       verifier_check(&p->v, &p->next, p->state, p->next_len));
	if (r == 0)
		p->checkpoint = p->next.generation;
	p->next.generation = 0;
	return r;
}

/* Reads up to BATCH records. *@ret_end: there is nothing more to read now. */
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
			return start_run(p, ret_end);
		r = archive_append(p->a, p->reader.position - log_cost(h.len), &h, payload);
		if (r)
			return r;
	}
	return 0;
}

static void tell(const struct archiver *p, const char *state, const char *why)
{
	const struct archive_place *at = archive_place(p->a);
	struct archive_status s = {
		.state = state, .why = why, .seq = at->seq, .position = at->position,
		.bytes = archive_bytes(p->a), .gaps = p->gaps, .verified = p->v.verified,
		.unverified = p->v.unverified,
	};

	archive_status_write(p->status, &s);
}

static int flush_when_due(struct archiver *p)
{
	uint64_t now = mono_now_ns();

	if (now - p->flushed_ns < FLUSH_NS)
		return 0;
	p->flushed_ns = now;
	archive_expire(p->a, custody_now_ns(&p->c));
	tell(p, "running", NULL);
	return archive_flush(p->a);
}

static void rest(struct archiver *p)
{
	struct pollfd pfd = { .fd = p->control, .events = POLLIN };
	nfds_t n = 1;

#if HOLDFAST_SABOTAGE
	n = sabotage_kind() != SABOTAGE_STAY;
#endif
	if (poll(&pfd, n, IDLE_MS) > 0)
		p->ended = true;
}

/* Asked to stop, it takes what had happened by then: behind a VM that is faster than
 * its disk it would never come to an end. What it knew of the log's end is older than
 * that: the disk may have kept it since. */
static bool finished(struct archiver *p, bool end)
{
	if (stop && p->last == 0) {
		p->last = atomic_load(&p->c.lane_words[0].tail);
		end = false;
	}
	return (end && (stop || p->ended)) || (stop && p->reader.position >= p->last);
}

static int follow(struct archiver *p)
{
	bool end = false;
	int r = 0;

	while (r == 0 && !finished(p, end)) {
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

	const char *why = r < 0 ? strerror(-r) : "the file was cut or damaged";

	tell(p, r == 0 ? "ended" : r == ARCHIVE_E_FULL ? "full" : "failed",
	     r < 0 || r == ARCHIVE_E_DAMAGED ? why : NULL);
	if (r == 0)
		return 0;
	if (r == ARCHIVE_E_FULL)
		fprintf(stderr, "holdfast: %s: no room, and nothing left to drop: history ends at "
			"sequence %" PRIu64 ", the VM goes on; free some room and start "
			"`holdfast archive` again\n", p->dir, seq);
	else
		fprintf(stderr, "holdfast: %s: cannot be written (%s): history ends at sequence "
			"%" PRIu64 ", the VM goes on; %s `holdfast archive` again\n",
			p->dir, why, seq, r < 0 ? "see to its disk and start" : "move it away and start");
	return 1;
}

/* From here on it reads custody and writes the files that are open. */
static void confine(const struct archiver *p)
{
	int r = sandbox_privileges();

	if (!r)
		r = sandbox_limits(ARCHIVER_FILES);
	if (!r)
		r = sandbox_allow_only(SANDBOX_ARCHIVER);
	if (r)
		fprintf(stderr, "holdfast: %s: the archiver is not confined: %s\n", p->dir, strerror(-r));
}

int cmd_archive(int argc, char **argv)
{
	static struct archiver p = { .control = -1, .status = -1 };
	struct sigaction sa = { .sa_handler = on_signal };
	const char *state = NULL;
	int r = arguments(argc, argv, &p, &state);

	if (r)
		return r;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	setpriority(PRIO_PROCESS, 0, NICENESS);
	r = attach(&p, state);
	if (r == 0) {
		confine(&p);
		place_reader(&p);
		tell(&p, "running", NULL);
		r = report(&p, follow(&p));
	} else {
		r = 1;
	}
	p.a = archive_close(p.a);
	verifier_close(&p.v);
	free(p.scratch);
	free(p.state);
	if (p.control >= 0)
		close(p.control);
	return r;
}
