/* The owner's pipeline. Invariants between two batches: every staged event is
 * an answer already behind the tail; every confirmed turn is at or below DONE;
 * the world has stepped exactly the confirmed turns. */
#include "engine/lane.h"

#include "engine/fact.h"
#include "engine/vote.h"

#include <errno.h>
#include <string.h>

/* Of a ring: how far the newest checkpoint is behind. A take-over after a death
 * steps all that lies behind it, at about 1 ms a MiB; packing is cheap next to it. */
enum { CHECKPOINT_PART = 32 };

/* The first batch after a pause is small, so that the disk has its first requests
 * and the guest its first answers while the rest is still to be done; each that
 * was filled lets the next be twice as large. */
enum { FIRST_BATCH = 4 };

/* A checkpoint is nothing to make while the guest waits for its new owner: the
 * next is half a part away at least. Owners that die one after another must not
 * put it off for ever: two parts behind, it is made. */
static uint64_t checkpointed(const struct log_writer *lw, const struct custody *c)
{
	uint64_t newest = slot_newest(c), half = lw->size / CHECKPOINT_PART / 2;

	if (lw->end - newest <= half || lw->end - newest > 4 * half)
		return newest;
	return lw->end - half;
}

/* For the handler of fatal signals, and for whoever kills this process. */
static void at_step(struct lane *l, uint64_t seq, uint32_t effect)
{
	l->point.effect = effect;
	l->point.seq = seq;
	atomic_store_explicit(&l->c->h->step_effect, effect, memory_order_relaxed);
	atomic_store_explicit(&l->c->h->step_seq, seq, memory_order_relaxed);
}

void lane_start(struct lane *l, struct custody *c, struct world *w, const struct slot_codec *codec,
		const struct lane_ops *ops, void *hands, uint32_t epoch, const struct follower *f)
{
	*l = (struct lane){ .c = c, .world = w, .codec = codec, .ops = ops, .hands = hands,
			    .epoch = epoch, .batch = FIRST_BATCH, .max_batch = LIMIT_BATCH };
	slot_drop_refused(c, &f->cut);
	log_writer_init(&l->log, &c->lane_words[0], c->lane_ring, 0, f->reader.position,
			f->reader.chain, slot_keep(c));
	at_step(l, 0, 0);
	atomic_store(&c->h->step_epoch, epoch);
	l->seq = world_lane_const(w)->seq;
	l->checkpointed = checkpointed(&l->log, c);
}

/* Events offered together have one time; it never goes back. */
static uint64_t now(struct lane *l)
{
	uint64_t newest = world_lane_const(l->world)->time_ns;

	if (l->now_ns == 0)
		l->now_ns = custody_now_ns(l->c);
	return l->now_ns > newest ? l->now_ns : newest;
}

static void stage(struct lane *l, const struct lane_event *e)
{
	struct log_record h = {
		.seq = l->seq + 1, .type = LOG_EVENT, .source = e->source, .kind = e->kind,
		.index = e->index, .generation = e->generation, .epoch = l->epoch,
		.code = e->code, .source_pos = e->source_pos,
	};
	uint32_t len = e->fixed_len + e->tail_len;
	uint8_t *payload;

	fact(len <= LIMIT_PAYLOAD && l->n < LANE_STAGED);
	h.time_ns = now(l);
	payload = log_reserve(&l->log, len);
	if (e->fixed_len)
		memcpy(payload, e->fixed, e->fixed_len);
	if (e->tail_len)
		memcpy(payload + e->fixed_len, e->tail, e->tail_len);
	log_append(&l->log, &h, payload, len);
	l->staged[l->n++] = l->log.end - log_cost(len);
	l->seq++;
}

bool lane_offer(struct lane *l, const struct lane_event *e)
{
	if (l->n >= LANE_OFFERED)
		return false;
	stage(l, e);
	return true;
}

