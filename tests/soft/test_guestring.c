/* tests/soft/test_guestring.c - the ring code against bytes made by hand from
 * protocol.md B.10 and B.11. `server_*` plays the other side on raw memory. */
#include "tests/soft/guestring.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_PAGES = 2, IN_PAGES = 3, DATA = 4096, IN_DATA = 8192, IN = OUT_PAGES * 4096 };

static _Alignas(4096) uint8_t memory[(OUT_PAGES + IN_PAGES) * 4096];
static struct guestring ring;

static uint32_t word(uint32_t at)
{
	uint32_t value;

	memcpy(&value, memory + at, 4);
	return value;
}

static void set_word(uint32_t at, uint32_t value)
{
	memcpy(memory + at, &value, 4);
}

static void fresh(void)
{
	memset(memory, 0xee, sizeof(memory));
	guestring_init(&ring, memory, OUT_PAGES, IN_PAGES);
}

static struct guestring_packet packet_of(const void *payload, uint32_t bytes)
{
	return (struct guestring_packet){
		.type = GUESTRING_INBAND,
		.flags = 1,
		.id = 0x1122334455667788,
		.payload = payload,
		.payload_bytes = bytes,
	};
}

/* Publishes a packet of `bytes` payload at the ring's write index. */
static void server_put(uint64_t id, uint32_t bytes, uint32_t trailer_off)
{
	const uint32_t write = word(IN);
	uint8_t packet[4200] = {11, 0, 2, 0};
	const uint32_t total = 16 + bytes + 8, start = write + trailer_off;
	const uint16_t len8 = (uint16_t)((16 + bytes) / 8);

	memcpy(packet + 4, &len8, 2);
	memcpy(packet + 8, &id, 8);
	for (uint32_t i = 0; i < bytes; i++)
		packet[16 + i] = (uint8_t)(id + i);
	memcpy(packet + 16 + bytes + 4, &start, 4);
	for (uint32_t i = 0; i < total; i++)
		memory[IN + 4096 + (write + i) % IN_DATA] = packet[i];
	set_word(IN, (write + total) % IN_DATA);
}

Test(guestring, a_fresh_ring_has_zero_indices_and_the_feature_bit)
{
	fresh();
	for (uint32_t at = 0; at < 0x40; at += 4) {
		cr_assert_eq(word(at), 0);
		cr_assert_eq(word(IN + at), 0);
	}
	cr_assert_eq(word(0x40), 1);
	cr_assert_eq(word(IN + 0x40), 1);
}

Test(guestring, a_packet_has_the_documented_bytes)
{
	static const uint8_t wanted[] = {
		9,   0,	  4,   0, 5, 0, 1, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		0,   0,	  0,   0, 1, 0, 0, 0, 0x10, 0,	  0,	0,    0x20, 0,	  0,	0,
		'p', 'a', 'y', 0, 0, 0, 0, 0, 0,    0,	  0,	0,    0,    0,	  0,	0,
	};
	const uint32_t extra[4] = {0, 1, 0x10, 0x20};
	struct guestring_packet packet = packet_of("pay", 3);
	bool signal;

	fresh();
	packet.type = GUESTRING_GPA_DIRECT;
	packet.extra = extra;
	packet.extra_bytes = sizeof(extra);
	cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
	cr_assert(signal);
	cr_assert_eq(word(0), sizeof(wanted));
	cr_assert_arr_eq(memory + 4096, wanted, sizeof(wanted));
	cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
	cr_assert_eq(word(4096 + 2 * sizeof(wanted) - 4), sizeof(wanted),
		     "trailer names the start");
	cr_assert_not(signal, "the ring was not empty");
}

Test(guestring, the_mask_spares_the_signal)
{
	struct guestring_packet packet = packet_of("x", 1);
	bool signal;

	fresh();
	set_word(8, 1);
	cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
	cr_assert_not(signal);
	set_word(8, 0);
	set_word(4, word(0));
	cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
	cr_assert(signal, "the server had caught up");
}

Test(guestring, a_full_ring_asks_for_room_and_never_fills_up)
{
	uint8_t payload[1000] = {0};
	struct guestring_packet packet = packet_of(payload, sizeof(payload));
	bool signal;

	fresh();
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
	/* 3 * 1024 are used, 1024 are free: one more would make it look empty. */
	cr_assert_eq(guestring_send(&ring, &packet, &signal), GUESTRING_FULL);
	cr_assert_eq(word(12), 1024, "pending_send_sz");
	cr_assert_eq(word(0), 3 * 1024, "nothing was written");
	set_word(4, 8);
	guestring_stop_waiting(&ring);
	cr_assert_eq(word(12), 0);
	cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
	cr_assert_eq(word(12), 0);
	cr_assert_eq(word(0), 0, "write_index wraps");
}

