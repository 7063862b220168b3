/* fuzz/fuzz_decode.c - codec_unpack and codec_header on any bytes.
 *
 * An input is either the bytes themselves, or edits of a real packed world (the
 * story's, or one of FUZZ_STATES): single bytes, ranges cut out, doubled, or
 * overwritten. What loads must satisfy every predicate (codec_unpack has said
 * so), pack again, and load again to the same bytes; what does not must leave a
 * sentence, and a world that can be reset. */
#include "fuzz/answers.h"
#include "fuzz/driver.h"
#include "fuzz/library.h"
#include "fuzz/oracle.h"
#include "fuzz/program.h"
#include "fuzz/story.h"

#include "persist/codec.h"
#include "statemachines/machines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILL = 0xA5, BASES = 16, EDITS_MAX = 12, CAPACITY = 1 << 20 };

static struct {
	uint64_t inputs, loaded, refused, headers;
} figures;

static struct {
	uint8_t *bytes;
	size_t len;
} base[BASES];
static unsigned n_bases;
static struct world *world, *twin;
static struct answers answers;
static uint8_t payload[LIMIT_PAYLOAD], work[CAPACITY], again[CAPACITY];

void story_turn(void *user, struct event *ev)
{
	answers_turn(&answers, &fuzz_program, user, ev);
}

static void keep_base(const struct world *w)
{
	size_t len;

	if (n_bases == BASES || codec_pack(w, work, CAPACITY, &len))
		return;
	base[n_bases].bytes = malloc(len);
	if (!base[n_bases].bytes)
		exit(1);
	memcpy(base[n_bases].bytes, work, len);
	base[n_bases++].len = len;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world = world_new(&fuzz_program);
	twin = world_new(&fuzz_program);
	if (!world || !twin)
		exit(1);
	library_load(getenv("FUZZ_STATES"));
	for (unsigned steps = 0; steps <= story_steps(); steps += 4) {
		world_reset(world, FILL);
		answers.n = 0;
		machines_spawn_fixed(world);
		story_tell(steps, &answers, world, payload, world);
		keep_base(world);
	}
	for (unsigned i = 0; i < library_count() && i < BASES; i++) {
		world_reset(world, FILL);
		library_restore(i, world);
		keep_base(world);
	}
	return 0;
}

/* ---- edits ---------------------------------------------------------------------------- */

static size_t place(struct feed *f, size_t len)
{
	return len ? feed_u32(f) % len : 0;
}

static size_t edit(struct feed *f, uint8_t *p, size_t len)
{
	size_t at = place(f, len), n = feed_u8(f) % 64;

	if (at + n > len)
		n = len - at;
	switch (feed_below(f, 6)) {
	case 0:
		p[at] = feed_u8(f);
		return len;
	case 1:
		p[at] ^= (uint8_t)(1u << feed_below(f, 8));
		return len;
	case 2: /* cut out */
		memmove(p + at, p + at + n, len - at - n);
		return len - n;
	case 3: /* double */
		if (len + n > CAPACITY)
			return len;
		memmove(p + at + n, p + at, len - at);
		return len + n;
	case 4:
		feed_bytes(f, p + at, n);
		return len;
	default: /* cut off */
		return feed_once_in(f, 4) ? at : len;
	}
}

static size_t make(struct feed *f)
{
	unsigned which = feed_u8(f), edits;
	size_t len;

	if (which % 4 == 0) {
		len = f->left < CAPACITY ? f->left : CAPACITY;
		feed_bytes(f, work, len);
		return len;
	}
	which = which / 4 % n_bases;
	len = base[which].len;
	memcpy(work, base[which].bytes, len);
	edits = feed_u8(f) % EDITS_MAX;
	for (unsigned i = 0; i < edits && len; i++)
		len = edit(f, work, len);
	return len;
}

/* ---- the two questions ------------------------------------------------------------------ */

static void check_loaded(void)
{
	char why[CODEC_WHY];
	size_t len, len_again;

	oracle_predicates(world, 0);
	if (codec_pack(world, work, CAPACITY, &len))
		return; /* it may be larger than what it came from: fields of newer builds */
	world_reset(twin, 0);
	if (codec_unpack(twin, work, len, why))
		oracle_failed("what was packed cannot be loaded", world_lane_const(world)->seq, len);
	if (codec_pack(twin, again, CAPACITY, &len_again) || len_again != len ||
	    memcmp(work, again, len) != 0)
		oracle_failed("packed twice, it differs", world_lane_const(world)->seq, len);
}

/* Any place is allowed to be wrong, none to end the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	struct codec_header h;
	char why[CODEC_WHY] = "";
	uint8_t *exact;
	size_t len = make(&f);

	figures.inputs++;
	exact = malloc(len ? len : 1); /* so that a sanitizer sees the first byte behind it */
	if (!exact)
		exit(1);
	memcpy(exact, work, len);
	figures.headers += codec_header(exact, len, &h);
	world_reset(world, FILL);
	if (codec_unpack(world, exact, len, why) == 0) {
		figures.loaded++;
		check_loaded();
	} else {
		figures.refused++;
		if (why[0] == '\0' || memchr(why, 0, sizeof(why)) == NULL)
			oracle_failed("a refusal without a sentence", 0, len);
	}
	free(exact);
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f loaded=%" PRIu64 " refused=%" PRIu64
	       " headers=%" PRIu64 " bases=%u\n",
	       figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0,
	       figures.loaded, figures.refused, figures.headers, n_bases);
}
