/* Checkpoint slots. See slot.h for the protocol. */
#include "engine/slot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static uint64_t generation_of(const struct custody *c, unsigned slot)
{
	return atomic_load_explicit(&c->slot_head[slot].generation, memory_order_acquire);
}

static bool complete(uint64_t generation)
{
	return generation != 0 && (generation & 1) == 0;
}

/* Index of the newest complete slot, or 2: none. */
static unsigned newest(const struct custody *c)
{
	uint64_t a = generation_of(c, 0), b = generation_of(c, 1);

	if (!complete(a) && !complete(b))
		return 2;
	if (!complete(b) || (complete(a) && a > b))
		return 0;
	return 1;
}

/* One that was never given: above both, and even. */
static uint64_t next_generation(const struct custody *c)
{
	uint64_t a = generation_of(c, 0), b = generation_of(c, 1);

	return ((a > b ? a : b) | 1) + 1;
}

/* The log is told before the slot is valid. Nearly full, it keeps its room for
 * the turn that must still be confirmed: such a checkpoint goes untold. */
static void tell(const struct wire_slot_head *slot, uint32_t epoch, struct log_writer *log)
{
	struct log_checkpoint told = { .position = slot->position, .bytes = slot->bytes,
				       .hash = { slot->hash[0], slot->hash[1] } };
	struct log_record h = { .seq = slot->seq, .time_ns = slot->time_ns, .epoch = epoch,
				.type = LOG_CHECKPOINT };
	uint64_t most = 2 * log_cost(sizeof(told)) + log_cost(0);

	if (log_room(log) < most)
		return;
	log_append(log, &h, &told, sizeof(told));
	log_commit(log);
}

int slot_write(struct custody *c, const struct slot_codec *codec, const struct world *w,
	       struct log_writer *log)
{
	unsigned slot = newest(c) == 0 ? 1 : 0;
	uint64_t generation = next_generation(c);
	struct wire_slot_head *h = &c->slot_head[slot];
	XXH128_hash_t hash;
	size_t len;
	int r;

	atomic_store_explicit(&h->generation, generation - 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	r = codec->pack(w, c->slot[slot], LIMIT_SLOT_BYTES, &len);
	if (r < 0)
		return r;
	hash = XXH3_128bits(c->slot[slot], len);
	h->bytes = len;
	h->hash[0] = hash.low64;
	h->hash[1] = hash.high64;
	h->seq = world_lane_const(w)->seq;
	h->time_ns = world_lane_const(w)->time_ns;
	h->position = log->end;
	h->chain = log->chain;
	tell(h, world_lane_const(w)->epoch, log);
	atomic_store_explicit(&h->generation, generation, memory_order_release);
	return 0;
}

static enum slot_told compare(const struct log_record *h, const void *payload,
			      const struct slot_cut *cut, size_t len, XXH128_hash_t hash)
{
	struct log_checkpoint told;

	if (h->type != LOG_CHECKPOINT)
		return SLOT_TOLD_NOTHING;
	if (h->len < sizeof(told) || h->seq != cut->seq)
		return SLOT_TOLD_OTHER;
	memcpy(&told, payload, sizeof(told));
	return told.position == cut->position && told.bytes == len &&
			       told.hash[0] == hash.low64 && told.hash[1] == hash.high64
		       ? SLOT_TOLD_SAME : SLOT_TOLD_OTHER;
}

enum slot_told slot_told(const struct log_record *h, const void *payload,
			 const struct slot_cut *cut, const uint8_t *bytes, size_t len)
{
	return compare(h, payload, cut, len, XXH3_128bits(bytes, len));
}

/* A slot on its way into private memory. */
struct copy {
	unsigned slot;
	struct slot_cut cut;
	size_t len;
	enum log_result behind;       /* what the log says behind the cut */
	struct log_record h;
	struct log_checkpoint told;
};

/* The record behind the cut; @scratch holds LOG_SCRATCH bytes. */
static void look_behind(const struct custody *c, struct copy *p, uint8_t *scratch)
{
	struct log_reader lr;
	const uint8_t *payload;

	log_reader_init(&lr, &c->lane_words[0], c->lane_ring, p->cut.position, p->cut.chain,
			scratch);
	p->behind = log_read(&lr, &p->h, &payload);
	if (p->behind == LOG_OK)
		memcpy(&p->told, payload, p->h.len < sizeof(p->told) ? p->h.len : sizeof(p->told));
}

/* What is wrong with a copy that was not disturbed; false: nothing. */
static bool is_wrong(const struct copy *p, const uint8_t *buffer, const uint64_t hash[2], char *why)
{
	XXH128_hash_t now = XXH3_128bits(buffer, p->len);
	unsigned long long seq = p->cut.seq;
	char name = (char)('A' + p->slot);

	if (now.low64 != hash[0] || now.high64 != hash[1])
		snprintf(why, 160, "checkpoint %c of turn %llu: its bytes do not have the hash that "
			 "stands beside them", name, seq);
	else if (p->behind == LOG_E_DAMAGED)
		snprintf(why, 160, "checkpoint %c of turn %llu: the log does not go on behind its cut "
			 "at position %llu", name, seq, (unsigned long long)p->cut.position);
	else if (p->behind == LOG_OK &&
		 compare(&p->h, &p->told, &p->cut, p->len, now) == SLOT_TOLD_OTHER)
		snprintf(why, 160, "checkpoint %c of turn %llu: %zu bytes, hash %016llx; the log tells "
			 "of turn %llu: %llu bytes, hash %016llx", name, seq, p->len,
			 (unsigned long long)now.low64, (unsigned long long)p->h.seq,
			 (unsigned long long)p->told.bytes, (unsigned long long)p->told.hash[0]);
	else
		return false;
	return true;
}

/* 0; -EAGAIN: there is none, or it changed while it was copied; -EBADMSG: it is
 * not what was written, and @why says so. */
static int copy_slot(const struct custody *c, uint8_t *buffer, struct copy *p, char *why)
{
	const struct wire_slot_head *h = &c->slot_head[p->slot];
	uint64_t generation = generation_of(c, p->slot), len = h->bytes;
	uint64_t hash[2] = { h->hash[0], h->hash[1] };
	bool wrong;

	if (!complete(generation))
		return -EAGAIN;
	p->cut = (struct slot_cut){ .generation = generation, .seq = h->seq,
				    .position = h->position, .chain = h->chain };
	p->len = len < LIMIT_SLOT_BYTES ? len : LIMIT_SLOT_BYTES;
	look_behind(c, p, buffer);
	memcpy(buffer, c->slot[p->slot], p->len);
	atomic_thread_fence(memory_order_seq_cst);
	wrong = is_wrong(p, buffer, hash, why);
	if (generation_of(c, p->slot) != generation)
		return -EAGAIN;
	return wrong ? -EBADMSG : 0;
}

int slot_copy(const struct custody *c, bool older, uint8_t *buffer, size_t *ret_len,
	      struct slot_cut *ret)
{
	unsigned first = newest(c);
	struct copy p = { .slot = older ? 1 - first : first };
	char why[160];
	int r;

