/* Sheets: golden files (test_story.h) of many small questions, each with its answer
 * in a line or two: commands to disks and drives, parameter lists, ports, MSRs. The
 * figures are at the bounds: the last block and the one behind it, too few pages,
 * a CDB that is too short. */
#include "statemachines/bytes.h"
#include "statemachines/scsi_data.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { BLOCKS = 8192, MIB = 1 << 20 };

struct command {
	uint32_t bytes;    /* the guest offers */
	uint8_t len;
	uint8_t cdb[16];
};

/* The disk, or the guest's memory, answers whatever is asked of it in slot 0. */
static void settle(struct story *s)
{
	const struct scsi *q;

	while ((q = world_at(story_world(s), KIND_scsi, 0)) != NULL) {
		struct rec_fetched fetched = { 0 };
		uint8_t zeros[4096] = { 0 };

		if (q->sm.state == scsi_FETCHING)
			RAISE(s, scsi, 0, FETCHED, fetched, zeros,
			      q->bytes < sizeof(zeros) ? q->bytes : sizeof(zeros));
		else if (q->sm.state == scsi_SUBMITTED)
			disk_done(s, 0, (int32_t)(q->bytes - q->done));
		else
			break;
		story_brief(s);
	}
}

/* The guest has read its ring; answers fit again. */
static void make_room(struct story *s)
{
	const struct channel *c = world_at(story_world(s), KIND_channel, 1);
	struct rec_ring_space space = { .read_index = (uint32_t)(c->out_position % c->out_size) };

	if (c->out_size / 2 < (c->out_position - c->out_read) % c->out_size)
		RAISE(s, channel, 1, SPACE, space, NULL, 0);
}

