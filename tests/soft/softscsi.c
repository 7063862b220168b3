/* tests/soft/softscsi.c - a native guest that checks what SCSI commands do.
 *
 *   softscsi opcodes|hotplug|flood|many report=FILE [seconds=N] [until=FILE] [go=PREFIX]
 *
 * FILE gets a line for each check, and at the end one that counts them. Seconds and
 * until: of `many`, at most so long, or until that file is there. Go: `opcodes` begins, and
 * `flood` goes on, when there is a file PREFIX.STEP (scsikit_gate()). Exit status: 0 when
 * all were good. */
#include "tests/soft/scsikit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_S = 60, RING_BYTES = 131072, SMALL_RING = 16384, RELEASE_MS = 2000 };

static const char *word(int argc, char **argv, const char *name)
{
	const size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
			return argv[i] + n + 1;
	return NULL;
}

static unsigned number(int argc, char **argv, const char *name)
{
	const char *text = word(argc, argv, name);

	return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static bool asked(int argc, char **argv, const char *mode)
{
	for (int i = 0; i < argc && i < 2; i++)
		if (strcmp(argv[i], mode) == 0)
			return true;
	return false;
}

/* Where the host could make one: a file of 4 MiB on a file system of 1 MiB. */
static void full_disk(struct scsikit *kit)
{
	char cdb[32];
	uint32_t sense = 0;

	kit->lun = 1;
	scsikit_settle(kit);
	scsikit_in(kit, "12 00 00 00 24 00", 36);
	if (kit->data[0] != 0)
		return;
	for (unsigned i = 0; i < 16 && sense == 0; i++) {
		snprintf(cdb, sizeof(cdb), "2a 00 00 00 %02x 00 00 02 00 00", 2 * i);
		scsikit_fill(kit, 0, 512 * 512, (uint8_t)i);
		scsikit_out(kit, cdb, 512 * 512);
		sense = scsikit_sense(kit);
	}
	scsikit_ended(kit, SCSIKIT_SENSE(7, 0x27, 7), "a write for which the host has no space");
	scsikit_in(kit, "28 00 00 00 00 00 00 02 00 00", 512 * 512);
	scsikit_check(kit, scsikit_sense(kit) == 0 && scsikit_same(kit, 0, 512 * 512, 0),
		      "what was written before is read");
}

/* The second controller's disk has no byte of the first one's. */
static void second_controller(struct guestbus *bus, struct scsikit *kit)
{
	struct guestscsi *scsi = NULL;
	struct scsikit other;
	uint32_t status = 1;
	const int error = guestscsi_open(bus, 1, 3, RING_BYTES, &scsi);

	scsikit_check(kit, error == 0 && guestscsi_channels(scsi) == 3,
		      "a second controller, with two sub-channels");
	if (error || scsikit_make(bus, scsi, kit->report, kit->checks, kit->bad, &other))
		return;
	scsikit_in(&other, "28 00 00 00 00 10 00 00 04 00", 4 * 512);
	scsikit_check(kit, scsikit_sense(&other) == 0 && scsikit_zero(&other, 0, 4 * 512),
		      "its disk is another one");
	full_disk(&other);
	guestscsi_reset(scsi, VSTOR_RESET_BUS, 0, &status);
	kit->lun = 0;
	scsikit_none(kit, "00 00 00 00 00 00");
	scsikit_ended(kit, 0, "its reset is its own");
	scsikit_check(kit, guestscsi_close(scsi) == 0, "closed");
}

static int run(struct guestbus *bus, int argc, char **argv, FILE *report, unsigned *checks,
	       unsigned *bad)
{
	struct guestscsi *scsi = NULL;
	struct scsikit kit;
	uint32_t kept;
	const bool floods = asked(argc, argv, "flood");
	int error = guestscsi_open(bus, 0, floods ? 3 : 1, floods ? SMALL_RING : RING_BYTES, &scsi);

	if (!error)
		error = scsikit_make(bus, scsi, report, checks, bad, &kit);
	if (error)
		return error;
	scsikit_settle(&kit);
	kit.go = word(argc, argv, "go");
	if (asked(argc, argv, "opcodes")) {
		scsikit_gate(&kit, "begin");
		opcodes_disk(&kit);
		opcodes_others(&kit);
		opcodes_optical(&kit);
		second_controller(bus, &kit);
	} else if (asked(argc, argv, "hotplug")) {
		error = hotplug(bus, &kit);
	} else if (floods) {
		error = flood(bus, &kit);
	}
	if (!error)
		error = guestscsi_close(scsi);
	return error ? error : guestbus_release(bus, RELEASE_MS, &kept);
}

int main(int argc, char **argv)
{
	const char *path = word(argc, argv, "report");
	unsigned checks = 0, bad = 0;
	struct guestbus *bus = NULL;
	struct softvm *vm;
	FILE *report = path ? fopen(path, "we") : stdout;
	int error;

	if (!report) {
		fprintf(stderr, "softscsi: %s: %s\n", path, strerror(errno));
		return 2;
	}
	error = softvm_attach(&SOFTVM_FDS, &vm);
	if (error) {
		fprintf(stderr, "softscsi: not started by a partition: %s\n", strerror(-error));
		return 2;
	}
	error = guestbus_connect(vm, PATIENCE_S, &bus);
	if (!error && asked(argc, argv, "many"))
		error = many(bus, number(argc, argv, "seconds"), word(argc, argv, "until"), report,
			     &checks, &bad);
	else if (!error)
		error = run(bus, argc, argv, report, &checks, &bad);
	if (!error)
		error = guestbus_disconnect(bus);
	fprintf(report, "checks=%u bad=%u error=%d\n", checks, bad, error);
	fclose(report);
	_exit(error || bad || checks == 0);
}
