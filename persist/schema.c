/* The schema text, and the rules that keep builds able to read each other.
 *
 * The check knows nothing of descriptors: it compares two texts, line by line.
 * A line's key (what must never name two things) is its leading words; the
 * rest is the attributes, which may not change. */
#include "persist/schema.h"

#include "engine/fact.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { RECORDS = 512, LINE = 256, KNOWN = 4 };

/* ---- text ----------------------------------------------------------------------- */

/* Every process makes the text once, to hash it: no printf, which takes a
 * millisecond for it, and no memory that could be refused. */
struct text {
	size_t len;
	char p[LIMIT_SCHEMA];
};

static void add(struct text *t, const char *bytes, size_t n)
{
	fact(n <= sizeof(t->p) - t->len);
	memcpy(t->p + t->len, bytes, n);
	t->len += n;
}

static void add_string(struct text *t, const char *s)
{
	add(t, s, strlen(s));
}

static void add_number(struct text *t, uint64_t n)
{
	char digits[20];
	unsigned at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	add(t, digits + at, sizeof(digits) - at);
}

static void word(struct text *t, const char *s)
{
	add_string(t, s);
	add(t, " ", 1);
}

static void number(struct text *t, uint64_t n)
{
	add_number(t, n);
	add(t, " ", 1);
}

/* TYPE[COUNT] */
static void type(struct text *t, const char *name, unsigned count)
{
	add_string(t, name);
	add(t, "[", 1);
	add_number(t, count);
	add(t, "] ", 2);
}

/* The blank behind the last word. */
static void end_line(struct text *t)
{
	t->p[t->len - 1] = '\n';
}

struct records {
	const struct rec_desc *at[RECORDS];
	unsigned n;
};

/* Inserts by name, once. */
static void add_record(struct records *s, const struct rec_desc *d)
{
	unsigned from = 0, to = s->n;

	while (from < to) {
		unsigned middle = (from + to) / 2;
		int order = s->at[middle] == d ? 0 : strcmp(s->at[middle]->name, d->name);

		if (order == 0)
			return;
		if (order < 0)
			from = middle + 1;
		else
			to = middle;
	}
	fact(s->n < RECORDS);
	memmove(&s->at[from + 1], &s->at[from], (s->n - from) * sizeof(*s->at));
	s->at[from] = d;
	s->n++;
}

static void text_record(struct text *t, const struct rec_desc *d)
{
	static const char *const tails[] = { "none", "bytes", "opaque", "u64s" };
	static const char *const types[] = { "u8", "u16", "u32", "u64" };

	word(t, "record");
	word(t, d->name);
	number(t, d->size);
	word(t, tails[d->tail]);
	end_line(t);
	for (unsigned f = 0; f < d->n_fields; f++) {
		word(t, "word");
		word(t, d->name);
		number(t, d->fields[f].offset);
		type(t, types[d->fields[f].type], d->fields[f].count);
		word(t, d->fields[f].name);
		end_line(t);
	}
}

static void text_records(const struct registry *r, struct text *t)
{
	struct records s = { .n = 0 };

	for (unsigned i = 0; i < r->n_effects; i++) {
		if (r->effects[i].name)
			add_record(&s, r->effects[i].rec);
	}
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		for (unsigned i = 0; r->machines[k] && i < r->machines[k]->n_events; i++)
			add_record(&s, r->machines[k]->events[i].rec);
	}
	for (unsigned i = 0; i < s.n; i++)
		text_record(t, s.at[i]);
}

static void text_effects(const struct registry *r, struct text *t)
{
	static const char *const follow[] = { "swallow", "mirror" };

	for (unsigned i = 0; i < r->n_effects; i++) {
		const struct effect_desc *e = &r->effects[i];

		if (!e->name)
			continue;
		word(t, "effect");
		number(t, e->code);
		word(t, e->name);
		number(t, e->since);
		word(t, follow[e->follow]);
		word(t, e->rec->name);
		end_line(t);
	}
}

static const char *state_name(const struct sm_desc *d, uint16_t code)
{
	const struct sm_state *s = sm_state_find(d, code);

	return s ? s->name : "?";
}

static const char *event_name(const struct sm_desc *d, uint16_t code)
{
	const struct sm_event_desc *e = sm_event_find(d, code);

	return e ? e->name : "?";
}

/* What lines of states, events and fields begin with. */
static void numbered(struct text *t, const char *sort, const struct sm_desc *d, unsigned code,
		     const char *name, unsigned since)
{
	word(t, sort);
	word(t, d->name);
	number(t, code);
	word(t, name);
	number(t, since);
}

