/* The archive's reader.
 *
 * A chunk is copied out of a short read transaction, so that a slow reader
 * never keeps pages from being used again. Between two chunks the writer may
 * drop what was to come: the reader then finds a later one and tells the gap.
 * Every record is checked against the chain. Whatever touches the file is guarded:
 * once liblmdb was led astray, all is ARCHIVE_E_DAMAGED. */
#include "persist/archive.h"

#include "persist/archive_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct archive_reader {
	MDB_env *env;
	MDB_dbi meta, segments, checkpoints;
	struct archive_header header;
	uint64_t want;                 /* first position that is asked for */
	bool sought;                   /* no chunk was read since the last seek */
	uint64_t end, chain;           /* behind the last record given */
	bool chained;                  /* end and chain are known */
	uint64_t number, key;          /* segment and key of the chunk */
	uint32_t run;
	uint8_t *chunk;
	size_t chunk_capacity, len, at;
	uint8_t *state;                /* of the last checkpoint given */
	size_t state_capacity;
	bool lost;                     /* liblmdb was led astray: it is not asked again */
};

static bool grow(uint8_t **p, size_t *capacity, size_t len)
{
	uint8_t *fresh;

	if (len <= *capacity)
		return true;
	fresh = realloc(*p, len);
	if (!fresh)
		return false;
	*p = fresh;
	*capacity = len;
	return true;
}

static int open_tables(struct archive_reader *r, MDB_txn *txn, char *why)
{
	MDB_val key = store_val("header", 6), value;
	int rc = mdb_dbi_open(txn, "meta", 0, &r->meta);

	if (!rc)
		rc = mdb_dbi_open(txn, "segments", MDB_INTEGERKEY, &r->segments);
	if (!rc)
		rc = mdb_dbi_open(txn, "checkpoints", MDB_INTEGERKEY, &r->checkpoints);
	if (!rc)
		rc = mdb_get(txn, r->meta, &key, &value);
	if (rc == MDB_NOTFOUND) {
		snprintf(why, ARCHIVE_WHY, "is no archive of holdfast");
		return ARCHIVE_E_REFUSED;
	}
	if (rc)
		return store_error(rc, "cannot read the archive", why);
	return store_header_check(&value, &r->header, why);
}

static int open_env(struct archive_reader *r, const char *dir, char *why)
{
	int rc = store_env_create(&r->env);

	if (!rc)
		rc = mdb_env_set_maxdbs(r->env, STORE_DBS);
	if (!rc)
		rc = mdb_env_set_maxreaders(r->env, STORE_READERS);
	if (!rc)
		rc = mdb_env_open(r->env, dir, MDB_RDONLY | MDB_NOTLS, 0600);
	if (rc == EROFS || rc == EACCES) {
		mdb_env_close(r->env);
		r->env = NULL;
		rc = store_env_create(&r->env);
		if (!rc)
			rc = mdb_env_set_maxdbs(r->env, STORE_DBS);
		if (!rc)
			rc = mdb_env_open(r->env, dir, MDB_RDONLY | MDB_NOTLS | MDB_NOLOCK, 0600);
	}
	return rc ? store_error(rc, "cannot open the archive", why) : 0;
}

/* A writer that enlarged its map must not stop readers. */
static int begin(struct archive_reader *r, MDB_txn **ret)
{
	int rc = mdb_txn_begin(r->env, NULL, MDB_RDONLY, ret);

	if (rc != MDB_MAP_RESIZED)
		return rc;
	rc = mdb_env_set_mapsize(r->env, 0);
	return rc ? rc : mdb_txn_begin(r->env, NULL, MDB_RDONLY, ret);
}

static bool led_astray(struct archive_reader *r, int rc)
{
	if (rc == STORE_FAULT) {
		r->lost = true;
		r->env = NULL;
	}
	return r->lost;
}

struct opening {
	struct archive_reader *r;
	const char *dir;
	char *why;
};

static int open_all(void *user)
{
	const struct opening *o = user;
	MDB_txn *txn;
	int rc, e = open_env(o->r, o->dir, o->why);

	if (e)
		return e;
	rc = begin(o->r, &txn);
	if (rc)
		return store_error(rc, "cannot begin", o->why);
	e = open_tables(o->r, txn, o->why);
	mdb_txn_commit(txn);
	return e;
}

