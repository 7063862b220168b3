/* servicing/paravisor.h - what one paravisor process holds. None of it is
 * truth: the truth is custody. */
#ifndef SERVICING_PARAVISOR_H
#define SERVICING_PARAVISOR_H

#include "engine/lane.h"
#include "servicing/expect.h"

struct hands;
struct loop;

struct paravisor {
	struct custody c;
	struct world *world;
	struct hands *hands;
	struct loop *loop;
	struct lane lane;
	struct follower follow;
	struct expect expect;
	unsigned slot, flip_to;
	uint32_t epoch;
	bool flip_asked;
	uint8_t fill;             /* arenas before use: 0xA5 in tests */
};

#endif
