/* Checkpoint slots, one thing wrong at a time: who believes what, and which slot the next
 * checkpoint takes. The log is written by hand. */
#include "engine/slot.h"
#include "engine/test_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

static struct custody c;
static struct log_writer log_;
static struct world *w;
static uint8_t *buffer;
static char why[160];

static void setup(void)
{
	cr_assert_eq(custody_create(&c), 0);
	log_writer_init(&log_, &c.lane_words[0], c.lane_ring, 0, 0, 0, 0);
	w = toy_world();
	buffer = malloc(LIMIT_SLOT_BYTES);
	why[0] = '\0';
}

static void teardown(void)
{
	free(buffer);
	world_free(w);
	custody_detach(&c);
}

TestSuite(slot, .init = setup, .fini = teardown);

static void one_turn(void)
{
	struct toy_logged l = toy_logged(w, world_lane(w)->seq ? toy_EV_ADD : toy_EV_TURN_ON, 5, 0);

	toy_write(&log_, &l);
}

/* A turn, and a checkpoint behind it. */
static void checkpoint(void)
{
	one_turn();
	cr_assert_eq(slot_write(&c, &toy_codec, w, &log_), 0);
}

static int load(struct slot_cut *ret)
{
	struct world *fresh = world_new(&toy_registry);
	int r = slot_load(&c, &toy_codec, fresh, buffer, ret, why);

	if (r == 0 && ret->generation)
		cr_assert_eq(world_lane(fresh)->seq, ret->seq);
	world_free(fresh);
	return r;
}

Test(slot, slots_take_turns)
{
	struct slot_cut cut;

	cr_assert_eq(slot_newest(&c), 0);
	cr_assert_eq(slot_keep(&c), 0);
	cr_assert_eq(load(&cut), 0);
	cr_assert_eq(cut.generation, 0);
	for (uint64_t i = 0; i < 5; i++) {
		uint64_t before = slot_newest(&c);

		checkpoint();
		cr_assert_eq(c.slot_head[i % 2].position, slot_newest(&c));
		cr_assert_gt(slot_newest(&c), before);
		cr_assert_eq(slot_keep(&c), i == 0 ? slot_newest(&c) : before);
		cr_assert_eq(load(&cut), 0);
		cr_assert_eq(cut.position, slot_newest(&c));
		cr_assert_eq(cut.seq, i + 1);
	}
}

/* One that is being written is none, whichever it is. */
Test(slot, a_slot_that_is_being_written_is_none)
{
	checkpoint();
	checkpoint();
	c.slot_head[1].generation--;
	cr_assert_eq(slot_newest(&c), c.slot_head[0].position);
	cr_assert_eq(slot_keep(&c), c.slot_head[0].position);
	c.slot_head[1].generation++;
	c.slot_head[0].generation--;
	cr_assert_eq(slot_newest(&c), c.slot_head[1].position);
	cr_assert_eq(slot_keep(&c), c.slot_head[1].position);
	c.slot_head[1].generation--;
	cr_assert_eq(slot_newest(&c), 0);
	cr_assert_eq(slot_keep(&c), 0);
}

static int pack_too_much(const struct world *world, uint8_t *bytes, size_t capacity,
			 size_t *ret_len)
{
	(void)world;
	memset(bytes, 0xEE, capacity);
	*ret_len = 0;
	return -ENOSPC;
}

static int unpack_nothing(struct world *world, const uint8_t *bytes, size_t len, char *said)
{
	(void)world;
	(void)bytes;
	(void)len;
	snprintf(said, 160, "of a level that is above mine");
	return -EPROTO;
}

static const struct slot_codec failing = { pack_too_much, unpack_nothing };

Test(slot, what_cannot_be_packed_leaves_the_other_slot)
{
	struct slot_cut cut;
	uint64_t end;

	checkpoint();
	checkpoint();
	one_turn();
	end = log_.end;
	cr_assert_eq(slot_write(&c, &failing, w, &log_), -ENOSPC);
	cr_assert_eq(log_.end, end, "the log tells of none");
	cr_assert_eq(load(&cut), 0);
	cr_assert_eq(cut.seq, 2);
	cr_assert_eq(cut.refused[0] + cut.refused[1], 0);
	checkpoint();
	cr_assert_eq(load(&cut), 0);
	cr_assert_eq(cut.seq, 4);
}

