/* The archive's writer.
 *
 * Records gather in a buffer; a chunk of them, its segment's row and the place
 * go into one transaction, so that a killed archiver goes on exactly behind
 * what the file holds. A full map is met by dropping the oldest segment and,
 * because pages come free only two transactions later, by a bounded reserve of
 * map. When neither helps the writer ends with ARCHIVE_E_FULL and says so. */
#include "persist/archive.h"

#include "engine/fact.h"
#include "persist/archive_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { RESERVES = 4, RESERVE_BYTES = 4 << 20, AGE_PARTS = 8 };
enum { LOCK_TRIES = 40, LOCK_PAUSE_US = 50000 };

struct archive {
	MDB_env *env;
	MDB_dbi meta, segments, checkpoints, current;
	int lock;
	struct archive_options o;
	uint64_t map;
	unsigned reserves;               /* enlargements of the map so far */
	bool full;
	bool pressed;                    /* the map is full: drop what was not verified too */
	uint64_t verified;               /* position of the newest verified checkpoint */
	uint64_t since_ns;               /* time of the current segment's first record */
	uint64_t now_ns;                 /* partition's clock, as last told */
	uint64_t total;                  /* bytes of segments and checkpoints */
	bool held;                       /* the last checkpoint was there already */
	uint64_t number;                 /* of the current segment; 0: none yet */
	struct store_segment segment;
	struct archive_place place;      /* what the file holds */
	struct archive_place staged;     /* and what the buffer adds */
	struct store_segment next;       /* row of the current segment with the buffer */
	uint8_t *buffer;
	size_t used;
};

void store_segment_name(uint64_t number, char ret[24])
{
	snprintf(ret, 24, "s%016" PRIx64, number);
}

int store_error(int rc, const char *what, char *why)
{
	snprintf(why, ARCHIVE_WHY, "%s: %s", what,
		 rc == STORE_FAULT ? "the file was cut or damaged" : mdb_strerror(rc));
	return rc > 0 ? -rc : -EIO;
}

uint64_t store_chain_before(uint64_t position, uint64_t end, uint64_t chain, uint8_t lane)
{
	struct log_record pad = { .type = LOG_PAD, .lane = lane };

	return position == end ? chain : log_chain(&pad, NULL, chain);
}

int store_header_check(const MDB_val *v, struct archive_header *ret, char *why)
{
	if (v->mv_size < sizeof(*ret) || memcmp(v->mv_data, STORE_MAGIC, 8) != 0) {
		snprintf(why, ARCHIVE_WHY, "is no archive of holdfast");
		return ARCHIVE_E_REFUSED;
	}
	memcpy(ret, v->mv_data, sizeof(*ret));
	ret->version[sizeof(ret->version) - 1] = '\0';
	ret->build[sizeof(ret->build) - 1] = '\0';
	if (ret->format == ARCHIVE_FORMAT)
		return 0;
	snprintf(why, ARCHIVE_WHY, "has format %u, written by holdfast %s (build %s); this build "
		 "reads format %d", ret->format, ret->version, ret->build, ARCHIVE_FORMAT);
	return ARCHIVE_E_REFUSED;
}

/* ---- opening -------------------------------------------------------------------- */

static int open_dbs(struct archive *a, MDB_txn *txn)
{
	int rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &a->meta);

	if (!rc)
		rc = mdb_dbi_open(txn, "segments", MDB_CREATE | MDB_INTEGERKEY, &a->segments);
	if (!rc)
		rc = mdb_dbi_open(txn, "checkpoints", MDB_CREATE | MDB_INTEGERKEY,
				  &a->checkpoints);
	return rc;
}

static int put_header(struct archive *a, MDB_txn *txn)
{
	struct archive_header h = { .format = ARCHIVE_FORMAT, .level = a->o.level,
				    .schema_hash = a->o.schema_hash, .identity = a->o.identity };
	MDB_val key = store_val("header", 6), value = store_val(&h, sizeof(h));

	memcpy(h.magic, STORE_MAGIC, sizeof(h.magic));
	snprintf(h.version, sizeof(h.version), "%s", a->o.version);
	snprintf(h.build, sizeof(h.build), "%s", a->o.build);
	return mdb_put(txn, a->meta, &key, &value, 0);
}

static void note_checkpoint(struct archive *a, const MDB_val *key, const MDB_val *value)
{
	struct store_checkpoint head = { .unverified = 1 };

	a->total += value->mv_size;
	if (value->mv_size >= sizeof(head) && key->mv_size == sizeof(a->verified)) {
		memcpy(&head, value->mv_data, sizeof(head));
		if (!head.unverified)
			memcpy(&a->verified, key->mv_data, sizeof(a->verified));
	}
}

