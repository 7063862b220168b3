/* tests/soft/attack_moment.c - two things that a server meets at once.
 *
 * Some states last for one batch of the server, others only for as long as a guest
 * sees to it. What leads there without luck:
 *   - packets that become visible together are taken in one batch (cycle_hold());
 *     what is read or asked for on behalf of one is there before any message;
 *   - what the server sees when it looks for room opens the next batch, whatever the
 *     messages of this one made of the channel: see look_behind();
 *   - answers that find no room wait, and a reset waits for them, until the guest
 *     takes its own; a ring may be nearly full when it is opened (struct cycle, room);
 *   - WRITE and SYNCHRONIZE CACHE keep a channel that is closed or taken back;
 *   - while the server reads megabytes, messages and doors gather, and the next batch
 *     has all of them: messages, some of what was read, then rings. It has places for
 *     them because full batches came before it: see occupy().
 * A wait for the server here has an end, and a moment that does not come is over. */
#include "tests/soft/attack_moment.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

enum {
	WAIT_NS = 100000000,
	SPIN_NS = 2000000,
	SMALL = 2, LARGE = 8,     /* pages of a ring, its header among them */
	WAITERS = 8,
	BODIES = 4,
	LONG = 12,                /* READs that a large ring has room for, behind ASKED */
	ASKED = 4 + 8,            /* fill two batches: the first has 4 places, the next twice as many */
	FULL = 8,                 /* bytes of room that no answer fits in */
	GREETED = 4,              /* answers to a handshake */
	SOON_US = 60,             /* what was answered is seen; then the READs are taken */
	MSR_SINT5 = 0x40000095,
	MASKED = 1 << 16,
};

/* ---- waits ------------------------------------------------------------------------- */

static bool reaches(_Atomic uint32_t *word, uint32_t least)
{
	const uint64_t since = softvm_now_ns();

	while (atomic_load(word) < least) {
		const uint64_t waited = softvm_now_ns() - since;

		if (waited > WAIT_NS)
			return false;
		if (waited > SPIN_NS)
			usleep(20);
		else
			sched_yield();
	}
	return true;
}

/* Of a ring that has not turned over. */
static bool all_taken(struct cycle *c)
{
	return reaches(&c->ring.out.header->read_index,
		       atomic_load(&c->ring.out.header->write_index));
}

static bool answered(struct cycle *c, uint32_t n)
{
	return reaches(&c->ring.in.header->write_index, n * CYCLE_ANSWER);
}

/* ---- what a moment begins with ------------------------------------------------------- */

static bool set_out(struct cycle *c, uint32_t half)
{
	c->half = half;
	if (!cycle_link_up(c, true) || !cycle_open_up(c, true))
		return false;
	cycle_handshake(c, 0, 4);
	return answered(c, GREETED);
}

/* The primary's ring will be full when @n sub-channels, or none, were asked for. */
static void fill_by_then(struct cycle *c, uint32_t n)
{
	c->room = (GREETED + (n != 0)) * CYCLE_ANSWER + FULL;
}

static bool open_sub(struct cycle *c, uint32_t n, uint32_t half, uint32_t room,
		     struct cycle *ret)
{
	*ret = cycle_sub(c, n);
	ret->half = half;
	ret->room = room;
	return cycle_open_up(ret, true);
}

/* Its ring is broken, and it has nothing in flight. */
static bool lose(struct cycle *c)
{
	const uint32_t rescinded = cycle_seen(BUS_RESCIND);

	cycle_break_ring(c);
	return cycle_await_some(BUS_RESCIND, rescinded);
}

/* Its ring is full: @n answers wait, and the server has said so. */
static bool deafen(struct cycle *c, uint32_t n)
{
	cycle_not_ready(c, n);
	return reaches(&c->ring.in.header->pending_send_sz, 1);
}

/* A processor's register: every channel hears that it is in force. */
static void declare(struct cycle *c)
{
	const uint32_t vp = softvm_vps(c->attack->vm) > 1;

	attack_count(c->attack, ATTACK_MSR_WRITE);
	softvm_wrmsr(c->attack->vm, vp, MSR_SINT5, MASKED | dice_below(c->dice, 256));
}

static void release(struct cycle *c)
{
	cycle_post(c, BUS_RELEASED, c->relid, 0);
}

static void close_channel(struct cycle *c)
{
	cycle_post(c, BUS_CLOSE, c->relid, 0);
}

/* ---- one batch of a ring ------------------------------------------------------------- */

/* A request, and a packet that is none, behind it: what was read for the request, and
 * room, come to a channel that is taken back; so may other requests. */
