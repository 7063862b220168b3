/* engine/test_toy.h - a registry of one machine, for the engine's own tests. */
#ifndef ENGINE_TEST_TOY_H
#define ENGINE_TEST_TOY_H

#include "engine/fact.h"
#include "engine/world.h"

#include <string.h>

struct rec_amount {
	uint32_t amount, reserved;
};
static const struct rec_desc rec_desc_none = { .name = "none" };
static const struct rec_field amount_fields[] = { { "amount", "", 0, 1, REC_U32 },
						  { "reserved", "", 4, 1, REC_U32 } };
static const struct rec_desc rec_desc_amount = { "amount", 8, 2, REC_BYTES, amount_fields };

enum { TOY_KIND = 3, TOY_COUNTED = 1 };

#define SM_DEF "engine/test_toy.def"
#define SM_PREFIX toy
#include "engine/sm_declare.h"

static bool total_fits(const void *self)
{
	return ((const struct toy *)self)->total < 1u << 30;
}

static bool is_small(const struct sm_cx *cx)
{
	return ((const struct rec_amount *)cx->p)->amount <= 1000;
}

static bool has_room(const struct sm_cx *cx)
{
	return sm_room(cx, TOY_KIND) > 0;
}

/* A bug of the machine: it is called when this amount is added. */
static void (*toy_bug)(void);
static uint32_t toy_bug_amount;

static void add(struct sm_cx *cx)
{
	struct toy *t = cx->self;
	const struct rec_amount *a = cx->p;
	struct rec_amount out = { .amount = (uint32_t)(t->total += a->amount) };

	if (toy_bug && a->amount == toy_bug_amount)
		toy_bug();
	memmove(t->last, t->last + 1, sizeof(t->last) - sizeof(t->last[0]));
	t->last[3] = (uint16_t)a->amount;
	t->gold++;
	sm_blob_append(cx, &t->ingot, cx->tail, cx->tail_len);
	sm_blob_append(cx, &t->list, cx->tail, cx->tail_len);
	sm_effect(cx, TOY_COUNTED, &out, cx->tail, cx->tail_len);
}

static void split(struct sm_cx *cx)
{
	struct toy *t = cx->self;
	struct sm_ref other = sm_spawn(cx, TOY_KIND);
	struct rec_amount half = { .amount = (uint32_t)(t->total / 2) };

	sm_post(cx, other, toy_EV_TURN_ON, NULL, NULL, 0);
	sm_post(cx, other, toy_EV_ADD, &half, NULL, 0);
}

static void end(struct sm_cx *cx)
{
	sm_retire(cx);
}

static void raise_level(struct sm_cx *cx)
{
	sm_raise_level(cx, ((const struct rec_amount *)cx->p)->amount);
}

static void count_cure(struct sm_cx *cx)
{
	((struct toy *)cx->self)->refused += 100;
}

static void count_refusal(struct sm_cx *cx)
{
	((struct toy *)cx->self)->refused++;
}

#define SM_DEF "engine/test_toy.def"
#define SM_PREFIX toy
#define SM_KIND TOY_KIND
#define SM_CAPACITY 70
#define SM_DOC "A tap."
#define SM_REJECT_WITH count_refusal
#define SM_QUARANTINE toy_EV_CURE
#include "engine/sm_define.h"

static const struct sm_desc *const toy_machines[LIMIT_KINDS] = { [TOY_KIND] = &toy_sm };
static const struct effect_desc toy_effects[] = {
	[TOY_COUNTED] = { 1, 1, FOLLOW_SWALLOW, &rec_desc_amount, "COUNTED", "" },
};
static const struct registry toy_registry = { toy_machines, toy_effects, 2, 2 };

/* One outside event, the next one. */
static inline struct turn toy_turn(struct world *w, uint16_t index, uint16_t code, uint32_t amount,
				   const char *tail)
{
	uint8_t payload[256];
	struct rec_amount a = { .amount = amount };
	struct event ev = { .seq = world_lane(w)->seq + 1, .time_ns = world_lane(w)->time_ns + 10,
			    .epoch = 1, .kind = TOY_KIND, .index = index, .code = code,
			    .payload = payload };

	memcpy(payload, &a, sizeof(a));
	memcpy(payload + sizeof(a), tail, strlen(tail));
	ev.len = (uint32_t)(sizeof(a) + strlen(tail));
	return world_turn(w, &ev);
}

#endif
