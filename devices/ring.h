/* devices/ring.h - one VMBus ring over scattered guest pages (protocol B.10,
 * B.11; struct hv_ring_buffer in include/linux/hyperv.h).
 *
 * Page 0 is the header, the others are data. Positions are free-running and
 * are the machine's: position % size is the index in the ring. What the guest
 * writes into headers is checked at each use and decides nothing else. */
#ifndef DEVICES_RING_H
#define DEVICES_RING_H

#include "devices/guestmem.h"

#include <stdatomic.h>

/* The guest's header page; all words little-endian, shared with the guest. */
struct ring_header {
	_Atomic uint32_t write_index;
	_Atomic uint32_t read_index;
	_Atomic uint32_t interrupt_mask;
	_Atomic uint32_t pending_send_sz;
	uint32_t reserved[12];
	_Atomic uint32_t features;   /* bit 0: pending_send_sz is honoured */
};

struct ring {
	struct ring_header *header;  /* NULL: not mapped */
	uint8_t **page;              /* of the data area; memory of the caller */
	uint32_t size;               /* bytes of data */
};

/* Maps @pages page numbers (header included) with @table of room for
 * @pages - 1 pointers. 0; -EFAULT: one is not RAM; -EINVAL: fewer than 2. The
 * process need not be armed; writing is the caller's duty to guard. */
int ring_map(struct ring *r, const struct guestmem *m, const uint64_t *pfns, uint32_t pages,
	     uint8_t **table);

void ring_copy_out(const struct ring *r, uint64_t position, void *dst, uint32_t len);
void ring_copy_in(const struct ring *r, uint64_t position, const void *src, uint32_t len);

/* Legal index: below the size, a multiple of 8. */
bool ring_index_legal(const struct ring *r, uint32_t index);

/* ---- guest to server ---------------------------------------------------- */
enum ring_take {
	RING_PACKET = 0,
	RING_EMPTY = 1,
	RING_FAULT = 2,       /* *ret_reason: enum ring_fault; *ret_value: the word */
};

/* Copies the packet at @position, descriptor and payload without trailer, once
 * into @packet (LIMIT_PACKET bytes). *@ret_next: position behind its trailer. */
enum ring_take ring_take(const struct ring *r, uint64_t position, uint8_t *packet,
			 uint32_t *ret_len, uint64_t *ret_next, uint32_t *ret_reason,
			 uint32_t *ret_value);

/* The guest need not signal while we drain. */
void ring_mask(const struct ring *r);
/* From now on it signals; true: something lies there already (B.11, 2). */
bool ring_unmask(const struct ring *r, uint64_t position);

/* Something lies behind @position. After ring_consumed(): its barrier holds. */
bool ring_has_more(const struct ring *r, uint64_t position);

/* Publishes the read index; true: the guest waits for room that this made
 * (pending_send_sz), so it has to be signalled. @before: position published last. */
bool ring_consumed(const struct ring *r, uint64_t before, uint64_t position);

/* ---- server to guest ---------------------------------------------------- */
/* A new owner's: publishes both indices where they are not what they should be,
 * and tells nobody. What is right is not written: a page that was not written
 * since the memory became writable costs a fault. */
void ring_restore(const struct ring *in, uint64_t read, const struct ring *out, uint64_t write);

/* Writes packet and trailer at @position; returns the position behind. Not
 * visible to the guest before ring_publish(). @len is a multiple of 8. */
uint64_t ring_put(const struct ring *r, uint64_t position, const void *packet, uint32_t len);

/* Publishes the write index; true: the guest has to be signalled: it is not
 * masked and had taken everything @before. */
bool ring_publish(const struct ring *r, uint64_t before, uint64_t position);

/* Free bytes behind @position; a write of n needs more than n. -1: the guest's
 * read index is not legal. *@ret_read: the index. */
int64_t ring_room(const struct ring *r, uint64_t position, uint32_t *ret_read);

/* Tells the guest to signal when more than @bytes are free; 0: no more. */
void ring_want_room(const struct ring *r, uint32_t bytes);

#endif
