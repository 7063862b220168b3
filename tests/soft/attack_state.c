/* tests/soft/attack_state.c - every state of the bus, a channel, a GPADL and a
 * controller, and in each of them whatever a guest can send.
 *
 * A cycle has the VM for itself, without a client: it connects, climbs to a
 * state that the dice choose, sends a volley while the state lasts, and leaves by
 * closing, unloading, or connecting once more. Nothing is waited for but what a
 * climb needs, so that the volley meets the states in which the server itself
 * waits. Most cycles are a moment of attack_moment.c instead. */
#include "tests/soft/attack_state.h"

#include "tests/soft/attack_cycle.h"
#include "tests/soft/attack_moment.h"

#include <errno.h>
#include <unistd.h>

enum {
	BUSY_READS = 96,
	LISTS = 4,
	VOLLEY = 40,
	CLIMBS = 5, /* one cycle in so many climbs; the others are moments */
};

/* How far a cycle climbs before its volley; each is on the way to the next up to READY. */
enum height {
	LINKED,             /* a version, no offers */
	OFFERED,
	HALF_GPADL,
	MAPPING,            /* OPEN posted, not waited for */
	OPENED,
	BEGUN, VERSIONED, PROPERTIED,
	READY,
	BUSY,               /* READs in flight */
	CLOSING,            /* closed while they are */
	REVOKING,           /* its ring broken while they are */
	REVOKED,
	RESETTING,
	DEAF,               /* answers wait for room */
	FETCHING,           /* requests whose lists are read from memory */
	LAST_SUB,           /* a sub-channel is open as well; its primary is closed first */
};

/* What does not last, or needs luck, more often. */
static const uint8_t heights[] = {
	LINKED, OFFERED, HALF_GPADL, MAPPING, MAPPING, MAPPING, MAPPING, MAPPING, OPENED, BEGUN,
	VERSIONED, PROPERTIED, READY, BUSY, CLOSING, CLOSING, REVOKING, REVOKING, REVOKED, RESETTING,
	RESETTING, DEAF, DEAF, FETCHING, LAST_SUB, LAST_SUB, LAST_SUB, LAST_SUB, LAST_SUB,
};

/* From now on the cycle is about a sub-channel, whose primary is closed: half of the
 * times while it is being opened, half while it has requests in flight. The primary
 * may be opened again before they end and before the sub-channel is released. */
static void lose_primary(struct cycle *c)
{
	const uint32_t opened = cycle_seen(BUS_OPEN_RESULT);
	struct cycle again = *c;

	if (!cycle_ask_subs(c, 1))
		return;
	*c = cycle_sub(c, 1);
	cycle_open_up(c, false);
	if (dice_once_in(c->dice, 2) && cycle_await(c, BUS_OPEN_RESULT, opened))
		cycle_reads(c, 1 + dice_below(c->dice, BUSY_READS));
	if (dice_once_in(c->dice, 4))
		cycle_post(c, BUS_CLOSE, c->relid, 0);
	else if (dice_once_in(c->dice, 4))
		cycle_break_ring(c);
	else if (dice_once_in(c->dice, 4))
		cycle_operation(c, VSTOR_RESET_ADAPTER, 0);
	cycle_post(c, BUS_CLOSE, again.relid, 0);
	if (dice_once_in(c->dice, 3))
		return;
	guestring_init(&again.ring, c->attack->pool, c->half, c->half);
	cycle_open(c, again.relid, CYCLE_HANDLE);
	usleep(dice_below(c->dice, 500));
	cycle_handshake(&again, 0, dice_below(c->dice, 5));
	cycle_post(c, BUS_RELEASED, c->relid, 0);
}

static void lists(struct cycle *c)
{
	cycle_lists(c, LISTS, dice_once_in(c->dice, 2));
	cycle_signal(c);
}

static void above_ready(struct cycle *c, enum height height)
{
	const uint32_t rescinded = cycle_seen(BUS_RESCIND);

	if (height == BUSY || height == CLOSING || height == REVOKING || height == RESETTING)
		cycle_reads(c, 1 + dice_below(c->dice, BUSY_READS));
	if (height == CLOSING)
		cycle_post(c, BUS_CLOSE, c->relid, 0);
	if (height == REVOKING || height == REVOKED)
		cycle_break_ring(c);
	if (height == REVOKED)
		cycle_await_some(BUS_RESCIND, rescinded);
	if (height == RESETTING && dice_once_in(c->dice, 2))
		lists(c);
	if (height == RESETTING)
		cycle_operation(c, VSTOR_RESET_BUS, 0);
	if (height == DEAF)
		cycle_not_ready(c, 400);
	if (height == FETCHING)
		lists(c);
	if (height == REVOKED && dice_once_in(c->dice, 2))
		cycle_gpadl(c, CYCLE_OTHER_HANDLE, 60, 26);
	if (height == LAST_SUB)
		lose_primary(c);
}

