/* tests/soft/opcodes.c - for each command of a disk one test that shows its
 * effect on data or state (SPC-4, SBC-3). LUN 0: 512-byte sectors; 1: the same,
 * read-only; 2: 4096-byte sectors; 4: its file loses its second half while the
 * guest runs. */
#include "tests/soft/scsikit.h"

#include <string.h>

#define OPCODE SCSIKIT_SENSE(5, 0x20, 0)
#define RANGE SCSIKIT_SENSE(5, 0x21, 0)
#define FIELD SCSIKIT_SENSE(5, 0x24, 0)
#define NO_LUN SCSIKIT_SENSE(5, 0x25, 0)
#define LENGTH SCSIKIT_SENSE(5, 0x1a, 0)
#define LIST SCSIKIT_SENSE(5, 0x26, 0)
#define STOPPED SCSIKIT_SENSE(2, 4, 2)
#define PROTECTED SCSIKIT_SENSE(7, 0x27, 0)
#define WAS_RESET SCSIKIT_SENSE(6, 0x29, 0)
#define READ_ERROR SCSIKIT_SENSE(3, 0x11, 0)

enum { SECTOR = 512 };

/* Four sectors are written by one command and read by another. */
static void write_and_read(struct scsikit *kit, uint8_t seed, const char *write, const char *read,
			   const char *what)
{
	scsikit_fill(kit, 0, 4 * SECTOR, seed);
	scsikit_out(kit, write, 4 * SECTOR);
	scsikit_ended(kit, 0, write);
	scsikit_in(kit, read, 4 * SECTOR);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_same(kit, 0, 4 * SECTOR, seed), what);
}

static void transfers(struct scsikit *kit)
{
	write_and_read(kit, 1, "0a 00 00 10 04 00", "28 00 00 00 00 10 00 00 04 00",
		       "WRITE(6) is read by READ(10)");
	write_and_read(kit, 2, "2a 00 00 00 00 20 00 00 04 00", "08 00 00 20 04 00",
		       "WRITE(10) is read by READ(6)");
	write_and_read(kit, 3, "aa 00 00 00 00 30 00 00 00 04 00 00",
		       "88 00 00 00 00 00 00 00 00 30 00 00 00 04 00 00",
		       "WRITE(12) is read by READ(16)");
	write_and_read(kit, 4, "8a 08 00 00 00 00 00 00 00 40 00 00 00 04 00 00",
		       "a8 00 00 00 00 40 00 00 00 04 00 00",
		       "WRITE(16) with FUA is read by READ(12)");
	write_and_read(kit, 5, "2e 00 00 00 00 50 00 00 04 00", "28 00 00 00 00 50 00 00 04 00",
		       "WRITE AND VERIFY(10) writes");
	scsikit_in(kit, "28 00 00 00 00 10 00 00 04 00", 4 * SECTOR);
	scsikit_check(kit, scsikit_same(kit, 0, 4 * SECTOR, 1), "none wrote elsewhere");
	scsikit_in(kit, "28 00 7f ff ff ff 00 00 04 00", 4 * SECTOR);
	scsikit_ended(kit, RANGE, "READ(10) behind the end is refused");
	scsikit_out(kit, "2a 20 00 00 00 10 00 00 04 00", 4 * SECTOR);
	scsikit_ended(kit, FIELD, "WRITE(10) with WRPROTECT is refused");
	scsikit_in(kit, "28 00 00 00 00 10 00 00 04 00", 2 * SECTOR);
	scsikit_ended(kit, FIELD, "READ(10) of more than there are pages for is refused");
}

