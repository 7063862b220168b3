/* The stream of records. In the archive a hole is where a segment was dropped
 * or the archiver was lapped; in the ring it is what was overwritten. Either
 * way one goes on at the first checkpoint behind it that records follow. */
#include "servicing/history.h"

#include "servicing/control_client.h"
#include "servicing/export.h"
#include "servicing/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static int open_archive(const char *dir, struct history *h)
{
	char why[ARCHIVE_WHY] = "";
	int r = archive_reader_open(dir, &h->archive, why);

	if (r == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: %s; move it away to go on without it\n", dir,
		why[0] ? why : strerror(-r));
	return r < 0 ? r : -EPROTO;
}

static int open_file(const char *path, struct history *h)
{
	char why[EXPORT_WHY] = "";
	int r = export_reader_open(path, &h->file, why);

	if (r == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: %s\n", path, why[0] ? why : strerror(-r));
	return r < 0 ? r : -EPROTO;
}

static const char *day(uint64_t wall_ns, char *ret)
{
	time_t t = (time_t)(wall_ns / 1000000000u);
	struct tm tm;

	strftime(ret, 32, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&t, &tm));
	return ret;
}

/* An archive that another VM left in the directory is no part of this one's. */
static int same_machine(const char *path, const struct history *h)
{
	uint64_t archived, live;
	char a[32], b[32];

	if (!h->archive || !h->attached)
		return 0;
	archived = archive_reader_header(h->archive)->identity;
	live = h->live.h->wall_ns;
	if (archived == live)
		return 0;
	fprintf(stderr, "holdfast: %s: the archive is of another VM, begun %s; the one that runs "
		"was begun %s: name %s/archive itself, or move it away\n", path,
		day(archived, a), day(live, b), path);
	return -EPROTO;
}

static int open_directory(const char *path, struct history *h)
{
	char archive[4096];
	int r;

	if (view_exists(path, "data.mdb"))
		return open_archive(path, h);
	if (view_exists(path, "archive/data.mdb")) {
		snprintf(archive, sizeof(archive), "%s/archive", path);
		r = open_archive(archive, h);
		if (r < 0)
			return r;
	} else if (!view_exists(path, "control")) {
		fprintf(stderr, "holdfast: %s: holds no log: neither a VM (control) nor an archive\n",
			path);
		return -ENOENT;
	}
	if (h->archive && !view_alive(path))
		return 0;
	r = control_custody(path, &h->live);
	h->attached = r == 0;
	return h->archive ? same_machine(path, h) : r;
}

static int open_sources(const char *path, struct history *h)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		int r = -errno;

		fprintf(stderr, "holdfast: %s: %s; expected a state directory, an archive or an "
			"exported file\n", path, strerror(-r));
		return r;
	}
	return S_ISDIR(st.st_mode) ? open_directory(path, h) : open_file(path, h);
}

int history_open(const char *path, struct history *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->scratch = malloc(LOG_SCRATCH);
	ret->state = malloc(LIMIT_SLOT_BYTES);
	if (!ret->scratch || !ret->state)
		r = -ENOMEM;
	else
		r = open_sources(path, ret);
	if (r < 0)
		history_close(ret);
	return r;
}

void history_close(struct history *h)
{
	archive_reader_close(h->archive);
	export_reader_close(h->file);
	if (h->attached)
		custody_detach(&h->live);
	free(h->scratch);
	free(h->state);
	memset(h, 0, sizeof(*h));
}

static uint64_t oldest(const struct history *h)
{
	return atomic_load_explicit(&h->live.lane_words[0].oldest, memory_order_acquire);
}

static void enter_ring(struct history *h)
{
	log_reader_init(&h->ring, &h->live.lane_words[0], h->live.lane_ring, h->position,
			h->chain, h->scratch);
	h->in_ring = true;
}

