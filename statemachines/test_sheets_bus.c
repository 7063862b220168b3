/* Sheets (test_sheets.c) of the bus: lists of pages in parts, what rings may be, what
 * headers may say, what a packet may be; protocol versions of a controller; what its
 * disks answer. */
#include "statemachines/bytes.h"
#include "statemachines/operator.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>

enum { RELID = 1, HANDLE = 0xe1e10, RING_BYTES = 3 * 4096 };

static void connected(struct story *s)
{
	story_anew(s);
	story_mute(s, true);
	guest_config(s, 1);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	story_mute(s, false);
}

/* GPADL_HEADER with @sent of @pages page numbers. */
static void gpadl_header(struct story *s, uint32_t relid, uint32_t pages, uint32_t sent,
			 uint32_t bytes, uint32_t offset)
{
	uint8_t m[VMBUS_MAX] = { 0 };

	put_le32(m, VMBUS_GPADL_HEADER);
	put_le32(m + 8, relid);
	put_le32(m + 12, HANDLE);
	put_le16(m + 16, (uint16_t)(8 + pages * 8));
	put_le16(m + 18, 1);
	put_le32(m + 20, bytes);
	put_le32(m + 24, offset);
	for (uint32_t i = 0; i < sent; i++)
		put_le64(m + 28 + i * 8, 0x1000 + i);
	guest_post(s, m, 28 + (size_t)sent * 8);
}

static void gpadl_body(struct story *s, uint32_t sent)
{
	uint8_t m[VMBUS_MAX] = { 0 };

	put_le32(m, VMBUS_GPADL_BODY);
	put_le32(m + 12, HANDLE);
	for (uint32_t i = 0; i < sent; i++)
		put_le64(m + 16 + i * 8, 0x2000 + i);
	guest_post(s, m, 16 + (size_t)sent * 8);
}

static void open_channel(struct story *s, uint32_t relid, uint32_t downstream)
{
	uint8_t m[148] = { 0 };

	put_le32(m, VMBUS_OPEN);
	put_le32(m + 8, relid);
	put_le32(m + 12, relid);
	put_le32(m + 16, HANDLE);
	put_le32(m + 24, downstream);
	guest_post(s, m, sizeof(m));
}

static void teardown(struct story *s)
{
	guest_words(s, VMBUS_GPADL_TEARDOWN, RELID, HANDLE, 0);
}

static void gpadl_in_parts(struct story *s)
{
	connected(s);
	story_say(s, "26 pages, then 28, then the last 6");
	gpadl_header(s, RELID, 60, 26, 60 * 4096, 0);
	gpadl_body(s, 28);
	story_say(s, "meanwhile nobody can use it");
	open_channel(s, RELID, 30);
	gpadl_body(s, 6);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 1, "GPADL_CREATED");
	story_say(s, "one body more is nobody's");
	gpadl_body(s, 6);
	open_channel(s, RELID, 30);
	cr_assert_eq(story_effects(s, EFFECT_RING_MAP), 1);
	story_say(s, "in use: not by another channel too; wanted back, twice; given back at the close");
	open_channel(s, RELID + 1, 30);
	teardown(s);
	open_channel(s, RELID + 1, 30);
	teardown(s);
	guest_words(s, VMBUS_CLOSE, RELID, 0, 0);
	cr_assert_eq(world_live(story_world(s), KIND_gpadl), 0);
	connected(s);
	story_say(s, "more pages than are missing are left out");
	gpadl_header(s, RELID, 28, 26, 28 * 4096, 0);
	gpadl_body(s, 5);
	open_channel(s, RELID, 14);
	cr_assert_eq(story_effect(s, EFFECT_RING_MAP, 0).tail_len, 28 * 8);
	connected(s);
	story_say(s, "given back before it is whole; a guest that leaves before it is whole");
	gpadl_header(s, RELID, 60, 26, 60 * 4096, 0);
	teardown(s);
	cr_assert_eq(world_live(story_world(s), KIND_gpadl), 0);
	gpadl_header(s, RELID, 60, 26, 60 * 4096, 0);
	guest_words(s, VMBUS_UNLOAD, 0, 0, 0);
	cr_assert_eq(world_live(story_world(s), KIND_gpadl), 0);
}

static void named_gpadl(struct story *s, uint32_t relid, uint32_t handle, uint32_t pages,
			uint32_t sent)
{
	uint8_t m[VMBUS_MAX] = { 0 };

	put_le32(m, VMBUS_GPADL_HEADER);
	put_le32(m + 8, relid);
	put_le32(m + 12, handle);
	put_le16(m + 16, (uint16_t)(8 + pages * 8));
	put_le16(m + 18, 1);
	put_le32(m + 20, pages * 4096);
	guest_post(s, m, 28 + (size_t)sent * 8);
}

/* With a relid that the guest gives back go its lists of pages, whole or not, and no
 * others. */
