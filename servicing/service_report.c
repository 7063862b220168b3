/* One replacement in figures. Times are milliseconds. */
#include "servicing/service_report.h"

#include "engine/fact.h"
#include "servicing/view.h"
#include "statemachines/machines.h"
#include "statemachines/servicing.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW_WAIT_MS = 1000 }; /* a guest that has nothing to do stamps none */

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

/* ---- from custody: the last planned take-over ------------------------------------ */

struct window {
	bool known;
	char build[32];
	uint32_t epoch;
	uint64_t gap_ns, inflight, owned_ns, armed_ns, vp_wait_ns, vp_stopped;
	uint64_t followed, differences;
};

static struct window last_window(const struct custody *c)
{
	uint64_t n = atomic_load(&c->stats->n_gaps), at = 0;
	struct window w = { 0 };

	for (uint64_t i = 1; i <= n && i <= ARRAY_LEN(c->stats->gap) && !w.known; i++) {
		at = (n - i) % ARRAY_LEN(c->stats->gap);
		w.known = c->stats->gap[at].reason == TAKEOVER_PLANNED;
	}
	if (!w.known)
		return w;
	snprintf(w.build, sizeof(w.build), "%.31s", c->stats->gap[at].build);
	w.epoch = c->stats->gap[at].epoch;
	w.gap_ns = c->stats->gap[at].gap_ns;
	w.inflight = c->stats->gap[at].inflight;
	w.owned_ns = c->stats->window[at].owned_ns;
	w.armed_ns = c->stats->window[at].armed_ns;
	w.vp_wait_ns = c->stats->window[at].vp_wait_ns;
	w.vp_stopped = c->stats->window[at].vp_stopped;
	w.followed = c->stats->window[at].followed;
	w.differences = c->stats->window[at].differences;
	return w;
}

/* The owner is known before its figures are: they are stamped when it serves. */
static void wait_for_window(const struct custody *c)
{
	for (unsigned i = 0; i < WINDOW_WAIT_MS; i++) {
		uint32_t epoch = OWNER_EPOCH(atomic_load(&c->h->owner));
		uint64_t n = atomic_load(&c->stats->n_gaps);

		if (n && c->stats->gap[(n - 1) % ARRAY_LEN(c->stats->gap)].epoch >= epoch)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static void add_window(cJSON *o, const struct window *w)
{
	if (!w->known)
		return;
	cJSON_AddStringToObject(o, "build", w->build);
	cJSON_AddNumberToObject(o, "epoch", w->epoch);
	cJSON_AddNumberToObject(o, "ring_service_gap_ms", ms(w->gap_ns));
	cJSON_AddNumberToObject(o, "gap_owned_ms", ms(w->owned_ns));
	cJSON_AddNumberToObject(o, "gap_armed_ms", ms(w->armed_ns));
	cJSON_AddNumberToObject(o, "inflight", (double)w->inflight);
	cJSON_AddNumberToObject(o, "vp_wait_ms", ms(w->vp_wait_ns));
	cJSON_AddNumberToObject(o, "vp_stopped", (double)w->vp_stopped);
	cJSON_AddNumberToObject(o, "events_followed", (double)w->followed);
	cJSON_AddNumberToObject(o, "differences", (double)w->differences);
}

/* ---- from the machine: phases ----------------------------------------------------- */

static const char *state_name(uint32_t code)
{
	const struct sm_state *s = sm_state_find(&servicing_sm, (uint16_t)code);

	return s ? s->name : "none";
}

/* From entering one state to entering the next of this replacement, or its end. */
static void add_phases(cJSON *o, const struct servicing *s)
{
	static const uint16_t order[] = { servicing_SPAWNING, servicing_FOLLOWING,
					  servicing_FLIPPING, servicing_PROBATION };
	cJSON *phases = cJSON_AddObjectToObject(o, "phases_ms");

	for (size_t i = 0; i + 1 < ARRAY_LEN(order); i++) {
		uint64_t from = s->entered_ns[order[i]], to = s->entered_ns[order[i + 1]];

		if (s->failed_in == order[i])
			to = s->failed_ns;
		if (from < s->started_ns || to < from)
			break;
		cJSON_AddNumberToObject(phases, state_name(order[i]), ms(to - from));
	}
}

static void add_machine(cJSON *o, const struct view *v)
{
	const struct servicing *s = world_at(v->world, KIND_servicing, 0);
	char why[512] = "";

	if (!s)
		return;
	cJSON_AddStringToObject(o, "state", state_name(s->sm.state));
	cJSON_AddNumberToObject(o, "level", world_lane_const(v->world)->level);
	cJSON_AddNumberToObject(o, "voting", (double)s->voting);
	cJSON_AddNumberToObject(o, "returns", s->returns);
	add_phases(o, s);
	if (s->failed_in == 0)
		return;
	world_blob_read(v->world, s->why, 0, why, sizeof(why) - 1);
	cJSON_AddStringToObject(o, "failed_in", state_name(s->failed_in));
	cJSON_AddStringToObject(o, "cause", why);
	cJSON_AddNumberToObject(o, "failed_after_ms", ms(s->failed_ns - s->started_ns));
}

/* ---- printing ------------------------------------------------------------------------ */

static void print_json(const struct control_reply *reply, const struct view *v)
{
	cJSON *o = cJSON_CreateObject();
	struct window w = { 0 };
	char *text;

	cJSON_AddNumberToObject(o, "status", reply->status);
	cJSON_AddStringToObject(o, "text", reply->text);
	if (v) {
		w = last_window(&v->c);
		if (reply->status == 0)
			add_window(o, &w);
		add_machine(o, v);
	}
	text = cJSON_PrintUnformatted(o);
	printf("%s\n", text);
	free(text);
	cJSON_Delete(o);
}

static void print_line(const struct view *v)
{
	struct window w = last_window(&v->c);

	if (w.known)
		printf("replaced build=%s epoch=%u gap_ms=%.3f inflight=%" PRIu64 " followed=%" PRIu64
		       " differences=%" PRIu64 "\n",
		       w.build, w.epoch, ms(w.gap_ns), w.inflight, w.followed, w.differences);
}

void service_report(const char *state_dir, const struct control_reply *reply, bool json)
{
	struct view v;
	bool seen = (json || reply->status == 0) && view_open(state_dir, &v) == 0;

	if (seen && reply->status == 0)
		wait_for_window(&v.c);
	if (json)
		print_json(reply, seen ? &v : NULL);
	else if (seen)
		print_line(&v);
	if (seen)
		view_close(&v);
	if (reply->status)
		fprintf(stderr, "holdfast: not replaced, the old one goes on: %s\n",
			reply->text[0] ? reply->text : strerror((int)reply->status));
}
