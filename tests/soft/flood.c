/* tests/soft/flood.c - a guest that does not take the answers on one channel, and
 * one that sends the largest packets there are; another channel must not notice. */
#include "tests/soft/scsikit.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	STUCK = 900,         /* requests on each of two channels whose answers nobody takes */
	TURNS = 3000,        /* of the channel beside it */
	LARGE = 48, LARGE_BYTES = 256 * SOFTVM_PAGE, LARGE_TURNS = 40,
	SECONDS = 120,
};

static _Atomic uint32_t answered;
static _Atomic uint32_t turns;

static void on_answer(struct guestscsi_request *request)
{
	(void)request;
	atomic_fetch_add(&answered, 1);
}

static bool all_answered(struct scsikit *kit)
{
	(void)kit;
	return atomic_load(&answered) == 2 * STUCK;
}

static bool goes_on(struct scsikit *kit, unsigned n)
{
	bool good = true;

	kit->lun = 0;
	for (unsigned i = 0; i < n && good; i++) {
		scsikit_fill(kit, 0, 4096, (uint8_t)i);
		good = scsikit_out(kit, "2a 00 00 00 00 10 00 00 08 00", 4096) &&
		       scsikit_in(kit, "28 00 00 00 00 10 00 00 08 00", 4096) &&
		       scsikit_sense(kit) == 0 && scsikit_same(kit, 0, 4096, (uint8_t)i);
	}
	return good;
}

static void get_stuck(struct scsikit *kit, uint32_t channel)
{
	struct guestscsi_request *all = calloc(STUCK, sizeof(*all));

	guestscsi_set_deaf(kit->scsi, channel, true);
	for (uint32_t i = 0; all && i < STUCK; i++) {
		all[i] = (struct guestscsi_request){ .cdb_bytes = 6, .direction = GUESTSCSI_NO_DATA,
						     .done = on_answer, .raw = true };
		guestscsi_register(kit->scsi, channel, &all[i]);
		guestscsi_lock(kit->scsi, channel);
		guestscsi_submit_locked(&all[i]);
		guestscsi_unlock(kit->scsi, channel);
	}
}

static void never_reads(struct scsikit *kit)
{
	get_stuck(kit, 1);
	get_stuck(kit, 2);
	sleep(1);
	scsikit_step(kit, "stuck");
	scsikit_check(kit, goes_on(kit, TURNS), "the channel beside two that are stuck goes on");
	scsikit_check(kit, atomic_load(&answered) == 0, "they were stuck");
	scsikit_gate(kit, "still stuck");
	guestscsi_set_deaf(kit->scsi, 1, false);
	guestscsi_set_deaf(kit->scsi, 2, false);
	scsikit_check(kit, scsikit_until(kit, all_answered, SECONDS),
		      "every answer is there when it is taken");
}

static void on_large(struct guestscsi_request *request)
{
	if (atomic_fetch_add(&turns, 1) + LARGE < LARGE * LARGE_TURNS)
		guestscsi_submit_locked(request);
}

static bool all_large(struct scsikit *kit)
{
	(void)kit;
	return atomic_load(&turns) == LARGE * LARGE_TURNS;
}

/* Reads of 1 MiB, each by 256 page numbers, all of one page. */
static int largest_packets(struct guestbus *bus, struct scsikit *kit)
{
	struct guestscsi_request *all = calloc(LARGE, sizeof(*all));
	uint64_t *pfns = calloc(GUESTSCSI_PAGES, sizeof(*pfns));
	int error = softvm_pages(guestbus_vm(bus), 1, pfns);

	for (uint32_t i = 1; i < GUESTSCSI_PAGES; i++)
		pfns[i] = pfns[0];
	for (uint32_t i = 0; i < LARGE && !error; i++) {
		all[i] = (struct guestscsi_request){ .bytes = LARGE_BYTES, .pfns = pfns,
						     .done = on_large, .raw = true };
		guestscsi_transfer_cdb(&all[i], false, 0, LARGE_BYTES / 512, false);
		error = guestscsi_register(kit->scsi, 1, &all[i]);
		if (error)
			break;
		guestscsi_lock(kit->scsi, 1);
		guestscsi_submit_locked(&all[i]);
		guestscsi_unlock(kit->scsi, 1);
	}
	if (error)
		return error;
	scsikit_check(kit, goes_on(kit, 50), "the channel beside large packets goes on");
	scsikit_check(kit, scsikit_until(kit, all_large, SECONDS), "all of them were answered");
	return 0;
}

int flood(struct guestbus *bus, struct scsikit *kit)
{
	int error;

	scsikit_gate(kit, "begin");
	never_reads(kit);
	scsikit_step(kit, "large");
	error = largest_packets(bus, kit);
	scsikit_gate(kit, "end");
	return error;
}
