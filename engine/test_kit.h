/* engine/test_kit.h - what the engine's own tests set up: a world with one toy, a
 * codec for it, and ends of processes that play the dead.
 *
 * Everything is static: each test program has a registry of its own (test_toy.h). */
#ifndef ENGINE_TEST_KIT_H
#define ENGINE_TEST_KIT_H

#include "engine/follow.h"
#include "engine/test_toy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

static inline void toy_fresh(struct world *w)
{
	world_spawn_fixed(w, TOY_KIND, 1);
}

/* With one toy, CLOSED. The caller frees it. */
static inline struct world *toy_world(void)
{
	struct world *w = world_new(&toy_registry);

	toy_fresh(w);
	return w;
}

/* NULL: nobody lives there. */
static inline struct toy *toy_at(const struct world *w, uint16_t index)
{
	return (struct toy *)(uintptr_t)world_at(w, TOY_KIND, index);
}

/* ---- a codec: enough for one instance without lists ----------------------------- */

struct toy_saved {
	struct lane_state lane;
	uint64_t total;
	uint32_t refused;
	uint16_t state, last[4];
};

static inline int toy_pack(const struct world *w, uint8_t *bytes, size_t capacity, size_t *ret_len)
{
	const struct toy *t = toy_at(w, 0);
	struct toy_saved s = { .lane = *world_lane_const(w), .total = t->total,
			       .refused = t->refused, .state = t->sm.state };

	if (capacity < sizeof(s))
		return -ENOSPC;
	memcpy(s.last, t->last, sizeof(s.last));
	memcpy(bytes, &s, sizeof(s));
	*ret_len = sizeof(s);
	return 0;
}

static inline int toy_unpack(struct world *w, const uint8_t *bytes, size_t len, char *why)
{
	struct toy *t = world_place(w, TOY_KIND, 0, 1);
	struct toy_saved s;
	const char *which;

	cr_assert_eq(len, sizeof(s));
	memcpy(&s, bytes, sizeof(s));
	*world_lane(w) = s.lane;
	t->sm.state = s.state;
	t->total = s.total;
	t->refused = s.refused;
	memcpy(t->last, s.last, sizeof(s.last));
	(void)why;
	return world_loaded(w, &which) ? 0 : -EBADMSG;
}

static const struct slot_codec toy_codec = { toy_pack, toy_unpack };

/* ---- records ------------------------------------------------------------------------ */

enum { TOY_TAIL = LIMIT_PAYLOAD - sizeof(struct rec_amount) }; /* the longest of an event */

/* One turn, as a log has it: the event, and behind it the confirm's payload. */
struct toy_logged {
	struct log_record event, confirm;
	struct rec_amount amount;
	uint8_t tail[TOY_TAIL];
	struct log_confirm head;
	uint8_t effects[LIMIT_PAYLOAD + 2 * sizeof(struct effect_head)];
};

/* Steps @w by one event of the toy at index 0. */
static inline struct toy_logged toy_logged(struct world *w, uint16_t code, uint32_t amount,
					   uint32_t tail)
{
	const struct lane_state *lane = world_lane_const(w);
	struct toy_logged l = {
		.event = { .seq = lane->seq + 1, .time_ns = lane->time_ns + 10, .epoch = 1,
			   .type = LOG_EVENT, .kind = TOY_KIND, .code = code,
			   .len = (uint32_t)sizeof(l.amount) + tail },
		.amount = { .amount = amount },
	};
	struct event ev = event_of(&l.event, &l.amount);
	struct turn t;

	memset(l.tail, 't', tail);
	t = world_turn(w, &ev);
	l.head = (struct log_confirm){ .n_effects = t.n_effects, .bytes = t.bytes };
	cr_assert_leq(t.bytes, sizeof(l.effects));
	memcpy(l.effects, t.effects, t.bytes);
	l.confirm = l.event;
	l.confirm.type = LOG_CONFIRM;
	l.confirm.len = (uint32_t)sizeof(l.head) + t.bytes;
	return l;
}

static inline void toy_write_event(struct log_writer *log, const struct toy_logged *l)
{
	log_append(log, &l->event, &l->amount, l->event.len);
}

/* LOG_CONFIRM, or one that is laid out like it. */
static inline void toy_write_effects(struct log_writer *log, const struct toy_logged *l,
				     enum log_type type)
{
	struct log_record h = l->confirm;

	h.type = (uint16_t)type;
	log_append(log, &h, &l->head, l->confirm.len);
}

static inline void toy_write(struct log_writer *log, const struct toy_logged *l)
{
	toy_write_event(log, l);
	toy_write_effects(log, l, LOG_CONFIRM);
	log_commit(log);
}

/* ---- following custody ------------------------------------------------------------ */

/* A follower of a world of its own, behind the newest checkpoint. */
static inline int toy_begin(struct follower *f, const struct custody *c, char *why)
{
	cr_assert_eq(follow_init(f, world_new(&toy_registry)), 0);
	return follow_begin(f, c, &toy_codec, toy_fresh, 0x5A, why);
}

/* The same, at the end of the log. */
static inline void toy_follow(struct follower *f, const struct custody *c)
{
	char why[160] = "";

	cr_assert_eq(toy_begin(f, c, why), 0, "%s", why);
	cr_assert_eq(follow_run(f, UINT64_MAX), FOLLOW_OK);
	cr_assert_eq(f->divergences, 0);
}

static inline void toy_leave(struct follower *f)
{
	world_free(f->world);
	follow_deinit(f);
}

/* ---- processes that end at once ------------------------------------------------- */

#if HOLDFAST_COVERAGE_LINES
void __gcov_dump(void);
#endif

/* _exit(), but what was counted of lines and branches is not lost. */
static inline void toy_exit(int status)
{
#if HOLDFAST_COVERAGE_LINES
	__gcov_dump();
#endif
	_exit(status);
}

#endif
