/* tests/soft/softchk.c - compares a disk's backing file with what the guest
 * recorded that each block must hold (workload_save()).
 *
 * usage: softchk BACKING REPORT, where REPORT is softload's report=FILE and the
 * record is REPORT.generations. Exit status: 0 all as recorded; 1 not; 2 wrong
 * usage or unreadable. */
#include "tests/guest/stamp.h"
#include "tests/soft/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TELL_MAX = 8, PATH_BYTES = 4096 };

struct check {
	int backing;
	FILE *record;
	struct generations_head head;
	uint64_t *block;
	uint64_t good, bad, unknown, never;
};

static void tell(struct check *check, uint64_t block, const char *what, uint64_t want, uint64_t got)
{
	if (check->bad++ < TELL_MAX)
		fprintf(stderr,
			"softchk: block %" PRIu64 ": %s, generation %" PRIu64 " wanted, %" PRIu64
			" found\n",
			block, what, want, got);
}

static void check_block(struct check *check, uint64_t block, uint32_t generation)
{
	const struct stamp want = {
		.run = check->head.run,
		.block = block,
		.generation = generation,
		.size = check->head.block_bytes,
		.kind = STAMP_DATA,
	};
	struct stamp got;
	enum stamp_fault fault;

	if (generation == 0 || generation == GENERATION_UNKNOWN) {
		check->never += generation == 0;
		check->unknown += generation == GENERATION_UNKNOWN;
		return;
	}
	if (pread(check->backing, check->block, want.size, (off_t)(block * want.size)) !=
	    (ssize_t)want.size) {
		tell(check, block, "cannot be read", generation, 0);
		return;
	}
	fault = stamp_check(check->block, &want, &got);
	if (fault == STAMP_GOOD)
		check->good++;
	else
		tell(check, block, stamp_fault_name(fault), generation, got.generation);
}

static bool open_all(struct check *check, const char *backing, const char *report)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s.generations", report);
	check->backing = open(backing, O_RDONLY | O_CLOEXEC);
	check->record = fopen(path, "re");
	if (check->backing < 0 || !check->record) {
		fprintf(stderr, "softchk: %s: %s\n", check->backing < 0 ? backing : path,
			strerror(errno));
		return false;
	}
	if (fread(&check->head, sizeof(check->head), 1, check->record) != 1 ||
	    check->head.magic != GENERATIONS_MAGIC || check->head.block_bytes < STAMP_BLOCK_MIN ||
	    check->head.block_bytes > STAMP_BLOCK_MAX || check->head.block_bytes % 8 != 0) {
		fprintf(stderr, "softchk: %s: no record of softload\n", path);
		return false;
	}
	check->block = calloc(1, STAMP_BLOCK_MAX);
	return check->block != NULL;
}

int main(int argc, char **argv)
{
	struct check check = {.backing = -1};
	uint32_t generation;

	if (argc != 3) {
		fputs("usage: softchk BACKING REPORT\n", stderr);
		return 2;
	}
	if (!open_all(&check, argv[1], argv[2]))
		return 2;
	for (uint64_t block = 0; block < check.head.blocks; block++) {
		if (fread(&generation, sizeof(generation), 1, check.record) != 1) {
			fputs("softchk: the record ends early\n", stderr);
			return 2;
		}
		check_block(&check, block, generation);
	}
	printf("softchk: good=%" PRIu64 " mismatches=%" PRIu64 " unknown=%" PRIu64
	       " never-written=%" PRIu64 "\n",
	       check.good, check.bad, check.unknown, check.never);
	return check.bad == 0 && check.unknown == 0 && check.good > 0 ? 0 : 1;
}