static bool climb(struct cycle *c, enum height height)
{
	if (!cycle_link_up(c, height >= OFFERED))
		return false;
	if (height < HALF_GPADL)
		return true;
	if (height == HALF_GPADL) {
		cycle_gpadl(c, CYCLE_HANDLE, 60, 26);
		return true;
	}
	if (!cycle_open_up(c, height >= OPENED))
		return false;
	if (height >= BEGUN)
		cycle_handshake(c, 0, height >= READY ? 4 : height - OPENED);
	if (height > READY)
		above_ready(c, height);
	return true;
}

/* ---- the volley, and the way out --------------------------------------------------- */

static void blow(struct cycle *c, uint32_t what)
{
	switch (what) {
	case 0:
		cycle_open(c, c->relid, CYCLE_HANDLE);
		break;
	case 1:
		cycle_post(c, BUS_MODIFY, c->relid, dice_below(c->dice, 2));
		break;
	case 2:
		cycle_body(c, CYCLE_HANDLE, 1 + dice_below(c->dice, 4));
		break;
	case 3:
		cycle_post(c, BUS_GPADL_TEARDOWN, c->relid, CYCLE_HANDLE);
		break;
	case 4:
		cycle_gpadl(c, CYCLE_HANDLE, 4, 4);
		break;
	case 5:
		cycle_open(c, 1 + dice_below(c->dice, 4), CYCLE_HANDLE);
		break;
	case 6:
		cycle_post(c, BUS_CLOSE, c->relid, 0);
		break;
	case 7:
		cycle_post(c, BUS_RELEASED, c->relid, 0);
		break;
	case 8:
		cycle_make_room(c);
		break;
	default:
		cycle_not_ready(c, 8);
	}
}

/* What keeps the state comes first and often; what ends it comes late. */
static void volley(struct cycle *c, enum height height)
{
	uint32_t n = dice_below(c->dice, VOLLEY), what = dice_below(c->dice, 10);
	const bool mixed = dice_once_in(c->dice, 2);
	const bool lasts = height == CLOSING || height == REVOKING || height == REVOKED ||
			   height < HALF_GPADL;

	for (; n > 0; n--) {
		if (mixed)
			what = dice_below(c->dice, 10);
		if (what == 6 && !lasts && n > 1)
			what = 1;
		if (what >= 8 && height < OPENED)
			what = 0;
		if (what >= 8 && (height == REVOKING || height == REVOKED))
			cycle_break_ring(c);
		else
			blow(c, what);
	}
}

/* What the ring tells meets the message before it in one batch. */
static void at_once(struct cycle *c, enum height height)
{
	if (height < OPENED)
		return;
	switch (height == DEAF ? 1 : dice_below(c->dice, 4)) {
	case 0:
		cycle_break_ring(c);
		break;
	case 1:
		cycle_make_room(c);
		break;
	case 2:
		cycle_signal(c);
		break;
	default:
		break;
	}
}

static void leave(struct cycle *c, enum height height)
{
	const uint32_t unloaded = cycle_seen(BUS_UNLOADED);

	if (height >= OPENED && dice_once_in(c->dice, 2))
		cycle_not_ready(c, 12);
	switch (dice_below(c->dice, 5)) {
	case 0:
		cycle_post(c, BUS_CLOSE, c->relid, 0);
		at_once(c, height);
		cycle_post(c, BUS_GPADL_TEARDOWN, c->relid, CYCLE_HANDLE);
		break;
	case 1:
		cycle_post(c, BUS_CLOSE, c->relid, 0);
		at_once(c, height);
		cycle_open(c, c->relid, CYCLE_HANDLE);
		break;
	case 2:
		for (uint32_t n = 1 + dice_below(c->dice, 6); n > 0; n--)
			cycle_initiate(c);
		break;
	case 3:
		cycle_post(c, BUS_GPADL_TEARDOWN, c->relid, CYCLE_HANDLE);
		break;
	default:
		break;
	}
	if (height >= OFFERED && dice_once_in(c->dice, 4))
		cycle_gpadl(c, CYCLE_OTHER_HANDLE, 60, 26);
	cycle_post(c, BUS_UNLOAD, 0, 0);
	at_once(c, height);
	for (uint32_t n = dice_below(c->dice, 16); n > 0; n--)
		blow(c, dice_below(c->dice, 8));
	cycle_await(c, BUS_UNLOADED, unloaded);
}

/* ---- all -------------------------------------------------------------------------- */

static void one_cycle(struct cycle *c)
{
	const enum height height = heights[dice_below(c->dice, sizeof(heights))];

	if (!dice_once_in(c->dice, CLIMBS)) {
		attack_moment(c);
		leave(c, READY);
		return;
	}
	if (climb(c, height))
		volley(c, height);
	leave(c, height);
}

int attack_states(struct attack *attack, uint64_t cycles)
{
	struct dice dice = {attack->seed * 1000003 + 7 + attack_total(attack)};
	int error = cycle_begin(attack);

	for (uint64_t i = 0; i < cycles && !error; i++) {
		struct cycle c;

		cycle_init(&c, attack, &dice);
		one_cycle(&c);
		if (atomic_load(&attack->unanswered))
			error = -ETIMEDOUT;
	}
	if (!error)
		error = softvm_stop(attack->vm);
	softvm_detach(attack->vm);
	attack->pool = NULL;
	return error;
}
