/* Table (test_story.h) of a storage controller: every state is asked what guest,
 * operator and the other machines can say; and what many answers of one turn mean to
 * requests of an owner that is gone. */
#include "statemachines/bytes.h"
#include "statemachines/operator.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { RELID = 1, HANDLE = 0xe1e10 };

static void without_disk(struct story *s)
{
	guest_config(s, 2);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
}

static void offered(struct story *s)
{
	guest_config(s, 2);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
}

static void opened(struct story *s)
{
	offered(s);
	guest_open(s, RELID, HANDLE);
}

static void begun(struct story *s)
{
	opened(s);
	guest_vstor(s, RELID, VSTOR_BEGIN, 0);
}

static void agreed(struct story *s)
{
	begun(s);
	guest_vstor(s, RELID, VSTOR_QUERY_VERSION, 0x0602);
}

static void told(struct story *s)
{
	agreed(s);
	guest_vstor(s, RELID, VSTOR_QUERY_PROPERTIES, 0);
}

static void ready(struct story *s)
{
	told(s);
	guest_vstor(s, RELID, VSTOR_END, 0);
}

static void resetting(struct story *s)
{
	ready(s);
	guest_read(s, 1, 0, 8);
	guest_vstor(s, RELID, VSTOR_RESET_BUS, 0);
}

static void taken_away(struct story *s)
{
	struct rec_operator gone = { .op = 16, .token = 5 };

	RAISE(s, storvsp, 0, REMOVE, gone, NULL, 0);
}

static void leaving(struct story *s)
{
	ready(s);
	guest_read(s, 1, 0, 8);
	taken_away(s);
}

static const struct story_reach states[] = {
	{ storvsp_EMPTY, without_disk },     { storvsp_CLOSED, offered },
	{ storvsp_AWAIT_BEGIN, opened },     { storvsp_AWAIT_VERSION, begun },
	{ storvsp_AWAIT_PROPERTIES, agreed }, { storvsp_AWAIT_END, told },
	{ storvsp_READY, ready },            { storvsp_RESETTING, resetting },
	{ storvsp_LEAVING, leaving },
};

/* One packet of each kind, as long as the channel takes them. */
static void packets(struct story *s)
{
	static const uint32_t ops[] = { VSTOR_COMPLETE_IO, VSTOR_RESET_LUN, VSTOR_RESET_ADAPTER,
					VSTOR_CREATE_SUBCHANNELS, VSTOR_QUERY_VERSION,
					VSTOR_QUERY_PROPERTIES, VSTOR_END, VSTOR_BEGIN, 77 };
	static const uint32_t words[] = { 0, 0, 0, 1, 0x0501 };

	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		const struct channel *c = world_at(story_world(s), KIND_channel, RELID);

		if (c->sm.state == channel_OPEN && c->device_kind == KIND_storvsp)
			guest_vstor(s, RELID, ops[i], i < ARRAY_LEN(words) ? words[i] : 0);
	}
}

static void a_read(struct story *s)
{
	const struct channel *c = world_at(story_world(s), KIND_channel, RELID);

	if (c->sm.state == channel_OPEN && c->device_kind == KIND_storvsp)
		guest_read(s, 2, 8, 8);
}

static void tell(struct story *s, uint16_t code)
{
	story_raise(s, KIND_storvsp, 0, code, "", 0, NULL, 0);
}

static void orphans(struct story *s)
{
	tell(s, storvsp_EV_ORPHANED);
	tell(s, storvsp_EV_ORPHANED);
}

static void orphans_settled(struct story *s)
{
	orphans(s);
	tell(s, storvsp_EV_SETTLED);
}

static void settled_too_often(struct story *s)
{
	tell(s, storvsp_EV_SETTLED);
}

static void overlaps(struct story *s)
{
	tell(s, storvsp_EV_OVERLAPS);
}

static void nothing_owed(struct story *s)
{
	struct rec_relid r = { .relid = RELID };

	tell(s, storvsp_EV_SENT);
	tell(s, storvsp_EV_BLOCKED);
	RAISE(s, storvsp, 0, RETRY, r, NULL, 0);
}

static void something_ended(struct story *s)
{
	struct rec_ended e = { .is_request = 1, .lba = 5, .count = 6 };

	orphans(s);
	RAISE(s, storvsp, 0, ENDED, e, NULL, 0);
	e.is_request = 0;
	RAISE(s, storvsp, 0, ENDED, e, NULL, 0);
}

static void check(struct story *s)
{
	tell(s, storvsp_EV_CHECK);
}

static void mode(struct story *s)
{
	struct rec_relid r = { .relid = 3, .value = 1 };

	RAISE(s, storvsp, 0, MODE, r, NULL, 0);
	r.relid = 2;
	RAISE(s, storvsp, 0, MODE, r, NULL, 0);
	r.value = 0;
	RAISE(s, storvsp, 0, MODE, r, NULL, 0);
}

static void processors(struct story *s)
{
	struct rec_config c = { .vps = 9 };

	RAISE(s, storvsp, 0, CONFIG, c, NULL, 0);
}

static void another_disk(struct story *s)
{
	guest_disk(s, 1, 4096, 0);
}

static void grows(struct story *s)
{
	struct rec_operator o = { .op = 11, .value = 512 * 16384, .token = 4 };

	RAISE(s, disk, 0, RESIZE, o, NULL, 0);
}

static void disk_goes(struct story *s)
{
	struct rec_operator o = { .op = 13, .token = 4 };

	RAISE(s, disk, 0, REMOVE, o, NULL, 0);
}

