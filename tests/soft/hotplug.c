/* tests/soft/hotplug.c - what happens to a guest whose operator attaches, resizes
 * and takes away LUNs and a controller, and changes media. Each step waits for what the
 * operator does next (e2e/soft-disks.sh) and says when it has seen it. */
#include "tests/soft/scsikit.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_CHANGED SCSIKIT_SENSE(6, 0x2a, 9)
#define OTHER_MEDIUM SCSIKIT_SENSE(6, 0x28, 0)
#define NO_MEDIUM SCSIKIT_SENSE(2, 0x3a, 2)

enum { SECONDS = 120, SECTOR = 4096, INVALID_LUN = 0x20, LOADERS = 16 };

static bool lun_listed(struct scsikit *kit)
{
	scsikit_in(kit, "a0 00 00 00 00 00 00 00 01 00 00 00", 256);
	for (uint32_t at = 8; at + 8 <= 8 + scsikit_be(kit->data, 4) && at < 256; at += 8)
		if (kit->data[at + 1] == 1)
			return true;
	return false;
}

/* The server has sent a word of its own since `told` were counted. */
static uint64_t told;

static bool was_told(struct scsikit *kit)
{
	return atomic_load(&guestscsi_faults(kit->scsi)->unsolicited) > told;
}

static void note_told(struct scsikit *kit)
{
	told = atomic_load(&guestscsi_faults(kit->scsi)->unsolicited);
}

static void added(struct scsikit *kit)
{
	note_told(kit);
	scsikit_step(kit, "ready");
	scsikit_check(kit, scsikit_until(kit, lun_listed, SECONDS), "REPORT LUNS: a LUN has come");
	scsikit_check(kit, scsikit_until(kit, was_told, SECONDS), "the guest was told to look");
	kit->lun = 1;
	scsikit_fill(kit, 0, SECTOR, 3);
	scsikit_out(kit, "2a 00 00 00 00 07 00 00 01 00", SECTOR);
	scsikit_in(kit, "28 00 00 00 00 07 00 00 01 00", SECTOR);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_same(kit, 0, SECTOR, 3),
		      "it is written and read");
}

static void resized(struct scsikit *kit)
{
	note_told(kit);
	scsikit_step(kit, "added");
	scsikit_check(kit, scsikit_until(kit, was_told, SECONDS), "the guest was told to look");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, CAPACITY_CHANGED, "the LUN has another capacity");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, 0, "and says so once");
	scsikit_in(kit, "25 00 00 00 00 00 00 00 00 00", 8);
	scsikit_check(kit, scsikit_be(kit->data, 4) == 4095, "READ CAPACITY(10): 16 MiB");
	scsikit_fill(kit, 0, SECTOR, 4);
	scsikit_out(kit, "2a 00 00 00 0f ff 00 00 01 00", SECTOR);
	scsikit_in(kit, "28 00 00 00 0f ff 00 00 01 00", SECTOR);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_same(kit, 0, SECTOR, 4),
		      "its last block is written and read");
}

/* ---- load ----------------------------------------------------------------- */

struct loader {
	struct guestscsi_request request;
	uint64_t pfn;
	uint32_t block;
};

static _Atomic uint32_t out, completed, vanished, odd, told_capacity;
static _Atomic bool stop;
static struct loader loaders[LOADERS];

static void submit(struct loader *l)
{
	l->block = (l->block + LOADERS) % 4096;
	guestscsi_transfer_cdb(&l->request, l->block & 1, l->block, 1, false);
	guestscsi_submit_locked(&l->request);
}

