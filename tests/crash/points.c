/* The recording pass steps; the others run to a breakpoint at the place of the
 * point and count. Both judge an execution by the same rule, tracee_stores(). */
#include "tests/crash/points.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct recording {
	struct tracee *te;
	const char *program;
	struct points *out;
	uint64_t via; /* address */
	uint64_t *address; /* of each point, for counting */
	uint64_t program_from, program_to;
};

static int add(struct recording *rec, uint64_t at, const struct point *p)
{
	struct points *out = rec->out;
	struct point *new;

	if (out->n == out->capacity) {
		unsigned capacity = out->capacity ? 2 * out->capacity : 512;
		void *points = realloc(out->point, capacity * sizeof(*out->point));
		void *address = realloc(rec->address, capacity * sizeof(*rec->address));

		out->point = points ? points : out->point;
		rec->address = address ? address : rec->address;
		if (!points || !address)
			return -ENOMEM;
		out->capacity = capacity;
	}
	rec->address[out->n] = at;
	new = &out->point[out->n++];
	*new = *p;
	space_place(&rec->te->space, at, &new->at);
	space_place(&rec->te->space, rec->via, &new->via);
	new->nth = 1;
	for (unsigned i = 0; i + 1 < out->n; i++)
		new->nth += rec->address[i] == at && out->point[i].kind != POINT_PART;
	return 0;
}

/* 1: the instruction makes a point, which is added. */
static int judge(struct recording *rec, const struct insn *in, const struct user_regs_struct *regs)
{
	struct point p = { .kind = in->syscall ? POINT_SYSCALL : POINT_STORE };
	int r = 0;

	rec->out->undecoded += in->bytes == 0;
	if (in->syscall)
		p.number = (uint32_t)regs->rax;
	else if (!tracee_stores(rec->te, in, regs, &p.store))
		return 0;
	if (in->repeated && regs->rcx > 1) {
		p.kind = POINT_PART;
		r = add(rec, in->at, &p);
		p.kind = POINT_STORE;
	}
	if (r == 0)
		r = add(rec, in->at, &p);
	return r ? r : 1;
}

static void find_program(struct recording *rec)
{
	const struct space *s = &rec->te->space;

	for (unsigned i = 0; i < s->n; i++) {
		if (!s->map[i].executable || strcmp(s->map[i].path, rec->program) != 0)
			continue;
		rec->program_from = s->map[i].from;
		rec->program_to = s->map[i].to;
	}
}

enum { COMPARE_BYTES = 64 };

/* Executes the instruction of the newest point. Stores up to COMPARE_BYTES are
 * compared with what was there. */
static enum tracee_result execute_point(struct recording *rec, const struct insn *in)
{
	uint8_t before[COMPARE_BYTES] = { 0 }, after[COMPARE_BYTES] = { 1 };
	struct point *p = &rec->out->point[rec->out->n - 1];
	const struct tracee_store *store = &p->store;
	bool comparable = p->kind == POINT_STORE && store->bytes <= COMPARE_BYTES;
	enum tracee_result r;

	if (comparable)
		tracee_peek(rec->te, store->address, before, store->bytes);
	r = tracee_execute(rec->te, in, false);
	if (comparable && r == TRACEE_STOPPED) {
		tracee_peek(rec->te, store->address, after, store->bytes);
		p->same = memcmp(before, after, store->bytes) == 0;
	}
	return r;
}

static int step_all(struct recording *rec)
{
	struct tracee *te = rec->te;
	struct user_regs_struct regs;

	for (;;) {
		const struct insn *in;
		enum tracee_result r;
		int point;

		if (tracee_registers(te, &regs) < 0)
			return -ESRCH;
		in = tracee_insn(te, regs.rip);
		if (in->call && regs.rip >= rec->program_from && regs.rip < rec->program_to)
			rec->via = regs.rip;
		point = judge(rec, in, &regs);
		if (point < 0)
			return point;
		rec->out->steps++;
		r = point ? execute_point(rec, in) : tracee_execute(te, in, false);
		if (r == TRACEE_ENDED)
			return -ESRCH;
		if (r == TRACEE_OVER) {
			rec->out->n -= (unsigned)point;
			return 0;
		}
		if (point && te->over && te->over(te->context))
			return 0;
	}
}

