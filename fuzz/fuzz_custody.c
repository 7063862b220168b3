/* fuzz/fuzz_custody.c - attaching to custody, loading checkpoints and following a
 * log that were damaged.
 *
 * Custody of a guest that got somewhere is made once: its events and effects in
 * the ring, two checkpoints in the slots. Each input changes bytes of the header,
 * the slots, the ring and the lane's words, and takes the changes back at the end.
 * A reader then attaches, loads and follows to the end. It may refuse, with a
 * sentence; the world it ends with is a state that was, or the reader has said
 * that the log is damaged, and without a change it is the state at the end. */
#include "fuzz/answers.h"
#include "fuzz/driver.h"
#include "fuzz/feed.h"
#include "fuzz/oracle.h"
#include "fuzz/program.h"
#include "fuzz/story.h"

#include "engine/follow.h"
#include "persist/codec.h"
#include "statemachines/machines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { EDITS = 6, HEADER = 256 };

static struct {
	uint64_t inputs, refused, unloadable, followed, damaged, lapped, diverged;
} figures;

static const struct slot_codec codec = { .pack = codec_pack, .unpack = codec_unpack };
static struct custody c;
static struct log_writer writer;
static struct world *end, *copy;
static struct follower follower;
static struct answers answers;
static uint8_t payload[LIMIT_PAYLOAD];
static struct {
	uint8_t *at, was;
} edit[EDITS];
static unsigned n_edits;

/* ---- a life in custody ------------------------------------------------------------------ */

static void append(uint16_t type, const struct event *ev, const void *bytes, uint32_t len)
{
	struct log_record h = { .seq = ev->seq, .time_ns = ev->time_ns, .type = type, .epoch = 1 };

	if (type == LOG_EVENT) {
		h.kind = ev->kind;
		h.index = ev->index;
		h.generation = ev->generation;
		h.code = ev->code;
	}
	log_append(&writer, &h, bytes, len);
	log_commit(&writer);
}

void story_turn(void *user, struct event *ev)
{
	static uint8_t confirm[sizeof(struct log_confirm) + LIMIT_TURN_BYTES];
	const struct turn t = answers_turn(&answers, &fuzz_program, user, ev);
	const struct log_confirm head = { t.n_effects, t.bytes };

	append(LOG_EVENT, ev, ev->payload, ev->len);
	memcpy(confirm, &head, sizeof(head));
	memcpy(confirm + sizeof(head), t.effects, t.bytes);
	append(LOG_CONFIRM, ev, confirm, (uint32_t)sizeof(head) + t.bytes);
	if (ev->seq == 8 || ev->seq == 20)
		if (slot_write(&c, &codec, user, &writer))
			exit(1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	end = world_new(&fuzz_program);
	copy = world_new(&fuzz_program);
	if (!end || !copy || custody_create(&c) || follow_init(&follower, copy))
		exit(1);
	log_writer_init(&writer, &c.lane_words[0], c.lane_ring, 0, 0, 0, 0);
	machines_spawn_fixed(end);
	story_tell(story_steps(), &answers, end, payload, end);
	return 0;
}

/* ---- damage --------------------------------------------------------------------------------- */

static uint8_t *some_place(struct feed *f)
{
	uint64_t tail = writer.end;

	switch (feed_below(f, 8)) {
	case 0:
		return (uint8_t *)c.h + feed_u8(f) % HEADER;
	case 1:
		return (uint8_t *)c.lane_words + feed_u16(f) % sizeof(*c.lane_words);
	case 2:
		return (uint8_t *)c.slot_head + feed_u8(f) % (2 * sizeof(*c.slot_head));
	case 3:
	case 4:
		return c.slot[feed_below(f, 2)] + feed_u32(f) % 32768;
	default:
		return c.lane_ring + feed_u32(f) % tail;
	}
}

static void damage(struct feed *f)
{
	for (n_edits = 0; n_edits < feed_u8(f) % (EDITS + 1u); n_edits++) {
		uint8_t *at = some_place(f);

		edit[n_edits].at = at;
		edit[n_edits].was = *at;
		*at = feed_once_in(f, 2) ? feed_u8(f) : (uint8_t)(*at ^ 1u << feed_below(f, 8));
	}
}

static void repair(void)
{
	while (n_edits--)
		*edit[n_edits].at = edit[n_edits].was;
	n_edits = 0;
}

/* ---- a reader ------------------------------------------------------------------------------- */

static void follow(const struct custody *view)
{
	char why[CODEC_WHY] = "";
	int r = follow_begin(&follower, view, &codec, machines_spawn_fixed, 0xA5, why);

	if (r < 0) {
		figures.unloadable++;
		if (why[0] == '\0' || !memchr(why, 0, sizeof(why)))
			oracle_failed("a refusal without a sentence", 0, (uint64_t)-r);
		return;
	}
	switch (follow_run(&follower, UINT64_MAX)) {
	case FOLLOW_OK:
		figures.followed++;
		break;
	case FOLLOW_E_LAPPED:
		figures.lapped++;
		return;
	case FOLLOW_E_DAMAGED:
		figures.damaged++;
		return;
	default:
		figures.diverged++;
		oracle_failed("the chain let another effect pass", follower.events, 0);
	}
	if (world_lane_const(copy)->seq > world_lane_const(end)->seq)
		oracle_failed("a turn that never was", world_lane_const(copy)->seq, 0);
	oracle_predicates(copy, 0);
	if (world_lane_const(copy)->seq == world_lane_const(end)->seq)
		oracle_equal(end, copy);
	else if (n_edits == 0)
		oracle_failed("not followed to the end", world_lane_const(copy)->seq, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	struct custody view;
	int r;

	figures.inputs++;
	damage(&f);
	r = custody_attach(&view, c.fd, false);
	if (r == 0) {
		follow(&view);
		custody_detach(&view);
	} else {
		figures.refused++;
		if (n_edits == 0)
			oracle_failed("custody is refused", 0, (uint64_t)r);
	}
	repair();
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f refused=%" PRIu64 " unloadable=%" PRIu64
	       " followed=%" PRIu64 " damaged=%" PRIu64 " lapped=%" PRIu64 " diverged=%" PRIu64
	       "\n", figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0,
	       figures.refused, figures.unloadable, figures.followed, figures.damaged,
	       figures.lapped, figures.diverged);
}