static void text_fields(const struct sm_desc *d, struct text *t)
{
	static const char *const types[] = { "bool", "u8", "u16", "u32", "u64", "blob" };

	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];

		numbered(t, "field", d, f->id, f->name, f->since);
		type(t, types[f->type], f->count);
		number(t, f->absent);
		end_line(t);
	}
	for (unsigned i = 0; i < d->n_retired; i++) {
		word(t, "retired");
		word(t, d->name);
		number(t, d->retired[i]);
		end_line(t);
	}
}

static void text_rows(const struct sm_desc *d, struct text *t)
{
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *w = &d->rows[i];

		word(t, "row");
		word(t, d->name);
		number(t, w->since);
		word(t, state_name(d, w->from));
		word(t, event_name(d, w->on));
		word(t, w->guard_name);
		word(t, w->act_name);
		word(t, state_name(d, w->to));
		end_line(t);
	}
}

static void text_machine(const struct sm_desc *d, struct text *t)
{
	static const char *const policies[] = { "ignore", "reject", "defer", "bug" };
	static const char *const origins[] = { "guest", "host", "operator", "self" };

	word(t, "machine");
	number(t, d->kind);
	word(t, d->name);
	number(t, d->capacity);
	end_line(t);
	for (unsigned i = 0; i < d->n_states; i++) {
		const struct sm_state *s = &d->states[i];

		numbered(t, "state", d, s->code, s->name, s->since);
		word(t, policies[s->otherwise]);
		end_line(t);
	}
	for (unsigned i = 0; i < d->n_events; i++) {
		const struct sm_event_desc *e = &d->events[i];

		numbered(t, "event", d, e->code, e->name, e->since);
		word(t, origins[e->origin]);
		word(t, e->rec->name);
		end_line(t);
	}
	text_fields(d, t);
	text_rows(d, t);
}

static void text_of(const struct registry *r, struct text *t)
{
	t->len = 0;
	word(t, "level");
	number(t, r->max_level);
	end_line(t);
	text_records(r, t);
	text_effects(r, t);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (r->machines[k])
			text_machine(r->machines[k], t);
	}
}

int schema_text(const struct registry *r, FILE *out)
{
	struct text t;

	text_of(r, &t);
	fwrite(t.p, 1, t.len, out);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}

uint64_t schema_hash(const struct registry *r)
{
	struct text t;

	text_of(r, &t);
	return XXH3_64bits(t.p, t.len);
}

uint64_t schema_hash_once(const struct registry *r)
{
	static struct { _Atomic(const struct registry *) of; uint64_t hash; } known[KNOWN];
	static atomic_uint claimed;
	uint64_t hash;
	unsigned i;

	for (i = 0; i < KNOWN; i++)
		if (atomic_load_explicit(&known[i].of, memory_order_acquire) == r)
			return known[i].hash;
	hash = schema_hash(r);
	i = atomic_load(&claimed) < KNOWN ? atomic_fetch_add(&claimed, 1) : KNOWN;
	if (i < KNOWN) {
		known[i].hash = hash;
		atomic_store_explicit(&known[i].of, r, memory_order_release);
	}
	return hash;
}

/* ---- check ----------------------------------------------------------------------- */

/* What a line of each sort consists of: words of the key, and which word is
 * `since` (0: none). A row has no key but the whole of it. */
struct sort {
	const char *word;
	unsigned key, since;
	const char *identity;
};
static const struct sort sorts[] = {
	{ "record", 2, 0, "a record" },
	{ "word", 3, 0, "a word of a record" },
	{ "effect", 2, 4, "the code of an effect" },
	{ "machine", 2, 0, "the kind of a machine" },
	{ "state", 3, 5, "the code of a state" },
	{ "event", 3, 5, "the code of an event" },
	{ "field", 3, 5, "the id of a field" },
	{ "retired", 3, 0, "a retired id" },
	{ "row", 8, 3, "a row" },
};

/* One line, without its end; NULL at the end of the text. */
static const char *next_line(const char **text, char line[LINE])
{
	size_t n = strcspn(*text, "\n"), copy = n < LINE - 1 ? n : LINE - 1;

	if (n == 0 && **text == '\0')
		return NULL;
	memcpy(line, *text, copy);
	line[copy] = '\0';
	*text += n + ((*text)[n] == '\n');
	return line;
}

/* Length of the first @n words. */
static size_t words(const char *line, unsigned n)
{
	size_t at = 0;

	while (line[at] != '\0') {
		at += strcspn(line + at, " ");
		if (--n == 0 || line[at] == '\0')
			break;
		at++;
	}
	return at;
}

static unsigned word_number(const char *line, unsigned n)
{
	return (unsigned)strtoul(line + words(line, n - 1), NULL, 10);
}