static void another_controller(struct story *s)
{
	struct rec_operator gone = { .op = 16, .arg = 1, .token = 5 };

	RAISE(s, storvsp, 0, REMOVE, gone, NULL, 0);
}

static void closed(struct story *s)
{
	guest_words(s, VMBUS_CLOSE, RELID, 0, 0);
}

static void another_owner(struct story *s)
{
	struct rec_serving r = { .reason = SERVING_DEATH, .slot = 1, .epoch = 2, .level = 1 };

	RAISE(s, servicing, 0, SERVING, r, "0.1.0-b", 7);
}

static void request_over(struct story *s)
{
	if (world_at(story_world(s), KIND_scsi, 0))
		disk_done(s, 0, 4096);
}

static void unloads(struct story *s)
{
	guest_words(s, VMBUS_UNLOAD, 0, 0, 0);
}

static const struct story_happening happenings[] = {
	{ "a packet of each kind", packets },
	{ "a read", a_read },
	{ "requests of an owner that is gone", orphans },
	{ "one of them is settled", orphans_settled },
	{ "one too many is settled", settled_too_often },
	{ "writes of a turn are told", overlaps },
	{ "nothing is owed", nothing_owed },
	{ "requests end", something_ended },
	{ "is anything left of it", check },
	{ "write caches are set", mode },
	{ "processors", processors },
	{ "another disk", another_disk },
	{ "its disk grows", grows },
	{ "its disk goes", disk_goes },
	{ "it is taken away", taken_away },
	{ "another one is taken away", another_controller },
	{ "its channel is closed", closed },
	{ "another owner", another_owner },
	{ "its request is over", request_over },
	{ "the guest unloads", unloads },
};

static void storvsp_table(struct story *s)
{
	story_table(s, KIND_storvsp, states, ARRAY_LEN(states), happenings, ARRAY_LEN(happenings));
}

/* ---- many answers in one turn ------------------------------------------------------ */

static void write_at(struct story *s, uint8_t lun, uint32_t lba)
{
	uint8_t cdb[10] = { 0x2a, [8] = 8 };

	put_be32(cdb + 2, lba);
	guest_srb(s, RELID, lba, lun, cdb, sizeof(cdb), 0x2000, 8 * 512);
}

static void fill_ring(struct story *s)
{
	static const uint8_t unit_ready[6];
	unsigned n = 0;

	do {
		cr_assert_lt(++n, 200);
		guest_srb(s, RELID, 1000 + n, 0, unit_ready, sizeof(unit_ready), 0, 0);
	} while (story_effects(s, EFFECT_RING_POLL) == 0);
}

/* Two writes wait for room in the ring and are answered in one turn: who overlaps the
 * span of both, on either disk if they were of two, is not to be issued again. */
static void answered_together(struct story *s)
{
	static const struct {
		uint8_t lun[2];
		uint32_t lba[2];
	} writes[] = {
		{ { 0, 0 }, { 8, 200 } }, { { 0, 0 }, { 200, 8 } }, { { 0, 1 }, { 8, 200 } },
		{ { 1, 0 }, { 200, 8 } }, { { 1, 1 }, { 8, 200 } }, { { 0, 0 }, { 300, 400 } },
	};

	for (unsigned i = 0; i < ARRAY_LEN(writes); i++) {
		const struct channel *c;
		struct rec_ring_space space = { 0 };

		story_anew(s);
		guest_ready(s);
		story_mute(s, true);
		guest_disk(s, 1, 8192, 0);
		write_at(s, 0, 100);
		write_at(s, 1, 100);
		another_owner(s);
		write_at(s, writes[i].lun[0], writes[i].lba[0]);
		write_at(s, writes[i].lun[1], writes[i].lba[1]);
		fill_ring(s);
		disk_done(s, 2, 4096);
		disk_done(s, 3, 4096);
		story_line(s, "LUN %u block %u, LUN %u block %u; 100 waits on both", writes[i].lun[0],
			   writes[i].lba[0], writes[i].lun[1], writes[i].lba[1]);
		c = world_at(story_world(s), KIND_channel, RELID);
		space.read_index = (uint32_t)(c->out_position % c->out_size);
		RAISE(s, channel, RELID, SPACE, space, NULL, 0);
		story_brief(s);
		story_fields(s, KIND_scsi, 0);
		story_fields(s, KIND_scsi, 1);
		story_fields(s, KIND_storvsp, 0);
	}
}

/* An answer waits for room when the guest closes: whoever opens next is told nothing of
 * it. */
static void closed_while_full(struct story *s)
{
	guest_ready(s);
	story_mute(s, true);
	fill_ring(s);
	story_fields(s, KIND_channel, RELID);
	closed(s);
	story_mute(s, false);
	story_fields(s, KIND_channel, RELID);
}

#if HOLDFAST_VARIANT_B
static void quiesced(struct story *s)
{
	ready(s);
	/* As after a COMMIT. */
	((struct lane_state *)(uintptr_t)world_lane_const(story_world(s)))->level = 2;
	tell(s, storvsp_EV_QUIESCE);
}

static void storvsp_table_quiesced(struct story *s)
{
	static const struct story_reach reach[] = { { storvsp_QUIESCED, quiesced } };

	story_table(s, KIND_storvsp, reach, ARRAY_LEN(reach), happenings, ARRAY_LEN(happenings));
}

STORY(table_storvsp_quiesced, storvsp_table_quiesced)
#endif

STORY(table_storvsp, storvsp_table)
STORY(closed_while_full, closed_while_full)
STORY(answered_together, answered_together)
