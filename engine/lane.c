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

void lane_start(struct lane *l, struct custody *c, struct world *w, const struct slot_codec *codec,
		const struct lane_ops *ops, void *hands, uint32_t epoch, const struct follower *f)
{
	*l = (struct lane){ .c = c, .world = w, .codec = codec, .ops = ops, .hands = hands,
			    .epoch = epoch, .max_batch = LIMIT_BATCH };
	log_writer_init(&l->log, &c->lane_words[0], c->lane_ring, 0, f->reader.position,
			f->reader.chain, slot_keep(c));
	l->seq = world_lane_const(w)->seq;
	l->checkpointed = f->cut.position;
}

bool lane_offer(struct lane *l, const struct lane_event *e)
{
	struct log_record h = {
		.seq = l->seq + 1, .type = LOG_EVENT, .source = e->source, .kind = e->kind,
		.index = e->index, .generation = e->generation, .epoch = l->epoch,
		.code = e->code, .source_pos = e->source_pos,
	};
	static _Thread_local uint8_t payload[LIMIT_PAYLOAD];
	uint32_t len = e->fixed_len + e->tail_len;
	uint64_t left;

	fact(len <= LIMIT_PAYLOAD);
	if (l->n == ARRAY_LEN(l->staged))
		return false;
	h.time_ns = custody_now_ns(l->c);
	if (h.time_ns < world_lane_const(l->world)->time_ns)
		h.time_ns = world_lane_const(l->world)->time_ns;
	if (e->fixed_len)
		memcpy(payload, e->fixed, e->fixed_len);
	if (e->tail_len)
		memcpy(payload + e->fixed_len, e->tail, e->tail_len);
	log_append(&l->log, &h, payload, len);
	left = log_cost(len);
	l->staged[l->n++] = l->log.end - left;
	l->seq++;
	return true;
}

static void append_confirm(struct lane *l, uint64_t seq, uint64_t time_ns, const struct turn *t)
{
	static _Thread_local uint8_t payload[sizeof(struct log_confirm) + LIMIT_TURN_BYTES];
	struct log_confirm c = { .n_effects = t->n_effects, .bytes = t->bytes };
	struct log_record h = { .seq = seq, .time_ns = time_ns, .type = LOG_CONFIRM,
				.epoch = l->epoch };

	memcpy(payload, &c, sizeof(c));
	memcpy(payload + sizeof(c), t->effects, t->bytes);
	log_append(&l->log, &h, payload, (uint32_t)sizeof(c) + t->bytes);
}

static void perform_all(struct lane *l, uint64_t seq, const uint8_t *bytes, uint32_t len,
			bool redo)
{
	uint32_t at = 0, n = 0;
	struct effect e;
	bool bad;

	while (effect_next(world_registry(l->world), bytes, len, seq, &at, &n, &e, &bad))
		l->ops->perform(l->hands, &e, redo);
	fact(!bad);
}

static const struct log_record *record_at(const struct lane *l, uint64_t position)
{
	return (const void *)(l->log.ring + (position & (l->log.size - 1)));
}

/* Steps the first @n staged events and closes each turn in the log. The
 * confirm records start at the returned position. */
static void step_staged(struct lane *l, unsigned n, uint64_t *ret_confirm)
{
	for (unsigned i = 0; i < n; i++) {
		const struct log_record *h = record_at(l, l->staged[i]);
		struct event ev = event_of(h, h + 1);
		struct turn t;

		t = world_turn(l->world, &ev);
		append_confirm(l, ev.seq, ev.time_ns, &t);
		ret_confirm[i] = l->log.end -
				 log_cost((uint32_t)sizeof(struct log_confirm) + t.bytes);
	}
	log_commit(&l->log);
}

static void perform_staged(struct lane *l, unsigned n, const uint64_t *confirm)
{
	for (unsigned i = 0; i < n; i++) {
		const struct log_record *h = record_at(l, confirm[i]);
		const uint8_t *p = (const uint8_t *)(h + 1);

		perform_all(l, h->seq, p + sizeof(struct log_confirm),
			    h->len - (uint32_t)sizeof(struct log_confirm), false);
	}
	l->ops->flush(l->hands);
}

/* The hands' answers open the next batch: behind the tail before DONE moves,
 * so that no death can lose one. */
static void close_batch(struct lane *l, unsigned n)
{
	uint64_t last = record_at(l, l->staged[n - 1])->seq;

	memmove(l->staged, l->staged + n, (l->n - n) * sizeof(*l->staged));
	l->n -= n;
	l->ops->answers(l->hands, l);
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

unsigned lane_batch(struct lane *l)
{
	unsigned n;

	if (l->log.end - l->checkpointed > l->log.size / CHECKPOINT_PART && l->n == 0)
		l->input_stopped = lane_checkpoint(l) < 0 && log_room(&l->log) < batch_room(l);
	if (l->input_stopped && log_room(&l->log) < batch_room(l)) {
		atomic_fetch_add_explicit(&l->c->stats->log_full_waits, 1, memory_order_relaxed);
		return 0;
	}
	if (l->n < l->max_batch)
		l->ops->collect(l->hands, l, l->max_batch - l->n);
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

/* Walks the confirm records above DONE and performs them again. */
static int redo(struct lane *l, const struct follower *f)
{
	uint64_t done = atomic_load_explicit(&l->log.words->done, memory_order_acquire);
	uint8_t *scratch;
	struct log_reader lr;
	int r = 0;

	if (!f->redo_marked || done >= world_lane_const(l->world)->seq)
		return 0;
	scratch = malloc(LOG_SCRATCH);
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
		if (h.type == LOG_CONFIRM && h.seq > done)
			perform_all(l, h.seq, payload + sizeof(struct log_confirm),
				    h.len - (uint32_t)sizeof(struct log_confirm), true);
	}
	free(scratch);
	return r;
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
	int r = stage_pending(l, f);

	if (r < 0)
		return r;
	r = redo(l, f);
	if (r < 0)
		return r;
	l->ops->flush(l->hands);
	l->ops->answers(l->hands, l);
	log_commit(&l->log);
	atomic_store_explicit(&l->log.words->done, confirmed, memory_order_release);
	if (l->n)
		run_staged(l);
	l->ops->rebuild(l->hands, l->world);
	return 0;
}