static void fault_behind(struct cycle *c)
{
	const uint32_t rescinded = cycle_seen(BUS_RESCIND), first = dice_below(c->dice, 4);
	const bool full = !dice_once_in(c->dice, 4);
	struct guestring_header *in;

	if (full)
		fill_by_then(c, 0);
	if (!set_out(c, SMALL))
		return;
	in = c->ring.in.header;
	if (full && !dice_once_in(c->dice, 3))
		atomic_store(&in->read_index,
			     dice_once_in(c->dice, 2) ? 4 : atomic_load(&in->write_index));
	c->silent = dice_once_in(c->dice, 4);
	cycle_hold(c);
	if (first == 1 || !full)
		cycle_lists(c, 1, true);
	else if (first == 2)
		cycle_slow(c);
	c->silent = false;
	cycle_ask(c, full);
	if (!dice_once_in(c->dice, 3)) {
		cycle_bad_packet(c);
	} else {
		cycle_odd_packet(c);
		cycle_ask(c, 2);
	}
	cycle_release(c);
	if (!cycle_await_some(BUS_RESCIND, rescinded) || dice_once_in(c->dice, 2))
		return;
	release(c);
	if (dice_once_in(c->dice, 2))
		cycle_post(c, BUS_MODIFY, c->relid, 0);
}

/* A list is being read, and most times a reset begins. */
static void list_before_reset(struct cycle *c)
{
	if (!set_out(c, SMALL))
		return;
	cycle_hold(c);
	cycle_lists(c, 2, true);
	if (!dice_once_in(c->dice, 3))
		cycle_operation(c, VSTOR_RESET_BUS, 0);
	cycle_release(c);
	all_taken(c);
}

/* The answer to a request finds no room by what the server knows; when it looks there is
 * some, or an index that no ring has. It looks at the end of the batch that begins with
 * what was read for the request: what it sees opens the next, behind the messages of this
 * one. They come while it reads megabytes in the batch that took the request; that one has
 * room for one message, which changes nothing, and the next, because it was full, for two.
 * Without a slow request the channel is closed when the READs are done, in the same batch. */
static void look_behind(struct cycle *c)
{
	const uint32_t way = dice_below(c->dice, 10);
	const bool lasts = way < 3, reopens = way >= 5;
	struct guestring_header *in;

	fill_by_then(c, 0);
	if (!set_out(c, LARGE))
		return;
	in = c->ring.in.header;
	atomic_store(&in->read_index, dice_once_in(c->dice, 2) ? 4 : atomic_load(&in->write_index));
	cycle_hold(c);
	cycle_lists(c, 1, false);
	if (lasts)
		cycle_slow(c);
	cycle_long_reads(c, lasts ? 1 : 2);
	c->silent = true;
	cycle_ask(c, 1);
	c->silent = false;
	cycle_release(c);
	cycle_post(c, BUS_MODIFY, c->relid, 0);
	close_channel(c);
	if (reopens)
		cycle_open(c, c->relid, c->handle);
}

/* ---- answers that wait ---------------------------------------------------------------- */

/* A reset waits for those of a sub-channel; others are opened, closed and released
 * meanwhile. */
static void reset_held(struct cycle *c)
{
	struct cycle deaf, broken, other;
	struct guestring_header *in;

	if (!set_out(c, SMALL) || !cycle_ask_subs(c, CYCLE_SUBS) ||
	    !open_sub(c, 1, SMALL, FULL, &deaf) || !open_sub(c, 2, SMALL, 0, &broken) ||
	    !lose(&broken) || !deafen(&deaf, WAITERS))
		return;
	cycle_operation(c, VSTOR_RESET_BUS, 0);
	if (!all_taken(c) || !open_sub(c, CYCLE_SUBS, SMALL, 0, &other))
		return;
	release(&broken);
	cycle_not_ready(c, 4);
	in = deaf.ring.in.header;
	for (uint32_t n = WAITERS / 2; n > 0; n--) {
		atomic_store(&in->read_index, atomic_load(&in->read_index) + CYCLE_ANSWER);
		cycle_signal(&deaf);
		usleep(dice_below(c->dice, 100));
	}
	close_channel(dice_once_in(c->dice, 2) ? c : &other);
}

/* Both channels wake their answers in one turn. */
static void two_deaf(struct cycle *c)
{
	struct cycle sub;

	fill_by_then(c, 1);
	if (!set_out(c, SMALL) || !cycle_ask_subs(c, 1) || !open_sub(c, 1, SMALL, FULL, &sub) ||
	    !deafen(&sub, WAITERS) || !deafen(c, WAITERS))
		return;
	if (dice_once_in(c->dice, 2))
		close_channel(c);
	else
		cycle_initiate(c);
}

/* ---- what was taken back is released late ----------------------------------------------- */

