/* Decoding for people and for other programs. The bytes come from a log that
 * may be damaged or from a build that knows more: what cannot be named is
 * shown by its number, and nothing is read outside the payload. */
#include "servicing/decode.h"

#include "engine/follow.h"
#include "persist/codec.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL_SHOWN = 16, BLOB_TEXT = 4096 };

static const struct sm_desc *machine(const struct registry *r, unsigned kind)
{
	return kind < LIMIT_KINDS ? r->machines[kind] : NULL;
}

const char *decode_machine(const struct registry *r, unsigned kind, unsigned index, char *ret)
{
	const struct sm_desc *d = machine(r, kind);

	if (d)
		snprintf(ret, 32, "%.20s[%u]", d->name, index);
	else
		snprintf(ret, 32, "kind%u[%u]", kind, index);
	return ret;
}

void decode_number(cJSON *to, const char *name, uint64_t v)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, v);
	cJSON_AddRawToObject(to, name, digits);
}

static void add_element(cJSON *array, uint64_t v)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, v);
	cJSON_AddItemToArray(array, cJSON_CreateRaw(digits));
}

/* ---- payloads ------------------------------------------------------------------- */

/* A payload shorter than its record counts as completed with zeros. */
static const uint8_t *complete(const struct rec_desc *d, const uint8_t *p, uint32_t len,
			       uint8_t *zeros, size_t size)
{
	if (len >= d->size || d->size > size)
		return p;
	memset(zeros, 0, size);
	memcpy(zeros, p, len);
	return zeros;
}

/* Programs get the whole tail; people (print_tail) its beginning. */
static void add_tail(cJSON *to, const struct rec_desc *d, const uint8_t *p, uint32_t len)
{
	uint32_t bytes;
	char *hex;

	if (len <= d->size)
		return;
	bytes = len - d->size;
	decode_number(to, "tail_bytes", bytes);
	if (d->tail == REC_OPAQUE)
		return;
	hex = malloc(2 * (size_t)bytes + 1);
	if (!hex)
		return;
	for (uint32_t i = 0; i < bytes; i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", p[d->size + i]);
	cJSON_AddStringToObject(to, "tail", hex);
	free(hex);
}

static void add_payload(cJSON *to, const struct rec_desc *d, const uint8_t *payload, uint32_t len)
{
	uint8_t zeros[512];
	const uint8_t *p = complete(d, payload, len, zeros, sizeof(zeros));

	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct rec_field *f = &d->fields[i];
		cJSON *array;

		if (f->count == 1) {
			decode_number(to, f->name, rec_value(f, p, 0));
			continue;
		}
		array = cJSON_AddArrayToObject(to, f->name);
		for (unsigned n = 0; n < f->count; n++)
			add_element(array, rec_value(f, p, n));
	}
	add_tail(to, d, payload, len);
}

static void print_tail(const struct rec_desc *d, const uint8_t *p, uint32_t len, FILE *out)
{
	if (len <= d->size)
		return;
	fprintf(out, " +%u bytes", len - d->size);
	if (d->tail == REC_OPAQUE)
		return;
	fprintf(out, ": ");
	for (uint32_t i = 0; i < TAIL_SHOWN && d->size + i < len; i++)
		fprintf(out, "%02x", p[d->size + i]);
	if (len - d->size > TAIL_SHOWN)
		fprintf(out, "..");
}

static void print_payload(const struct rec_desc *d, const uint8_t *payload, uint32_t len, FILE *out)
{
	uint8_t zeros[512];
	const uint8_t *p = complete(d, payload, len, zeros, sizeof(zeros));

	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct rec_field *f = &d->fields[i];

		fprintf(out, " %s=", f->name);
		for (unsigned n = 0; n < f->count; n++)
			fprintf(out, rec_value(f, p, n) > 4095 ? "%s0x%" PRIx64 : "%s%" PRIu64,
				n ? "," : "", rec_value(f, p, n));
	}
	print_tail(d, payload, len, out);
}

/* ---- records -------------------------------------------------------------------- */

static const struct sm_event_desc *event(const struct registry *r, const struct log_record *h)
{
	const struct sm_desc *d = machine(r, h->kind);

	return d ? sm_event_find(d, h->code) : NULL;
}

/* Effects of a confirm record; false: it does not hold together. */
static bool effects(const struct log_record *h, const uint8_t *payload, const uint8_t **ret,
		    uint32_t *ret_len)
{
	struct log_confirm c;

	*ret = payload;
	*ret_len = 0;
	if (h->len < sizeof(c))
		return false;
	memcpy(&c, payload, sizeof(c));
	*ret = payload + sizeof(c);
	*ret_len = h->len - (uint32_t)sizeof(c);
	return c.bytes == *ret_len;
}

