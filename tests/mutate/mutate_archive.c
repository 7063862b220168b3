/* tests/mutate/mutate_archive.c - an archive with one byte changed.
 *
 *   mutate_archive FROM TO SEED N
 * Copies FROM/data.mdb to the directory TO, with mutation N of that seed in it, and
 * tells on one line what it is. Half of them (N even) change a byte of the file as it
 * is; the others a byte of what lies in it (a record, a checkpoint, a row), and make
 * all that is told of it fit again: the chain of every record behind it, as far as
 * lengths still lead, the chain values of segments and checkpoints, and what the log
 * tells of a checkpoint's length and hash. */
#include "persist/archive_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MOST = 1 << 16, MAP_BYTES = 1 << 30, FIRST_PAGES = 64 << 10 };

struct place {
	uint64_t number, key;
	size_t len;
};

struct chunks {
	struct place at[MOST];
	size_t n, bytes;
};

struct mutation {
	uint64_t seed, n, draws;
	MDB_txn *txn;
	MDB_dbi meta, segments, checkpoints;
	struct chunks chunks;
};

static struct mutation m;

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "mutate_archive: %s: %s\n", what, rc ? mdb_strerror(rc) : "cannot");
	exit(2);
}

static uint64_t below(uint64_t n)
{
	uint64_t draw[3] = { m.seed, m.n, ++m.draws };

	return n ? XXH64(draw, sizeof(draw), 7) % n : 0;
}

/* ---- the file --------------------------------------------------------------------- */

static uint8_t *read_file(const char *dir, size_t *ret_len)
{
	char path[4096];
	uint8_t *bytes;
	FILE *f;
	long end;

	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	f = fopen(path, "re");
	if (!f || fseek(f, 0, SEEK_END) || (end = ftell(f)) < FIRST_PAGES || fseek(f, 0, SEEK_SET))
		die(path, 0);
	bytes = malloc((size_t)end);
	if (!bytes || fread(bytes, 1, (size_t)end, f) != (size_t)end || fclose(f))
		die(path, 0);
	*ret_len = (size_t)end;
	return bytes;
}

static void write_file(const char *dir, const uint8_t *bytes, size_t len)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	remove(path);
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	f = fopen(path, "we");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f))
		die(path, 0);
}

static void change(uint8_t *byte, const char *what, uint64_t where)
{
	uint8_t was = *byte;

	*byte ^= (uint8_t)(1 + below(255));
	printf("%s %" PRIu64 " was %02x, is %02x, %s\n", what, where, was, *byte,
	       m.n % 2 ? "repaired" : "as it is");
}

/* ---- what lies in it ---------------------------------------------------------------- */

static MDB_dbi open_segment(uint64_t number)
{
	char name[24];
	MDB_dbi dbi;
	int rc;

	store_segment_name(number, name);
	rc = mdb_dbi_open(m.txn, name, MDB_INTEGERKEY, &dbi);
	if (rc)
		die(name, rc);
	return dbi;
}

static void list_chunks(uint64_t number)
{
	MDB_cursor *cursor;
	MDB_val key, value;

	if (mdb_cursor_open(m.txn, open_segment(number), &cursor))
		die("a cursor", 0);
	while (m.chunks.n < MOST && mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		struct place *p = &m.chunks.at[m.chunks.n++];

		p->number = number;
		memcpy(&p->key, key.mv_data, sizeof(p->key));
		p->len = value.mv_size;
		m.chunks.bytes += p->len;
	}
	mdb_cursor_close(cursor);
}

static void list_segments(void)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t number;

	if (mdb_cursor_open(m.txn, m.segments, &cursor))
		die("a cursor", 0);
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		memcpy(&number, key.mv_data, sizeof(number));
		list_chunks(number);
	}
	mdb_cursor_close(cursor);
}

