/* See library.h. */
#include "fuzz/library.h"

#include "engine/fact.h"
#include "fuzz/program.h"
#include "persist/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	uint8_t *bytes;
	uint32_t len;
} state[LIBRARY_STATES];
static unsigned n_states, n_refused;

static _Noreturn void refuse(const char *path, const char *why)
{
	fprintf(stderr, "fuzz: %s: %s\n", path, why);
	exit(2);
}

static void take(const char *path, FILE *f, uint32_t len, struct world *w)
{
	uint8_t *bytes = malloc(len);
	char why[CODEC_WHY] = "";

	if (!bytes || fread(bytes, 1, len, f) != len)
		refuse(path, "it is cut off");
	world_reset(w, 0);
	if (codec_unpack(w, bytes, len, why)) {
		if (n_refused++ == 0)
			fprintf(stderr, "fuzz: %s: a state is left out: %s\n", path, why);
		free(bytes);
		return;
	}
	state[n_states].bytes = bytes;
	state[n_states++].len = len;
}

void library_load(const char *path)
{
	struct world *w;
	uint64_t magic = 0;
	uint32_t len;
	FILE *f;

	if (!path)
		return;
	f = fopen(path, "rbe");
	if (!f || fread(&magic, sizeof(magic), 1, f) != 1 || magic != LIBRARY_MAGIC)
		refuse(path, "not a library of states");
	w = world_new(&fuzz_program);
	if (!w)
		refuse(path, "no memory");
	while (n_states < LIBRARY_STATES && fread(&len, sizeof(len), 1, f) == 1) {
		if (len > LIMIT_SLOT_BYTES)
			refuse(path, "a state is longer than a checkpoint slot");
		take(path, f, len, w);
	}
	world_free(w);
	fclose(f);
	if (n_states == 0)
		refuse(path, "this build can load none of its states");
}

unsigned library_count(void)
{
	return n_states;
}

void library_restore(unsigned n, struct world *w)
{
	char why[CODEC_WHY];

	n %= n_states;
	fact(codec_unpack(w, state[n].bytes, state[n].len, why) == 0);
}
