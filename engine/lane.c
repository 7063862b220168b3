/* The owner's pipeline. Invariants between two batches: every staged event is
 * an answer already behind the tail; every confirmed turn is at or below DONE;
 * the world has stepped exactly the confirmed turns. */
#include "engine/lane.h"

#include "engine/fact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a ring: how far the newest checkpoint is behind. A take-over after a death
 * steps all that lies behind it, at about 1 ms a MiB; packing is cheap next to it. */
enum { CHECKPOINT_PART = 32 };

/* The first batch after a pause is small, so that the disk has its first requests
 * and the guest its first answers while the rest is still to be done; each that
 * was filled lets the next be twice as large. */
enum { FIRST_BATCH = 4 };

void lane_start(struct lane *l, struct custody *c, struct world *w, const struct slot_codec *codec,
		const struct lane_ops *ops, void *hands, uint32_t epoch, const struct follower *f)
{
	*l = (struct lane){ .c = c, .world = w, .codec = codec, .ops = ops, .hands = hands,
			    .epoch = epoch, .batch = FIRST_BATCH, .max_batch = LIMIT_BATCH };
	log_writer_init(&l->log, &c->lane_words[0], c->lane_ring, 0, f->reader.position,
			f->reader.chain, slot_keep(c));
	l->seq = world_lane_const(w)->seq;
	l->checkpointed = f->cut.position;
}

/* Events offered together have one time; it never goes back. */
static uint64_t now(struct lane *l)
{
	uint64_t newest = world_lane_const(l->world)->time_ns;

	if (l->now_ns == 0)
		l->now_ns = custody_now_ns(l->c);
	return l->now_ns > newest ? l->now_ns : newest;
}

bool lane_offer(struct lane *l, const struct lane_event *e)
{
	struct log_record h = {
		.seq = l->seq + 1, .type = LOG_EVENT, .source = e->source, .kind = e->kind,
		.index = e->index, .generation = e->generation, .epoch = l->epoch,
		.code = e->code, .source_pos = e->source_pos,
	};
	uint32_t len = e->fixed_len + e->tail_len;
	uint8_t *payload;

	fact(len <= LIMIT_PAYLOAD);
	if (l->n == ARRAY_LEN(l->staged))
		return false;
	h.time_ns = now(l);
	payload = log_reserve(&l->log, len);
	if (e->fixed_len)
		memcpy(payload, e->fixed, e->fixed_len);
	if (e->tail_len)
		memcpy(payload + e->fixed_len, e->tail, e->tail_len);
	log_append(&l->log, &h, payload, len);
	l->staged[l->n++] = l->log.end - log_cost(len);
	l->seq++;
	return true;
}

static void append_confirm(struct lane *l, uint64_t seq, uint64_t time_ns, const struct turn *t)
{
	struct log_confirm c = { .n_effects = t->n_effects, .bytes = t->bytes };
	struct log_record h = { .seq = seq, .time_ns = time_ns, .type = LOG_CONFIRM,
				.epoch = l->epoch };
	uint32_t len = (uint32_t)sizeof(c) + t->bytes;
	uint8_t *payload = log_reserve(&l->log, len);

	memcpy(payload, &c, sizeof(c));
	memcpy(payload + sizeof(c), t->effects, t->bytes);
	log_append(&l->log, &h, payload, len);
}

static void perform_all(struct lane *l, uint64_t seq, const uint8_t *bytes, uint32_t len)
{
	uint32_t at = 0, n = 0;
	struct effect e;
	bool bad;

	l->point.seq = seq;
	while (effect_next(world_registry(l->world), bytes, len, seq, &at, &n, &e, &bad)) {
		l->point.effect = n;
		l->ops->perform(l->hands, &e, false);
	}
	fact(!bad);
}

static const struct log_record *record_at(const struct lane *l, uint64_t position)
{
	return (const void *)(l->log.ring + (position & (l->log.size - 1)));
}

static uint16_t quarantine_code(const struct lane *l, uint16_t kind)
{
	const struct sm_desc *d =
		kind < LIMIT_KINDS ? world_registry(l->world)->machines[kind] : NULL;

	return d ? d->quarantine : 0;
}

/* This event killed two owners. Its machine gets QUARANTINE in its place, which
 * the log tells before the turn's confirm record. */
static const struct log_record *replace_event(struct lane *l, const struct log_record *event)
{
	static _Thread_local uint8_t payload[LIMIT_PAYLOAD];
	struct log_quarantine q = { .source_pos = event->source_pos, .code = event->code };
	struct log_record h = *event;
	uint32_t len = (uint32_t)sizeof(q) + event->len;

	if (len > LIMIT_PAYLOAD)
		len = LIMIT_PAYLOAD;
	memcpy(payload, &q, sizeof(q));
	memcpy(payload + sizeof(q), event + 1, len - sizeof(q));
	h.type = LOG_QUARANTINE;
	h.code = quarantine_code(l, h.kind);
	log_append(&l->log, &h, payload, len);
	atomic_fetch_add(&l->c->h->quarantines, 1);
	return record_at(l, l->log.end - log_cost(len));
}

