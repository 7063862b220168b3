/* tests/soft/optical.c - an optical drive as LUN 3, with a medium of 1,024 blocks
 * of which each says its number (MMC-6). */
#include "tests/soft/scsikit.h"

#include <stdlib.h>
#include <string.h>

#define LOCKED_IN SCSIKIT_SENSE(5, 0x53, 2)
#define TRAY_OPEN SCSIKIT_SENSE(2, 0x3a, 2)
#define OTHER_MEDIUM SCSIKIT_SENSE(6, 0x28, 0)
#define PROTECTED SCSIKIT_SENSE(7, 0x27, 0)
#define OPCODE SCSIKIT_SENSE(5, 0x20, 0)

enum { BLOCK = 2048, BLOCKS = 1024 };

static void describes_itself(struct scsikit *kit)
{
	scsikit_in(kit, "12 00 00 00 24 00", 36);
	scsikit_check(kit, kit->data[0] == 5 && kit->data[1] == 0x80,
		      "INQUIRY: an optical drive, removable");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, 0, "TEST UNIT READY: a medium is in");
	scsikit_in(kit, "25 00 00 00 00 00 00 00 00 00", 8);
	scsikit_check(kit, scsikit_be(kit->data, 4) == BLOCKS - 1 &&
			      scsikit_be(kit->data + 4, 4) == BLOCK, "READ CAPACITY(10)");
	scsikit_in(kit, "43 00 00 00 00 00 00 00 fc 00", 252);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_be(kit->data, 2) == 18 &&
			      kit->data[6] == 1 && kit->data[14] == 0xaa &&
			      scsikit_be(kit->data + 16, 4) == BLOCKS,
		      "READ TOC: one data track, and where it ends");
	scsikit_in(kit, "43 02 01 00 00 00 00 00 fc 00", 252);
	scsikit_check(kit, kit->data[10] == 2 && kit->data[11] == 0,
		      "READ TOC: the session in minutes, seconds, frames");
	scsikit_in(kit, "46 02 00 10 00 00 00 00 fc 00", 252);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_be(kit->data + 6, 2) == 0x10 &&
			      scsikit_be(kit->data + 8, 2) == 0x10 && kit->data[10] & 1,
		      "GET CONFIGURATION: reads at random, a DVD-ROM is in");
	scsikit_in(kit, "51 00 00 00 00 00 00 00 22 00", 34);
	scsikit_check(kit, scsikit_sense(kit) == 0 && kit->data[2] == 0x0e,
		      "READ DISC INFORMATION: complete");
	scsikit_in(kit, "5a 00 2a 00 00 00 00 00 40 00", 64);
	scsikit_check(kit, kit->data[8] == 0x2a && kit->data[14] & 8, "MODE SENSE(10): ejects");
	scsikit_in(kit, "bd 00 00 00 00 00 00 00 00 08 00 00", 8);
	scsikit_ended(kit, 0, "MECHANISM STATUS");
	scsikit_none(kit, "93 01 00 00 00 00 00 00 01 00 00 00 00 10 00 00");
	scsikit_ended(kit, OPCODE, "WRITE SAME is not for a drive");
	scsikit_out(kit, "2a 00 00 00 00 05 00 00 01 00", BLOCK);
	scsikit_ended(kit, PROTECTED, "WRITE(10) is refused");
}

static bool reads(struct scsikit *kit)
{
	scsikit_in(kit, "a8 00 00 00 00 05 00 00 00 02 00 00", 2 * BLOCK);
	return scsikit_sense(kit) == 0 && memcmp(kit->data, "block 00005 ", 12) == 0 &&
	       memcmp(kit->data + BLOCK, "block 00006 ", 12) == 0;
}

/* Event code of GET EVENT STATUS NOTIFICATION, class media. */
static unsigned event(struct scsikit *kit)
{
	scsikit_in(kit, "4a 01 00 00 10 00 00 00 08 00", 8);
	return scsikit_sense(kit) == 0 && kit->data[2] == 4 ? kit->data[4] & 15u : 99;
}

static void tray(struct scsikit *kit)
{
	scsikit_none(kit, "1e 00 00 00 01 00");
	scsikit_ended(kit, 0, "PREVENT ALLOW MEDIUM REMOVAL: prevent");
	scsikit_none(kit, "1b 00 00 00 02 00");
	scsikit_ended(kit, LOCKED_IN, "START STOP UNIT: not while it is locked");
	scsikit_check(kit, reads(kit), "READ(12): it is still in");
	scsikit_none(kit, "1e 00 00 00 00 00");
	scsikit_none(kit, "1b 00 00 00 02 00");
	scsikit_ended(kit, 0, "START STOP UNIT: ejects when it is allowed");
	scsikit_check(kit, event(kit) == 3 && kit->data[5] == 1,
		      "GET EVENT STATUS: the medium was removed, the tray is open");
	scsikit_check(kit, event(kit) == 0, "told once");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, TRAY_OPEN, "TEST UNIT READY: the tray is open");
	scsikit_in(kit, "28 00 00 00 00 05 00 00 01 00", BLOCK);
	scsikit_ended(kit, TRAY_OPEN, "READ(10): so nothing is read");
	scsikit_none(kit, "1b 00 00 00 03 00");
	scsikit_ended(kit, 0, "START STOP UNIT: loads");
	scsikit_check(kit, event(kit) == 2 && kit->data[5] == 2, "GET EVENT STATUS: a medium");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, OTHER_MEDIUM, "TEST UNIT READY: perhaps another medium");
	scsikit_check(kit, reads(kit), "READ(12): it is back");
}

void opcodes_optical(struct scsikit *kit)
{
	kit->lun = 3;
	scsikit_settle(kit);
	describes_itself(kit);
	scsikit_check(kit, reads(kit), "READ(12): its blocks");
	tray(kit);
}
