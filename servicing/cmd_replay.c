/* `holdfast replay`: runs the log again from the oldest state there is.
 *
 * Every turn is stepped when its confirm record is met, and its effects are
 * compared with the recorded ones. With --verify the state itself is compared
 * wherever the archive holds a checkpoint made by a build of the same schema.
 * Where records are missing, replay goes on at the next checkpoint. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/decode.h"
#include "servicing/history.h"
#include "servicing/registry.h"

#include "engine/follow.h"
#include "persist/codec.h"
#include "persist/schema.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN = 20, PROGRESS = 1 << 16 };

struct replay {
	const char *path;
	bool verify, progress;
	uint64_t to;
	struct history h;
	struct follower f;
	struct world *world;
	struct world *other;      /* a checkpoint, to compare with */
	uint64_t divergences, gaps, checked;
	uint64_t next_checkpoint;
	uint8_t *packed;
	uint64_t started_ns;
};

static int arguments(int argc, char **argv, struct replay *p)
{
	unsigned long long n;
	int option;

	p->to = UINT64_MAX;
	while ((option = command_option(argc, argv)) != -1) {
		if (option == 's')
			p->path = optarg;
		else if (option == 'v')
			p->verify = true;
		else if (option == '?' || command_number(argv[0], "to", optarg, UINT64_MAX, &n))
			return 2;
		else
			p->to = n;
	}
	if (!p->path && optind < argc)
		p->path = argv[optind++];
	return p->path && optind == argc ? 0 : command_usage(argv[0]);
}

static bool differs(void *user, const struct divergence *d)
{
	struct replay *p = user;
	char name[32];

	if (p->divergences++ < SHOWN)
		printf("divergence event=%" PRIu64 " machine=%s effect=%s field=%s recorded=%" PRIu64
		       " computed=%" PRIu64 "\n", d->seq,
		       decode_machine(&program, d->kind, d->index, name),
		       d->effect && d->effect->name ? d->effect->name : "?", d->field, d->recorded,
		       d->computed);
	return false;
}

/* The world becomes @s. 0 or -EBADMSG. */
static int load(struct replay *p, const struct history_state *s)
{
	char why[CODEC_WHY];

	world_reset(p->world, 0);
	follow_pending_clear(&p->f);
	p->next_checkpoint = p->verify ? history_next_checkpoint(&p->h) : UINT64_MAX;
	if (!s->bytes) {
		program_fresh(p->world);
		return 0;
	}
	if (codec_unpack(p->world, s->bytes, s->len, why) == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: checkpoint of sequence %" PRIu64 ": %s\n", p->path,
		s->cut.seq, why);
	return -EBADMSG;
}

/* State hash of a checkpoint as this build reads it: without what only newer
 * builds know, so that builds of one level can be compared. */
static bool checkpoint_hash(struct replay *p, const struct history_state *s, uint64_t *ret)
{
	char why[CODEC_WHY];

	world_reset(p->other, 0);
	return codec_unpack(p->other, s->bytes, s->len, why) == 0 &&
	       codec_state_hash(p->other, p->packed, LIMIT_SLOT_BYTES, ret) == 0;
}

static void check_state(struct replay *p)
{
	struct history_state s;
	uint64_t recorded, computed;

	if (p->h.position < p->next_checkpoint)
		return;
	if (history_checkpoint_here(&p->h, &s) == HISTORY_OK && s.bytes &&
	    checkpoint_hash(p, &s, &recorded) &&
	    codec_state_hash(p->world, p->packed, LIMIT_SLOT_BYTES, &computed) == 0) {
		p->checked++;
		if (recorded != computed) {
			p->divergences++;
			printf("divergence event=%" PRIu64 " machine=- effect=- field=state: "
			       "the checkpoint holds another state\n", s.cut.seq);
		}
	}
	p->h.position++;
	p->next_checkpoint = history_next_checkpoint(&p->h);
	p->h.position--;
}