static int add_up(struct archive *a, MDB_txn *txn, MDB_dbi dbi, bool segments)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn, dbi, &cursor);

	if (rc)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		if (!segments) {
			note_checkpoint(a, &key, &value);
			continue;
		}
		if (key.mv_size != sizeof(a->number) || value.mv_size != sizeof(a->segment))
			break;
		memcpy(&a->number, key.mv_data, sizeof(a->number));
		memcpy(&a->segment, value.mv_data, sizeof(a->segment));
		a->total += a->segment.bytes;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc ? rc : MDB_CORRUPTED;
}

/* Header, place, sums. Positive: ARCHIVE_E_*. */
static int load(struct archive *a, MDB_txn *txn, char *why)
{
	MDB_val key = store_val("header", 6), value;
	struct archive_header h;
	char name[24];
	int rc = mdb_get(txn, a->meta, &key, &value);

	if (rc == MDB_NOTFOUND)
		rc = put_header(a, txn);
	else if (rc == 0) {
		rc = store_header_check(&value, &h, why);
		if (rc)
			return rc;
		if (h.identity != a->o.identity)
			return ARCHIVE_E_OTHER;
	}
	key = store_val("place", 5);
	if (!rc && mdb_get(txn, a->meta, &key, &value) == 0 && value.mv_size == sizeof(a->place))
		memcpy(&a->place, value.mv_data, sizeof(a->place));
	if (!rc)
		rc = add_up(a, txn, a->segments, true);
	if (!rc)
		rc = add_up(a, txn, a->checkpoints, false);
	if (!rc && a->number) {
		store_segment_name(a->number, name);
		rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY, &a->current);
	}
	a->staged = a->place;
	a->next = a->segment;
	return rc ? store_error(rc, "cannot read the archive", why) : 0;
}

/* Who only looks whether an archiver writes (archive_status.c) holds the lock for that
 * moment. */
static bool locked(int fd)
{
	for (unsigned tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return false;
		usleep(LOCK_PAUSE_US);
	}
	return true;
}

static int take_lock(struct archive *a, const char *dir, char *why)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/writer", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	a->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (a->lock < 0) {
		int r = -errno;

		snprintf(why, ARCHIVE_WHY, "cannot open %.180s: %s", path, strerror(-r));
		return r;
	}
	if (locked(a->lock))
		return 0;
	snprintf(why, ARCHIVE_WHY, "another archiver writes to it");
	return ARCHIVE_E_REFUSED;
}

static int open_env(struct archive *a, const char *dir, char *why)
{
	int dead, rc = store_env_create(&a->env);

	if (!rc)
		rc = mdb_env_set_mapsize(a->env, a->map);
	if (!rc)
		rc = mdb_env_set_maxdbs(a->env, STORE_DBS);
	if (!rc)
		rc = mdb_env_set_maxreaders(a->env, STORE_READERS);
	if (!rc)
		rc = mdb_env_open(a->env, dir, MDB_NOSYNC | MDB_NORDAHEAD, 0600);
	if (!rc)
		rc = mdb_reader_check(a->env, &dead);
	return rc ? store_error(rc, "cannot open the archive", why) : 0;
}

/* LMDB calls a short write EIO. It is one when the file system is full. */
static int honest(const struct archive *a, int rc)
{
	struct statvfs s;

	if (rc != EIO || fstatvfs(a->lock, &s) || s.f_bavail * s.f_frsize >= STORE_BUFFER)
		return rc;
	return ENOSPC;
}

struct opening {
	struct archive *a;
	const char *dir;
	char *why;
};

static int open_tables(void *user)
{
	const struct opening *o = user;
	struct archive *a = o->a;
	char *why = o->why;
	MDB_txn *txn;
	int rc, r = open_env(a, o->dir, why);

	if (r)
		return r;
	rc = mdb_txn_begin(a->env, NULL, 0, &txn);
	if (rc)
		return store_error(rc, "cannot begin", why);
	rc = open_dbs(a, txn);
	r = rc ? store_error(rc, "cannot open the tables", why) : load(a, txn, why);
	if (r) {
		mdb_txn_abort(txn);
		return r;
	}
	rc = honest(a, mdb_txn_commit(txn));
	return rc ? store_error(rc, "cannot write", why) : 0;
}

/* liblmdb was led astray: nothing of it is touched again. */
static int lost(struct archive *a)
{
	a->full = true;
	a->env = NULL;
	return ARCHIVE_E_DAMAGED;
}

