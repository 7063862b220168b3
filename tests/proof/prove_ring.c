/* Ring arithmetic (devices/ring.c) for every size a ring may have, every legal pair
 * of indices, every position and every descriptor. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define memcpy proof_copy
static void *proof_copy(void *dst, const void *src, size_t n);
#include "devices/ring.c"
#undef memcpy

uint32_t any_u32(void);
uint64_t any_u64(void);
uint16_t any_u16(void);

/* Copies: only their places are of interest. Few pages, so that a position may lie
 * in any of them. */
enum { PAGES = 3 };
static uint8_t page[PAGES][GUESTMEM_PAGE];
static uint64_t copied;

static void *proof_copy(void *dst, const void *src, size_t n)
{
	__CPROVER_assert(n <= GUESTMEM_PAGE, "a piece lies in one page");
	__CPROVER_assert(n == 0 || __CPROVER_r_ok(src, n), "all of it may be read");
	__CPROVER_assert(n == 0 || __CPROVER_w_ok(dst, n), "all of it may be written");
	copied += n;
	return dst;
}

const void *guestmem_at(const struct guestmem *m, uint64_t gpa, uint64_t bytes)
{
	(void)m;
	(void)gpa;
	(void)bytes;
	return NULL;
}

static struct ring some_ring(struct ring_header *h)
{
	struct ring r = { .header = h, .size = any_u32() };

	__CPROVER_assume(r.size >= GUESTMEM_PAGE && r.size % GUESTMEM_PAGE == 0 &&
			 r.size <= (LIMIT_RING_PAGES - 1) * GUESTMEM_PAGE);
	return r;
}

void prove_distance(void)
{
	struct ring r = some_ring(NULL);
	uint32_t from = any_u32(), to = any_u32(), d;

	__CPROVER_assume(ring_index_legal(&r, from) && ring_index_legal(&r, to));
	d = distance(&r, from, to);
	__CPROVER_assert(d < r.size && d % 8 == 0, "less than the ring");
	__CPROVER_assert((d == 0) == (from == to), "empty when the indices are one");
	__CPROVER_assert(from + d == to || from + d == to + r.size, "from there to there");
	__CPROVER_assert(room_between(&r, from, to) == r.size - d, "the rest is room");
	__CPROVER_assert(room_between(&r, from, to) >= 8, "never filled whole");
}

void prove_descriptor(void)
{
	uint16_t d[DESCRIPTOR / sizeof(uint16_t)];
	uint32_t available = any_u32(), len = 0, reason = 0, value;

	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		d[i] = any_u16();
	if (descriptor_sound(d, available, &len, &reason, &value)) {
		__CPROVER_assert(len >= DESCRIPTOR && len <= LIMIT_PACKET, "it fits its copy");
		__CPROVER_assert(len % 8 == 0 && len <= available - TRAILER && available > TRAILER,
				 "it lies in what is there");
		__CPROVER_assert(d[1] * 8u >= DESCRIPTOR && d[1] * 8u <= len, "payload inside");
	} else {
		__CPROVER_assert(reason != 0, "a refusal has a reason");
	}
}

/* Any packet of a ring of PAGES pages, at any position: both copies stay inside. */
void prove_copies(void)
{
	static uint8_t packet[LIMIT_PACKET];
	uint8_t *table[PAGES] = { page[0], page[1], page[2] };
	struct ring r = { .page = table, .size = PAGES * GUESTMEM_PAGE };
	uint64_t position = any_u64();
	uint32_t len = any_u32();

	__CPROVER_assume(len <= LIMIT_PACKET);
	copied = 0;
	ring_copy_out(&r, position, packet, len);
	__CPROVER_assert(copied == len, "all of it");
	copied = 0;
	ring_copy_in(&r, position, packet, len);
	__CPROVER_assert(copied == len, "all of it");
}

/* Whatever the guest has written into the header. */
void prove_signals(void)
{
	struct ring_header h;
	struct ring r = some_ring(&h);
	uint64_t before = any_u64(), position = any_u64();
	uint32_t read;
	int64_t room;

	h.write_index = any_u32();
	h.read_index = any_u32();
	h.interrupt_mask = any_u32();
	h.pending_send_sz = any_u32();
	__CPROVER_assume(before % 8 == 0 && position % 8 == 0);
	room = ring_room(&r, position, &read);
	__CPROVER_assert(room == -1 || (room >= 8 && room <= r.size), "room inside the ring");
	__CPROVER_assert((room == -1) == !ring_index_legal(&r, read), "an index is judged");
	ring_consumed(&r, before, position);
	__CPROVER_assert(ring_index_legal(&r, h.read_index), "we publish legal indices");
	ring_publish(&r, before, position);
	__CPROVER_assert(ring_index_legal(&r, h.write_index), "we publish legal indices");
}
