/* fuzz/fuzz_ring.c - rings whose memory changes between any two reads.
 *
 * devices/ring.c is compiled into this file with every read of guest memory behind
 * a call of between(), where the input may write: descriptors after they were
 * checked, indices after they were read. Whatever the guest does, a packet that is
 * taken holds together in our copy, nothing is written outside it, the guest's own
 * data is not written, and a ring that nobody disturbs gives back what was put. */
#include "devices/ring.h"
#include "fuzz/driver.h"
#include "fuzz/feed.h"
#include "fuzz/oracle.h"

#include "statemachines/ring_packet.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void between(void);

static void *memcpy_between(void *dst, const void *src, size_t n)
{
	between();
	return memcpy(dst, src, n);
}

static uint32_t load_between(_Atomic uint32_t *p, memory_order order)
{
	between();
	return atomic_load_explicit(p, order);
}

/* For us, who must not disturb. */
static uint32_t peek(_Atomic uint32_t *p)
{
	return atomic_load_explicit(p, memory_order_seq_cst);
}

#define memcpy memcpy_between
#undef atomic_load_explicit
#define atomic_load_explicit(p, order) load_between(p, order)
#include "devices/ring.c"
#undef memcpy

enum { PAGES_MAX = 5, GUARD = 64, POISON = 0xA5 };

static struct {
	uint64_t inputs, taken, empty, faults, put, mutations, disturbed;
} figures;

static uint8_t memory[PAGES_MAX + 1][GUESTMEM_PAGE] __attribute__((aligned(4096)));
static uint8_t expected[PAGES_MAX][GUESTMEM_PAGE];
static uint8_t *table[PAGES_MAX];
static struct ring ring;
static struct feed *feed;
static uint8_t packet[LIMIT_PACKET + GUARD];
static uint64_t position; /* of the side that we are */
static bool calm;	  /* this guest disturbs nothing */
static bool quiet;	  /* nothing was disturbed since the ring was made */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* ---- the guest ---------------------------------------------------------------------- */

static void poke(uint32_t at, uint8_t value)
{
	table[at / GUESTMEM_PAGE][at % GUESTMEM_PAGE] = value;
	expected[at / GUESTMEM_PAGE][at % GUESTMEM_PAGE] = value;
}

static void disturb_header(void)
{
	_Atomic uint32_t *const words[] = { &ring.header->write_index, &ring.header->read_index,
					    &ring.header->pending_send_sz };
	uint32_t value = feed_u16(feed) & ~7u;

	if (feed_once_in(feed, 4))
		value = feed_u32(feed);
	else
		value %= ring.size;
	atomic_store(words[feed_below(feed, ARRAY_LEN(words))], value);
}

static void between(void)
{
	if (!feed || calm || !feed->left || !feed_once_in(feed, 6))
		return;
	figures.mutations++;
	quiet = false;
	if (feed_once_in(feed, 3))
		disturb_header();
	else /* near the place that is read now */
		poke((uint32_t)((position + feed_u8(feed) % 32) % ring.size), feed_u8(feed));
}

static void guest_puts(uint64_t at, uint32_t payload)
{
	uint16_t d[8] = { 6, 2, (uint16_t)(2 + payload / 8), 1 };

	if (!calm && feed_once_in(feed, 8)) {
		d[feed_below(feed, 4)] = feed_u16(feed);
		quiet = false;
	}
	for (uint32_t i = 0; i < sizeof(d); i++)
		poke((uint32_t)((at + i) % ring.size), ((const uint8_t *)d)[i]);
	for (uint32_t i = 0; i < payload; i++)
		poke((uint32_t)((at + sizeof(d) + i) % ring.size), (uint8_t)(at + i));
	atomic_store(&ring.header->write_index,
		     (uint32_t)((at + sizeof(d) + payload + 8) % ring.size));
}

/* ---- what we promise ------------------------------------------------------------------ */

static void check_packet(uint32_t len, uint64_t next)
{
	struct ring_packet parsed;
	uint16_t d[4];

	memcpy(d, packet, sizeof(d));
	if (len < 16 || len > LIMIT_PACKET || len % 8 || d[2] * 8u != len || d[1] * 8u > len ||
	    d[1] < 2)
		oracle_failed("a packet that is not what was checked", position, len);
	if (next != position + len + 8)
		oracle_failed("the next packet is elsewhere", position, next);
	for (uint32_t i = len; i < sizeof(packet); i++)
		if (packet[i] != POISON)
			oracle_failed("written behind the packet", len, i);
	for (uint32_t i = 16; quiet && i < len; i++)
		if (packet[i] != (uint8_t)(position + i - 16))
			oracle_failed("an undisturbed packet has changed", position, i);
	ring_packet_parse(packet, len, &parsed);
}