/* Confirms, and what is laid out like them. */
static bool holds_effects(unsigned type)
{
	return type == LOG_CONFIRM || type == LOG_INSTEAD || type == LOG_PROPOSE;
}

static const char *type_name(unsigned type)
{
	static const char *const names[] = { "?", "event", "confirm", "pad", "void",
					     "quarantine", "instead", "propose",
					     "checkpoint" };

	return names[type <= LOG_CHECKPOINT ? type : 0];
}

static void add_event(cJSON *to, const struct registry *r, const struct log_record *h,
		      const uint8_t *payload)
{
	const struct sm_event_desc *e = event(r, h);
	char name[32];

	cJSON_AddStringToObject(to, "machine", decode_machine(r, h->kind, h->index, name));
	decode_number(to, "generation", h->generation);
	decode_number(to, "source", h->source);
	decode_number(to, "source_pos", h->source_pos);
	if (!e) {
		decode_number(to, "event", h->code);
		decode_number(to, "bytes", h->len);
		return;
	}
	cJSON_AddStringToObject(to, "event", e->name);
	add_payload(cJSON_AddObjectToObject(to, "fields"), e->rec, payload, h->len);
}

static void add_effects(cJSON *to, const struct registry *r, const struct log_record *h,
			const uint8_t *payload)
{
	cJSON *array = cJSON_AddArrayToObject(to, "effects");
	const uint8_t *bytes;
	uint32_t len, at = 0, n = 0;
	struct effect e;
	char name[32];
	bool bad = !effects(h, payload, &bytes, &len);

	while (!bad && effect_next(r, bytes, len, h->seq, &at, &n, &e, &bad)) {
		const struct effect_desc *d = &r->effects[e.head.code];
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "effect", d->name);
		cJSON_AddStringToObject(item, "machine",
					decode_machine(r, e.head.kind, e.head.index, name));
		add_payload(cJSON_AddObjectToObject(item, "fields"), d->rec, e.p, e.head.len);
		cJSON_AddItemToArray(array, item);
	}
	if (bad)
		cJSON_AddTrueToObject(to, "damaged");
}

static bool tells_checkpoint(const struct log_record *h, const uint8_t *payload,
			     struct log_checkpoint *ret)
{
	if (h->type != LOG_CHECKPOINT || h->len < sizeof(*ret))
		return false;
	memcpy(ret, payload, sizeof(*ret));
	return true;
}

static void add_checkpoint(cJSON *to, const struct log_checkpoint *c)
{
	char hash[33];

	snprintf(hash, sizeof(hash), "%016" PRIx64 "%016" PRIx64, c->hash[1], c->hash[0]);
	decode_number(to, "position", c->position);
	decode_number(to, "bytes", c->bytes);
	cJSON_AddStringToObject(to, "hash", hash);
}

cJSON *decode_record(const struct registry *r, const struct log_record *h, const uint8_t *payload)
{
	cJSON *o = cJSON_CreateObject();
	struct log_checkpoint c;

	if (!o)
		return NULL;
	cJSON_AddStringToObject(o, "type", type_name(h->type));
	decode_number(o, "seq", h->seq);
	decode_number(o, "time_ns", h->time_ns);
	decode_number(o, "epoch", h->epoch);
	if (h->type == LOG_EVENT || h->type == LOG_QUARANTINE)
		add_event(o, r, h, payload);
	else if (holds_effects(h->type))
		add_effects(o, r, h, payload);
	else if (tells_checkpoint(h, payload, &c))
		add_checkpoint(o, &c);
	return o;
}

void decode_print_effects(const struct registry *r, uint64_t seq, const uint8_t *bytes,
			  uint32_t len, FILE *out)
{
	uint32_t at = 0, n = 0;
	struct effect e;
	char name[32];
	bool bad = false;

	while (!bad && effect_next(r, bytes, len, seq, &at, &n, &e, &bad)) {
		const struct effect_desc *d = &r->effects[e.head.code];

		fprintf(out, "%10s -> %s %s", "",
			decode_machine(r, e.head.kind, e.head.index, name), d->name);
		print_payload(d->rec, e.p, e.head.len, out);
		fprintf(out, "\n");
	}
	if (bad)
		fprintf(out, "%10s -> (effects that this build cannot read)\n", "");
}

static void print_confirm(const struct registry *r, const struct log_record *h,
			  const uint8_t *payload, FILE *out)
{
	const uint8_t *bytes;
	uint32_t len;

	fprintf(out, "\n");
	if (effects(h, payload, &bytes, &len))
		decode_print_effects(r, h->seq, bytes, len, out);
	else
		fprintf(out, "%10s -> (effects that this build cannot read)\n", "");
}

