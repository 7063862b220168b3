/* The archiver of a run, and the archive it writes: a place in the log and the
 * chain up to there.
 *
 * Invariants: what was written out stays when the archiver dies, what was only
 * staged goes with it; each record that is given follows on the one before it,
 * by the chain and by its turn, or a gap was told before, and nothing may be
 * called a gap that the ring still holds. The archiver maps custody to read: one that
 * writes there ends the run (calls.c). While it is stopped nothing but the log's own
 * growth lets it go on, so an owner that waited for it would wait for ever.
 *
 * Its chance is a generator of its own: the rest of the plan is drawn as without it. */
#include "sim/shelf.h"

#include "engine/fact.h"
#include "engine/sandbox.h"
#include "persist/archive.h"
#include "servicing/archive_status.h"
#include "servicing/control_client.h"
#include "sim/moment.h"
#include "sim/plan.h"
#include "sim/programs.h"
#include "sim/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum {
	RUNS_EVERY = 6,           /* one run in so many has an archiver */
	ACT_EVENTS = 6000,        /* mean distance of what is done to it */
	STOP_EVENTS = 8000,       /* how long it is stopped, mean */
	CHUNK = 64 << 10,         /* is written out at once */
	WRITE_NS = 400000, SLOW_NS = 2000000000, LOOK_NS = 5000000,
	MEMORY_EVERY = 12, ALLOCATIONS = 60,
	NEAR = 64 << 10,          /* a cut so far before the oldest record may have been read too late */
};
#define END_NS UINT64_C(300000000000)

struct archive {
	struct archive_place staged;
	uint64_t used;
	bool based;               /* the verifier stands at */
	uint64_t base;            /* this position of the log */
};

static struct {
	const struct custody *c;
	int16_t custody, control; /* objects; control: readable when the VM has ended */
	struct process *archiver; /* the last one */
	struct chance chance;
	uint64_t next, goes_on;   /* events */
	bool stopped, ending;
	bool excused;             /* it was given an error: it may give up */
	uint64_t wanted;          /* asked to end: it takes the log up to here; 0: not asked */
	struct archive_place place;
	uint64_t bytes;
	struct archive live;
} shelf;

static bool lives(void)
{
	return shelf.archiver && shelf.archiver->alive;
}

static uint64_t oldest(void)
{
	return atomic_load(&shelf.c->lane_words[0].oldest);
}

static uint64_t tail(void)
{
	return atomic_load(&shelf.c->lane_words[0].tail);
}

/* ---- its process ------------------------------------------------------------------ */

void shelf_start(const struct custody *c)
{
	const struct process *partition = process_current();

	shelf.chance.state = options.seed * 0x51ed + 3;
	if (options.scenario || moment_any() || !plan_allows(FAULT_ARCHIVE) ||
	    !chance_once_in(&shelf.chance, RUNS_EVERY))
		return;
	shelf.custody = partition->fd[c->fd];
	shelf.control = partition->fd[object_open(OBJECT_EVENT, 0)];
	shelf.next = chance_below(&shelf.chance, ACT_EVENTS);
	shelf.c = c;
}

static void begin(void)
{
	static char *const words[] = { (char *)"archive", (char *)"--state", (char *)"sim", NULL };
	bool newer = chance_once_in(&shelf.chance, 2);
	struct process *p = process_new(PROCESS_ARCHIVER);

	p->program = newer ? PROGRAM_ARCHIVE_B : PROGRAM_ARCHIVE_A;
	p->fd[WIRE_FD_CUSTODY] = shelf.custody;
	object_at(shelf.custody)->refs++;
	if (chance_once_in(&shelf.chance, MEMORY_EVERY) && plan_allows(FAULT_NO_MEMORY))
		p->fail_at = 1 + chance_below(&shelf.chance, ALLOCATIONS);
	shelf.archiver = p;
	shelf.wanted = 0;
	shelf.excused = false;
	program_start(p, p->program, words);
}

static void stop(uint64_t events)
{
	process_hold(shelf.archiver);
	shelf.stopped = true;
	shelf.goes_on = events + 1 + chance_below(&shelf.chance, 2 * STOP_EVENTS);
}

static void go_on(void)
{
	if (lives())
		process_release(shelf.archiver);
	shelf.stopped = false;
}

static void terminate(void)
{
	if (!shelf.archiver->on_term) {
		process_end(shelf.archiver, 0, SIGTERM);
		return;
	}
	shelf.wanted = tail();
	shelf.archiver->on_term(SIGTERM);
}

static enum fault draw(void)
{
	static const enum fault faults[] = { FAULT_ARCHIVE_STOP, FAULT_ARCHIVE_STOP,
					     FAULT_ARCHIVE_STOP, FAULT_ARCHIVE_KILL,
					     FAULT_ARCHIVE_KILL, FAULT_ARCHIVE_TERM };

