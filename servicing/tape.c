/* The tape: one pass that steps and keeps, then a mapped file.
 *
 * Invariants after the pass: snapshots ascend by place; the first event of a
 * run (behind a hole) has a snapshot at its own place that is another state
 * than the one the event before it left; so an event is stepped from the world
 * at its place only when no run starts there, else from that snapshot. */
#include "servicing/tape.h"

#include "engine/fact.h"
#include "persist/codec.h"
#include "servicing/guard.h"
#include "servicing/history.h"
#include "servicing/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROGRESS = 1 << 16, DIVERGENCES_KEPT = 32 };

struct kept {                    /* before each event's payload and effects */
	struct log_record h;
	uint32_t effects_len, reserved;
};

struct snapshot {
	uint64_t place, offset, len;
	bool starts_run;         /* no event leads to it */
};

struct tape {
	struct world *world;
	struct follower f;
	uint64_t place;
	uint64_t *event, n, room;        /* offset of each */
	struct snapshot *snap;
	unsigned n_snaps, snap_room;
	struct divergence divergence[DIVERGENCES_KEPT];
	uint64_t divergences;
	double seconds;
	FILE *file;                      /* while it is written */
	uint64_t bytes;
	const uint8_t *map;
	/* of the pass */
	struct history h;
	const char *path;
	FILE *progress;
	uint8_t *packed;
	const uint8_t *effects;          /* of the confirm record at hand */
	uint32_t effects_len;
	uint64_t since_snapshot;
	bool failed, told;
};

/* ---- keeping -------------------------------------------------------------------- */

static bool grow(void **p, size_t room, size_t each)
{
	void *fresh = realloc(*p, room * each);

	if (fresh)
		*p = fresh;
	return fresh != NULL;
}

static void put(struct tape *t, const void *bytes, size_t len)
{
	static const uint8_t zeros[8];
	size_t pad = (8 - len % 8) % 8;

	if (len && fwrite(bytes, len, 1, t->file) != 1)
		t->failed = true;
	if (pad && fwrite(zeros, pad, 1, t->file) != 1)
		t->failed = true;
	t->bytes += len + pad;
}

static void keep_snapshot(struct tape *t, bool starts_run)
{
	size_t len;

	if (t->n_snaps == t->snap_room) {
		t->snap_room = t->snap_room ? 2 * t->snap_room : 64;
		if (!grow((void **)&t->snap, t->snap_room, sizeof(*t->snap))) {
			t->failed = true;
			return;
		}
	}
	if (codec_pack(t->world, t->packed, LIMIT_SLOT_BYTES, &len) < 0) {
		t->failed = true;
		return;
	}
	t->snap[t->n_snaps++] = (struct snapshot){ t->n, t->bytes, len, starts_run };
	put(t, t->packed, len);
	t->since_snapshot = 0;
}

/* Each turn of the pass, when it was stepped. */
static void keep_turn(void *user, const struct log_record *h, const void *payload,
		      const struct turn *turn)
{
	struct tape *t = user;
	struct kept k = { .h = *h, .effects_len = t->effects_len };

	(void)turn;
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 1 << 16;
		if (!grow((void **)&t->event, t->room, sizeof(*t->event))) {
			t->failed = true;
			return;
		}
	}
	t->event[t->n++] = t->bytes;
	put(t, &k, sizeof(k));
	put(t, payload, h->len);
	put(t, t->effects, t->effects_len);
	t->since_snapshot++;
	if (t->progress && t->n % PROGRESS == 0)
		fprintf(t->progress, "\r%" PRIu64 " events", t->n);
}

static bool note_divergence(void *user, const struct divergence *d)
{
	struct tape *t = user;

	if (t->divergences < DIVERGENCES_KEPT)
		t->divergence[t->divergences] = *d;
	t->divergences++;
	return true;
}

/* ---- the pass ------------------------------------------------------------------- */

static int load(struct tape *t, const struct history_state *s)
{
	char why[CODEC_WHY];

	world_reset(t->world, 0);
	follow_pending_clear(&t->f);
	if (!s->bytes) {
		program_fresh(t->world);
	} else if (codec_unpack(t->world, s->bytes, s->len, why) < 0) {
		fprintf(stderr, "holdfast: %s: checkpoint of event %" PRIu64 ": %s\n", t->path,
			s->cut.seq, why);
		return -EBADMSG;
	}
	keep_snapshot(t, true);
	return 0;
}

static int damaged(struct tape *t)
{
	t->told = true;
	fprintf(stderr, "holdfast: %s: %s, behind event %" PRIu64 "; what follows is left out\n",
		t->path, history_why(&t->h), world_lane_const(t->world)->seq);
	return HISTORY_E_END;
}

static int beyond(struct tape *t)
{
	t->told = true;
	t->n--;
	fprintf(stderr, "holdfast: %s: event %" PRIu64 " raised the level above what this build "
		"serves; what follows is left out: use the holdfast that served it\n", t->path,
		world_lane_const(t->world)->seq);
	return HISTORY_E_END;
}

