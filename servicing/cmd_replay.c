/* `holdfast replay`: runs the log again from the oldest state there is.
 *
 * Every turn is stepped when its confirm record is met, and its effects are
 * compared with the recorded ones. With --verify the state itself is compared
 * wherever the archive holds a checkpoint made by a build of the same schema.
 * Where records are missing, replay goes on at the next checkpoint. What has to
 * go back as well (--step, --diff, --break) works on a tape: replay_tape.c. */
#include "servicing/commands.h"
#include "servicing/decode.h"
#include "servicing/expr.h"
#include "servicing/guard.h"
#include "servicing/history.h"
#include "servicing/options.h"
#include "servicing/registry.h"
#include "servicing/replay_tape.h"
#include "servicing/show.h"

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

enum mode { MODE_RUN, MODE_STEP, MODE_DIFF, MODE_BREAK, MODE_BENCH };

struct replay {
	const char *path, *until_text, *show;
	bool verify, all, progress, reached;
	enum mode mode;
	uint64_t to, a, b, fill;
	struct expr *until;
	struct history h;
	struct follower f;
	struct world *world;
	struct world *other;      /* a checkpoint, to compare with */
	uint64_t divergences, gaps, checked;
	uint64_t next_checkpoint;
	uint8_t *packed;
	uint64_t started_ns;
};

static bool number(const char *name, const char *text, uint64_t most, uint64_t *ret)
{
	unsigned long long n;

	if (command_number("replay", name, text, most, &n))
		return false;
	*ret = n;
	return true;
}

/* One of the options that choose what is done over a tape. */
static bool take_mode(struct replay *p, int argc, char **argv, enum mode mode)
{
	if (p->mode != MODE_RUN) {
		fprintf(stderr, "holdfast: replay: give only one of --step, --diff, --break and "
			"--seek-bench\n");
		return false;
	}
	p->mode = mode;
	if (mode == MODE_STEP)
		return true;
	if (mode != MODE_DIFF)
		return number(mode == MODE_BREAK ? "break" : "seek-bench", optarg, UINT64_MAX, &p->a);
	if (optind >= argc) {
		fprintf(stderr, "holdfast: replay: --diff wants the numbers of two events\n");
		return false;
	}
	return number("diff", optarg, UINT64_MAX, &p->a) &&
	       number("diff", argv[optind++], UINT64_MAX, &p->b);
}

static bool take_option(struct replay *p, int argc, char **argv, int option)
{
	switch (option) {
	case 's':
		p->path = optarg;
		return true;
	case 'v':
		p->verify = true;
		return true;
	case 'A':
		p->all = true;
		return true;
	case 't':
		return number("to", optarg, UINT64_MAX, &p->to);
	case 'u':
		p->until_text = optarg;
		return true;
	case 'p':
		p->show = optarg;
		return true;
	case 'S':
		return take_mode(p, argc, argv, MODE_STEP);
	case 'D':
		return take_mode(p, argc, argv, MODE_DIFF);
	case 'B':
		return take_mode(p, argc, argv, MODE_BREAK);
	case 'q':
		return take_mode(p, argc, argv, MODE_BENCH);
	case 'f':
		return number("fill", optarg, UINT8_MAX, &p->fill);
	default:
		return false;
	}
}

/* An expression or a path that cannot be: one line. */
static bool compile(struct replay *p)
{
	struct expr_error why;
	struct expr_path path;

	if (p->until_text) {
		p->until = expr_parse(&program, p->until_text, &why);
		if (!p->until) {
			fprintf(stderr, "holdfast: --until: column %u: %s\n", why.column, why.text);
			return false;
		}
	}
	if (p->show && strcmp(p->show, "all") != 0 &&
	    !expr_path(&program, p->show, &path, &why)) {
		fprintf(stderr, "holdfast: --show: column %u: %s\n", why.column, why.text);
		return false;
	}
	return true;
}

static int arguments(int argc, char **argv, struct replay *p)
{
	int option;

	p->to = UINT64_MAX;
	while ((option = command_option(argc, argv)) != -1) {
		if (!take_option(p, argc, argv, option))
			return 2;
	}
	if (!p->path && optind < argc)
		p->path = argv[optind++];
	if (!p->path || optind != argc)
		return command_usage(argv[0]);
	return compile(p) ? 0 : 2;
}

