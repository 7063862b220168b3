/* Telling stories: see test_story.h. Lines of one kind that differ only in
 * their index are joined; what a state ignores is not told. */
#include "statemachines/test_story.h"

#include "engine/sm_tools.h"
#include "persist/codec.h"
#include "statemachines/bytes.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 1 << 20, PACKED_MAX = 8 << 20 };
enum { MUTED_RESTORES = 8 };    /* of the turns that are not told, one in so many */

struct story {
	struct world *world, *spare;
	struct registry registry;
	bool restoring, muted;
	uint64_t seq, time_ns;
	char *text;
	size_t used;
	char last[256];
	unsigned first_index, last_index;
	bool pending;
	struct turn turn;
	unsigned steps;
	uint8_t *packed;
};

/* ---- text ------------------------------------------------------------- */

static void put(struct story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct story *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	s->used += (size_t)vsnprintf(s->text + s->used, TEXT_MAX - s->used, format, ap);
	va_end(ap);
	cr_assert_lt(s->used, TEXT_MAX);
}

static void put_number(struct story *s, uint64_t v)
{
	if (v < 10000)
		put(s, "%" PRIu64, v);
	else
		put(s, "%#" PRIx64, v);
}

static void put_record(struct story *s, const struct rec_desc *d, const void *p,
		       const uint8_t *tail, size_t len)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct rec_field *f = &d->fields[i];
		bool any = false;

		for (unsigned n = 0; n < f->count; n++)
			any |= rec_value(f, p, n) != 0;
		if (!any)
			continue;
		put(s, " %s=", f->name);
		for (unsigned n = 0; n < f->count; n++) {
			put(s, "%s", n ? "," : "");
			put_number(s, rec_value(f, p, n));
		}
	}
	if (len)
		put(s, " +%zu:", len);
	for (size_t i = 0; i < len && i < 80; i++)
		put(s, "%s%02x", i % 4 ? "" : " ", tail[i]);
	if (len > 80)
		put(s, " ...");
	put(s, "\n");
}

static void flush_step(struct story *s)
{
	char *name = s->last, *rest = strchr(s->last, '|');

	if (!s->pending)
		return;
	*rest++ = 0;
	if (s->first_index == s->last_index)
		put(s, "    %s[%u]: %s\n", name, s->first_index, rest);
	else
		put(s, "    %s[%u..%u]: %s\n", name, s->first_index, s->last_index, rest);
	s->pending = false;
}

static const char *state_name(const struct sm_desc *d, uint16_t code)
{
	return sm_state_find(d, code)->name;
}

static void on_step(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		    const struct sm_row *row)
{
	struct story *s = user;
	char line[256];

	s->steps++;
	if (!row && cx->from.kind)
		return;
	if (s->muted)
		return;
	if (row)
		snprintf(line, sizeof(line), "%s|%s --%s%s%s%s--> %s  / %s", cx->desc->name,
			 state_name(cx->desc, from), cx->event->name,
			 row->guard == sm_always ? "" : " [",
			 row->guard == sm_always ? "" : row->guard_name,
			 row->guard == sm_always ? "" : "]", state_name(cx->desc, to), row->act_name);
	else
		snprintf(line, sizeof(line), "%s|%s: %s %s", cx->desc->name,
			 state_name(cx->desc, from), cx->event->name,
			 sm_policy_name(sm_state_find(cx->desc, from)->otherwise));
	if (s->pending && strcmp(line, s->last) == 0 && cx->ref.index == s->last_index + 1u) {
		s->last_index = cx->ref.index;
		return;
	}
	flush_step(s);
	strcpy(s->last, line);
	s->first_index = s->last_index = cx->ref.index;
	s->pending = true;
}

void story_say(struct story *s, const char *format, ...)
{
	va_list ap;

	put(s, "\n# ");
	va_start(ap, format);
	s->used += (size_t)vsnprintf(s->text + s->used, TEXT_MAX - s->used, format, ap);
	va_end(ap);
	put(s, "\n");
}

void story_line(struct story *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	s->used += (size_t)vsnprintf(s->text + s->used, TEXT_MAX - s->used, format, ap);
	va_end(ap);
	put(s, "\n");
}

static uint64_t field_sum(const struct story *s, const struct sm_field *f, const void *self)
{
	uint64_t sum = 0;

	if (f->type == SM_T_blob)
		return world_blob_len(s->world, (sm_blob)codec_field(f, self, 0));
	for (unsigned n = 0; n < f->count; n++)
		sum += codec_field(f, self, n);
	return sum;
}

