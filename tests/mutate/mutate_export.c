/* tests/mutate/mutate_export.c - an exported log with one byte changed.
 *
 *   mutate_export FROM TO SEED N
 * Writes mutation N of that seed to TO and tells on one line where it lies. In
 * each second one all checksums are made to fit again: the header's, and the
 * chain of every record behind the change, as far as lengths still lead. */
#include "engine/log.h"
#include "persist/codec.h"
#include "servicing/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static uint8_t *bytes;
static size_t n_bytes;

static bool read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	long end;

	if (!f || fseek(f, 0, SEEK_END) || (end = ftell(f)) < (long)sizeof(struct export_header) ||
	    fseek(f, 0, SEEK_SET))
		return false;
	n_bytes = (size_t)end;
	bytes = malloc(n_bytes);
	return bytes && fread(bytes, 1, n_bytes, f) == n_bytes && fclose(f) == 0;
}

static bool write_file(const char *path)
{
	FILE *f = fopen(path, "we");

	return f && fwrite(bytes, 1, n_bytes, f) == n_bytes && fclose(f) == 0;
}

static void repair(void)
{
	struct export_header h;
	size_t at = sizeof(h);
	uint64_t chain;

	memcpy(&h, bytes, sizeof(h));
	chain = h.check = codec_hash(bytes, offsetof(struct export_header, check));
	memcpy(bytes, &h, sizeof(h));
	while (n_bytes - at >= sizeof(struct log_record)) {
		struct log_record r;

		memcpy(&r, bytes + at, sizeof(r));
		if (log_cost(r.len) > n_bytes - at)
			return;
		chain = r.chain = log_chain(&r, bytes + at + sizeof(r), chain);
		memcpy(bytes + at, &r, sizeof(r));
		at += log_cost(r.len);
	}
}

int main(int argc, char **argv)
{
	uint64_t draw[2], at;
	bool repaired;
	uint8_t was;

	if (argc != 5 || !read_file(argv[1])) {
		fprintf(stderr, "usage: mutate_export FROM TO SEED N (FROM: an exported log)\n");
		return 2;
	}
	draw[0] = strtoull(argv[3], NULL, 10);
	draw[1] = strtoull(argv[4], NULL, 10);
	repaired = draw[1] % 2;
	at = XXH64(draw, sizeof(draw), 1) % n_bytes;
	was = bytes[at];
	bytes[at] ^= (uint8_t)(1 + XXH64(draw, sizeof(draw), 2) % 255);
	printf("byte %" PRIu64 " was %02x, is %02x, %s\n", at, was, bytes[at],
	       repaired ? "repaired" : "as it is");
	if (repaired)
		repair();
	return write_file(argv[2]) ? 0 : 2;
}
