/* The log ring: one writer, readers that believe nothing they have not checked.
 *
 * The writer moves `oldest` over what it is about to overwrite, fences, then
 * writes; a reader copies, fences, and looks at `oldest` again. Records are
 * staged behind the tail and happen all at once with one release store. */
#include "engine/log.h"

#include "engine/fact.h"
#include "engine/limits.h"

#include <string.h>
#define XXH_INLINE_ALL /* the chain is most of an append's cost: no call, header's length known */
#include <xxhash.h>

enum {
	CHAINED = offsetof(struct log_record, chain),
	AHEAD = 512, /* bytes given up and fetched before they are needed; further is too cold */
};
_Static_assert(sizeof(struct log_record) == 56, "on disk");

void log_words_init(struct log_words *w, uint64_t bytes)
{
	fact(bytes && (bytes & (bytes - 1)) == 0);
	atomic_store(&w->tail, 0);
	atomic_store(&w->oldest, 0);
	atomic_store(&w->done, 0);
	w->bytes = bytes;
}

void log_writer_init(struct log_writer *lw, struct log_words *w, uint8_t *ring, uint8_t lane,
		     uint64_t position, uint64_t chain, uint64_t keep)
{
	*lw = (struct log_writer){ .words = w, .ring = ring, .size = w->bytes, .end = position,
				   .chain = chain, .keep = keep, .lane = lane };
}

uint64_t log_cost(uint32_t len)
{
	return sizeof(struct log_record) + (((uint64_t)len + 7) & ~7ull);
}

uint64_t log_room(const struct log_writer *lw)
{
	return lw->size - (lw->end - lw->keep);
}

uint64_t log_chain(const struct log_record *h, const void *payload, uint64_t before)
{
	uint64_t chain = XXH3_64bits_withSeed(h, CHAINED, before);

	return h->len ? XXH3_64bits_withSeed(payload, h->len, chain) : chain;
}

/* Position behind the record at @at. A pad reaches to the ring's end. */
static uint64_t behind(const struct log_record *h, uint64_t at, uint64_t size)
{
	if (h->type == LOG_PAD)
		return (at | (size - 1)) + 1;
	return at + log_cost(h->len);
}

/* Gives up records until [end, end + bytes) is free, and some more as long as
 * they lie below `keep`, so that not every append needs a fence. */