	return faults[chance_below(&shelf.chance, ARRAY_LEN(faults))];
}

static void act(enum fault f, uint64_t events)
{
	if (!plan_may(f) || (shelf.stopped && f != FAULT_ARCHIVE_KILL) ||
	    (shelf.wanted && f == FAULT_ARCHIVE_TERM))
		return;
	if (f == FAULT_ARCHIVE)
		begin();
	else if (f == FAULT_ARCHIVE_STOP)
		stop(events);
	else if (f == FAULT_ARCHIVE_KILL)
		process_end(shelf.archiver, 0, SIGKILL);
	else if (f == FAULT_ARCHIVE_TERM)
		terminate();
	plan_did(f);
}

void shelf_tick(uint64_t events)
{
	if (!shelf.c || shelf.ending)
		return;
	if (shelf.stopped && (events >= shelf.goes_on || !lives()))
		go_on();
	if (events < shelf.next)
		return;
	shelf.next = events + 1 + chance_below(&shelf.chance, 2 * ACT_EVENTS);
	act(lives() ? draw() : FAULT_ARCHIVE, events);
}

void shelf_end(void)
{
	uint64_t until = kernel.now + END_NS;

	if (!shelf.c)
		return;
	shelf.ending = true;
	/* One that was asked to end before takes what there was then. */
	if (!shelf.wanted)
		shelf.wanted = tail();
	go_on();
	event_add(object_at(shelf.control), 1);
	while (lives() && kernel.now < until)
		fiber_block(NULL, kernel.now + LOOK_NS);
	if (lives())
		run_failed("archive: the VM has ended and the archiver does not");
}

void shelf_archiver_ends(const struct process *p, int status, int signal)
{
	bool no_memory = p->fail_at && p->allocations >= p->fail_at;
	uint64_t at = shelf.place.position;

	if (signal)
		return;
	if (status && !shelf.excused && !no_memory)
		run_failed("archive: the archiver gave up with status %d", status);
	if (status || no_memory)
		return;
	if (!shelf.wanted && !shelf.ending)
		run_failed("archive: the archiver has ended and nobody asked it to");
	if (at < shelf.wanted && oldest() <= at)
		run_failed("archive: it ends at %llu, the log went to %llu when it was asked to end",
			   (unsigned long long)at, (unsigned long long)shelf.wanted);
}

/* ---- the archive ------------------------------------------------------------------- */

/* Declared as what they stand for. */
__typeof__(archive_open) __wrap_archive_open;
__typeof__(archive_close) __wrap_archive_close;
__typeof__(archive_place) __wrap_archive_place;
__typeof__(archive_append) __wrap_archive_append;
__typeof__(archive_flush) __wrap_archive_flush;
__typeof__(archive_gap) __wrap_archive_gap;
__typeof__(archive_checkpoint) __wrap_archive_checkpoint;
__typeof__(archive_expire) __wrap_archive_expire;
__typeof__(archive_bytes) __wrap_archive_bytes;

int __wrap_archive_open(const char *dir, const struct archive_options *o, struct archive **ret,
			char *why)
{
	(void)dir;
	(void)o;
	(void)why;
	shelf.live = (struct archive){ .staged = shelf.place, .based = oldest() == 0 };
	*ret = &shelf.live;
	return 0;
}

/* A disk is slow, or has no room, or fails. */
static int write_out(struct archive *a)
{
	uint64_t ns = chance_below(&shelf.chance, WRITE_NS);

	if (run_fault(FAULT_ARCHIVE_SLOW))
		ns += chance_below(&shelf.chance, SLOW_NS);
	fiber_block(NULL, kernel.now + ns);
	if (run_fault(FAULT_ARCHIVE_ERROR)) {
		shelf.excused = true;
		return chance_once_in(&shelf.chance, 2) ? ARCHIVE_E_FULL : -EIO;
	}
	shelf.place = a->staged;
	shelf.bytes += a->used;
	a->used = 0;
	return 0;
}

struct archive *__wrap_archive_close(struct archive *a)
{
	if (a && a->used && !shelf.excused)
		write_out(a);
	return NULL;
}

const struct archive_place *__wrap_archive_place(const struct archive *a)
{
	return &a->staged;
}

/* Between two records there is nothing, or what was left at the ring's end. */
static uint64_t chain_before(const struct archive *a, uint64_t position, uint8_t lane)
{
	const struct log_record pad = { .type = LOG_PAD, .lane = lane };
	uint64_t bytes = shelf.c->lane_words[0].bytes, end = a->staged.position;

	if (position == end)
		return a->staged.chain;
	if (position % bytes || position - end >= bytes)
		run_failed("archive: a record at %llu is given behind %llu",
			   (unsigned long long)position, (unsigned long long)end);
	return log_chain(&pad, NULL, a->staged.chain);
}

