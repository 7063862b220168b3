/* Following a log. The heart of recovery, hand-over, replay and inspection. */
#include "engine/follow.h"

#include "engine/fact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Events of one batch at most, plus the answers that open the next one. */
_Static_assert((int)LOG_SCRATCH <= (int)LIMIT_SLOT_BYTES, "one buffer serves both");
enum { PENDING_MAX = 4 * LIMIT_BATCH + LIMIT_CHANNELS, PENDING_BYTES = 4 << 20 };

struct follow_pending {
	unsigned first, n;
	uint32_t used;
	struct { struct log_record h; uint64_t position; uint32_t at; } item[PENDING_MAX];
	uint8_t bytes[PENDING_BYTES];
};

int follow_init(struct follower *f, struct world *w)
{
	*f = (struct follower){ .world = w };
	f->pending = malloc(sizeof(*f->pending));
	f->buffer = malloc(LIMIT_SLOT_BYTES);
	if (!f->pending || !f->buffer) {
		follow_deinit(f);
		return -ENOMEM;
	}
	follow_pending_clear(f);
	return 0;
}

void follow_deinit(struct follower *f)
{
	free(f->pending);
	free(f->buffer);
	*f = (struct follower){ 0 };
}

void follow_pending_clear(struct follower *f)
{
	f->pending->first = f->pending->n = 0;
	f->pending->used = 0;
}

int follow_begin(struct follower *f, const struct custody *c, const struct slot_codec *codec,
		 void (*fresh)(struct world *w), uint8_t fill, char *why)
{
	int r;

	world_reset(f->world, fill);
	follow_pending_clear(f);
	f->redo_marked = false;
	r = slot_load(c, codec, f->world, f->buffer, &f->cut, why);
	if (r < 0)
		return r;
	if (f->cut.generation == 0)
		fresh(f->world);
	log_reader_init(&f->reader, &c->lane_words[0], c->lane_ring, f->cut.position,
			f->cut.chain, f->buffer);
	return 0;
}

struct event event_of(const struct log_record *h, const void *payload)
{
	return (struct event){
		.seq = h->seq, .time_ns = h->time_ns, .epoch = h->epoch, .kind = h->kind,
		.index = h->index, .generation = h->generation, .code = h->code,
		.source = h->source, .source_pos = h->source_pos, .payload = payload,
		.len = h->len,
	};
}

/* An event that a damaged or foreign log may hold must not reach a fact(). */
static bool legal(const struct follower *f, const struct log_record *h)
{
	const struct lane_state *lane = world_lane_const(f->world);

	return h->seq == lane->seq + 1 && h->time_ns >= lane->time_ns && h->source < SOURCES &&
	       h->len <= LIMIT_PAYLOAD;
}

static const char *differing_field(const struct effect *a, const struct effect *b,
				   const struct effect_desc *d, struct divergence *ret)
{
	const struct rec_field *f;

	if (a->head.code != b->head.code)
		return "code";
	if (a->head.kind != b->head.kind || a->head.index != b->head.index ||
	    a->head.generation != b->head.generation)
		return "machine";
	f = rec_difference(d->rec, a->p, b->p);
	if (f) {
		ret->recorded = rec_value(f, a->p, 0);
		ret->computed = rec_value(f, b->p, 0);
		return f->name;
	}
	if (a->tail_len != b->tail_len)
		return "length";
	return memcmp(a->tail, b->tail, a->tail_len) != 0 ? "tail" : NULL;
}

/* Compares effect by effect; true: all equal or expected. */
static bool compare(struct follower *f, uint64_t seq, const uint8_t *recorded, uint32_t len,
		    const struct turn *t)
{
	const struct registry *r = world_registry(f->world);
	uint32_t at = 0, n = 0, at2 = 0, n2 = 0;
	bool bad, bad2, all = true;

	if (len == t->bytes && memcmp(recorded, t->effects, len) == 0)
		return true;
	for (;;) {
		struct effect a, b;
		struct divergence d = { .seq = seq };
		bool more = effect_next(r, recorded, len, seq, &at, &n, &a, &bad);
		bool more2 = effect_next(r, t->effects, t->bytes, seq, &at2, &n2, &b, &bad2);

		if (!more && !more2 && !bad)
			return all;
		if (more != more2) {
			d.effect = &r->effects[more ? a.head.code : b.head.code];
			d.kind = more ? a.head.kind : b.head.kind;
			d.index = more ? a.head.index : b.head.index;
			d.field = "count";
			d.recorded = more;
			d.computed = more2;
		} else {
			d.effect = &r->effects[a.head.code];
			d.kind = a.head.kind;
			d.index = a.head.index;
			d.field = differing_field(&a, &b, d.effect, &d);
			if (!d.field)
				continue;
		}
		if (f->differs && f->differs(f->user, &d)) {
			f->expected++;
		} else {
			f->divergences++;
			all = false;
		}
		if (more != more2)
			return all;
	}
}

