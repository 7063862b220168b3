/* Lives in numbers: see test_digest.h. Handles of blobs are left out of the hashes,
 * their bytes are in: which chunk a blob has is the engine's matter. */
#include "statemachines/test_digest.h"

#include "engine/sm_tools.h"
#include "persist/codec.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/variant.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { ROWS = 1024, TEXT = 1 << 18, BLOB_READ = 4096, INSTANCE = 4096, FORBIDDEN = 512 };

struct line {
	uint64_t count, hash;
};

static const uint8_t width[] = { [SM_T_bool] = 1, [SM_T_u8] = 1, [SM_T_u16] = 2, [SM_T_u32] = 4,
				 [SM_T_u64] = 8, [SM_T_blob] = 4 };
static struct line rows[LIMIT_KINDS][ROWS];
static struct line asked[EFFECT_CODES];
static uint64_t answers[LIMIT_KINDS][LIMIT_STATES][LIMIT_EVENTS];

static void add(struct line *l, const void *bytes, size_t len)
{
	l->hash = XXH3_64bits_withSeed(bytes, len, l->hash);
}

static void add_field(struct line *l, const struct sm_cx *cx, const struct sm_field *f)
{
	static uint8_t bytes[BLOB_READ];

	if (f->type != SM_T_blob)
		add(l, (const uint8_t *)cx->self + f->offset, (size_t)f->count * width[f->type]);
	else
		add(l, bytes, world_blob_read(cx->world, (sm_blob)codec_field(f, cx->self, 0), 0,
					      bytes, sizeof(bytes)));
}

void digest_step(const struct sm_cx *cx, uint16_t from, const struct sm_row *row)
{
	const struct sm_desc *d = cx->desc;
	struct line *l;

	if (!row) {
		answers[d->kind][sm_state_find(d, from) - d->states][cx->event - d->events]++;
		return;
	}
	cr_assert_lt(row - d->rows, ROWS);
	l = &rows[d->kind][row - d->rows];
	l->count++;
	add(l, &cx->ref.index, sizeof(cx->ref.index));
	add(l, cx->p, cx->event->rec->size);
	add(l, cx->tail, cx->tail_len);
	if (!world_at(cx->world, d->kind, cx->ref.index))
		return;                                 /* it retired with this step */
	for (unsigned i = 0; i < d->n_fields; i++)
		add_field(l, cx, &d->fields[i]);
}

void digest_effect(const struct effect *e)
{
	struct line *l = &asked[e->head.code];

	l->count++;
	add(l, e->p, e->head.len);
}

/* ---- telling and comparing ------------------------------------------------- */

struct text {
	char *p;
	size_t len;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	t->len += (size_t)vsnprintf(t->p + t->len, TEXT - t->len, format, ap);
	va_end(ap);
	cr_assert_lt(t->len, TEXT);
}

static char forbidden[LIMIT_KINDS][LIMIT_STATES][FORBIDDEN];

void digest_predicate(const struct sm_desc *d, const struct sm_state *s, const void *self)
{
	static const uint64_t values[] = { 0, 1, UINT64_MAX };
	static _Alignas(8) uint8_t copy[INSTANCE];
	char *text = forbidden[d->kind][s - d->states];
	size_t len = 0;

	cr_assert_leq(d->size, sizeof(copy));
	for (unsigned i = 0; i < d->n_fields; i++)
		for (unsigned v = 0; v < ARRAY_LEN(values); v++) {
			const struct sm_field *f = &d->fields[i];
			uint64_t value = f->type == SM_T_bool ? values[v] & 1 : values[v];

			memcpy(copy, self, d->size);
			memcpy(copy + f->offset, &value, width[f->type]);
			if (!s->holds(copy) && len < FORBIDDEN)
				len += (size_t)snprintf(text + len, FORBIDDEN - len, " %s=%s", f->name,
							v == 0 ? "0" : v == 1 ? "1" : "max");
		}
}

static void put_predicates(struct text *t, const struct sm_desc *d)
{
	for (unsigned i = 0; i < d->n_states; i++)
		if (forbidden[d->kind][i][0])
			put(t, "%s %s forbids:%s\n", d->name, d->states[i].name, forbidden[d->kind][i]);
}

static void put_machine(struct text *t, const struct sm_desc *d)
{
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *r = &d->rows[i];
		const struct line *l = &rows[d->kind][i];

		if (l->count)
			put(t, "%s %s on %s [%s] / %s -> %s: %" PRIu64 " %016" PRIx64 "\n", d->name,
			    sm_state_find(d, r->from)->name, sm_event_find(d, r->on)->name,
			    r->guard_name, r->act_name, sm_state_find(d, r->to)->name, l->count,
			    l->hash);
	}
	for (unsigned s = 0; s < d->n_states; s++)
		for (unsigned e = 0; e < d->n_events; e++)
			if (answers[d->kind][s][e])
				put(t, "%s %s to %s: %s: %" PRIu64 "\n", d->name, d->states[s].name,
				    d->events[e].name, sm_policy_name(d->states[s].otherwise),
				    answers[d->kind][s][e]);
}

static void compare(const char *path, const char *told)
{
	char *expected = calloc(1, TEXT), *at;
	FILE *f = fopen(path, "r");

	cr_assert(f && expected, "no file %s: HOLDFAST_WRITE_STORIES=1 writes it", path);
	expected[fread(expected, 1, TEXT - 1, f)] = 0;
	fclose(f);
	at = expected;
	while (*told && *at) {
		size_t ours = strcspn(told, "\n"), theirs = strcspn(at, "\n");

		cr_assert(ours == theirs && memcmp(told, at, ours) == 0,
			  "machines do otherwise than they did (meant? then write %s anew with "
			  "HOLDFAST_WRITE_STORIES=1)\n  now:    %.*s\n  before: %.*s", path, (int)ours,
			  told, (int)theirs, at);
		told += ours + 1;
		at += theirs + 1;
	}
	cr_assert(*told == *at, "%s has another number of lines", path);
	free(expected);
}

void digest_compare(void)
{
	const char *variant = HOLDFAST_VARIANT_C ? "c" : HOLDFAST_VARIANT_B ? "b" : "a";
	struct text t = { .p = calloc(1, TEXT) };
	char path[512];

	cr_assert_not_null(t.p);
	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (machines[k]) {
			put_machine(&t, machines[k]);
			put_predicates(&t, machines[k]);
		}
	for (unsigned i = 1; i < EFFECT_CODES; i++)
		put(&t, "effect %s: %" PRIu64 " %016" PRIx64 "\n", effects[i].name, asked[i].count,
		    asked[i].hash);
	snprintf(path, sizeof(path), "%s/lives-%s.txt", STORIES, variant);
	if (getenv("HOLDFAST_WRITE_STORIES")) {
		FILE *f = fopen(path, "w");

		cr_assert(f && fputs(t.p, f) >= 0 && fclose(f) == 0);
	}
	compare(path, t.p);
	free(t.p);
}