static int next_in_ring(struct history *h, struct history_record *ret)
{
	enum log_result got = log_read(&h->ring, &ret->h, &ret->payload);

	if (got == LOG_E_END)
		return HISTORY_E_END;
	if (got == LOG_E_LAPPED)
		return HISTORY_E_GAP;
	if (got == LOG_E_DAMAGED)
		return oldest(h) > h->position ? HISTORY_E_GAP : HISTORY_E_DAMAGED;
	ret->position = h->ring.position - log_cost(ret->h.len);
	h->position = h->ring.position;
	h->chain = h->ring.chain;
	return HISTORY_OK;
}

static int next_in_archive(struct history *h, struct history_record *ret)
{
	struct archive_record a;
	int x = archive_next(h->archive, &a);

	if (x == ARCHIVE_OK) {
		*ret = (struct history_record){ a.h, a.payload, a.position };
		h->position = a.position + log_cost(a.h.len);
		h->chain = a.h.chain;
		return HISTORY_OK;
	}
	return x == ARCHIVE_E_END ? HISTORY_E_END : x == ARCHIVE_E_GAP ? HISTORY_E_GAP
	     : x == ARCHIVE_E_DAMAGED ? HISTORY_E_DAMAGED : x;
}

/* A state in the middle of a file stands for a hole before it. */
static int next_in_file(struct history *h, struct history_record *ret)
{
	int x;

	if (h->state_len)
		return HISTORY_E_GAP;
	ret->position = export_position(h->file);
	x = export_next(h->file, &ret->h, &ret->payload);
	if (x != EXPORT_OK)
		return x == EXPORT_E_END ? HISTORY_E_END : HISTORY_E_DAMAGED;
	h->position = export_position(h->file);
	h->chain = ret->h.chain;
	if (ret->h.type != EXPORT_STATE)
		return HISTORY_OK;
	memcpy(h->state, ret->payload, ret->h.len);
	h->state_len = ret->h.len;
	h->cut = (struct slot_cut){ .generation = 1, .seq = ret->h.seq, .position = h->position,
				    .chain = h->chain };
	return HISTORY_E_GAP;
}

static int resume_in_file(struct history *h, struct history_state *ret)
{
	struct history_record rec;
	int x = HISTORY_OK;

	while (!h->state_len && (x == HISTORY_OK || x == HISTORY_E_GAP))
		x = next_in_file(h, &rec);
	if (!h->state_len)
		return x;
	*ret = (struct history_state){ h->cut, h->state, h->state_len };
	h->state_len = 0;
	return HISTORY_OK;
}

const char *history_why(const struct history *h)
{
	const char *why = h->file ? export_why(h->file) : "";

	return why[0] ? why : "the log does not hold together";
}

bool history_end_hash(const struct history *h, uint64_t *ret)
{
	if (h->file)
		*ret = export_end(h->file)->state_hash;
	return h->file != NULL;
}

int history_next(struct history *h, struct history_record *ret)
{
	if (h->file)
		return next_in_file(h, ret);
	if (!h->in_ring) {
		int x = h->archive ? next_in_archive(h, ret) : HISTORY_E_END;

		if (x != HISTORY_E_END || !h->attached)
			return x;
		if (oldest(h) > h->position)
			return HISTORY_E_GAP;
		enter_ring(h);
	}
	return next_in_ring(h, ret);
}

static void go_to(struct history *h, const struct slot_cut *cut)
{
	h->position = cut->position;
	h->chain = cut->chain;
	if (h->in_ring)
		enter_ring(h);
	else if (h->archive)
		archive_expect(h->archive, cut);
}

/* Does the record behind the cut of @s follow it, and does it tell of that state?
 * The stream then stands at the cut. */
