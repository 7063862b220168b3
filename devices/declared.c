/* The declared-state page. Invariant: the copy that the commit word names is
 * never written; the partition believes a copy only while the word stands. */
#include "devices/declared.h"

#include <string.h>

void declared_touch(struct declared *d, uint64_t seq)
{
	if (seq > d->now.generation)
		d->now.generation = seq;
	d->dirty = true;
}

bool declared_commit(struct declared *d, struct wire_declared *page)
{
	uint64_t word = atomic_load_explicit(&page->commit, memory_order_relaxed);
	uint64_t spare = !(word & 1);

	if (!d->dirty)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	memcpy(&page->copy[spare], &d->now, sizeof(d->now));
	atomic_store_explicit(&page->commit, d->now.generation << 1 | spare, memory_order_release);
	d->dirty = false;
	return true;
}