static void check_record(struct archive *a, uint64_t position, const struct log_record *h,
			 const void *payload)
{
	if (log_chain(h, payload, chain_before(a, position, h->lane)) != h->chain)
		run_failed("archive: the record at %llu does not follow on what was given before",
			   (unsigned long long)position);
	if (h->type == LOG_EVENT && h->seq != a->staged.seq + 1)
		run_failed("archive: turn %llu is given behind turn %llu", (unsigned long long)h->seq,
			   (unsigned long long)a->staged.seq);
}

int __wrap_archive_append(struct archive *a, uint64_t position, const struct log_record *h,
			  const void *payload)
{
	check_record(a, position, h, payload);
	a->staged.position = position + log_cost(h->len);
	a->staged.chain = h->chain;
	if (h->type == LOG_EVENT)
		a->staged.seq = h->seq;
	a->used += log_cost(h->len);
	result.archived++;
	run_point(POINT_CALL);
	return a->used < CHUNK ? 0 : write_out(a);
}

int __wrap_archive_flush(struct archive *a)
{
	return a->used ? write_out(a) : 0;
}

int __wrap_archive_gap(struct archive *a, const struct slot_cut *cut, const uint8_t *bytes,
		       size_t len)
{
	(void)bytes;
	if (oldest() <= a->staged.position)
		run_failed("archive: it tells of a gap behind %llu, and the ring begins at %llu",
			   (unsigned long long)a->staged.position, (unsigned long long)oldest());
	if (cut->position <= a->staged.position || cut->seq < a->staged.seq)
		run_failed("archive: it goes on at turn %llu and has turn %llu",
			   (unsigned long long)cut->seq, (unsigned long long)a->staged.seq);
	a->staged = (struct archive_place){ .seq = cut->seq, .position = cut->position,
					    .chain = cut->chain, .run = a->staged.run + 1 };
	a->based = true;
	a->base = cut->position;
	a->used += len;
	result.fault[FAULT_ARCHIVE_GAP]++;
	return write_out(a);
}

/* The log between two checkpoints leads from one to the other, as long as the ring
 * holds it and the build knows the level. */
int __wrap_archive_checkpoint(struct archive *a, const struct slot_cut *cut, const uint8_t *bytes,
			      size_t len, bool verified)
{
	(void)bytes;
	if (cut->position > a->staged.position)
		run_failed("archive: the checkpoint of turn %llu lies behind what it has",
			   (unsigned long long)cut->seq);
	if (!verified && a->based && oldest() + NEAR < a->base &&
	    process_current()->program == PROGRAM_ARCHIVE_B)
		run_failed("archive: the log does not lead to the checkpoint of turn %llu",
			   (unsigned long long)cut->seq);
	a->based = true;
	a->base = cut->position;
	a->used += len;
	result.archive_verified += verified;
	return write_out(a);
}

void __wrap_archive_expire(struct archive *a, uint64_t now_ns)
{
	(void)a;
	(void)now_ns;
}

uint64_t __wrap_archive_bytes(const struct archive *a)
{
	return shelf.bytes + a->used;
}

/* ---- what else it calls ---------------------------------------------------------------- */

__typeof__(archive_status_open) __wrap_archive_status_open;
__typeof__(archive_status_write) __wrap_archive_status_write;
__typeof__(control_connect) __wrap_control_connect;
__typeof__(control_custody) __wrap_control_custody;
__typeof__(sandbox_privileges) __wrap_sandbox_privileges;
__typeof__(sandbox_limits) __wrap_sandbox_limits;
__typeof__(sandbox_allow_only) __wrap_sandbox_allow_only;
int __wrap_setpriority(int which, id_t who, int priority);

int __wrap_archive_status_open(const char *dir)
{
	(void)dir;
	return -1;
}

void __wrap_archive_status_write(int fd, const struct archive_status *s)
{
	(void)fd;
	(void)s;
}

/* Custody is there already: a descriptor that it was started with. */
int __wrap_control_custody(const char *state_dir, struct custody *c)
{
	(void)state_dir;
	(void)c;
	return -ENOTCONN;
}

int __wrap_control_connect(const char *state_dir)
{
	(void)state_dir;
	return descriptor_add(process_current(), shelf.control, WIRE_FD_CUSTODY + 1);
}

/* What a simulated process would give up, the simulation would lose. */
int __wrap_sandbox_privileges(void)
{
	return 0;
}

int __wrap_sandbox_limits(unsigned files)
{
	(void)files;
	return 0;
}

int __wrap_sandbox_allow_only(enum sandbox_set set)
{
	(void)set;
	return 0;
}

int __wrap_setpriority(int which, id_t who, int priority)
{
	(void)which;
	(void)who;
	(void)priority;
	return 0;
}
