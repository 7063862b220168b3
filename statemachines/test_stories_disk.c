/* The stories of disks: what a guest asks of them, what its operator does to
 * them, what it gets when it asks too much. */
#include "statemachines/bytes.h"
#include "statemachines/lun.h"
#include "statemachines/scsi_sense.h"
#include "statemachines/partition_codes.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>

/* Places for the page numbers of 8,190 pages, the most there can be. */
enum { LARGEST_LIST = 256 };

/* More packets than there are machines for, and a ring that nobody reads. */
static void flood(struct story *s)
{
	static const uint8_t ready[6];
	struct rec_ring_space space = { 0 };
	const struct storvsp *v;
	unsigned sent = 0, n = 0;

	guest_ready(s);
	story_mute(s, true);
	while (world_room(story_world(s), KIND_scsi))
		guest_read(s, ++n, 0, 1);
	for (sent = n; n < 2000 && story_effects(s, EFFECT_RING_POLL) == 0;)
		guest_srb(s, 1, ++n, 0, ready, sizeof(ready), 0, 0);
	sent = n - sent - 1;
	story_mute(s, false);
	story_say(s, "%u answers later the ring is full as well; the next two are owed", sent);
	guest_srb(s, 1, ++n, 0, ready, sizeof(ready), 0, 0);
	v = world_at(story_world(s), KIND_storvsp, 0);
	cr_assert(v->owed != 0 && v->lost == 0);
	story_say(s, "room for one, then for the rest");
	space.read_index = 96;
	RAISE(s, channel, 1, SPACE, space, NULL, 0);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 1);
	space.read_index = 880;
	RAISE(s, channel, 1, SPACE, space, NULL, 0);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 1);
	v = world_at(story_world(s), KIND_storvsp, 0);
	cr_assert(v->owed == 0 && v->lost == 0);
	story_say(s, "a guest that goes on without reading: what cannot be owed is counted");
	story_mute(s, true);
	for (; v->lost == 0 && n < 4000; v = world_at(story_world(s), KIND_storvsp, 0))
		guest_srb(s, 1, ++n, 0, ready, sizeof(ready), 0, 0);
	cr_assert_eq(v->lost, 1);
	story_mute(s, false);
	story_say(s, "closed: nothing is owed to anybody, all reads are waited for");
	guest_words(s, VMBUS_CLOSE, 1, 0, 0);
	v = world_at(story_world(s), KIND_storvsp, 0);
	cr_assert_eq(v->owed, 0);
	cr_assert_eq(((const struct channel *)world_at(story_world(s), KIND_channel, 1))->inflight,
		     LIMIT_REQUESTS);
}

static void disks(struct story *s)
{
	static const uint8_t unmap[10] = { 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0 };
	static const uint8_t same[16] = { 0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 32, 0, 0 };
	static const uint8_t same_data[16] = { 0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 32 };
	static const uint8_t flush[10] = { 0x35 }, ready[6] = { 0 };
	static const uint8_t luns[12] = { 0xa0, 0, 0, 0, 0, 0, 0, 0, 1 };
	static const uint8_t mode[6] = { 0x1a, 0, 0x3f, 0, 64, 0 }, ata[16] = { 0x85 };
	struct rec_fetched fetched = { 0 };
	struct rec_operator resize = { .op = 11, .value = 16384, .token = 4 };
	uint8_t list[40] = { 0, 38, 0, 32 }, zeros[512] = { 0 };

	guest_ready(s);
	story_say(s, "UNMAP: its list is read from guest memory, each range is one request");
	put_be64(list + 8, 8);
	put_be32(list + 16, 8);
	put_be64(list + 24, 64);
	put_be32(list + 32, 16);
	guest_srb(s, 1, 1, 0, unmap, sizeof(unmap), 0x2000, 40);
	RAISE(s, scsi, 0, FETCHED, fetched, list, sizeof(list));
	disk_done(s, 0, 0);
	disk_done(s, 0, 0);
	story_say(s, "WRITE SAME without data, with zeros, and a flush that fails");
	guest_srb(s, 1, 2, 0, same, sizeof(same), 0, 0);
	disk_done(s, 0, 0);
	guest_srb(s, 1, 3, 0, same_data, sizeof(same_data), 0x2000, 512);
	RAISE(s, scsi, 0, FETCHED, fetched, zeros, sizeof(zeros));
	disk_done(s, 0, 0);
	guest_srb(s, 1, 4, 0, flush, sizeof(flush), 0, 0);
	disk_done(s, 0, -5);
	story_say(s, "out of range; out of pages; unknown; no such LUN");
	guest_read(s, 5, 8190, 8);
	guest_srb(s, 1, 6, 0, ata, sizeof(ata), 0, 0);
	guest_srb(s, 1, 7, 5, ready, sizeof(ready), 0, 0);
	story_say(s, "a second disk, read-only: the guest is told to look again");
	guest_disk(s, 1, 4096, 1);
	guest_srb(s, 1, 8, 0, luns, sizeof(luns), 0x2000, 256);
	guest_srb(s, 1, 9, 1, mode, sizeof(mode), 0x2000, 64);
	guest_srb(s, 1, 10, 1, same, sizeof(same), 0, 0);
	story_say(s, "the first one grows: told once");
	RAISE(s, disk, 0, RESIZE, resize, NULL, 0);
	guest_srb(s, 1, 11, 0, ready, sizeof(ready), 0, 0);
	guest_srb(s, 1, 12, 0, ready, sizeof(ready), 0, 0);
}