static void verify_and_flush(struct scsikit *kit)
{
	scsikit_none(kit, "2f 00 00 00 00 10 00 00 04 00");
	scsikit_ended(kit, 0, "VERIFY(10)");
	scsikit_none(kit, "af 00 00 00 00 10 00 00 00 04 00 00");
	scsikit_ended(kit, 0, "VERIFY(12)");
	scsikit_none(kit, "8f 00 00 00 00 00 00 00 00 10 00 00 00 04 00 00");
	scsikit_ended(kit, 0, "VERIFY(16)");
	scsikit_none(kit, "2f 00 7f ff ff ff 00 00 04 00");
	scsikit_ended(kit, RANGE, "VERIFY(10) behind the end is refused");
	scsikit_out(kit, "2f 02 00 00 00 10 00 00 04 00", 4 * SECTOR);
	scsikit_ended(kit, FIELD, "VERIFY(10) with BYTCHK is refused");
	scsikit_none(kit, "35 00 00 00 00 00 00 00 00 00");
	scsikit_ended(kit, 0, "SYNCHRONIZE CACHE(10)");
	scsikit_none(kit, "91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
	scsikit_ended(kit, 0, "SYNCHRONIZE CACHE(16)");
}

/* Sectors 0x100 to 0x4e7 hold one sector's pattern, their neighbours do not. */
static void write_same(struct scsikit *kit)
{
	bool same = true;

	scsikit_fill(kit, 0, SECTOR, 9);
	scsikit_out(kit, "41 00 00 00 01 00 00 03 e8 00", SECTOR);
	scsikit_ended(kit, 0, "WRITE SAME(10) of a pattern over 1,000 sectors");
	scsikit_in(kit, "28 00 00 00 01 00 00 01 f4 00", 500 * SECTOR);
	for (uint32_t i = 0; i < 500; i++)
		same &= scsikit_same(kit, i * SECTOR, SECTOR, 9);
	scsikit_in(kit, "28 00 00 00 02 f4 00 01 f4 00", 500 * SECTOR);
	for (uint32_t i = 0; i < 500; i++)
		same &= scsikit_same(kit, i * SECTOR, SECTOR, 9);
	scsikit_check(kit, same, "WRITE SAME(10) has written all of them");
	scsikit_in(kit, "28 00 00 00 04 e8 00 00 01 00", SECTOR);
	scsikit_check(kit, scsikit_zero(kit, 0, SECTOR), "WRITE SAME(10) has written no more");
	scsikit_none(kit, "93 01 00 00 00 00 00 00 01 00 00 00 00 10 00 00");
	scsikit_ended(kit, 0, "WRITE SAME(16) without data");
	scsikit_in(kit, "28 00 00 00 01 00 00 00 11 00", 17 * SECTOR);
	scsikit_check(kit,
		      scsikit_zero(kit, 0, 16 * SECTOR) && scsikit_same(kit, 16 * SECTOR, SECTOR, 9),
		      "WRITE SAME(16) has zeroed 16 sectors");
	memset(kit->data, 0, SECTOR);
	scsikit_out(kit, "93 08 00 00 00 00 00 00 01 10 00 00 00 10 00 00", SECTOR);
	scsikit_ended(kit, 0, "WRITE SAME(16) with UNMAP and zeros");
	scsikit_in(kit, "28 00 00 00 01 10 00 00 11 00", 17 * SECTOR);
	scsikit_check(kit,
		      scsikit_zero(kit, 0, 16 * SECTOR) && scsikit_same(kit, 16 * SECTOR, SECTOR, 9),
		      "WRITE SAME(16) has unmapped 16 sectors");
}

static void unmap(struct scsikit *kit)
{
	static const uint8_t list[40] = { 0, 38, 0, 32, [15] = 0x30, [14] = 2, [19] = 8,
					  [31] = 0x60, [30] = 2, [35] = 8 };

	memcpy(kit->data, list, sizeof(list));
	scsikit_out(kit, "42 00 00 00 00 00 00 00 28 00", sizeof(list));
	scsikit_ended(kit, 0, "UNMAP of two ranges");
	scsikit_in(kit, "28 00 00 00 02 2f 00 00 0a 00", 10 * SECTOR);
	scsikit_check(kit,
		      scsikit_same(kit, 0, SECTOR, 9) && scsikit_zero(kit, SECTOR, 8 * SECTOR) &&
			      scsikit_same(kit, 9 * SECTOR, SECTOR, 9),
		      "UNMAP: the first range reads as zeros, its neighbours do not");
	scsikit_in(kit, "28 00 00 00 02 60 00 00 08 00", 8 * SECTOR);
	scsikit_check(kit, scsikit_zero(kit, 0, 8 * SECTOR), "UNMAP: so does the second");
	scsikit_fill(kit, 0, 8 * SECTOR, 9);
	scsikit_out(kit, "2a 00 00 00 02 60 00 00 08 00", 8 * SECTOR);
	memcpy(kit->data, list, sizeof(list));
	kit->data[3] = 31;
	scsikit_out(kit, "42 00 00 00 00 00 00 00 28 00", sizeof(list));
	scsikit_ended(kit, 0, "UNMAP with an incomplete range");
	scsikit_in(kit, "28 00 00 00 02 60 00 00 08 00", 8 * SECTOR);
	scsikit_check(kit, scsikit_same(kit, 0, 8 * SECTOR, 9), "UNMAP leaves that one alone");
	scsikit_out(kit, "42 00 00 00 00 00 00 00 07 00", 7);
	scsikit_ended(kit, LENGTH, "UNMAP with less than a header is refused");
	scsikit_out(kit, "42 01 00 00 00 00 00 00 28 00", sizeof(list));
	scsikit_ended(kit, FIELD, "UNMAP with ANCHOR is refused");
}

/* ---- what it is ------------------------------------------------------------------- */

static bool page(struct scsikit *kit, const char *cdb, uint8_t code)
{
	scsikit_in(kit, cdb, 252);
	return scsikit_sense(kit) == 0 && kit->data[1] == code;
}

static void identity(struct scsikit *kit)
{
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };
	uint64_t last;

	scsikit_in(kit, "12 00 00 00 24 00", 36);
	scsikit_check(kit, scsikit_sense(kit) == 0 && kit->data[0] == 0 && kit->data[4] >= 31,
		      "INQUIRY: a direct access device");
	scsikit_check(kit, page(kit, "12 01 00 00 fc 00", 0) && kit->data[3] == sizeof(pages) &&
			      memcmp(kit->data + 4, pages, sizeof(pages)) == 0, "VPD 00");
	scsikit_check(kit, page(kit, "12 01 80 00 fc 00", 0x80) && kit->data[3] >= 8, "VPD 80");
	scsikit_check(kit, page(kit, "12 01 83 00 fc 00", 0x83) && (kit->data[5] & 15) == 3 &&
			      kit->data[8] >> 4 == 6, "VPD 83: NAA 6");
	scsikit_check(kit, page(kit, "12 01 b0 00 fc 00", 0xb0) &&
			      scsikit_be(kit->data + 20, 4) > 0, "VPD B0: may unmap");
	scsikit_check(kit, page(kit, "12 01 b1 00 fc 00", 0xb1) &&
			      scsikit_be(kit->data + 4, 2) == 1, "VPD B1: does not rotate");
	scsikit_check(kit, page(kit, "12 01 b2 00 fc 00", 0xb2) && kit->data[5] & 0x80, "VPD B2");
	scsikit_in(kit, "12 01 c7 00 fc 00", 252);
	scsikit_ended(kit, FIELD, "VPD C7: there is none");
	scsikit_in(kit, "25 00 00 00 00 00 00 00 00 00", 8);
	last = scsikit_be(kit->data, 4);
	scsikit_check(kit, last == 32767 && scsikit_be(kit->data + 4, 4) == SECTOR,
		      "READ CAPACITY(10): 16 MiB");
	scsikit_in(kit, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 32);
	scsikit_check(kit, scsikit_be(kit->data, 8) == last && kit->data[14] & 0x80,
		      "READ CAPACITY(16): the same, thin");
	scsikit_in(kit, "a0 00 00 00 00 00 00 00 01 00 00 00", 256);
	scsikit_check(kit, scsikit_be(kit->data, 4) == 5 * 8 && kit->data[9] == 0 &&
			      kit->data[41] == 4, "REPORT LUNS: 0 to 4");
	scsikit_in(kit, "a0 00 01 00 00 00 00 00 01 00 00 00", 256);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_be(kit->data, 4) == 0,
		      "REPORT LUNS: none is well known");
	scsikit_in(kit, "a0 00 03 00 00 00 00 00 01 00 00 00", 256);
	scsikit_ended(kit, FIELD, "REPORT LUNS of another kind is refused");
	scsikit_in(kit, "85 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", 512);
	scsikit_ended(kit, OPCODE, "ATA PASS-THROUGH is not known");
	scsikit_in(kit, "43 00 00 00 00 00 00 00 0c 00", 12);
	scsikit_ended(kit, OPCODE, "READ TOC is not for a disk");
}

