/* The stream of records. In the archive a hole is where a segment was dropped
 * or the archiver was lapped; in the ring it is what was overwritten. Either
 * way one goes on at the first checkpoint behind it that records follow. */
#include "servicing/history.h"

#include "servicing/control_client.h"
#include "servicing/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int open_sources(const char *path, struct history *h)
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
	}
	if (h->archive && !view_alive(path))
		return 0;
	r = control_custody(path, &h->live);
	h->attached = r == 0;
	return h->archive ? 0 : r;
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

int history_next(struct history *h, struct history_record *ret)
{
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

/* Does the record behind @cut follow it? The stream then stands at the cut. */
static int follows(struct history *h, const struct slot_cut *cut)
{
	struct history_record rec;
	int x;

	go_to(h, cut);
	x = history_next(h, &rec);
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

		if (x != ARCHIVE_OK)
			return x < 0 ? x : HISTORY_E_END;
		if (follows(h, &cp.cut) != HISTORY_E_GAP) {
			*ret = (struct history_state){ cp.cut, cp.bytes, cp.len };
			return HISTORY_OK;
		}
		from = cp.cut.position + 1;
	}
}

int history_resume(struct history *h, struct history_state *ret)
{
	if (!h->in_ring && h->archive) {
		int x = resume_in_archive(h, ret);

		if (x != HISTORY_E_END)
			return x;
	}
	return h->attached ? resume_in_ring(h, ret) : HISTORY_E_END;
}

int history_begin(struct history *h, struct history_state *ret)
{
	struct slot_cut nothing = { 0 };
	int x = follows(h, &nothing);

	if (x < 0)
		return x;
	if (x == HISTORY_E_GAP)
		return history_resume(h, ret);
	*ret = (struct history_state){ nothing, NULL, 0 };
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
