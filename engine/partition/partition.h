/* engine/partition/partition.h - the partition process: its private memory.
 *
 * Threads: the hub (main thread; all descriptors, commands, control socket),
 * one thread a VP, the sentinel (ownership). What is private here dies with
 * the VM only, so a mark made here before an act is as good as a commit word.
 *
 * Locks, never two at a time but children_lock over none: run_lock (go,
 * parked), synic[].lock (one VP's declared SynIC and queue), posted_lock (the
 * queue of posted messages), children_lock (child[], faults). */
#ifndef ENGINE_PARTITION_PARTITION_H
#define ENGINE_PARTITION_PARTITION_H

#include "engine/custody.h"
#include "engine/fact.h"
#include "engine/partition/backend.h"

#include <stdio.h>
#include <sys/types.h>

enum {
	PARTITION_FD_FREE = 512,      /* sources of rows lie above the rows' numbers in children */
	PARTITION_FILES = 2048,       /* open at a time: rows twice, clients, VPs, and room */
	PARTITION_EXES = 16,          /* executables kept: owner, predecessor, and room */
	PARTITION_NOTICES = LIMIT_DISKS + 8, /* configuration, a disk each, start */
	PARTITION_POLL_MS = 20,       /* slow poll while something waits (protocol.md B.1) */
	PARTITION_STUCK_POLLS = 50,   /* a slot busy for 1 s: interrupt again (B.1) */
	PARTITION_FAULTS = 3,         /* DESIGN §2: three faults in 10 s */
	PARTITION_WATCHDOG_MAX = 3600, /* s; who waits longer wants --watchdog 0 */
};
_Static_assert(WIRE_FD_BASE + LIMIT_FDS <= PARTITION_FD_FREE, "rows and sources must not overlap");

#define PARTITION_FAULT_NS UINT64_C(10000000000)
#define PARTITION_PAUSE_NS UINT64_C(2000000000)  /* DESIGN §2: at most 5 s */
#define PARTITION_STANDBY_NS UINT64_C(20000000)  /* between two starts of standbys */
#define PARTITION_STANDBY_FAILED_NS UINT64_C(1000000000) /* after one that gave up */
#define PARTITION_TAKE_NS UINT64_C(30000000000)  /* a named taker that never serves is killed */
#define PARTITION_END_NS UINT64_C(5000000000)    /* a killed paravisor whose last requests the kernel holds */

struct vp {
	struct partition *p;
	uint32_t index;
	pthread_t thread;
};

/* The declared state in force and the delivery of one VP's messages. */
struct synic_vp {
	pthread_mutex_t lock;
	struct wire_declared_vp declared;
	uint32_t stuck;               /* slow polls that found the same message in the way */
	bool waiting;                 /* something is queued and not deliverable yet */
};

struct child {
	bool alive;                   /* spawned and not reaped */
	bool gone_pending;            /* OP_SUCCESSOR_GONE still to be posted */
	bool ready_told;              /* OP_SUCCESSOR_READY was posted */
	bool died_owner;              /* the sentinel saw it die while it owned */
	bool gave_up;                 /* it ended by itself, with a status */
	bool stood_still;             /* the watchdog killed it */
	pid_t pid;
	int pidfd;
	uint32_t role, exe_row;
	char why[160];
};

struct options {
	const char *state_dir, *name, *cmdline;
	const char *fill;             /* for tests: passed to every paravisor as --fill; NULL none */
	const struct backend *backend;
	uint64_t memory;
	uint32_t vps;
	bool hugetlb, force_kvm, standby;
	uint64_t watchdog_ns;         /* an owner that stands still so long is killed; 0: never */
	int config_fd, exe_fd, ready_fd, guest_fd;
};

struct partition {
	struct options o;
	struct custody c;
	const struct backend *backend;
	void *machine;                /* of the back end */

	uint8_t *ram;
	uint64_t ram_bytes, ram_low_bytes;
	int ram_fd, kick_fd, part_fd, wake_fd, com1_fd;
	int irq_fd[LIMIT_VPS], door_fd[LIMIT_CHANNELS];
	int dir_fd, log_fd;
	struct io_uring uring;

	struct vp vp[LIMIT_VPS];
	pthread_mutex_t run_lock;
	pthread_cond_t run_changed;
	_Atomic bool go;
	uint32_t parked;

	struct synic_vp synic[LIMIT_VPS];
	struct wire_declared_copy declared; /* in force; hub */
	pthread_mutex_t posted_lock;

	pthread_mutex_t children_lock;
	struct child child[LIMIT_PROCS];
	bool no_more_children;        /* the VM ends: nobody is spawned, not even a taker */
	uint32_t next_slot;
	uint64_t fault_ns[PARTITION_FAULTS];
	uint64_t standby_ns;          /* no standby is started before */
	struct {                      /* of the watchdog; hub */
		uint64_t next_ns, word, beat;
		unsigned knocks;      /* at one that did not move since */
	} watch;
	_Atomic uint32_t kill_stamped; /* slot + 1 whose death_ns CONTROL_KILL stamped */
	pthread_t sentinel;
	_Atomic int guest_pidfd;       /* of a soft guest, or -1 */

