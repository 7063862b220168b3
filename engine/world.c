/* The world: arenas of machine instances, and turns over them.
 *
 * A turn is one outside event and every internal message it causes, FIFO, run
 * to the end. Invariants between two turns: the message queue is empty; every
 * live instance satisfies its state's predicate; an index is live exactly when
 * its generation in the instance is not 0 and its bit in `free` is clear; of what
 * is not live, nothing but that 0 is read. Nothing here allocates after
 * world_new(). */
#include "engine/world.h"

#include "engine/blob.h"
#include "engine/coverage.h"
#include "engine/fact.h"

#include <stdlib.h>
#include <string.h>

enum { NO_ROW = UINT16_MAX, CODES = 64 };
_Static_assert((int)LIMIT_STATES <= CODES && (int)LIMIT_EVENTS <= CODES, "small tables");

/* One of those that a message to many was sent to, as they were then. */
struct target {
	uint32_t generation;
	uint16_t index, reserved;
};
_Static_assert(sizeof(struct target) == 8, "the next message is aligned");

struct arena {
	const struct sm_desc *desc;
	uint8_t *mem;
	uint32_t *generation;          /* last one given to each index */
	uint64_t *free;                /* bit set: index is free */
	uint16_t live;
	uint16_t used;                 /* no index from here on was occupied since the fill */
	uint8_t state_at[CODES];       /* code -> index + 1 in desc->states */
	uint8_t event_at[CODES];
	uint16_t first[LIMIT_STATES][LIMIT_EVENTS]; /* first row, NO_ROW: none */
	uint16_t *next;                /* row -> next row of the same pair */
};

struct world {
	const struct registry *registry;
	struct arena arena[LIMIT_KINDS];
	struct blobs blobs;
	struct lane_state lane;
	uint8_t *inbox;
	uint32_t inbox_head, inbox_end, inbox_used;
	uint8_t *effects;
	uint32_t effects_bytes, n_effects, effects_used;
	uint8_t *scratch;              /* a payload completed with zeros */
	uint8_t *deferred;             /* events put off, taken out again */
	uint8_t fill;                  /* what was not used since is full of it; 0: never filled */
	bool in_step, retiring;
	unsigned raise_to;
	bool beyond;                    /* a level above what this build serves was asked for */
	world_watch *watch;
	void *watch_user;
};

bool sm_always(const struct sm_cx *cx)
{
	(void)cx;
	return true;
}

bool sm_holds_always(const void *self)
{
	(void)self;
	return true;
}

void sm_nothing(struct sm_cx *cx)
{
	(void)cx;
}

static const uint32_t align8 = 7;

static uint32_t padded(size_t len)
{
	return (uint32_t)(len + align8) & ~align8;
}

static struct sm_head *head_at(const struct arena *a, unsigned index)
{
	return (struct sm_head *)(void *)(a->mem + (size_t)index * a->desc->size);
}

static unsigned words_of(const struct sm_desc *d)
{
	return (d->capacity + 63u) / 64;
}

static void free_all(struct arena *a)
{
	for (unsigned i = 0; i < words_of(a->desc); i++) {
		unsigned left = a->desc->capacity - i * 64u;

		a->free[i] = left >= 64 ? UINT64_MAX : (1ull << left) - 1;
	}
	a->live = 0;
}

static void index_rows(struct arena *a)
{
	const struct sm_desc *d = a->desc;

	memset(a->first, 0xff, sizeof(a->first));
	for (unsigned i = 0; i < d->n_states; i++) {
		fact(d->states[i].code < CODES);
		a->state_at[d->states[i].code] = (uint8_t)(i + 1);
	}
	for (unsigned i = 0; i < d->n_events; i++) {
		fact(d->events[i].code < CODES);
		a->event_at[d->events[i].code] = (uint8_t)(i + 1);
	}
	for (unsigned i = d->n_rows; i-- > 0;) {
		const struct sm_row *r = &d->rows[i];
		uint16_t *first = &a->first[a->state_at[r->from] - 1][a->event_at[r->on] - 1];

		a->next[i] = *first;
		*first = (uint16_t)i;
	}
}

