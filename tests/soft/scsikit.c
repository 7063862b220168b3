/* tests/soft/scsikit.c - see scsikit.h. */
#include "tests/soft/scsikit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GATE_LOOKS = 12000, GATE_LOOK_US = 10000, GATE_PATH = 4096 };

int scsikit_make(struct guestbus *bus, struct guestscsi *scsi, FILE *report, unsigned *checks,
		 unsigned *bad, struct scsikit *ret)
{
	int error;

	*ret = (struct scsikit){ .scsi = scsi, .report = report, .checks = checks, .bad = bad };
	ret->request = calloc(1, sizeof(*ret->request));
	ret->pfns = calloc(SCSIKIT_PAGES, sizeof(*ret->pfns));
	if (!ret->request || !ret->pfns)
		return -ENOMEM;
	error = softvm_pages(guestbus_vm(bus), SCSIKIT_PAGES, ret->pfns);
	if (error)
		return error;
	ret->data = softvm_view(guestbus_vm(bus), ret->pfns, SCSIKIT_PAGES);
	if (!ret->data)
		return -ENOMEM;
	ret->request->pfns = ret->pfns;
	ret->request->raw = true;
	return guestscsi_register(scsi, 0, ret->request);
}

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

bool scsikit_run(struct scsikit *kit, const char *cdb, enum guestscsi_direction direction,
		 uint32_t bytes)
{
	struct guestscsi_request *request = kit->request;
	unsigned n = 0;

	memset(request->cdb, 0, sizeof(request->cdb));
	for (; *cdb && n < sizeof(request->cdb); cdb++) {
		if (*cdb == ' ')
			continue;
		request->cdb[n++] = (uint8_t)(digit(cdb[0]) << 4 | digit(cdb[1]));
		cdb++;
	}
	request->cdb_bytes = (uint8_t)n;
	request->lun = kit->lun;
	request->direction = bytes ? direction : GUESTSCSI_NO_DATA;
	request->bytes = bytes;
	if (direction == GUESTSCSI_IN && bytes)
		memset(kit->data, 0xa5, bytes);
	return guestscsi_execute(kit->scsi, request) == 0;
}

bool scsikit_out(struct scsikit *kit, const char *cdb, uint32_t bytes)
{
	return scsikit_run(kit, cdb, GUESTSCSI_OUT, bytes);
}

bool scsikit_in(struct scsikit *kit, const char *cdb, uint32_t bytes)
{
	return scsikit_run(kit, cdb, GUESTSCSI_IN, bytes);
}

bool scsikit_none(struct scsikit *kit, const char *cdb)
{
	return scsikit_run(kit, cdb, GUESTSCSI_NO_DATA, 0);
}

uint32_t scsikit_sense(const struct scsikit *kit)
{
	const struct guestscsi_request *r = kit->request;

	if (r->srb_status == 0x01 && r->scsi_status == 0)
		return 0;
	if (r->srb_status != 0x84 || r->scsi_status != 2 || r->sense_bytes < 14)
		return UINT32_MAX;
	return SCSIKIT_SENSE(r->sense[2] & 0xf, r->sense[12], r->sense[13]);
}

void scsikit_settle(struct scsikit *kit)
{
	for (unsigned i = 0; i < 4 && scsikit_none(kit, "00 00 00 00 00 00"); i++)
		if (scsikit_sense(kit) >> 16 != 6)
			break;
}

static uint8_t pattern(uint32_t at, uint8_t seed)
{
	return (uint8_t)(at * 7 + at / 251 + seed);
}

void scsikit_fill(struct scsikit *kit, uint32_t from, uint32_t bytes, uint8_t seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		kit->data[from + i] = pattern(i, seed);
}

bool scsikit_same(const struct scsikit *kit, uint32_t from, uint32_t bytes, uint8_t seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (kit->data[from + i] != pattern(i, seed))
			return false;
	return true;
}

bool scsikit_zero(const struct scsikit *kit, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (kit->data[from + i])
			return false;
	return true;
}

uint64_t scsikit_be(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

void scsikit_check(struct scsikit *kit, bool good, const char *what)
{
	++*kit->checks;
	*kit->bad += !good;
	fprintf(kit->report, "%s %s\n", good ? "ok " : "BAD", what);
	fflush(kit->report);
}

void scsikit_ended(struct scsikit *kit, uint32_t sense, const char *what)
{
	uint32_t got = scsikit_sense(kit);

	if (got != sense)
		fprintf(kit->report, "    sense %06x, not %06x (srb %02x, scsi %02x)\n", got, sense,
			kit->request->srb_status, kit->request->scsi_status);
	scsikit_check(kit, got == sense, what);
}

void scsikit_step(struct scsikit *kit, const char *what)
{
	fprintf(kit->report, "step %s\n", what);
	fflush(kit->report);
}

void scsikit_gate(struct scsikit *kit, const char *what)
{
	char path[GATE_PATH];

	scsikit_step(kit, what);
	snprintf(path, sizeof(path), "%s.%s", kit->go ? kit->go : "", what);
	for (unsigned i = 0; kit->go && i < GATE_LOOKS && access(path, F_OK) != 0; i++)
		usleep(GATE_LOOK_US);
}

bool scsikit_until(struct scsikit *kit, bool (*test)(struct scsikit *kit), unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 100; i++) {
		if (test(kit))
			return true;
		usleep(10000);
	}
	return false;
}