static void released(struct story *s)
{
	struct rec_operator gone = { .op = 16, .token = 5 };

	connected(s);
	named_gpadl(s, RELID, 0xa, 4, 4);
	named_gpadl(s, RELID, 0xb, 60, 26);
	named_gpadl(s, RELID + 1, 0xc, 4, 4);
	named_gpadl(s, RELID + 1, 0xd, 60, 26);
	cr_assert_eq(world_live(story_world(s), KIND_gpadl), 4);
	story_say(s, "the controller goes; the guest gives its relid back");
	RAISE(s, storvsp, 0, REMOVE, gone, NULL, 0);
	guest_words(s, VMBUS_RELID_RELEASED, RELID, 0, 0);
	cr_assert_eq(world_live(story_world(s), KIND_gpadl), 2);
	for (uint16_t i = 0; i < 4; i++)
		story_fields(s, KIND_gpadl, i);
}

/* Which pages can be rings, and how they may be shared out. */
static void ring_bounds(struct story *s)
{
	static const struct {
		uint32_t relid, pages, bytes, offset, downstream;
	} cases[] = {
		{ 1, 4, 4 * 4096, 0, 2 },
		{ 1, 4, 4 * 4096, 0, 1 },
		{ 1, 4, 4 * 4096, 0, 3 },
		{ 1, 5, 5 * 4096, 0, 3 },
		{ 1, 5, 5 * 4096, 0, 4 },
		{ 1, 3, 3 * 4096, 0, 2 },
		{ 1, 4, 4 * 4096 - 1, 0, 2 },
		{ 1, 5, 4 * 4096, 8, 2 },
		{ 2, 4, 4 * 4096, 0, 2 },
		{ 1, 4, 4 * 4096, 0, 0xffffffff },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		connected(s);
		story_say(s, "relid %u, %u pages, %u bytes from %u, %u downstream", cases[i].relid,
			  cases[i].pages, cases[i].bytes, cases[i].offset, cases[i].downstream);
		gpadl_header(s, cases[i].relid, cases[i].pages, cases[i].pages, cases[i].bytes,
			     cases[i].offset);
		open_channel(s, RELID, cases[i].downstream);
		story_fields(s, KIND_channel, RELID);
	}
}

/* What the headers of rings may say. */
static void mapped_bounds(struct story *s)
{
	static const struct rec_ring_mapped cases[] = {
		{ .in_size = RING_BYTES, .out_size = RING_BYTES },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .status = 14 },
		{ .in_size = RING_BYTES + 4, .out_size = RING_BYTES },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES + 4 },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .in_read = RING_BYTES },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .in_read = 4 },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .in_read = RING_BYTES - 8 },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .out_write = RING_BYTES },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .out_write = 12 },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .out_read = RING_BYTES },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .out_read = 20 },
		{ .in_size = RING_BYTES, .out_size = RING_BYTES, .out_read = 16, .out_write = 24 },
		{ 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct rec_ring_mapped m = cases[i];

		connected(s);
		story_mute(s, true);
		guest_gpadl(s, RELID, HANDLE, 8);
		open_channel(s, RELID, 4);
		story_mute(s, false);
		story_say(s, "case %u", i);
		m.generation = (uint32_t)story_seq(s);
		RAISE(s, channel, RELID, MAPPED, m, NULL, 0);
		story_fields(s, KIND_channel, RELID);
	}
}

static const struct channel *primary(const struct story *s)
{
	return world_at(story_world(s), KIND_channel, RELID);
}

/* Packets that do not hold together, and read indices that cannot be, each in a
 * connection of its own; with a request in flight and without. */
static void channel_faults(struct story *s)
{
	static const uint8_t bytes[LIMIT_PACKET + 8] = { 6, 0, 2, 0, 2 };
	static const struct {
		uint32_t len, step;
	} packets[] = {
		{ 16, 24 }, { 16, 23 }, { 16, 25 }, { LIMIT_PACKET, LIMIT_PACKET + 8 },
		{ LIMIT_PACKET + 8, LIMIT_PACKET + 16 }, { 16, RING_BYTES }, { 0, 8 }, { 8, 16 },
	};
	static const uint32_t reads[] = { 0, 8, 4, RING_BYTES, RING_BYTES - 8, 360 };
	struct rec_ring_bad bad = { .reason = 1, .value = 2 };

	for (unsigned i = 0; i < 2 * ARRAY_LEN(packets); i++) {
		struct rec_packet p;

		story_anew(s);
		guest_ready(s);
		story_mute(s, true);
		if (i % 2)
			guest_read(s, 1, 0, 8);
		p = (struct rec_packet){ .position = primary(s)->in_position };
		p.next = p.position + packets[i / 2].step;
		story_line(s, "a packet of %u bytes, %u to the next, %u requests", packets[i / 2].len,
			   packets[i / 2].step, i % 2);
		RAISE(s, channel, RELID, PACKET, p, bytes, packets[i / 2].len);
		story_fields(s, KIND_channel, RELID);
	}
	for (unsigned i = 0; i < 2 * ARRAY_LEN(reads); i++) {
		struct rec_ring_space space = { .read_index = reads[i / 2] };

		story_anew(s);
		guest_ready(s);
		story_mute(s, true);
		if (i % 2)
			guest_read(s, 1, 0, 8);
		story_line(s, "read up to %u, %u requests", reads[i / 2], i % 2);
		RAISE(s, channel, RELID, SPACE, space, NULL, 0);
		story_fields(s, KIND_channel, RELID);
	}
	for (unsigned i = 0; i < 2; i++) {
		story_anew(s);
		guest_ready(s);
		story_mute(s, true);
		if (i)
			guest_read(s, 1, 0, 8);
		story_line(s, "a ring that cannot be read, %u requests", i);
		RAISE(s, channel, RELID, RING_BAD, bad, NULL, 0);
		story_fields(s, KIND_channel, RELID);
	}
}