int archive_reader_open(const char *dir, struct archive_reader **ret, char *why)
{
	struct archive_reader *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	e = store_guarded(open_all, &(struct opening){ r, dir, why });
	if (led_astray(r, e)) {
		snprintf(why, ARCHIVE_WHY, "was cut or damaged");
		e = ARCHIVE_E_REFUSED;
	}
	if (e) {
		archive_reader_close(r);
		return e;
	}
	archive_seek(r, 0);
	*ret = r;
	return 0;
}

struct archive_reader *archive_reader_close(struct archive_reader *r)
{
	if (!r)
		return NULL;
	if (r->env)
		mdb_env_close(r->env);
	free(r->chunk);
	free(r->state);
	free(r);
	return NULL;
}

const struct archive_header *archive_reader_header(const struct archive_reader *r)
{
	return &r->header;
}

/* ---- records -------------------------------------------------------------------- */

void archive_seek(struct archive_reader *r, uint64_t position)
{
	r->want = position;
	r->chained = false;
	r->number = r->key = 0;
	r->sought = true;
	r->len = r->at = 0;
}

void archive_expect(struct archive_reader *r, const struct slot_cut *cut)
{
	archive_seek(r, cut->position);
	r->end = cut->position;
	r->chain = cut->chain;
	r->chained = true;
}

/* First segment from @number on that passes @fits; MDB_NOTFOUND: none. */
static int find_segment(struct archive_reader *r, MDB_txn *txn, uint64_t number,
			bool (*fits)(const struct store_segment *s, uint64_t what), uint64_t what,
			uint64_t *ret_number, struct store_segment *ret)
{
	MDB_cursor *cursor;
	MDB_val key = store_val(&number, sizeof(number)), value;
	int rc = mdb_cursor_open(txn, r->segments, &cursor);

	if (rc)
		return rc;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!rc) {
		if (key.mv_size != sizeof(*ret_number) || value.mv_size != sizeof(*ret)) {
			rc = MDB_CORRUPTED;
			break;
		}
		memcpy(ret_number, key.mv_data, sizeof(*ret_number));
		memcpy(ret, value.mv_data, sizeof(*ret));
		if (fits(ret, what))
			break;
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc;
}

static bool reaches_position(const struct store_segment *s, uint64_t position)
{
	return s->end_position > position;
}

static bool reaches_seq(const struct store_segment *s, uint64_t seq)
{
	return s->last_seq >= seq;
}

static bool holds_anything(const struct store_segment *s, uint64_t unused)
{
	(void)unused;
	return s->end_position > s->first_position;
}

/* Moves @cursor to the chunk to read: after a seek the last one that begins at
 * or before the wanted place, else the one behind the current one. */
static int place_cursor(const struct archive_reader *r, MDB_cursor *cursor, bool same,
			MDB_val *key, MDB_val *value)
{
	uint64_t at = r->sought ? r->want : r->key + 1;
	int rc;

	if (!r->sought && !same)
		return mdb_cursor_get(cursor, key, value, MDB_FIRST);
	*key = store_val(&at, sizeof(at));
	rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (!r->sought)
		return rc;
	if (rc == MDB_NOTFOUND)
		return mdb_cursor_get(cursor, key, value, MDB_LAST);
	if (!rc && memcmp(key->mv_data, &r->want, sizeof(r->want)) != 0 &&
	    mdb_cursor_get(cursor, key, value, MDB_PREV))
		rc = mdb_cursor_get(cursor, key, value, MDB_FIRST);
	return rc;
}

