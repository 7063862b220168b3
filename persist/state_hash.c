/* The hash of a world's state, for owners that hand it on.
 *
 * Two builds agree on it if their worlds hold the same values, at the level in
 * force, whatever their structs look like: values are gathered in the order of
 * their ids, a blob by its bytes, and hashed at once. It is taken while nobody
 * serves the guest, so nothing is encoded: fields that lie side by side are
 * copied side by side. The hash means nothing beyond the machine it was made on. */
#include "engine/fact.h"
#include "persist/codec.h"
#include "persist/codec_order.h"

#include <errno.h>
#include <string.h>

struct gather {
	const struct world *w;
	uint8_t *p;
	size_t len, capacity;
	bool full;
};

/* Fields side by side in struct and order; or one blob: bytes is 0. */
struct run {
	uint32_t offset, bytes;
};

struct runs {
	struct run run[2 * LIMIT_FIELDS];
	unsigned n;
};

static uint8_t *reserve(struct gather *g, size_t len)
{
	uint8_t *at = g->p + g->len;

	if (len > g->capacity - g->len) {
		g->full = true;
		return NULL;
	}
	g->len += len;
	return at;
}

static void put(struct gather *g, const void *from, size_t len)
{
	uint8_t *at = reserve(g, len);

	if (at)
		memcpy(at, from, len);
}

static void put_blob(struct gather *g, sm_blob b)
{
	uint32_t len = (uint32_t)world_blob_len(g->w, b);
	uint8_t *at;

	put(g, &len, sizeof(len));
	at = reserve(g, len);
	if (at && len)
		fact(world_blob_read(g->w, b, 0, at, len) == len);
}

static uint32_t width_of(enum sm_type type)
{
	switch (type) {
	case SM_T_bool:
	case SM_T_u8:
		return 1;
	case SM_T_u16:
		return 2;
	case SM_T_u32:
		return 4;
	case SM_T_u64:
		return 8;
	case SM_T_blob:
		break;
	}
	return 0;
}

static void add_run(struct runs *r, uint32_t offset, uint32_t bytes)
{
	struct run *last = r->n ? &r->run[r->n - 1] : NULL;

	if (bytes && last && last->bytes && last->offset + last->bytes == offset) {
		last->bytes += bytes;
		return;
	}
	fact(r->n < 2 * LIMIT_FIELDS);
	r->run[r->n++] = (struct run){ offset, bytes };
}

static void find_runs(const struct sm_desc *d, unsigned level, struct runs *ret)
{
	struct codec_order o;

	ret->n = 0;
	codec_order(d, level, &o);
	for (unsigned i = 0; i < o.n; i++) {
		const struct sm_field *f = o.field[i];
		uint32_t width = width_of(f->type);

		if (width) {
			add_run(ret, f->offset, width * f->count);
			continue;
		}
		for (uint32_t n = 0; n < f->count; n++)
			add_run(ret, f->offset + n * (uint32_t)sizeof(sm_blob), 0);
	}
}

static void put_instance(struct gather *g, const struct runs *r, uint16_t index, const void *self)
{
	const struct sm_head *h = self;
	const uint16_t head[3] = { index, h->state, h->flags };
	const uint8_t *bytes = self;

	put(g, head, sizeof(head));
	put_blob(g, h->deferred);
	for (unsigned i = 0; i < r->n; i++) {
		sm_blob b;

		if (r->run[i].bytes) {
			put(g, bytes + r->run[i].offset, r->run[i].bytes);
			continue;
		}
		memcpy(&b, bytes + r->run[i].offset, sizeof(b));
		put_blob(g, b);
	}
}

static void put_kind(struct gather *g, const struct sm_desc *d)
{
	struct runs r;

	find_runs(d, world_lane_const(g->w)->level, &r);
	put(g, &d->kind, sizeof(d->kind));
	for (uint16_t i = 0; i < d->capacity; i++) {
		const void *self = world_at(g->w, d->kind, i);
		uint32_t generation = world_generation(g->w, d->kind, i);

		put(g, &generation, sizeof(generation));
		if (self)
			put_instance(g, &r, i, self);
	}
}

static bool ever_used(const struct world *w, const struct sm_desc *d)
{
	for (uint16_t i = 0; d && i < d->capacity; i++) {
		if (world_generation(w, d->kind, i))
			return true;
	}
	return false;
}

static void put_lane(struct gather *g)
{
	const struct lane_state *l = world_lane_const(g->w);

	put(g, &l->seq, sizeof(l->seq));
	put(g, &l->time_ns, sizeof(l->time_ns));
	put(g, &l->epoch, sizeof(l->epoch));
	put(g, &l->level, sizeof(l->level));
	put(g, &l->ignored, sizeof(l->ignored));
	put(g, &l->rejected, sizeof(l->rejected));
	put(g, l->source_pos, sizeof(l->source_pos));
}

int codec_state_hash(const struct world *w, uint8_t *scratch, size_t capacity, uint64_t *ret)
{
	struct gather g = { .w = w, .p = scratch, .capacity = capacity };
	const struct registry *r = world_registry(w);

	put_lane(&g);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (ever_used(w, r->machines[k]))
			put_kind(&g, r->machines[k]);
	}
	if (g.full)
		return -ENOSPC;
	*ret = codec_hash(scratch, g.len);
	return 0;
}
