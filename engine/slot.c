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

int slot_write(struct custody *c, const struct slot_codec *codec, const struct world *w,
	       uint64_t position, uint64_t chain)
{
	unsigned last = newest(c), slot = last == 0 ? 1 : 0;
	uint64_t generation = (last == 2 ? 0 : generation_of(c, last)) + 2;
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
	h->position = position;
	h->chain = chain;
	atomic_store_explicit(&h->generation, generation, memory_order_release);
	return 0;
}

/* 0, or -EAGAIN: changed or damaged while it was copied. */
static int copy_slot(const struct custody *c, unsigned slot, uint8_t *buffer, size_t *ret_len,
		     struct slot_cut *ret)
{
	const struct wire_slot_head *h = &c->slot_head[slot];
	uint64_t generation = generation_of(c, slot), len = h->bytes;
	uint64_t low = h->hash[0], high = h->hash[1];
	XXH128_hash_t hash;

	if (!complete(generation) || len > LIMIT_SLOT_BYTES)
		return -EAGAIN;
	*ret = (struct slot_cut){ generation, h->seq, h->position, h->chain };
	memcpy(buffer, c->slot[slot], len);
	atomic_thread_fence(memory_order_seq_cst);
	hash = XXH3_128bits(buffer, len);
	if (generation_of(c, slot) != generation || hash.low64 != low || hash.high64 != high)
		return -EAGAIN;
	*ret_len = len;
	return 0;
}

int slot_copy(const struct custody *c, bool older, uint8_t *buffer, size_t *ret_len,
	      struct slot_cut *ret)
{
	unsigned first = newest(c);

	if (first == 2)
		return -EAGAIN;
	return copy_slot(c, older ? 1 - first : first, buffer, ret_len, ret);
}

int slot_load(const struct custody *c, const struct slot_codec *codec, struct world *w,
	      uint8_t *buffer, struct slot_cut *ret, char *why)
{
	unsigned first = newest(c);
	int r = -EBADMSG;

	*ret = (struct slot_cut){ 0 };
	if (first == 2)
		return 0;
	snprintf(why, 160, "no checkpoint slot holds together");
	for (unsigned attempt = 0; attempt < 6; attempt++) {
		unsigned slot = (first + attempt) % 2;
		struct slot_cut cut;
		size_t len;

		if (copy_slot(c, slot, buffer, &len, &cut) < 0)
			continue;
		r = codec->unpack(w, buffer, len, why);
		if (r < 0)
			return r;
		*ret = cut;
		return 0;
	}
	return r;
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
