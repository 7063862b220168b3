/* Faults on purpose. A change that is planted in a machine's state stands for a
 * bug that computes it. The process's own; nothing of it is saved. */
#include "servicing/badbuild.h"

#if HOLDFAST_SABOTAGE

#include "devices/hands.h"
#include "engine/custody.h"
#include "engine/fact.h"
#include "statemachines/channel.h"
#include "statemachines/machines.h"
#include "statemachines/scsi.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LEAK_BYTES = 4 << 10,         /* more, and a follower is slower than its owner */
	OWNER_LEAK_BYTES = 32 << 10,
};

static struct {
	bool owner_only;
	char kind[16];
	unsigned long turn, seen;
	bool planted, told;
} plan;

/* @FILE: what stands in its first line now, so that one VM's successors differ. */
static const char *text_of(const char *text)
{
	static char line[64];
	FILE *f = text && *text == '@' ? fopen(text + 1, "re") : NULL;

	if (!f)
		return text;
	text = fgets(line, sizeof(line), f);
	fclose(f);
	return text;
}

/* Before main(): a paravisor opens nothing. */
static __attribute__((constructor)) void read_plan(void)
{
	const char *text = text_of(getenv("HOLDFAST_BADBUILD"));

	plan.turn = 1;
	if (!text || sscanf(text, "%15[a-z]@%lu", plan.kind, &plan.turn) < 1)
		return;
	plan.owner_only = strstr(text, ",owner") != NULL;
}

/* When it begins to be bad: what is found later is counted from here. */
static void tell(const struct world *w)
{
	if (!plan.told)
		fprintf(stderr, "badbuild: %s at turn %llu, %llu ns\n", plan.kind,
			(unsigned long long)world_lane_const(w)->seq,
			(unsigned long long)mono_now_ns());
	plan.told = true;
}

static void stop_for_ever(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&m);
	pthread_mutex_lock(&m);
}

static void loop_for_ever(void)
{
	for (volatile unsigned n = 0;; n++)
		;
}

static void leak(void)
{
	static void *volatile last;    /* or the compiler sees that nobody wants it */
	size_t bytes = plan.owner_only ? OWNER_LEAK_BYTES : LEAK_BYTES;

	last = malloc(bytes);
	if (last)
		memset(last, 1, bytes);
}

/* A live request, or NULL. */
static struct scsi *some_request(const struct world *w)
{
	for (uint16_t i = 0; i < LIMIT_REQUESTS; i++) {
		const struct scsi *m = world_at(w, KIND_scsi, i);

		if (m)
			return (struct scsi *)(uintptr_t)m;
	}
	return NULL;
}

static struct channel *some_channel(const struct world *w)
{
	for (uint16_t i = 1; i < LIMIT_CHANNELS; i++) {
		const struct channel *m = world_at(w, KIND_channel, i);

		if (m && m->sm.state == channel_OPEN)
			return (struct channel *)(uintptr_t)m;
	}
	return NULL;
}

/* Once, as soon as there is something to change. */
static void plant(const struct world *w)
{
	struct scsi *request = some_request(w);
	struct channel *channel = some_channel(w);

	if (plan.planted)
		return;
	if (strcmp(plan.kind, "wrong") == 0 && request) {
		request->packet[60] ^= 1;
		request->transaction ^= 1;
		plan.planted = true;
	} else if (strcmp(plan.kind, "differ") == 0 && channel) {
		channel->target_vp ^= 1;
		plan.planted = true;
	} else if (strcmp(plan.kind, "scribble") == 0 && channel) {
		memset((uint8_t *)channel + sizeof(channel->sm), 0x5a, 48);
		plan.planted = true;
	}
}

static const struct { const char *kind; void (*act)(void); } acts[] = {
	{ "crash", abort }, { "hang", loop_for_ever }, { "stuck", stop_for_ever }, { "leak", leak },
};

static void act(const struct world *w)
{
	if (plan.seen < plan.turn)
		return;
	for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
		if (strcmp(plan.kind, acts[i].kind) != 0)
			continue;
		tell(w);
		acts[i].act();
	}
	plant(w);
	if (plan.planted)
		tell(w);
}

void badbuild_turn(struct world *w, bool owner)
{
	if (plan.owner_only && !owner)
		return;
	plan.seen++;
	act(w);
}

bool badbuild_forgets(void)
{
	const char *how = getenv("HOLDFAST_SABOTAGE");

	return how && strcmp(how, "rebuild") == 0;
}

void badbuild_forget(struct hands *h, const struct world *w)
{
	if (badbuild_forgets())
		hands_rebuild(h, w);
}

#else

/* An ordinary build has none: this unit holds the switch alone. */
_Static_assert(HOLDFAST_SABOTAGE == 0, "-Dsabotage");

#endif
