/* tests/compat/compat.c - states of one build, through another, and back.
 *
 *   compat make OUT COUNT SEED   COUNT random valid states of this build
 *   compat pass IN OUT           each is loaded and packed again by this build
 *   compat same IN BACK          what came back is what went, to this build
 *   compat level                 the highest level of this build
 *
 * A state of a level above this build's is refused by `pass` and left empty; an
 * empty one is passed over.
 * `same` tells how many are the same bytes again, and how many are the same
 * state only: the other build then has fields that this one keeps as unknown. */
#include "fuzz/alphabet.h"
#include "fuzz/answers.h"
#include "fuzz/program.h"
#include "fuzz/story.h"
#include "persist/codec.h"
#include "statemachines/machines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT = 4096, EVENTS = 200 };

static struct world *world;
static struct answers answers;
static struct alphabet_memory memory;
static uint8_t payload[LIMIT_PAYLOAD], bytes[LIMIT_SLOT_BYTES], other[LIMIT_SLOT_BYTES];
static uint8_t packed[LIMIT_SLOT_BYTES];

/* ---- files: length and bytes of each state ---------------------------------------- */

static FILE *open_file(const char *path, const char *mode)
{
	FILE *f = fopen(path, mode);

	if (!f) {
		perror(path);
		exit(2);
	}
	return f;
}

static void put(FILE *out, const uint8_t *p, size_t len)
{
	uint32_t n = (uint32_t)len;

	if (fwrite(&n, sizeof(n), 1, out) != 1 || fwrite(p, 1, len, out) != len) {
		perror("compat");
		exit(2);
	}
}

static bool get(FILE *in, uint8_t *p, size_t *ret_len)
{
	uint32_t n;

	if (fread(&n, sizeof(n), 1, in) != 1)
		return false;
	*ret_len = n;
	return n <= LIMIT_SLOT_BYTES && fread(p, 1, n, in) == n;
}

/* ---- random states ------------------------------------------------------------------ */

void story_turn(void *user, struct event *ev)
{
	const struct lane_state *l = world_lane_const(world);
	uint32_t at = 0, n = 0;
	struct effect e;
	struct turn t;
	bool bad;

	(void)user;
	ev->seq = l->seq + 1;
	ev->time_ns = l->time_ns + 1000;
	ev->epoch = 1;
	t = world_turn(world, ev);
	while (effect_next(&fuzz_program, t.effects, t.bytes, ev->seq, &at, &n, &e, &bad)) {
		alphabet_learn(&memory, &e, &fuzz_program.effects[e.head.code]);
		answers_take(&answers, &fuzz_program, &e);
	}
}

static void one_event(struct feed *f)
{
	struct event ev = { 0 };

	if (answers.n && feed_below(f, 3)) {
		answers_event(&answers, 0, world, f, &ev, payload);
		answers_drop(&answers, 0);
	} else {
		alphabet_event(f, world, &memory, &ev, payload);
	}
	story_turn(NULL, &ev);
}

static void make_state(unsigned seed)
{
	static uint8_t input[INPUT];
	struct feed f = { input, sizeof(input) };

	srandom(seed);
	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)(random() >> 8);
	memset(&answers, 0, sizeof(answers));
	memset(&memory, 0, sizeof(memory));
	world_reset(world, 0xA5);
	machines_spawn_fixed(world);
	story_tell(feed_u8(&f) % (story_steps() + 8), &answers, world, payload, NULL);
	for (unsigned n = feed_below(&f, EVENTS); n; n--)
		one_event(&f);
}

static int make(const char *path, unsigned count, unsigned seed)
{
	FILE *out = open_file(path, "wbe");
	uint64_t level = 0;
	size_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		make_state(seed + i);
		if (codec_pack(world, bytes, sizeof(bytes), &len) < 0)
			return 1;
		level += world_lane_const(world)->level > 1;
		put(out, bytes, len);
	}
	printf("made=%u above_level_1=%" PRIu64 "\n", count, level);
	return fclose(out) ? 1 : 0;
}

/* ---- through another build ----------------------------------------------------------- */

static bool load(const uint8_t *p, size_t len, char *why)
{
	world_reset(world, 0x5A);
	return codec_unpack(world, p, len, why) == 0;
}

static int pass(const char *from, const char *to)
{
	FILE *in = open_file(from, "rbe"), *out = open_file(to, "wbe");
	unsigned passed = 0, above = 0, failed = 0;
	size_t len, len2;

	while (get(in, bytes, &len)) {
		struct codec_header h = { 0 };
		char why[CODEC_WHY] = "";

		if (len == 0) {
			put(out, bytes, 0);
			continue;
		}
		if (load(bytes, len, why)) {
			passed++;
			if (codec_pack(world, packed, sizeof(packed), &len2) < 0)
				return 1;
			put(out, packed, len2);
			continue;
		}
		put(out, bytes, 0);
		if (codec_header(bytes, len, &h) && h.level > fuzz_program.max_level && why[0]) {
			above++;
			continue;
		}
		failed++;
		fprintf(stderr, "compat: state %u: %s\n", passed + above + failed, why);
	}
	printf("passed=%u above_this_level=%u failed=%u\n", passed, above, failed);
	fclose(in);
	return fclose(out) || failed ? 1 : 0;
}

static int same(const char *went, const char *back)
{
	FILE *in = open_file(went, "rbe"), *in2 = open_file(back, "rbe");
	unsigned identical = 0, equal = 0, different = 0, left_out = 0;
	size_t len, len2;

	while (get(in, bytes, &len) && get(in2, other, &len2)) {
		uint64_t a, b;
		char why[CODEC_WHY] = "";
		bool good;

		if (len2 == 0) {
			left_out++;
			continue;
		}
		good = load(bytes, len, why) &&
		       codec_state_hash(world, packed, sizeof(packed), &a) == 0 &&
		       load(other, len2, why) &&
		       codec_state_hash(world, packed, sizeof(packed), &b) == 0 && a == b &&
		       codec_pack(world, packed, sizeof(packed), &len2) == 0;
		if (!good)
			different++;
		else if (len == len2 && memcmp(packed, bytes, len) == 0)
			identical++;
		else
			equal++;
	}
	printf("identical=%u equal=%u left_out=%u different=%u\n", identical, equal, left_out,
	       different);
	return different ? 1 : 0;
}

int main(int argc, char **argv)
{
	world = world_new(&fuzz_program);
	if (!world)
		return 2;
	alphabet_init(&fuzz_program);
	if (argc == 2 && strcmp(argv[1], "level") == 0)
		return printf("%u\n", fuzz_program.max_level) < 0;
	if (argc == 5 && strcmp(argv[1], "make") == 0)
		return make(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
	if (argc == 4 && strcmp(argv[1], "pass") == 0)
		return pass(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "same") == 0)
		return same(argv[2], argv[3]);
	fprintf(stderr, "usage: compat make OUT COUNT SEED | pass IN OUT | same IN BACK | level\n");
	return 2;
}