static int copy_chunk(struct archive_reader *r, MDB_txn *txn, uint64_t number)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	char name[24];
	MDB_dbi dbi;
	int rc;

	store_segment_name(number, name);
	rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY, &dbi);
	if (!rc)
		rc = mdb_cursor_open(txn, dbi, &cursor);
	if (rc)
		return rc;
	rc = place_cursor(r, cursor, number == r->number, &key, &value);
	if (!rc && value.mv_size > STORE_BUFFER)
		rc = MDB_CORRUPTED;
	if (!rc && !grow(&r->chunk, &r->chunk_capacity, value.mv_size))
		rc = ENOMEM;
	if (!rc) {
		memcpy(r->chunk, value.mv_data, value.mv_size);
		memcpy(&r->key, key.mv_data, sizeof(r->key));
		r->len = value.mv_size;
		r->at = 0;
		r->number = number;
		r->sought = false;
	}
	mdb_cursor_close(cursor);
	return rc;
}

static int fetch_in(struct archive_reader *r, MDB_txn *txn)
{
	struct store_segment s;
	uint64_t number;
	int rc = r->sought ? find_segment(r, txn, 0, reaches_position, r->want, &number, &s)
			   : find_segment(r, txn, r->number, holds_anything, 0, &number, &s);

	if (!rc)
		rc = copy_chunk(r, txn, number);
	if (rc == MDB_NOTFOUND && !r->sought && number == r->number) {
		rc = find_segment(r, txn, r->number + 1, holds_anything, 0, &number, &s);
		if (!rc)
			rc = copy_chunk(r, txn, number);
	}
	if (!rc)
		r->run = s.run;
	return rc;
}

/* The transaction is aborted, which also forgets the segment's handle. */
static int fetch_chunk(void *user)
{
	struct archive_reader *r = user;
	MDB_txn *txn;
	int rc = begin(r, &txn);

	if (!rc) {
		rc = fetch_in(r, txn);
		mdb_txn_abort(txn);
	}
	return rc;
}

/* What liblmdb says is wrong with its own file is damage. */
static int result(struct archive_reader *r, int rc)
{
	if (led_astray(r, rc))
		return ARCHIVE_E_DAMAGED;
	if (rc == MDB_NOTFOUND)
		return ARCHIVE_E_END;
	return rc > 0 ? -rc : rc < 0 ? ARCHIVE_E_DAMAGED : ARCHIVE_OK;
}

static int fetch(struct archive_reader *r)
{
	return r->lost ? ARCHIVE_E_DAMAGED : result(r, store_guarded(fetch_chunk, r));
}

/* The entry at the chunk's cursor; false: it does not fit the chunk. */
static bool entry(const struct archive_reader *r, struct store_entry *ret, size_t *ret_total)
{
	size_t left = r->len - r->at;

	if (left < sizeof(*ret))
		return false;
	memcpy(ret, r->chunk + r->at, sizeof(*ret));
	*ret_total = sizeof(*ret) + (((size_t)ret->h.len + 7) & ~(size_t)7);
	return *ret_total <= left;
}

static bool follows(const struct archive_reader *r, const struct store_entry *e,
		    const uint8_t *payload)
{
	uint64_t before = store_chain_before(e->position, r->end, r->chain, e->h.lane);

	return log_chain(&e->h, payload, before) == e->h.chain;
}

static int give(struct archive_reader *r, const struct store_entry *e, size_t total,
		struct archive_record *ret)
{
	const uint8_t *payload = r->chunk + r->at + sizeof(*e);

	if (r->chained && !follows(r, e, payload)) {
		if (e->position == r->end)
			return ARCHIVE_E_DAMAGED;
		r->chained = false;
		return ARCHIVE_E_GAP;
	}
	*ret = (struct archive_record){ .position = e->position, .h = e->h, .payload = payload,
					.run = r->run };
	r->at += total;
	r->end = e->position + log_cost(e->h.len);
	r->chain = e->h.chain;
	r->want = r->end;
	r->chained = true;
	return ARCHIVE_OK;
}

int archive_next(struct archive_reader *r, struct archive_record *ret)
{
	for (;;) {
		struct store_entry e;
		size_t total;

		if (r->at == r->len) {
			int x = fetch(r);

			if (x != ARCHIVE_OK)
				return x;
		}
		if (!entry(r, &e, &total))
			return ARCHIVE_E_DAMAGED;
		if (e.position >= r->want)
			return give(r, &e, total, ret);
		r->at += total;
	}
}