static void ask(struct story *s, uint8_t lun, const struct command *c)
{
	char text[64];
	int n = 0;

	for (unsigned i = 0; i < 16 && (i < c->len || i < 6); i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %02x", c->cdb[i]);
	make_room(s);
	story_line(s, "LUN %u:%s (%u), %u bytes", lun, text, c->len, c->bytes);
	guest_srb(s, 1, story_seq(s), lun, c->cdb, c->len, 0x2000, c->bytes);
	story_brief(s);
	settle(s);
}

static const struct command commands[] = {
	{ 0, 6, { 0x00 } },
	{ 0, 5, { 0x00 } },
	{ 0, 0, { 0x00 } },
	{ 0, 16, { 0x85 } },
	{ 0, 16, { 0x60 } },
	{ 18, 6, { 0x03, [4] = 18 } },
	{ 18, 6, { 0x03, 1, [4] = 18 } },
	/* READ and WRITE in their lengths, at the end of the disk, and behind it. */
	{ 131072, 6, { 0x08, 0, 0, 8 } },
	{ 512, 6, { 0x08, 0, 0x1f, 0xff, 1 } },
	{ 512, 6, { 0x08, 0xe0, 0x1f, 0xff, 1 } },
	{ 1024, 6, { 0x08, 0, 0x1f, 0xff, 2 } },
	{ 512, 6, { 0x0a, 0, 0, 9, 1 } },
	{ 512, 10, { 0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 1 } },
	{ 0, 10, { 0x28, 0, 0, 0, 0x20, 0, 0, 0, 0 } },
	{ 512, 10, { 0x28, 0, 0, 0, 0x20, 0, 0, 0, 1 } },
	{ 512, 10, { 0x28, 0, 0, 0, 0x20, 1, 0, 0, 0 } },
	{ 511, 10, { 0x28, [8] = 1 } },
	{ 4096, 10, { 0x28, [8] = 9 } },
	{ MIB, 10, { 0x28, [7] = 8 } },
	{ MIB, 10, { 0x28, [7] = 8, [8] = 1 } },
	{ 512, 10, { 0x28, 0x08, [8] = 1 } },
	{ 512, 10, { 0x28, 0x20, [8] = 1 } },
	{ 512, 9, { 0x28, [8] = 1 } },
	{ 512, 10, { 0x2a, 0x08, [5] = 7, [8] = 1 } },
	{ 512, 10, { 0x2a, [5] = 7, [8] = 1 } },
	{ 512, 10, { 0x2a, 0x80, [5] = 7, [8] = 1 } },
	{ 2048, 12, { 0xa8, [5] = 5, [9] = 1 } },
	{ 512, 12, { 0xaa, 0x08, [5] = 5, [9] = 1 } },
	{ 2048, 16, { 0x88, [9] = 6, [13] = 1 } },
	{ 512, 16, { 0x88, [2] = 1, [13] = 1 } },
	{ 512, 16, { 0x8a, 0x08, [9] = 6, [13] = 1 } },
	/* VERIFY, with and without what it would have to compare. */
	{ 512, 10, { 0x2e, [8] = 1 } },
	{ 512, 16, { 0x8e, [13] = 1 } },
	{ 0, 10, { 0x2f, [8] = 1 } },
	{ 0, 10, { 0x2f, 0x02, [8] = 1 } },
	{ 0, 10, { 0x2f, 0x20, [8] = 1 } },
	{ 0, 12, { 0xaf, [9] = 1 } },
	{ 0, 16, { 0x8f, [8] = 0x20, [13] = 1 } },
	{ 0, 10, { 0x35 } },
	{ 0, 10, { 0x35, 0x08, 0, 0, 0x20, 1 } },
	{ 0, 16, { 0x91, 0x02 } },
	/* WRITE SAME: from here to the end, too much, with data, without. */
	{ 512, 10, { 0x41, [8] = 4 } },
	{ 511, 10, { 0x41, [8] = 4 } },
	{ 512, 10, { 0x41, 0x10, [8] = 4 } },
	{ 0, 10, { 0x41, [4] = 0x20 } },
	{ 0, 16, { 0x93, 0x01, [13] = 8 } },
	{ 0, 16, { 0x93, 0x09, [8] = 0x1f, [9] = 0xf0 } },
	{ 512, 16, { 0x93, 0x08, [13] = 8 } },
	{ 24, 10, { 0x42, [8] = 24 } },
	{ 23, 10, { 0x42, [8] = 24 } },
	{ 0, 10, { 0x42 } },
	{ 4096, 10, { 0x42, [7] = 0x0f, [8] = 0xf8 } },
	/* What a device says of itself. */
	{ 36, 6, { 0x12, [4] = 36 } },
	{ 36, 6, { 0x12, [4] = 5 } },
	{ 36, 6, { 0x12, [3] = 1, [4] = 4 } },
	{ 20, 6, { 0x12, [4] = 36 } },
	{ 36, 6, { 0x12, 0, 0x80, [4] = 36 } },
	{ 36, 6, { 0x12, 2, [4] = 36 } },
	{ 64, 6, { 0x12, 1, 0x00, [4] = 64 } },
	{ 64, 6, { 0x12, 1, 0x80, [4] = 64 } },
	{ 64, 6, { 0x12, 1, 0x83, [4] = 64 } },
	{ 64, 6, { 0x12, 1, 0xb0, [4] = 64 } },
	{ 64, 6, { 0x12, 1, 0xb1, [4] = 64 } },
	{ 64, 6, { 0x12, 1, 0xb2, [4] = 64 } },
	{ 64, 6, { 0x12, 1, 0xb3, [4] = 64 } },
	{ 8, 10, { 0x25 } },
	{ 32, 16, { 0x9e, 0x10, [13] = 32 } },
	{ 32, 16, { 0x9e, 0x10, [13] = 12 } },
	{ 32, 16, { 0x9e, 0x11, [13] = 32 } },
	{ 256, 12, { 0xa0, [8] = 1 } },
	{ 256, 12, { 0xa0, [9] = 16 } },
	{ 64, 6, { 0x1a, 0, 0x08, 0, 64 } },
	{ 64, 6, { 0x1a, 0x08, 0x08, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x48, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x88, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0xc8, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x3f, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x3f, 0xff, 64 } },
	{ 64, 6, { 0x1a, 0, 0x3f, 0x01, 64 } },
	{ 64, 6, { 0x1a, 0, 0x01, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x0a, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x2a, 0, 64 } },
	{ 64, 6, { 0x1a, 0, 0x05, 0, 64 } },
	{ 64, 10, { 0x5a, 0, 0x3f, [8] = 64 } },
	{ 64, 10, { 0x5a, 0, 0x7f, [8] = 64 } },
	{ 24, 6, { 0x15, 0x10, [4] = 24 } },
	{ 24, 6, { 0x15, 0x11, [4] = 24 } },
	{ 24, 6, { 0x15, 0x10 } },
	{ 23, 6, { 0x15, 0x10, [4] = 24 } },
	{ 28, 10, { 0x55, 0x10, [8] = 28 } },
	{ 4096, 10, { 0x55, 0x10, [7] = 16 } },
	/* Of drives only. */
	{ 64, 10, { 0x43, [8] = 64 } },
	{ 64, 10, { 0x43, 2, [8] = 64 } },
	{ 64, 10, { 0x43, 0, [6] = 1, [8] = 64 } },
	{ 64, 10, { 0x43, 0, [6] = 2, [8] = 64 } },
	{ 64, 10, { 0x43, 2, [6] = 0xaa, [8] = 64 } },
	{ 64, 10, { 0x43, 2, 1, [8] = 64 } },
	{ 64, 10, { 0x43, 2, 2, [8] = 64 } },
	{ 64, 10, { 0x43, 0, 3, [8] = 64 } },
	{ 96, 10, { 0x46, [8] = 96 } },
	{ 96, 10, { 0x46, 1, [8] = 96 } },
	{ 96, 10, { 0x46, 2, 0, 0x10, [8] = 96 } },
	{ 96, 10, { 0x46, 1, 0, 0x10, [8] = 96 } },
	{ 8, 10, { 0x46, 0, 0, 3, [8] = 8 } },
	{ 8, 10, { 0x4a, 1, [4] = 0x10, [8] = 8 } },
	{ 8, 10, { 0x4a, 1, [4] = 0x02, [8] = 8 } },
	{ 8, 10, { 0x4a, 0, [4] = 0x10, [8] = 8 } },
	{ 34, 10, { 0x51, [8] = 34 } },
	{ 34, 10, { 0x51, 1, [8] = 34 } },
	{ 8, 12, { 0xbd, [9] = 8 } },
	/* Locked, stopped, ejected, and back. */
	{ 0, 6, { 0x1e, [4] = 1 } },
	{ 64, 6, { 0x1a, 0, 0x2a, 0, 64 } },
	{ 0, 6, { 0x1b, [4] = 2 } },
	{ 8, 10, { 0x4a, 1, [4] = 0x10, [8] = 8 } },
	{ 0, 6, { 0x1e, [4] = 0 } },
	{ 0, 6, { 0x1b, [4] = 0 } },
	{ 0, 6, { 0x00 } },
	{ 18, 6, { 0x03, [4] = 18 } },
	{ 0, 6, { 0x1b, [4] = 1 } },
	{ 0, 6, { 0x1b, [4] = 2 } },
	{ 0, 6, { 0x00 } },
	{ 8, 12, { 0xbd, [9] = 8 } },
	{ 96, 10, { 0x46, 1, [8] = 96 } },
	{ 8, 10, { 0x4a, 1, [4] = 0x10, [8] = 8 } },
	{ 0, 6, { 0x1b, [4] = 2 } },
	{ 0, 6, { 0x1b, [4] = 3 } },
	{ 8, 10, { 0x4a, 1, [4] = 0x10, [8] = 8 } },
	{ 18, 6, { 0x03, [4] = 18 } },
	{ 0, 6, { 0x00 } },
	{ 0, 6, { 0x1b, [4] = 0x10 } },
};

static void add_drive(struct story *s, uint16_t lun, uint64_t blocks)
{
	struct rec_disk_config d = { .blocks = blocks, .lun = lun,
				     .block_bytes = DISK_OPTICAL_BLOCK,
				     .flags = DISK_OPTICAL | DISK_READ_ONLY, .fd = 60,
				     .identity = { 7, 8 } };

	RAISE(s, disk, lun, CONFIG, d, "iso", 3);
}

/* A disk, a read-only one, one of more than 2 TiB in large blocks, a drive, an empty
 * one, nothing. */
static void commands_sheet(struct story *s)
{
	struct rec_disk_config large = { .blocks = 1ull << 33, .block_bytes = 4096, .lun = 2,
					 .fd = 62, .identity = { 5, 6 } };

	guest_ready(s);
	story_mute(s, true);
	guest_disk(s, 1, 64, DISK_READ_ONLY);
	RAISE(s, disk, 2, CONFIG, large, "large", 5);
	add_drive(s, 3, 4500);
	add_drive(s, 4, 0);
	for (uint8_t lun = 0; lun < 6; lun++)
		for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
			ask(s, lun, &commands[i]);
	cr_assert_eq(world_live(story_world(s), KIND_scsi), 0);
}

/* ---- parameter lists ---------------------------------------------------------- */

struct list {
	uint32_t status;
	uint8_t len;
	uint8_t bytes[56];
};

static const struct list unmaps[] = {
	{ 0, 24, { 0, 22, 0, 16, [15] = 8, [19] = 8 } },
	{ 0, 24, { 0, 22, 0, 16, [14] = 0x1f, [15] = 0xff, [19] = 1 } },
	{ 0, 24, { 0, 22, 0, 16, [14] = 0x1f, [15] = 0xff, [19] = 2 } },
	{ 0, 24, { 0, 22, 0, 16, [14] = 0x20, [15] = 0, [19] = 1 } },
	{ 0, 24, { 0, 22, 0, 16, [15] = 8 } },
	{ 0, 24, { 0, 22, 0, 17, [15] = 8, [19] = 8 } },
	{ 0, 24, { 0, 22, 0, 32, [15] = 8, [19] = 8 } },
	{ 0, 24, { 0, 22, 0, 16, [16] = 1, [19] = 8 } },
	{ 0, 40, { 0, 38, 0, 32, [15] = 8, [19] = 8, [31] = 64, [35] = 4 } },
	{ 0, 40, { 0, 38, 0, 32, [15] = 8, [31] = 64, [35] = 4 } },
	{ 0, 7, { 0 } },
	{ 0, 8, { 0 } },
	{ 14, 24, { 0, 22, 0, 16, [15] = 8, [19] = 8 } },
};

static const struct list modes[] = {
	{ 0, 24, { [4] = 8, [5] = 18, [6] = 4 } },
	{ 0, 24, { [4] = 8, [5] = 18 } },
	{ 0, 24, { [4] = 8, [5] = 17 } },
	{ 0, 24, { [4] = 0x88, [5] = 18 } },
	{ 0, 24, { [4] = 8, [5] = 18, [23] = 1 } },
	{ 0, 23, { [4] = 8, [5] = 18 } },
	{ 0, 5, { [4] = 8 } },
	{ 0, 4, { 0 } },
	{ 0, 3, { 0 } },
	{ 0, 16, { [4] = 10, [5] = 10 } },
	{ 0, 16, { [4] = 10, [5] = 10, [6] = 1 } },
	{ 0, 6, { [4] = 1 } },
	{ 0, 12, { [3] = 8, [10] = 2 } },
	{ 0, 12, { [3] = 8, [10] = 4 } },
	{ 0, 11, { [3] = 8, [10] = 2 } },
	{ 0, 12, { [3] = 7, [10] = 2 } },
	{ 0, 36, { [4] = 8, [5] = 18, [6] = 4, [24] = 10, [25] = 10 } },
	{ 14, 24, { [4] = 8, [5] = 18 } },
};

static const struct list sames[] = {
	{ 0, 0, { 0 } },
	{ 0, 56, { 0 } },
	{ 0, 56, { [55] = 1 } },
	{ 14, 56, { 0 } },
};

static void give(struct story *s, const struct list *l, size_t len)
{
	struct rec_fetched fetched = { .status = l->status };
	const struct scsi *q = world_at(story_world(s), KIND_scsi, 0);
	uint8_t bytes[512] = { 0 };
	char text[2 * sizeof(l->bytes) + 1] = "";

	cr_assert(q && q->sm.state == scsi_FETCHING);
	memcpy(bytes, l->bytes, l->len);
	for (unsigned i = 0; i < l->len; i++)
		snprintf(text + 2 * i, sizeof(text) - 2 * i, "%02x", l->bytes[i]);
	story_line(s, "  its list: status %u, %zu bytes: %s", l->status, len, text);
	RAISE(s, scsi, 0, FETCHED, fetched, bytes, len);
	story_brief(s);
	settle(s);
}

static void list_of(struct story *s, const struct command *c, const struct list *l, size_t len)
{
	char text[64];
	int n = 0;

	for (unsigned i = 0; i < c->len; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %02x", c->cdb[i]);
	make_room(s);
	story_line(s, "%s", text + 1);
	guest_srb(s, 1, story_seq(s), 0, c->cdb, c->len, 0x2000, c->bytes);
	give(s, l, len);
}

static void lists_sheet(struct story *s)
{
	guest_ready(s);
	story_mute(s, true);
	for (unsigned i = 0; i < ARRAY_LEN(unmaps); i++)
		list_of(s, &(struct command){ 512, 10, { 0x42, [8] = unmaps[i].len } }, &unmaps[i],
			unmaps[i].len);
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		list_of(s, &(struct command){ 512, 6, { 0x15, 0x10, [4] = modes[i].len } },
			&modes[i], modes[i].len);
		ask(s, 0, &(struct command){ 64, 6, { 0x1a, 0, 0x08, 0, 64 } });
	}
	for (unsigned i = 0; i < ARRAY_LEN(sames); i++) {
		list_of(s, &(struct command){ 512, 10, { 0x41, [8] = 4 } }, &sames[i], 512);
		list_of(s, &(struct command){ 512, 16, { 0x93, 8, [13] = 4 } }, &sames[i], 512);
	}
	story_line(s, "MODE SELECT(10)");
	list_of(s, &(struct command){ 512, 10, { 0x55, 0x10, [8] = 28 } },
		&(struct list){ 0, 28, { [8] = 8, [9] = 18 } }, 28);
	list_of(s, &(struct command){ 512, 10, { 0x55, 0x10, [8] = 7 } },
		&(struct list){ 0, 7, { 0 } }, 7);
	list_of(s, &(struct command){ 512, 10, { 0x55, 0x10, [8] = 16 } },
		&(struct list){ 0, 16, { [7] = 8, [14] = 2 } }, 16);
}

/* ---- ports -------------------------------------------------------------------- */

static void port(struct story *s, uint16_t number, uint8_t size, bool is_in, uint32_t value)
{
	struct rec_exit_pio p = { .generation = (uint32_t)story_seq(s) + 1, .port = number,
				  .size = size, .is_in = is_in, .value = value };

	story_line(s, "%s %#x (%u)%s%x", is_in ? "in" : "out", number, size, is_in ? "" : ": ",
		   is_in ? 0 : value);
	RAISE(s, vp, 0, PIO, p, NULL, 0);
	story_brief(s);
}

static void all_registers(struct story *s)
{
	for (uint16_t reg = 0; reg < 8; reg++)
		port(s, (uint16_t)(0x3f8 + reg), 1, true, 0);
}

static void uart_sheet(struct story *s)
{
	struct rec_bytes keys = { 0 };
	char many[300];

	guest_config(s, 1);
	guest_start(s);
	story_mute(s, true);
	all_registers(s);
	story_line(s, "the divisor's registers");
	port(s, 0x3fb, 1, false, 0x83);
	port(s, 0x3f8, 1, false, 0x11);
	port(s, 0x3f9, 1, false, 0x22);
	all_registers(s);
	port(s, 0x3fb, 1, false, 0x03);
	story_line(s, "all bits");
	for (uint16_t reg = 1; reg < 8; reg++)
		port(s, (uint16_t)(0x3f8 + reg), 1, false, 0xff & ~(reg == 3 ? 0x80u : 0u));
	all_registers(s);
	story_line(s, "looped back: modem bits, then data");
	for (uint32_t mcr = 0x10; mcr < 0x20; mcr++) {
		port(s, 0x3fc, 1, false, mcr);
		port(s, 0x3fe, 1, true, 0);
	}
	port(s, 0x3f8, 1, false, 'x');
	port(s, 0x3fd, 1, true, 0);
	port(s, 0x3f8, 1, true, 0);
	port(s, 0x3fc, 1, false, 0x0b);
	story_line(s, "interrupts: none but its own; one edge; a second one when the first is over");
	for (uint32_t ier = 0; ier < 8; ier++) {
		port(s, 0x3f9, 1, false, 0);
		port(s, 0x3fa, 1, true, 0);
		port(s, 0x3f9, 1, false, ier);
		RAISE(s, uart, 0, CONSOLE_IN, keys, "k", 1);
		story_brief(s);
		port(s, 0x3fa, 1, true, 0);
		port(s, 0x3f8, 1, false, 'y');
		port(s, 0x3f8, 1, true, 0);
		port(s, 0x3fa, 1, true, 0);
		port(s, 0x3fa, 1, true, 0);
	}
	story_line(s, "OUT2 off: nothing reaches the line");
	port(s, 0x3fc, 1, false, 0x03);
	port(s, 0x3f8, 1, false, 'z');
	port(s, 0x3fc, 1, false, 0x0b);
	story_line(s, "more keys than there is room for");
	memset(many, 'm', sizeof(many));
	RAISE(s, uart, 0, CONSOLE_IN, keys, many, 255);
	story_brief(s);
	port(s, 0x3fd, 1, true, 0);
	RAISE(s, uart, 0, CONSOLE_IN, keys, "12", 2);
	story_brief(s);
	port(s, 0x3fa, 1, true, 0);
	port(s, 0x3fd, 1, true, 0);
	port(s, 0x3fd, 1, true, 0);
	cr_assert_eq(((const struct uart *)world_at(story_world(s), KIND_uart, 0))->dropped, 1);
	story_line(s, "wide");
	port(s, 0x3f8, 2, true, 0);
	port(s, 0x3f8, 4, true, 0);
	port(s, 0x3f8, 4, false, 0x44434241);
	story_line(s, "FIFO control: kept, turned off, cleared");
	port(s, 0x3fa, 1, false, 0xc1);
	port(s, 0x3fd, 1, true, 0);
	RAISE(s, uart, 0, CONSOLE_IN, keys, "ab", 2);
	port(s, 0x3fa, 1, false, 0x00);
	port(s, 0x3fd, 1, true, 0);
	RAISE(s, uart, 0, CONSOLE_IN, keys, "ab", 2);
	port(s, 0x3fa, 1, false, 0x02);
	port(s, 0x3fd, 1, true, 0);
}

static void clock_sheet(struct story *s)
{
	static const uint64_t days[] = { 0,          951782399,  951782400,  951868799, 951868800,
					 1709164800, 1709251199, 1735689599, 4107542399, 4107542400,
					 13569465600 };
	static const uint8_t registers[] = { 0, 1, 2, 4, 6, 7, 8, 9, 0x0a, 0x0b, 0x0c, 0x0d, 0x32,
					     0xb2 };

	guest_config(s, 1);
	guest_start(s);
	story_mute(s, true);
	for (unsigned i = 0; i < ARRAY_LEN(days); i++) {
		struct rec_config c = { .wall_ns = days[i] * 1000000000 };

		story_line(s, "UNIX time %lu", (unsigned long)days[i]);
		RAISE(s, cmos, 0, CONFIG, c, NULL, 0);
		for (unsigned r = 0; r < ARRAY_LEN(registers); r++) {
			port(s, 0x70, 1, false, registers[r]);
			port(s, 0x71, 1, true, 0);
		}
	}
	port(s, 0x71, 1, false, 9);
	for (uint8_t size = 1; size <= 4; size *= 2) {
		port(s, 0x70, size, true, 0);
		port(s, 0x71, size, true, 0);
	}
}

static void platform_sheet(struct story *s)
{
	static const uint16_t ports[] = { 0x60, 0x61, 0x62, 0x3f7, 0x400, 0x5ff, 0x600, 0x601,
					  0x602, 0x603, 0x604, 0x605, 0xcf8, 0xcf9 };
	static const uint16_t codes[] = { 0x46, 0x5b, 0x5c, 0x5d, 0x5e };

	guest_config(s, 2);
	guest_start(s);
	story_mute(s, true);
	for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
		for (uint8_t size = 1; size <= 4; size *= 2)
			port(s, ports[i], size, true, 0);
		port(s, ports[i], 1, false, 0);
		port(s, ports[i], 1, false, 4 << 2);
	}
	for (uint8_t size = 1; size <= 8; size *= 2)
		for (uint8_t read = 0; read < 2; read++) {
			struct rec_exit_mmio m = { .gpa = 0xfed00000, .size = size, .is_read = read,
						   .generation = 1, .value = 9 };

			story_line(s, "memory, %u bytes, %s", size, read ? "read" : "written");
			RAISE(s, vp, 1, MMIO, m, NULL, 0);
			story_brief(s);
		}
	for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
		struct rec_exit_hypercall call = { .control = codes[i] | 1ull << 32,
						   .generation = 2 };

		story_line(s, "hypercall %#x", codes[i]);
		RAISE(s, vp, 1, HYPERCALL, call, NULL, 0);
		story_brief(s);
	}
	for (uint16_t code = 0; code < 2; code++) {
		struct rec_quarantine q = { .source_pos = 77, .code = code, .effect = 1 };

		story_line(s, "quarantine of %s", code ? "an exit" : "an effect");
		RAISE(s, vp, 0, QUARANTINE, q, NULL, 0);
		story_brief(s);
	}
}

