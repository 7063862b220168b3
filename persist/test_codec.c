/* Round trips, canonical bytes, levels, and hostile input of the codec. */
#include "persist/codec.h"
#include "persist/cursor.h"
#include "persist/toys.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CAPACITY = 8 << 20 };

static struct world *w, *w2;
static uint8_t *a, *b;
static char why[CODEC_WHY];

static void setup(void)
{
	w = world_new(&toys);
	w2 = world_new(&toys);
	a = malloc(CAPACITY);
	b = malloc(CAPACITY);
	cr_assert(w && w2 && a && b);
}

static void teardown(void)
{
	w = world_free(w);
	w2 = world_free(w2);
	free(a);
	free(b);
}

TestSuite(codec, .init = setup, .fini = teardown);

static size_t packed(const struct world *from, uint8_t *to)
{
	size_t len = 0;

	cr_assert_eq(codec_pack(from, to, CAPACITY, &len), 0);
	return len;
}

static int unpack(const uint8_t *bytes, size_t len)
{
	world_reset(w2, 0xa5);
	return codec_unpack(w2, bytes, len, why);
}

Test(codec, equal_states_are_equal_bytes)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		size_t len, len2;

		world_reset(w, (uint8_t)seed);
		toy_fill(w, seed, (unsigned)(seed % LAMPS) + 1, (unsigned)(seed * 7 % 90));
		len = packed(w, a);
		cr_assert_eq(unpack(a, len), 0, "seed %u: %s", (unsigned)seed, why);
		len2 = packed(w2, b);
		cr_assert_eq(len, len2);
		cr_assert_arr_eq(a, b, len);
		cr_assert_eq(codec_hash(a, len), codec_hash(b, len2));
		cr_assert_eq(memcmp(world_lane(w), world_lane(w2), sizeof(struct lane_state)), 0);
	}
}

Test(codec, one_field_changes_the_bytes)
{
	struct lamp *l;
	size_t len, len2;

	toy_fill(w, 3, 8, 0);
	len = packed(w, a);
	for (uint16_t i = 0; !(l = (struct lamp *)(uintptr_t)world_at(w, KIND_LAMP, i)); i++)
		;
	l->hue ^= 1;
	len2 = packed(w, b);
	cr_assert(len != len2 || memcmp(a, b, len) != 0);
}

Test(codec, msgpack_c_reads_it_and_agrees)
{
	msgpack_unpacked u;
	msgpack_sbuffer s;
	msgpack_packer pk;
	size_t off = 0, len;

	toy_fill(w, 11, 20, 20);
	len = packed(w, a);
	msgpack_unpacked_init(&u);
	cr_assert_eq(msgpack_unpack_next(&u, (const char *)a, len, &off), MSGPACK_UNPACK_SUCCESS);
	cr_assert_eq(off, len);
	msgpack_sbuffer_init(&s);
	msgpack_packer_init(&pk, &s, msgpack_sbuffer_write);
	cr_assert_eq(msgpack_pack_object(&pk, u.data), 0);
	cr_assert_eq(s.size, len);
	cr_assert_arr_eq((const uint8_t *)s.data, a, len);
	msgpack_sbuffer_destroy(&s);
	msgpack_unpacked_destroy(&u);
}

Test(codec, small_buffer_is_refused)
{
	size_t len, ret;

	toy_fill(w, 5, 10, 10);
	len = packed(w, a);
	for (size_t n = 0; n < len; n += 13)
		cr_assert_eq(codec_pack(w, b, n, &ret), -ENOSPC);
	cr_assert_eq(codec_pack(w, b, len, &ret), 0);
}