static const struct sort *sort_of(const char *line)
{
	size_t n = words(line, 1);

	for (unsigned i = 0; i < ARRAY_LEN(sorts); i++) {
		if (strlen(sorts[i].word) == n && strncmp(line, sorts[i].word, n) == 0)
			return &sorts[i];
	}
	return NULL;
}

/* Finds the line whose first @n characters are those of @key. */
static bool find(const char *text, const char *key, size_t n, char line[LINE])
{
	while (next_line(&text, line)) {
		if (strncmp(line, key, n) == 0 && (line[n] == ' ' || line[n] == '\0'))
			return true;
	}
	return false;
}

static bool has_become_retired(const char *present, const char *golden)
{
	char key[LINE], line[LINE];
	size_t n = words(golden, 3);

	if (strncmp(golden, "field ", 6) != 0)
		return false;
	snprintf(key, sizeof(key), "retired%.*s", (int)(n - 5), golden + 5);
	return find(present, key, strlen(key), line);
}

/* A record may grow at its end; nothing else of it may change. */
static bool record_has_grown(const char *golden, const char *present)
{
	size_t two = words(golden, 2), three = words(golden, 3), now = words(present, 3);

	return strncmp(golden, "record ", 7) == 0 && strcmp(golden + three, present + now) == 0 &&
	       strtoul(present + two, NULL, 10) >= strtoul(golden + two, NULL, 10);
}

/* Is what was published still there? */
static int check_kept(const char *golden, const char *present, char *why)
{
	char old[LINE], now[LINE];

	while (next_line(&golden, old)) {
		const struct sort *s = sort_of(old);
		size_t n;

		if (!s)
			continue;
		n = words(old, s->key);
		if (find(present, old, n, now)) {
			if (strcmp(old, now) == 0 || record_has_grown(old, now))
				continue;
			snprintf(why, SCHEMA_WHY, "%s was given to something else: published "
				 "\"%.80s\", now \"%.80s\"", s->identity, old, now);
			return SCHEMA_E_BROKEN;
		}
		if (has_become_retired(present, old))
			continue;
		snprintf(why, SCHEMA_WHY, "\"%.100s\" was dropped%s", old,
			 strcmp(s->word, "field") == 0 ? " without SM_RETIRED" : "");
		return SCHEMA_E_BROKEN;
	}
	return 0;
}

/* Rows are tried in order: those that were published keep theirs. */
static int check_order(const char *golden, const char *present, char *why)
{
	char old[LINE], now[LINE];

	while (next_line(&golden, old)) {
		bool found = false;

		if (strncmp(old, "row ", 4) != 0)
			continue;
		while (!found && next_line(&present, now))
			found = strcmp(old, now) == 0;
		if (found)
			continue;
		snprintf(why, SCHEMA_WHY, "\"%.100s\" was moved: rows are tried in order", old);
		return SCHEMA_E_BROKEN;
	}
	return 0;
}

/* Does what is new say that it is new? */
static int check_new(const char *golden, const char *present, unsigned level, char *why)
{
	char now[LINE], old[LINE];

	while (next_line(&present, now)) {
		const struct sort *s = sort_of(now);
		size_t n;

		if (!s || s->since == 0)
			continue;
		n = words(now, s->key);
		if (find(golden, now, n, old) || word_number(now, s->since) > level)
			continue;
		snprintf(why, SCHEMA_WHY, "\"%.100s\" is new but has level %u; level %u was "
			 "published without it", now, word_number(now, s->since), level);
		return SCHEMA_E_BROKEN;
	}
	return 0;
}

/* A retired id stays retired: it may not be a field again. */
static int check_retired(const char *golden, const char *present, char *why)
{
	char old[LINE], key[LINE], now[LINE];

	while (next_line(&golden, old)) {
		if (strncmp(old, "retired ", 8) != 0)
			continue;
		snprintf(key, sizeof(key), "field %.240s", old + 8);
		if (!find(present, key, strlen(key), now))
			continue;
		snprintf(why, SCHEMA_WHY, "\"%.100s\" uses the id of a retired field", now);
		return SCHEMA_E_BROKEN;
	}
	return 0;
}

int schema_check(const char *golden, const struct registry *r, char *why)
{
	char line[LINE];
	const char *first = golden;
	struct text present;
	int e;

	if (!next_line(&first, line) || strncmp(line, "level ", 6) != 0) {
		snprintf(why, SCHEMA_WHY, "the golden text does not begin with its level");
		return SCHEMA_E_BROKEN;
	}
	text_of(r, &present);
	add(&present, "", 1);
	e = check_retired(golden, present.p, why);
	if (e == 0)
		e = check_kept(golden, present.p, why);
	if (e == 0)
		e = check_order(golden, present.p, why);
	if (e == 0)
		e = check_new(golden, present.p, word_number(line, 2), why);
	return e;
}
