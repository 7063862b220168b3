/* The table of faults: the newest WIRE_FAULTS, overwritten in turn. */
#include "engine/faults.h"

void faults_note(struct custody *c, const struct fault_point *p)
{
	struct wire_header *h = c->h;
	uint32_t n = atomic_fetch_add(&h->faults, 1) % WIRE_FAULTS;

	atomic_store(&h->fault[n].seq, p->seq);
	atomic_store(&h->fault[n].effect, p->effect);
	atomic_store(&h->fault_seq_before, atomic_load(&h->fault_seq));
	atomic_store(&h->fault_seq, p->seq);
}

bool faults_twice(const struct custody *c, uint64_t seq, uint32_t effect)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WIRE_FAULTS; i++)
		n += atomic_load(&c->h->fault[i].seq) == seq &&
		     atomic_load(&c->h->fault[i].effect) == effect;
	return seq != 0 && n >= 2;
}

unsigned faults_effects(const struct custody *c, uint64_t done,
			uint64_t ret_id[WIRE_FAULTS / 2])
{
	unsigned n = 0;

	for (unsigned i = 0; i < WIRE_FAULTS; i++) {
		uint64_t seq = atomic_load(&c->h->fault[i].seq);
		uint32_t effect = atomic_load(&c->h->fault[i].effect);
		uint64_t id = seq << 12 | (effect - 1);
		bool known = seq <= done || effect == 0 || !faults_twice(c, seq, effect);

		for (unsigned k = 0; k < n && !known; k++)
			known = ret_id[k] == id;
		if (!known)
			ret_id[n++] = id;
	}
	return n;
}