static bool arena_init(struct arena *a, const struct sm_desc *d)
{
	a->desc = d;
	fact(d->n_states <= LIMIT_STATES && d->n_events <= LIMIT_EVENTS && d->n_rows < NO_ROW);
	a->mem = calloc(d->capacity, d->size);
	a->generation = calloc(d->capacity, sizeof(*a->generation));
	a->free = calloc(words_of(d), sizeof(*a->free));
	a->next = calloc(d->n_rows + 1u, sizeof(*a->next));
	if (!a->mem || !a->generation || !a->free || !a->next)
		return false;
	free_all(a);
	index_rows(a);
	return true;
}

struct world *world_new(const struct registry *r)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->registry = r;
	w->inbox = malloc(LIMIT_INBOX_BYTES);
	w->effects = malloc(LIMIT_TURN_BYTES);
	w->scratch = malloc(LIMIT_PAYLOAD);
	w->deferred = malloc(LIMIT_DEFERRED * (LIMIT_PAYLOAD + sizeof(struct sm_message)));
	if (!w->inbox || !w->effects || !w->scratch || !w->deferred || blobs_init(&w->blobs) < 0)
		return world_free(w);
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		fact(!r->machines[k] || r->machines[k]->kind == k);
		if (r->machines[k] && !arena_init(&w->arena[k], r->machines[k]))
			return world_free(w);
	}
	w->lane.level = 1;
	return w;
}

struct world *world_free(struct world *w)
{
	if (!w)
		return NULL;
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		free(w->arena[k].mem);
		free(w->arena[k].generation);
		free(w->arena[k].free);
		free(w->arena[k].next);
	}
	blobs_deinit(&w->blobs);
	free(w->inbox);
	free(w->effects);
	free(w->scratch);
	free(w->deferred);
	free(w);
	return NULL;
}

/* What is not live is never read, and cleared when it is occupied: it is left
 * alone, untouched memory most of all, unless a test wants it filled. Then only
 * what was used is filled @again. */
static void arena_reset(struct arena *a, uint8_t fill, bool again)
{
	unsigned n = fill && !again ? a->desc->capacity : a->used;

	if (fill) {
		memset(a->mem, fill, n * a->desc->size);
		a->used = 0;
	}
	for (unsigned i = 0; i < n; i++)
		head_at(a, i)->generation = 0;
	memset(a->generation, 0, a->desc->capacity * sizeof(*a->generation));
	free_all(a);
}

static void fill_buffers(struct world *w, uint8_t fill, bool again)
{
	memset(w->inbox, fill, again ? w->inbox_used : LIMIT_INBOX_BYTES);
	memset(w->effects, fill, again ? w->effects_used : LIMIT_TURN_BYTES);
	memset(w->scratch, fill, LIMIT_PAYLOAD);
	w->inbox_used = w->effects_used = 0;
	w->fill = fill;
}

void world_reset(struct world *w, uint8_t fill)
{
	bool again = fill == w->fill;

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (w->arena[k].desc)
			arena_reset(&w->arena[k], fill, again);
	}
	w->beyond = false;
	blobs_reset(&w->blobs, fill, again);
	if (fill)
		fill_buffers(w, fill, again);
	w->lane = (struct lane_state){ .level = 1 };
	w->inbox_head = w->inbox_end = 0;
}

bool world_beyond(const struct world *w)
{
	return w->beyond;
}

struct lane_state *world_lane(struct world *w)
{
	return &w->lane;
}

const struct lane_state *world_lane_const(const struct world *w)
{
	return &w->lane;
}

const struct registry *world_registry(const struct world *w)
{
	return w->registry;
}

void world_watch_set(struct world *w, world_watch *fn, void *user)
{
	w->watch = fn;
	w->watch_user = user;
}

/* ---- instances ------------------------------------------------------------ */

static const struct arena *arena_of(const struct world *w, uint16_t kind)
{
	return kind < LIMIT_KINDS && w->arena[kind].desc ? &w->arena[kind] : NULL;
}

const void *world_at(const struct world *w, uint16_t kind, uint16_t index)
{
	const struct arena *a = arena_of(w, kind);

	if (!a || index >= a->desc->capacity || head_at(a, index)->generation == 0)
		return NULL;
	return head_at(a, index);
}

unsigned world_live(const struct world *w, uint16_t kind)
{
	const struct arena *a = arena_of(w, kind);

	return a ? a->live : 0;
}

