/* The most that one turn can have to do: 16 controllers with a channel for each of
 * 16 processors, every place of a request taken by an answer that its ring has no
 * room for, spread over all channels, and the guest lets go of the bus. Each channel
 * that closes then wakes all of them. The engine's facts (LIMIT_TURN_STEPS,
 * LIMIT_INBOX_BYTES, LIMIT_TURN_EFFECTS, LIMIT_TURN_BYTES) end the test when a bound
 * does not hold; the figures are told, so that a change of them is seen. */
#include "statemachines/bytes.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>

enum { VPS = 16, HALF = 2, DATA = (HALF - 1) * 4096, PFN = 0x1000, KEY = 0xe1000 };

static const struct channel *channel_at(const struct story *s, uint16_t relid)
{
	return world_at(story_world(s), KIND_channel, relid);
}

/* The smallest rings there are: they are full soonest. */
static void open_small(struct story *s, uint16_t relid)
{
	struct rec_ring_mapped mapped = { .in_size = DATA, .out_size = DATA };
	uint8_t m[148] = { 0 };

	put_le32(m, VMBUS_GPADL_HEADER);
	put_le32(m + 8, relid);
	put_le32(m + 12, KEY + relid);
	put_le16(m + 16, 8 + 2 * HALF * 8);
	put_le16(m + 18, 1);
	put_le32(m + 20, 2 * HALF * 4096);
	for (unsigned i = 0; i < 2 * HALF; i++)
		put_le64(m + 28 + i * 8, PFN + i);
	guest_post(s, m, 28 + 2 * HALF * 8);
	memset(m, 0, sizeof(m));
	put_le32(m, VMBUS_OPEN);
	put_le32(m + 8, relid);
	put_le32(m + 16, KEY + relid);
	put_le32(m + 24, HALF);
	guest_post(s, m, sizeof(m));
	mapped.generation = (uint32_t)story_seq(s);
	RAISE(s, channel, relid, MAPPED, mapped, NULL, 0);
	guest_in_force(s);
	cr_assert_eq(channel_at(s, relid)->sm.state, channel_OPEN, "channel %u", relid);
}

static void ask_ready(struct story *s, uint16_t relid)
{
	static const uint8_t ready[6];

	guest_srb(s, relid, 1, 0, ready, sizeof(ready), 0, 0);
}

/* Each channel once: until an answer stays behind, then three more. */
static void fill(struct story *s, uint16_t relid)
{
	unsigned n = world_room(story_world(s), KIND_scsi);

	while (world_room(story_world(s), KIND_scsi) == n)
		ask_ready(s, relid);
	for (unsigned i = 1; i < LIMIT_REQUESTS / (LIMIT_CONTROLLERS * VPS); i++)
		ask_ready(s, relid);
}

static void bring_up(struct story *s)
{
	guest_config(s, VPS);
	for (uint16_t i = 0; i < LIMIT_CONTROLLERS; i++) {
		struct rec_disk_config d = { .blocks = 8192, .block_bytes = 512, .controller = i,
					     .fd = (uint16_t)(40 + i), .identity = { 1, 1u + i } };

		RAISE(s, disk, i, CONFIG, d, "disk.img", 8);
	}
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	for (uint16_t i = 0; i < LIMIT_CONTROLLERS; i++) {
		const struct storvsp *v = world_at(story_world(s), KIND_storvsp, i);
		uint16_t primary = v->channel;

		open_small(s, primary);
		guest_handshake(s, primary);
		guest_vstor(s, primary, VSTOR_CREATE_SUBCHANNELS, VPS - 1);
		for (unsigned n = 0; n < VPS - 1; n++)
			open_small(s, v->sub[n]);
	}
}

static void most_at_once(struct story *s)
{
	unsigned open = 0;

	story_mute(s, true);
	bring_up(s);
	for (uint16_t i = 0; i < LIMIT_CHANNELS; i++) {
		const struct channel *c = channel_at(s, i);

		if (!c || c->sm.state != channel_OPEN)
			continue;
		fill(s, i);
		open++;
	}
	cr_assert_eq(world_room(story_world(s), KIND_scsi), 0);
	story_say(s, "%u channels, %u answers that wait for room; the guest unloads", open,
		  LIMIT_REQUESTS);
	guest_words(s, VMBUS_UNLOAD, 0, 0, 0);
	story_line(s, "    one turn: %u steps, %u effects in %u bytes", story_steps(s),
		   story_turn(s).n_effects, story_turn(s).bytes);
	cr_assert_eq(world_live(story_world(s), KIND_scsi), 0);
	cr_assert_eq(world_live(story_world(s), KIND_gpadl), 0);
	story_fields(s, KIND_vmbus, 0);
}

Test(story, most_at_once)
{
	story_check_once("most_at_once", most_at_once);
}