Test(slot, what_cannot_be_unpacked_is_told)
{
	struct slot_cut cut;

	checkpoint();
	cr_assert_eq(slot_load(&c, &failing, w, buffer, &cut, why), -EPROTO);
	cr_assert_str_eq(why, "of a level that is above mine");
	cr_assert_eq(cut.generation, 0);
}

/* ---- what the log tells -------------------------------------------------------------- */

Test(slot, the_log_must_tell_of_these_bytes)
{
	static const uint8_t bytes[] = "packed", others[] = "pakced";
	struct slot_cut cut = { .generation = 2, .seq = 7, .position = 640 };
	struct log_record h = { .type = LOG_CHECKPOINT, .seq = 7,
				.len = sizeof(struct log_checkpoint) };
	const XXH128_hash_t hash = XXH3_128bits(bytes, sizeof(bytes));
	const struct log_checkpoint told = { 640, sizeof(bytes), { hash.low64, hash.high64 } };
	struct log_checkpoint t = told;

	cr_assert_eq(slot_told(&h, &t, &cut, bytes, sizeof(bytes)), SLOT_TOLD_SAME);
	cr_assert_eq(slot_told(&h, &t, &cut, others, sizeof(others)), SLOT_TOLD_OTHER);
	for (unsigned word = 0; word < 4; word++) {
		t = told;
		((uint64_t *)(void *)&t)[word] ^= 1;
		cr_assert_eq(slot_told(&h, &t, &cut, bytes, sizeof(bytes)), SLOT_TOLD_OTHER);
	}
	h.seq++;
	cr_assert_eq(slot_told(&h, &told, &cut, bytes, sizeof(bytes)), SLOT_TOLD_OTHER);
	h.seq--;
	h.len--;
	cr_assert_eq(slot_told(&h, &told, &cut, bytes, sizeof(bytes)), SLOT_TOLD_OTHER);
	h.len++;
	h.type = LOG_EVENT;
	cr_assert_eq(slot_told(&h, &told, &cut, bytes, sizeof(bytes)), SLOT_TOLD_NOTHING);
}

/* Loads, and expects the older one; @said is why not the newer. */
static void is_passed_over(const char *said)
{
	struct slot_cut cut;

	cr_assert_eq(load(&cut), 0);
	cr_assert_eq(cut.seq, 1, "%s", said);
	cr_assert_eq(cut.refused[1], c.slot_head[1].generation);
	cr_assert_eq(cut.refused[0], 0);
	cr_assert_not_null(strstr(why, said), "%s", why);
}

Test(slot, bytes_without_their_hash_are_passed_over)
{
	checkpoint();
	checkpoint();
	for (unsigned half = 0; half < 2; half++) {
		c.slot_head[1].hash[half] ^= 1;
		is_passed_over("do not have the hash");
		c.slot_head[1].hash[half] ^= 1;
	}
	c.slot[1][0] ^= 1;
	is_passed_over("do not have the hash");
	c.slot[1][0] ^= 1;
	c.slot_head[1].bytes = UINT64_MAX;
	is_passed_over("do not have the hash");
}

Test(slot, a_cut_where_the_log_does_not_go_on_is_passed_over)
{
	checkpoint();
	checkpoint();
	c.lane_ring[c.slot_head[1].position] ^= 1;
	is_passed_over("the log does not go on");
}

Test(slot, a_record_that_is_too_short_tells_of_another)
{
	struct log_record h = { .type = LOG_CHECKPOINT, .seq = 2 };

	checkpoint();
	checkpoint();
	log_.end = c.slot_head[1].position;
	log_.chain = c.slot_head[1].chain;
	log_append(&log_, &h, "short", 5);
	log_commit(&log_);
	is_passed_over("the log tells of turn 2");
}

