/* The codec: packing.
 *
 * msgpack-c's templates write straight into the caller's buffer, so that
 * nothing is allocated and no value costs a call. A buffer that is too small is
 * noticed once, at the end. Unknown fields lie in the instance's blob as pairs of id and value
 * in ascending order, exactly as they were read, disjoint from known ids; here
 * they are merged with the known ones. */
#include "persist/codec.h"

#include "engine/fact.h"
#include "persist/codec_order.h"
#include "persist/cursor.h"
#include "persist/schema.h"

#include <errno.h>
#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>
#include <string.h>
#include <xxhash.h>

struct sink {
	uint8_t *p;
	size_t len, capacity;
	bool full;
};

struct packing {
	const struct world *w;
	struct sink sink;
};

static uint8_t *reserve(struct sink *s, size_t len)
{
	uint8_t *at = s->p + s->len;

	if (s->full || len > s->capacity - s->len) {
		s->full = true;
		return NULL;
	}
	s->len += len;
	return at;
}

static inline int sink_write(struct sink *s, const void *bytes, size_t len)
{
	uint8_t *at = reserve(s, len);

	if (!at)
		return -1;
	memcpy(at, bytes, len);
	return 0;
}

/* put_uint64(), put_array() ...: msgpack-c's own encoders, over a sink. */
#define msgpack_pack_inline_func(name) static inline int put##name
#define msgpack_pack_inline_func_cint(name) static inline int put##name
#define msgpack_pack_inline_func_fixint(name) static inline int put_fix##name
#define msgpack_pack_user struct sink *
#define msgpack_pack_append_buffer(sink, bytes, len) return sink_write(sink, bytes, len)
#include <msgpack/pack_template.h>

uint64_t codec_field(const struct sm_field *f, const void *self, unsigned n)
{
	const char *p = (const char *)self + f->offset;
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;

	switch (f->type) {
	case SM_T_bool:
	case SM_T_u8:
		return ((const uint8_t *)p)[n];
	case SM_T_u16:
		memcpy(&u16, p + n * sizeof(u16), sizeof(u16));
		return u16;
	case SM_T_u32:
	case SM_T_blob:
		memcpy(&u32, p + n * sizeof(u32), sizeof(u32));
		return u32;
	case SM_T_u64:
		break;
	}
	memcpy(&u64, p + n * sizeof(u64), sizeof(u64));
	return u64;
}

static void pack_blob(struct packing *pk, sm_blob b)
{
	size_t len = world_blob_len(pk->w, b);
	uint8_t *at;

	if (len == 0) {
		put_nil(&pk->sink);
		return;
	}
	put_bin(&pk->sink, len);
	at = reserve(&pk->sink, len);
	if (at)
		fact(world_blob_read(pk->w, b, 0, at, len) == len);
}

static void pack_value(struct packing *pk, const struct sm_field *f, const void *self, unsigned n)
{
	uint64_t v = codec_field(f, self, n);

	if (f->type == SM_T_blob)
		pack_blob(pk, (sm_blob)v);
	else if (f->type != SM_T_bool)
		put_uint64(&pk->sink, v);
	else if (v)
		put_true(&pk->sink);
	else
		put_false(&pk->sink);
}

static void pack_field(struct packing *pk, const struct sm_field *f, const void *self)
{
	put_uint16(&pk->sink, f->id);
	if (f->count == 1) {
		pack_value(pk, f, self, 0);
		return;
	}
	put_array(&pk->sink, f->count);
	for (unsigned n = 0; n < f->count; n++)
		pack_value(pk, f, self, n);
}

/* Id of the pair at the cursor; UINT32_MAX at the end. */
static uint32_t unknown_id(struct cursor c)
{
	struct token t;

	if (c.p == c.end)
		return UINT32_MAX;
	fact(cursor_take(&c, &t) && t.type == TOKEN_UINT && t.n <= UINT16_MAX);
	return (uint32_t)t.n;
}

static const uint8_t *unknown_next(struct cursor *c)
{
	fact(cursor_skip(c) && cursor_skip(c));
	return c->p;
}

static void pack_fields(struct packing *pk, const struct codec_order *o, const void *self)
{
	const struct sm_head *h = self;
	uint8_t bytes[LIMIT_UNKNOWN];
	size_t len = world_blob_len(pk->w, h->unknown);
	struct cursor c = { bytes, bytes + len };
	uint32_t n = o->n;

	fact(len <= sizeof(bytes));
	if (len)
		world_blob_read(pk->w, h->unknown, 0, bytes, len);
	for (struct cursor count = c; count.p != count.end; n++)
		unknown_next(&count);
	put_map(&pk->sink, n);
	for (unsigned i = 0; i <= o->n; i++) {
		uint32_t id = i < o->n ? o->field[i]->id : UINT32_MAX;

		while (unknown_id(c) < id) {
			const uint8_t *from = c.p, *to = unknown_next(&c);

			sink_write(&pk->sink, from, (size_t)(to - from));
		}
		if (i < o->n)
			pack_field(pk, o->field[i], self);
	}
}

