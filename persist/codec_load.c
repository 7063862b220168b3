/* The codec: loading what may be hostile.
 *
 * One pass of the cursor over the bytes, straight into a world that was reset.
 * Every count is compared with what this build declares before it is used;
 * every order is checked, so that nothing can be given twice. The first thing
 * that does not fit ends the load with a sentence that says what was found and
 * what was expected. World blobs are bounded by the world's own arena. */
#include "persist/codec.h"

#include "persist/codec_order.h"
#include "persist/cursor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct load {
	struct cursor c;
	struct world *w;
	char *why;
	const struct sm_desc *desc;     /* where we are, for messages */
	uint16_t index;
	const struct sm_field *field;
	char name[96];                  /* of the field, once somebody asks for it */
};

__attribute__((format(printf, 2, 3)))
static bool refuse(struct load *l, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(l->why, CODEC_WHY, format, ap);
	va_end(ap);
	return false;
}

/* @what, or, when that is NULL, the name of the field under way: it is made only for a
 * message, because a state has some ten thousand fields. */
static const char *named(struct load *l, const char *what)
{
	if (what)
		return what;
	snprintf(l->name, sizeof(l->name), "%s[%u].%s", l->desc->name, l->index, l->field->name);
	return l->name;
}

static bool take(struct load *l, const char *what, struct token *ret)
{
	if (cursor_take(&l->c, ret))
		return true;
	return refuse(l, "%s: cut short or no canonical msgpack", named(l, what));
}

static bool take_type(struct load *l, const char *what, enum token_type type, struct token *ret)
{
	if (!take(l, what, ret))
		return false;
	if (ret->type == type)
		return true;
	return refuse(l, "%s: found %s, expected %s", named(l, what),
		      token_type_name(ret->type), token_type_name(type));
}

static bool take_uint(struct load *l, const char *what, uint64_t max, uint64_t *ret)
{
	struct token t;

	*ret = 0;
	if (!take_type(l, what, TOKEN_UINT, &t))
		return false;
	if (t.n > max)
		return refuse(l, "%s: found %" PRIu64 ", expected at most %" PRIu64,
			      named(l, what), t.n, max);
	*ret = t.n;
	return true;
}

static bool take_array(struct load *l, const char *what, uint64_t n)
{
	struct token t;

	if (!take_type(l, what, TOKEN_ARRAY, &t))
		return false;
	if (t.n != n)
		return refuse(l, "%s: found %" PRIu64 " elements, expected %" PRIu64,
			      named(l, what), t.n, n);
	return true;
}

/* ---- values ------------------------------------------------------------------ */

static bool load_blob(struct load *l, const char *what, sm_blob *ret)
{
	struct token t;

	*ret = 0;
	if (!take(l, what, &t))
		return false;
	if (t.type == TOKEN_NIL)
		return true;
	if (t.type != TOKEN_BIN || t.n == 0)
		return refuse(l, "%s: found %s, expected nil or some bytes", named(l, what),
			      t.type == TOKEN_BIN ? "no bytes" : token_type_name(t.type));
	*ret = world_blob_new(l->w, t.body, t.n);
	if (*ret == 0)
		return refuse(l, "%s: %" PRIu64 " bytes, but only %u chunks of %u are free",
			      named(l, what), t.n, world_blob_room(l->w),
			      (unsigned)LIMIT_BLOB_CHUNK);
	return true;
}

static bool load_value(struct load *l, const struct sm_field *f, void *self, unsigned n)
{
	static const uint64_t max[] = {
		[SM_T_bool] = 1, [SM_T_u8] = UINT8_MAX, [SM_T_u16] = UINT16_MAX,
		[SM_T_u32] = UINT32_MAX, [SM_T_u64] = UINT64_MAX,
	};
	struct token t;
	uint64_t v = 0;
	sm_blob b;

	if (f->type == SM_T_blob) {
		if (!load_blob(l, NULL, &b))
			return false;
		v = b;
	} else if (f->type == SM_T_bool) {
		if (!take_type(l, NULL, TOKEN_BOOL, &t))
			return false;
		v = t.n;
	} else if (!take_uint(l, NULL, max[f->type], &v)) {
		return false;
	}
	sm_field_set(f, self, n, v);
	return true;
}

static bool load_field(struct load *l, const struct sm_field *f, void *self)
{
	l->field = f;
	if (f->count > 1 && !take_array(l, NULL, f->count))
		return false;
	for (unsigned n = 0; n < f->count; n++) {
		if (!load_value(l, f, self, n))
			return false;
	}
	return true;
}

/* ---- instances ----------------------------------------------------------------- */

struct unknown {
	uint8_t bytes[LIMIT_UNKNOWN];
	size_t len;
};

/* Keeps the pair that begins at @from; the cursor stands behind its id. */
static bool keep_unknown(struct load *l, struct unknown *u, const uint8_t *from, uint64_t id)
{
	size_t len;

	if (!cursor_skip(&l->c))
		return refuse(l, "%s[%u] field %" PRIu64 " of a newer writer: cut short, too deep, "
			      "or no canonical msgpack", l->desc->name, l->index, id);
	len = (size_t)(l->c.p - from);
	if (len > sizeof(u->bytes) - u->len)
		return refuse(l, "%s[%u]: fields of a newer writer take more than %u bytes",
			      l->desc->name, l->index, (unsigned)LIMIT_UNKNOWN);
	memcpy(u->bytes + u->len, from, len);
	u->len += len;
	return true;
}

