/* BLAKE2b with a key (libsodium's generic hash), repeated over the length. */
#include "servicing/redact.h"

#include "engine/fact.h"
#include "persist/codec.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { HASH = 16 };
_Static_assert((int)REDACT_KEY == (int)crypto_generichash_KEYBYTES, "the library's key");

static const struct { const char *machine, *event; } tails[] = {
#define OPAQUE_TAIL(machine, event, what) { machine, event },
#define OPAQUE_PORT(...)
#define OPAQUE_FIELD(...)
#define OPAQUE_EFFECT(...)
#include "servicing/opaque.def"
#undef OPAQUE_TAIL
#undef OPAQUE_PORT
#define OPAQUE_TAIL(...)
};
static const struct { const char *machine, *event; uint64_t port; } ports[] = {
#define OPAQUE_PORT(machine, event, port, what) { machine, event, port },
#include "servicing/opaque.def"
#undef OPAQUE_PORT
#undef OPAQUE_FIELD
#define OPAQUE_PORT(...)
};
static const struct { const char *machine, *field; } fields[] = {
#define OPAQUE_FIELD(machine, field, what) { machine, field },
#include "servicing/opaque.def"
#undef OPAQUE_FIELD
#undef OPAQUE_EFFECT
#define OPAQUE_FIELD(...)
};
static const char *const effects[] = {
#define OPAQUE_EFFECT(effect, what) effect,
#include "servicing/opaque.def"
#undef OPAQUE_TAIL
#undef OPAQUE_PORT
#undef OPAQUE_FIELD
#undef OPAQUE_EFFECT
};

void redact_begin(struct redact *r, const struct registry *registry)
{
	*r = (struct redact){ .registry = registry };
	fact(sodium_init() >= 0);
	randombytes_buf(r->key, sizeof(r->key));
}

static void replace(struct redact *r, uint8_t *bytes, size_t len, uint64_t seq)
{
	crypto_generichash_state state;
	uint8_t hash[HASH];

	if (len == 0)
		return;
	crypto_generichash_init(&state, r->key, sizeof(r->key), sizeof(hash));
	crypto_generichash_update(&state, bytes, len);
	if (len < REDACT_SHORT)
		crypto_generichash_update(&state, (const uint8_t *)&seq, sizeof(seq));
	crypto_generichash_final(&state, hash, sizeof(hash));
	for (size_t i = 0; i < len; i++)
		bytes[i] = bytes[i] ? hash[i % HASH] | 1 : 0;
	r->payloads++;
	r->bytes += len;
}

/* ---- events --------------------------------------------------------------------- */

static bool is_opaque_tail(const struct sm_desc *d, const struct sm_event_desc *e)
{
	if (e->rec->tail == REC_OPAQUE)
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(tails); i++) {
		if (strcmp(tails[i].machine, d->name) == 0 && strcmp(tails[i].event, e->name) == 0)
			return true;
	}
	return false;
}

static const struct rec_field *find(const struct rec_desc *rec, const char *name)
{
	for (unsigned i = 0; i < rec->n_fields; i++) {
		if (strcmp(rec->fields[i].name, name) == 0)
			return &rec->fields[i];
	}
	return NULL;
}

/* A write to a port that carries text. */
static void redact_port(struct redact *r, const struct sm_desc *d, const struct sm_event_desc *e,
			uint64_t seq, uint8_t *payload, uint32_t len)
{
	const struct rec_field *port = find(e->rec, "port"), *in = find(e->rec, "is_in");
	const struct rec_field *value = find(e->rec, "value");

	for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
		if (strcmp(ports[i].machine, d->name) != 0 ||
		    strcmp(ports[i].event, e->name) != 0)
			continue;
		if (!port || !in || !value || len < e->rec->size)
			return;
		if (rec_value(port, payload, 0) == ports[i].port && !rec_value(in, payload, 0))
			replace(r, payload + value->offset, 1, seq);
	}
}

void redact_event(struct redact *r, const struct log_record *h, uint8_t *payload)
{
	const struct sm_desc *d = h->kind < LIMIT_KINDS ? r->registry->machines[h->kind] : NULL;
	const struct sm_event_desc *e = d ? sm_event_find(d, h->code) : NULL;

	if (!e)
		return;
	redact_port(r, d, e, h->seq, payload, h->len);
	if (h->len > e->rec->size && is_opaque_tail(d, e))
		replace(r, payload + e->rec->size, h->len - e->rec->size, h->seq);
}

void redact_effect(struct redact *r, uint16_t code, uint64_t seq, uint8_t *p, uint32_t len)
{
	const struct effect_desc *d = &r->registry->effects[code];
	bool opaque = d->rec->tail == REC_OPAQUE;

	for (unsigned i = 0; i < ARRAY_LEN(effects); i++)
		opaque = opaque || strcmp(effects[i], d->name) == 0;
	if (opaque && len > d->rec->size)
		replace(r, p + d->rec->size, len - d->rec->size, seq);
}

/* ---- state ---------------------------------------------------------------------- */

static void redact_blob(struct redact *r, struct world *w, sm_blob *slot)
{
	size_t len = world_blob_len(w, *slot);
	uint8_t *bytes = len ? malloc(len) : NULL;
	sm_blob fresh = 0;

	if (bytes) {
		world_blob_read(w, *slot, 0, bytes, len);
		replace(r, bytes, len, 0);
		fresh = world_blob_new(w, bytes, len);
	}
	/* Without room the content goes all the same: an empty blob. */
	*slot = fresh;
	free(bytes);
}

static void redact_field(struct redact *r, struct world *w, const struct sm_desc *d,
			 const struct sm_field *f)
{
	for (unsigned i = 0; i < d->capacity; i++) {
		uint8_t *self = (uint8_t *)(uintptr_t)world_at(w, d->kind, (uint16_t)i);

		if (!self)
			continue;
		if (f->type == SM_T_u8)
			replace(r, self + f->offset, f->count, 0);
		for (unsigned n = 0; f->type == SM_T_blob && n < f->count; n++)
			redact_blob(r, w, (sm_blob *)(void *)(self + f->offset) + n);
	}
}

void redact_world(struct redact *r, struct world *w)
{
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		for (unsigned k = 0; k < LIMIT_KINDS; k++) {
			const struct sm_desc *d = r->registry->machines[k];

			if (!d || strcmp(d->name, fields[i].machine) != 0)
				continue;
			for (unsigned n = 0; n < d->n_fields; n++) {
				if (strcmp(d->fields[n].name, fields[i].field) == 0)
					redact_field(r, w, d, &d->fields[n]);
			}
		}
	}
}