static bool differs(void *user, const struct divergence *d)
{
	struct replay *p = user;
	char name[32];

	if (p->divergences++ < SHOWN || p->all)
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

	world_reset(p->world, (uint8_t)p->fill);
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

	world_reset(p->other, (uint8_t)p->fill);
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

/* An archived checkpoint must be the one that the log tells of. */
static void check_told(struct replay *p, const struct history_record *rec)
{
	if (!p->verify || !history_contradicts(&p->h, rec))
		return;
	p->divergences++;
	printf("divergence event=%" PRIu64 " machine=- effect=- field=state: the archived checkpoint "
	       "is not the one that the log tells of\n", rec->h.seq);
}

/* An exported file tells the hash of the state it ends with. */
static void check_end(struct replay *p)
{
	uint64_t recorded, computed;

	if (!p->verify || !history_end_hash(&p->h, &recorded) ||
	    codec_state_hash(p->world, p->packed, LIMIT_SLOT_BYTES, &computed) < 0)
		return;
	p->checked++;
	if (recorded == computed)
		return;
	p->divergences++;
	printf("divergence event=%" PRIu64 " machine=- effect=- field=state: the file ends with "
	       "another state\n", world_lane_const(p->world)->seq);
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
	fprintf(stderr, "holdfast: %s: %s, behind event %" PRIu64 "; replay ends there\n", p->path,
		history_why(&p->h), world_lane_const(p->world)->seq);
	return -EBADMSG;
}

static int beyond(const struct replay *p)
{
	fprintf(stderr, "holdfast: %s: event %" PRIu64 " raised the level above what this build "
		"serves; use the holdfast that served it\n", p->path,
		world_lane_const(p->world)->seq);
	return -EBADMSG;
}

/* Is this the place that was asked for? */
static bool arrived(struct replay *p)
{
	p->reached = p->until ? expr_true(p->until, p->world)
			      : world_lane_const(p->world)->seq >= p->to;
	return p->reached || world_lane_const(p->world)->seq >= p->to;
}

/* 0 at the end, or negative. */
static int run(struct replay *p)
{
	while (!arrived(p)) {
		struct history_record rec;
		int x;

		check_state(p);
		x = history_next(&p->h, &rec);
		if (x == HISTORY_E_END) {
			check_end(p);
			return 0;
		}
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
		check_told(p, &rec);
		x = follow_record(&p->f, &rec.h, rec.position, rec.payload);
		if (x == FOLLOW_E_DAMAGED)
			return damaged(p);
		if (x == FOLLOW_E_LEVEL)
			return beyond(p);
		show_progress(p);
	}
	return 0;
}

static int begin(void *user)
{
	struct replay *p = user;
	struct history_state s;
	int r = history_begin(&p->h, &s);

	if (r == HISTORY_E_END)
		return 0;
	if (r == HISTORY_E_DAMAGED)
		return damaged(p);
	if (r == HISTORY_OK)
		r = load(p, &s);
	p->started_ns = mono_now_ns();
	return r == 0 ? run(p) : r;
}

static int start(struct replay *p)
{
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
	r = guard_run(begin, p);
	if (r == GUARD_E_FACT) {
		fprintf(stderr, "holdfast: %s: event %" PRIu64 " leads to what no owner would have "
			"written; the log was changed, or this build cannot run it\n", p->path,
			world_lane_const(p->world)->seq);
		return -EBADMSG;
	}
	return r;
}

static void show_state(const struct replay *p)
{
	const struct lane_state *l = world_lane_const(p->world);
	struct expr_error why;
	struct expr_path path;
	char value[SHOW_VALUE];

	printf("behind event %" PRIu64 ": time %" PRIu64 ".%06" PRIu64 " epoch %u\n", l->seq,
	       l->time_ns / 1000000000u, l->time_ns / 1000 % 1000000, l->epoch);
	if (!p->show)
		return;
	if (!expr_path(&program, p->show, &path, &why))
		show_all(p->world, NULL, stdout);
	else if (path.what == PATH_MACHINE)
		show_all(p->world, path.desc, stdout);
	else if (path.what == PATH_INSTANCE)
		show_instance(p->world, path.desc, path.index, stdout);
	else
		printf("%s %s\n", p->show, show_path(p->world, &path, value));
}

/* What was asked for and is not there: told, and -ENOENT. */
static int missed(const struct replay *p)
{
	uint64_t seq = world_lane_const(p->world)->seq;

	if (p->until)
		fprintf(stderr, "holdfast: %s: it is not true up to event %" PRIu64 "%s\n", p->path,
			seq, p->to == UINT64_MAX ? ", the last one" : "");
	else
		fprintf(stderr, "holdfast: %s: event %" PRIu64 " is beyond the end; the last one is "
			"%" PRIu64 "\n", p->path, p->to, seq);
	return -ENOENT;
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

static int replay(struct replay *p)
{
	int r;

	if (history_open(p->path, &p->h) < 0)
		return 1;
	p->started_ns = mono_now_ns();
	r = start(p);
	if (r < 0 && r != -EBADMSG)
		fprintf(stderr, "holdfast: %s: replay failed (%s)\n", p->path, strerror(-r));
	if (r == 0 && !p->reached && (p->until || p->to != UINT64_MAX))
		r = missed(p);
	else if (r == 0 && (p->reached || p->show))
		show_state(p);
	r = summary(p, r);
	if (p->f.pending)
		follow_deinit(&p->f);
	world_free(p->world);
	world_free(p->other);
	free(p->packed);
	history_close(&p->h);
	return r;
}

int cmd_replay(int argc, char **argv)
{
	struct replay p = { 0 };
	int r = arguments(argc, argv, &p);

	if (r == 0) {
		switch (p.mode) {
		case MODE_STEP:
			r = replay_step(p.path);
			break;
		case MODE_DIFF:
			r = replay_diff(p.path, p.a, p.b);
			break;
		case MODE_BREAK:
			r = replay_break(p.path, p.a);
			break;
		case MODE_BENCH:
			r = replay_seek_bench(p.path, p.a);
			break;
		case MODE_RUN:
			r = replay(&p);
		}
	}
	expr_free(p.until);
	return r;
}