static void drive(struct story *s, uint16_t index, uint64_t blocks, uint16_t code, uint32_t token)
{
	struct rec_disk_config d = { .blocks = blocks, .block_bytes = DISK_OPTICAL_BLOCK,
				     .flags = DISK_OPTICAL | DISK_READ_ONLY, .fd = 60, .lun = 3,
				     .identity = { 7, 8 }, .token = token };

	story_raise(s, KIND_disk, index, code, &d, sizeof(d), "iso", 3);
}

static void at_lun(struct story *s, uint16_t code, uint32_t arg, uint64_t value)
{
	struct rec_operator o = { .op = 13, .arg = arg, .value = value, .token = 5 };

	story_raise(s, KIND_disk, 0, code, &o, sizeof(o), NULL, 0);
}

/* READ(10) of block 0. */
static void read_first(struct story *s, uint64_t transaction, uint8_t lun, uint32_t bytes)
{
	static const uint8_t cdb[10] = { 0x28, [8] = 1 };

	guest_srb(s, 1, transaction, lun, cdb, sizeof(cdb), 0x2000, bytes);
}

static void simple(struct story *s, uint64_t transaction, uint8_t lun, uint8_t opcode,
		   uint8_t byte4)
{
	uint8_t cdb[6] = { opcode, 0, 0, 0, byte4, 0 };

	guest_srb(s, 1, transaction, lun, cdb, sizeof(cdb), 0, 0);
}

static uint32_t sense_told(const struct story *s)
{
	const uint8_t *sense = guest_answer(s) + VSTOR_AT_SENSE;

	return SCSI_SENSE(sense[2], sense[12], sense[13]);
}

static void hot_plug(struct story *s)
{
	struct rec_disk_config d = { .blocks = 64, .block_bytes = 4096, .fd = 61, .lun = LUN_ANY,
				     .token = 5 };
	struct rec_operator gone = { .op = 16, .token = 5 };

	guest_ready(s);
	story_say(s, "a disk comes; a second one for the same LUN, one without size");
	RAISE(s, disk, 0, ADD, d, "late", 4);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 1, "ENUMERATE_BUS");
	d.lun = 1;
	RAISE(s, disk, 0, ADD, d, "late", 4);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 1, "its row is given up");
	d.blocks = 0;
	RAISE(s, disk, 0, ADD, d, "late", 4);
	story_say(s, "it grows; it goes with a read in flight: its file is kept until that is over");
	at_lun(s, disk_EV_RESIZE, 1, 128 * 4096);
	at_lun(s, disk_EV_RESIZE, 1, 5);
	read_first(s, 1, 1, 4096);
	cr_assert_eq(sense_told(s), SENSE_CAPACITY);
	read_first(s, 2, 1, 4096);
	at_lun(s, disk_EV_REMOVE, 1, 0);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 0);
	d.blocks = 64;
	RAISE(s, disk, 0, ADD, d, "late", 4);
	at_lun(s, disk_EV_REMOVE, 1, 0);
	disk_done(s, 0, 4096);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 1);
	simple(s, 3, 1, 0x00, 0);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SRB_STATUS], SRB_INVALID_LUN);
	at_lun(s, disk_EV_REMOVE, 1, 0);
	story_say(s, "the controller goes, and with it its disk; its channel when the guest lets go");
	RAISE(s, storvsp, 3, REMOVE, gone, NULL, 0);
	RAISE(s, storvsp, 0, REMOVE, gone, NULL, 0);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 1);
	d.lun = 0;
	RAISE(s, disk, 0, ADD, d, "late", 4);
	guest_words(s, VMBUS_CLOSE, 1, 0, 0);
	guest_words(s, VMBUS_GPADL_TEARDOWN, 1, 0xe1e10, 0);
	guest_words(s, VMBUS_RELID_RELEASED, 1, 0, 0);
	story_say(s, "and comes again");
	RAISE(s, disk, 0, ADD, d, "late", 4);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 1, "an offer");
}

