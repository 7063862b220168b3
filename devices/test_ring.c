/* Rings: odd sizes, wraps inside the descriptor, hostile headers, signals. */
#include "devices/ring.h"

#include "engine/limits.h"
#include "statemachines/effects.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 64, DATA = 3 };   /* three data pages: no power of two */

static struct guestmem m;
static struct ring ring;
static uint8_t *table[LIMIT_RING_PAGES];

/* Pages in reverse order, with gaps: nothing may rely on neighbourhood. */
static void make(void)
{
	uint64_t pfns[1 + DATA];
	int fd = memfd_create("ram", MFD_CLOEXEC);

	cr_assert(fd >= 0 && ftruncate(fd, PAGES * GUESTMEM_PAGE) == 0);
	cr_assert_eq(guestmem_map(&m, fd, PAGES * GUESTMEM_PAGE, PAGES * GUESTMEM_PAGE), 0);
	close(fd);
	guestmem_arm(&m, 1);
	for (unsigned i = 0; i <= DATA; i++)
		pfns[i] = PAGES - 1 - 2 * i;
	cr_assert_eq(ring_map(&ring, &m, pfns, 1 + DATA, table), 0);
}

static void unmake(void)
{
	guestmem_unmap(&m);
}

TestSuite(ring, .init = make, .fini = unmake, .timeout = 60);

static unsigned build(uint8_t *packet, unsigned len, uint8_t fill)
{
	uint16_t d[4] = { 6, 2, (uint16_t)(len / 8), 0 };

	memset(packet, fill, len);
	memcpy(packet, d, sizeof(d));
	return len;
}

static enum ring_take take(uint64_t position, uint8_t *packet, uint32_t *len, uint64_t *next,
			   uint32_t *reason)
{
	uint32_t value;

	return ring_take(&ring, position, packet, len, next, reason, &value);
}

Test(ring, refuses_what_is_not_ram)
{
	uint64_t pfns[] = { 1, PAGES, UINT64_MAX };
	struct ring r;

	cr_assert_eq(ring_map(&r, &m, pfns, 2, table), -EFAULT);
	pfns[1] = UINT64_MAX;
	cr_assert_eq(ring_map(&r, &m, pfns, 2, table), -EFAULT);
	cr_assert_eq(ring_map(&r, &m, pfns, 1, table), -EINVAL);
	cr_assert_null(r.header);
}

/* Every length at every offset: each wrap, also inside the descriptor. */
Test(ring, packets_survive_every_wrap)
{
	uint8_t in[LIMIT_PACKET], out[LIMIT_PACKET];
	uint64_t position = 5 * (uint64_t)ring.size, next;
	uint32_t len, reason;

	for (unsigned round = 0; round < 20000; round++) {
		unsigned n = build(in, 16 + round * 40 % 2048, (uint8_t)round);
		uint64_t end = ring_put(&ring, position, in, n);
		uint64_t trailer;

		ring_publish(&ring, position, end);
		cr_assert_eq(take(position, out, &len, &next, &reason), RING_PACKET);
		cr_assert_eq(len, n);
		cr_assert_eq(next, end);
		cr_assert_eq(memcmp(in, out, n), 0);
		ring_copy_out(&ring, end - 8, &trailer, 8);
		cr_assert_eq(trailer, (position % ring.size) << 32);
		cr_assert_eq(take(next, out, &len, &next, &reason), RING_EMPTY);
		position = end;
	}
}