/* ---- what can be set ---------------------------------------------------------------- */

static bool write_cache(struct scsikit *kit)
{
	scsikit_in(kit, "5a 08 08 00 00 00 00 00 40 00", 64);
	return scsikit_sense(kit) == 0 && kit->data[8] == 8 && kit->data[10] & 4;
}

static void modes(struct scsikit *kit)
{
	scsikit_in(kit, "1a 08 3f 00 40 00", 64);
	scsikit_check(kit, scsikit_sense(kit) == 0 && kit->data[4] == 8 && !(kit->data[2] & 0x80),
		      "MODE SENSE(6): the caching page, not write protected");
	scsikit_in(kit, "1a 08 48 00 40 00", 64);
	scsikit_check(kit, kit->data[6] == 4, "MODE SENSE(6): WCE, and no more, can be changed");
	scsikit_in(kit, "1a 00 08 00 40 00", 64);
	scsikit_check(kit, kit->data[3] == 8 && scsikit_be(kit->data + 4, 4) == 32768 &&
			      scsikit_be(kit->data + 8, 4) == SECTOR && kit->data[12] == 8,
		      "MODE SENSE(6): its size, and then the page");
	scsikit_check(kit, write_cache(kit), "MODE SENSE(10): there is a write cache");
	memset(kit->data, 0, 28);
	kit->data[8] = 8;
	kit->data[9] = 18;
	scsikit_out(kit, "55 10 00 00 00 00 00 00 1c 00", 28);
	scsikit_ended(kit, 0, "MODE SELECT(10) turns it off");
	scsikit_check(kit, !write_cache(kit), "MODE SENSE(10): it is off");
	memset(kit->data, 0, 24);
	kit->data[4] = 8;
	kit->data[5] = 18;
	kit->data[6] = 5;
	scsikit_out(kit, "15 10 00 00 18 00", 24);
	scsikit_ended(kit, LIST, "MODE SELECT(6) of more than that is refused");
	kit->data[6] = 4;
	scsikit_out(kit, "15 10 00 00 18 00", 24);
	scsikit_ended(kit, 0, "MODE SELECT(6) turns it on");
	scsikit_check(kit, write_cache(kit), "MODE SENSE(10): it is on");
	scsikit_out(kit, "15 11 00 00 18 00", 24);
	scsikit_ended(kit, FIELD, "MODE SELECT(6) cannot save");
}