void story_fields(struct story *s, uint16_t kind, uint16_t index)
{
	const struct sm_desc *d = machines[kind];
	const struct sm_head *h = world_at(s->world, kind, index);

	put(s, "    %s[%u]:", d->name, index);
	if (!h) {
		put(s, " gone\n");
		return;
	}
	put(s, " %s", state_name(d, h->state));
	for (unsigned i = 0; i < d->n_fields; i++) {
		uint64_t sum = d->fields[i].since > 1 ? 0 : field_sum(s, &d->fields[i], h);

		if (sum) {
			put(s, " %s=", d->fields[i].name);
			put_number(s, sum);
		}
	}
	put(s, "\n");
}

void story_anew(struct story *s)
{
	world_reset(s->world, 0);
	machines_spawn_fixed(s->world);
	s->seq = s->time_ns = 0;
}

/* A packet of a storage channel. */
static void put_vstor(struct story *s, const uint8_t *p)
{
	put(s, "    = op %u status %#x scsi %02x srb %02x moved %u", get_le32(p),
	    get_le32(p + VSTOR_AT_STATUS), p[VSTOR_AT_SCSI_STATUS], p[VSTOR_AT_SRB_STATUS],
	    get_le32(p + VSTOR_AT_TRANSFER));
	if (p[VSTOR_AT_SCSI_STATUS] == SCSI_CHECK_CONDITION)
		put(s, " sense %x/%02x/%02x", p[VSTOR_AT_SENSE + 2], p[VSTOR_AT_SENSE + 12],
		    p[VSTOR_AT_SENSE + 13]);
	put(s, "\n");
}

void story_brief(struct story *s)
{
	struct effect e;
	uint32_t at = 0, n = 0;
	bool bad;

	while (effect_next(&s->registry, s->turn.effects, s->turn.bytes, s->seq, &at, &n, &e,
			   &bad)) {
		if (e.head.code == EFFECT_RING_CONSUMED)
			continue;
		if (e.head.code == EFFECT_RING_SEND) {
			put_vstor(s, e.tail + RING_DESCRIPTOR);
			continue;
		}
		put(s, "    ! %s", effects[e.head.code].name);
		put_record(s, effects[e.head.code].rec, e.p, e.tail, e.tail_len);
	}
	cr_assert_not(bad);
}

/* ---- turns ------------------------------------------------------------ */

static void save_and_restore(struct story *s)
{
	char why[CODEC_WHY] = "";
	struct world *restored = s->spare;
	size_t len, again;

	cr_assert_eq(codec_pack(s->world, s->packed, PACKED_MAX, &len), 0);
	world_reset(restored, 0xa5);
	cr_assert_eq(codec_unpack(restored, s->packed, len, why), 0, "turn %" PRIu64 ": %s", s->seq,
		     why);
	cr_assert_eq(codec_pack(restored, s->packed + PACKED_MAX, PACKED_MAX, &again), 0);
	cr_assert(len == again && memcmp(s->packed, s->packed + PACKED_MAX, len) == 0,
		  "turn %" PRIu64 ": restored, it is not the same", s->seq);
	s->spare = s->world;
	s->world = restored;
}

static void put_effects(struct story *s)
{
	struct effect e;
	uint32_t at = 0, n = 0;
	bool bad;

	while (effect_next(&s->registry, s->turn.effects, s->turn.bytes, s->seq, &at, &n, &e,
			   &bad)) {
		const struct effect_desc *d = &effects[e.head.code];

		put(s, "    ! %s", d->name);
		put_record(s, d->rec, e.p, e.tail, e.tail_len);
	}
	cr_assert_not(bad);
}

void story_raise(struct story *s, uint16_t kind, uint16_t index, uint16_t code, const void *fixed,
		 size_t fixed_len, const void *tail, size_t len)
{
	static uint8_t payload[LIMIT_PAYLOAD];
	const struct sm_event_desc *e = sm_event_find(machines[kind], code);
	struct event ev = { .seq = ++s->seq, .time_ns = s->time_ns += 1000, .epoch = 1,
			    .kind = kind, .index = index, .code = code, .payload = payload,
			    .len = (uint32_t)(fixed_len + len) };

	cr_assert_eq(fixed_len, e->rec->size);
	memcpy(payload, fixed, fixed_len);
	if (len)
		memcpy(payload + fixed_len, tail, len);
	if (s->restoring && (!s->muted || s->seq % MUTED_RESTORES == 0)) {
		s->seq--;
		save_and_restore(s);
		s->seq++;
	}
	if (!s->muted) {
		put(s, "[%4" PRIu64 "] %s", s->seq, e->name);
		put_record(s, e->rec, payload, payload + fixed_len, len);
	}
	world_watch_set(s->world, on_step, s);
	s->steps = 0;
	s->turn = world_turn(s->world, &ev);
	flush_step(s);
	if (!s->muted)
		put_effects(s);
}