struct segment_search {
	struct archive_reader *r;
	uint64_t seq;
	struct store_segment found;
};

static int search_segment(void *user)
{
	struct segment_search *s = user;
	uint64_t number;
	MDB_txn *txn;
	int rc = begin(s->r, &txn);

	if (rc)
		return rc;
	rc = find_segment(s->r, txn, 0, reaches_seq, s->seq, &number, &s->found);
	mdb_txn_abort(txn);
	return rc;
}

int archive_seek_seq(struct archive_reader *r, uint64_t seq)
{
	struct segment_search s = { .r = r, .seq = seq };
	struct archive_record rec;
	uint64_t position = 0;
	int x;

	if (r->lost)
		return ARCHIVE_E_DAMAGED;
	x = result(r, store_guarded(search_segment, &s));
	if (x != ARCHIVE_OK)
		return x;
	archive_seek(r, s.found.first_position);
	while ((x = archive_next(r, &rec)) == ARCHIVE_OK || x == ARCHIVE_E_GAP) {
		position = rec.position;
		if (x == ARCHIVE_OK && rec.h.type == LOG_EVENT && rec.h.seq >= seq)
			break;
	}
	if (x == ARCHIVE_OK)
		archive_seek(r, position);
	return x;
}

/* ---- checkpoints ---------------------------------------------------------------- */

static int give_checkpoint(struct archive_reader *r, const MDB_val *key, const MDB_val *value,
			   struct archive_checkpoint *ret)
{
	struct store_checkpoint head;
	uint64_t position;

	if (key->mv_size != sizeof(position) || value->mv_size < sizeof(head) ||
	    value->mv_size > sizeof(head) + LIMIT_SLOT_BYTES)
		return MDB_CORRUPTED;
	memcpy(&position, key->mv_data, sizeof(position));
	memcpy(&head, value->mv_data, sizeof(head));
	if (!grow(&r->state, &r->state_capacity, value->mv_size))
		return ENOMEM;
	memcpy(r->state, (const uint8_t *)value->mv_data + sizeof(head),
	       value->mv_size - sizeof(head));
	*ret = (struct archive_checkpoint){
		.cut = { .generation = 1, .seq = head.seq, .position = position,
			 .chain = head.chain },
		.unverified = head.unverified != 0,
		.bytes = r->state, .len = value->mv_size - sizeof(head),
	};
	return 0;
}

/* First checkpoint from @position on; with @seq, the last one whose sequence
 * is at most that. */
struct checkpoint_search {
	struct archive_reader *r;
	uint64_t position;
	const uint64_t *seq;
	struct archive_checkpoint *ret;
};

static int find_checkpoint(void *user)
{
	const struct checkpoint_search *s = user;
	struct archive_reader *r = s->r;
	const uint64_t *seq = s->seq;
	uint64_t position = s->position;
	MDB_val key = store_val(&position, sizeof(position)), value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc = begin(r, &txn);

	if (rc)
		return rc;
	rc = mdb_cursor_open(txn, r->checkpoints, &cursor);
	if (!rc) {
		rc = seq ? mdb_cursor_get(cursor, &key, &value, MDB_LAST)
			 : mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		while (!rc && seq) {
			struct store_checkpoint head = { .seq = UINT64_MAX };

			if (value.mv_size >= sizeof(head))
				memcpy(&head, value.mv_data, sizeof(head));
			if (head.seq <= *seq)
				break;
			rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
		}
		if (!rc)
			rc = give_checkpoint(r, &key, &value, s->ret);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return rc;
}

static int search_checkpoint(struct checkpoint_search s)
{
	return s.r->lost ? ARCHIVE_E_DAMAGED : result(s.r, store_guarded(find_checkpoint, &s));
}

int archive_checkpoint_from(struct archive_reader *r, uint64_t position,
			    struct archive_checkpoint *ret)
{
	return search_checkpoint((struct checkpoint_search){ r, position, NULL, ret });
}

int archive_checkpoint_before(struct archive_reader *r, uint64_t seq,
			      struct archive_checkpoint *ret)
{
	return search_checkpoint((struct checkpoint_search){ r, 0, &seq, ret });
}