/* A copy of what lies there, to be changed and put back. */
static uint8_t *take(MDB_dbi dbi, MDB_val key, size_t *ret_len)
{
	MDB_val value;
	uint8_t *copy;

	if (mdb_get(m.txn, dbi, &key, &value))
		return NULL;
	copy = malloc(value.mv_size);
	if (!copy)
		die("memory", 0);
	memcpy(copy, value.mv_data, value.mv_size);
	*ret_len = value.mv_size;
	return copy;
}

static void put_back(MDB_dbi dbi, MDB_val key, uint8_t *bytes, size_t len)
{
	MDB_val value = store_val(bytes, len);
	int rc = mdb_put(m.txn, dbi, &key, &value, 0);

	if (rc)
		die("what was changed cannot be put back", rc);
	free(bytes);
}

/* ---- changing a byte ------------------------------------------------------------------ */

static void change_in(MDB_dbi dbi, MDB_val key, const char *what)
{
	size_t len;
	uint8_t *bytes = take(dbi, key, &len);
	uint64_t at;

	if (!bytes || !len)
		die(what, 0);
	at = below(len);
	change(bytes + at, what, at);
	put_back(dbi, key, bytes, len);
}

static void change_record(void)
{
	uint64_t at = below(m.chunks.bytes);
	struct place *p = m.chunks.at;

	while (at >= p->len)
		at -= p++->len;
	change_in(open_segment(p->number), store_val(&p->key, sizeof(p->key)), "record");
}

/* Any value of a table with numbers as keys. */
static void change_row(MDB_dbi dbi, const char *what)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_stat s;
	uint64_t which, number = 0;

	if (mdb_stat(m.txn, dbi, &s) || !s.ms_entries || mdb_cursor_open(m.txn, dbi, &cursor)) {
		change_record();
		return;
	}
	which = below(s.ms_entries);
	for (uint64_t i = 0; i <= which && mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0; i++)
		memcpy(&number, key.mv_data, sizeof(number));
	mdb_cursor_close(cursor);
	change_in(dbi, store_val(&number, sizeof(number)), what);
}

static void change_something(void)
{
	uint64_t dice = below(100);

	if (dice < 60)
		change_record();
	else if (dice < 88)
		change_row(m.checkpoints, "checkpoint");
	else if (dice < 94)
		change_row(m.segments, "segment");
	else if (dice < 97)
		change_in(m.meta, store_val("place", 5), "place");
	else
		change_in(m.meta, store_val("header", 6), "header");
}

/* ---- making it fit --------------------------------------------------------------------- */

struct walk {
	uint64_t end, chain;     /* behind the last record, as it is now */
	uint64_t was;            /* its chain value before */
	uint64_t number;         /* of its segment; 0: none yet */
	uint32_t run;
};

/* The checkpoint at @position builds upon @chain now. What it holds is told. */
static bool fit_checkpoint(uint64_t position, uint64_t chain, struct log_checkpoint *told)
{
	MDB_val key = store_val(&position, sizeof(position));
	struct store_checkpoint head;
	size_t len;
	uint8_t *bytes = take(m.checkpoints, key, &len);
	XXH128_hash_t hash;

	if (!bytes || len < sizeof(head)) {
		free(bytes);
		return false;
	}
	memcpy(&head, bytes, sizeof(head));
	head.chain = chain;
	memcpy(bytes, &head, sizeof(head));
	hash = XXH3_128bits(bytes + sizeof(head), len - sizeof(head));
	told->bytes = len - sizeof(head);
	told->hash[0] = hash.low64;
	told->hash[1] = hash.high64;
	put_back(m.checkpoints, key, bytes, len);
	return true;
}

static void fit_told(struct store_entry *e, uint8_t *payload, const struct walk *w)
{
	struct log_checkpoint told;

	if (e->h.type != LOG_CHECKPOINT || e->h.len < sizeof(told))
		return;
	memcpy(&told, payload, sizeof(told));
	if (told.position == w->end && fit_checkpoint(told.position, w->chain, &told))
		memcpy(payload, &told, sizeof(told));
}