/* A confirm, or a record that is laid out like one. Returns its position. */
static uint64_t append_turn(struct lane *l, enum log_type type, uint64_t seq, uint64_t time_ns,
			    const struct turn *t)
{
	struct log_confirm c = { .n_effects = t->n_effects, .bytes = t->bytes };
	struct log_record h = { .seq = seq, .time_ns = time_ns, .type = (uint16_t)type,
				.epoch = l->epoch };
	uint32_t len = (uint32_t)sizeof(c) + t->bytes;
	uint8_t *payload = log_reserve(&l->log, len);

	memcpy(payload, &c, sizeof(c));
	memcpy(payload + sizeof(c), t->effects, t->bytes);
	log_append(&l->log, &h, payload, len);
	return l->log.end - log_cost(len);
}

static void perform_all(struct lane *l, uint64_t seq, const uint8_t *bytes, uint32_t len,
			bool redo)
{
	uint32_t at = 0, n = 0;
	struct effect e;
	bool bad;

	at_step(l, seq, 0);
	while (effect_next(world_registry(l->world), bytes, len, seq, &at, &n, &e, &bad)) {
		at_step(l, seq, n);
		l->ops->perform(l->hands, &e, redo);
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

/* Steps staged events from @first up to @n and writes what they ask for as
 * records of @type, whose positions are returned. */
static void step_staged(struct lane *l, unsigned first, unsigned n, enum log_type type,
			uint64_t *ret_at)
{
	for (unsigned i = first; i < n; i++) {
		const struct log_record *h = record_at(l, l->staged[i]);
		struct event ev;
		struct turn t;

		if (l->recovering && faults_twice(l->c, h->seq, 0))
			h = replace_event(l, h);
		ev = event_of(h, h + 1);
		at_step(l, ev.seq, 0);
		t = world_turn(l->world, &ev);
		ret_at[i] = append_turn(l, type, ev.seq, ev.time_ns, &t);
	}
	at_step(l, 0, 0);
	log_commit(&l->log);
}

/* ---- the vote ------------------------------------------------------------------ */

/* A predecessor that runs is done within a batch's time; one that is not
 * scheduled for so long is not waited for. */
static const uint64_t vote_ns = 250000000;

static bool is_voted(struct lane *l, unsigned n)
{
	if (l->vote_until == 0)
		return false;
	if (record_at(l, l->staged[n - 1])->seq <= l->vote_until && vote_is_open(l->c))
		return true;
	l->vote_until = 0;
	l->refused = !vote_close(l->c);
	return l->refused;
}

/* The predecessor agrees: each proposal becomes a confirm. */
static bool confirm_proposed(struct lane *l, unsigned n, uint64_t *at)
{
	l->refused = vote_await(l->c, record_at(l, l->staged[n - 1])->seq, vote_ns) ==
		     VOTE_E_REFUSED;
	if (l->refused)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const struct log_record *h = record_at(l, at[i]);
		const uint8_t *p = (const uint8_t *)(h + 1);
		struct log_confirm c;
		struct turn t;

		memcpy(&c, p, sizeof(c));
		t = (struct turn){ .effects = p + sizeof(c), .bytes = c.bytes,
				   .n_effects = c.n_effects };
		at[i] = append_turn(l, LOG_CONFIRM, h->seq, h->time_ns, &t);
	}
	log_commit(&l->log);
	return true;
}

/* ---- a batch ------------------------------------------------------------------- */

/* The first @redo of them as if they could have been performed already: the
 * hands were derived from a world that had stepped them. */
static void perform_staged(struct lane *l, unsigned n, const uint64_t *confirm, unsigned redo)
{
	for (unsigned i = 0; i < n; i++) {
		const struct log_record *h = record_at(l, confirm[i]);
		const uint8_t *p = (const uint8_t *)(h + 1);

		perform_all(l, h->seq, p + sizeof(struct log_confirm),
			    h->len - (uint32_t)sizeof(struct log_confirm), i < redo);
	}
	at_step(l, 0, 0);
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
	uint64_t at[ARRAY_LEN(l->staged)];
	unsigned n = l->n;
	bool voted = is_voted(l, n);

	if (l->refused)
		return;
	step_staged(l, 0, n, voted ? LOG_PROPOSE : LOG_CONFIRM, at);
	if (voted && !confirm_proposed(l, n, at))
		return;
	perform_staged(l, n, at, 0);
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
	bool due = l->distrusts || l->log.end - l->checkpointed > l->log.size / CHECKPOINT_PART;
	unsigned n;

	if (l->refused)
		return 0;
	if (due && l->n == 0)
		l->input_stopped = lane_checkpoint(l) < 0 && log_room(&l->log) < batch_room(l);
	if (l->input_stopped && log_room(&l->log) < batch_room(l)) {
		atomic_fetch_add_explicit(&l->c->stats->log_full_waits, 1, memory_order_relaxed);
		return 0;
	}
	/* A checkpoint needs a batch with nothing staged. A guest may see to it that
	 * there always is an answer: then these go alone, and input waits. */
	if (!due || l->n == 0)
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
	if (l->n && !l->refused)
		run_staged(l);
}

void lane_distrust_checkpoints(struct lane *l)
{
	l->distrusts = true;
}

int lane_checkpoint(struct lane *l)
{
	uint64_t cut = l->log.end;
	int r;

	fact(l->n == 0);
	r = slot_write(l->c, l->codec, l->world, &l->log);
	if (r < 0)
		return r;
	l->checkpointed = cut;
	l->distrusts = false;
	l->log.keep = slot_keep(l->c);
	atomic_fetch_add_explicit(&l->c->stats->checkpoints, 1, memory_order_relaxed);
	return 0;
}

/* ---- after a death ------------------------------------------------------------ */

/* Effects that killed two owners: never performed, their machines quarantined. */
struct voided {
	const struct follower *f;         /* what it rejected is not performed either */
	unsigned n, n_machines;
	uint64_t id[LIMIT_VOIDS];
	struct effect_head machine[LIMIT_VOIDS];
};

static bool is_void(const struct voided *v, uint64_t id)
{
	for (unsigned i = 0; i < v->n; i++) {
		if (v->id[i] == id)
			return true;
	}
	return false;
}

static bool is_rejected(const struct follower *f, uint64_t seq)
{
	uint64_t other;
	uint32_t len;

	for (unsigned n = 0; follow_rejected(f, n, &other, &len); n++) {
		if (other == seq)
			return true;
	}
	return false;
}

typedef void redo_visit(struct lane *l, struct voided *v, const struct log_record *h,
			const uint8_t *payload);

/* Walks the log behind the first confirm above DONE. */
static int redo_walk(struct lane *l, const struct follower *f, struct voided *v, redo_visit *visit)
{
	struct log_reader lr;
	int r = 0;

	log_reader_init(&lr, l->log.words, l->log.ring, f->redo_position, f->redo_chain,
			f->buffer);
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

static bool is_same(const struct effect_head *a, uint16_t kind, uint16_t index, uint32_t generation)
{
	return a->kind == kind && a->index == index && a->generation == generation;
}

/* Each machine once. */
static void add_machine(struct voided *v, const struct effect_head *h)
{
	for (unsigned i = 0; i < v->n_machines; i++) {
		if (is_same(&v->machine[i], h->kind, h->index, h->generation))
			return;
	}
	v->machine[v->n_machines++] = *h;
}

static void perform_again(struct lane *l, struct voided *v, const struct log_record *h,
			  const uint8_t *payload)
{
	uint32_t at = 0, n = 0, len = h->len - (uint32_t)sizeof(struct log_confirm);
	struct effect e;
	bool bad;

	if (h->type != LOG_CONFIRM || h->seq <= atomic_load(&l->log.words->done) ||
	    is_rejected(v->f, h->seq))
		return;
	payload += sizeof(struct log_confirm);
	at_step(l, h->seq, 0);
	while (effect_next(world_registry(l->world), payload, len, h->seq, &at, &n, &e, &bad)) {
		at_step(l, h->seq, n);
		if (!is_void(v, effect_id(&e)))
			l->ops->perform(l->hands, &e, true);
		else
			add_machine(v, &e.head);
	}
	at_step(l, 0, 0);
	fact(!bad);
}

/* Performs again what lies above DONE, in the order of the log. */
static int redo(struct lane *l, const struct follower *f, struct voided *v, uint64_t done)
{
	int r = redo_walk(l, f, v, collect_void);

	if (r < 0)
		return r;
	append_voids(l, v, done);
	return redo_walk(l, f, v, perform_again);
}

/* An owner that died before it could move DONE has told this machine already. */
static bool is_told(const struct lane *l, const struct effect_head *m, uint16_t code)
{
	for (unsigned i = 0; i < l->n; i++) {
		const struct log_record *h = record_at(l, l->staged[i]);

		if (h->code == code && is_same(m, h->kind, h->index, h->generation))
			return true;
	}
	return false;
}

/* Machines whose effects are void: an event each. It is behind the tail before DONE
 * moves: nobody looks at what was void below DONE. */
static void quarantine(struct lane *l, const struct voided *v)
{
	for (unsigned i = 0; i < v->n_machines; i++) {
		const struct effect_head *m = &v->machine[i];
		struct log_quarantine q = { .effect = m->code };
		struct lane_event e = { .kind = m->kind, .index = m->index,
					.generation = m->generation,
					.code = quarantine_code(l, m->kind), .fixed = &q,
					.fixed_len = sizeof(q) };

		if (e.code && !is_told(l, m, e.code))
			stage(l, &e);
	}
}

/* Takes over the follower's unconfirmed events: they lie below the tail. */
static int stage_pending(struct lane *l, const struct follower *f, uint64_t confirmed)
{
	unsigned n = follow_pending_count(f);

	if (n > LANE_STAGED)
		return -EBADMSG;
	for (unsigned i = 0; i < n; i++)
		l->staged[i] = follow_pending_position(f, i);
	l->n = n;
	l->seq = confirmed + n;
	return 0;
}

static unsigned count_effects(const struct lane *l, const uint8_t *bytes, uint32_t len)
{
	uint32_t at = 0, n = 0;
	struct effect e;
	bool bad;

	while (effect_next(world_registry(l->world), bytes, len, 0, &at, &n, &e, &bad))
		;
	return n;
}

/* Own effects in the place of rejected ones; what was not done yet is done. */
static void stand_in(struct lane *l, const struct follower *f, uint64_t done)
{
	const uint8_t *bytes;
	uint64_t seq;
	uint32_t len;

	for (unsigned n = 0; (bytes = follow_rejected(f, n, &seq, &len)) != NULL; n++) {
		struct turn t = { .effects = bytes, .bytes = len,
				  .n_effects = count_effects(l, bytes, len) };

		append_turn(l, LOG_INSTEAD, seq, world_lane_const(l->world)->time_ns, &t);
		if (seq > done)
			perform_all(l, seq, bytes, len, true);
	}
	log_commit(&l->log);
}

/* What a predecessor has stepped ahead is confirmed as it computed it. */
static void run_recovered(struct lane *l, const struct follower *f)
{
	uint64_t at[ARRAY_LEN(l->staged)];
	unsigned ahead = follow_ahead(f), n = l->n;

	for (unsigned i = 0; i < ahead; i++) {
		const struct log_record *h = record_at(l, l->staged[i]);
		struct turn t = { 0 };

		t.effects = follow_ahead_at(f, i, &t.bytes);
		t.n_effects = count_effects(l, t.effects, t.bytes);
		at[i] = append_turn(l, LOG_CONFIRM, h->seq, h->time_ns, &t);
	}
	step_staged(l, ahead, n, LOG_CONFIRM, at);
	perform_staged(l, n, at, ahead);
	close_batch(l, n);
}

int lane_recover(struct lane *l, const struct follower *f)
{
	uint64_t confirmed = world_lane_const(l->world)->seq - follow_ahead(f);
	uint64_t done = atomic_load_explicit(&l->log.words->done, memory_order_acquire);
	struct voided v = { .f = f };
	int r = stage_pending(l, f, confirmed);

	if (r == 0 && f->redo_marked && done < confirmed)
		r = redo(l, f, &v, done);
	if (r < 0)
		return r;
	stand_in(l, f, done);
	l->ops->flush(l->hands);
	l->ops->answers(l->hands, l);
	quarantine(l, &v);
	log_commit(&l->log);
	atomic_store_explicit(&l->log.words->done, confirmed, memory_order_release);
	l->recovering = true;
	if (l->n)
		run_recovered(l, f);
	l->recovering = false;
	l->ops->rebuild(l->hands, l->world);
	return 0;
}
