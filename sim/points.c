/* Linked into each paravisor program: between its own functions lie the points
 * at which it can be killed, and where the run learns what it works with. */
#include "devices/guestmem.h"
#include "devices/hands.h"
#include "devices/uring.h"
#include "engine/follow.h"
#include "engine/lane.h"
#include "engine/sandbox.h"
#include "persist/schema.h"
#include "servicing/commands.h"
#include "servicing/registry.h"
#include "sim/oracle.h"
#include "sim/programs.h"
#include "sim/run.h"

#define EXPORT __attribute__((visibility("default")))

/* What a simulated process would give up, the simulation would lose. */
int sandbox_limits(unsigned files)
{
	(void)files;
	return 0;
}

int sandbox_allow_only(enum sandbox_set set)
{
	(void)set;
	return 0;
}

int __wrap_follow_init(struct follower *f, struct world *w);
int __real_follow_init(struct follower *f, struct world *w);
int __wrap_follow_begin(struct follower *f, const struct custody *c,
			const struct slot_codec *codec, void (*fresh)(struct world *w),
			uint8_t fill, char *why);
int __real_follow_begin(struct follower *f, const struct custody *c,
			const struct slot_codec *codec, void (*fresh)(struct world *w),
			uint8_t fill, char *why);
void __wrap_follow_resume(struct follower *f, const struct custody *c, uint64_t position,
			  uint64_t chain);
void __real_follow_resume(struct follower *f, const struct custody *c, uint64_t position,
			  uint64_t chain);
struct turn __wrap_world_turn(struct world *w, const struct event *e);
struct turn __real_world_turn(struct world *w, const struct event *e);
int __wrap_lane_recover(struct lane *l, const struct follower *f);
int __real_lane_recover(struct lane *l, const struct follower *f);
void __wrap_log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		       uint32_t len);
void __real_log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		       uint32_t len);
void __wrap_log_commit(struct log_writer *lw);
void __real_log_commit(struct log_writer *lw);
void __wrap_hands_perform(struct hands *h, const struct effect *e, bool redo);
void __real_hands_perform(struct hands *h, const struct effect *e, bool redo);
void __wrap_hands_flush(struct hands *h);
void __real_hands_flush(struct hands *h);
void __wrap_hands_taken(struct hands *h);
void __real_hands_taken(struct hands *h);
int __wrap_uring_place(struct uring *u, const struct uring_request *r);
int __real_uring_place(struct uring *u, const struct uring_request *r);
int __wrap_guestmem_write(const struct guestmem *m, uint64_t gpa, const void *src, size_t len);
int __real_guestmem_write(const struct guestmem *m, uint64_t gpa, const void *src, size_t len);
void __wrap_fault_install(struct custody *c, const void *point);

int __wrap_follow_init(struct follower *f, struct world *w)
{
	oracle_process_has(w);
	return __real_follow_init(f, w);
}

int __wrap_follow_begin(struct follower *f, const struct custody *c,
			const struct slot_codec *codec, void (*fresh)(struct world *w),
			uint8_t fill, char *why)
{
	int r;

	run_point(POINT_TURN);
	oracle_begins();
	r = __real_follow_begin(f, c, codec, fresh, fill, why);
	oracle_follows(f);
	return r;
}

void __wrap_follow_resume(struct follower *f, const struct custody *c, uint64_t position,
			  uint64_t chain)
{
	__real_follow_resume(f, c, position, chain);
	oracle_follows(f);
}

struct turn __wrap_world_turn(struct world *w, const struct event *e)
{
	struct turn t = __real_world_turn(w, e);

	oracle_stepped(w);
	return t;
}

int __wrap_lane_recover(struct lane *l, const struct follower *f)
{
	int r;

	oracle_takes_over(l, f);
	r = __real_lane_recover(l, f);
	oracle_serves();
	return r;
}

void __wrap_log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		       uint32_t len)
{
	__real_log_append(lw, h, payload, len);
	if (h->type == LOG_CONFIRM || h->type == LOG_PROPOSE)
		run_turn();
	run_point(POINT_TURN);
}

void __wrap_log_commit(struct log_writer *lw)
{
	run_point(POINT_TURN);
	oracle_owns();
	__real_log_commit(lw);
	run_point(POINT_TURN);
}

void __wrap_hands_perform(struct hands *h, const struct effect *e, bool redo)
{
	run_point(POINT_EFFECT);
	oracle_effect(e, redo);
	__real_hands_perform(h, e, redo);
	run_point(POINT_EFFECT);
}

void __wrap_hands_flush(struct hands *h)
{
	run_point(POINT_EFFECT);
	oracle_owns();
	__real_hands_flush(h);
	run_point(POINT_EFFECT);
}

void __wrap_hands_taken(struct hands *h)
{
	run_point(POINT_TURN);
	__real_hands_taken(h);
	run_point(POINT_TURN);
}

int __wrap_uring_place(struct uring *u, const struct uring_request *r)
{
	run_point(POINT_EFFECT);
	return __real_uring_place(u, r);
}

int __wrap_guestmem_write(const struct guestmem *m, uint64_t gpa, const void *src, size_t len)
{
	run_point(POINT_EFFECT);
	return __real_guestmem_write(m, gpa, src, len);
}

/* Faults end the run: nobody is to catch them. */
void __wrap_fault_install(struct custody *c, const void *point)
{
	(void)c;
	(void)point;
}

/* What main.c of the product has beside commands. */
int command_usage(const char *name)
{
	(void)name;
	return 2;
}

/* The hash of the tables, which each process keeps. */
static void prepare(void)
{
	(void)schema_hash_once(&program);
}

extern EXPORT const struct sim_program sim_program;
EXPORT const struct sim_program sim_program = {
	.main = cmd_paravisor, .registry = &program, .codec = &program_codec,
	.variant = HOLDFAST_VARIANT, .prepare = prepare,
};
