/* persist/toys.h - two toy machines, their registry and random worlds; tests only. */
#ifndef PERSIST_TOYS_H
#define PERSIST_TOYS_H

#include "engine/world.h"

#define SM_DEF "persist/toy_lamp.def"
#define SM_PREFIX lamp
#include "engine/sm_declare.h"
#define SM_DEF "persist/toy_box.def"
#define SM_PREFIX box
#include "engine/sm_declare.h"

enum { KIND_LAMP = 3, KIND_BOX = 7, LAMPS = 64, BOXES = 1024, TOY_EFFECT = 1 };

struct rec_toy {
	uint64_t number;
	uint32_t pair[2];
};
extern const struct rec_desc rec_desc_toy;

/* Machines and effects of a build that serves level 2. */
extern const struct registry toys;

/* A small generator; every seed gives the same numbers everywhere. */
uint64_t toy_random(uint64_t *seed);

/* Fills a world that was just reset. */
void toy_fill(struct world *w, uint64_t seed, unsigned lamps, unsigned boxes);

#endif
