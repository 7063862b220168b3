/* tests/bench/recording.c - file: two lengths, the packed checkpoint, records.
 *
 * Only whole batches of one owner are kept: a batch is a run of event records
 * and the run of their confirm records behind it. */
#include "tests/bench/recording.h"

#include "engine/follow.h"
#include "servicing/control_client.h"
#include "servicing/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 20 };

struct taken {
	struct custody c;
	uint8_t *slot, *scratch, *bytes;
	size_t slot_len, len;
};

static int tell(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	return 1;
}

static void *need(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p)
		exit(tell("recording", "no memory"));
	return p;
}

/* The log behind @cut, up to its end. LOG_E_END: done. */
static enum log_result copy_log(struct taken *t, const struct slot_cut *cut)
{
	struct log_reader lr;
	enum log_result r;

	log_reader_init(&lr, t->c.lane_words, t->c.lane_ring, cut->position, cut->chain,
			t->scratch);
	for (t->len = 0;;) {
		struct log_record h;
		const uint8_t *payload;

		r = log_read(&lr, &h, &payload);
		if (r != LOG_OK)
			return r;
		memcpy(t->bytes + t->len, &h, sizeof(h));
		memcpy(t->bytes + t->len + sizeof(h), payload, h.len);
		t->len += sizeof(h) + h.len;
	}
}

static int take(struct taken *t)
{
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		struct slot_cut cut;

		if (slot_copy(&t->c, true, t->slot, &t->slot_len, &cut) == 0 &&
		    copy_log(t, &cut) == LOG_E_END)
			return 0;
	}
	return tell("recording", "the VM has no two checkpoints yet, or writes its log faster "
				 "than it can be read");
}

static int save(const struct taken *t, const char *path)
{
	uint64_t lengths[2] = { t->slot_len, t->len };
	FILE *f = fopen(path, "we");
	bool good;

	if (!f)
		return tell(path, strerror(errno));
	good = fwrite(lengths, sizeof(lengths), 1, f) == 1 &&
	       fwrite(t->slot, t->slot_len, 1, f) == 1 &&
	       (t->len == 0 || fwrite(t->bytes, t->len, 1, f) == 1);
	return fclose(f) == 0 && good ? 0 : tell(path, "not written");
}

int recording_take(const char *state, const char *path)
{
	struct taken t = { 0 };
	int r;

	if (control_custody(state, &t.c) < 0)
		return 1;
	t.slot = need(LIMIT_SLOT_BYTES);
	t.scratch = need(LOG_SCRATCH);
	t.bytes = need(t.c.lane_words[0].bytes);
	memset(t.bytes, 0, t.c.lane_words[0].bytes);
	r = take(&t) || save(&t, path);
	free(t.slot);
	free(t.scratch);
	free(t.bytes);
	custody_detach(&t.c);
	return r;
}

/* ---- reading back ---------------------------------------------------------------- */

struct cursor {
	const struct recording *r;
	size_t at;
};

/* The next record that is part of a turn: one that tells of a checkpoint is none. */
static bool next(struct cursor *c, struct log_record *ret, const uint8_t **ret_payload)
{
	do {
		if (c->r->len - c->at < sizeof(*ret))
			return false;
		memcpy(ret, c->r->bytes + c->at, sizeof(*ret));
		if (c->r->len - c->at - sizeof(*ret) < ret->len)
			return false;
		*ret_payload = c->r->bytes + c->at + sizeof(*ret);
		c->at += sizeof(*ret) + ret->len;
	} while (ret->type == LOG_CHECKPOINT);
	return true;
}

/* Confirm records of the @n events from r->event + r->n on. */
static bool take_confirms(struct recording *r, struct cursor *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct recorded *e = &r->event[r->n + i];
		struct log_record h;
		const uint8_t *p;

		if (!next(c, &h, &p) || h.type != LOG_CONFIRM || h.seq != e->head.seq ||
		    h.len < sizeof(struct log_confirm))
			return false;
		e->effects = p + sizeof(struct log_confirm);
		e->effects_len = h.len - (uint32_t)sizeof(struct log_confirm);
		r->record_bytes += log_cost(h.len) + log_cost(e->head.len);
	}
	return true;
}

static bool take_batch(struct recording *r, struct cursor *c)
{
	size_t n = 0, before = c->at;
	struct log_record h;
	const uint8_t *p;

	while (next(c, &h, &p) && h.type == LOG_EVENT) {
		if (r->n + n > 0 && h.epoch != r->event[0].head.epoch)
			return false;
		r->event[r->n + n++] = (struct recorded){ .head = h, .payload = p };
		before = c->at;
	}
	c->at = before;
	if (n == 0 || !take_confirms(r, c, n))
		return false;
	r->event[r->n].batch = (uint32_t)n;
	r->n += n;
	r->batches++;
	r->records += 2 * n;
	return true;
}

int recording_load(const char *path, struct recording *ret)
{
	struct cursor c = { .r = ret };
	uint64_t lengths[2];
	FILE *f = fopen(path, "re");
	bool good;

	memset(ret, 0, sizeof(*ret));
	if (!f)
		return tell(path, strerror(errno));
	good = fread(lengths, sizeof(lengths), 1, f) == 1 && lengths[0] <= LIMIT_SLOT_BYTES &&
	       lengths[1] <= LIMIT_LOG_BYTES;
	if (good) {
		ret->slot_len = lengths[0];
		ret->len = lengths[1];
		ret->slot = need(ret->slot_len + 1);
		ret->bytes = need(ret->len + 1);
		ret->event = need((ret->len / sizeof(struct log_record) + 1) * sizeof(*ret->event));
		good = fread(ret->slot, ret->slot_len, 1, f) == 1 &&
		       fread(ret->bytes, ret->len, 1, f) == 1;
	}
	fclose(f);
	if (!good)
		return tell(path, "not a recording");
	while (take_batch(ret, &c))
		continue;
	return ret->n ? 0 : tell(path, "no turn in it");
}

void recording_free(struct recording *r)
{
	free(r->slot);
	free(r->bytes);
	free(r->event);
}

void recording_begin(const struct recording *r, struct world *w)
{
	char why[160] = "";

	world_reset(w, 0);
	if (program_codec.unpack(w, r->slot, r->slot_len, why) < 0)
		exit(tell("recording", why));
}