unsigned world_room(const struct world *w, uint16_t kind)
{
	const struct arena *a = arena_of(w, kind);

	return a ? (unsigned)(a->desc->capacity - a->live) : 0;
}

static void *occupy(struct arena *a, unsigned index, uint32_t generation)
{
	struct sm_head *h = head_at(a, index);

	a->free[index / 64] &= ~(1ull << index % 64);
	a->live++;
	if (index >= a->used)
		a->used = (uint16_t)(index + 1);
	memset(h, 0, a->desc->size);
	h->generation = generation;
	a->generation[index] = generation;
	return h;
}

static struct sm_ref spawn(struct world *w, uint16_t kind)
{
	struct arena *a = &w->arena[kind];

	fact(kind < LIMIT_KINDS && a->desc);
	for (unsigned i = 0; i < words_of(a->desc); i++) {
		unsigned index;
		uint32_t generation;
		struct sm_head *h;

		if (!a->free[i])
			continue;
		index = i * 64 + (unsigned)__builtin_ctzll(a->free[i]);
		generation = a->generation[index] + 1;
		if (generation == 0)
			generation = 1;
		h = occupy(a, index, generation);
		h->state = a->desc->states[0].code;
		return (struct sm_ref){ kind, (uint16_t)index, generation };
	}
	return (struct sm_ref){ 0 };
}

void world_spawn_fixed(struct world *w, uint16_t kind, uint16_t count)
{
	for (unsigned i = 0; i < count; i++)
		fact(spawn(w, kind).generation != 0);
}

static void release_blobs(struct world *w, const struct sm_desc *d, struct sm_head *h)
{
	blobs_free(&w->blobs, h->deferred);
	blobs_free(&w->blobs, h->unknown);
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];

		if (f->type != SM_T_blob)
			continue;
		for (unsigned n = 0; n < f->count; n++)
			blobs_free(&w->blobs, ((sm_blob *)(void *)((char *)h + f->offset))[n]);
	}
}

static void retire(struct world *w, struct arena *a, unsigned index)
{
	struct sm_head *h = head_at(a, index);

	release_blobs(w, a->desc, h);
	memset(h, 0, a->desc->size);
	a->free[index / 64] |= 1ull << index % 64;
	a->live--;
}

void *world_place(struct world *w, uint16_t kind, uint16_t index, uint32_t generation)
{
	const struct arena *a = arena_of(w, kind);

	if (!a || index >= a->desc->capacity || generation == 0 ||
	    head_at(a, index)->generation != 0)
		return NULL;
	return occupy(&w->arena[kind], index, generation);
}

sm_blob world_blob_new(struct world *w, const void *bytes, size_t len)
{
	return blobs_new(&w->blobs, bytes, len);
}

uint32_t world_generation(const struct world *w, uint16_t kind, uint16_t index)
{
	const struct arena *a = arena_of(w, kind);

	return a && index < a->desc->capacity ? a->generation[index] : 0;
}

void world_set_generation(struct world *w, uint16_t kind, uint16_t index, uint32_t generation)
{
	const struct arena *a = arena_of(w, kind);

	if (a && index < a->desc->capacity)
		a->generation[index] = generation;
}

size_t world_blob_len(const struct world *w, sm_blob b)
{
	return blobs_len(&w->blobs, b);
}

size_t world_blob_read(const struct world *w, sm_blob b, size_t offset, void *dst, size_t len)
{
	return blobs_read(&w->blobs, b, offset, dst, len);
}

unsigned world_blob_room(const struct world *w)
{
	return w->blobs.n_free;
}

/* Events put off are bytes to the codec: their lengths and codes are checked
 * before anybody walks them. */
static bool deferred_sound(const struct world *w, const struct arena *a, sm_blob deferred)
{
	size_t total = blobs_len(&w->blobs, deferred), at = 0;
	unsigned n = 0;

	for (struct sm_message m; at < total; at += sizeof(m) + padded(m.len)) {
		if (blobs_read(&w->blobs, deferred, at, &m, sizeof(m)) != sizeof(m) ||
		    m.len > LIMIT_PAYLOAD || padded(m.len) > total - at - sizeof(m) ||
		    m.event >= CODES || !a->event_at[m.event] || ++n > LIMIT_DEFERRED)
			return false;
	}
	return true;
}

