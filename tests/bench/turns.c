/* tests/bench/turns.c - a real VM's turns, run again as fast as they go.
 *
 *   take STATE FILE       records the running VM in STATE
 *   step FILE SECONDS     world_turn() alone, over the recorded events
 *   lane FILE SECONDS     the owner's pipeline (offer, append, step, confirm,
 *                         walk the effects, DONE, checkpoints) in the recorded
 *                         portions, with hands that do nothing
 *
 * The first round of `step` compares every effect with the recorded one, so
 * what is timed is what the VM did. A sample is the mean of one batch; `stall` is
 * how long a batch took, and its value that of p99.99. Built a second time with
 * nolog.c, `lane` runs the same without a log. */
#include "tests/bench/recording.h"
#include "tests/bench/samples.h"

#include "engine/fact.h"
#include "engine/follow.h"
#include "engine/lane.h"
#include "servicing/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 1 << 20 };

struct runner {
	struct recording r;
	struct world *world;
	struct samples samples;
	struct samples stall;        /* us of a whole batch of the pipeline */
	uint64_t ns, turns;
	size_t at;                   /* next event */
	struct custody c;
	struct lane lane;
};

static int tell(const char *what)
{
	fprintf(stderr, "turns: %s\n", what);
	return 1;
}

/* ---- world_turn alone ------------------------------------------------------------ */

static void check_turn(const struct recorded *e, const struct turn *t)
{
	if (t->bytes == e->effects_len && memcmp(t->effects, e->effects, t->bytes) == 0)
		return;
	fprintf(stderr, "turns: sequence %llu asks for other effects than it was recorded with\n",
		(unsigned long long)e->head.seq);
	exit(1);
}

static void step_round(struct runner *b, bool check)
{
	uint64_t begin = bench_now_ns(), before = begin;

	for (size_t i = 0; i < b->r.n;) {
		size_t n = b->r.event[i].batch;
		uint64_t now;

		for (size_t k = i; k < i + n; k++) {
			struct event ev = event_of(&b->r.event[k].head, b->r.event[k].payload);
			struct turn t = world_turn(b->world, &ev);

			if (check)
				check_turn(&b->r.event[k], &t);
		}
		i += n;
		now = bench_now_ns();
		if (!check)
			samples_add(&b->samples, (double)(now - before) / (double)n);
		before = now;
	}
	if (check)
		return;
	b->ns += before - begin;
	b->turns += b->r.n;
}

static void run_steps(struct runner *b, uint64_t limit_ns)
{
	recording_begin(&b->r, b->world);
	step_round(b, true);
	while (b->ns < limit_ns) {
		recording_begin(&b->r, b->world);
		step_round(b, false);
	}
}

/* ---- the pipeline ------------------------------------------------------------------ */

static unsigned collect(void *user, struct lane *l, unsigned max)
{
	struct runner *b = user;
	unsigned n = 0, batch = b->at < b->r.n ? b->r.event[b->at].batch : 0;

	(void)max;
	for (; n < batch; n++, b->at++) {
		const struct recorded *r = &b->r.event[b->at];
		struct lane_event e = {
			.kind = r->head.kind, .index = r->head.index,
			.generation = r->head.generation, .code = r->head.code,
			.source = r->head.source, .source_pos = r->head.source_pos,
			.fixed = r->payload, .fixed_len = r->head.len,
		};

		fact(lane_offer(l, &e));
	}
	return n;
}

static void nothing(void *user)
{
	(void)user;
}

static void perform(void *user, const struct effect *e, bool redo)
{
	(void)user;
	(void)e;
	(void)redo;
}

static void rebuild(void *user, const struct world *w)
{
	(void)user;
	(void)w;
}

static void answers(void *user, struct lane *l)
{
	(void)user;
	(void)l;
}

static const struct lane_ops ops = {
	.collect = collect, .taken = nothing, .perform = perform, .flush = nothing,
	.rebuild = rebuild, .answers = answers,
};

/* Goes on in the ring where the round before has stopped, with the world of
 * the checkpoint: the ring stays as full and as cold as in a long run. */
static void lane_begin(struct runner *b)
{
	struct follower f = { 0 };

	recording_begin(&b->r, b->world);
	f.reader.position = b->lane.log.end;
	f.reader.chain = b->lane.log.chain;
	f.cut.position = b->lane.checkpointed;
	lane_start(&b->lane, &b->c, b->world, &program_codec, &ops, b, b->r.event[0].head.epoch,
		   &f);
	b->at = 0;
}

static void lane_round(struct runner *b, bool warm_up)
{
	lane_begin(b);
	for (;;) {
		uint64_t begin = bench_now_ns(), ns;
		unsigned n = lane_batch(&b->lane);

		if (n == 0)
			break;
		ns = bench_now_ns() - begin;
		if (warm_up)
			continue;
		samples_add(&b->samples, (double)ns / n);
		samples_add(&b->stall, (double)ns / 1e3);
		b->ns += ns;
		b->turns += n;
	}
	fact(b->at == b->r.n);
}

static int run_lane(struct runner *b, uint64_t limit_ns)
{
	uint64_t newest = b->r.event[b->r.n - 1].head.time_ns;

	if (custody_create(&b->c) < 0)
		return tell("no custody");
	/* The clock goes on behind the recorded events. */
	b->c.h->mono_base_ns = mono_now_ns() - newest;
	memset(b->c.lane_ring, 0, LIMIT_LOG_BYTES);
	lane_round(b, true);
	lane_round(b, true);
	while (b->ns < limit_ns)
		lane_round(b, false);
	custody_detach(&b->c);
	return 0;
}

static int run(const char *mode, const char *path, uint64_t limit_ns)
{
	static struct runner b;
	int r = 0;

	if (recording_load(path, &b.r))
		return 1;
	b.world = world_new(&program);
	if (!b.world)
		return tell("no memory");
	samples_init(&b.samples, SAMPLES);
	samples_init(&b.stall, SAMPLES);
	if (strcmp(mode, "step") == 0)
		run_steps(&b, limit_ns);
	else
		r = run_lane(&b, limit_ns);
	if (r == 0) {
		samples_print(&b.samples, mode, (double)b.ns / (double)b.turns);
		if (b.stall.n)
			samples_print(&b.stall, "stall", samples_quantile(&b.stall, .9999));
		printf("{\"name\":\"recording\",\"turns\":%zu,\"batches\":%zu,\"records\":%zu,"
		       "\"bytes\":%llu}\n", b.r.n, b.r.batches, b.r.records,
		       (unsigned long long)b.r.record_bytes);
	}
	free(b.samples.v);
	free(b.stall.v);
	world_free(b.world);
	recording_free(&b.r);
	return r;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "take") == 0)
		return recording_take(argv[2], argv[3]);
	if (argc == 4 && (strcmp(argv[1], "step") == 0 || strcmp(argv[1], "lane") == 0))
		return run(argv[1], argv[2],
			   strtoull(argv[3], NULL, 0) * UINT64_C(1000000000));
	fprintf(stderr, "usage: turns take STATE FILE | step FILE SECONDS | lane FILE SECONDS\n");
	return 2;
}