static void on_done(struct guestscsi_request *request)
{
	struct loader *l = request->context;
	bool good = request->srb_status == 1 && request->scsi_status == 0;
	bool again = request->srb_status == 1 && request->scsi_status == 8;
	bool attention = request->srb_status == 0x84 && (request->sense[2] & 15) == 6;

	atomic_fetch_add(&told_capacity,
			 attention && request->sense[12] == 0x2a && request->sense[13] == 9);
	atomic_fetch_add(good ? &completed : request->srb_status == INVALID_LUN ? &vanished : &odd,
			 !again && !attention);
	if (atomic_load(&stop) || request->srb_status == INVALID_LUN)
		atomic_fetch_sub(&out, 1);
	else
		submit(l);
}

static int load(struct guestbus *bus, struct scsikit *kit)
{
	for (uint32_t i = 0; i < LOADERS; i++) {
		struct loader *l = &loaders[i];
		int error = softvm_pages(guestbus_vm(bus), 1, &l->pfn);

		if (error)
			return error;
		l->block = i;
		l->request = (struct guestscsi_request){ .lun = 1, .bytes = SECTOR, .pfns = &l->pfn,
							 .done = on_done, .context = l, .raw = true };
		error = guestscsi_register(kit->scsi, 0, &l->request);
		if (error)
			return error;
		guestscsi_lock(kit->scsi, 0);
		atomic_fetch_add(&out, 1);
		submit(l);
		guestscsi_unlock(kit->scsi, 0);
	}
	return 0;
}

static bool nothing_out(struct scsikit *kit)
{
	(void)kit;
	return atomic_load(&out) == 0;
}

static bool not_listed(struct scsikit *kit)
{
	return !lun_listed(kit);
}

static bool capacity_is_new(struct scsikit *kit)
{
	scsikit_in(kit, "25 00 00 00 00 00 00 00 00 00", 8);
	atomic_fetch_add(&told_capacity, scsikit_sense(kit) == CAPACITY_CHANGED);
	return scsikit_sense(kit) == 0 && scsikit_be(kit->data, 4) == 6143;
}

static uint32_t seen;

static bool load_goes_on(struct scsikit *kit)
{
	(void)kit;
	return atomic_load(&completed) >= seen + 2 * LOADERS;
}

/* It grows while requests are under way: one of all commands is told. */
static void grown(struct guestbus *bus, struct scsikit *kit)
{
	note_told(kit);
	scsikit_check(kit, load(bus, kit) == 0, "16 requests at a time");
	scsikit_step(kit, "loading");
	scsikit_check(kit, scsikit_until(kit, was_told, SECONDS), "the guest was told to look");
	scsikit_check(kit, scsikit_until(kit, capacity_is_new, SECONDS),
		      "READ CAPACITY(10): 24 MiB");
	scsikit_fill(kit, 0, SECTOR, 5);
	scsikit_out(kit, "2a 00 00 00 17 ff 00 00 01 00", SECTOR);
	scsikit_in(kit, "28 00 00 00 17 ff 00 00 01 00", SECTOR);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_same(kit, 0, SECTOR, 5),
		      "its last block is written and read");
	seen = atomic_load(&completed);
	scsikit_check(kit, scsikit_until(kit, load_goes_on, SECONDS), "the load goes on");
	scsikit_check(kit, atomic_load(&told_capacity) == 1, "it was told of its size once");
}

static void removed(struct scsikit *kit)
{
	note_told(kit);
	scsikit_step(kit, "grown");
	scsikit_check(kit, scsikit_until(kit, nothing_out, SECONDS), "each request was answered");
	fprintf(kit->report, "    %u done, %u of no LUN, %u others\n", completed, vanished, odd);
	scsikit_check(kit, completed > LOADERS && vanished == LOADERS && odd == 0,
		      "well, or as of a LUN that is no more");
	scsikit_check(kit, scsikit_until(kit, was_told, SECONDS), "the guest was told to look");
	scsikit_check(kit, not_listed(kit), "REPORT LUNS: it is gone");
	kit->lun = 0;
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, 0, "its neighbour is there");
}

/* ---- media ----------------------------------------------------------------- */

