/*
 * hfverify: checks from outside what hfload left on a disk image or in a file.
 *
 * Everything is told by the index blocks at the start of each region (stamp.h): how many regions there are and which
 * generation each block must have. Exit status: 0 all as it must be; 1 not; 2 wrong usage or unreadable.
 */
#define _GNU_SOURCE
#include "stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FAULTS_TOLD = 8 };

struct verify {
	const char *path;
	int fd;
	uint64_t offset;
	uint64_t *block;
	struct stamp first;
	struct stamp_index shape;
	uint64_t good, bad, unknown;
};

static void fault(struct verify *v, uint32_t region, uint32_t block, const char *what, uint64_t want, uint64_t got)
{
	if (v->bad++ < FAULTS_TOLD) {
		fprintf(stderr, "hfverify: %s: region %u block %u: %s (generation %" PRIu64 " expected, %" PRIu64 " found)\n", v->path, region,
			block, what, want, got);
	}
}

static bool read_block(struct verify *v, uint32_t region, uint32_t block)
{
	const uint64_t at = v->offset + ((uint64_t)region * v->shape.region_blocks + block) * v->first.size;
	return pread(v->fd, v->block, v->first.size, (off_t)at) == (ssize_t)v->first.size;
}

/* Reads the index of a region into `generation`. */
static bool read_index(struct verify *v, uint32_t region, uint32_t *generation)
{
	for (uint32_t part = 0; part < v->shape.index_blocks; part++) {
		struct stamp got;
		const struct stamp want = { .run = v->first.run, .region = region, .block = part, .size = v->first.size, .kind = STAMP_INDEX };
		if (!read_block(v, region, part)) {
			fault(v, region, part, "index cannot be read", 0, 0);
			return false;
		}
		const enum stamp_fault f = stamp_check(v->block, &want, &got);
		if (f != STAMP_GOOD) {
			fault(v, region, part, stamp_fault_name(f), 0, got.generation);
			return false;
		}
		struct stamp_index index;
		const unsigned char *bytes = (const unsigned char *)v->block;
		memcpy(&index, bytes + sizeof got, sizeof index);
		if (index.part != part || index.count > stamp_gens_per_index(v->first.size) || index.first > v->shape.region_blocks ||
		    index.count > v->shape.region_blocks - index.first) {
			fault(v, region, part, "index contradicts itself", 0, 0);
			return false;
		}
		memcpy(generation + index.first, bytes + sizeof got + sizeof index, index.count * sizeof(uint32_t));
	}
	return true;
}

static void check_region(struct verify *v, uint32_t region, uint32_t *generation)
{
	memset(generation, 0, v->shape.region_blocks * sizeof generation[0]);
	if (!read_index(v, region, generation)) {
		return;
	}
	v->good += v->shape.index_blocks;
	for (uint32_t block = v->shape.index_blocks; block < v->shape.region_blocks; block++) {
		struct stamp got;
		const struct stamp want = {
			.run = v->first.run,
			.region = region,
			.block = block,
			.generation = generation[block],
			.size = v->first.size,
			.kind = STAMP_DATA,
		};
		if (want.generation == 0) {
			v->unknown++;
		} else if (!read_block(v, region, block)) {
			fault(v, region, block, "cannot be read", want.generation, 0);
		} else {
			const enum stamp_fault f = stamp_check(v->block, &want, &got);
			if (f == STAMP_GOOD) {
				v->good++;
			} else {
				fault(v, region, block, stamp_fault_name(f), want.generation, got.generation);
			}
		}
	}
}

int main(int argc, char **argv)
{
	struct verify v = { .offset = 0 };
	if (argc < 2 || argc > 3) {
		fputs("usage: hfverify PATH [OFFSET]\n", stderr);
		return 2;
	}
	v.path = argv[1];
	if (argc == 3) {
		char *end;
		errno = 0;
		v.offset = strtoull(argv[2], &end, 0);
		if (errno != 0 || end == argv[2] || *end != '\0') {
			fprintf(stderr, "hfverify: OFFSET: '%s' is not a number\n", argv[2]);
			return 2;
		}
	}
	v.fd = open(v.path, O_RDONLY | O_CLOEXEC);
	if (v.fd < 0) {
		fprintf(stderr, "hfverify: %s: cannot be opened: %s\n", v.path, strerror(errno));
		return 2;
	}
	v.block = calloc(1, STAMP_BLOCK_MAX);
	unsigned char head[sizeof v.first + sizeof v.shape];
	if (v.block == NULL || pread(v.fd, head, sizeof head, (off_t)v.offset) != (ssize_t)sizeof head) {
		fprintf(stderr, "hfverify: %s: cannot be read at %" PRIu64 "\n", v.path, v.offset);
		return 2;
	}
	memcpy(&v.first, head, sizeof v.first);
	memcpy(&v.shape, head + sizeof v.first, sizeof v.shape);
	if (v.first.magic != STAMP_MAGIC || v.first.kind != STAMP_INDEX || v.first.size < STAMP_BLOCK_MIN || v.first.size > STAMP_BLOCK_MAX ||
	    v.first.size % sizeof(uint64_t) != 0 || v.shape.regions == 0 || v.shape.regions > 65536 || v.shape.region_blocks < 2 ||
	    v.shape.region_blocks > UINT32_MAX / 8 || v.shape.index_blocks == 0 || v.shape.index_blocks >= v.shape.region_blocks) {
		fprintf(stderr, "hfverify: %s: no index of hfload at %" PRIu64 ": hfload did not run to its end, or the index is damaged\n", v.path,
			v.offset);
		return 1;
	}
	uint32_t *generation = calloc(v.shape.region_blocks, sizeof generation[0]);
	if (generation == NULL) {
		fputs("hfverify: no memory\n", stderr);
		return 2;
	}
	for (uint32_t region = 0; region < v.shape.regions; region++) {
		check_region(&v, region, generation);
	}
	printf("hfverify: %s: regions=%u good=%" PRIu64 " mismatches=%" PRIu64 " unknown=%" PRIu64 "\n", v.path, v.shape.regions, v.good, v.bad,
	       v.unknown);
	free(generation);
	free(v.block);
	close(v.fd);
	return v.bad == 0 && v.unknown == 0 ? 0 : 1;
}
