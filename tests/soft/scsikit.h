/* tests/soft/scsikit.h - SCSI commands one by one, and what they must do.
 *
 * One buffer, one request; a check is a line of text in the report, and counts.
 * Written for the tests of the server from the standards and protocol.md C, and
 * of nothing of the server's. */
#ifndef TESTS_SOFT_SCSIKIT_H
#define TESTS_SOFT_SCSIKIT_H

#include "tests/soft/guestscsi.h"

#include <stdio.h>

enum { SCSIKIT_PAGES = 64, SCSIKIT_BYTES = SCSIKIT_PAGES * SOFTVM_PAGE, SCSIKIT_REQUESTS = 16 };

/* Sense key, code and qualifier in one word. */
#define SCSIKIT_SENSE(key, asc, ascq) ((uint32_t)(key) << 16 | (uint32_t)(asc) << 8 | (uint32_t)(ascq))

struct scsikit {
	struct guestscsi *scsi;
	struct guestscsi_request *request;
	uint64_t *pfns;
	uint8_t *data;
	uint8_t lun;
	FILE *report;
	unsigned *checks, *bad;
	const char *go; /* see scsikit_gate(); NULL: nobody is waited for */
};

/* A kit on channel 0 of @scsi. */
int scsikit_make(struct guestbus *bus, struct guestscsi *scsi, FILE *report, unsigned *checks,
		 unsigned *bad, struct scsikit *ret);

/* A command whose CDB is given in hex, spaces allowed, with data. False: it never
 * came back. */
bool scsikit_run(struct scsikit *kit, const char *cdb, enum guestscsi_direction direction,
		 uint32_t bytes);
bool scsikit_out(struct scsikit *kit, const char *cdb, uint32_t bytes);
bool scsikit_in(struct scsikit *kit, const char *cdb, uint32_t bytes);
bool scsikit_none(struct scsikit *kit, const char *cdb);

/* How the last command ended: 0 well, else its sense. UINT32_MAX: neither. */
uint32_t scsikit_sense(const struct scsikit *kit);
/* Clears what stands against the LUN (unit attentions). */
void scsikit_settle(struct scsikit *kit);

/* Bytes @from..@from + @bytes of the buffer become a pattern, or are compared. */
void scsikit_fill(struct scsikit *kit, uint32_t from, uint32_t bytes, uint8_t seed);
bool scsikit_same(const struct scsikit *kit, uint32_t from, uint32_t bytes, uint8_t seed);
bool scsikit_zero(const struct scsikit *kit, uint32_t from, uint32_t bytes);
uint64_t scsikit_be(const uint8_t *p, unsigned bytes);

/* One check. */
void scsikit_check(struct scsikit *kit, bool good, const char *what);
/* The last command ended with @sense (0: well). */
void scsikit_ended(struct scsikit *kit, uint32_t sense, const char *what);

/* A line that tells whoever waits for it how far the guest is. */
void scsikit_step(struct scsikit *kit, const char *what);
/* The same, and waits until there is a file of the name `go`.@what: somebody outside has
 * to look at something before the guest goes on. Two minutes at most. */
void scsikit_gate(struct scsikit *kit, const char *what);

/* Waits until @test is true, at most @seconds. */
bool scsikit_until(struct scsikit *kit, bool (*test)(struct scsikit *kit), unsigned seconds);

/* What is checked. */
void opcodes_disk(struct scsikit *kit);
void opcodes_others(struct scsikit *kit);
void opcodes_optical(struct scsikit *kit);
int hotplug(struct guestbus *bus, struct scsikit *kit);
/* Opens controllers itself. All at once they work for @seconds, or until that file is
 * there (NULL: none). */
int many(struct guestbus *bus, unsigned seconds, const char *until, FILE *report, unsigned *checks,
	 unsigned *bad);
/* Needs three channels. */
int flood(struct guestbus *bus, struct scsikit *kit);

#endif