static const char *check_instance(const struct world *w, const struct arena *a,
				  const struct sm_head *h)
{
	const struct sm_desc *d = a->desc;
	const struct sm_state *s = sm_state_find(d, h->state);

	if (!s || !deferred_sound(w, a, h->deferred))
		return d->name;
	if (!s->holds(h) || (d->holds_full && !d->holds_full(h)))
		return s->name;
	return NULL;
}

bool world_loaded(struct world *w, const char **ret_why)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		struct arena *a = &w->arena[k];

		for (unsigned i = 0; i < a->used; i++) {
			const char *why;

			if (head_at(a, i)->generation == 0)
				continue;
			why = check_instance(w, a, head_at(a, i));
			if (why) {
				*ret_why = why;
				return false;
			}
		}
	}
	return true;
}

/* ---- what actions call ------------------------------------------------------ */

void sm_effect(struct sm_cx *cx, uint16_t code, const void *fixed, const void *tail, size_t len)
{
	struct world *w = cx->world;
	const struct effect_desc *d = &w->registry->effects[code];
	struct effect_head *h = (struct effect_head *)(void *)(w->effects + w->effects_bytes);
	uint32_t total;
	uint8_t *p;

	fact(w->in_step);
	fact(code < w->registry->n_effects && d->name);
	fact(d->since <= w->lane.level);
	total = (uint32_t)(d->rec->size + len);
	fact(total <= LIMIT_PAYLOAD);
	fact(w->n_effects < LIMIT_TURN_EFFECTS);
	fact(w->effects_bytes + sizeof(*h) + padded(total) <= LIMIT_TURN_BYTES);
	*h = (struct effect_head){ .code = code, .kind = cx->ref.kind, .index = cx->ref.index,
				   .len = total, .generation = cx->ref.generation };
	p = w->effects + w->effects_bytes + sizeof(*h);
	if (d->rec->size)
		memcpy(p, fixed, d->rec->size);
	if (len)
		memcpy(p + d->rec->size, tail, len);
	memset(p + total, 0, padded(total) - total);
	w->effects_bytes += (uint32_t)sizeof(*h) + padded(total);
	w->n_effects++;
}

static struct sm_message *enqueue(struct world *w, struct sm_ref to, struct sm_ref from,
				  uint16_t event, const void *fixed, size_t fixed_len,
				  const void *tail, size_t len)
{
	struct sm_message *m = (struct sm_message *)(void *)(w->inbox + w->inbox_end);
	size_t total = fixed_len + len;

	fact(total <= LIMIT_PAYLOAD);
	fact(w->inbox_end + sizeof(*m) + padded(total) <= LIMIT_INBOX_BYTES);
	*m = (struct sm_message){ .to = to, .from = from, .event = event, .len = (uint32_t)total };
	if (fixed_len)
		memcpy(m + 1, fixed, fixed_len);
	if (len)
		memcpy((uint8_t *)(m + 1) + fixed_len, tail, len);
	w->inbox_end += (uint32_t)sizeof(*m) + padded(total);
	return m;
}

static const struct sm_event_desc *event_desc(const struct world *w, uint16_t kind, uint16_t code)
{
	const struct arena *a = arena_of(w, kind);

	if (!a || code >= CODES || !a->event_at[code])
		return NULL;
	return &a->desc->events[a->event_at[code] - 1];
}

void sm_post(struct sm_cx *cx, struct sm_ref to, uint16_t event, const void *fixed,
	     const void *tail, size_t len)
{
	const struct sm_event_desc *e = event_desc(cx->world, to.kind, event);

	fact(cx->world->in_step && e);
	enqueue(cx->world, to, cx->ref, event, fixed, e->rec->size, tail, len);
}

void sm_post_all(struct sm_cx *cx, uint16_t kind, uint16_t event, const void *fixed,
		 const void *tail, size_t len)
{
	const struct arena *a = arena_of(cx->world, kind);
	const struct sm_event_desc *e = event_desc(cx->world, kind, event);
	struct world *w = cx->world;
	struct sm_message *m;
	struct target *t;

	fact(w->in_step && a && e);
	if (a->live == 0)
		return;
	m = enqueue(w, (struct sm_ref){ .kind = kind }, cx->ref, event, fixed, e->rec->size, tail,
		    len);
	m->many = a->live;
	t = (struct target *)(void *)(w->inbox + w->inbox_end);
	w->inbox_end += (uint32_t)(a->live * sizeof(*t));
	fact(w->inbox_end <= LIMIT_INBOX_BYTES);
	for (unsigned i = 0, left = a->live; left; i++) {
		uint32_t generation;

		fact(i < a->used);
		generation = head_at(a, i)->generation;
		if (generation == 0)
			continue;
		left--;
		*t++ = (struct target){ .generation = generation, .index = (uint16_t)i };
	}
}