static void start_stop(struct scsikit *kit)
{
	scsikit_none(kit, "1b 00 00 00 00 00");
	scsikit_ended(kit, 0, "START STOP UNIT stops");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, STOPPED, "TEST UNIT READY: it is stopped");
	scsikit_in(kit, "28 00 00 00 00 10 00 00 04 00", 4 * SECTOR);
	scsikit_ended(kit, STOPPED, "READ(10) of a stopped disk");
	scsikit_in(kit, "03 00 00 00 12 00", 18);
	scsikit_check(kit, scsikit_sense(kit) == 0 && kit->data[2] == 2 && kit->data[12] == 4,
		      "REQUEST SENSE says the same");
	scsikit_in(kit, "03 01 00 00 12 00", 18);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_be(kit->data, 4) == 0x72020402,
		      "REQUEST SENSE says it in descriptor format");
	scsikit_none(kit, "1b 00 00 00 01 00");
	scsikit_ended(kit, 0, "START STOP UNIT starts");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, 0, "TEST UNIT READY: it is ready");
	scsikit_in(kit, "03 00 00 00 12 00", 18);
	scsikit_check(kit, scsikit_sense(kit) == 0 && (kit->data[2] & 15) == 0,
		      "REQUEST SENSE: no sense");
	scsikit_none(kit, "1b 00 00 00 02 00");
	scsikit_ended(kit, FIELD, "START STOP UNIT cannot eject a disk");
}