static void storage_versions(struct story *s)
{
	static const uint32_t versions[] = { 0,      0x0500, 0x0501, 0x0502,
					     0x0600, 0x0601, 0x0602, 0x0603 };

	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		connected(s);
		story_mute(s, true);
		guest_open(s, RELID, HANDLE);
		guest_vstor(s, RELID, VSTOR_BEGIN, 0);
		story_line(s, "version %#x", versions[i]);
		guest_vstor(s, RELID, VSTOR_QUERY_VERSION, versions[i]);
		story_brief(s);
		story_fields(s, KIND_storvsp, 0);
	}
}

/* ---- what disks answer --------------------------------------------------------- */

static void answer_all(struct story *s, int32_t result)
{
	for (unsigned n = 0; n < 12 && world_at(story_world(s), KIND_scsi, 0); n++) {
		disk_done(s, 0, result);
		story_brief(s);
	}
}

/* Every result for a read, a write and a flush; what is not done is asked again, but
 * not for ever; a request that was overtaken is not. */
static void disk_results(struct story *s)
{
	static const uint8_t flush[10] = { 0x35 };
	static const int32_t results[] = { 4096, 4095, 512, 511, 1, 0, 8192, -1, -4,
					   -5,   -6,   -9,  -11, -12, -14, -16, -22, -27,
					   -28,  -30,  -95, -110, -121, -122, -125 };

	guest_ready(s);
	story_mute(s, true);
	for (unsigned i = 0; i < ARRAY_LEN(results); i++)
		for (unsigned kind = 0; kind < 3; kind++) {
			struct rec_ring_space space = { 0 };

			space.read_index =
				(uint32_t)(primary(s)->out_position % primary(s)->out_size);
			RAISE(s, channel, RELID, SPACE, space, NULL, 0);
			story_line(s, "%s: %d", kind == 0 ? "read" : kind == 1 ? "write" : "flush",
				   results[i]);
			if (kind == 0)
				guest_read(s, i, 0, 8);
			else if (kind == 1)
				guest_write(s, i, 0, 8);
			else
				guest_srb(s, 1, i, 0, flush, sizeof(flush), 0, 0);
			answer_all(s, results[i]);
			cr_assert_eq(world_live(story_world(s), KIND_scsi), 0);
		}
}

/* A write by an owner that is gone, and another one over it or beside it, answered:
 * only where they share a block the old one must not be issued again. */
static void overtaken(struct story *s)
{
	static const struct {
		uint32_t lba;
		uint16_t blocks;
		int32_t result; /* of the old one */
	} later[] = { { 92, 8, -125 }, { 93, 8, -4 }, { 100, 1, -125 }, { 107, 1, -4 },
		      { 108, 1, -125 }, { 90, 40, -4 }, { 100, 8, 0 }, { 100, 8, 2048 } };
	struct rec_serving death = { .reason = SERVING_DEATH, .slot = 1, .epoch = 2, .level = 1 };

	for (unsigned i = 0; i < ARRAY_LEN(later); i++) {
		story_anew(s);
		guest_ready(s);
		story_mute(s, true);
		guest_write(s, 1, 100, 8);
		RAISE(s, servicing, 0, SERVING, death, NULL, 0);
		guest_write(s, 2, later[i].lba, later[i].blocks);
		story_line(s, "blocks 100 to 107 wait; %u to %u are written", later[i].lba,
			   later[i].lba + later[i].blocks - 1);
		disk_done(s, 1, later[i].blocks * 512);
		story_brief(s);
		story_fields(s, KIND_scsi, 0);
		disk_done(s, 0, later[i].result);
		story_brief(s);
	}
}

STORY(gpadl_in_parts, gpadl_in_parts)
STORY(released, released)
STORY(ring_bounds, ring_bounds)
STORY(mapped_bounds, mapped_bounds)
STORY(channel_faults, channel_faults)
STORY(storage_versions, storage_versions)
STORY(disk_results, disk_results)
STORY(overtaken, overtaken)