static void pack_instance(struct packing *pk, const struct codec_order *o, uint16_t index,
			  const void *self)
{
	const struct sm_head *h = self;

	put_array(&pk->sink, 5);
	put_uint16(&pk->sink, index);
	put_uint16(&pk->sink, h->state);
	put_uint16(&pk->sink, h->flags);
	pack_blob(pk, h->deferred);
	pack_fields(pk, o, self);
}

/* Indices up to the last one that was ever used. */
static uint16_t used_indices(const struct world *w, const struct sm_desc *d)
{
	uint16_t n = d->capacity;

	while (n > 0 && world_generation(w, d->kind, (uint16_t)(n - 1)) == 0)
		n--;
	return n;
}

static uint16_t run_at(const struct world *w, const struct sm_desc *d, uint16_t i, uint16_t n)
{
	uint32_t generation = world_generation(w, d->kind, i);
	uint16_t end = (uint16_t)(i + 1);

	while (end < n && world_generation(w, d->kind, end) == generation)
		end++;
	return (uint16_t)(end - i);
}

static void pack_generations(struct packing *pk, const struct sm_desc *d, uint16_t n)
{
	unsigned runs = 0;

	for (uint16_t i = 0; i < n; runs++)
		i = (uint16_t)(i + run_at(pk->w, d, i, n));
	put_array(&pk->sink, 2 * runs);
	for (uint16_t i = 0, run; i < n; i = (uint16_t)(i + run)) {
		run = run_at(pk->w, d, i, n);
		put_uint32(&pk->sink, world_generation(pk->w, d->kind, i));
		put_uint16(&pk->sink, run);
	}
}

static void pack_kind(struct packing *pk, const struct sm_desc *d)
{
	uint16_t n = used_indices(pk->w, d);
	struct codec_order o;

	codec_order(d, UINT16_MAX, &o);
	put_array(&pk->sink, 3);
	put_uint16(&pk->sink, d->kind);
	pack_generations(pk, d, n);
	put_array(&pk->sink, world_live(pk->w, d->kind));
	for (uint16_t i = 0; i < n; i++) {
		const void *self = world_at(pk->w, d->kind, i);

		if (self)
			pack_instance(pk, &o, i, self);
	}
}

static void pack_lane(struct packing *pk)
{
	const struct lane_state *l = world_lane_const(pk->w);
	unsigned n = 0;

	for (unsigned i = 0; i < SOURCES; i++)
		n += l->source_pos[i] != 0;
	put_array(&pk->sink, 6);
	put_uint64(&pk->sink, l->seq);
	put_uint64(&pk->sink, l->time_ns);
	put_uint32(&pk->sink, l->epoch);
	put_uint64(&pk->sink, l->ignored);
	put_uint64(&pk->sink, l->rejected);
	put_map(&pk->sink, n);
	for (unsigned i = 0; i < SOURCES; i++) {
		if (l->source_pos[i] == 0)
			continue;
		put_unsigned_int(&pk->sink, i);
		put_uint64(&pk->sink, l->source_pos[i]);
	}
}

static bool ever_used(const struct world *w, const struct sm_desc *d)
{
	return d && used_indices(w, d) > 0;
}

static int pack(struct packing *pk)
{
	const struct registry *r = world_registry(pk->w);
	unsigned kinds = 0;

	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		kinds += ever_used(pk->w, r->machines[k]);
	put_array(&pk->sink, 5);
	put_uint32(&pk->sink, CODEC_FORMAT);
	put_uint32(&pk->sink, world_lane_const(pk->w)->level);
	put_uint64(&pk->sink, schema_hash_once(r));
	pack_lane(pk);
	put_array(&pk->sink, kinds);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (ever_used(pk->w, r->machines[k]))
			pack_kind(pk, r->machines[k]);
	}
	return pk->sink.full ? -ENOSPC : 0;
}

int codec_pack(const struct world *w, uint8_t *buffer, size_t capacity, size_t *ret_len)
{
	struct packing pk = { .w = w, .sink = { .p = buffer, .capacity = capacity } };
	int r = pack(&pk);

	if (r == 0)
		*ret_len = pk.sink.len;
	return r;
}

uint64_t codec_hash(const uint8_t *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}

void codec_order(const struct sm_desc *d, unsigned level, struct codec_order *ret)
{
	fact(d->n_fields <= LIMIT_FIELDS);
	ret->n = 0;
	for (unsigned i = 0; i < d->n_fields; i++) {
		unsigned at = ret->n;

		if (d->fields[i].since > level)
			continue;
		while (at > 0 && ret->field[at - 1]->id > d->fields[i].id) {
			ret->field[at] = ret->field[at - 1];
			at--;
		}
		ret->field[at] = &d->fields[i];
		ret->n++;
	}
}