void decode_print(const struct registry *r, const struct log_record *h, const uint8_t *payload,
		  FILE *out)
{
	const struct sm_event_desc *e = event(r, h);
	struct log_checkpoint c;
	char name[32];

	fprintf(out, "%10" PRIu64 " %8" PRIu64 ".%06" PRIu64 " e%u ", h->seq,
		h->time_ns / 1000000000u, h->time_ns / 1000 % 1000000, h->epoch);
	if (holds_effects(h->type)) {
		fprintf(out, "%s", h->type == LOG_CONFIRM ? "confirmed" : type_name(h->type));
		print_confirm(r, h, payload, out);
		return;
	}
	if (tells_checkpoint(h, payload, &c)) {
		fprintf(out, "checkpoint of %" PRIu64 " bytes, hash %016" PRIx64 "%016" PRIx64 "\n",
			c.bytes, c.hash[1], c.hash[0]);
		return;
	}
	if (h->type != LOG_EVENT && h->type != LOG_QUARANTINE) {
		fprintf(out, "%s\n", type_name(h->type));
		return;
	}
	fprintf(out, "%s ", decode_machine(r, h->kind, h->index, name));
	if (e) {
		fprintf(out, "%s", e->name);
		print_payload(e->rec, payload, h->len, out);
	} else {
		fprintf(out, "event%u %u bytes", h->code, h->len);
	}
	fprintf(out, "\n");
}

static bool is_machine(const struct registry *r, unsigned kind, unsigned index, const char *wanted)
{
	const struct sm_desc *d = machine(r, kind);
	char name[32];

	return (d && strcmp(d->name, wanted) == 0) ||
	       strcmp(decode_machine(r, kind, index, name), wanted) == 0;
}

bool decode_about(const struct registry *r, const struct log_record *h, const uint8_t *payload,
		  const char *wanted)
{
	const uint8_t *bytes;
	uint32_t len, at = 0, n = 0;
	struct effect e;
	bool bad = false;

	if (h->type == LOG_EVENT || h->type == LOG_QUARANTINE)
		return is_machine(r, h->kind, h->index, wanted);
	if (!holds_effects(h->type) || !effects(h, payload, &bytes, &len))
		return false;
	while (effect_next(r, bytes, len, h->seq, &at, &n, &e, &bad)) {
		if (is_machine(r, e.head.kind, e.head.index, wanted))
			return true;
	}
	return false;
}

/* ---- machines ------------------------------------------------------------------- */

/* Names and last words as they are, anything else by its size: of the control
 * characters only the end of a line goes on. */
static cJSON *blob_value(const struct world *w, sm_blob b)
{
	size_t len = world_blob_len(w, b);
	char text[BLOB_TEXT + 1] = "";
	bool printable = len <= BLOB_TEXT;

	if (printable)
		world_blob_read(w, b, 0, text, len);
	for (size_t i = 0; printable && i < len; i++)
		printable = isprint((unsigned char)text[i]) || text[i] == '\n';
	if (!printable)
		snprintf(text, sizeof(text), "%zu bytes", len);
	return cJSON_CreateString(text);
}

static cJSON *field_value(const struct world *w, const struct sm_field *f, const void *self,
			  unsigned n)
{
	uint64_t v = codec_field(f, self, n);
	char text[32];

	if (f->type == SM_T_bool)
		return cJSON_CreateBool(v != 0);
	if (f->type == SM_T_blob)
		return blob_value(w, (sm_blob)v);
	snprintf(text, sizeof(text), "%" PRIu64, v);
	return cJSON_CreateRaw(text);
}

cJSON *decode_instance(const struct world *w, const struct sm_desc *d, uint16_t index)
{
	const struct sm_head *h = world_at(w, d->kind, index);
	const struct sm_state *s = sm_state_find(d, h->state);
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "state", s ? s->name : "?");
	decode_number(o, "generation", h->generation);
	if (h->deferred)
		decode_number(o, "deferred_bytes", world_blob_len(w, h->deferred));
	if (h->unknown)
		decode_number(o, "unknown_bytes", world_blob_len(w, h->unknown));
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];
		cJSON *array;

		if (f->count == 1) {
			cJSON_AddItemToObject(o, f->name, field_value(w, f, h, 0));
			continue;
		}
		array = cJSON_AddArrayToObject(o, f->name);
		for (unsigned n = 0; n < f->count; n++)
			cJSON_AddItemToArray(array, field_value(w, f, h, n));
	}
	return o;
}
