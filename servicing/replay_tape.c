/* Modes of replay that need to go to and fro. */
#include "servicing/replay_tape.h"

#include "servicing/registry.h"
#include "servicing/show.h"
#include "servicing/trap.h"
#include "servicing/travel.h"

#include "engine/custody.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEEKS_MAX = 1 << 20 };

static struct tape *open_tape(const char *path)
{
	struct tape *t = NULL;

	return tape_open(path, isatty(STDERR_FILENO) == 1 ? stderr : NULL, &t) < 0 ? NULL : t;
}

static bool find(const struct tape *t, const char *path, uint64_t seq, uint64_t *ret_place)
{
	char why[160];

	if (tape_find(t, seq, ret_place, why))
		return true;
	fprintf(stderr, "holdfast: %s: %s\n", path, why);
	return false;
}

static void tell_divergences(const struct tape *t)
{
	const struct divergence *d = tape_divergence(t, 0);

	if (d)
		printf("this build computes %" PRIu64 " effects otherwise than they were recorded, "
		       "the first in event %" PRIu64 "; `replay --verify` names them\n",
		       tape_divergences(t), d->seq);
}

int replay_step(const char *path)
{
	struct tape *t = open_tape(path);
	int r;

	if (!t)
		return 1;
	printf("%" PRIu64 " events, %" PRIu64 " to %" PRIu64 ", indexed in %.2f s; help lists the "
	       "commands\n", tape_events(t), tape_seq(t, 0) + (tape_events(t) > 0),
	       tape_seq(t, tape_events(t)), tape_seconds(t));
	tell_divergences(t);
	r = travel(t);
	tape_close(t);
	return r;
}

int replay_diff(const char *path, uint64_t a, uint64_t b)
{
	struct world *before = world_new(&program);
	struct tape *t = open_tape(path);
	uint64_t from, to;
	int r = 1;

	if (before && t && find(t, path, a, &from) && find(t, path, b, &to)) {
		tape_go(t, from);
		tape_copy(t, before);
		tape_go(t, to);
		printf("%u differences between event %" PRIu64 " and event %" PRIu64 "\n",
		       show_difference(before, tape_world(t), stdout), a, b);
		r = 0;
	}
	tape_close(t);
	world_free(before);
	return r;
}

int replay_break(const char *path, uint64_t seq)
{
	struct tape *t = open_tape(path);
	uint64_t place;
	int n = -1;

	if (t && find(t, path, seq, &place)) {
		if (place == 0)
			fprintf(stderr, "holdfast: %s: event %" PRIu64 " is not held, only the "
				"state behind it\n", path, seq);
		else
			n = trap_event(t, place - 1);
	}
	if (n == 0)
		fprintf(stderr, "holdfast: %s: event %" PRIu64 " takes no row with an action\n",
			path, seq);
	tape_close(t);
	return n > 0 ? 0 : 1;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int replay_seek_bench(const char *path, uint64_t n)
{
	struct tape *t = open_tape(path);
	double *ms = n > 0 && n <= SEEKS_MAX ? malloc(n * sizeof(*ms)) : NULL;
	uint64_t seed = 0x9E3779B97F4A7C15u;

	if (t && !ms)
		fprintf(stderr, "holdfast: 1 to %d seeks can be measured\n", SEEKS_MAX);
	for (uint64_t i = 0; t && ms && i < n; i++) {
		uint64_t begin;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		begin = mono_now_ns();
		tape_go(t, seed % (tape_events(t) + 1));
		ms[i] = (double)(mono_now_ns() - begin) / 1e6;
	}
	if (t && ms) {
		qsort(ms, n, sizeof(*ms), by_size);
		printf("{\"name\":\"replay.seek_ms\",\"n\":%" PRIu64 ",\"p50\":%.3f,\"p99\":%.3f,"
		       "\"max\":%.3f,\"events\":%" PRIu64 ",\"index_s\":%.3f}\n", n, ms[n / 2],
		       ms[n * 99 / 100], ms[n - 1], tape_events(t), tape_seconds(t));
	}
	free(ms);
	tape_close(t);
	return t && ms ? 0 : 1;
}
