/* fuzz/states.c - real states of a running VM, for fuzz_machine to begin with.
 *
 *   states STATE-DIR OUT [COUNT [MILLISECONDS]]
 *
 * Follows the VM's log like `holdfast inspect` and packs the world COUNT times,
 * so many milliseconds apart; the guest notices nothing. OUT: fuzz/library.h. */
#include "fuzz/library.h"
#include "persist/codec.h"
#include "servicing/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COUNT = 64, MILLISECONDS = 50 };

static uint8_t bytes[LIMIT_SLOT_BYTES];

static int put(FILE *out, const struct world *w)
{
	uint32_t len32;
	size_t len;

	if (codec_pack(w, bytes, sizeof(bytes), &len))
		return -1;
	len32 = (uint32_t)len;
	if (fwrite(&len32, sizeof(len32), 1, out) != 1 || fwrite(bytes, 1, len, out) != len)
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	const uint64_t magic = LIBRARY_MAGIC;
	unsigned long count = argc > 3 ? strtoul(argv[3], NULL, 0) : COUNT;
	unsigned long pause = argc > 4 ? strtoul(argv[4], NULL, 0) : MILLISECONDS;
	unsigned long n = 0;
	struct view v;
	FILE *out;
	int error;

	if (argc < 3) {
		fprintf(stderr, "usage: states STATE-DIR OUT [COUNT [MILLISECONDS]]\n");
		return 2;
	}
	if (view_open(argv[1], &v) < 0)
		return 1;
	out = fopen(argv[2], "wbe");
	error = !out || fwrite(&magic, sizeof(magic), 1, out) != 1;
	for (; !error && n < count; n++) {
		error = view_update(&v) < 0 || put(out, v.world) < 0;
		usleep((useconds_t)pause * 1000);
	}
	printf("states=%lu seq=%" PRIu64 "\n", n, world_lane_const(v.world)->seq);
	view_close(&v);
	if (!out || fclose(out) != 0)
		error = 1;
	if (error)
		fprintf(stderr, "states: could not write %s\n", argv[2]);
	return error;
}