static bool medium_gone(struct scsikit *kit)
{
	scsikit_none(kit, "00 00 00 00 00 00");
	return scsikit_sense(kit) == NO_MEDIUM;
}

static bool other_medium(struct scsikit *kit)
{
	scsikit_none(kit, "00 00 00 00 00 00");
	return scsikit_sense(kit) == OTHER_MEDIUM;
}

static bool eject_asked(struct scsikit *kit)
{
	scsikit_in(kit, "4a 01 00 00 10 00 00 00 08 00", 8);
	return (kit->data[4] & 15) == 1;
}

static void media(struct scsikit *kit)
{
	kit->lun = 3;
	scsikit_none(kit, "1e 00 00 00 01 00");
	scsikit_step(kit, "locked");
	scsikit_check(kit, scsikit_until(kit, eject_asked, SECONDS),
		      "GET EVENT STATUS: somebody wants the medium");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, 0, "but it stays");
	scsikit_none(kit, "1e 00 00 00 00 00");
	scsikit_step(kit, "unlocked");
	scsikit_check(kit, scsikit_until(kit, medium_gone, SECONDS), "it is out, the tray is open");
	scsikit_step(kit, "empty");
	scsikit_check(kit, scsikit_until(kit, other_medium, SECONDS), "another medium is in");
	scsikit_in(kit, "28 00 00 00 00 00 00 00 01 00", 2048);
	scsikit_check(kit, scsikit_sense(kit) == 0 && memcmp(kit->data, "other 00000 ", 12) == 0,
		      "READ(10): its first block");
	kit->lun = 0;
}

/* ---- a controller ------------------------------------------------------------ */

static struct guestbus *the_bus;

static bool offered(struct scsikit *kit)
{
	(void)kit;
	return guestbus_primary(the_bus, GUESTBUS_SCSI, 1) != NULL;
}

static bool rescinded(struct scsikit *kit)
{
	(void)kit;
	return atomic_load(&guestbus_primary(the_bus, GUESTBUS_SCSI, 1)->rescinded);
}

/* A second controller comes, is used, and taken away. */
static void controller(struct guestbus *bus, struct scsikit *kit, bool again)
{
	struct guestscsi *scsi = NULL;
	struct scsikit other;
	uint32_t kept;

	the_bus = bus;
	scsikit_check(kit, scsikit_until(kit, offered, SECONDS), "a controller is offered");
	if (!guestbus_primary(bus, GUESTBUS_SCSI, 1))
		return;
	scsikit_check(kit, guestscsi_open(bus, 1, 2, 65536, &scsi) == 0, "it is opened");
	scsikit_check(kit, guestscsi_channels(scsi) == 2, "with a sub-channel");
	if (scsikit_make(bus, scsi, kit->report, kit->checks, kit->bad, &other))
		return;
	other.lun = 5;
	scsikit_fill(&other, 0, SECTOR, 8);
	scsikit_out(&other, "2a 00 00 00 00 07 00 00 08 00", SECTOR);
	scsikit_in(&other, "28 00 00 00 00 07 00 00 08 00", SECTOR);
	scsikit_check(kit, scsikit_sense(&other) == 0 && scsikit_same(&other, 0, SECTOR, 8),
		      "its disk is written and read");
	scsikit_step(kit, again ? "controller again" : "controller");
	scsikit_check(kit, scsikit_until(kit, rescinded, SECONDS), "it is taken away");
	scsikit_check(kit, guestscsi_close(scsi) == 0, "it is closed");
	scsikit_check(kit, guestbus_release(bus, 20000, &kept) == 0 && kept == 0, "and released");
	scsikit_step(kit, again ? "released again" : "released");
}

int hotplug(struct guestbus *bus, struct scsikit *kit)
{
	added(kit);
	resized(kit);
	grown(bus, kit);
	removed(kit);
	media(kit);
	scsikit_step(kit, "removed");
	controller(bus, kit, false);
	controller(bus, kit, true);
	return 0;
}
