/* The toys' tables, and worlds of them filled at random. */
#include "persist/toys.h"

#include "engine/fact.h"

#include <string.h>

static const struct rec_field toy_fields[] = {
	{ "number", "", offsetof(struct rec_toy, number), 1, REC_U64 },
	{ "pair", "", offsetof(struct rec_toy, pair), 2, REC_U32 },
};
const struct rec_desc rec_desc_toy = {
	.name = "toy", .size = sizeof(struct rec_toy), .n_fields = 2, .tail = REC_BYTES,
	.fields = toy_fields,
};

static const struct sm_desc *const machines[LIMIT_KINDS] = {
	[KIND_LAMP] = &lamp_sm, [KIND_BOX] = &box_sm,
};
static const struct effect_desc effects[] = {
	[TOY_EFFECT] = { TOY_EFFECT, 1, FOLLOW_SWALLOW, &rec_desc_toy, "SHINE", "" },
};
const struct registry toys = { machines, effects, ARRAY_LEN(effects), 2 };

uint64_t toy_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> (*seed & 63);
}

static sm_blob random_blob(struct world *w, uint64_t *seed)
{
	uint8_t bytes[700];
	size_t len = toy_random(seed) % (toy_random(seed) % 4 ? 20 : sizeof(bytes));

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)toy_random(seed);
	return toy_random(seed) % 3 ? 0 : world_blob_new(w, bytes, len);
}

/* One event of a lamp that was put off, with a random payload. */
static sm_blob deferred_event(struct world *w, uint64_t *seed)
{
	struct { struct sm_message m; uint64_t payload; } e = {
		.m = { .event = world_registry(w)->machines[KIND_LAMP]->events[0].code, .len = 8 },
		.payload = toy_random(seed),
	};

	return world_blob_new(w, &e, sizeof(e));
}

static void fill_lamp(struct world *w, uint16_t index, uint64_t *seed)
{
	struct lamp *l = world_place(w, KIND_LAMP, index, (uint32_t)toy_random(seed) | 1);

	fact(l);
	l->sm.state = toy_random(seed) & 1 ? lamp_LIT : lamp_DARK;
	l->power = l->sm.state == lamp_LIT;
	l->sm.deferred = l->power ? deferred_event(w, seed) : 0;
	l->watt = toy_random(seed);
	l->hue = (uint8_t)toy_random(seed);
	l->presses = (uint32_t)toy_random(seed);
	l->dimmed = (uint32_t)toy_random(seed);
	for (unsigned i = 0; i < 3; i++)
		l->seen[i] = (uint16_t)toy_random(seed);
	l->label = random_blob(w, seed);
	l->notes[0] = random_blob(w, seed);
	l->notes[1] = random_blob(w, seed);
}

static void fill_box(struct world *w, uint16_t index, uint64_t *seed)
{
	struct box *b = world_place(w, KIND_BOX, index, (uint32_t)toy_random(seed) | 1);

	fact(b);
	b->sm.state = toy_random(seed) & 1 ? box_FULL : box_EMPTY;
	b->a = toy_random(seed);
	b->b = toy_random(seed);
	b->c = (uint32_t)toy_random(seed);
	b->d = (uint32_t)toy_random(seed);
	b->e = (uint16_t)toy_random(seed);
	b->g = toy_random(seed) & 1;
	b->i = toy_random(seed);
	b->j = toy_random(seed);
	for (unsigned i = 0; i < sizeof(b->cdb); i++)
		b->cdb[i] = (uint8_t)toy_random(seed);
}

void toy_fill(struct world *w, uint64_t seed, unsigned lamps, unsigned boxes)
{
	struct lane_state *l = world_lane(w);
	const char *why;

	seed = seed * 0x9E3779B97F4A7C15ull | 1;
	*l = (struct lane_state){ .seq = toy_random(&seed), .time_ns = toy_random(&seed),
				  .epoch = (uint32_t)toy_random(&seed), .level = 1,
				  .ignored = toy_random(&seed), .rejected = toy_random(&seed) };
	for (unsigned i = 0; i < SOURCES; i++)
		l->source_pos[i] = toy_random(&seed) & 1 ? toy_random(&seed) : 0;
	for (uint16_t i = 0; i < lamps; i++) {
		if (toy_random(&seed) % 4)
			fill_lamp(w, i, &seed);
		else
			world_set_generation(w, KIND_LAMP, i, (uint32_t)toy_random(&seed) % 3);
	}
	for (uint16_t i = 0; i < boxes; i++)
		fill_box(w, i, &seed);
	fact(world_loaded(w, &why));
}