Test(guestring, packets_wrap_at_every_position)
{
	bool signal;

	fresh();
	for (uint32_t n = 0; n < 3000; n++) {
		uint8_t payload[256], got[256 + 24];
		const uint32_t bytes = 1 + n * 7 % 256, padded = (bytes + 7) / 8 * 8, at = word(0);
		struct guestring_packet packet = packet_of(payload, bytes);

		for (uint32_t i = 0; i < bytes; i++)
			payload[i] = (uint8_t)(n + i);
		cr_assert_eq(guestring_send(&ring, &packet, &signal), 0);
		cr_assert(signal);
		cr_assert_eq(word(0), (at + 24 + padded) % DATA);
		for (uint32_t i = 0; i < 24 + padded; i++)
			got[i] = memory[4096 + (at + i) % DATA];
		cr_assert_arr_eq(got + 16, payload, bytes);
		for (uint32_t i = bytes; i < padded; i++)
			cr_assert_eq(got[16 + i], 0, "padding is zero");
		cr_assert_arr_eq(got + 16 + padded + 4, &at, 4);
		set_word(4, word(0));
	}
}

Test(guestring, received_packets_wrap_and_are_published_once_asked)
{
	struct guestring_received packet;

	fresh();
	for (uint64_t n = 1; n < 2000; n++) {
		const uint32_t before = word(IN + 4), bytes = 8 + (uint32_t)(n % 30) * 8;

		server_put(n, bytes, 0);
		cr_assert_eq(guestring_receive(&ring, &packet), 0);
		cr_assert_eq(packet.id, n);
		cr_assert_eq(packet.type, 11);
		cr_assert_eq(packet.bytes, bytes);
		for (uint32_t i = 0; i < bytes; i++)
			cr_assert_eq(packet.payload[i], (uint8_t)(n + i));
		cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_EMPTY);
		cr_assert_eq(word(IN + 4), before);
		guestring_publish(&ring);
		cr_assert_eq(word(IN + 4), word(IN));
	}
}

Test(guestring, unmask_tells_of_packets_that_came_meanwhile)
{
	struct guestring_received packet;

	fresh();
	guestring_mask(&ring);
	cr_assert_eq(word(IN + 8), 1);
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_EMPTY);
	server_put(1, 64, 0);
	cr_assert(guestring_unmask(&ring));
	cr_assert_eq(word(IN + 8), 0);
	cr_assert_eq(guestring_receive(&ring, &packet), 0);
	cr_assert_not(guestring_unmask(&ring));
}

Test(guestring, the_server_is_signalled_only_when_its_packet_fits_now)
{
	struct guestring_received packet;

	fresh();
	/* 90 packets of 88 bytes leave 8192 - 7920 = 272 bytes. */
	for (uint32_t i = 0; i < 90; i++)
		server_put(i + 1, 64, 0);
	cr_assert_eq(guestring_receive(&ring, &packet), 0);
	set_word(IN + 12, 272);
	cr_assert(guestring_publish(&ring), "272 <= 272 before, 360 > 272 now");
	cr_assert_eq(guestring_receive(&ring, &packet), 0);
	cr_assert_not(guestring_publish(&ring), "it fitted before already");
	cr_assert_eq(guestring_receive(&ring, &packet), 0);
	set_word(IN + 12, 4000);
	cr_assert_not(guestring_publish(&ring), "it does not fit yet");
	cr_assert_eq(guestring_receive(&ring, &packet), 0);
	set_word(IN + 12, 0);
	cr_assert_not(guestring_publish(&ring), "nobody waits");
}

Test(guestring, what_breaks_the_rules_is_refused)
{
	struct guestring_received packet;

	fresh();
	set_word(IN, IN_DATA);
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_BROKEN);
	fresh();
	set_word(IN, 12);
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_BROKEN);
	fresh();
	set_word(IN, 16);
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_BROKEN);
	fresh();
	server_put(1, 64, 8);
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_BROKEN);
	fresh();
	server_put(1, 64, 0);
	memory[IN + 4096 + 2] = 1;
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_BROKEN);
	fresh();
	server_put(1, 64, 0);
	memory[IN + 4096 + 4] = 11;
	cr_assert_eq(guestring_receive(&ring, &packet), GUESTRING_BROKEN);
	cr_assert_str_neq(guestring_fault(&ring), "none");
}