static int pass_gap(struct tape *t)
{
	struct history_state s;
	uint64_t before = world_lane_const(t->world)->seq;
	int x = history_resume(&t->h, &s);

	if (x != HISTORY_OK)
		return x;
	fprintf(stderr, "holdfast: %s: events behind %" PRIu64 " are missing; going on at the "
		"checkpoint of %" PRIu64 "\n", t->path, before, s.cut.seq);
	return load(t, &s);
}

static int take(struct tape *t, const struct history_record *rec)
{
	struct log_confirm c = { 0 };
	int r;

	if (rec->h.type == LOG_CONFIRM && rec->h.len >= sizeof(c)) {
		t->effects = rec->payload + sizeof(c);
		t->effects_len = rec->h.len - (uint32_t)sizeof(c);
	}
	r = follow_record(&t->f, &rec->h, rec->position, rec->payload);
	if (r == FOLLOW_E_LEVEL)
		return beyond(t);
	if (r == FOLLOW_E_DAMAGED)
		return damaged(t);
	if (t->since_snapshot >= LIMIT_TAPE_EVENTS)
		keep_snapshot(t, false);
	return HISTORY_OK;
}

static int read_all(void *user)
{
	struct tape *t = user;
	struct history_state s;
	int x = history_begin(&t->h, &s);

	if (x == HISTORY_OK)
		x = load(t, &s);
	else if (x == HISTORY_E_DAMAGED)
		x = damaged(t);
	while (x == HISTORY_OK && !t->failed) {
		struct history_record rec;

		x = history_next(&t->h, &rec);
		if (x == HISTORY_OK)
			x = take(t, &rec);
		else if (x == HISTORY_E_GAP)
			x = pass_gap(t);
		else if (x == HISTORY_E_DAMAGED)
			x = damaged(t);
	}
	return x == HISTORY_E_END ? 0 : x;
}

/* A file nobody can find: gone with the process. */
static FILE *open_file(void)
{
	const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	char path[4096];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/holdfast-tape-XXXXXX", dir) >= sizeof(path))
		return NULL;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return NULL;
	unlink(path);
	return fdopen(fd, "w+");
}

static int map_file(struct tape *t)
{
	void *p;

	if (t->failed || fflush(t->file) != 0) {
		fprintf(stderr, "holdfast: %s: no room for the index (%" PRIu64 " MiB so far); "
			"set TMPDIR to a place that has some\n", t->path, t->bytes >> 20);
		return -ENOSPC;
	}
	if (t->n_snaps == 0) {
		if (!t->told)
			fprintf(stderr, "holdfast: %s: holds no state to begin with\n",
				t->path);
		return -ENODATA;
	}
	p = mmap(NULL, t->bytes, PROT_READ, MAP_SHARED, fileno(t->file), 0);
	if (p == MAP_FAILED)
		return -errno;
	t->map = p;
	return 0;
}

static int make(struct tape *t)
{
	uint64_t begin = mono_now_ns();
	int r;

	t->world = world_new(&program);
	t->packed = malloc(LIMIT_SLOT_BYTES);
	r = t->world && t->packed ? follow_init(&t->f, t->world) : -ENOMEM;
	if (r < 0)
		return r;
	t->f.differs = note_divergence;
	t->f.on_turn = keep_turn;
	t->f.user = t;
	t->file = open_file();
	if (!t->file) {
		fprintf(stderr, "holdfast: cannot make a file for the index (%s); set TMPDIR to a "
			"directory that can be written\n", strerror(errno));
		return -errno;
	}
	r = guard_run(read_all, t);
	if (t->progress)
		fprintf(t->progress, "\r%20s\r", "");
	if (r == GUARD_E_FACT)
		fprintf(stderr, "holdfast: %s: event %" PRIu64 " leads to what no owner would have "
			"written; the log was changed, or this build cannot run it\n", t->path,
			world_lane_const(t->world)->seq);
	else if (r < 0 && r != -EBADMSG)
		fprintf(stderr, "holdfast: %s: reading the log failed (%s)\n", t->path,
			strerror(-r));
	t->seconds = (double)(mono_now_ns() - begin) / 1e9;
	return r < 0 ? r : map_file(t);
}

int tape_open(const char *path, FILE *progress, struct tape **ret)
{
	struct tape *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->path = path;
	t->progress = progress;
	r = history_open(path, &t->h);
	if (r == 0) {
		r = make(t);
		history_close(&t->h);
	}
	if (r < 0) {
		tape_close(t);
		return r;
	}
	t->f.on_turn = NULL;
	t->f.differs = note_divergence;
	t->place = UINT64_MAX;
	tape_go(t, 0);
	*ret = t;
	return 0;
}

struct tape *tape_close(struct tape *t)
{
	if (!t)
		return NULL;
	if (t->map)
		munmap((void *)(uintptr_t)t->map, t->bytes);
	if (t->file)
		fclose(t->file);
	if (t->f.pending)
		follow_deinit(&t->f);
	world_free(t->world);
	free(t->packed);
	free(t->event);
	free(t->snap);
	free(t);
	return NULL;
}