	struct wire_notice *config;    /* notices still to go to the inbox; hub */
	uint32_t config_n, config_next;
	struct control *control;
	uint32_t disks;                /* names given: "disk.N" */
	uint32_t exes;                 /* names given: "exe.N" */
	uint32_t exe_used[LIMIT_FDS];  /* by row: number of the last use */

	_Atomic bool ending;
	_Atomic int exit_status;
	char end_why[256];             /* one line for who waits for the end; hub */
};

/* main.c: one line to the log. */
void partition_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* resource.c: everything that exists before the first process: custody, then
 * the rest. Return 0 or a negative errno, with a line in the log. */
int resource_custody(struct partition *p);
int resource_create(struct partition *p);
/* Descriptor moved to PARTITION_FD_FREE or above, close-on-exec; -errno. The
 * source is closed. */
int resource_lift(int fd);
/* Guest RAM at @gpa, or NULL when [gpa, gpa + bytes) is not all RAM. */
void *resource_ram(const struct partition *p, uint64_t gpa, uint64_t bytes);
void signal_eventfd(int fd);
/* Rows of disks. They are files of the io_uring, under the number of the row;
 * no paravisor gets their descriptors. Hub. */
bool resource_is_disk(const struct wire_fd *f);
/* A row of @fd (consumed); the row or -errno. */
int resource_disk_add(struct partition *p, int fd);
/* Requests that the kernel has already keep the file until they are over. */
int resource_disk_drop(struct partition *p, uint32_t row);

/* spawn.c */
struct spawn_fd { int from, to; };
struct spawn {
	int exe_fd, in_fd, out_fd, err_fd;
	char *const *argv;
	const struct spawn_fd *fds;
	uint32_t n_fds;
};
/* Starts a program by descriptor without copying this address space; the
 * child dies with the calling thread. Returns its pid, or -errno. */
pid_t spawn_process(const struct spawn *s);
/* Starts a paravisor from descriptor row @exe_row. Returns its slot or -errno. */
int spawn_paravisor(struct partition *p, uint32_t exe_row, enum wire_role role);
/* SIGKILL by pidfd; -ESRCH when the slot holds no live process. */
int spawn_kill(struct partition *p, uint32_t slot);
/* As spawn_kill(), children_lock held and the process alive; stamps the death. */
int spawn_kill_stamped(struct partition *p, uint32_t slot);
/* Hub: kills the owner that a follower gives up (kill_ask), if it still owns. */
void spawn_kill_asked(struct partition *p);
bool spawn_alive(struct partition *p, uint32_t slot);
/* Hub: collects ended children, frees their slots; tells of those that are ready. */
void spawn_reap(struct partition *p);
/* Hub: kills and reaps every paravisor, within PARTITION_END_NS, and closes the
 * disks: on return whoever wants to lock them can. Nobody is spawned after. */
void spawn_end(struct partition *p);
/* Hub: keeps one follower of the owner's build, if that was asked for. True: one
 * is due, come again soon. */
bool spawn_standby(struct partition *p);
/* Makes a row of an executable's descriptor (consumed); the row or -errno. */
int spawn_exe_row(struct partition *p, int fd);

/* hub.c */
int hub_run(struct partition *p);
void hub_end(struct partition *p, int status);   /* any thread */
/* Hub: puts a notice into the inbox and kicks; -EAGAIN when it is full. */
int hub_notice(struct partition *p, const struct wire_notice *n);

/* vp.c */
/* Before anything else: the locks, and each SynIC as after a reset. */
void vp_prepare(struct partition *p);
int vp_create(struct partition *p);
void vp_stop(struct partition *p);               /* hub; returns when all are parked */
void vp_go(struct partition *p);

/* posted.c: HvPostMessage (A.8); the status for RAX. Any VP thread. */
uint16_t posted_put(struct partition *p, uint32_t vp, uint64_t control, uint64_t gpa);

/* synic.c */
void synic_deliver(struct partition *p, uint32_t vp);
/* As synic_deliver() for all; true: something waits, come again. */
bool synic_poll(struct partition *p);
void synic_declare(struct partition *p, uint32_t vp, const struct wire_declared_vp *d);

/* declared.c: brings the machine in line with the committed copy. Hub. */
void declared_reconcile(struct partition *p);

/* command.c: performs what the owner has queued. True: replies wait for room. */
bool command_run(struct partition *p);

/* control_server.c */
struct pollfd;
int control_create(struct partition *p);
void control_destroy(struct partition *p);
/* Adds what to poll; returns the number of entries (at most CONTROL_POLLS). */
enum { CONTROL_CLIENTS = 64, CONTROL_POLLS = CONTROL_CLIENTS + 1 };
uint32_t control_poll(struct partition *p, struct pollfd *fds);
void control_serve(struct partition *p, const struct pollfd *fds, uint32_t n);
void control_reports(struct partition *p);
void control_console(struct partition *p);
/* The VM has ended: everybody is told. */
void control_ended(struct partition *p);

/* watchdog.c, hub: looks whether the owner's loop turns, and kills one that was
 * knocked at and does not. */
void watchdog_look(struct partition *p);
/* When it wants to look again: as the timeout of poll(2). */
int watchdog_wait_ms(const struct partition *p);

/* ownership.c */
int ownership_start(struct partition *p);
/* Reaper, children_lock held: slot @slot ended by a fault. */
void ownership_fault(struct partition *p);

#endif