Test(slot, without_slots_the_log_must_be_whole)
{
	struct slot_cut cut;

	checkpoint();
	for (unsigned slot = 0; slot < 2; slot++) {
		c.slot[slot][0] ^= 1;
		cr_assert_eq(load(&cut), 0);
		cr_assert_eq(cut.generation, 0, "from the beginning of the log");
		cr_assert_eq(cut.refused[slot], c.slot_head[slot].generation);
		atomic_store(&c.lane_words[0].oldest, 8);
		cr_assert_eq(load(&cut), -EBADMSG);
		cr_assert_not_null(strstr(why, "do not have the hash"));
		atomic_store(&c.lane_words[0].oldest, 0);
		checkpoint();
		c.slot_head[slot].generation = 0;
	}
}

/* ---- copies ---------------------------------------------------------------------------- */

Test(slot, copies_of_both_slots)
{
	struct slot_cut cut;
	size_t len;

	cr_assert_eq(slot_copy(&c, false, buffer, &len, &cut), -EAGAIN);
	checkpoint();
	cr_assert_eq(slot_copy(&c, true, buffer, &len, &cut), -EAGAIN, "there is one only");
	checkpoint();
	cr_assert_eq(slot_copy(&c, false, buffer, &len, &cut), 0);
	cr_assert_eq(cut.seq, 2);
	cr_assert_eq(len, sizeof(struct toy_saved));
	cr_assert_eq(memcmp(buffer, c.slot[1], len), 0);
	cr_assert_eq(slot_copy(&c, true, buffer, &len, &cut), 0);
	cr_assert_eq(cut.seq, 1);
	c.slot[0][0] ^= 1;
	cr_assert_eq(slot_copy(&c, true, buffer, &len, &cut), -EBADMSG);
	cr_assert_eq(cut.seq, 1);
}

/* The heads lie where the copy goes to: its own bytes change the generation while it is
 * made, as a writer would. */
Test(slot, a_slot_that_changes_while_it_is_copied_is_not_believed)
{
	struct custody changing = c;
	struct slot_cut cut;
	size_t len;

	checkpoint();
	memset(c.slot[0], 0x11, LIMIT_SLOT_BYTES);
	c.slot_head[0].bytes = LIMIT_SLOT_BYTES;
	changing.slot_head = (void *)(buffer + LOG_SCRATCH);
	for (unsigned whole = 0; whole < 2; whole++) {
		memcpy(changing.slot_head, c.slot_head, 2 * sizeof(*c.slot_head));
		cr_assert_eq(slot_copy(&changing, false, buffer, &len, &cut), -EAGAIN);
		memcpy(changing.slot_head, c.slot_head, 2 * sizeof(*c.slot_head));
		atomic_store(&c.lane_words[0].oldest, whole ? 0 : 8);
		cr_assert_eq(slot_load(&changing, &toy_codec, w, buffer, &cut, why),
			     whole ? 0 : -EBADMSG);
		cr_assert_eq(cut.generation, 0);
	}
	cr_assert_str_eq(why, "no checkpoint holds still long enough to be read");
}

/* ---- what was refused ------------------------------------------------------------------- */

Test(slot, only_what_was_refused_is_dropped)
{
	struct slot_cut cut;
	uint64_t refused;

	checkpoint();
	checkpoint();
	c.slot[1][0] ^= 1;
	cr_assert_eq(load(&cut), 0);
	refused = cut.refused[1];
	cut.refused[1] = refused - 2;
	slot_drop_refused(&c, &cut);
	cr_assert_eq(c.slot_head[1].generation, refused, "another was written since");
	cut.refused[1] = refused;
	slot_drop_refused(&c, &cut);
	cr_assert_eq(c.slot_head[1].generation, refused + 1);
	cr_assert_eq(c.slot_head[0].generation, cut.generation);
	checkpoint();
	cr_assert_eq(c.slot_head[0].generation, cut.generation, "the good one stays");
	cr_assert_eq(load(&cut), 0);
	cr_assert_eq(cut.seq, 3);
}
