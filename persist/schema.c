/* The schema text, and the rules that keep builds able to read each other.
 *
 * The check knows nothing of descriptors: it compares two texts, line by line.
 * A line's key (what must never name two things) is its leading words; the
 * rest is the attributes, which may not change. */
#include "persist/schema.h"

#include "engine/fact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { RECORDS = 512, LINE = 256 };

/* ---- text ----------------------------------------------------------------------- */

struct records {
	const struct rec_desc *at[RECORDS];
	unsigned n;
};

/* Inserts by name, once. */
static void add_record(struct records *s, const struct rec_desc *d)
{
	unsigned i = 0;

	while (i < s->n && strcmp(s->at[i]->name, d->name) < 0)
		i++;
	if (i < s->n && strcmp(s->at[i]->name, d->name) == 0)
		return;
	fact(s->n < RECORDS);
	memmove(&s->at[i + 1], &s->at[i], (s->n - i) * sizeof(*s->at));
	s->at[i] = d;
	s->n++;
}

static void text_records(const struct registry *r, FILE *out)
{
	static const char *const tails[] = { "none", "bytes", "opaque", "u64s" };
	static const char *const types[] = { "u8", "u16", "u32", "u64" };
	struct records s = { .n = 0 };

	for (unsigned i = 0; i < r->n_effects; i++) {
		if (r->effects[i].name)
			add_record(&s, r->effects[i].rec);
	}
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		for (unsigned i = 0; r->machines[k] && i < r->machines[k]->n_events; i++)
			add_record(&s, r->machines[k]->events[i].rec);
	}
	for (unsigned i = 0; i < s.n; i++) {
		const struct rec_desc *d = s.at[i];

		fprintf(out, "record %s %u %s\n", d->name, d->size, tails[d->tail]);
		for (unsigned f = 0; f < d->n_fields; f++)
			fprintf(out, "word %s %u %s[%u] %s\n", d->name, d->fields[f].offset,
				types[d->fields[f].type], d->fields[f].count, d->fields[f].name);
	}
}

static void text_effects(const struct registry *r, FILE *out)
{
	static const char *const follow[] = { "swallow", "mirror" };

	for (unsigned i = 0; i < r->n_effects; i++) {
		const struct effect_desc *e = &r->effects[i];

		if (e->name)
			fprintf(out, "effect %u %s %u %s %s\n", e->code, e->name, e->since,
				follow[e->follow], e->rec->name);
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

static void text_fields(const struct sm_desc *d, FILE *out)
{
	static const char *const types[] = { "bool", "u8", "u16", "u32", "u64", "blob" };

	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];

		fprintf(out, "field %s %u %s %u %s[%u] %" PRIu64 "\n", d->name, f->id, f->name,
			f->since, types[f->type], f->count, f->absent);
	}
	for (unsigned i = 0; i < d->n_retired; i++)
		fprintf(out, "retired %s %u\n", d->name, d->retired[i]);
}

static void text_machine(const struct sm_desc *d, FILE *out)
{
	static const char *const policies[] = { "ignore", "reject", "defer", "bug" };
	static const char *const origins[] = { "guest", "host", "operator", "self" };

	fprintf(out, "machine %u %s %u\n", d->kind, d->name, d->capacity);
	for (unsigned i = 0; i < d->n_states; i++)
		fprintf(out, "state %s %u %s %u %s\n", d->name, d->states[i].code,
			d->states[i].name, d->states[i].since, policies[d->states[i].otherwise]);
	for (unsigned i = 0; i < d->n_events; i++)
		fprintf(out, "event %s %u %s %u %s %s\n", d->name, d->events[i].code,
			d->events[i].name, d->events[i].since, origins[d->events[i].origin],
			d->events[i].rec->name);
	text_fields(d, out);
	for (unsigned i = 0; i < d->n_rows; i++) {
		const struct sm_row *w = &d->rows[i];

		fprintf(out, "row %s %u %s %s %s %s %s\n", d->name, w->since,
			state_name(d, w->from), event_name(d, w->on), w->guard_name, w->act_name,
			state_name(d, w->to));
	}
}

int schema_text(const struct registry *r, FILE *out)
{
	fprintf(out, "level %u\n", r->max_level);
	text_records(r, out);
	text_effects(r, out);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (r->machines[k])
			text_machine(r->machines[k], out);
	}
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}

/* The text in memory; the caller frees it. NULL: no memory. */
static char *text_new(const struct registry *r, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (!out)
		return NULL;
	if (schema_text(r, out) < 0) {
		fclose(out);
		free(text);
		return NULL;
	}
	fclose(out);
	return text;
}

uint64_t schema_hash(const struct registry *r)
{
	size_t len;
	char *text = text_new(r, &len);
	uint64_t hash = 0;

	if (text)
		hash = XXH3_64bits(text, len);
	free(text);
	return hash;
}

uint64_t schema_hash_once(const struct registry *r)
{
	static atomic_flag claimed = ATOMIC_FLAG_INIT;
	static _Atomic(const struct registry *) known;
	static uint64_t hash;
	uint64_t mine;

	if (atomic_load_explicit(&known, memory_order_acquire) == r)
		return hash;
	mine = schema_hash(r);
	if (!atomic_flag_test_and_set(&claimed)) {
		hash = mine;
		atomic_store_explicit(&known, r, memory_order_release);
	}
	return mine;
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
	size_t len;
	char *present;
	int e;

	if (!next_line(&first, line) || strncmp(line, "level ", 6) != 0) {
		snprintf(why, SCHEMA_WHY, "the golden text does not begin with its level");
		return SCHEMA_E_BROKEN;
	}
	present = text_new(r, &len);
	if (!present)
		return -ENOMEM;
	e = check_retired(golden, present, why);
	if (e == 0)
		e = check_kept(golden, present, why);
	if (e == 0)
		e = check_order(golden, present, why);
	if (e == 0)
		e = check_new(golden, present, word_number(line, 2), why);
	free(present);
	return e;
}