static void fit_entry(uint8_t *at, struct store_entry *e, struct walk *w)
{
	uint8_t *payload = at + sizeof(*e);
	uint64_t was = e->h.chain;

	fit_told(e, payload, w);
	e->h.chain = log_chain(&e->h, payload,
			       store_chain_before(e->position, w->end, w->chain, e->h.lane));
	memcpy(at, e, sizeof(*e));
	w->end = e->position + log_cost(e->h.len);
	w->chain = e->h.chain;
	w->was = was;
}

static void fit_chunk(const struct place *p, struct walk *w)
{
	MDB_val key = store_val(&p->key, sizeof(p->key));
	MDB_dbi dbi = open_segment(p->number);
	size_t len, at = 0;
	uint8_t *bytes = take(dbi, key, &len);

	while (bytes && len - at >= sizeof(struct store_entry)) {
		struct store_entry e;
		size_t total;

		memcpy(&e, bytes + at, sizeof(e));
		total = sizeof(e) + (((size_t)e.h.len + 7) & ~(size_t)7);
		if (total > len - at)
			break;
		fit_entry(bytes + at, &e, w);
		at += total;
	}
	if (bytes)
		put_back(dbi, key, bytes, len);
}

/* A segment goes on where the one before ended, or stands behind a hole: then its row
 * tells what its first record builds upon. */
static void fit_segment(uint64_t number, struct walk *w)
{
	MDB_val key = store_val(&number, sizeof(number));
	struct store_segment s;
	size_t len;
	uint8_t *row = take(m.segments, key, &len);

	if (!row || len != sizeof(s))
		die("a segment's row", 0);
	memcpy(&s, row, sizeof(s));
	if (w->number == 0 || s.run != w->run || s.chain_before != w->was) {
		w->chain = s.chain_before;
		w->end = w->number ? s.first_position : 0;
	}
	s.chain_before = w->chain;
	w->number = number;
	w->run = s.run;
	memcpy(row, &s, sizeof(s));
	put_back(m.segments, key, row, len);
}

static void fit_all(void)
{
	struct walk w = { 0 };

	for (size_t i = 0; i < m.chunks.n; i++) {
		if (m.chunks.at[i].number != w.number)
			fit_segment(m.chunks.at[i].number, &w);
		fit_chunk(&m.chunks.at[i], &w);
	}
}

static void mutate_inside(const char *dir)
{
	MDB_env *env;
	int rc = mdb_env_create(&env);

	if (!rc)
		rc = mdb_env_set_mapsize(env, MAP_BYTES);
	if (!rc)
		rc = mdb_env_set_maxdbs(env, MOST);
	if (!rc)
		rc = mdb_env_open(env, dir, MDB_NOSYNC, 0600);
	if (!rc)
		rc = mdb_txn_begin(env, NULL, 0, &m.txn);
	if (!rc)
		rc = mdb_dbi_open(m.txn, "meta", 0, &m.meta);
	if (!rc)
		rc = mdb_dbi_open(m.txn, "segments", MDB_INTEGERKEY, &m.segments);
	if (!rc)
		rc = mdb_dbi_open(m.txn, "checkpoints", MDB_INTEGERKEY, &m.checkpoints);
	if (rc)
		die(dir, rc);
	list_segments();
	change_something();
	fit_all();
	rc = mdb_txn_commit(m.txn);
	if (rc)
		die(dir, rc);
	mdb_env_close(env);
}

int main(int argc, char **argv)
{
	uint8_t *bytes;
	size_t len;

	if (argc != 5) {
		fprintf(stderr, "usage: mutate_archive FROM TO SEED N (FROM: an archive)\n");
		return 2;
	}
	m.seed = strtoull(argv[3], NULL, 10);
	m.n = strtoull(argv[4], NULL, 10);
	bytes = read_file(argv[1], &len);
	if (m.n % 2 == 0) {
		uint64_t at = below(below(3) ? len : FIRST_PAGES);

		change(bytes + at, "byte", at);
	}
	write_file(argv[2], bytes, len);
	if (m.n % 2)
		mutate_inside(argv[2]);
	free(bytes);
	return 0;
}