static void media(struct story *s)
{
	static const uint8_t event[10] = { 0x4a, 1, [4] = 16, [8] = 8 };

	guest_ready(s);
	story_say(s, "an empty drive; a medium; another one is refused");
	drive(s, 1, 0, disk_EV_CONFIG, 0);
	simple(s, 1, 3, 0x00, 0);
	cr_assert_eq(sense_told(s), SENSE_NO_MEDIUM);
	drive(s, 0, 512, disk_EV_INSERT, 5);
	drive(s, 0, 512, disk_EV_INSERT, 5);
	simple(s, 2, 3, 0x00, 0);
	cr_assert_eq(sense_told(s), SENSE_MEDIUM);
	story_say(s, "locked by the guest: the operator is refused, the guest asked");
	simple(s, 3, 3, 0x1e, 1);
	at_lun(s, disk_EV_EJECT, 3, 0);
	guest_srb(s, 1, 4, 3, event, sizeof(event), 0x2000, 8);
	simple(s, 5, 3, 0x1b, 2);
	cr_assert_eq(sense_told(s), SENSE_LOCKED_IN);
	story_say(s, "by force, with a read in flight; meanwhile it is busy");
	read_first(s, 6, 3, 2048);
	at_lun(s, disk_EV_EJECT, 3, 1);
	at_lun(s, disk_EV_EJECT, 3, 1);
	drive(s, 0, 512, disk_EV_INSERT, 5);
	disk_done(s, 0, 2048);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 1);
	simple(s, 7, 3, 0x00, 0);
	cr_assert_eq(sense_told(s), SENSE_TRAY_OPEN);
	at_lun(s, disk_EV_EJECT, 3, 1);
	story_say(s, "out by the guest, in by the guest");
	drive(s, 0, 512, disk_EV_INSERT, 5);
	simple(s, 8, 3, 0x00, 0);
	simple(s, 9, 3, 0x1b, 2);
	simple(s, 10, 3, 0x1b, 3);
	simple(s, 11, 3, 0x00, 0);
	cr_assert_eq(sense_told(s), SENSE_MEDIUM);
}

/* What the guest sets, and what errors of the host become. */
static void settings(struct story *s)
{
	static const uint8_t select[6] = { 0x15, 0x10, 0, 0, 24, 0 }, same[10] = { 0x41, [8] = 4 };
	struct rec_fetched fetched = { 0 };
	uint8_t list[24] = { [4] = 8, [5] = 18 }, block[512] = { 1 };
	const struct rec_disk_submit *submit;

	guest_ready(s);
	story_say(s, "no write cache: what was cached is written first, then writes go through");
	guest_srb(s, 1, 1, 0, select, sizeof(select), 0x2000, 24);
	RAISE(s, scsi, 0, FETCHED, fetched, list, sizeof(list));
	disk_done(s, 0, 0);
	guest_write(s, 2, 0, 8);
	submit = story_effect(s, EFFECT_DISK_SUBMIT, 0).p;
	cr_assert_eq(submit->flags, DISK_FLAG_FUA);
	story_say(s, "the host's disk is full; no memory: the guest tries again; the device is gone");
	disk_done(s, 0, -28);
	cr_assert_eq(sense_told(s), SENSE_NO_SPACE);
	guest_read(s, 3, 0, 8);
	disk_done(s, 0, -12);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SCSI_STATUS], SCSI_BUSY);
	guest_read(s, 4, 0, 8);
	disk_done(s, 0, -6);
	cr_assert_eq(sense_told(s), SENSE_UNIT_FAILURE);
	guest_read(s, 5, 0, 8);
	disk_done(s, 0, 0);
	cr_assert_eq(sense_told(s), SENSE_READ_ERROR);
	story_say(s, "what cannot be set; a block written four times from one page");
	list[6] = 1;
	guest_srb(s, 1, 6, 0, select, sizeof(select), 0x2000, 24);
	RAISE(s, scsi, 0, FETCHED, fetched, list, sizeof(list));
	cr_assert_eq(sense_told(s), SENSE_LIST);
	guest_srb(s, 1, 7, 0, same, sizeof(same), 0x2000, 512);
	RAISE(s, scsi, 0, FETCHED, fetched, block, sizeof(block));
	cr_assert_eq(story_effect(s, EFFECT_DISK_SUBMIT, 0).tail_len, 64);
	disk_done(s, 0, 2048);
	story_say(s, "stopped; reset: it runs again, and says why");
	simple(s, 8, 0, 0x1b, 0);
	disk_done(s, 0, 0);
	guest_read(s, 9, 0, 8);
	cr_assert_eq(sense_told(s), SENSE_STOPPED);
	guest_vstor(s, 1, VSTOR_RESET_LUN, 0);
	guest_read(s, 10, 0, 8);
	cr_assert_eq(sense_told(s), SENSE_RESET);
	guest_read(s, 11, 0, 8);
}

