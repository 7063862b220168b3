/* Text of machine state. Both worlds of a difference have the same tables. */
#include "servicing/show.h"

#include "persist/codec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_FROM = 4096, BYTES_SHOWN = 16 };

static void number(uint64_t v, char *ret)
{
	if (v < HEX_FROM)
		snprintf(ret, SHOW_VALUE, "%" PRIu64, v);
	else
		snprintf(ret, SHOW_VALUE, "%" PRIu64 " (0x%" PRIx64 ")", v, v);
}

static void blob(const struct world *w, sm_blob b, char *ret)
{
	uint8_t bytes[BYTES_SHOWN];
	size_t len = world_blob_len(w, b), n = world_blob_read(w, b, 0, bytes, sizeof(bytes));
	int at = snprintf(ret, SHOW_VALUE, "%zu bytes%s", len, n ? ": " : "");

	for (size_t i = 0; i < n; i++)
		at += snprintf(ret + at, (size_t)(SHOW_VALUE - at), "%02x", bytes[i]);
	if (n < len)
		snprintf(ret + at, (size_t)(SHOW_VALUE - at), "..");
}

const char *show_value(const struct world *w, const struct sm_field *f, const void *self,
		       unsigned element, char *ret)
{
	uint64_t v = codec_field(f, self, element);

	if (f->type == SM_T_blob)
		blob(w, (sm_blob)v, ret);
	else if (f->type == SM_T_bool)
		snprintf(ret, SHOW_VALUE, "%s", v ? "true" : "false");
	else
		number(v, ret);
	return ret;
}

static const char *state_name(const struct sm_desc *d, uint16_t code)
{
	const struct sm_state *s = sm_state_find(d, code);

	return s ? s->name : "?";
}

const char *show_path(const struct world *w, const struct expr_path *p, char *ret)
{
	const struct sm_head *h = world_at(w, p->desc->kind, p->index);

	if (!h)
		snprintf(ret, SHOW_VALUE, "nobody lives there");
	else if (p->what == PATH_FIELD)
		show_value(w, p->field, h, p->element, ret);
	else if (p->what == PATH_GENERATION)
		number(h->generation, ret);
	else
		snprintf(ret, SHOW_VALUE, "%s", state_name(p->desc, h->state));
	return ret;
}

const char *show_path_name(const struct expr_path *p, char *ret)
{
	int n = snprintf(ret, 80, "%.20s[%u]", p->desc->name, p->index);

	if (p->what == PATH_FIELD)
		n += snprintf(ret + n, (size_t)(80 - n), ".%.30s", p->field->name);
	else if (p->what == PATH_STATE || p->what == PATH_GENERATION)
		n += snprintf(ret + n, (size_t)(80 - n), ".%s",
			      p->what == PATH_STATE ? "state" : "generation");
	if (p->element_given)
		snprintf(ret + n, (size_t)(80 - n), "[%u]", p->element);
	return ret;
}

static void show_array(const struct world *w, const struct sm_field *f, const void *self, FILE *out)
{
	char text[SHOW_VALUE];

	for (unsigned n = 0; n < f->count; n++) {
		uint64_t v = codec_field(f, self, n);

		if (f->type == SM_T_u8)
			fprintf(out, "%02x", (unsigned)v);
		else if (f->type == SM_T_blob)
			fprintf(out, "%s%s", n ? "," : "", show_value(w, f, self, n, text));
		else
			fprintf(out, v < HEX_FROM ? "%s%" PRIu64 : "%s0x%" PRIx64, n ? "," : "", v);
	}
}

void show_instance(const struct world *w, const struct sm_desc *d, uint16_t index, FILE *out)
{
	const struct sm_head *h = world_at(w, d->kind, index);
	char text[SHOW_VALUE];

	if (!h) {
		fprintf(out, "%s[%u] nobody lives there\n", d->name, index);
		return;
	}
	fprintf(out, "%s[%u] state=%s generation=%u", d->name, index, state_name(d, h->state),
		h->generation);
	if (h->deferred)
		fprintf(out, " deferred=%zu bytes", world_blob_len(w, h->deferred));
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];

		fprintf(out, " %s=", f->name);
		if (f->count > 1)
			show_array(w, f, h, out);
		else
			fprintf(out, "%s", show_value(w, f, h, 0, text));
	}
	fprintf(out, "\n");
}