static void set_absent(const struct codec_order *o, void *self)
{
	for (unsigned i = 0; i < o->n; i++) {
		const struct sm_field *f = o->field[i];

		for (unsigned n = 0; f->absent && f->type != SM_T_blob && n < f->count; n++)
			sm_field_set(f, self, n, f->absent);
	}
}

static bool load_fields(struct load *l, const struct codec_order *o, void *self)
{
	struct sm_head *h = self;
	struct unknown u = { .len = 0 };
	struct token map;
	unsigned at = 0;
	uint64_t id, before = 0;

	if (!take_type(l, "fields of an instance", TOKEN_MAP, &map))
		return false;
	set_absent(o, self);
	for (uint64_t i = 0; i < map.n; i++, before = id) {
		const uint8_t *from = l->c.p;
		bool known;

		if (!take_uint(l, "id of a field", UINT16_MAX, &id))
			return false;
		if (i > 0 && id <= before)
			return refuse(l, "%s[%u]: found field %" PRIu64 " behind %" PRIu64
				      ", expected ascending ids", l->desc->name, l->index, id, before);
		while (at < o->n && o->field[at]->id < id)
			at++;
		known = at < o->n && o->field[at]->id == id;
		if (known ? !load_field(l, o->field[at], self) : !keep_unknown(l, &u, from, id))
			return false;
	}
	if (u.len == 0)
		return true;
	h->unknown = world_blob_new(l->w, u.bytes, u.len);
	if (h->unknown == 0)
		return refuse(l, "%s[%u]: no room for the fields of a newer writer", l->desc->name,
			      l->index);
	return true;
}

static bool load_state(struct load *l, uint64_t code)
{
	const struct sm_state *s = sm_state_find(l->desc, (uint16_t)code);
	unsigned level = world_lane(l->w)->level;

	if (!s)
		return refuse(l, "%s[%u]: found state %" PRIu64 ", which this build does not have",
			      l->desc->name, l->index, code);
	if (s->since > level)
		return refuse(l, "%s[%u]: found state %s of level %u, expected at most level %u",
			      l->desc->name, l->index, s->name, s->since, level);
	return true;
}

static bool load_instance(struct load *l, const struct codec_order *o, int32_t before)
{
	uint64_t index, state, flags;
	uint32_t generation;
	struct sm_head *h;

	if (!take_array(l, l->desc->name, 5) ||
	    !take_uint(l, "index of an instance", l->desc->capacity - 1u, &index))
		return false;
	l->index = (uint16_t)index;
	if ((int32_t)index <= before)
		return refuse(l, "%s: found index %" PRIu64 " behind %d, expected ascending ones",
			      l->desc->name, index, before);
	if (!take_uint(l, "state of an instance", UINT16_MAX, &state) || !load_state(l, state) ||
	    !take_uint(l, "flags of an instance", UINT16_MAX, &flags))
		return false;
	generation = world_generation(l->w, l->desc->kind, l->index);
	h = world_place(l->w, l->desc->kind, l->index, generation);
	if (!h)
		return refuse(l, "%s[%u]: is live, but no generation was ever given to it",
			      l->desc->name, l->index);
	h->state = (uint16_t)state;
	h->flags = (uint16_t)flags;
	return load_blob(l, "events put off", &h->deferred) && load_fields(l, o, h);
}

static bool load_generations(struct load *l)
{
	const struct sm_desc *d = l->desc;
	uint64_t at = 0, generation = 0, before = 0, run;
	struct token t;

	if (!take_type(l, "generations", TOKEN_ARRAY, &t))
		return false;
	if (t.n == 0 || t.n % 2)
		return refuse(l, "%s: found %" PRIu64 " numbers of generations, expected pairs",
			      d->name, t.n);
	for (uint64_t i = 0; i < t.n; i += 2, at += run, before = generation) {
		if (!take_uint(l, "generation", UINT32_MAX, &generation) ||
		    !take_uint(l, "run of a generation", UINT16_MAX, &run))
			return false;
		if (run == 0 || (i > 0 && generation == before))
			return refuse(l, "%s: generations are not in their shortest form", d->name);
		if (run > d->capacity - at)
			return refuse(l, "%s: found %" PRIu64 " places, this build has %u", d->name,
				      at + run, d->capacity);
		for (uint64_t n = 0; n < run; n++)
			world_set_generation(l->w, d->kind, (uint16_t)(at + n),
					     (uint32_t)generation);
	}
	if (generation == 0)
		return refuse(l, "%s: generations end with unused places", d->name);
	return true;
}

