/* VMBus rings: copy loops over page pointers.
 *
 * A double mapping of each ring would need a system call a page; a table of
 * page pointers needs none, and a packet of at most 4 KiB crosses at most two
 * page borders. The guest owns the memory: each word is read once into a local
 * variable, checked, and only then used. */
#include "devices/ring.h"

#include "engine/fact.h"
#include "engine/limits.h"
#include "statemachines/effects.h"

#include <errno.h>
#include <string.h>

_Static_assert(offsetof(struct ring_header, features) == 0x40, "protocol B.10");

enum { DESCRIPTOR = 16, TRAILER = 8, PENDING_LOW_BITS = 7 };

/* All pages are RAM as long as the partition lives: a pointer cannot go stale. */
static uint8_t *page_at(const struct guestmem *m, uint64_t pfn)
{
	if (pfn > UINT64_MAX / GUESTMEM_PAGE)
		return NULL;
	return (uint8_t *)(uintptr_t)guestmem_at(m, pfn * GUESTMEM_PAGE, GUESTMEM_PAGE);
}

int ring_map(struct ring *r, const struct guestmem *m, const uint64_t *pfns, uint32_t pages,
	     uint8_t **table)
{
	uint8_t *header;

	*r = (struct ring){ 0 };
	if (pages < 2 || pages > LIMIT_RING_PAGES)
		return -EINVAL;
	header = page_at(m, pfns[0]);
	if (!header)
		return -EFAULT;
	for (uint32_t i = 1; i < pages; i++) {
		table[i - 1] = page_at(m, pfns[i]);
		if (!table[i - 1])
			return -EFAULT;
	}
	r->header = (struct ring_header *)(void *)header;
	r->page = table;
	r->size = (pages - 1) * GUESTMEM_PAGE;
	return 0;
}

static uint32_t index_of(const struct ring *r, uint64_t position)
{
	return (uint32_t)(position % r->size);
}

void ring_copy_out(const struct ring *r, uint64_t position, void *dst, uint32_t len)
{
	uint32_t at = index_of(r, position);
	uint8_t *to = dst;

	while (len) {
		uint32_t in_page = at % GUESTMEM_PAGE;
		uint32_t n = GUESTMEM_PAGE - in_page < len ? GUESTMEM_PAGE - in_page : len;

		memcpy(to, r->page[at / GUESTMEM_PAGE] + in_page, n);
		to += n;
		len -= n;
		at += n;
		if (at == r->size)
			at = 0;
	}
}

void ring_copy_in(const struct ring *r, uint64_t position, const void *src, uint32_t len)
{
	uint32_t at = index_of(r, position);
	const uint8_t *from = src;

	while (len) {
		uint32_t in_page = at % GUESTMEM_PAGE;
		uint32_t n = GUESTMEM_PAGE - in_page < len ? GUESTMEM_PAGE - in_page : len;

		memcpy(r->page[at / GUESTMEM_PAGE] + in_page, from, n);
		from += n;
		len -= n;
		at += n;
		if (at == r->size)
			at = 0;
	}
}

bool ring_index_legal(const struct ring *r, uint32_t index)
{
	return index < r->size && index % 8 == 0;
}

/* Bytes from index @from on to index @to. */
static uint32_t distance(const struct ring *r, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : r->size - from + to;
}

/* The descriptor's length and offset, in bytes. */
static bool descriptor_sound(const uint16_t *d, uint32_t available, uint32_t *ret_len,
			     uint32_t *ret_reason, uint32_t *ret_value)
{
	uint32_t offset = d[1] * 8u, len = d[2] * 8u;

	if (len < DESCRIPTOR || len > LIMIT_PACKET || len + TRAILER > available) {
		*ret_reason = RING_FAULT_LENGTH;
		*ret_value = d[2];
		return false;
	}
	if (offset < DESCRIPTOR || offset > len) {
		*ret_reason = RING_FAULT_OFFSET;
		*ret_value = d[1];
		return false;
	}
	*ret_len = len;
	return true;
}