/* A world of one lamp, written by hand: [index, state, flags, deferred, fields]. */
static size_t hand_made(uint8_t *to, void (*fields)(msgpack_packer *pk))
{
	msgpack_sbuffer s;
	msgpack_packer pk;
	size_t len;

	msgpack_sbuffer_init(&s);
	msgpack_packer_init(&pk, &s, msgpack_sbuffer_write);
	msgpack_pack_array(&pk, 5);
	msgpack_pack_int(&pk, CODEC_FORMAT);
	msgpack_pack_int(&pk, 1);
	msgpack_pack_int(&pk, 0);
	msgpack_pack_array(&pk, 6);
	for (int i = 1; i <= 5; i++)
		msgpack_pack_int(&pk, i);
	msgpack_pack_map(&pk, 0);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_array(&pk, 3);
	msgpack_pack_int(&pk, KIND_LAMP);
	msgpack_pack_array(&pk, 2);
	msgpack_pack_int(&pk, 4);
	msgpack_pack_int(&pk, 1);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_array(&pk, 5);
	msgpack_pack_int(&pk, 0);
	msgpack_pack_int(&pk, lamp_DARK);
	msgpack_pack_int(&pk, 0);
	msgpack_pack_nil(&pk);
	fields(&pk);
	memcpy(to, s.data, s.size);
	len = s.size;
	msgpack_sbuffer_destroy(&s);
	return len;
}

static void no_fields(msgpack_packer *pk)
{
	msgpack_pack_map(pk, 0);
}

Test(codec, missing_fields_take_their_absent_value)
{
	const struct lamp *l;

	cr_assert_eq(unpack(a, hand_made(a, no_fields)), 0, "%s", why);
	l = world_at(w2, KIND_LAMP, 0);
	cr_assert_not_null(l);
	cr_assert_eq(l->sm.generation, 4);
	cr_assert_eq(l->watt, 60);
	cr_assert_eq(l->seen[0], 7);
	cr_assert_eq(l->seen[2], 7);
	cr_assert_eq(l->dimmed, 5);
	cr_assert_eq(l->label, 0);
	cr_assert_not(l->power);
}

static void newer_fields(msgpack_packer *pk)
{
	msgpack_pack_map(pk, 5);
	msgpack_pack_int(pk, 1);            /* below every known id: a map in an array */
	msgpack_pack_array(pk, 1);
	msgpack_pack_map(pk, 1);
	msgpack_pack_int(pk, -77);
	msgpack_pack_double(pk, 1.5);
	msgpack_pack_int(pk, 4);
	msgpack_pack_int(pk, 200);
	msgpack_pack_int(pk, 5);            /* retired here: an older writer's */
	msgpack_pack_str(pk, 3);
	msgpack_pack_str_body(pk, "abc", 3);
	msgpack_pack_int(pk, 9);
	msgpack_pack_int(pk, 40);
	msgpack_pack_int(pk, 3000);         /* above every known id */
	msgpack_pack_bin(pk, 2);
	msgpack_pack_bin_body(pk, "xy", 2);
}

Test(codec, fields_of_a_newer_writer_are_kept)
{
	static const uint8_t one[] = { 0x01, 0x91, 0x81, 0xd0, (uint8_t)-77, 0xcb };
	static const uint8_t five[] = { 0x05, 0xa3, 'a', 'b', 'c', 0x07 };
	static const uint8_t last[] = { 0xcd, 0x0b, 0xb8, 0xc4, 0x02, 'x', 'y' };
	size_t len = hand_made(a, newer_fields), len2;
	const struct lamp *l;

	cr_assert_eq(unpack(a, len), 0, "%s", why);
	l = world_at(w2, KIND_LAMP, 0);
	cr_assert_eq(l->hue, 200);
	cr_assert_eq(l->watt, 40);
	len2 = packed(w2, b);
	cr_assert_not_null(memmem(b, len2, one, sizeof(one)));
	cr_assert_not_null(memmem(b, len2, five, sizeof(five)));
	cr_assert_eq(memcmp(b + len2 - sizeof(last), last, sizeof(last)), 0);
	cr_assert_eq(unpack(b, len2), 0, "%s", why);
	cr_assert_eq(packed(w2, a), len2);
	cr_assert_arr_eq(a, b, len2);
}

