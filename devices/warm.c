/* Page tables filled ahead of a take-over.
 *
 * A process that never touched a page of guest memory or custody pays a fault
 * for each when it does. A follower pays ahead, for what every take-over
 * touches: headers of rings, event flags, the areas of custody, the stretch of
 * the log ring that will be written next; and all pages of rings, once guest
 * memory is mapped writable: making it so costs time for each page that is mapped
 * by then. Nothing is read or changed, and nothing depends on it: a call that
 * fails costs time later. */
#include "devices/hands_state.h"

#include <sys/mman.h>

enum { LOG_AHEAD = 1 << 20 };

static void fill(const struct hands *h, const void *at, size_t bytes)
{
	uintptr_t from = (uintptr_t)at & ~(uintptr_t)(GUESTMEM_PAGE - 1);
	size_t whole = ((uintptr_t)at - from + bytes + GUESTMEM_PAGE - 1) &
		       ~(size_t)(GUESTMEM_PAGE - 1);
	int how = h->mem.read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

	(void)madvise((void *)from, whole, how);
}

static void fill_ring(const struct hands *h, const struct ring *r)
{
	fill(h, r->header, GUESTMEM_PAGE);
	for (uint32_t i = 0; !h->mem.read_only && i < r->size / GUESTMEM_PAGE; i++)
		fill(h, r->page[i], GUESTMEM_PAGE);
}

static void fill_flags(const struct hands *h)
{
	for (uint32_t i = 0; i < h->c->h->vps; i++) {
		uint64_t siefp = h->declared.now.vp[i].siefp;
		uint64_t page = siefp & ~(uint64_t)(GUESTMEM_PAGE - 1);
		const uint8_t *at = guestmem_at(&h->mem, page, GUESTMEM_PAGE);

		if ((siefp & SYNIC_ENABLED) && at)
			fill(h, at, GUESTMEM_PAGE);
	}
}

static void fill_custody(const struct hands *h)
{
	const struct wire_header *w = h->c->h;

	for (uint32_t i = 0; i < AREAS; i++) {
		if (i != AREA_LANE_RING && i != AREA_SLOT_A && i != AREA_SLOT_B)
			(void)madvise(h->c->base + w->area[i].offset, w->area[i].bytes,
				      MADV_POPULATE_WRITE);
	}
}

static void fill_log(const struct hands *h)
{
	const struct log_words *words = &h->c->lane_words[0];
	uint64_t at = atomic_load(&words->tail) % words->bytes & ~(uint64_t)(LOG_AHEAD - 1);

	for (unsigned i = 0; i < 2; i++, at = (at + LOG_AHEAD) % words->bytes)
		(void)madvise(h->c->lane_ring + at, LOG_AHEAD, MADV_POPULATE_WRITE);
}

void hands_warm(struct hands *h, bool soon)
{
	if (soon && h->mem.read_only) {
		guestmem_open(&h->mem);
		h->warm = (struct channels){ 0 };
	}
	if (!h->warm_custody)
		fill_custody(h);
	h->warm_custody = true;
	fill_log(h);
	fill_flags(h);
	for (uint32_t i = channels_next(&h->mapped, 0); i < LIMIT_CHANNELS;
	     i = channels_next(&h->mapped, i + 1)) {
		if (channels_has(&h->warm, i))
			continue;
		fill_ring(h, &h->chan[i].in);
		fill_ring(h, &h->chan[i].out);
	}
	h->warm = h->mapped;
}