static int follows(struct history *h, const struct history_state *s, bool *ret_other)
{
	const struct slot_cut *cut = &s->cut;
	struct history_record rec;
	int x;

	go_to(h, cut);
	x = history_next(h, &rec);
	*ret_other = x == HISTORY_OK && s->bytes &&
		     slot_told(&rec.h, rec.payload, cut, s->bytes, s->len) == SLOT_TOLD_OTHER;
	if (x == HISTORY_OK || x == HISTORY_E_END)
		go_to(h, cut);
	return x;
}

/* The older slot gives more to read, the newer one is surer to be there. */
static int resume_in_ring(struct history *h, struct history_state *ret)
{
	h->in_ring = true;
	for (unsigned i = 0; i < 6; i++) {
		if (slot_copy(&h->live, i % 2 == 0, h->state, &ret->len, &ret->cut) < 0 ||
		    ret->cut.position < h->position || oldest(h) > ret->cut.position)
			continue;
		ret->bytes = h->state;
		go_to(h, &ret->cut);
		return HISTORY_OK;
	}
	return HISTORY_E_END;
}

static int resume_in_archive(struct history *h, struct history_state *ret)
{
	uint64_t from = h->position;

	for (;;) {
		struct archive_checkpoint cp;
		int x = archive_checkpoint_from(h->archive, from, &cp);
		bool other;

		if (x != ARCHIVE_OK)
			return x < 0 ? x : x == ARCHIVE_E_DAMAGED ? HISTORY_E_DAMAGED
							   : HISTORY_E_END;
		*ret = (struct history_state){ cp.cut, cp.bytes, cp.len };
		x = follows(h, ret, &other);
		if (x != HISTORY_E_GAP && !other)
			return HISTORY_OK;
		if (other)
			fprintf(stderr, "holdfast: the archived checkpoint of event %" PRIu64 " is not "
				"the one that the log tells of: passed over\n", cp.cut.seq);
		from = cp.cut.position + 1;
	}
}

int history_resume(struct history *h, struct history_state *ret)
{
	if (h->file)
		return resume_in_file(h, ret);
	if (!h->in_ring && h->archive) {
		int x = resume_in_archive(h, ret);

		if (x != HISTORY_E_END)
			return x;
	}
	return h->attached ? resume_in_ring(h, ret) : HISTORY_E_END;
}

int history_begin(struct history *h, struct history_state *ret)
{
	const struct history_state nothing = { .bytes = NULL };
	bool other;
	int x;

	if (h->file)
		return resume_in_file(h, ret);
	x = follows(h, &nothing, &other);
	if (x < 0)
		return x;
	if (x == HISTORY_E_GAP)
		return history_resume(h, ret);
	*ret = nothing;
	return x == HISTORY_E_DAMAGED ? HISTORY_E_DAMAGED : HISTORY_OK;
}

uint64_t history_next_checkpoint(struct history *h)
{
	struct archive_checkpoint cp;

	if (!h->archive || archive_checkpoint_from(h->archive, h->position, &cp) != ARCHIVE_OK)
		return UINT64_MAX;
	return cp.cut.position;
}

int history_checkpoint_here(struct history *h, struct history_state *ret)
{
	struct archive_checkpoint cp;

	if (!h->archive || archive_checkpoint_from(h->archive, h->position, &cp) != ARCHIVE_OK ||
	    cp.cut.position != h->position)
		return HISTORY_E_END;
	*ret = (struct history_state){ cp.cut, cp.bytes, cp.len };
	return HISTORY_OK;
}

bool history_contradicts(struct history *h, const struct history_record *rec)
{
	struct archive_checkpoint cp;
	struct log_checkpoint told;

	if (!h->archive || rec->h.type != LOG_CHECKPOINT || rec->h.len < sizeof(told))
		return false;
	memcpy(&told, rec->payload, sizeof(told));
	return archive_checkpoint_from(h->archive, told.position, &cp) == ARCHIVE_OK &&
	       cp.cut.position == told.position &&
	       slot_told(&rec->h, rec->payload, &cp.cut, cp.bytes, cp.len) == SLOT_TOLD_OTHER;
}