enum ring_take ring_take(const struct ring *r, uint64_t position, uint8_t *packet,
			 uint32_t *ret_len, uint64_t *ret_next, uint32_t *ret_reason,
			 uint32_t *ret_value)
{
	uint32_t write = atomic_load_explicit(&r->header->write_index, memory_order_acquire);
	uint16_t descriptor[DESCRIPTOR / sizeof(uint16_t)];
	uint32_t available;

	if (!ring_index_legal(r, write)) {
		*ret_reason = RING_FAULT_WRITE_INDEX;
		*ret_value = write;
		return RING_FAULT;
	}
	available = distance(r, index_of(r, position), write);
	if (available == 0)
		return RING_EMPTY;
	if (available < DESCRIPTOR + TRAILER) {
		*ret_reason = RING_FAULT_LENGTH;
		*ret_value = available;
		return RING_FAULT;
	}
	ring_copy_out(r, position, descriptor, DESCRIPTOR);
	if (!descriptor_sound(descriptor, available, ret_len, ret_reason, ret_value))
		return RING_FAULT;
	memcpy(packet, descriptor, DESCRIPTOR);
	ring_copy_out(r, position + DESCRIPTOR, packet + DESCRIPTOR, *ret_len - DESCRIPTOR);
	*ret_next = position + *ret_len + TRAILER;
	return RING_PACKET;
}

void ring_mask(const struct ring *r)
{
	if (atomic_load_explicit(&r->header->interrupt_mask, memory_order_relaxed) != 1)
		atomic_store_explicit(&r->header->interrupt_mask, 1, memory_order_relaxed);
}

bool ring_has_more(const struct ring *r, uint64_t position)
{
	return atomic_load_explicit(&r->header->write_index, memory_order_acquire) !=
	       index_of(r, position);
}

bool ring_unmask(const struct ring *r, uint64_t position)
{
	atomic_store_explicit(&r->header->interrupt_mask, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	return ring_has_more(r, position);
}

/* Free bytes of a ring with these indices; one that is never filled whole. */
static uint32_t room_between(const struct ring *r, uint32_t read, uint32_t write)
{
	return r->size - distance(r, read, write);
}

bool ring_consumed(const struct ring *r, uint64_t before, uint64_t position)
{
	struct ring_header *h = r->header;
	uint32_t pending, write;

	atomic_store_explicit(&h->read_index, index_of(r, position), memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	pending = atomic_load_explicit(&h->pending_send_sz, memory_order_relaxed) &
		  ~(uint32_t)PENDING_LOW_BITS;
	if (pending == 0)
		return false;
	write = atomic_load_explicit(&h->write_index, memory_order_relaxed);
	if (!ring_index_legal(r, write))
		return false;
	return room_between(r, index_of(r, before), write) <= pending &&
	       room_between(r, index_of(r, position), write) > pending;
}

void ring_restore(const struct ring *in, uint64_t read, const struct ring *out, uint64_t write)
{
	uint32_t r = index_of(in, read), w = index_of(out, write);

	if (atomic_load_explicit(&in->header->read_index, memory_order_relaxed) != r)
		atomic_store_explicit(&in->header->read_index, r, memory_order_release);
	if (atomic_load_explicit(&out->header->write_index, memory_order_relaxed) != w)
		atomic_store_explicit(&out->header->write_index, w, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
}

uint64_t ring_put(const struct ring *r, uint64_t position, const void *packet, uint32_t len)
{
	uint64_t trailer = (uint64_t)index_of(r, position) << 32;

	fact(len % 8 == 0 && len + TRAILER < r->size);
	ring_copy_in(r, position, packet, len);
	ring_copy_in(r, position + len, &trailer, TRAILER);
	return position + len + TRAILER;
}

bool ring_publish(const struct ring *r, uint64_t before, uint64_t position)
{
	struct ring_header *h = r->header;

	atomic_store_explicit(&h->write_index, index_of(r, position), memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&h->interrupt_mask, memory_order_relaxed))
		return false;
	return atomic_load_explicit(&h->read_index, memory_order_relaxed) == index_of(r, before);
}

int64_t ring_room(const struct ring *r, uint64_t position, uint32_t *ret_read)
{
	uint32_t read = atomic_load_explicit(&r->header->read_index, memory_order_acquire);

	*ret_read = read;
	if (!ring_index_legal(r, read))
		return -1;
	return room_between(r, read, index_of(r, position));
}

void ring_want_room(const struct ring *r, uint32_t bytes)
{
	atomic_store_explicit(&r->header->pending_send_sz, bytes, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}
