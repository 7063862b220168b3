/* sim/run.h - one run: its options, its faults, what is looked at. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim/kernel.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/types.h>

enum fault {
#define FAULT(name, word, every, doc) FAULT_##name,
#include "sim/faults.def"
#undef FAULT
	FAULTS
};
_Static_assert(FAULTS <= 64, "a set of them is a word");

/* Where a run can be left by a SIGKILL. */
enum point { POINT_CALL, POINT_TURN, POINT_EFFECT };

enum { RUN_CUTS = 8 };

struct run_options {
	uint64_t seed, events;
	uint64_t faults;              /* set of enum fault */
	uint64_t plan_limit;          /* of what the plan does: so many, then no more */
	bool hostile, verbose;
	uint64_t disk_ms;             /* of a request, on disks that do one at a time; 0: drawn */
	bool scenario;                /* the fixed one (scenario.h) */
	uint64_t kill_at;             /* point of its owners; 0: none */
	unsigned n_cuts;
	uint64_t cut[RUN_CUTS];       /* turns at which owner and followers must have one state */
	const char *guest_words;      /* behind its own; NULL */
	const char *state_dir;        /* where a failed run leaves its log; NULL */
};

struct run_result {
	bool failed;
	uint64_t events, steps, virtual_ns, cpu_ns;
	uint64_t planned;             /* things that the plan has done */
	uint64_t fault[FAULTS];
	uint64_t verified, completions, recoveries, compared, checked;
	uint64_t archived, archive_verified; /* records; checkpoints that the archiver came to */
	uint64_t cuts, counted;       /* equal states at cuts; followers whose count was right */
	uint64_t reports[2];          /* of the operator: done, refused */
	struct scenario_result {
		uint64_t points;      /* that owners came to */
		bool killed, in_effect;
		uint64_t event, in_flight; /* when it was killed */
	} scenario;
	char why[240];
};

extern struct run_options options;
extern struct run_result result;
extern struct kernel_events { uint64_t completions; } kernel_events;

const char *fault_name(enum fault f);

/* ---- from the product's calls -------------------------------------------------- */
/* Somebody may be killed here, or others get the processor. */
void run_point(enum point p);
/* A fault by chance: true, and counted, once in a while. */
bool run_fault(enum fault f);
bool run_allocation_fails(void);
bool run_wait_is_interrupted(void);
bool run_wake_up_is_lost(void);
void run_between_batches(void);
/* The current process has stepped a turn and staged what it does. */
void run_turn(void);
void run_process_ends(struct process *p, int status, int signal);

/* ---- verdicts ------------------------------------------------------------------- */
/* Ends the run as failed. Does not return. */
_Noreturn void run_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define run_expect(x, why) ((x) ? (void)0 : run_failed("%s", why))

/* ---- parts ------------------------------------------------------------------------ */
uint64_t plan_tick(void);             /* plan.c: kernel_run's tick */
struct custody;
void plan_start(struct custody *c);
void run_done(void);
/* Virtual time ends here: what comes is for the oracles. */
void run_guest_has_ended(void);
/* main.c: tells the parent, and ends the real process. */
_Noreturn void run_report(void);
void mutex_orphaned(void);            /* sync.c */
void uring_submitter_died(int pid);   /* disk.c */
uint64_t disk_run(void);              /* completes what is due; when it wants to run again */
/* Nothing is completed any more, or again. */
void disk_stick(bool stuck);
void disk_make(unsigned index, uint64_t bytes, bool block);
unsigned disk_under_way(void);
struct stat;
void disk_stat(unsigned index, struct stat *st);
struct sim_loop;
struct process *loop_process(const struct sim_loop *l);
void loop_event(struct sim_loop *l, int fd);

/* ---- libc, as it is ----------------------------------------------------------------- */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *at, size_t bytes);
void __real_free(void *at);
int __real_close(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t n);
int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate64(int fd, off_t bytes);
void *__real_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);
_Noreturn void __real__exit(int status);
int __real_getpid(void);
ssize_t __real_read(int fd, void *bytes, size_t n);
_Noreturn void __real_abort(void);
_Noreturn void __wrap_abort(void);
int __real_clock_gettime(int clock, struct timespec *ret);

/* ---- the wrappers that other parts call ----------------------------------------------- */
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t each);

#endif