static void resets(struct scsikit *kit)
{
	static const struct { uint32_t operation; const char *name; } how[] = {
		{ VSTOR_RESET_LUN, "RESET_LUN" }, { VSTOR_RESET_ADAPTER, "RESET_ADAPTER" },
		{ VSTOR_RESET_BUS, "RESET_BUS" },
	};

	for (unsigned i = 0; i < 3; i++) {
		uint32_t status = 1;

		scsikit_none(kit, "1b 00 00 00 00 00");
		guestscsi_reset(kit->scsi, how[i].operation, 0, &status);
		scsikit_check(kit, status == 0, how[i].name);
		scsikit_in(kit, "12 00 00 00 24 00", 36);
		scsikit_check(kit, scsikit_sense(kit) == 0, "INQUIRY goes before what a reset left");
		scsikit_none(kit, "00 00 00 00 00 00");
		scsikit_ended(kit, WAS_RESET, "the LUN tells of the reset");
		scsikit_none(kit, "00 00 00 00 00 00");
		scsikit_ended(kit, 0, "once; and it runs again");
	}
}

void opcodes_disk(struct scsikit *kit)
{
	kit->lun = 0;
	identity(kit);
	transfers(kit);
	verify_and_flush(kit);
	write_same(kit);
	unmap(kit);
	modes(kit);
	start_stop(kit);
	resets(kit);
}

/* ---- other disks -------------------------------------------------------------------- */

static bool reads_fail(struct scsikit *kit)
{
	scsikit_in(kit, "28 00 00 00 18 00 00 00 08 00", 8 * SECTOR);
	return scsikit_sense(kit) != 0;
}

static void broken_file(struct scsikit *kit)
{
	kit->lun = 4;
	scsikit_settle(kit);
	scsikit_check(kit, scsikit_until(kit, reads_fail, 20), "reads of the lost half fail");
	scsikit_ended(kit, READ_ERROR, "as an error of the medium");
	scsikit_in(kit, "28 00 00 00 00 00 00 00 08 00", 8 * SECTOR);
	scsikit_ended(kit, 0, "those of the other half do not");
}

void opcodes_others(struct scsikit *kit)
{
	kit->lun = 1;
	scsikit_settle(kit);
	scsikit_fill(kit, 0, SECTOR, 1);
	scsikit_out(kit, "2a 00 00 00 00 10 00 00 01 00", SECTOR);
	scsikit_ended(kit, PROTECTED, "WRITE(10) to a read-only disk");
	scsikit_none(kit, "93 01 00 00 00 00 00 00 01 00 00 00 00 10 00 00");
	scsikit_ended(kit, PROTECTED, "WRITE SAME(16) to a read-only disk");
	scsikit_in(kit, "28 00 00 00 00 10 00 00 01 00", SECTOR);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_zero(kit, 0, SECTOR),
		      "it reads, and nothing was written");
	scsikit_in(kit, "1a 08 3f 00 40 00", 64);
	scsikit_check(kit, kit->data[2] & 0x80, "MODE SENSE(6): write protected");
	kit->lun = 2;
	scsikit_settle(kit);
	scsikit_in(kit, "25 00 00 00 00 00 00 00 00 00", 8);
	scsikit_check(kit, scsikit_be(kit->data, 4) == 4095 && scsikit_be(kit->data + 4, 4) == 4096,
		      "READ CAPACITY(10): sectors of 4096");
	scsikit_fill(kit, 0, 4096, 7);
	scsikit_out(kit, "41 00 00 00 00 03 00 00 09 00", 4096);
	scsikit_in(kit, "28 00 00 00 00 03 00 00 09 00", 9 * 4096);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_same(kit, 0, 4096, 7) &&
			      scsikit_same(kit, 8 * 4096, 4096, 7), "WRITE SAME(10) of these");
	kit->lun = 9;
	scsikit_in(kit, "12 00 00 00 24 00", 36);
	scsikit_check(kit, scsikit_sense(kit) == 0 && kit->data[0] == 0x7f,
		      "INQUIRY of a LUN that is not there");
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, NO_LUN, "TEST UNIT READY of a LUN that is not there");
	broken_file(kit);
}