/* The guest's quota of lists is used up: what needs one more is told to try again. */
static void no_room_for_lists(struct story *s)
{
	static const uint8_t unmap[10] = { 0x42, [8] = 24 }, ready[6] = { 0 };
	enum { LARGE = 0xe2000, SMALL = 0xe3000 };
	unsigned n = 0;

	guest_ready(s);
	story_mute(s, true);
	while (world_blob_room(story_world(s)) >= LARGEST_LIST)
		guest_gpadl(s, 1, LARGE + n++, 8190);
	for (n = 0; world_blob_room(story_world(s)); n++)
		guest_gpadl(s, 1, SMALL + n, 1);
	story_mute(s, false);
	story_say(s, "no room for a list of pages: a read, an UNMAP; what needs none is answered");
	guest_read(s, 1, 0, 8);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SCSI_STATUS], SCSI_BUSY);
	guest_srb(s, 1, 2, 0, unmap, sizeof(unmap), 0x2000, 24);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SCSI_STATUS], SCSI_BUSY);
	guest_srb(s, 1, 3, 0, ready, sizeof(ready), 0, 0);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SCSI_STATUS], 0);
	cr_assert_eq(world_live(story_world(s), KIND_scsi), 0);
	story_say(s, "one list less");
	guest_words(s, VMBUS_GPADL_TEARDOWN, 1, SMALL, 0);
	guest_read(s, 4, 0, 8);
	cr_assert_eq(story_effects(s, EFFECT_DISK_SUBMIT), 1);
}

/* What killed two owners is not tried again: its request fails, unless the kernel
 * may still have it. */
static void quarantine_disk(struct story *s)
{
	static const uint8_t unmap[10] = { 0x42, [8] = 24 };
	struct rec_quarantine q = { .code = scsi_EV_DISK_DONE };
	struct rec_disk_done done = { .result = 4096 };
	struct rec_serving serving = { .reason = SERVING_DEATH, .slot = 1, .epoch = 2, .level = 1 };
	const struct storvsp *controller;
	const struct scsi *r;

	guest_ready(s);
	guest_read(s, 1, 0, 8);
	story_say(s, "the completion of an older submission: this one is waited for");
	r = world_at(story_world(s), KIND_scsi, 0);
	done.generation = r->generation - 1;
	RAISE(s, scsi, 0, QUARANTINE, q, &done, sizeof(done));
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 0);
	story_say(s, "its own: the guest is told that it failed");
	done.generation++;
	RAISE(s, scsi, 0, QUARANTINE, q, &done, sizeof(done));
	cr_assert_eq(sense_told(s), SENSE_READ_ERROR);
	story_say(s, "a completion cut short, and a submission, of writes");
	guest_write(s, 2, 0, 8);
	RAISE(s, scsi, 0, QUARANTINE, q, &done, sizeof(done) - 1);
	cr_assert_eq(sense_told(s), SENSE_WRITE_ERROR);
	q.code = 0;
	q.effect = EFFECT_DISK_SUBMIT;
	guest_write(s, 3, 0, 8);
	RAISE(s, scsi, 0, QUARANTINE, q, NULL, 0);
	cr_assert_eq(sense_told(s), SENSE_WRITE_ERROR);
	story_say(s, "a parameter list");
	q = (struct rec_quarantine){ .code = scsi_EV_FETCHED };
	guest_srb(s, 1, 4, 0, unmap, sizeof(unmap), 0x2000, 24);
	RAISE(s, scsi, 0, QUARANTINE, q, NULL, 0);
	cr_assert_eq(world_live(story_world(s), KIND_scsi), 0);
	story_say(s, "of an owner that is gone: its controller has one less to wait for");
	guest_read(s, 5, 0, 8);
	RAISE(s, servicing, 0, SERVING, serving, "0.1.0-b", 7);
	controller = world_at(story_world(s), KIND_storvsp, 0);
	cr_assert_eq(controller->orphans, 1);
	q = (struct rec_quarantine){ .effect = EFFECT_DISK_SUBMIT };
	RAISE(s, scsi, 0, QUARANTINE, q, NULL, 0);
	controller = world_at(story_world(s), KIND_storvsp, 0);
	cr_assert_eq(controller->orphans, 0);
}

STORY(quarantine_disk, quarantine_disk)

/* Told once: 20,000 messages make it. */
Test(story, no_room_for_lists)
{
	story_check_once("no_room_for_lists", no_room_for_lists);
}

STORY(disks, disks)
STORY(hot_plug, hot_plug)
STORY(media, media)
STORY(settings, settings)
STORY(flood, flood)
