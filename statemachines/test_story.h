/* statemachines/test_story.h - golden traces: events go into a world, every
 * step and effect comes out as a line of text.
 *
 * A story is a function that raises events. It is told twice: straight, and
 * with the whole world saved, thrown away and restored before each turn (of those
 * that are muted, before some); both must read the same, and as the file
 * stories/NAME.txt. With the environment variable HOLDFAST_WRITE_STORIES the file
 * is written instead of compared. */
#ifndef STATEMACHINES_TEST_STORY_H
#define STATEMACHINES_TEST_STORY_H

#include "engine/world.h"
#include "statemachines/channel.h"
#include "statemachines/cmos.h"
#include "statemachines/disk.h"
#include "statemachines/effects.h"
#include "statemachines/gpadl.h"
#include "statemachines/heartbeat_ic.h"
#include "statemachines/ic.h"
#include "statemachines/machines.h"
#include "statemachines/ring_packet.h"
#include "statemachines/scsi.h"
#include "statemachines/servicing.h"
#include "statemachines/shutdown_ic.h"
#include "statemachines/storvsp.h"
#include "statemachines/synthetic_msr.h"
#include "statemachines/timesync_ic.h"
#include "statemachines/uart.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vp.h"
#include "statemachines/vstor.h"
#include "statemachines/vtl.h"

struct story;
typedef void story_teller(struct story *s);

/* Tells it both ways and compares. */
void story_check(const char *name, story_teller *tell);
/* Only straight, for one whose world is too large to be restored so often. */
void story_check_once(const char *name, story_teller *tell);

#define STORY(name, tell)            \
	Test(story, name)            \
	{                            \
		story_check(#name, tell); \
	}

/* A line of prose between events. */
void story_say(struct story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line without a number. */
void story_line(struct story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The last turn's effects in a line each, for who has muted the story: of a packet on
 * a channel only what it means, of others all. Positions of rings are left out. */
void story_brief(struct story *s);
/* The fields of an instance that are not zero, in one line; of arrays and blobs how
 * much is in them. */
void story_fields(struct story *s, uint16_t kind, uint16_t index);
/* Another world, in which nothing has happened yet. */
void story_anew(struct story *s);
/* From now on turns are taken but not told, or told again. */
void story_mute(struct story *s, bool muted);
/* One turn. */
void story_raise(struct story *s, uint16_t kind, uint16_t index, uint16_t code, const void *fixed,
		 size_t fixed_len, const void *tail, size_t len);
#define RAISE(s, kind, index, code, record, tail, len)                                       \
	story_raise(s, KIND_##kind, index, kind##_EV_##code, &(record), sizeof(record), tail, len)

const struct world *story_world(const struct story *s);
uint64_t story_seq(const struct story *s);
/* The last turn: what came of it, and how many machines' steps it took. */
struct turn story_turn(const struct story *s);
unsigned story_steps(const struct story *s);
/* Effects of @code in the last turn. */
unsigned story_effects(const struct story *s, uint16_t code);
/* The @n-th of them; fails the test when there is none. */
struct effect story_effect(const struct story *s, uint16_t code, unsigned n);

/* How a state is reached, and one thing that may happen in it. */
struct story_reach {
	uint16_t state;
	story_teller *go;         /* NULL: it begins in it */
};
struct story_happening {
	const char *what;
	story_teller *raise;
};

/* Everything happens in every state of instance 0 of @kind, each time in a world of
 * its own; told are the steps, the effects and the fields. */
void story_table(struct story *s, uint16_t kind, const struct story_reach *r, size_t states,
		 const struct story_happening *h, size_t happenings);

/* ---- what a guest does, in one call each ------------------------------ */
void guest_config(struct story *s, uint32_t vps);
void guest_disk(struct story *s, uint16_t lun, uint64_t blocks, uint32_t flags);
void guest_start(struct story *s);                       /* START, LOADED, VP_START done */
void guest_in_force(struct story *s);
void guest_contact(struct story *s, uint32_t version);
void guest_post(struct story *s, const void *message, size_t len);
void guest_words(struct story *s, uint32_t type, uint32_t a, uint32_t b, uint32_t c);
void guest_offers(struct story *s);
void guest_gpadl(struct story *s, uint32_t relid, uint32_t handle, uint32_t pages);
/* GPADL, OPEN, rings mapped, doorbell in force. */
void guest_open(struct story *s, uint32_t relid, uint32_t handle);
/* What Linux's components do: the last message on a channel; the same packet back with
 * an answer in it; opening, and agreeing on framework 3.0 and @version (0: on none). */
void guest_last_ic(const struct story *s, uint8_t m[IC_MAX]);
void guest_answer_ic(struct story *s, uint32_t relid, uint8_t m[IC_MAX], uint32_t status);
void guest_agree_ic(struct story *s, uint32_t relid, uint32_t version);
/* Next packet of the ring of @relid. @pages: GPA direct with so many bytes at page @pfn. */
void guest_packet(struct story *s, uint32_t relid, uint64_t transaction, const uint8_t *payload,
		  size_t len, uint64_t pfn, uint32_t bytes);
/* One that wants no completion. */
void guest_unanswered(struct story *s, uint32_t relid, const uint8_t *payload, size_t len,
		      uint64_t pfn, uint32_t bytes);
void guest_vstor(struct story *s, uint32_t relid, uint32_t op, uint32_t word);
void guest_handshake(struct story *s, uint32_t relid);
void guest_srb(struct story *s, uint32_t relid, uint64_t transaction, uint8_t lun,
	       const uint8_t *cdb, unsigned cdb_len, uint64_t pfn, uint32_t bytes);
void guest_read(struct story *s, uint64_t transaction, uint32_t lba, uint16_t blocks);
void guest_write(struct story *s, uint64_t transaction, uint32_t lba, uint16_t blocks);
/* The vstor packet of the first answer in the last turn. */
const uint8_t *guest_answer(const struct story *s);
/* Completion of request @slot; its generation is the machine's. */
void disk_done(struct story *s, uint16_t slot, int32_t result);
/* All up to a READY controller with one disk of 8,192 blocks, 1 processor. */
void guest_ready(struct story *s);

#endif