/* Steps the first @n staged events and closes each turn in the log. The
 * confirm records start at the returned position. */
static void step_staged(struct lane *l, unsigned n, uint64_t *ret_confirm)
{
	for (unsigned i = 0; i < n; i++) {
		const struct log_record *h = record_at(l, l->staged[i]);
		struct event ev;
		struct turn t;

		if (l->recovering && faults_twice(l->c, h->seq, 0))
			h = replace_event(l, h);
		ev = event_of(h, h + 1);
		l->point.effect = 0;
		l->point.seq = ev.seq;
		t = world_turn(l->world, &ev);
		append_confirm(l, ev.seq, ev.time_ns, &t);
		ret_confirm[i] = l->log.end -
				 log_cost((uint32_t)sizeof(struct log_confirm) + t.bytes);
	}
	l->point.seq = 0;
	log_commit(&l->log);
}

static void perform_staged(struct lane *l, unsigned n, const uint64_t *confirm)
{
	for (unsigned i = 0; i < n; i++) {
		const struct log_record *h = record_at(l, confirm[i]);
		const uint8_t *p = (const uint8_t *)(h + 1);

		perform_all(l, h->seq, p + sizeof(struct log_confirm),
			    h->len - (uint32_t)sizeof(struct log_confirm));
	}
	l->point.seq = 0;
	l->ops->flush(l->hands);
}

/* The hands' answers open the next batch: behind the tail before DONE moves,
 * so that no death can lose one. */
static void close_batch(struct lane *l, unsigned n)
{
	uint64_t last = record_at(l, l->staged[n - 1])->seq;

	memmove(l->staged, l->staged + n, (l->n - n) * sizeof(*l->staged));
	l->n -= n;
	l->now_ns = 0;
	l->ops->answers(l->hands, l);
	l->now_ns = 0;
	log_commit(&l->log);
	atomic_store_explicit(&l->log.words->done, last, memory_order_release);
}

static void run_staged(struct lane *l)
{
	uint64_t confirm[ARRAY_LEN(l->staged)];
	unsigned n = l->n;

	step_staged(l, n, confirm);
	perform_staged(l, n, confirm);
	close_batch(l, n);
	atomic_fetch_add_explicit(&l->c->stats->turns, n, memory_order_relaxed);
}

/* The most a whole batch can append. */
static uint64_t batch_room(const struct lane *l)
{
	return (uint64_t)(l->max_batch + l->n + 1) * (LIMIT_TURN_BYTES + LIMIT_PACKET + 512);
}

static void collect(struct lane *l)
{
	l->batch = l->batch < l->max_batch ? l->batch : l->max_batch;
	l->now_ns = 0;
	if (l->n < l->batch)
		l->ops->collect(l->hands, l, l->batch - l->n);
	if (l->n >= l->batch)
		l->batch *= 2;
	else if (l->n <= l->batch / 2)
		l->batch = FIRST_BATCH;
}

unsigned lane_batch(struct lane *l)
{
	unsigned n;

	if (l->log.end - l->checkpointed > l->log.size / CHECKPOINT_PART && l->n == 0)
		l->input_stopped = lane_checkpoint(l) < 0 && log_room(&l->log) < batch_room(l);
	if (l->input_stopped && log_room(&l->log) < batch_room(l)) {
		atomic_fetch_add_explicit(&l->c->stats->log_full_waits, 1, memory_order_relaxed);
		return 0;
	}
	collect(l);
	n = l->n;
	if (n == 0)
		return 0;
	log_commit(&l->log);
	l->ops->taken(l->hands);
	run_staged(l);
	return n;
}

void lane_settle(struct lane *l)
{
	if (l->n)
		run_staged(l);
}

int lane_checkpoint(struct lane *l)
{
	int r;

	fact(l->n == 0);
	r = slot_write(l->c, l->codec, l->world, l->log.end, l->log.chain);
	if (r < 0)
		return r;
	l->checkpointed = l->log.end;
	l->log.keep = slot_keep(l->c);
	atomic_fetch_add_explicit(&l->c->stats->checkpoints, 1, memory_order_relaxed);
	return 0;
}

/* ---- after a death ------------------------------------------------------------ */

/* Effects that killed two owners: never performed, their machines quarantined. */
struct voided {
	unsigned n, n_machines;
	uint64_t id[WIRE_FAULTS / 2];
	struct effect_head machine[WIRE_FAULTS / 2];
};

static bool is_void(const struct voided *v, uint64_t id)
{
	for (unsigned i = 0; i < v->n; i++) {
		if (v->id[i] == id)
			return true;
	}
	return false;
}

typedef void redo_visit(struct lane *l, struct voided *v, const struct log_record *h,
			const uint8_t *payload);