struct sm_ref sm_spawn(struct sm_cx *cx, uint16_t kind)
{
	return spawn(cx->world, kind);
}

void sm_retire(struct sm_cx *cx)
{
	cx->world->retiring = true;
}

unsigned sm_room(const struct sm_cx *cx, uint16_t kind)
{
	return world_room(cx->world, kind);
}

struct sm_ref sm_find(const struct sm_cx *cx, uint16_t kind, uint64_t key)
{
	const struct arena *a = arena_of(cx->world, kind);

	fact(a && a->desc->key_offset >= 0);
	for (unsigned i = 0, left = a->live; left; i++) {
		const struct sm_head *h = head_at(a, i);
		uint64_t value;

		fact(i < a->desc->capacity);
		if (h->generation == 0)
			continue;
		left--;
		memcpy(&value, (const char *)h + a->desc->key_offset, sizeof(value));
		if (value == key)
			return (struct sm_ref){ kind, (uint16_t)i, h->generation };
	}
	return (struct sm_ref){ 0 };
}

bool sm_blob_set(struct sm_cx *cx, sm_blob *slot, const void *bytes, size_t len)
{
	sm_blob fresh = 0;

	if (len) {
		fresh = blobs_new(&cx->world->blobs, bytes, len);
		if (!fresh)
			return false;
	}
	blobs_free(&cx->world->blobs, *slot);
	*slot = fresh;
	return true;
}

bool sm_blob_append(struct sm_cx *cx, sm_blob *slot, const void *bytes, size_t len)
{
	sm_blob grown;

	if (len == 0)
		return true;
	grown = blobs_append(&cx->world->blobs, *slot, bytes, len);
	if (!grown)
		return false;
	*slot = grown;
	return true;
}

void sm_blob_clear(struct sm_cx *cx, sm_blob *slot)
{
	blobs_free(&cx->world->blobs, *slot);
	*slot = 0;
}

size_t sm_blob_len(const struct sm_cx *cx, sm_blob b)
{
	return blobs_len(&cx->world->blobs, b);
}

size_t sm_blob_read(const struct sm_cx *cx, sm_blob b, size_t offset, void *dst, size_t len)
{
	return blobs_read(&cx->world->blobs, b, offset, dst, len);
}

unsigned sm_level(const struct sm_cx *cx)
{
	return cx->world->lane.level;
}

void sm_raise_level(struct sm_cx *cx, unsigned level)
{
	fact(level >= cx->world->lane.level);
	if (level <= cx->world->registry->max_level)
		cx->world->raise_to = level;
	else
		cx->world->beyond = true;
}

/* ---- stepping ---------------------------------------------------------------- */

/* Puts an event off: appended to the instance's queue, as struct sm_message. */
static bool defer(struct world *w, struct sm_head *h, const struct sm_cx *cx, uint32_t len,
		  const void *payload)
{
	struct sm_message m = { .from = cx->from, .event = cx->event->code, .len = len };
	size_t at = 0, total = blobs_len(&w->blobs, h->deferred);
	unsigned n = 0;
	static const uint8_t zeros[8];
	sm_blob grown;

	for (struct sm_message old; at < total; at += sizeof(old) + padded(old.len), n++)
		blobs_read(&w->blobs, h->deferred, at, &old, sizeof(old));
	if (n >= LIMIT_DEFERRED ||
	    w->blobs.n_free < (sizeof(m) + padded(len)) / LIMIT_BLOB_CHUNK + 4)
		return false;
	grown = blobs_append(&w->blobs, h->deferred, &m, sizeof(m));
	fact(grown);
	if (len)
		grown = blobs_append(&w->blobs, grown, payload, len);
	if (padded(len) != len)
		grown = blobs_append(&w->blobs, grown, zeros, padded(len) - len);
	fact(grown);
	h->deferred = grown;
	return true;
}