static void give_up(struct log_writer *lw, uint64_t bytes, uint64_t oldest)
{
	while (lw->end + bytes - oldest > lw->size ||
	       (oldest < lw->keep && lw->end + bytes + AHEAD - oldest > lw->size)) {
		struct log_record h;

		memcpy(&h, lw->ring + (oldest & (lw->size - 1)), sizeof(h));
		oldest = behind(&h, oldest, lw->size);
	}
	atomic_store_explicit(&lw->words->oldest, oldest, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

/* Makes [end, end + bytes) writable: moves `oldest` out of the way first. */
static void make_way(struct log_writer *lw, uint64_t bytes)
{
	uint64_t oldest = atomic_load_explicit(&lw->words->oldest, memory_order_relaxed);

	fact(log_room(lw) >= bytes);
	if (lw->end + bytes - oldest > lw->size)
		give_up(lw, bytes, oldest);
}

/* A header is filled word by word: a field stored alone and read back as part
 * of a wider word would stall each append. */
union head {
	uint64_t word[sizeof(struct log_record) / sizeof(uint64_t)];
	struct log_record record;
};

static void head_fill(union head *u, const struct log_record *h, uint8_t lane, uint32_t len)
{
	u->word[0] = h->seq;
	u->word[1] = h->time_ns;
	u->word[2] = len | (uint64_t)h->type << 32 | (uint64_t)lane << 48 |
		     (uint64_t)h->source << 56;
	u->word[3] = h->kind | (uint64_t)h->index << 16 | (uint64_t)h->generation << 32;
	u->word[4] = h->epoch | (uint64_t)h->code << 32 | (uint64_t)h->flags << 48;
	u->word[5] = h->source_pos;
}

static void put(struct log_writer *lw, union head *u, const void *payload)
{
	uint8_t *at = lw->ring + (lw->end & (lw->size - 1));

	__builtin_prefetch(at + AHEAD, 1);
	__builtin_prefetch(at + AHEAD + 64, 1);
	lw->chain = log_chain(&u->record, payload, lw->chain);
	u->record.chain = lw->chain;
	memcpy(at, u, sizeof(*u));
	if (u->record.len && payload != at + sizeof(*u))
		memcpy(at + sizeof(*u), payload, u->record.len);
	lw->end = behind(&u->record, lw->end, lw->size);
}

/* A record never wraps, and what is left behind one has room for a pad's
 * header: otherwise a pad comes first. */
static bool fits(uint64_t left, uint64_t cost)
{
	return left == cost || left >= cost + sizeof(struct log_record);
}

static void make_place(struct log_writer *lw, uint64_t cost)
{
	uint64_t left = lw->size - (lw->end & (lw->size - 1));

	if (!fits(left, cost)) {
		union head pad;

		head_fill(&pad, &(struct log_record){ .type = LOG_PAD }, lw->lane, 0);
		make_way(lw, left);
		put(lw, &pad, NULL);
	}
	make_way(lw, cost);
}

void *log_reserve(struct log_writer *lw, uint32_t len)
{
	make_place(lw, log_cost(len));
	return lw->ring + (lw->end & (lw->size - 1)) + sizeof(struct log_record);
}

void log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		uint32_t len)
{
	union head copy;

	head_fill(&copy, h, lw->lane, len);
	make_place(lw, log_cost(len));
	put(lw, &copy, payload);
}

void log_commit(struct log_writer *lw)
{
	atomic_store_explicit(&lw->words->tail, lw->end, memory_order_release);
}

void log_reader_init(struct log_reader *lr, const struct log_words *w, const uint8_t *ring,
		     uint64_t position, uint64_t chain, uint8_t *scratch)
{
	*lr = (struct log_reader){ .words = w, .ring = ring, .size = w->bytes,
				   .position = position, .chain = chain, .scratch = scratch };
}

/* Copies @n bytes at @at, then makes sure that they were not overwritten. */
static enum log_result copy_out(struct log_reader *lr, uint64_t at, void *dst, uint64_t n)
{
	memcpy(dst, lr->ring + (at & (lr->size - 1)), n);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&lr->words->oldest, memory_order_relaxed) > at)
		return LOG_E_LAPPED;
	return LOG_OK;
}

/* A length that cannot be: outside the ring's contiguous rest or the scratch. */
static bool damaged(const struct log_reader *lr, const struct log_record *h, uint64_t tail)
{
	uint64_t left = lr->size - (lr->position & (lr->size - 1));

	if (h->type == LOG_PAD)
		return h->len != 0;
	return h->len > LOG_SCRATCH || log_cost(h->len) > left ||
	       log_cost(h->len) > tail - lr->position;
}

enum log_result log_read(struct log_reader *lr, struct log_record *ret,
			 const uint8_t **ret_payload)
{
	for (;;) {
		uint64_t tail = atomic_load_explicit(&lr->words->tail, memory_order_acquire);
		struct log_record h;
		enum log_result r;

		if (lr->position == tail)
			return LOG_E_END;
		if (lr->position > tail)
			return LOG_E_DAMAGED;
		if (lr->size - (lr->position & (lr->size - 1)) < sizeof(h))
			return LOG_E_DAMAGED;
		r = copy_out(lr, lr->position, &h, sizeof(h));
		if (r != LOG_OK)
			return r;
		if (damaged(lr, &h, tail))
			return LOG_E_DAMAGED;
		r = copy_out(lr, lr->position + sizeof(h), lr->scratch, h.len);
		if (r != LOG_OK)
			return r;
		if (log_chain(&h, lr->scratch, lr->chain) != h.chain)
			return LOG_E_DAMAGED;
		lr->chain = h.chain;
		lr->position = behind(&h, lr->position, lr->size);
		if (h.type == LOG_PAD)
			continue;
		*ret = h;
		*ret_payload = lr->scratch;
		return LOG_OK;
	}
}
