/* Lines for people and for tests/soak. */
#include "sim/record.h"

#include "sim/moment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static double rate(const struct run_result *r, uint64_t ns)
{
	return ns ? (double)r->events * 1e9 / (double)ns : 0;
}

static uint64_t kills(const struct run_result *r)
{
	return r->fault[FAULT_KILL_TURN] + r->fault[FAULT_KILL_EFFECT] +
	       r->fault[FAULT_KILL_CALL] + r->fault[FAULT_KILL_RECOVERY];
}

static void tell_json(FILE *out, const struct run_options *o, const struct run_result *r)
{
	fprintf(out,
		"{\"seed\":%" PRIu64 ",\"ok\":%s,\"hostile\":%s,\"events\":%" PRIu64
		",\"steps\":%" PRIu64 ",\"virtual_ms\":%.3f,\"cpu_ms\":%.3f,\"kills\":%" PRIu64,
		o->seed, r->failed ? "false" : "true", o->hostile ? "true" : "false", r->events,
		r->steps, (double)r->virtual_ns / 1e6, (double)r->cpu_ns / 1e6, kills(r));
	fprintf(out,
		",\"recoveries\":%" PRIu64 ",\"compared\":%" PRIu64 ",\"predicates\":%" PRIu64
		",\"requests\":%" PRIu64 ",\"verified\":%" PRIu64 ",\"done\":%" PRIu64
		",\"refused\":%" PRIu64 ",\"cuts\":%" PRIu64 ",\"counted\":%" PRIu64
		",\"archived\":%" PRIu64 ",\"archive_verified\":%" PRIu64,
		r->recoveries, r->compared, r->checked, r->completions, r->verified, r->reports[0],
		r->reports[1], r->cuts, r->counted, r->archived, r->archive_verified);
	for (int i = 0; i < FAULTS; i++)
		fprintf(out, ",\"%s\":%" PRIu64, fault_name((enum fault)i), r->fault[i]);
	if (r->failed) {
		fputs(",\"why\":\"", out);
		for (const char *c = r->why; *c; c++)
			fputc(*c == '"' || *c == '\\' || *c < ' ' ? '\'' : *c, out);
		fputc('"', out);
	}
	fputs("}\n", out);
}

/* What was left out of `all`, or what is left, whichever is shorter. */
static void tell_faults(FILE *out, const struct run_options *o)
{
	unsigned n = 0, on = (unsigned)__builtin_popcountll(o->faults);
	bool few = on <= FAULTS / 2;

	if (on == 0)
		fputs(" --faults none", out);
	for (int i = 0; on && i < FAULTS; i++)
		if ((o->faults >> i & 1) == few)
			fprintf(out, "%s%s%s", n++ ? "," : " --faults ", few ? "" : "-",
				fault_name((enum fault)i));
}

static void tell_command(FILE *out, const struct run_options *o)
{
	fprintf(out, "holdfast sim --seed %" PRIu64 " --events %" PRIu64, o->seed, o->events);
	tell_faults(out, o);
	if (o->plan_limit)
		fprintf(out, " --acts %" PRIu64, o->plan_limit);
	if (o->hostile)
		fputs(" --hostile", out);
	if (o->disk_ms)
		fprintf(out, " --disk-ms %" PRIu64, o->disk_ms);
	if (o->guest_words)
		fprintf(out, " --guest '%s'", o->guest_words);
	for (unsigned i = 0; i < o->n_cuts; i++)
		fprintf(out, " --cut %" PRIu64, o->cut[i]);
	for (unsigned i = 0; moment_text(i); i++)
		fprintf(out, " --when '%s'", moment_text(i));
	fputc('\n', out);
}

void record_tell(const struct run_options *o, const struct run_result *r, bool json)
{
	if (json) {
		tell_json(stdout, o, r);
	} else if (r->failed) {
		printf("FAILED after %" PRIu64 " events: %s\n", r->events, r->why);
		tell_command(stdout, o);
	} else {
		printf("seed=%" PRIu64 " events=%" PRIu64 " rate=%.0f/s per_s=%.0f speedup=%.1f kills=%" PRIu64
		       " replaced=%" PRIu64 " recoveries=%" PRIu64 " compared=%" PRIu64
		       " requests=%" PRIu64 " verified=%" PRIu64 " cuts=%" PRIu64 "\n",
		       o->seed, r->events, rate(r, r->cpu_ns), rate(r, r->virtual_ns),
		       r->cpu_ns ? (double)r->virtual_ns / (double)r->cpu_ns : 0, kills(r),
		       r->fault[FAULT_UPGRADE] + r->fault[FAULT_DOWNGRADE] +
			       r->fault[FAULT_REPLACE],
		       r->recoveries, r->compared, r->completions, r->verified, r->cuts);
	}
	fflush(stdout);
}

int record_add(const char *path, const struct run_options *o, const struct run_result *r)
{
	FILE *out = path ? fopen(path, "ae") : NULL;

	if (!path)
		return 0;
	if (out)
		tell_json(out, o, r);
	if (out && fclose(out) == 0)
		return 0;
	fprintf(stderr, "holdfast: sim: --record %s: %s\n", path, strerror(errno));
	return 1;
}
