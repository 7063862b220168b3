/* The log ring: what is written is read, and nothing else is believed. */
#include "engine/limits.h"
#include "engine/log.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 64 << 10 };

static struct log_words words;
static uint8_t *ring, *scratch;
static struct log_writer writer;
static struct log_reader reader;

static void setup(void)
{
	ring = calloc(1, RING);
	scratch = malloc(LOG_SCRATCH);
	log_words_init(&words, RING);
	log_writer_init(&writer, &words, ring, 0, 0, 0, 0);
	log_reader_init(&reader, &words, ring, 0, 0, scratch);
}

static void teardown(void)
{
	free(ring);
	free(scratch);
}

TestSuite(log, .init = setup, .fini = teardown);

static void append(uint64_t seq, uint32_t len)
{
	uint8_t payload[4096];
	struct log_record h = { .seq = seq, .type = LOG_EVENT };

	memset(payload, (int)seq, len);
	log_append(&writer, &h, payload, len);
}

Test(log, bytes_behind_the_tail_never_happened)
{
	struct log_record h;
	const uint8_t *p;

	append(1, 100);
	cr_assert_eq(log_read(&reader, &h, &p), LOG_E_END);
	log_commit(&writer);
	cr_assert_eq(log_read(&reader, &h, &p), LOG_OK);
	cr_assert_eq(h.seq, 1);
	cr_assert_eq(h.len, 100);
	cr_assert_eq(p[99], 1);
}

Test(log, a_reader_follows_over_many_rounds_with_odd_lengths)
{
	for (uint64_t seq = 1; seq < 5000; seq++) {
		uint32_t len = (uint32_t)(seq * 37 % 1500);
		struct log_record h;
		const uint8_t *p;

		append(seq, len);
		log_commit(&writer);
		writer.keep = reader.position;
		cr_assert_eq(log_read(&reader, &h, &p), LOG_OK, "record %lu", (unsigned long)seq);
		cr_assert_eq(h.seq, seq);
		cr_assert_eq(h.len, len);
		cr_assert(len == 0 || (p[0] == (uint8_t)seq && p[len - 1] == (uint8_t)seq));
	}
	cr_assert_eq(reader.chain, writer.chain);
}

Test(log, a_lapped_reader_is_told)
{
	struct log_record h;
	const uint8_t *p;

	for (uint64_t seq = 1; seq < 200; seq++) {
		writer.keep = writer.end > RING / 2 ? writer.end - RING / 2 : 0;
		append(seq, 1000);
		log_commit(&writer);
	}
	cr_assert_eq(log_read(&reader, &h, &p), LOG_E_LAPPED);
}

Test(log, every_flipped_bit_is_found)
{
	append(1, 64);
	append(2, 8);
	log_commit(&writer);
	for (uint64_t bit = 0; bit < writer.end * 8; bit++) {
		struct log_record h;
		const uint8_t *p;
		enum log_result a, b;

		ring[bit / 8] ^= (uint8_t)(1 << bit % 8);
		log_reader_init(&reader, &words, ring, 0, 0, scratch);
		a = log_read(&reader, &h, &p);
		b = a == LOG_OK ? log_read(&reader, &h, &p) : LOG_OK;
		cr_assert(a == LOG_E_DAMAGED || b == LOG_E_DAMAGED, "bit %lu", (unsigned long)bit);
		ring[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

Test(log, a_swapped_pair_is_found)
{
	uint8_t copy[2][64];
	struct log_record h;
	const uint8_t *p;

	append(1, 8);
	append(2, 8);
	log_commit(&writer);
	memcpy(copy[0], ring, 64);
	memcpy(copy[1], ring + 64, 64);
	memcpy(ring, copy[1], 64);
	memcpy(ring + 64, copy[0], 64);
	cr_assert_eq(log_read(&reader, &h, &p), LOG_E_DAMAGED);
}

Test(log, room_is_what_can_be_appended)
{
	while (log_room(&writer) >= log_cost(4000) * 2)
		append(1, 4000);
	log_commit(&writer);
	cr_assert_eq(atomic_load(&words.oldest), 0, "nothing kept was overwritten");
	cr_assert_lt(writer.end, RING);
}

Test(log, a_reader_where_no_record_can_be_is_told)
{
	struct log_record h;
	const uint8_t *p;

	append(1, 100);
	log_commit(&writer);
	log_reader_init(&reader, &words, ring, writer.end + 8, 0, scratch);
	cr_assert_eq(log_read(&reader, &h, &p), LOG_E_DAMAGED, "behind the tail");
	atomic_store(&words.tail, RING);
	log_reader_init(&reader, &words, ring, RING - sizeof(h) + 8, 0, scratch);
	cr_assert_eq(log_read(&reader, &h, &p), LOG_E_DAMAGED, "a header would wrap");
}

Test(log, what_is_overwritten_under_the_reader_is_told)
{
	struct log_record h;
	const uint8_t *p;

	append(1, 100);
	append(2, 100);
	log_commit(&writer);
	atomic_store(&words.oldest, log_cost(100));
	cr_assert_eq(log_read(&reader, &h, &p), LOG_E_LAPPED);
	atomic_store(&words.oldest, 0);
	cr_assert_eq(log_read(&reader, &h, &p), LOG_OK);
}

/* What is kept is not given up ahead of time. */
Test(log, only_what_nobody_keeps_is_given_up_ahead)
{
	while (RING - writer.end >= log_cost(1000) * 2)
		append(1, 1000);
	writer.keep = log_cost(1000);
	append(2, 1000);
	append(3, 1000);
	log_commit(&writer);
	cr_assert_leq(atomic_load(&words.oldest), writer.keep);
	cr_assert_eq(log_room(&writer), RING - (writer.end - writer.keep));
}