static int open_all(struct archive *a, const char *dir, char *why)
{
	struct opening o = { a, dir, why };
	int r = take_lock(a, dir, why);

	if (r == 0)
		r = store_guarded(open_tables, &o);
	if (r != STORE_FAULT)
		return r;
	lost(a);
	snprintf(why, ARCHIVE_WHY, "was cut or damaged");
	return ARCHIVE_E_REFUSED;
}

/* Nothing stays of an archive that could not be made. */
static void unmake(const char *dir)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "writer" };
	char path[4096];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, names[i]) < sizeof(path))
			unlink(path);
	}
	rmdir(dir);
}

int archive_open(const char *dir, const struct archive_options *o, struct archive **ret, char *why)
{
	struct archive *a;
	bool made = mkdir(dir, 0700) == 0;
	int r;

	if (!made && errno != EEXIST) {
		r = -errno;
		snprintf(why, ARCHIVE_WHY, "cannot make it: %s", strerror(-r));
		return r;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->lock = -1;
	a->o = *o;
	a->o.retention = o->retention ? o->retention : ARCHIVE_RETENTION;
	a->o.segment = o->segment ? o->segment : ARCHIVE_SEGMENT;
	a->map = o->map ? o->map : 2 * a->o.retention + 8 * a->o.segment;
	a->buffer = malloc(STORE_BUFFER);
	r = a->buffer ? open_all(a, dir, why) : -ENOMEM;
	if (r) {
		a->full = true;
		archive_close(a);
		if (made)
			unmake(dir);
		return r;
	}
	*ret = a;
	return 0;
}

struct archive *archive_close(struct archive *a)
{
	if (!a)
		return NULL;
	if (!a->full)
		archive_flush(a);
	if (a->env)
		mdb_env_close(a->env);
	if (a->lock >= 0)
		close(a->lock);
	free(a->buffer);
	free(a);
	return NULL;
}

uint64_t archive_bytes(const struct archive *a)
{
	return a->total;
}

const struct archive_place *archive_place(const struct archive *a)
{
	return &a->staged;
}

/* ---- dropping ------------------------------------------------------------------- */

#define NS_PER_S UINT64_C(1000000000)

static bool too_old(const struct archive *a, const struct store_segment *s)
{
	return a->o.age_ns && s->end_s &&
	       a->now_ns > a->o.age_ns + (s->end_s + 1) * NS_PER_S;
}

/* Whether this oldest segment is to go. */
static bool may_go(const struct archive *a, const struct store_segment *s)
{
	if (a->pressed)
		return true;
	return s->end_position <= a->verified && (a->total > a->o.retention || too_old(a, s));
}

/* The oldest segment but the first; 0: there is none that may go. */
static int oldest(struct archive *a, MDB_txn *txn, uint64_t *ret_number,
		  struct store_segment *ret)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn, a->segments, &cursor);

	*ret_number = 0;
	if (rc)
		return rc;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	if (!rc)
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	if (!rc && value.mv_size == sizeof(*ret)) {
		memcpy(ret_number, key.mv_data, sizeof(*ret_number));
		memcpy(ret, value.mv_data, sizeof(*ret));
		if (*ret_number == a->number || !may_go(a, ret))
			*ret_number = 0;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Checkpoints that only led into what is dropped. */
static int drop_checkpoints(struct archive *a, MDB_txn *txn, const struct store_segment *s,
			    uint64_t *ret_bytes)
{
	MDB_cursor *cursor;
	uint64_t position = s->first_position;
	MDB_val key = store_val(&position, sizeof(position)), value;
	int rc = mdb_cursor_open(txn, a->checkpoints, &cursor);

	if (rc)
		return rc;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!rc) {
		memcpy(&position, key.mv_data, sizeof(position));
		if (position >= s->end_position)
			break;
		*ret_bytes += value.mv_size;
		rc = mdb_cursor_del(cursor, 0);
		if (!rc)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int drop_in(struct archive *a, MDB_txn *txn, uint64_t *ret_bytes)
{
	struct store_segment s;
	uint64_t number;
	MDB_val key = store_val(&number, sizeof(number));
	char name[24];
	MDB_dbi dbi;
	int rc = oldest(a, txn, &number, &s);

	*ret_bytes = 0;
	if (rc || number == 0)
		return rc;
	*ret_bytes = s.bytes;
	store_segment_name(number, name);
	rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY, &dbi);
	if (!rc)
		rc = mdb_drop(txn, dbi, 1);
	if (!rc)
		rc = mdb_del(txn, a->segments, &key, NULL);
	return rc ? rc : drop_checkpoints(a, txn, &s, ret_bytes);
}

/* Drops one segment in a transaction of its own. *@ret_bytes 0: none may go. */
static int drop_oldest(struct archive *a, uint64_t *ret_bytes)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(a->env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = drop_in(a, txn, ret_bytes);
	if (rc || *ret_bytes == 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	if (!rc)
		a->total -= *ret_bytes;
	return rc;
}

static int enlarge(struct archive *a)
{
	if (a->reserves == RESERVES)
		return MDB_MAP_FULL;
	a->reserves++;
	a->map += RESERVE_BYTES;
	return mdb_env_set_mapsize(a->env, a->map);
}

/* After MDB_MAP_FULL: stale readers, the oldest segment, the reserve. 0: try again. */
static int make_room(struct archive *a)
{
	uint64_t bytes = 0;
	int dead, rc = mdb_reader_check(a->env, &dead);

	a->pressed = true;
	if (!rc)
		rc = drop_oldest(a, &bytes);
	a->pressed = false;
	if (!rc && bytes)
		return 0;
	return rc && rc != MDB_MAP_FULL ? rc : enlarge(a);
}

/* ---- writing -------------------------------------------------------------------- */

typedef int write_fn(struct archive *a, MDB_txn *txn, const void *what);

static int attempt(struct archive *a, write_fn *fn, const void *what)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(a->env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = fn(a, txn, what);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

struct write {
	struct archive *a;
	write_fn *fn;
	const void *what;
};

/* Makes room as long as it helps. */
static int attempts(void *user)
{
	const struct write *w = user;
	int rc = attempt(w->a, w->fn, w->what);

	for (unsigned i = 0; rc == MDB_MAP_FULL && i < 4 * RESERVES; i++) {
		rc = make_room(w->a);
		if (!rc)
			rc = attempt(w->a, w->fn, w->what);
	}
	return rc;
}

/* Runs @fn in a transaction of its own. */
static int write_whole(struct archive *a, write_fn *fn, const void *what)
{
	int rc;

	if (a->full)
		return ARCHIVE_E_FULL;
	rc = store_guarded(attempts, &(struct write){ a, fn, what });
	if (rc == 0)
		return 0;
	if (rc == STORE_FAULT)
		return lost(a);
	a->full = true;
	rc = honest(a, rc);
	if (rc == MDB_MAP_FULL || rc == ENOSPC)
		return ARCHIVE_E_FULL;
	return rc > 0 ? -rc : ARCHIVE_E_DAMAGED;
}

static int put_place(struct archive *a, MDB_txn *txn)
{
	MDB_val key = store_val("place", 5), value = store_val(&a->staged, sizeof(a->staged));

	return mdb_put(txn, a->meta, &key, &value, 0);
}

static int write_chunk(struct archive *a, MDB_txn *txn, const void *what)
{
	uint64_t position;
	MDB_val key = store_val(&position, sizeof(position));
	MDB_val value = store_val(a->buffer, a->used);
	char name[24];
	int rc;

	(void)what;
	memcpy(&position, a->buffer, sizeof(position));
	store_segment_name(a->number, name);
	rc = mdb_dbi_open(txn, name, MDB_CREATE | MDB_INTEGERKEY, &a->current);
	if (!rc)
		rc = mdb_put(txn, a->current, &key, &value, 0);
	key = store_val(&a->number, sizeof(a->number));
	value = store_val(&a->next, sizeof(a->next));
	if (!rc)
		rc = mdb_put(txn, a->segments, &key, &value, 0);
	return rc ? rc : put_place(a, txn);
}

static int drop_some(void *user)
{
	uint64_t dropped;

	while (drop_oldest(user, &dropped) == 0 && dropped)
		;
	return 0;
}

/* What fails here does not matter, as long as liblmdb is still there. */
static int drop_all(struct archive *a)
{
	return store_guarded(drop_some, a) == STORE_FAULT ? lost(a) : 0;
}

int archive_flush(struct archive *a)
{
	int r;

	if (a->full)
		return ARCHIVE_E_FULL;
	if (a->used == 0)
		return 0;
	a->next.bytes += a->used;
	r = write_whole(a, write_chunk, NULL);
	if (r)
		return r;
	a->total += a->used;
	a->segment = a->next;
	a->place = a->staged;
	a->used = 0;
	return a->total > a->o.retention ? drop_all(a) : 0;
}

void archive_expire(struct archive *a, uint64_t now_ns)
{
	if (a->full || a->o.age_ns == 0 || now_ns < a->now_ns + NS_PER_S)
		return;
	a->now_ns = now_ns;
	(void)drop_all(a);
}

/* The next record opens a segment: the current one is long enough, or ends a run. */
static void new_segment(struct archive *a, uint64_t position, const struct log_record *h)
{
	uint64_t seq = h->seq;

	if (a->number && a->env)
		mdb_dbi_close(a->env, a->current);
	a->number++;
	a->since_ns = h->time_ns;
	a->next = (struct store_segment){ .first_position = position, .first_seq = seq,
					  .last_seq = seq, .chain_before = a->staged.chain,
					  .end_position = a->staged.position,
					  .run = a->staged.run };
}

/* A quiet guest fills a segment slowly: one is closed when it has a part of the age. */
static bool lasts_long(const struct archive *a, uint64_t time_ns)
{
	return a->o.age_ns && time_ns > a->since_ns + a->o.age_ns / AGE_PARTS;
}

int archive_append(struct archive *a, uint64_t position, const struct log_record *h,
		   const void *payload)
{
	struct store_entry e = { .position = position, .h = *h };
	size_t padded = ((size_t)h->len + 7) & ~(size_t)7;
	bool roll = a->number == 0 || a->next.run != a->staged.run ||
		    a->next.bytes + a->used >= a->o.segment || lasts_long(a, h->time_ns);
	int r = 0;

	fact(sizeof(e) + padded <= STORE_BUFFER - STORE_CHUNK);
	if (a->used >= STORE_CHUNK || roll)
		r = archive_flush(a);
	if (r)
		return r;
	if (roll)
		new_segment(a, position, h);
	memcpy(a->buffer + a->used, &e, sizeof(e));
	if (h->len)
		memcpy(a->buffer + a->used + sizeof(e), payload, h->len);
	memset(a->buffer + a->used + sizeof(e) + h->len, 0, padded - h->len);
	a->used += sizeof(e) + padded;
	a->staged.position = position + log_cost(h->len);
	a->staged.chain = h->chain;
	a->next.end_position = a->staged.position;
	a->next.end_s = (uint32_t)(h->time_ns / NS_PER_S) + 1;
	if (h->type == LOG_EVENT) {
		a->staged.seq = h->seq;
		a->next.last_seq = h->seq;
	}
	return a->full ? ARCHIVE_E_FULL : 0;
}

struct checkpoint_write {
	const struct slot_cut *cut;
	const uint8_t *bytes;
	size_t len;
	bool unverified;
};

static int write_checkpoint(struct archive *a, MDB_txn *txn, const void *what)
{
	const struct checkpoint_write *w = what;
	struct store_checkpoint head = { .seq = w->cut->seq, .chain = w->cut->chain,
					 .run = a->staged.run, .unverified = w->unverified };
	MDB_val key = store_val(&w->cut->position, sizeof(w->cut->position));
	MDB_val value = { .mv_size = sizeof(head) + w->len };
	int rc = mdb_put(txn, a->checkpoints, &key, &value, MDB_RESERVE | MDB_NOOVERWRITE);

	a->held = rc == MDB_KEYEXIST;
	if (a->held)
		return w->unverified ? put_place(a, txn) : 0;
	if (rc)
		return rc;
	memcpy(value.mv_data, &head, sizeof(head));
	memcpy((uint8_t *)value.mv_data + sizeof(head), w->bytes, w->len);
	return w->unverified ? put_place(a, txn) : 0;
}

static int checkpoint(struct archive *a, const struct checkpoint_write *w)
{
	int r = write_whole(a, write_checkpoint, w);

	if (r == 0 && !a->held)
		a->total += sizeof(struct store_checkpoint) + w->len;
	return r;
}

int archive_checkpoint(struct archive *a, const struct slot_cut *cut, const uint8_t *bytes,
		       size_t len, bool verified)
{
	struct checkpoint_write w = { cut, bytes, len, !verified };
	int r = archive_flush(a);

	if (r == 0)
		r = checkpoint(a, &w);
	if (r == 0 && verified)
		a->verified = cut->position;
	return r;
}

int archive_gap(struct archive *a, const struct slot_cut *cut, const uint8_t *bytes, size_t len)
{
	struct checkpoint_write w = { cut, bytes, len, true };
	int r = archive_flush(a);

	if (r)
		return r;
	a->staged = (struct archive_place){ .seq = cut->seq, .position = cut->position,
					    .chain = cut->chain, .run = a->staged.run + 1 };
	r = checkpoint(a, &w);
	if (r == 0)
		a->place = a->staged;
	return r;
}
