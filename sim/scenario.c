/* The fixed scenario and its deaths. A run up to the point of its death is the
 * run without one: same seed, same draws; so each point that was counted is
 * met. */
#include "sim/scenario.h"

#include "sim/one.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const guest[] = {
	"load", "channels=2", "depth=32", "bs=4096", "offset=512", "churn=2", "flush=50", "ring=32K",
	"ops=400", "region=640K", "lost=60", "poison=6", "spoil",
};

unsigned scenario_words(char (*words)[48])
{
	unsigned n = 0;

	for (; n < ARRAY_LEN(guest); n++)
		snprintf(words[n], sizeof(words[n]), "%s", guest[n]);
	return n;
}

struct rec_service_ask scenario_ask(void)
{
	return (struct rec_service_ask){ .voting = 16, .probation_ns = 5000000 };
}

bool scenario_kills(enum point at)
{
	if (at == POINT_CALL || ++result.scenario.points != options.kill_at)
		return false;
	result.scenario.killed = true;
	result.scenario.in_effect = at == POINT_EFFECT;
	result.scenario.event = result.events;
	result.scenario.in_flight = disk_under_way();
	return true;
}

/* ---- all of its deaths ------------------------------------------------------------ */

struct deaths {
	uint64_t points, tried, in_effect, in_flight, most, recovered;
	uint64_t next;                /* of the points to choose from */
	struct chance chance;
};

/* Evenly over all points: one of each of @count stretches. */
static uint64_t choose(struct deaths *d, uint64_t count, uint64_t from)
{
	uint64_t n = d->next++, begin, end;

	if (from)
		return from + n;
	begin = d->points * n / count;
	end = d->points * (n + 1) / count;
	return 1 + begin + chance_below(&d->chance, end > begin ? end - begin : 1);
}

/* 0, or 1 after telling why not. */
static int add(const char *path, const struct run_options *o, const struct deaths *d,
	       const struct run_result *r)
{
	FILE *out = path ? fopen(path, "ae") : NULL;

	if (!path)
		return 0;
	if (out)
		fprintf(out,
			"{\"scenario\":\"soft\",\"seed\":%" PRIu64 ",\"point\":%" PRIu64 ",\"of\":%" PRIu64
			",\"at\":\"%s\",\"event\":%" PRIu64 ",\"in_flight\":%" PRIu64 ",\"ok\":%s}\n",
			o->seed, o->kill_at, d->points, r->scenario.in_effect ? "effect" : "turn",
			r->scenario.event, r->scenario.in_flight, r->failed ? "false" : "true");
	if (out && fclose(out) == 0)
		return 0;
	fprintf(stderr, "holdfast: sim: --record %s: %s\n", path, strerror(errno));
	return 1;
}

static bool failed(const struct run_options *o, const struct run_result *r, const char *tail)
{
	const char *why = r->why;

	if (!r->failed && o->kill_at && !r->scenario.killed)
		why = "the point was not met";
	else if (!r->failed && o->kill_at && r->recoveries < 2)
		why = "nobody took over";
	else if (!r->failed)
		return false;
	printf("FAILED at point %" PRIu64 ", after %" PRIu64 " events: %s\n"
	       "holdfast sim --seed %" PRIu64 " --kill-points 1 --kill-from %" PRIu64 "\n",
	       o->kill_at, r->events, why, o->seed, o->kill_at);
	fputs(tail, stderr);
	return true;
}

static bool one_death(struct run_options *o, struct deaths *d, const char *record)
{
	static char tail[ONE_TAIL];
	struct run_result r;

	run_one(o, &r, tail);
	if (add(record, o, d, &r) || failed(o, &r, tail))
		return true;
	d->tried++;
	d->in_effect += r.scenario.in_effect;
	d->in_flight += r.scenario.in_flight > 0;
	d->recovered += r.recoveries - 1;
	if (r.scenario.in_flight > d->most)
		d->most = r.scenario.in_flight;
	return false;
}

bool scenario_run(const struct run_options *given, uint64_t count, uint64_t from,
		  const char *record)
{
	static char tail[ONE_TAIL];
	struct run_options o = *given;
	struct deaths d = { .chance = { given->seed } };
	struct run_result r;
	bool bad;

	o.scenario = true;
	o.state_dir = NULL;
	o.faults = UINT64_C(1) << FAULT_DISK_CANCEL;
	run_one(&o, &r, tail);
	bad = failed(&o, &r, tail);
	d.points = r.scenario.points;
	o.state_dir = count == 1 ? given->state_dir : NULL;
	while (!bad && d.next < count) {
		o.kill_at = choose(&d, count, from);
		if (o.kill_at > d.points)
			break;
		bad = one_death(&o, &d, record);
	}
	printf("kills: seed=%" PRIu64 " points=%" PRIu64 " tried=%" PRIu64 " in_effects=%" PRIu64
	       " with_requests_in_flight=%" PRIu64 " most_in_flight=%" PRIu64 " take_overs=%" PRIu64
	       " failures=%d\n", o.seed, d.points, d.tried, d.in_effect, d.in_flight, d.most,
	       d.recovered, bad);
	return bad;
}