	if (first == 2)
		return -EAGAIN;
	r = copy_slot(c, buffer, &p, why);
	*ret_len = p.len;
	*ret = p.cut;
	return r;
}

/* Without a slot: all that ever happened lies in the log, or it does not. */
static int load_nothing(const struct custody *c, const struct slot_cut *refused,
			struct slot_cut *ret, char *why)
{
	bool known = refused->refused[0] || refused->refused[1];

	if (atomic_load(&c->lane_words[0].oldest) == 0) {
		*ret = *refused;
		return 0;
	}
	if (!known)
		snprintf(why, 160, "no checkpoint holds still long enough to be read");
	return -EBADMSG;
}

int slot_load(const struct custody *c, const struct slot_codec *codec, struct world *w,
	      uint8_t *buffer, struct slot_cut *ret, char *why)
{
	struct slot_cut refused = { 0 };
	unsigned first = newest(c);

	*ret = (struct slot_cut){ 0 };
	if (first == 2)
		return 0;
	for (unsigned attempt = 0; attempt < 6; attempt++) {
		struct copy p = { .slot = (first + attempt) % 2 };
		char wrong[160];
		int r = copy_slot(c, buffer, &p, wrong);

		if (r == -EBADMSG) {
			if (!refused.refused[0] && !refused.refused[1])
				memcpy(why, wrong, sizeof(wrong));
			refused.refused[p.slot] = p.cut.generation;
		}
		if (r < 0)
			continue;
		r = codec->unpack(w, buffer, p.len, why);
		if (r < 0)
			return r;
		*ret = p.cut;
		memcpy(ret->refused, refused.refused, sizeof(ret->refused));
		return 0;
	}
	return load_nothing(c, &refused, ret, why);
}

void slot_drop_refused(struct custody *c, const struct slot_cut *cut)
{
	for (unsigned slot = 0; slot < 2; slot++) {
		if (cut->refused[slot] && generation_of(c, slot) == cut->refused[slot])
			atomic_store_explicit(&c->slot_head[slot].generation,
					      cut->refused[slot] + 1, memory_order_release);
	}
}

uint64_t slot_newest(const struct custody *c)
{
	unsigned slot = newest(c);

	return slot == 2 ? 0 : c->slot_head[slot].position;
}

uint64_t slot_keep(const struct custody *c)
{
	uint64_t a = c->slot_head[0].position, b = c->slot_head[1].position;

	bool has_a = complete(generation_of(c, 0)), has_b = complete(generation_of(c, 1));

	if (has_a && has_b)
		return a < b ? a : b;
	if (has_a)
		return a;
	return has_b ? b : 0;
}