static double seconds(const struct replay *p)
{
	return (double)(mono_now_ns() - p->started_ns) / 1e9;
}

static void show_progress(const struct replay *p)
{
	if (p->progress && p->f.events % PROGRESS == 0)
		fprintf(stderr, "\r%" PRIu64 " events, sequence %" PRIu64, p->f.events,
			world_lane_const(p->world)->seq);
}

static int pass_gap(struct replay *p)
{
	struct history_state s;
	int x;

	p->gaps++;
	x = history_resume(&p->h, &s);
	if (x != HISTORY_OK)
		return x;
	fprintf(stderr, "holdfast: records are missing behind sequence %" PRIu64
		"; going on at the checkpoint of %" PRIu64 ", which nothing verifies\n",
		world_lane_const(p->world)->seq, s.cut.seq);
	return load(p, &s);
}

static int damaged(const struct replay *p)
{
	fprintf(stderr, "holdfast: %s: the log does not hold together behind sequence %" PRIu64
		"; replay ends there\n", p->path, world_lane_const(p->world)->seq);
	return -EBADMSG;
}

/* 0 at the end, or negative. */
static int run(struct replay *p)
{
	while (world_lane_const(p->world)->seq < p->to) {
		struct history_record rec;
		int x;

		check_state(p);
		x = history_next(&p->h, &rec);
		if (x == HISTORY_E_END)
			return 0;
		if (x == HISTORY_E_GAP) {
			x = pass_gap(p);
			if (x == HISTORY_E_END)
				return 0;
			if (x == 0)
				continue;
		}
		if (x == HISTORY_E_DAMAGED)
			return damaged(p);
		if (x < 0)
			return x;
		if (follow_record(&p->f, &rec.h, rec.position, rec.payload) == FOLLOW_E_DAMAGED)
			return damaged(p);
		show_progress(p);
	}
	return 0;
}

static int start(struct replay *p)
{
	struct history_state s;
	int r;

	p->world = world_new(&program);
	p->other = world_new(&program);
	p->packed = malloc(LIMIT_SLOT_BYTES);
	r = p->world && p->other && p->packed ? follow_init(&p->f, p->world) : -ENOMEM;
	if (r < 0)
		return r;
	p->f.differs = differs;
	p->f.user = p;
	p->progress = isatty(STDERR_FILENO) == 1;
	r = history_begin(&p->h, &s);
	if (r == HISTORY_E_END)
		return 0;
	if (r == HISTORY_E_DAMAGED)
		return damaged(p);
	if (r == HISTORY_OK)
		r = load(p, &s);
	p->started_ns = mono_now_ns();
	return r == 0 ? run(p) : r;
}

static int summary(const struct replay *p, int r)
{
	double s = seconds(p);

	if (p->progress)
		fprintf(stderr, "\r");
	if (p->verify)
		printf("states compared: %" PRIu64 "\n", p->checked);
	printf("replay: events=%" PRIu64 " seconds=%.3f rate=%.0f/s divergences=%" PRIu64 "\n",
	       p->f.events, s, s > 0 ? (double)p->f.events / s : 0.0, p->divergences);
	return r == 0 && p->divergences == 0 ? 0 : 1;
}

int cmd_replay(int argc, char **argv)
{
	struct replay p = { 0 };
	int r = arguments(argc, argv, &p);

	if (r)
		return r;
	if (history_open(p.path, &p.h) < 0)
		return 1;
	p.started_ns = mono_now_ns();
	r = start(&p);
	if (r < 0 && r != -EBADMSG)
		fprintf(stderr, "holdfast: %s: replay failed (%s)\n", p.path, strerror(-r));
	r = summary(&p, r);
	if (p.f.pending)
		follow_deinit(&p.f);
	world_free(p.world);
	world_free(p.other);
	free(p.packed);
	history_close(&p.h);
	return r;
}