static bool load_kind(struct load *l, int32_t *before)
{
	const struct registry *r = world_registry(l->w);
	struct codec_order o;
	struct token t;
	int32_t index = -1;
	uint64_t kind;

	if (!take_array(l, "a kind", 3) || !take_uint(l, "code of a kind", UINT16_MAX, &kind))
		return false;
	if ((int32_t)kind <= *before)
		return refuse(l, "found kind %" PRIu64 " behind %d, expected ascending kinds", kind,
			      *before);
	*before = (int32_t)kind;
	if (kind >= LIMIT_KINDS || !r->machines[kind])
		return refuse(l, "found machines of kind %" PRIu64 ", which this build does not have",
			      kind);
	l->desc = r->machines[kind];
	codec_order(l->desc, UINT16_MAX, &o);
	if (!load_generations(l) || !take_type(l, "instances", TOKEN_ARRAY, &t))
		return false;
	if (t.n > l->desc->capacity)
		return refuse(l, "%s: found %" PRIu64 " instances, expected at most %u",
			      l->desc->name, t.n, l->desc->capacity);
	for (uint64_t i = 0; i < t.n; i++) {
		if (!load_instance(l, &o, index))
			return false;
		index = l->index;
	}
	return true;
}

/* ---- the whole ------------------------------------------------------------------ */

static bool load_sources(struct load *l, struct lane_state *s)
{
	struct token t;
	uint64_t source, before = 0;

	if (!take_type(l, "source positions", TOKEN_MAP, &t))
		return false;
	for (uint64_t i = 0; i < t.n; i++, before = source) {
		if (!take_uint(l, "a source", SOURCES - 1, &source))
			return false;
		if (i > 0 && source <= before)
			return refuse(l, "found source %" PRIu64 " behind %" PRIu64
				      ", expected ascending ones", source, before);
		if (!take_uint(l, "position of a source", UINT64_MAX, &s->source_pos[source]))
			return false;
		if (s->source_pos[source] == 0)
			return refuse(l, "source %" PRIu64 ": found position 0, expected none",
				      source);
	}
	return true;
}

static bool load_lane(struct load *l, uint32_t level)
{
	struct lane_state s = { .level = level };
	uint64_t epoch;

	if (!take_array(l, "lane state", 6) || !take_uint(l, "sequence", UINT64_MAX, &s.seq) ||
	    !take_uint(l, "time", UINT64_MAX, &s.time_ns) ||
	    !take_uint(l, "epoch", UINT32_MAX, &epoch) ||
	    !take_uint(l, "ignored events", UINT64_MAX, &s.ignored) ||
	    !take_uint(l, "rejected events", UINT64_MAX, &s.rejected) || !load_sources(l, &s))
		return false;
	s.epoch = (uint32_t)epoch;
	*world_lane(l->w) = s;
	return true;
}

static bool load_header(struct load *l, uint32_t *ret_level)
{
	uint64_t format, level, schema;

	if (!take_array(l, "saved state", 5) || !take_uint(l, "format", UINT64_MAX, &format))
		return false;
	if (format != CODEC_FORMAT)
		return refuse(l, "saved state has format %" PRIu64 ", this build reads format %d",
			      format, CODEC_FORMAT);
	if (!take_uint(l, "level", UINT32_MAX, &level) ||
	    !take_uint(l, "schema hash", UINT64_MAX, &schema))
		return false;
	if (level == 0 || level > world_registry(l->w)->max_level)
		return refuse(l, "saved state is at level %" PRIu64 ", this build serves 1 to %u",
			      level, world_registry(l->w)->max_level);
	*ret_level = (uint32_t)level;
	return true;
}

static bool load_world(struct load *l)
{
	const char *name;
	struct token t;
	int32_t before = -1;
	uint32_t level = 0;

	if (!load_header(l, &level) || !load_lane(l, level) ||
	    !take_type(l, "kinds", TOKEN_ARRAY, &t))
		return false;
	if (t.n > LIMIT_KINDS)
		return refuse(l, "found %" PRIu64 " kinds, expected at most %u", t.n,
			      (unsigned)LIMIT_KINDS);
	for (uint64_t i = 0; i < t.n; i++) {
		if (!load_kind(l, &before))
			return false;
	}
	if (l->c.p != l->c.end)
		return refuse(l, "found %td bytes behind the state, expected none",
			      l->c.end - l->c.p);
	if (!world_loaded(l->w, &name))
		return refuse(l, "what must hold in %s does not hold for the saved fields", name);
	return true;
}

int codec_unpack(struct world *w, const uint8_t *bytes, size_t len, char *why)
{
	struct load l = { .c = { bytes, bytes + len }, .w = w, .why = why };

	return load_world(&l) ? 0 : -EBADMSG;
}

bool codec_header(const uint8_t *bytes, size_t len, struct codec_header *ret)
{
	char why[CODEC_WHY];
	struct load l = { .c = { bytes, bytes + len }, .why = why };

	return take_array(&l, "", 5) && take_uint(&l, "", UINT64_MAX, &ret->format) &&
	       take_uint(&l, "", UINT64_MAX, &ret->level) &&
	       take_uint(&l, "", UINT64_MAX, &ret->schema_hash) && take_array(&l, "", 6) &&
	       take_uint(&l, "", UINT64_MAX, &ret->seq);
}
