/* tests/crash/points.h - where a process can be killed so that it makes a difference.
 *
 * A point lies behind an instruction that stores to shared memory or enters the
 * kernel; between two points no other process can tell how far this one came.
 * It is named by its place in the text and by how many such executions of that
 * place came before it in the window, so that it is found again in a process
 * that runs at full speed, at other addresses. */
#ifndef TESTS_CRASH_POINTS_H
#define TESTS_CRASH_POINTS_H

#include "tests/crash/tracee.h"

enum point_kind {
	POINT_STORE,
	POINT_PART,     /* behind the first iteration of a repeated store */
	POINT_SYSCALL,
	POINT_START,    /* the system call the window begins with has returned */
};

struct point {
	struct place at;
	enum point_kind kind;
	uint32_t nth;              /* from 1 */
	bool same;                 /* the store left every byte as it was */
	uint32_t number;           /* POINT_SYSCALL */
	struct tracee_store store; /* POINT_STORE, POINT_PART */
	struct place via;          /* the program's own last call */
};

struct points {
	struct point *point;
	unsigned n, capacity;
	uint64_t steps;            /* instructions in the window */
	uint64_t undecoded;        /* of them unknown to the decoder: must be 0 */
};

enum shot { SHOT_KILLED, SHOT_MISSED, SHOT_ENDED };

/* Steps a stopped tracee until its over() holds, which is asked behind each
 * point and while it sleeps. @program: the executable, for `via`. @woken: the
 * window begins with the return of the system call it slept in. @ret is empty.
 * 0, -ENOMEM, or -ESRCH: it ended. */
int points_record(struct tracee *te, const char *program, bool woken, struct points *ret);
/* Adds those points of @from that @to lacks. How many, or -ENOMEM. */
int points_merge(struct points *to, const struct points *from);
void points_free(struct points *p);

/* Lets a stopped tracee run to the point and kills it there. SHOT_MISSED: its
 * over() held before; it runs on. *ret_ns: when the signal was sent. */
enum shot points_shoot(struct tracee *te, const struct point *p, uint64_t *ret_ns);

/* One line: what, where, called from where. */
void point_describe(const struct point *p, char *text, size_t capacity);

#endif