static int add_start(struct recording *rec)
{
	struct point p = { .kind = POINT_START };
	struct user_regs_struct regs;

	if (tracee_registers(rec->te, &regs) < 0)
		return -ESRCH;
	p.number = (uint32_t)regs.orig_rax;
	return add(rec, regs.rip, &p);
}

int points_record(struct tracee *te, const char *program, bool woken, struct points *ret)
{
	struct recording rec = { .te = te, .program = program, .out = ret };
	int r;

	find_program(&rec);
	r = woken ? add_start(&rec) : 0;
	tracee_pin(te);
	if (r == 0)
		r = step_all(&rec);
	tracee_unpin();
	free(rec.address);
	return r;
}

static bool contains(const struct points *in, unsigned n, const struct point *p)
{
	for (unsigned i = 0; i < n; i++) {
		const struct point *other = &in->point[i];

		if (other->kind == p->kind && other->nth == p->nth &&
		    other->at.offset == p->at.offset && strcmp(other->at.path, p->at.path) == 0)
			return true;
	}
	return false;
}

int points_merge(struct points *to, const struct points *from)
{
	unsigned before = to->n, capacity = before + from->n;
	void *all = realloc(to->point, (capacity + 1) * sizeof(*to->point));

	if (!all)
		return -ENOMEM;
	to->point = all;
	to->capacity = capacity;
	for (unsigned i = 0; i < from->n; i++)
		if (!contains(to, before, &from->point[i]))
			to->point[to->n++] = from->point[i];
	to->undecoded += from->undecoded;
	to->steps = to->steps > from->steps ? to->steps : from->steps;
	return (int)(to->n - before);
}

void points_free(struct points *p)
{
	free(p->point);
	*p = (struct points){ 0 };
}

static uint64_t kill_now(struct tracee *te)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	trace_kill(te->trace, te->pid);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static enum shot not_killed(enum tracee_result r)
{
	return r == TRACEE_OVER ? SHOT_MISSED : SHOT_ENDED;
}

enum shot points_shoot(struct tracee *te, const struct point *p, uint64_t *ret_ns)
{
	struct user_regs_struct regs;
	struct tracee_store store;
	uint32_t seen = 0;

	while (p->kind != POINT_START && seen < p->nth) {
		uint64_t at = space_address(&te->space, &p->at);
		const struct insn *in;
		enum tracee_result r;

		if (at == 0 || tracee_break(te, at) < 0)
			return SHOT_ENDED;
		r = tracee_run(te);
		if (r != TRACEE_STOPPED)
			return not_killed(r);
		if (tracee_registers(te, &regs) < 0)
			return SHOT_ENDED;
		in = tracee_insn(te, at);
		seen += in->syscall || tracee_stores(te, in, &regs, &store);
		r = tracee_execute(te, in, p->kind == POINT_PART && seen == p->nth);
		if (r != TRACEE_STOPPED)
			return not_killed(r);
	}
	*ret_ns = kill_now(te);
	return SHOT_KILLED;
}

void point_describe(const struct point *p, char *text, size_t capacity)
{
	char at[SPACE_PATH], via[SPACE_PATH] = "";
	const char *name = strrchr(p->store.path, '/');
	int n;

	place_describe(&p->at, at, sizeof(at));
	if (p->via.offset && strcmp(p->via.path, p->at.path) != 0)
		place_describe(&p->via, via, sizeof(via));
	if (p->kind == POINT_SYSCALL || p->kind == POINT_START)
		n = snprintf(text, capacity, "system call %" PRIu32 " in %s", p->number, at);
	else
		n = snprintf(text, capacity, "%s %s+0x%" PRIx64 " in %s",
			     p->kind == POINT_PART ? "part of a store to" : "store to",
			     name ? name + 1 : p->store.path, p->store.offset, at);
	if (n > 0 && (size_t)n < capacity)
		snprintf(text + n, capacity - (size_t)n, ", occurrence %" PRIu32 "%s%s", p->nth,
			 via[0] ? ", called by " : "", via);
}