static void too_many_unknown(msgpack_packer *pk)
{
	static const char big[LIMIT_UNKNOWN];

	msgpack_pack_map(pk, 1);
	msgpack_pack_int(pk, 3000);
	msgpack_pack_bin(pk, sizeof(big));
	msgpack_pack_bin_body(pk, big, sizeof(big));
}

static void too_wide(msgpack_packer *pk)
{
	msgpack_pack_map(pk, 1);
	msgpack_pack_int(pk, 4);
	msgpack_pack_int(pk, 256);
}

static void twice(msgpack_packer *pk)
{
	msgpack_pack_map(pk, 2);
	msgpack_pack_int(pk, 4);
	msgpack_pack_int(pk, 1);
	msgpack_pack_int(pk, 4);
	msgpack_pack_int(pk, 1);
}

static void does_not_hold(msgpack_packer *pk)
{
	msgpack_pack_map(pk, 1);
	msgpack_pack_int(pk, 2);
	msgpack_pack_true(pk);
}

static void too_deep(msgpack_packer *pk)
{
	msgpack_pack_map(pk, 1);
	msgpack_pack_int(pk, 3000);
	for (int i = 0; i < CURSOR_DEPTH + 1; i++)
		msgpack_pack_array(pk, 1);
	msgpack_pack_nil(pk);
}

Test(codec, refusals_say_what_was_found_and_expected)
{
	cr_assert_eq(unpack(a, hand_made(a, too_wide)), -EBADMSG);
	cr_assert_str_eq(why, "lamp[0].hue: found 256, expected at most 255");
	cr_assert_eq(unpack(a, hand_made(a, too_many_unknown)), -EBADMSG);
	cr_assert_not_null(strstr(why, "more than 1024 bytes"));
	cr_assert_eq(unpack(a, hand_made(a, twice)), -EBADMSG);
	cr_assert_not_null(strstr(why, "expected ascending ids"));
	cr_assert_eq(unpack(a, hand_made(a, does_not_hold)), -EBADMSG);
	cr_assert_not_null(strstr(why, "DARK"));
	cr_assert_eq(unpack(a, hand_made(a, too_deep)), -EBADMSG);
	cr_assert_not_null(strstr(why, "too deep"));
}

/* One byte of the hand-made world, at a known place, becomes another. */
static int changed(size_t at, uint8_t from, uint8_t to)
{
	size_t len = hand_made(a, no_fields);

	cr_assert_eq(a[at], from, "offset %zu holds %u", at, a[at]);
	a[at] = to;
	return unpack(a, len);
}

Test(codec, unknown_kinds_states_levels_formats_are_refused)
{
	cr_assert_eq(changed(13, KIND_LAMP, 9), -EBADMSG);
	cr_assert_str_eq(why, "found machines of kind 9, which this build does not have");
	cr_assert_eq(changed(20, lamp_DARK, 9), -EBADMSG);
	cr_assert_str_eq(why, "lamp[0]: found state 9, which this build does not have");
	cr_assert_eq(changed(20, lamp_DARK, lamp_FLICKERS), -EBADMSG);
	cr_assert_str_eq(why, "lamp[0]: found state FLICKERS of level 2, expected at most level 1");
	cr_assert_eq(changed(1, CODEC_FORMAT, 2), -EBADMSG);
	cr_assert_str_eq(why, "saved state has format 2, this build reads format 1");
	cr_assert_eq(changed(2, 1, 3), -EBADMSG);
	cr_assert_str_eq(why, "saved state is at level 3, this build serves 1 to 2");
	cr_assert_eq(changed(15, 4, 0), -EBADMSG);
}

/* A copy of exactly its size, so that a sanitizer sees every byte too far. */
static int unpack_exact(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	int r;

	memcpy(exact, bytes, len);
	r = unpack(exact, len);
	free(exact);
	return r;
}

