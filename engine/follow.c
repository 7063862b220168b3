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

/* Own effects: of the pending events stepped ahead, in their order, and of the
 * confirms that were rejected. The bytes are used from the front and forgotten
 * together, when neither list holds anything. */
enum { REJECTED_MAX = 1024, OWN_BYTES = 16 << 20 };
struct follow_own {
	unsigned ahead, rejected;
	uint32_t used;
	struct own_effects {
		uint64_t seq;
		uint32_t at, len;
	} turn[PENDING_MAX], reject[REJECTED_MAX];
	uint8_t bytes[OWN_BYTES];
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
	free(f->own);
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
		if (!more && !more2) { /* what is left of the recorded ones is none */
			d.effect = &r->effects[0];
			d.field = "bytes";
			d.recorded = len - at;
		} else if (more != more2) {
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
		if (!more || !more2)
			return all;
	}
}

/* A log in a ring may hold, further on, that this confirm was rejected by a
 * take-over, and what was put in its place. Reads ahead with the other part of
 * the buffer. */
static bool was_rejected(const struct follower *f, uint64_t seq, const struct turn *t)
{
	struct log_reader ahead = f->reader;
	struct log_record h;
	const uint8_t *payload;

	if (!f->reader.ring)
		return false;
	ahead.scratch = f->buffer + LOG_SCRATCH;
	while (log_read(&ahead, &h, &payload) == LOG_OK) {
		struct log_confirm c;

		if (h.type != LOG_INSTEAD || h.seq != seq || h.len < sizeof(c))
			continue;
		return h.len - sizeof(c) == t->bytes &&
		       memcmp(payload + sizeof(c), t->effects, t->bytes) == 0;
	}
	return false;
}

static bool keep_own(struct follow_own *o, struct own_effects *at, uint64_t seq,
		     const struct turn *t)
{
	if (t->bytes > OWN_BYTES - o->used)
		return false;
	*at = (struct own_effects){ .seq = seq, .at = o->used, .len = t->bytes };
	if (t->bytes)
		memcpy(o->bytes + o->used, t->effects, t->bytes);
	o->used += t->bytes;
	return true;
}

static int reject(struct follow_own *o, uint64_t seq, const struct turn *t)
{
	if (o->rejected == REJECTED_MAX || !keep_own(o, &o->reject[o->rejected], seq, t))
		return FOLLOW_E_ROOM;
	o->rejected++;
	return FOLLOW_OK;
}

/* Steps, and compares with @recorded. */
static int step(struct follower *f, const struct log_record *h, const void *payload,
		const uint8_t *recorded, uint32_t len, struct turn *ret)
{
	struct event ev = event_of(h, payload);
	bool same;

	if (!legal(f, h))
		return FOLLOW_E_DAMAGED;
	*ret = world_turn(f->world, &ev);
	f->events++;
	same = compare(f, h->seq, recorded, len, ret);
	if (f->on_turn)
		f->on_turn(f->user, h, payload, ret);
	if (world_beyond(f->world))
		return FOLLOW_E_LEVEL;
	return same || was_rejected(f, h->seq, ret) ? FOLLOW_OK : FOLLOW_E_DIVERGED;
}

int follow_step(struct follower *f, const struct log_record *h, const void *payload,
		const uint8_t *recorded, uint32_t len)
{
	struct turn t;
	int r = step(f, h, payload, recorded, len, &t);

	if (r != FOLLOW_E_DIVERGED || !f->own)
		return r;
	r = reject(f->own, h->seq, &t);
	return r == FOLLOW_OK && !f->overrules ? FOLLOW_E_DIVERGED : r;
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

/* The effects that a confirm, or what is laid out like one, holds of the
 * pending event @n. */
static bool holds_effects(const struct follower *f, const struct log_record *h,
			  const uint8_t *payload, unsigned n, struct log_confirm *ret)
{
	const struct follow_pending *p = f->pending;

	if (h->len < sizeof(*ret) || n >= p->n || p->item[n].h.seq != h->seq)
		return false;
	memcpy(ret, payload, sizeof(*ret));
	return ret->bytes == h->len - sizeof(*ret);
}

/* What was proposed and stepped already is borne out. */
static int confirm_ahead(struct follower *f)
{
	struct follow_own *o = f->own;

	f->pending->first++;
	o->ahead--;
	memmove(o->turn, o->turn + 1, o->ahead * sizeof(*o->turn));
	if (o->ahead == 0 && o->rejected == 0)
		o->used = 0;
	return FOLLOW_OK;
}

static int propose(struct follower *f, const struct log_record *h, const uint8_t *payload)
{
	struct follow_pending *p = f->pending;
	struct follow_own *o = f->own;
	struct log_confirm c;
	struct turn t;
	unsigned n;
	int r;

	if (!o)
		return FOLLOW_OK;
	n = p->first + o->ahead;
	if (!holds_effects(f, h, payload, n, &c))
		return FOLLOW_E_DAMAGED;
	r = step(f, &p->item[n].h, p->bytes + p->item[n].at, payload + sizeof(c), c.bytes, &t);
	if (r != FOLLOW_OK && r != FOLLOW_E_DIVERGED)
		return r;
	if (!keep_own(o, &o->turn[o->ahead], h->seq, &t))
		return FOLLOW_E_ROOM;
	o->ahead++;
	return f->overrules ? FOLLOW_OK : r;
}

static int confirm(struct follower *f, const struct log_record *h, const uint8_t *payload)
{
	struct follow_pending *p = f->pending;
	struct log_confirm c;
	unsigned n = p->first;

	if (!holds_effects(f, h, payload, n, &c))
		return FOLLOW_E_DAMAGED;
	if (follow_ahead(f))
		return confirm_ahead(f);
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
	if (h->type == LOG_PROPOSE)
		return propose(f, h, payload);
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

/* ---- a predecessor ------------------------------------------------------------ */

int follow_own_init(struct follower *f)
{
	f->own = malloc(sizeof(*f->own));
	if (!f->own)
		return -ENOMEM;
	f->own->ahead = f->own->rejected = f->own->used = 0;
	return 0;
}

void follow_resume(struct follower *f, const struct custody *c, uint64_t position, uint64_t chain)
{
	follow_pending_clear(f);
	f->own->ahead = f->own->rejected = f->own->used = 0;
	f->redo_marked = f->overrules = false;
	f->events = f->divergences = f->expected = 0;
	log_reader_init(&f->reader, &c->lane_words[0], c->lane_ring, position, chain, f->buffer);
}

unsigned follow_ahead(const struct follower *f)
{
	return f->own ? f->own->ahead : 0;
}

bool follow_lacks(const struct follower *f)
{
	uint64_t done = atomic_load_explicit(&f->reader.words->done, memory_order_acquire);

	return world_lane_const(f->world)->seq - follow_ahead(f) < done;
}

const uint8_t *follow_ahead_at(const struct follower *f, unsigned n, uint32_t *ret_len)
{
	*ret_len = f->own->turn[n].len;
	return f->own->bytes + f->own->turn[n].at;
}

const uint8_t *follow_rejected(const struct follower *f, unsigned n, uint64_t *ret_seq,
			       uint32_t *ret_len)
{
	if (!f->own || n >= f->own->rejected)
		return NULL;
	*ret_seq = f->own->reject[n].seq;
	*ret_len = f->own->reject[n].len;
	return f->own->bytes + f->own->reject[n].at;
}