static void check_untouched(void)
{
	for (uint32_t i = 0; i < ring.size / GUESTMEM_PAGE; i++)
		if (memcmp(table[i], expected[i], GUESTMEM_PAGE) != 0)
			oracle_failed("the guest's own data was written", position, i);
}

static void take(void)
{
	uint32_t len = 0, reason = 0, value = 0;
	uint64_t next = 0;

	memset(packet, POISON, sizeof(packet));
	switch (ring_take(&ring, position, packet, &len, &next, &reason, &value)) {
	case RING_PACKET:
		figures.taken++;
		check_packet(len, next);
		ring_consumed(&ring, position, next);
		position = next;
		break;
	case RING_EMPTY:
		figures.empty++;
		break;
	case RING_FAULT:
		figures.faults++;
		if (reason == 0)
			oracle_failed("a fault without a reason", position, value);
		if (quiet)
			oracle_failed("a fault of an undisturbed ring", position, reason);
		position = peek(&ring.header->write_index) / 8 * 8 % ring.size;
		atomic_store(&ring.header->write_index, (uint32_t)position);
		quiet = false;
		break;
	}
	check_untouched();
}

/* The other direction: packet and trailer lie where they belong. */
static void put(void)
{
	uint32_t len = (2u + feed_u8(feed) % 32u) * 8u, read;
	int64_t room = ring_room(&ring, position, &read);
	uint8_t bytes[34 * 8];
	uint64_t next;

	if (room > (int64_t)ring.size)
		oracle_failed("more room than the ring has", position, (uint64_t)room);
	if (room <= (int64_t)len + 8)
		return;
	memset(bytes, feed_u8(feed), sizeof(bytes));
	next = ring_put(&ring, position, bytes, len);
	for (uint32_t i = 0; i < len; i++)
		if (table[(position + i) % ring.size / GUESTMEM_PAGE]
			 [(position + i) % ring.size % GUESTMEM_PAGE] != bytes[i] && quiet)
			oracle_failed("a byte that was put is not there", position, i);
	ring_publish(&ring, position, next);
	if (quiet && peek(&ring.header->write_index) != next % ring.size)
		oracle_failed("the write index is elsewhere", position, next);
	position = next;
	figures.put++;
	for (uint32_t i = 0; i < ring.size / GUESTMEM_PAGE; i++)
		memcpy(expected[i], table[i], GUESTMEM_PAGE);
	if (feed_once_in(feed, 2))
		atomic_store(&ring.header->read_index, (uint32_t)(next % ring.size));
}

static void make_ring(struct feed *f)
{
	uint32_t pages = 1 + feed_below(f, PAGES_MAX), start;

	memset(memory, 0, sizeof(memory));
	memset(expected, 0, sizeof(expected));
	for (uint32_t i = 0; i < pages; i++) /* no page beside the one before it */
		table[i] = memory[1 + (i * 3 + 1) % PAGES_MAX];
	ring = (struct ring){ (struct ring_header *)(void *)memory[0], table,
			      pages * GUESTMEM_PAGE };
	start = (uint32_t)(feed_u16(f) & ~7u) % ring.size;
	position = start + (uint64_t)feed_u16(f) * ring.size;
	atomic_store(&ring.header->write_index, start);
	atomic_store(&ring.header->read_index, start);
	quiet = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	bool sends;

	figures.inputs++;
	feed = NULL;
	make_ring(&f);
	sends = feed_once_in(&f, 3);
	calm = feed_once_in(&f, 3);
	feed = &f;
	while (f.left) {
		uint32_t payload = feed_u8(&f) % 40u * 8u;

		if (sends) {
			put();
			continue;
		}
		if (!ring_has_more(&ring, position) && payload + 24 < ring.size)
			guest_puts(position, payload);
		take();
		if (feed_once_in(&f, 4))
			ring_unmask(&ring, position);
		else
			ring_mask(&ring);
	}
	feed = NULL;
	figures.disturbed += !quiet;
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f packets=%" PRIu64 " empty=%" PRIu64
	       " faults=%" PRIu64 " put=%" PRIu64 " mutations=%" PRIu64 " disturbed=%" PRIu64 "\n",
	       figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0, figures.taken,
	       figures.empty, figures.faults, figures.put, figures.mutations, figures.disturbed);
}