/* Delivers again, behind what already waits in this turn, all that was put off. */
static void undefer(struct world *w, struct sm_head *h, struct sm_ref self)
{
	size_t total = blobs_len(&w->blobs, h->deferred);

	blobs_read(&w->blobs, h->deferred, 0, w->deferred, total);
	blobs_free(&w->blobs, h->deferred);
	h->deferred = 0;
	for (size_t at = 0; at < total;) {
		struct sm_message m;

		memcpy(&m, w->deferred + at, sizeof(m));
		enqueue(w, self, m.from, m.event, NULL, 0, w->deferred + at + sizeof(m), m.len);
		at += sizeof(m) + padded(m.len);
	}
}

static void otherwise(struct world *w, struct sm_cx *cx, const struct sm_state *s, uint32_t len,
		      const void *payload)
{
	if (s->otherwise == SM_IGNORE)
		return;
	fact(s->otherwise != SM_BUG);
	if (s->otherwise == SM_DEFER && defer(w, cx->self, cx, len, payload))
		return;
	w->lane.rejected++;
	if (cx->desc->reject)
		cx->desc->reject(cx);
}

static const struct sm_row *choose(const struct world *w, const struct arena *a,
				   const struct sm_cx *cx, unsigned state)
{
	unsigned event = (unsigned)(cx->event - a->desc->events);

	for (unsigned i = a->first[state][event]; i != NO_ROW; i = a->next[i]) {
		const struct sm_row *r = &a->desc->rows[i];

		if (r->since <= w->lane.level && r->guard(cx))
			return r;
	}
	return NULL;
}

static void take_row(struct world *w, struct arena *a, struct sm_cx *cx, const struct sm_row *row)
{
	struct sm_head *h = cx->self;
	const struct sm_state *to = &a->desc->states[a->state_at[row->to] - 1];
	uint16_t from = h->state;

	row->act(cx);
	fact(h->state == from);
	h->state = row->to;
	if (w->retiring) {
		retire(w, a, cx->ref.index);
		return;
	}
	fact(to->holds(h));
	if (from != row->to && h->deferred)
		undefer(w, h, cx->ref);
}

static void step(struct world *w, struct sm_cx *cx, const void *payload, uint32_t len)
{
	struct arena *a = &w->arena[cx->ref.kind];
	struct sm_head *h = head_at(a, cx->ref.index);
	const struct rec_desc *rec = cx->event->rec;
	const struct sm_row *row;
	uint16_t from = h->state;
	unsigned state = a->state_at[from] - 1u;

	cx->p = payload;
	if (len < rec->size) {
		memset(w->scratch, 0, rec->size);
		if (len)
			memcpy(w->scratch, payload, len);
		cx->p = w->scratch;
	}
	cx->tail = (const uint8_t *)payload + rec->size;
	cx->tail_len = len > rec->size ? len - rec->size : 0;
	cx->desc = a->desc;
	cx->self = h;
	cx->ref.generation = h->generation;
	w->in_step = true;
	w->retiring = false;
	row = cx->event->since <= w->lane.level ? choose(w, a, cx, state) : NULL;
	if (row)
		take_row(w, a, cx, row);
	else if (cx->event->since <= w->lane.level)
		otherwise(w, cx, &a->desc->states[state], len, payload);
	w->in_step = false;
	coverage_step(cx, state, row);
	if (w->watch)
		w->watch(w->watch_user, cx, from, row ? row->to : from, row);
}

/* False: nobody lives there, or it is not the one that was meant. */
static bool deliver(struct world *w, struct sm_cx *cx, const struct sm_event_desc *event,
		    const void *payload, uint32_t len)
{
	const struct sm_head *h = world_at(w, cx->ref.kind, cx->ref.index);

	cx->event = event;
	if (!h || !cx->event || (cx->ref.generation && cx->ref.generation != h->generation)) {
		w->lane.ignored++;
		return false;
	}
	step(w, cx, payload, len);
	return true;
}