/* The primary is opened anew and shakes hands; its former sub-channels go one by one. */
static void release_in_handshake(struct cycle *c)
{
	uint32_t next = 1, skipped = dice_below(c->dice, 4), rescinded;
	struct cycle sub[CYCLE_SUBS + 1];

	if (!set_out(c, SMALL) || !cycle_ask_subs(c, CYCLE_SUBS))
		return;
	for (uint32_t n = 1; n <= CYCLE_SUBS; n++)
		sub[n] = cycle_sub(c, n);
	rescinded = cycle_seen(BUS_RESCIND);
	close_channel(c);
	for (uint32_t n = 0; n < CYCLE_SUBS; n++)
		if (!cycle_await_some(BUS_RESCIND, rescinded + n))
			return;
	if (!cycle_open_up(c, true))
		return;
	for (uint32_t step = 0; step < 4; step++) {
		if (step != skipped && next <= CYCLE_SUBS)
			release(&sub[next++]);
		cycle_handshake(c, step, step + 1);
		if (!answered(c, step + 1))
			return;
		if (step < 3 && dice_once_in(c->dice, 12))
			return;
	}
}

/* A sub-channel is released while the primary's GPADL is wanted back; or is already
 * taken back when the primary goes. */
static void release_beside(struct cycle *c)
{
	struct cycle sub;

	if (!set_out(c, SMALL) || !cycle_ask_subs(c, 1) || !open_sub(c, 1, SMALL, 0, &sub) ||
	    !lose(&sub))
		return;
	cycle_gpadl(c, CYCLE_OTHER_HANDLE, 60, 26);
	if (dice_once_in(c->dice, 2))
		cycle_post(c, BUS_GPADL_TEARDOWN, c->relid, CYCLE_HANDLE);
	else
		close_channel(c);
	release(&sub);
}

/* A GPADL whose pages come late, are not waited for, or are asked for too soon. */
static void pages_late(struct cycle *c)
{
	if (!cycle_link_up(c, true))
		return;
	for (uint32_t n = 0; n < BODIES; n++) {
		cycle_gpadl(c, CYCLE_OTHER_HANDLE + n, 60, 26);
		if (dice_once_in(c->dice, 2))
			cycle_body(c, CYCLE_OTHER_HANDLE + n, 1 + dice_below(c->dice, 4));
		if (dice_once_in(c->dice, 2))
			cycle_open(c, c->relid, CYCLE_OTHER_HANDLE + n);
		if (dice_once_in(c->dice, 2))
			cycle_post(c, BUS_GPADL_TEARDOWN, c->relid, CYCLE_OTHER_HANDLE + n);
	}
}

/* ---- requests that last ------------------------------------------------------------------ */

static void while_it_lasts(struct cycle *c, struct cycle *primary)
{
	for (uint32_t n = dice_below(c->dice, 6); n > 0; n--) {
		switch (dice_below(c->dice, 5)) {
		case 0:
			declare(c);
			break;
		case 1:
			cycle_post(c, BUS_MODIFY, c->relid, 0);
			break;
		case 2:
			close_channel(c);
			break;
		case 3:
			cycle_open(c, c->relid, c->handle);
			break;
		default:
			close_channel(primary);
		}
	}
}

/* Closed, or taken back, with a request that the disk has. */
static void end_slowly(struct cycle *c)
{
	const bool breaks = dice_once_in(c->dice, 2), sub = !dice_once_in(c->dice, 3);
	struct cycle target;
	uint32_t rescinded;

	if (!set_out(c, SMALL))
		return;
	target = *c;
	if (sub && (!cycle_ask_subs(c, 1) || !open_sub(c, 1, SMALL, 0, &target)))
		return;
	rescinded = cycle_seen(BUS_RESCIND);
	target.silent = dice_once_in(c->dice, 2);
	cycle_hold(&target);
	cycle_slow(&target);
	if (breaks)
		cycle_bad_packet(&target);
	cycle_release(&target);
	if (breaks ? !cycle_await_some(BUS_RESCIND, rescinded) : !all_taken(&target))
		return;
	if (!breaks)
		close_channel(&target);
	if (!dice_once_in(c->dice, 3))
		cycle_open(c, target.relid, target.handle);
	if (sub && dice_once_in(c->dice, 2))
		close_channel(c);
	else if (dice_once_in(c->dice, 2))
		declare(c);
	while_it_lasts(&target, c);
}

/* ---- while the server is busy -------------------------------------------------------------- */

/* Requests that are answered at once, READs behind them. True: the server has answered
 * the former; it takes the READs in one batch. */