int follow_step(struct follower *f, const struct log_record *h, const void *payload,
		const uint8_t *recorded, uint32_t len)
{
	struct event ev = event_of(h, payload);
	struct turn t;
	bool same;

	if (!legal(f, h))
		return FOLLOW_E_DAMAGED;
	t = world_turn(f->world, &ev);
	f->events++;
	same = compare(f, h->seq, recorded, len, &t);
	if (f->on_turn)
		f->on_turn(f->user, h, payload, &t);
	return same ? FOLLOW_OK : FOLLOW_E_DIVERGED;
}

static bool keep_pending(struct follow_pending *p, const struct log_record *h, uint64_t position,
			 const uint8_t *payload)
{
	uint32_t padded = (h->len + 7u) & ~7u;

	if (p->first == p->n)
		p->first = p->n = 0, p->used = 0;
	if (p->n == PENDING_MAX || p->used + padded > PENDING_BYTES)
		return false;
	p->item[p->n].h = *h;
	p->item[p->n].at = p->used;
	p->item[p->n].position = position;
	if (h->len)
		memcpy(p->bytes + p->used, payload, h->len);
	p->used += padded;
	p->n++;
	return true;
}

static int confirm(struct follower *f, const struct log_record *h, const uint8_t *payload)
{
	struct follow_pending *p = f->pending;
	struct log_confirm c;
	unsigned n = p->first;

	if (h->len < sizeof(c) || p->first == p->n || p->item[n].h.seq != h->seq)
		return FOLLOW_E_DAMAGED;
	memcpy(&c, payload, sizeof(c));
	if (c.bytes != h->len - sizeof(c))
		return FOLLOW_E_DAMAGED;
	p->first++;
	return follow_step(f, &p->item[n].h, p->bytes + p->item[n].at, payload + sizeof(c),
			   c.bytes);
}

/* Remembers where the first confirm above DONE lies. A live owner's DONE
 * moves on; an older place is then too early, which is harmless: redo looks at
 * each sequence again. */
static void mark_redo(struct follower *f, uint64_t seq, uint64_t position, uint64_t chain)
{
	uint64_t done = atomic_load_explicit(&f->reader.words->done, memory_order_acquire);

	if (f->redo_marked && f->redo_seq > done)
		return;
	f->redo_marked = seq > done;
	f->redo_seq = seq;
	f->redo_position = position;
	f->redo_chain = chain;
}

/* The event of this turn killed two owners; what stands here takes its place. */
static bool replace(struct follow_pending *p, const struct log_record *h, const uint8_t *payload)
{
	uint32_t padded = (h->len + 7u) & ~7u;

	for (unsigned n = p->first; n < p->n; n++) {
		struct log_record *old = &p->item[n].h;

		if (old->seq != h->seq)
			continue;
		if (old->kind != h->kind || old->index != h->index ||
		    h->len < sizeof(struct log_quarantine) || p->used + padded > PENDING_BYTES)
			return false;
		*old = *h;
		old->type = LOG_EVENT;
		p->item[n].at = p->used;
		memcpy(p->bytes + p->used, payload, h->len);
		p->used += padded;
		return true;
	}
	return false;
}

int follow_record(struct follower *f, const struct log_record *h, uint64_t position,
		  const uint8_t *payload)
{
	if (h->type == LOG_EVENT)
		return keep_pending(f->pending, h, position, payload) ? FOLLOW_OK
								      : FOLLOW_E_DAMAGED;
	if (h->type == LOG_QUARANTINE)
		return replace(f->pending, h, payload) ? FOLLOW_OK : FOLLOW_E_DAMAGED;
	return h->type == LOG_CONFIRM ? confirm(f, h, payload) : FOLLOW_OK;
}

int follow_run(struct follower *f, uint64_t to)
{
	while (world_lane_const(f->world)->seq < to) {
		struct log_record h;
		const uint8_t *payload;
		uint64_t position = f->reader.position, chain = f->reader.chain;
		int r = FOLLOW_OK;

		switch (log_read(&f->reader, &h, &payload)) {
		case LOG_OK:
			break;
		case LOG_E_END:
			return FOLLOW_OK;
		case LOG_E_LAPPED:
			return FOLLOW_E_LAPPED;
		case LOG_E_DAMAGED:
			return FOLLOW_E_DAMAGED;
		}
		if (h.type == LOG_CONFIRM)
			mark_redo(f, h.seq, position, chain);
		r = follow_record(f, &h, f->reader.position - log_cost(h.len), payload);
		if (r != FOLLOW_OK)
			return r;
	}
	return FOLLOW_OK;
}

unsigned follow_pending_count(const struct follower *f)
{
	return f->pending->n - f->pending->first;
}

const struct log_record *follow_pending_at(const struct follower *f, unsigned n,
					   const uint8_t **ret_payload)
{
	const struct follow_pending *p = f->pending;

	if (p->first + n >= p->n)
		return NULL;
	*ret_payload = p->bytes + p->item[p->first + n].at;
	return &p->item[p->first + n].h;
}

uint64_t follow_pending_position(const struct follower *f, unsigned n)
{
	return f->pending->item[f->pending->first + n].position;
}