/* As if a message to many had been one to each: nothing could come between. How many. */
static unsigned deliver_message(struct world *w, struct sm_cx *cx, const struct sm_message *m)
{
	const uint8_t *payload = (const uint8_t *)(m + 1);
	const struct target *t = (const void *)(payload + padded(m->len));
	const struct sm_event_desc *event = event_desc(w, m->to.kind, m->event);

	cx->ref = m->to;
	cx->from = m->from;
	if (m->many == 0) {
		deliver(w, cx, event, payload, m->len);
		return 1;
	}
	for (unsigned i = 0; i < m->many; i++) {
		cx->ref.index = t[i].index;
		cx->ref.generation = t[i].generation;
		deliver(w, cx, event, payload, m->len);
	}
	return m->many;
}

/* Below its level, who knows a field may write it, and nobody compares it: its value
 * depends on which processes have stepped what. At its level it begins as if an older
 * writer had lacked it, in each world alike. */
static void begin_fields(struct world *w, void *self, const struct sm_desc *d)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		const struct sm_field *f = &d->fields[i];
		sm_blob *blob = (sm_blob *)(void *)((uint8_t *)self + f->offset);

		if (f->since <= w->lane.level || f->since > w->raise_to)
			continue;
		for (unsigned n = 0; n < f->count; n++) {
			if (f->type == SM_T_blob)
				blobs_free(&w->blobs, blob[n]);
			sm_field_set(f, self, n, f->type == SM_T_blob ? 0 : f->absent);
		}
	}
}

static void raise_level(struct world *w)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		struct arena *a = &w->arena[k];

		for (unsigned i = 0; i < a->used; i++)
			if (head_at(a, i)->generation)
				begin_fields(w, head_at(a, i), a->desc);
	}
	w->lane.level = w->raise_to;
}

struct turn world_turn(struct world *w, const struct event *ev)
{
	struct sm_cx cx = { .world = w, .epoch = ev->epoch, .time_ns = ev->time_ns,
			    .seq = ev->seq };
	unsigned steps = 0;

	fact(ev->seq == w->lane.seq + 1);
	fact(ev->time_ns >= w->lane.time_ns);
	fact(ev->source < SOURCES);
	w->lane.seq = ev->seq;
	w->lane.time_ns = ev->time_ns;
	w->lane.epoch = ev->epoch;
	if (ev->source != SOURCE_NONE)
		w->lane.source_pos[ev->source] = ev->source_pos;
	w->inbox_head = w->inbox_end = 0;
	w->effects_bytes = w->n_effects = 0;
	w->raise_to = w->lane.level;
	cx.ref = (struct sm_ref){ ev->kind, ev->index, ev->generation };
	deliver(w, &cx, event_desc(w, ev->kind, ev->code), ev->payload, ev->len);
	while (w->inbox_head < w->inbox_end) {
		const struct sm_message *m = (const void *)(w->inbox + w->inbox_head);

		w->inbox_head += (uint32_t)(sizeof(*m) + padded(m->len) +
					    m->many * sizeof(struct target));
		steps += deliver_message(w, &cx, m);
		fact(steps < LIMIT_TURN_STEPS);
	}
	if (w->raise_to != w->lane.level)
		raise_level(w);
	if (w->inbox_end > w->inbox_used)
		w->inbox_used = w->inbox_end;
	if (w->effects_bytes > w->effects_used)
		w->effects_used = w->effects_bytes;
	return (struct turn){ w->effects, w->effects_bytes, w->n_effects };
}

bool effect_next(const struct registry *r, const uint8_t *bytes, uint32_t len, uint64_t seq,
		 uint32_t *at, uint32_t *n, struct effect *ret, bool *ret_bad)
{
	const struct effect_desc *d;
	struct effect_head h;

	*ret_bad = false;
	if (*at == len)
		return false;
	*ret_bad = true;
	if (len - *at < sizeof(h))
		return false;
	memcpy(&h, bytes + *at, sizeof(h));
	if (h.code >= r->n_effects || !r->effects[h.code].name || h.len > LIMIT_PAYLOAD ||
	    padded(h.len) > len - *at - sizeof(h))
		return false;
	d = &r->effects[h.code];
	if (h.len < d->rec->size)
		return false;
	*ret_bad = false;
	*ret = (struct effect){ .head = h, .p = bytes + *at + sizeof(h),
				.tail = bytes + *at + sizeof(h) + d->rec->size,
				.tail_len = h.len - d->rec->size, .seq = seq, .n = *n };
	*at += (uint32_t)sizeof(h) + padded(h.len);
	(*n)++;
	return true;
}