Test(ring, hostile_indices_and_lengths)
{
	uint8_t packet[LIMIT_PACKET];
	uint32_t len, reason = 0;
	uint64_t next;
	uint16_t *d = (uint16_t *)(void *)table[0];

	atomic_store(&ring.header->write_index, ring.size);
	cr_assert_eq(take(0, packet, &len, &next, &reason), RING_FAULT);
	cr_assert_eq(reason, RING_FAULT_WRITE_INDEX);
	atomic_store(&ring.header->write_index, 20);
	cr_assert_eq(take(0, packet, &len, &next, &reason), RING_FAULT);
	cr_assert_eq(reason, RING_FAULT_WRITE_INDEX);
	atomic_store(&ring.header->write_index, 16);
	cr_assert_eq(take(0, packet, &len, &next, &reason), RING_FAULT);
	cr_assert_eq(reason, RING_FAULT_LENGTH);
	atomic_store(&ring.header->write_index, 64);
	d[1] = 2;
	for (d[2] = 0; d[2] < 3000; d[2]++) {
		bool fits = d[2] >= 2 && d[2] * 8 + 8 <= 64;

		reason = 0;
		cr_assert_eq(take(0, packet, &len, &next, &reason),
			     fits ? RING_PACKET : RING_FAULT);
		cr_assert_eq(reason, fits ? 0 : RING_FAULT_LENGTH);
	}
	d[2] = 4;
	for (d[1] = 0; d[1] < 100; d[1]++)
		cr_assert_eq(take(0, packet, &len, &next, &reason),
			     d[1] >= 2 && d[1] <= 4 ? RING_PACKET : RING_FAULT);
	cr_assert_eq(reason, RING_FAULT_OFFSET);
}

Test(ring, longest_packet)
{
	uint8_t packet[LIMIT_PACKET];
	uint32_t len, reason;
	uint64_t next;
	uint16_t d[4] = { 6, 2, LIMIT_PACKET / 8, 0 };

	ring_copy_in(&ring, 0, d, sizeof(d));
	atomic_store(&ring.header->write_index, 8192);
	cr_assert_eq(take(0, packet, &len, &next, &reason), RING_PACKET);
	cr_assert_eq(len, LIMIT_PACKET);
	d[2]++;
	ring_copy_in(&ring, 0, d, sizeof(d));
	cr_assert_eq(take(0, packet, &len, &next, &reason), RING_FAULT);
}

Test(ring, signals_only_from_empty_and_unmasked)
{
	cr_assert(ring_publish(&ring, 0, 24));
	cr_assert_not(ring_publish(&ring, 24, 48));
	atomic_store(&ring.header->read_index, 48);
	atomic_store(&ring.header->interrupt_mask, 1);
	cr_assert_not(ring_publish(&ring, 48, 72));
	atomic_store(&ring.header->read_index, 72);
	atomic_store(&ring.header->interrupt_mask, 0);
	cr_assert(ring_publish(&ring, 72, 96));
}

Test(ring, unmask_looks_again)
{
	ring_mask(&ring);
	cr_assert_eq(atomic_load(&ring.header->interrupt_mask), 1);
	atomic_store(&ring.header->write_index, 24);
	cr_assert(ring_unmask(&ring, 0));
	cr_assert_eq(atomic_load(&ring.header->interrupt_mask), 0);
	cr_assert_not(ring_unmask(&ring, ring.size + 24));
}

Test(ring, a_guest_that_waits_for_room_is_told_once)
{
	/* Full but for 8 bytes; the guest wants 96. */
	atomic_store(&ring.header->write_index, ring.size - 8);
	atomic_store(&ring.header->pending_send_sz, 96 | 3);
	cr_assert_not(ring_consumed(&ring, 0, 80));
	cr_assert(ring_consumed(&ring, 80, 160));
	cr_assert_not(ring_consumed(&ring, 160, 240));
	cr_assert_eq(atomic_load(&ring.header->read_index), 240);
	atomic_store(&ring.header->pending_send_sz, 0);
	cr_assert_not(ring_consumed(&ring, 0, 1000 * 8));
}

Test(ring, room_and_an_illegal_read_index)
{
	uint32_t read;

	cr_assert_eq(ring_room(&ring, ring.size, &read), ring.size);
	cr_assert_eq(ring_room(&ring, ring.size + 24, &read), ring.size - 24);
	atomic_store(&ring.header->read_index, 32);
	cr_assert_eq(ring_room(&ring, ring.size + 24, &read), 8);
	atomic_store(&ring.header->read_index, 33);
	cr_assert_eq(ring_room(&ring, 0, &read), -1);
	atomic_store(&ring.header->read_index, ring.size);
	cr_assert_eq(ring_room(&ring, 0, &read), -1);
}
