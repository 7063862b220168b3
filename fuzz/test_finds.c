/* fuzz/test_finds.c - what fuzzing has found, told as a story, so that it is
 * found again without luck. */
#include "fuzz/answers.h"
#include "fuzz/oracle.h"
#include "fuzz/program.h"
#include "fuzz/shapes.h"
#include "fuzz/story.h"

#include "statemachines/channel.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/scsi.h"
#include "statemachines/servicing.h"
#include "statemachines/storvsp.h"

#include <criterion/criterion.h>

enum { WRITE_10 = 0x2a, EXECUTE_SRB = 3, DEATH = 3, WRITES = 700, LEFT = 100 };
enum { SUBS = 6, RING_ANSWERS = 330, SPARE_REQUESTS = 8 };

static struct world *w;
static struct answers answers;
static uint8_t payload[LIMIT_PAYLOAD];

void story_turn(void *user, struct event *ev)
{
	const struct turn t = answers_turn(&answers, &fuzz_program, user, ev);

	oracle_effects(user, &t, ev->seq);
}

static void set_up(void)
{
	w = world_new(&fuzz_program);
	cr_assert_not_null(w);
	answers.n = 0;
	machines_spawn_fixed(w);
	story_tell(story_steps(), &answers, w, payload, w);
}

static void tear_down(void)
{
	oracle_predicates(w, 0);
	w = world_free(w);
}

TestSuite(finds, .init = set_up, .fini = tear_down);

static uint16_t primary(void)
{
	return ((const struct storvsp *)world_at(w, KIND_storvsp, 0))->channel;
}

static void raise_event(uint16_t kind, uint16_t index, uint16_t code, const void *p, uint32_t len)
{
	struct event ev = { .time_ns = 1, .kind = kind, .index = index, .code = code,
			    .payload = p, .len = len };

	story_turn(w, &ev);
}

/* A WRITE (10) of one block at @lba on the primary channel. */
static void write_block(uint8_t lba)
{
	/* LUN 0, out, one block transferred, one block at lba, nothing damaged; one
	 * range of one block at page 32, a completion wanted. */
	const uint8_t bytes[] = { 0, 0, 1, 1, lba, 0, 0, 0, 1, 0, 0, 32, 0, 0 };
	const struct channel *c = world_at(w, KIND_channel, primary());
	struct feed f = { bytes, sizeof(bytes) };
	struct rec_packet p = { .position = c->in_position };
	uint32_t len = shape_vstor(&f, EXECUTE_SRB, WRITE_10, payload + sizeof(p));

	p.next = p.position + len + 8;
	memcpy(payload, &p, sizeof(p));
	raise_event(KIND_channel, primary(), channel_EV_PACKET, payload,
		    (uint32_t)sizeof(p) + len);
}

/* Gives the first answer of @effect; false: there is none. */
static bool answer_one(uint16_t effect)
{
	for (unsigned i = 0; i < answers.n; i++) {
		struct event ev = { .time_ns = 1 };

		if (answers.at[i].effect != effect)
			continue;
		answers_event(&answers, i, w, NULL, &ev, payload);
		answers_drop(&answers, i);
		story_turn(w, &ev);
		return true;
	}
	return false;
}

/* A guest that does not read its answers, a death with requests in flight, and
 * room for all answers at once: a broadcast for each of them to each of them. */
Test(finds, answers_to_many_writes_after_a_death_fit_into_a_turn)
{
	struct rec_serving death = { .epoch = 2, .reason = DEATH, .level = 1, .slot = 1 };

	for (unsigned i = 0; i < WRITES; i++)
		write_block((uint8_t)i);
	cr_assert_eq(world_live(w, KIND_scsi), WRITES);
	raise_event(KIND_servicing, 0, servicing_EV_SERVING, &death, sizeof(death));
	for (unsigned i = 0; i < WRITES - LEFT; i++)
		cr_assert(answer_one(EFFECT_DISK_SUBMIT));
	cr_assert_gt(world_live(w, KIND_scsi), LEFT);
	while (answer_one(EFFECT_RING_POLL))
		;
	while (answer_one(EFFECT_DISK_SUBMIT))
		;
	while (answer_one(EFFECT_RING_POLL))
		;
	oracle_idle(w);
}

/* TEST UNIT READY on channel @index: answered at once. */
static void ask_ready(uint16_t index)
{
	const uint8_t bytes[] = { 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	const struct channel *c = world_at(w, KIND_channel, index);
	struct feed f = { bytes, sizeof(bytes) };
	struct rec_packet p = { .position = c->in_position };
	uint32_t len = shape_vstor(&f, EXECUTE_SRB, 0, payload + sizeof(p));

	p.next = p.position + len + 8;
	memcpy(payload, &p, sizeof(p));
	raise_event(KIND_channel, index, channel_EV_PACKET, payload, (uint32_t)sizeof(p) + len);
}

static bool is_open_storage(uint16_t index)
{
	const struct channel *c = world_at(w, KIND_channel, index);

	return c && c->device_kind == KIND_storvsp && c->sm.state == channel_OPEN;
}

/* Every ring full, every request waiting for room: each channel that closes wakes
 * them all. */
Test(finds, all_channels_can_be_closed_when_no_answer_was_read)
{
	unsigned channels = 0;

	story_more_channels(SUBS, &answers, w, payload, w);
	for (uint16_t i = 1; i < CAPACITY_channel; i++) {
		if (!is_open_storage(i))
			continue;
		channels++;
		for (unsigned n = 0; n < RING_ANSWERS; n++)
			ask_ready(i);
	}
	cr_assert_eq(channels, SUBS + 2);
	for (uint16_t i = 1; world_room(w, KIND_scsi) > SPARE_REQUESTS; i++)
		if (is_open_storage(i % CAPACITY_channel))
			ask_ready(i % CAPACITY_channel);
	story_unload(&answers, w, payload, w);
	oracle_idle(w);
}

/* The kernel's word is not to be trusted to be an errno. */
Test(finds, a_completion_may_say_anything)
{
	struct rec_disk_done done = { .result = 0x80000000 };
	const struct scsi *s;

	write_block(1);
	s = world_at(w, KIND_scsi, 0);
	cr_assert_not_null(s);
	done.generation = s->generation;
	raise_event(KIND_scsi, 0, scsi_EV_DISK_DONE, &done, sizeof(done));
	cr_assert_eq(world_live(w, KIND_scsi), 0);
}
