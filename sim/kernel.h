/* sim/kernel.h - the simulated machine: processes, threads, time, descriptors.
 *
 * Partition, paravisors and guest run here as they are: the object code of the
 * product, whose calls of libc are taken over when it is linked (meson.build). A
 * thread is a fiber with a stack of its own; one runs at a time, and changes
 * only in one of these calls. Time is a number that moves when a fiber has
 * run, or to the next deadline when none can. What runs next, how long it
 * takes, and what fails is drawn from generators that one seed feeds, so a
 * seed is a run.
 *
 * One world per real process: a run that is over ends it (main.c forks). */
#ifndef SIM_KERNEL_H
#define SIM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SIM_FIBERS = 64,      /* a bit each in the sets below */
	SIM_PROCESSES = 4096, /* all that were ever spawned may be named by a pidfd */
	SIM_FDS = 2048,       /* of one process */
	SIM_OBJECTS = 8192,
};

/* ---- chance ------------------------------------------------------------------ */
struct chance { uint64_t state; };

/* splitmix64 */
static inline uint64_t chance_draw(struct chance *c)
{
	uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* [0, n); 0 for n == 0. */
static inline uint64_t chance_below(struct chance *c, uint64_t n)
{
	__extension__ typedef unsigned __int128 wide;

	return n ? (uint64_t)((wide)chance_draw(c) * n >> 64) : 0;
}

/* True once in @n on average; never for 0. */
static inline bool chance_once_in(struct chance *c, uint64_t n)
{
	return n && chance_below(c, n) == 0;
}

/* ---- processes and fibers ------------------------------------------------------ */
enum process_role { PROCESS_PARTITION, PROCESS_PARAVISOR, PROCESS_GUEST, PROCESS_ARCHIVER };

struct heap_block;
struct world;
struct lane;
struct process {
	int pid;
	bool alive;
	enum process_role role;
	int status, signal;           /* when it has ended */
	unsigned fibers;
	unsigned program;             /* enum program */
	unsigned slot;                /* of custody */
	struct heap_block *heap;
	int16_t fd[SIM_FDS];          /* object, -1: closed */
	uint64_t watchers;            /* fibers that wait for its end */
	/* PROCESS_PARAVISOR: */
	struct world *world;          /* once it has one */
	struct lane *lane;            /* once it serves */
	unsigned begins;              /* times it loaded a checkpoint */
	bool standby, serves;
	uint64_t from_seq, from_events; /* where its follower's world and count began */
	uint64_t allocations, fail_at; /* the allocation that fails; 0 none */
	void (*on_term)(int);         /* PROCESS_ARCHIVER: its handler of SIGTERM; NULL: none yet */
};

enum fiber_state { FIBER_FREE, FIBER_RUNNABLE, FIBER_BLOCKED };

struct fiber {
	enum fiber_state state;
	struct process *process;
	void *sp;                     /* while it does not run */
	uint8_t *stack;
	void *(*entry)(void *);
	void *argument;
	uint64_t deadline;            /* UINT64_MAX: none */
	const void *address;          /* futex, mutex, condition it waits for */
	bool timed_out;
	unsigned id;                  /* its place; another thread may have had it before */
	uint64_t thread;              /* its number, which no other thread has; who joins waits here */
	bool ended;
};

struct sim_kernel {
	uint64_t now, start;          /* ns */
	uint64_t next_deadline;       /* not after the first deadline of any fiber */
	uint64_t next_tick;           /* when disks and plan want to be looked at */
	uint64_t slice_ns;            /* what a fiber takes each time it runs */
	uint64_t steps;               /* times a fiber was resumed */
	struct fiber fiber[SIM_FIBERS];
	uint64_t runnable, blocked;   /* sets of fibers */
	uint64_t held;                /* of these, the ones that get no processor */
	bool holds_new;               /* who is started is held */
	struct fiber *current;
	struct process *process[SIM_PROCESSES];
	int n_processes;
	uint64_t n_threads;           /* that were ever started */
	struct chance schedule, host, fault, data;
	bool over;
	volatile bool late;           /* its processor time is up */
};
extern struct sim_kernel kernel;

/* A process without fibers. Its descriptors are empty. */
struct process *process_new(enum process_role role);
struct fiber *fiber_new(struct process *p, void *(*entry)(void *), void *argument);
/* As _exit() and as SIGKILL: all its fibers are gone, robust mutexes are
 * orphaned, who waits for it is woken. Does not return when it is the caller's. */
void process_end(struct process *p, int status, int signal);
static inline struct process *process_current(void)
{
	return kernel.current ? kernel.current->process : NULL;
}
struct process *process_by_pid(int pid);

/* Waits: until fiber_wake() or @deadline; true: woken. */
bool fiber_block(const void *address, uint64_t deadline);
void fiber_wake(struct fiber *f);
/* Wakes at most @n of those that wait for @address; how many. */
unsigned fiber_wake_all(const void *address, unsigned n);
/* Of @set only. */
unsigned fiber_wake_those(uint64_t set, const void *address, unsigned n);
void fiber_wake_set(uint64_t set);
/* Lets others run. */
void fiber_yield(void);
/* Frees the caller. */
_Noreturn void fiber_exit(void);

/* Runs until kernel.over. @tick is called when kernel.next_tick has come and
 * returns the next one. */
void kernel_run(uint64_t (*tick)(void));
/* Keeps a process from running for @ns, whatever it waits for. */
void process_pause(struct process *p, uint64_t ns);
/* The same until processes_go(); what it waits for comes to pass meanwhile. */
void process_hold(struct process *p);
bool process_is_held(const struct process *p);
void processes_go(void);
void process_release(struct process *p);  /* of this one only */

/* ---- memory of a process ------------------------------------------------------- */
void heap_drop(struct process *p);

/* ---- descriptors --------------------------------------------------------------- */
enum object_type { OBJECT_FREE, OBJECT_EVENT, OBJECT_MEMORY, OBJECT_PID, OBJECT_EXE, OBJECT_URING,
		   OBJECT_DISK, OBJECT_SINK };

enum { OBJECT_LOOPS = 10 };
struct sim_loop;
struct object {
	enum object_type type;
	unsigned refs;
	uint64_t value;               /* event: counter; pid; exe: program; disk: index */
	bool blocking;
	uint64_t waiting;             /* fibers in read() or poll() */
	struct { struct sim_loop *loop; int fd; } loop[OBJECT_LOOPS];
	unsigned n_loops;
	int real_fd;                  /* memory */
	uint64_t bytes;
	void *map;                    /* of the whole of it */
	void *view;                   /* the same, to be read only: an archiver's */
};
struct object *object_of(int fd);              /* of the current process; NULL */
int object_open(enum object_type type, uint64_t value); /* a descriptor, or -errno */
int descriptor_add(struct process *p, int16_t object, int from);
void descriptors_close(struct process *p);
void event_add(struct object *o, uint64_t n);
struct object *object_at(int16_t index);

#endif