static bool occupy(struct cycle *busy)
{
	struct guestring_header *out = busy->ring.out.header;
	const uint32_t from = atomic_load(&out->write_index);

	cycle_hold(busy);
	cycle_ask(busy, ASKED);
	cycle_long_reads(busy, LONG);
	cycle_release(busy);
	return reaches(&out->read_index, from + ASKED * CYCLE_ANSWER);
}

enum strike {
	CLOSED_BAD, REOPENED_BAD, LEFT_BAD, /* what the ring tells: broken */
	CLOSED_ROOM, REOPENED_ROOM, LEFT_ROOM, /* room */
	OPENED_CLOSED,
	CLOSED_PACKET, REOPENED_PACKET, LEFT_PACKET,
	STRIKES,
};

static bool wants_room(enum strike strike)
{
	return strike >= CLOSED_ROOM && strike <= LEFT_ROOM;
}

/* The messages; behind them what the ring tells, which was open before. */
static void strike_at(struct cycle *target, enum strike strike)
{
	const bool leaves = strike == LEFT_BAD || strike == LEFT_ROOM || strike == LEFT_PACKET;
	const bool reopens = strike == REOPENED_BAD || strike == REOPENED_ROOM ||
			     strike == REOPENED_PACKET || strike == OPENED_CLOSED;

	if (leaves)
		cycle_initiate(target);
	else
		close_channel(target);
	if (reopens)
		cycle_open(target, target->relid, target->handle);
	if (strike == OPENED_CLOSED && dice_once_in(target->dice, 2))
		cycle_post(target, BUS_MODIFY, target->relid, 0);
	if (strike == OPENED_CLOSED)
		close_channel(target);
	else if (strike <= LEFT_BAD)
		cycle_break_ring(target);
	else if (wants_room(strike))
		cycle_make_room(target);
	else
		cycle_not_ready(target, 4);
}

static void strike_when_busy(struct cycle *c)
{
	static const uint8_t strikes[] = {
		CLOSED_BAD, REOPENED_BAD, REOPENED_BAD, LEFT_BAD, CLOSED_ROOM, REOPENED_ROOM,
		REOPENED_ROOM, LEFT_ROOM, LEFT_ROOM, LEFT_ROOM, OPENED_CLOSED, OPENED_CLOSED,
		OPENED_CLOSED, OPENED_CLOSED, OPENED_CLOSED, CLOSED_PACKET, REOPENED_PACKET,
		LEFT_PACKET,
	};
	const enum strike strike = strikes[dice_below(c->dice, sizeof(strikes))];
	/* A sub-channel is no more when the guest leaves. */
	const bool primary = strike == LEFT_BAD || strike == LEFT_ROOM ||
			     strike == LEFT_PACKET || dice_once_in(c->dice, 2);
	struct cycle sub, *target = primary ? c : &sub, *busy = primary ? &sub : c;

	if (primary && wants_room(strike))
		fill_by_then(c, 1);
	if (!set_out(c, primary ? SMALL : LARGE) || !cycle_ask_subs(c, 1) ||
	    !open_sub(c, 1, primary ? LARGE : SMALL,
		      !primary && wants_room(strike) ? FULL : 0, &sub) ||
	    (wants_room(strike) && !deafen(target, 2)) || !occupy(busy))
		return;
	usleep(dice_below(c->dice, SOON_US));
	strike_at(target, strike);
}

/* The primary goes when its sub-channel's rings are mapped and the door is not yet in
 * force, which takes about as long as a message. */
static void lose_primary_armed(struct cycle *c)
{
	struct cycle sub;

	if (!set_out(c, LARGE) || !cycle_ask_subs(c, 1))
		return;
	sub = cycle_sub(c, 1);
	sub.half = SMALL;
	cycle_open_up(&sub, false);
	for (uint32_t n = dice_below(c->dice, 3); n > 0; n--)
		cycle_post(&sub, BUS_MODIFY, sub.relid, 0);
	close_channel(c);
}

void attack_moment(struct cycle *c)
{
	static const struct {
		void (*act)(struct cycle *);
		uint32_t share;
	} moments[] = {
		{fault_behind, 8},
		{list_before_reset, 1},
		{look_behind, 16},
		{reset_held, 1},
		{two_deaf, 1},
		{release_in_handshake, 4},
		{release_beside, 3},
		{pages_late, 1},
		{end_slowly, 7},
		{lose_primary_armed, 4},
		{strike_when_busy, 11},
	};
	uint32_t all = 0, n, i = 0;

	for (uint32_t k = 0; k < sizeof(moments) / sizeof(moments[0]); k++)
		all += moments[k].share;
	for (n = dice_below(c->dice, all); n >= moments[i].share; i++)
		n -= moments[i].share;
	moments[i].act(c);
}
