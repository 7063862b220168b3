/* Writing an exported log.
 *
 * Two worlds run side by side: the tape's with the events as they were, and
 * one with the replaced ones. Both must ask for the same effects, of the same
 * machines, with the same lengths; else something that counts as opaque was
 * looked into, and nothing is exported. An effect that the log holds as this
 * build computes it is written as the second world computes it. */
#include "servicing/export.h"

#include "engine/fact.h"
#include "persist/codec.h"
#include "persist/schema.h"
#include "servicing/build_id.h"
#include "servicing/redact.h"
#include "servicing/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct writer {
	struct tape *t;
	struct world *other;             /* with the replaced events */
	struct redact redact;
	FILE *file;
	uint64_t chain;
	struct export_end end;
	uint8_t *packed, *payload, *effects;
	uint32_t effects_len;
	uint64_t kept;                   /* effects that this build computes otherwise */
	char why[EXPORT_WHY];
};

/* One record, chained. */
static int put(struct writer *w, const struct log_record *h, const void *payload, uint32_t len)
{
	static const uint8_t zeros[8];
	struct log_record copy = *h;
	size_t pad = (size_t)(log_cost(len) - sizeof(copy)) - len;

	copy.len = len;
	copy.chain = w->chain = log_chain(&copy, payload, w->chain);
	w->end.records += h->type != EXPORT_END;
	if (fwrite(&copy, sizeof(copy), 1, w->file) != 1 ||
	    (len && fwrite(payload, len, 1, w->file) != 1) ||
	    (pad && fwrite(zeros, pad, 1, w->file) != 1))
		return errno ? -errno : -EIO;
	return 0;
}

/* The tape's world, replaced, becomes the other one and a record. */
static int put_state(struct writer *w)
{
	const struct lane_state *l = world_lane_const(tape_world(w->t));
	struct log_record h = { .seq = l->seq, .time_ns = l->time_ns, .epoch = l->epoch,
				.type = EXPORT_STATE };
	char why[CODEC_WHY];
	size_t len;

	tape_copy(w->t, w->other);
	redact_world(&w->redact, w->other);
	if (codec_pack(w->other, w->packed, LIMIT_SLOT_BYTES, &len) < 0)
		return -ENOSPC;
	world_reset(w->other, 0);
	if (codec_unpack(w->other, w->packed, len, why) < 0) {
		snprintf(w->why, sizeof(w->why), "the state behind event %" PRIu64 " does not "
			 "hold without its opaque payload: %s", l->seq, why);
		return -EPROTO;
	}
	return put(w, &h, w->packed, (uint32_t)len);
}

/* ---- effects -------------------------------------------------------------------- */

static void add_effect(struct writer *w, const struct effect *e, bool replace)
{
	struct effect_head *h = (void *)(w->effects + w->effects_len);
	uint32_t padded = (e->head.len + 7) & ~7u;
	uint8_t *p = (uint8_t *)(h + 1);

	*h = e->head;
	memset(p, 0, padded);
	memcpy(p, e->p, e->head.len);
	if (replace)
		redact_effect(&w->redact, e->head.code, e->seq, p, e->head.len);
	w->effects_len += (uint32_t)sizeof(*h) + padded;
}

static bool equal(const struct effect *a, const struct effect *b)
{
	return memcmp(&a->head, &b->head, sizeof(a->head)) == 0 &&
	       memcmp(a->p, b->p, a->head.len) == 0;
}

/* Effects of the turn into w->effects; how many. -EPROTO: they cannot be. */
static int merge(struct writer *w, const struct tape_event *e, const struct turn *ours,
		 const struct turn *theirs)
{
	uint32_t at[3] = { 0 }, n[3] = { 0 };
	struct effect recorded, computed, replaced;
	bool bad[3] = { false };
	int count = 0;

	w->effects_len = 0;
	while (effect_next(&program, e->effects, e->effects_len, e->h->seq, &at[0], &n[0],
			   &recorded, &bad[0])) {
		bool more = effect_next(&program, ours->effects, ours->bytes, e->h->seq, &at[1],
					&n[1], &computed, &bad[1]);
		bool more2 = effect_next(&program, theirs->effects, theirs->bytes, e->h->seq,
					 &at[2], &n[2], &replaced, &bad[2]);

		if (more != more2 || (more && memcmp(&computed.head, &replaced.head,
						     sizeof(computed.head)) != 0))
			return -EPROTO;
		if (more && equal(&recorded, &computed)) {
			add_effect(w, &replaced, false);
		} else {
			add_effect(w, &recorded, true);
			w->kept++;
		}
		count++;
	}
	return bad[0] ? -EPROTO : count;
}