/* ---- going ---------------------------------------------------------------------- */

uint64_t tape_events(const struct tape *t)
{
	return t->n;
}

double tape_seconds(const struct tape *t)
{
	return t->seconds;
}

uint64_t tape_divergences(const struct tape *t)
{
	return t->divergences;
}

const struct divergence *tape_divergence(const struct tape *t, unsigned n)
{
	return n < t->divergences && n < DIVERGENCES_KEPT ? &t->divergence[n] : NULL;
}

struct world *tape_world(const struct tape *t)
{
	return t->world;
}

uint64_t tape_place(const struct tape *t)
{
	return t->place;
}

struct tape_event tape_event(const struct tape *t, uint64_t n)
{
	const uint8_t *at = t->map + t->event[n];
	const struct kept *k = (const void *)at;
	const uint8_t *payload = at + sizeof(*k);

	fact(n < t->n);
	return (struct tape_event){ .h = &k->h, .payload = payload,
				    .effects = payload + ALIGN_UP((size_t)k->h.len, 8u),
				    .effects_len = k->effects_len };
}

uint64_t tape_seq(const struct tape *t, uint64_t place)
{
	struct codec_header header = { 0 };

	if (place > 0)
		return tape_event(t, place - 1).h->seq;
	codec_header(t->map + t->snap[0].offset, t->snap[0].len, &header);
	return header.seq;
}

bool tape_find(const struct tape *t, uint64_t seq, uint64_t *ret_place, char *ret_why)
{
	uint64_t low = 0, high = t->n;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (tape_seq(t, middle) < seq)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_place = low;
	if (tape_seq(t, low) == seq)
		return true;
	snprintf(ret_why, 160, seq < tape_seq(t, 0)
		 ? "event %" PRIu64 " is before the oldest state; there are %" PRIu64 " to %" PRIu64
		 : seq > tape_seq(t, t->n)
		 ? "event %" PRIu64 " is beyond the end; there are %" PRIu64 " to %" PRIu64
		 : "event %" PRIu64 " is missing between %" PRIu64 " and %" PRIu64,
		 seq, tape_seq(t, 0), tape_seq(t, t->n));
	return false;
}

/* Index of the newest snapshot at or below @place that leads there: the one
 * that starts a run at @place itself is of the next stretch. */
static unsigned snapshot_for(const struct tape *t, uint64_t place)
{
	unsigned low = 0, high = t->n_snaps;

	while (high - low > 1) {
		unsigned middle = low + (high - low) / 2;

		if (t->snap[middle].place <= place)
			low = middle;
		else
			high = middle;
	}
	while (low > 0 && t->snap[low].starts_run && t->snap[low].place == place)
		low--;
	return low;
}

uint64_t tape_snapshot(const struct tape *t, uint64_t place)
{
	return t->snap[snapshot_for(t, place)].place;
}

static void enter(struct tape *t, const struct snapshot *s)
{
	char why[CODEC_WHY];

	world_reset(t->world, 0);
	fact(codec_unpack(t->world, t->map + s->offset, s->len, why) == 0);
	t->place = s->place;
}

/* The snapshot that stands for the hole before event @n; NULL: there is none. */
static const struct snapshot *run_start(const struct tape *t, uint64_t n)
{
	unsigned i = snapshot_for(t, n) + 1;

	while (i + 1 < t->n_snaps && t->snap[i + 1].place == n && t->snap[i + 1].starts_run)
		i++;
	return i < t->n_snaps && t->snap[i].place == n && t->snap[i].starts_run ? &t->snap[i]
									       : NULL;
}

bool tape_pass_hole(struct tape *t)
{
	const struct snapshot *s = t->place < t->n ? run_start(t, t->place) : NULL;

	if (!s)
		return false;
	enter(t, s);
	return true;
}

struct turn tape_step(struct tape *t)
{
	struct tape_event e;
	struct event ev;

	if (t->place == t->n)
		return (struct turn){ 0 };
	e = tape_event(t, t->place);
	if (e.h->seq != world_lane_const(t->world)->seq + 1)
		fact(tape_pass_hole(t));
	ev = event_of(e.h, e.payload);
	t->place++;
	return world_turn(t->world, &ev);
}

void tape_go(struct tape *t, uint64_t place)
{
	const struct snapshot *s = &t->snap[snapshot_for(t, place)];

	fact(place <= t->n);
	if (t->place > place || t->place < s->place)
		enter(t, s);
	while (t->place < place)
		tape_step(t);
}

void tape_copy(struct tape *t, struct world *to)
{
	char why[CODEC_WHY];
	size_t len;

	fact(codec_pack(t->world, t->packed, LIMIT_SLOT_BYTES, &len) == 0);
	world_reset(to, 0);
	fact(codec_unpack(to, t->packed, len, why) == 0);
}