/* Walks the log behind the first confirm above DONE. */
static int redo_walk(struct lane *l, const struct follower *f, struct voided *v, redo_visit *visit)
{
	uint8_t *scratch = malloc(LOG_SCRATCH);
	struct log_reader lr;
	int r = 0;

	if (!scratch)
		return -ENOMEM;
	log_reader_init(&lr, l->log.words, l->log.ring, f->redo_position, f->redo_chain, scratch);
	for (;;) {
		struct log_record h;
		const uint8_t *payload;
		enum log_result got = log_read(&lr, &h, &payload);

		if (got == LOG_E_END)
			break;
		if (got != LOG_OK) {
			r = -EBADMSG;
			break;
		}
		visit(l, v, &h, payload);
	}
	free(scratch);
	return r;
}

static void collect_void(struct lane *l, struct voided *v, const struct log_record *h,
			 const uint8_t *payload)
{
	struct log_void said;

	(void)l;
	if (h->type != LOG_VOID || h->len < sizeof(said) || v->n == ARRAY_LEN(v->id))
		return;
	memcpy(&said, payload, sizeof(said));
	v->id[v->n++] = h->seq << 12 | said.effect;
}

/* The log tells what will not be performed, once, before anything is. */
static void append_voids(struct lane *l, struct voided *v, uint64_t done)
{
	uint64_t id[WIRE_FAULTS / 2];
	unsigned n = faults_effects(l->c, done, id);

	for (unsigned i = 0; i < n; i++) {
		struct log_void said = { .effect = (uint32_t)(id[i] & 0xfff) };
		struct log_record h = { .seq = id[i] >> 12, .type = LOG_VOID, .epoch = l->epoch,
					.time_ns = custody_now_ns(l->c) };

		if (is_void(v, id[i]) || v->n == ARRAY_LEN(v->id))
			continue;
		log_append(&l->log, &h, &said, sizeof(said));
		atomic_fetch_add(&l->c->h->quarantines, 1);
		v->id[v->n++] = id[i];
	}
	log_commit(&l->log);
}

static void perform_again(struct lane *l, struct voided *v, const struct log_record *h,
			  const uint8_t *payload)
{
	uint32_t at = 0, n = 0, len = h->len - (uint32_t)sizeof(struct log_confirm);
	struct effect e;
	bool bad;

	if (h->type != LOG_CONFIRM || h->seq <= atomic_load(&l->log.words->done))
		return;
	payload += sizeof(struct log_confirm);
	l->point.seq = h->seq;
	while (effect_next(world_registry(l->world), payload, len, h->seq, &at, &n, &e, &bad)) {
		l->point.effect = n;
		if (!is_void(v, effect_id(&e)))
			l->ops->perform(l->hands, &e, true);
		else if (v->n_machines < ARRAY_LEN(v->machine))
			v->machine[v->n_machines++] = e.head;
	}
	l->point.seq = 0;
	fact(!bad);
}

/* Performs again what lies above DONE, in the order of the log. */
static int redo(struct lane *l, const struct follower *f, struct voided *v)
{
	uint64_t done = atomic_load_explicit(&l->log.words->done, memory_order_acquire);
	int r;

	if (!f->redo_marked || done >= world_lane_const(l->world)->seq)
		return 0;
	r = redo_walk(l, f, v, collect_void);
	if (r < 0)
		return r;
	append_voids(l, v, done);
	return redo_walk(l, f, v, perform_again);
}

/* Machines whose effects are void: an event each, opening the next batch. */
static void quarantine(struct lane *l, const struct voided *v)
{
	for (unsigned i = 0; i < v->n_machines; i++) {
		const struct effect_head *m = &v->machine[i];
		struct log_quarantine q = { .effect = m->code };
		struct lane_event e = { .kind = m->kind, .index = m->index,
					.generation = m->generation,
					.code = quarantine_code(l, m->kind), .fixed = &q,
					.fixed_len = sizeof(q) };

		if (e.code)
			lane_offer(l, &e);
	}
}

/* Takes over the follower's unconfirmed events: they lie below the tail. */
static int stage_pending(struct lane *l, const struct follower *f)
{
	unsigned n = follow_pending_count(f);

	if (n > ARRAY_LEN(l->staged))
		return -EBADMSG;
	for (unsigned i = 0; i < n; i++)
		l->staged[i] = follow_pending_position(f, i);
	l->n = n;
	l->seq = world_lane_const(l->world)->seq + n;
	return 0;
}

int lane_recover(struct lane *l, const struct follower *f)
{
	uint64_t confirmed = world_lane_const(l->world)->seq;
	struct voided v = { 0 };
	int r = stage_pending(l, f);

	if (r < 0)
		return r;
	r = redo(l, f, &v);
	if (r < 0)
		return r;
	l->ops->flush(l->hands);
	l->ops->answers(l->hands, l);
	log_commit(&l->log);
	atomic_store_explicit(&l->log.words->done, confirmed, memory_order_release);
	l->recovering = true;
	if (l->n)
		run_staged(l);
	l->recovering = false;
	quarantine(l, &v);
	l->ops->rebuild(l->hands, l->world);
	return 0;
}