/* ---- MSRs --------------------------------------------------------------------- */

static void msr(struct story *s, uint16_t vp, uint32_t number, bool write, uint64_t value)
{
	struct rec_exit_msr m = { .value = value, .generation = (uint32_t)story_seq(s) + 1,
				  .msr = number, .reference_time = 4711 };
	const struct vp *v;

	if (write) {
		story_line(s, "vp %u: WRMSR %#x: %#lx", vp, number, (unsigned long)value);
		RAISE(s, vp, vp, MSR_WRITE, m, NULL, 0);
	} else {
		story_line(s, "vp %u: RDMSR %#x", vp, number);
		RAISE(s, vp, vp, MSR_READ, m, NULL, 0);
	}
	story_brief(s);
	v = world_at(story_world(s), KIND_vp, vp);
	if (v->sm.state == vp_WAIT_IN_FORCE) {
		guest_in_force(s);
		story_brief(s);
	}
}

static void msr_sheet(struct story *s)
{
	static const uint32_t written[] = { MSR_GUEST_OS_ID, MSR_HYPERCALL, MSR_REFERENCE_TSC,
					    MSR_TSC_INVARIANT, MSR_VP_ASSIST, MSR_SCONTROL,
					    MSR_SIEFP, MSR_SIMP, MSR_EOM, MSR_SINT0, MSR_SINT0 + 2,
					    MSR_SINT0 + 15, MSR_SINT0 + 16, MSR_VP_INDEX,
					    MSR_TIME_REF_COUNT, MSR_CRASH_P0, MSR_CRASH_P0 + 4,
					    MSR_CRASH_CTL, MSR_CRASH_CTL + 1 };
	static const uint64_t values[] = { 0, 1, 0x5001, 0x5000, 15, 16, 0xf3, 0x10000, 0x10005,
					   1ull << 63, 3ull << 62, 0xffffffff00000001 };

	guest_config(s, 2);
	guest_start(s);
	story_mute(s, true);
	for (uint32_t n = 0x40000000; n < 0x40000120; n++)
		if (n != MSR_RESET)
			msr(s, 1, n, false, 0);
	for (unsigned i = 0; i < ARRAY_LEN(written); i++)
		for (unsigned v = 0; v < ARRAY_LEN(values); v++) {
			msr(s, 1, written[i], true, values[v]);
			msr(s, 1, written[i], false, 0);
		}
	msr(s, 1, MSR_RESET, true, 0);
	msr(s, 1, MSR_RESET, false, 0);
	msr(s, 1, MSR_RESET, true, 1);
}

STORY(commands, commands_sheet)
STORY(lists, lists_sheet)
STORY(uart, uart_sheet)
STORY(clock, clock_sheet)
STORY(platform_ports, platform_sheet)
STORY(msrs, msr_sheet)