static int put_turn(struct writer *w, const struct tape_event *e)
{
	struct log_record h = *e->h;
	struct log_confirm c;
	struct event ev;
	struct turn ours, theirs;
	int n, r;

	memcpy(w->payload, e->payload, h.len);
	redact_event(&w->redact, &h, w->payload);
	ev = event_of(&h, w->payload);
	ours = tape_step(w->t);
	theirs = world_turn(w->other, &ev);
	w->effects = w->packed + sizeof(c);
	n = ours.n_effects == theirs.n_effects ? merge(w, e, &ours, &theirs) : -EPROTO;
	if (n < 0) {
		snprintf(w->why, sizeof(w->why), "event %" PRIu64 " looks into payload that counts "
			 "as opaque, or its effects cannot be read; nothing was exported", h.seq);
		return n;
	}
	w->end.events++;
	r = put(w, &h, w->payload, h.len);
	c = (struct log_confirm){ .n_effects = (uint32_t)n, .bytes = w->effects_len };
	memcpy(w->packed, &c, sizeof(c));
	h.type = LOG_CONFIRM;
	h.code = h.kind = h.index = 0;
	h.source = 0;
	h.source_pos = 0;
	h.generation = 0;
	return r < 0 ? r : put(w, &h, w->packed, (uint32_t)sizeof(c) + w->effects_len);
}

/* ---- the file ------------------------------------------------------------------- */

static int put_header(struct writer *w, uint32_t level)
{
	struct export_header h = { .magic = "HOLDEXPT", .byte_order = 0x01020304,
				   .format = EXPORT_FORMAT, .level = level,
				   .schema_hash = schema_hash(&program) };

	snprintf(h.version, sizeof(h.version), "%s", HOLDFAST_VERSION);
	snprintf(h.build, sizeof(h.build), "%s", build_text());
	h.check = codec_hash((const uint8_t *)&h, offsetof(struct export_header, check));
	w->chain = h.check;
	return fwrite(&h, sizeof(h), 1, w->file) == 1 ? 0 : -EIO;
}

static int put_events(struct writer *w, uint64_t last)
{
	int r = put_state(w);

	while (r == 0 && tape_place(w->t) < last) {
		struct tape_event e = tape_event(w->t, tape_place(w->t));

		if (tape_pass_hole(w->t))
			r = put_state(w);
		if (r == 0)
			r = put_turn(w, &e);
	}
	return r;
}

static int put_end(struct writer *w)
{
	struct log_record h = { .type = EXPORT_END };

	w->end.redacted = w->redact.payloads;
	if (codec_state_hash(w->other, w->packed, LIMIT_SLOT_BYTES, &w->end.state_hash) < 0)
		return -ENOSPC;
	return put(w, &h, &w->end, sizeof(w->end));
}

static int write_all(struct writer *w, uint64_t first, uint64_t last)
{
	uint32_t level;
	int r;

	tape_go(w->t, last);
	level = world_lane_const(tape_world(w->t))->level;
	tape_go(w->t, first);
	r = put_header(w, level);
	if (r == 0)
		r = put_events(w, last);
	if (r == 0)
		r = put_end(w);
	return fclose(w->file) == 0 || r < 0 ? r : -errno;
}

/* Places of the first state and of the last event asked for. */
static int range(const struct tape *t, const char *path, uint64_t from, uint64_t to,
		 uint64_t *ret_first, uint64_t *ret_last)
{
	char why[160];

	*ret_first = 0;
	*ret_last = tape_events(t);
	if ((from > tape_seq(t, 0) + 1 && !tape_find(t, from - 1, ret_first, why)) ||
	    (to != UINT64_MAX && !tape_find(t, to, ret_last, why))) {
		fprintf(stderr, "holdfast: %s: not written: %s\n", path, why);
		return -ENOENT;
	}
	return 0;
}

static int open_file(struct writer *w, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	w->file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (w->file)
		return 0;
	fprintf(stderr, "holdfast: %s: cannot be made (%s); name a file that is not there yet\n",
		path, strerror(errno));
	return -errno;
}

int export_write(struct tape *t, const char *path, uint64_t from, uint64_t to)
{
	struct writer w = { .t = t };
	uint64_t first, last;
	int r = range(t, path, from, to, &first, &last);

	if (r < 0 || (r = open_file(&w, path)) < 0)
		return r;
	redact_begin(&w.redact, &program);
	w.other = world_new(&program);
	w.packed = malloc(LIMIT_SLOT_BYTES);
	w.payload = malloc(LIMIT_PAYLOAD);
	if (w.other && w.packed && w.payload) {
		r = write_all(&w, first, last);
	} else {
		fclose(w.file);
		r = -ENOMEM;
	}
	if (r < 0) {
		unlink(path);
		fprintf(stderr, "holdfast: %s: not written: %s\n", path,
			w.why[0] ? w.why : strerror(-r));
	} else {
		printf("exported events=%" PRIu64 " replaced_payloads=%" PRIu64 " replaced_bytes=%"
		       PRIu64 " effects_kept=%" PRIu64 " file=%s\n", w.end.events,
		       w.redact.payloads, w.redact.bytes, w.kept, path);
	}
	world_free(w.other);
	free(w.packed);
	free(w.payload);
	return r;
}