unsigned show_all(const struct world *w, const struct sm_desc *d, FILE *out)
{
	const struct registry *r = world_registry(w);
	unsigned n = 0;

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *m = r->machines[k];

		for (unsigned i = 0; m && (!d || d == m) && i < m->capacity; i++) {
			if (!world_at(w, m->kind, (uint16_t)i))
				continue;
			show_instance(w, m, (uint16_t)i, out);
			n++;
		}
	}
	return n;
}

/* ---- differences ---------------------------------------------------------------- */

static bool same_blob(const struct world *a, sm_blob x, const struct world *b, sm_blob y)
{
	size_t len = world_blob_len(a, x);
	uint8_t p[LIMIT_BLOB_CHUNK], q[LIMIT_BLOB_CHUNK];

	if (len != world_blob_len(b, y))
		return false;
	for (size_t at = 0; at < len; at += sizeof(p)) {
		size_t n = world_blob_read(a, x, at, p, sizeof(p));

		if (world_blob_read(b, y, at, q, sizeof(q)) != n || memcmp(p, q, n) != 0)
			return false;
	}
	return true;
}

static unsigned differ_field(const struct world *a, const void *x, const struct world *b,
			     const void *y, const struct expr_path *p, FILE *out)
{
	char name[80], before[SHOW_VALUE], after[SHOW_VALUE];
	uint64_t v = codec_field(p->field, x, p->element);
	uint64_t u = codec_field(p->field, y, p->element);

	if (p->field->type == SM_T_blob ? same_blob(a, (sm_blob)v, b, (sm_blob)u) : v == u)
		return 0;
	fprintf(out, "%s: %s -> %s\n", show_path_name(p, name),
		show_value(a, p->field, x, p->element, before),
		show_value(b, p->field, y, p->element, after));
	return 1;
}

static unsigned differ_instance(const struct world *a, const struct world *b,
				const struct sm_desc *d, uint16_t index, FILE *out)
{
	const struct sm_head *x = world_at(a, d->kind, index), *y = world_at(b, d->kind, index);
	unsigned n = 0;

	if (!x && !y)
		return 0;
	if (!x || !y) {
		fprintf(out, "%s[%u]: %s", d->name, index, x ? "gone; was " : "new: ");
		show_instance(x ? a : b, d, index, out);
		return 1;
	}
	if (x->generation != y->generation)
		n += fprintf(out, "%s[%u].generation: %u -> %u\n", d->name, index, x->generation,
			     y->generation) > 0;
	if (x->state != y->state)
		n += fprintf(out, "%s[%u].state: %s -> %s\n", d->name, index,
			     state_name(d, x->state), state_name(d, y->state)) > 0;
	for (unsigned i = 0; i < d->n_fields; i++) {
		struct expr_path p = { .desc = d, .field = &d->fields[i], .what = PATH_FIELD,
				       .index = index, .element_given = d->fields[i].count > 1 };

		for (unsigned e = 0; e < d->fields[i].count; e++) {
			p.element = (uint16_t)e;
			n += differ_field(a, x, b, y, &p, out);
		}
	}
	return n;
}

static unsigned differ_lane(const struct lane_state *a, const struct lane_state *b, FILE *out)
{
	const struct { const char *name; uint64_t before, after; } words[] = {
		{ "seq", a->seq, b->seq }, { "time_ns", a->time_ns, b->time_ns },
		{ "epoch", a->epoch, b->epoch }, { "level", a->level, b->level },
		{ "ignored", a->ignored, b->ignored }, { "rejected", a->rejected, b->rejected },
	};
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].before == words[i].after)
			continue;
		fprintf(out, "%s: %" PRIu64 " -> %" PRIu64 "\n", words[i].name, words[i].before,
			words[i].after);
		n++;
	}
	return n;
}

unsigned show_difference(const struct world *a, const struct world *b, FILE *out)
{
	const struct registry *r = world_registry(a);
	unsigned n = differ_lane(world_lane_const(a), world_lane_const(b), out);

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = r->machines[k];

		for (unsigned i = 0; d && i < d->capacity; i++)
			n += differ_instance(a, b, d, (uint16_t)i, out);
	}
	return n;
}
