/* tests/crash/tracee.h - processes under ptrace, and one of them held by the hand.
 *
 * struct trace: every thread of one process (the partition), and all that it
 * starts from then on. Those that start stop at their first instruction; the
 * rest run on, signals are passed through. struct tracee: one single-threaded
 * process of those. One thread of this program does everything. */
#ifndef TESTS_CRASH_TRACEE_H
#define TESTS_CRASH_TRACEE_H

#include "tests/crash/insn.h"
#include "tests/crash/space.h"

enum { TRACE_STARTED = 8 };

struct trace {
	unsigned n_started;
	pid_t started[TRACE_STARTED]; /* stopped at their first instruction, oldest first */
	pid_t ended;                  /* the last process that ended */
	int ended_status;
};

/* Seizes every thread of @pid. 0 or a negative errno. */
int trace_seize(pid_t pid);

/* Takes what ptrace and wait have to tell, at most @timeout_ns. Returns the pid
 * of a process that has stopped by a step or a breakpoint, 0 if none did. */
pid_t trace_wait(struct trace *t, uint64_t timeout_ns);

/* The oldest process that waits at its first instruction, or 0. */
pid_t trace_take_started(struct trace *t);
int trace_continue(pid_t pid);

/* Kills a traced process and waits until it is gone; -ETIMEDOUT after 10 s. */
int trace_kill(struct trace *t, pid_t pid);

/* Asked about once a millisecond while a tracee runs: true, no more waiting. */
typedef bool tracee_over(void *context);

enum tracee_result {
	TRACEE_STOPPED = 0,  /* at the breakpoint, or behind the instruction */
	TRACEE_OVER = 1,     /* it runs on */
	TRACEE_ENDED = 2,
};

struct tracee {
	struct trace *trace;
	struct decoder *decoder; /* of its own: addresses differ between processes */
	pid_t pid;
	int memory; /* /proc/PID/mem */
	uint64_t break_at;
	uint8_t broken;
	struct space space;
	tracee_over *over;
	void *context;
};

/* 0 or a negative errno; close it in both cases. The tracee need not be stopped. */
int tracee_open(struct tracee *te, struct trace *t, pid_t pid);
void tracee_close(struct tracee *te);

/* One breakpoint at a time; may be set while the process sleeps in the kernel. */
int tracee_break(struct tracee *te, uint64_t at);
/* Runs a stopped tracee to its breakpoint, which is then removed. */
enum tracee_result tracee_run(struct tracee *te);
/* Waits until a running tracee is at its breakpoint, which is then removed. */
enum tracee_result tracee_await(struct tracee *te);
void tracee_unbreak(struct tracee *te);

/* Puts a tracee on the processor that this program runs on, and this program too:
 * a step then takes a third of the time. tracee_unpin(): this program only. */
void tracee_pin(const struct tracee *te);
void tracee_unpin(void);

/* Before an instruction of a stopped tracee. */
int tracee_registers(const struct tracee *te, struct user_regs_struct *ret);
const struct insn *tracee_insn(struct tracee *te, uint64_t at);

/* Whether the instruction stores to shared memory. *ret: which, where. */
struct tracee_store {
	char path[SPACE_PATH];
	uint64_t offset; /* in the mapping's object */
	uint64_t address, bytes;
};
bool tracee_stores(struct tracee *te, const struct insn *in, const struct user_regs_struct *regs,
		   struct tracee_store *ret);

/* Memory of a stopped tracee; what cannot be read is left as it is. */
void tracee_peek(const struct tracee *te, uint64_t from, void *to, size_t bytes);

/* Executes it wholly; @part: one iteration of a repeated one. */
enum tracee_result tracee_execute(struct tracee *te, const struct insn *in, bool part);

/* The process sleeps in epoll_wait: *ret_at is where it will go on. */
bool tracee_sleeps(pid_t pid, uint64_t *ret_at);

#endif