void story_mute(struct story *s, bool muted)
{
	s->muted = muted;
}

const struct world *story_world(const struct story *s)
{
	return s->world;
}

uint64_t story_seq(const struct story *s)
{
	return s->seq;
}

struct turn story_turn(const struct story *s)
{
	return s->turn;
}

unsigned story_steps(const struct story *s)
{
	return s->steps;
}

static bool find_effect(const struct story *s, uint16_t code, unsigned which, struct effect *ret)
{
	uint32_t at = 0, n = 0;
	bool bad;

	while (effect_next(&s->registry, s->turn.effects, s->turn.bytes, s->seq, &at, &n, ret,
			   &bad))
		if (ret->head.code == code && which-- == 0)
			return true;
	return false;
}

unsigned story_effects(const struct story *s, uint16_t code)
{
	struct effect e;
	unsigned n = 0;

	while (find_effect(s, code, n, &e))
		n++;
	return n;
}

struct effect story_effect(const struct story *s, uint16_t code, unsigned n)
{
	struct effect e = { 0 };

	cr_assert(find_effect(s, code, n, &e), "turn %" PRIu64 " has no %s", s->seq,
		  effects[code].name);
	return e;
}

/* Each question in a world of its own. */
void story_table(struct story *s, uint16_t kind, const struct story_reach *r, size_t states,
		 const struct story_happening *h, size_t happenings)
{
	for (size_t i = 0; i < states; i++)
		for (size_t n = 0; n < happenings; n++) {
			const struct sm_head *self;

			story_anew(s);
			story_mute(s, true);
			if (r[i].go)
				r[i].go(s);
			self = world_at(story_world(s), kind, 0);
			cr_assert_eq(self->state, r[i].state, "%s, not %s",
				     sm_state_find(machines[kind], self->state)->name,
				     sm_state_find(machines[kind], r[i].state)->name);
			story_mute(s, false);
			story_say(s, "%s: %s", sm_state_find(machines[kind], r[i].state)->name,
				  h[n].what);
			h[n].raise(s);
			story_fields(s, kind, 0);
		}
}

/* ---- telling and comparing -------------------------------------------- */

static char *told(story_teller *tell, bool restoring)
{
	struct story s = { .restoring = restoring, .text = calloc(1, TEXT_MAX),
			   .packed = malloc(2 * PACKED_MAX) };

	s.registry = (struct registry){ .machines = machines, .effects = effects,
					.n_effects = EFFECT_CODES, .max_level = 2 };
	s.world = world_new(&s.registry);
	s.spare = world_new(&s.registry);
	cr_assert(s.text && s.packed && s.world && s.spare);
	machines_spawn_fixed(s.world);
	tell(&s);
	world_free(s.world);
	world_free(s.spare);
	free(s.packed);
	return s.text;
}

static void compare_with_file(const char *name, const char *text)
{
	char path[512], *golden = calloc(1, TEXT_MAX);
	size_t line = 1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.txt", STORIES, name);
	if (getenv("HOLDFAST_WRITE_STORIES")) {
		f = fopen(path, "w");
		cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
	}
	f = fopen(path, "r");
	cr_assert(f && golden, "no golden story %s", path);
	golden[fread(golden, 1, TEXT_MAX - 1, f)] = 0;
	fclose(f);
	for (size_t i = 0;; i++) {
		if (text[i] != golden[i]) {
			const char *got = text + i, *want = golden + i;

			while (got > text && got[-1] != '\n')
				got--, want--;
			cr_assert(false, "%s:%zu\n  told:     %.*s\n  expected: %.*s", path, line,
				  (int)strcspn(got, "\n"), got, (int)strcspn(want, "\n"), want);
		}
		if (!text[i])
			break;
		line += text[i] == '\n';
	}
	free(golden);
}

/* Variant b answers one thing otherwise: the revision in an INQUIRY. */
static void mask_variant(char *text)
{
	static const char b[] = "30303032";

	for (char *at = text; HOLDFAST_VARIANT_B && (at = strstr(at, b)); at++)
		at[sizeof(b) - 2] = '1';
}

void story_check_once(const char *name, story_teller *tell)
{
	char *straight = told(tell, false);

	mask_variant(straight);
	compare_with_file(name, straight);
	free(straight);
}

void story_check(const char *name, story_teller *tell)
{
	char *straight = told(tell, false), *restored = told(tell, true);

	cr_assert_str_eq(straight, restored, "%s: restored at each turn, it reads otherwise", name);
	free(straight);
	free(restored);
	story_check_once(name, tell);
}