/* What was accepted is a legal state: it packs, and that is accepted again as
 * the same bytes. */
static void check_legal(void)
{
	size_t len = packed(w2, b);
	uint64_t hash = codec_hash(b, len);

	cr_assert_eq(unpack(b, len), 0, "%s", why);
	cr_assert_eq(packed(w2, b), len);
	cr_assert_eq(codec_hash(b, len), hash);
}

Test(codec, hostile_bytes_are_refused_or_legal, .timeout = 100)
{
	static const uint8_t values[] = { 0x7f, 0x80, 0x90, 0xc0, 0xc1, 0xc6, 0xc9, 0xcf, 0xd3,
					  0xdb, 0xdd, 0xdf, 0xff };
	unsigned legal = 0, refused = 0;
	size_t len;

	toy_fill(w, 4, 2, 1);
	len = packed(w, a);
	for (size_t n = 0; n < len; n++)
		cr_assert_eq(unpack_exact(a, n), -EBADMSG);
	for (size_t at = 0; at < len; at++) {
		uint8_t before = a[at];

		for (size_t i = 0; i < sizeof(values) + 8; i++) {
			a[at] = i < sizeof(values) ? values[i]
						   : (uint8_t)(before ^ 1u << (i - sizeof(values)));
			if (unpack_exact(a, len) < 0) {
				refused++;
				continue;
			}
			legal++;
			check_legal();
		}
		a[at] = before;
	}
	printf("codec: %zu bytes mutated: %u legal, %u refused\n", len, legal, refused);
	cr_assert(legal > 0 && refused > 0);
}

Test(codec, msgpack_bombs_end_at_once)
{
	static const uint8_t bombs[][6] = {
		{ 0xdd, 0xff, 0, 0, 0 }, { 0xdf, 0xff, 0xff, 0xff, 0xff }, { 0xc6, 0xff, 0, 0, 0 },
		{ 0x95, 1, 1, 1, 0xdd, 0xff },
	};

	for (size_t i = 0; i < sizeof(bombs) / sizeof(*bombs); i++)
		cr_assert_eq(unpack(bombs[i], sizeof(bombs[i])), -EBADMSG);
}

Test(codec, state_hash_is_shared_by_builds_of_a_level)
{
	uint64_t one, other;
	struct lamp *l;

	toy_fill(w, 9, 6, 2);
	cr_assert_eq(unpack(a, packed(w, a)), 0);
	cr_assert_eq(codec_state_hash(w, a, CAPACITY, &one), 0);
	for (uint16_t i = 0; !(l = (struct lamp *)(uintptr_t)world_at(w2, KIND_LAMP, i)); i++)
		;
	l->dimmed++;
	l->sm.unknown = world_blob_new(w2, "\x64\x01", 2);
	cr_assert_eq(codec_state_hash(w2, a, CAPACITY, &other), 0);
	cr_assert_eq(one, other);
	l->presses++;
	cr_assert_eq(codec_state_hash(w2, a, CAPACITY, &other), 0);
	cr_assert_neq(one, other);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(codec, speed)
{
	double best = 1, best2 = 1;
	size_t len = 0;

	toy_fill(w, 2, LAMPS, BOXES);
	for (int i = 0; i < 20; i++) {
		double t = seconds();

		len = packed(w, a);
		t = seconds() - t;
		best = t < best ? t : best;
		world_reset(w2, 0);
		t = seconds();
		cr_assert_eq(codec_unpack(w2, a, len, why), 0);
		t = seconds() - t;
		best2 = t < best2 ? t : best2;
	}
	printf("codec: %d lamps, %d boxes: %zu bytes, packed in %.3f ms, unpacked in %.3f ms\n",
	       LAMPS, BOXES, len, best * 1e3, best2 * 1e3);
	cr_assert_lt(best, 0.1);
}
