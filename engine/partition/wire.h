/* engine/partition/wire.h - what the partition and paravisors share: custody.
 *
 * Custody is one memfd, made by the partition, inherited by every paravisor as
 * descriptor WIRE_FD_CUSTODY, mapped shared by all. It outlives each
 * paravisor; the partition's death is the VM's. Everything here is versioned
 * (WIRE_VERSION) and served for ever by later paravisors: areas are found by
 * the table in the header, never by a compiled-in offset.
 *
 * Writers: each word names its one writer. "owner" is the paravisor that the
 * ownership word names; it is the only one that may write owner's words, guest
 * memory, or submit I/O. Cross-process words are C11 atomics, lock-free. */
#ifndef ENGINE_PARTITION_WIRE_H
#define ENGINE_PARTITION_WIRE_H

#include "engine/limits.h"
#include "engine/log.h"

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
	WIRE_MAGIC = 0x44464C48,  /* "HLFD" */
	WIRE_VERSION = 1,
	WIRE_FD_CUSTODY = 3,      /* in every spawned process */
	WIRE_FD_BASE = 16,        /* descriptor of row n of the table: base + n */
	WIRE_PAGE = 4096,
	WIRE_FAULTS = 8,          /* newest deaths by own doing that are remembered */
};

/* ---- areas ---------------------------------------------------------------- */
enum wire_area {
	AREA_HEADER = 0,      /* struct wire_header */
	AREA_DECLARED = 1,    /* struct wire_declared */
	AREA_MAILBOXES = 2,   /* struct wire_mailbox [LIMIT_VPS] */
	AREA_POSTED = 3,      /* struct wire_posted_queue */
	AREA_MESSAGES = 4,    /* struct wire_message_queue [LIMIT_VPS] */
	AREA_COMMANDS = 5,    /* struct wire_command_queue */
	AREA_REPLIES = 6,     /* struct wire_reply_queue */
	AREA_INBOX = 7,       /* struct wire_inbox */
	AREA_CONSOLE_OUT = 8, /* struct wire_console: guest to operator */
	AREA_CONSOLE_IN = 9,  /* struct wire_console: operator to guest */
	AREA_LANE_WORDS = 10, /* struct log_words [LIMIT_LANES] */
	AREA_LANE_RING = 11,  /* LIMIT_LOG_BYTES of lane 0 */
	AREA_SLOTS = 12,      /* struct wire_slot_head [2] */
	AREA_SLOT_A = 13,     /* LIMIT_SLOT_BYTES */
	AREA_SLOT_B = 14,
	AREA_DISK = 15,       /* struct wire_disk_table */
	AREA_RINGS = 16,      /* struct wire_ring_pos [LIMIT_CHANNELS] */
	AREA_PROCS = 17,      /* struct wire_proc [LIMIT_PROCS] */
	AREA_STATS = 18,      /* struct wire_stats */
	AREAS = 19,
};

/* Disks are not inherited: the io_uring has each as the registered file of its row. */
struct wire_fd {
	char name[24];        /* "ram", "uring.0", "cq.0", "kick", "part", "door.N", "irq.N", "com1", "disk.N", "kernel", "initrd", ... */
	int32_t fd;           /* in the partition; -1: row unused */
	uint32_t reserved;
};

/* Ownership: one word, moved only by compare-exchange.
 * epoch << 32 | slot << 8 | state. */
enum wire_owner_state {
	OWNER_NONE = 0,       /* nobody yet, or the owner is dead and nobody is named */
	OWNER_OWNED = 1,      /* slot serves */
	OWNER_FLIPPING = 2,   /* slot has stopped; the successor in `flip_to` may take it */
	OWNER_TAKING = 3,     /* the owner is dead; slot is the one named to take over */
	OWNER_PAUSED = 4,     /* the partition waits before it starts another (crash loop) */
};
#define OWNER_WORD(epoch, slot, state) ((uint64_t)(epoch) << 32 | (uint64_t)(slot) << 8 | (state))
#define OWNER_EPOCH(w) ((uint32_t)((w) >> 32))
#define OWNER_SLOT(w) ((uint32_t)((w) >> 8 & 0xff))
#define OWNER_STATE(w) ((enum wire_owner_state)((w) & 0xff))

#define WIRE_ASK(epoch, slot) ((uint64_t)(epoch) << 32 | ((slot) + 1u))
enum wire_vote {
	VOTE_OFF = 0,         /* nobody votes: effects go out with their turn */
	VOTE_OPEN = 1,        /* the predecessor agrees up to `turn`; nothing behind it goes out */
	VOTE_REFUSED = 2,     /* it refuses `turn`: nothing of it or behind it goes out */
};

enum wire_takeover {
	TAKEOVER_FIRST = 1,
	TAKEOVER_PLANNED = 2,
	TAKEOVER_DEATH = 3,
	TAKEOVER_ROLLBACK = 4,
};

struct wire_header {
	uint32_t magic, version;
	uint64_t bytes;                          /* of the whole memfd */
	struct { uint64_t offset, bytes; } area[32];
	/* capacities this partition was made with */
	uint32_t vps, lanes, channels, requests;
	uint64_t ram_bytes, ram_low_bytes;       /* GPA [0,low) and [4 GiB, ...) map the memfd in order */
	uint64_t wall_ns;                        /* UNIX time at partition clock 0 */
	uint64_t mono_base_ns;                   /* CLOCK_MONOTONIC at partition clock 0 */
	uint64_t tsc_hz, apic_hz;
	uint32_t backend;                        /* 1 kvm, 2 soft */
	uint32_t n_fds;
	char name[64];                           /* of the VM, for people */
	struct io_uring_params uring_params;     /* of "uring.0" */
	struct wire_fd fds[LIMIT_FDS];

	_Alignas(64) _Atomic uint64_t owner;     /* ownership word; also a futex (low half) */
	_Atomic uint32_t owner_futex;            /* bumped and woken after each move of `owner` */
	_Atomic uint32_t level;                  /* active level; written by the owner */
	_Atomic uint32_t predecessor;            /* slot + 1 of the last owner before this one, 0 none */

	/* Flip (written by the old owner before FLIPPING). */
	_Alignas(64) _Atomic uint64_t flip_seq;  /* final sequence */
	_Atomic uint64_t flip_position;          /* log position behind it */
	_Atomic uint64_t flip_chain;             /* chain value there */
	_Atomic uint64_t flip_stop_ns;           /* CLOCK_MONOTONIC: the lane stopped */
	_Atomic uint32_t flip_to;                /* successor's slot */

	/* Figures of the last take-over (written by the new owner). */
	_Atomic uint64_t served_ns;              /* CLOCK_MONOTONIC: first ring access of the new owner */
	_Atomic uint64_t death_ns;               /* CLOCK_MONOTONIC: SIGKILL sent, or death seen */
	_Atomic uint64_t vp_wait_ns_max;         /* longest mailbox wait; the partition writes it */
	_Atomic uint64_t vp_stopped;             /* VPs kicked out for a servicing: stays 0 */
	/* Faults (handler of SIGSEGV..., or whoever kills for a deadline). */
	_Atomic uint32_t faults;                 /* in all */
	_Atomic uint64_t fault_seq;              /* sequence that was being stepped */
	_Atomic uint64_t fault_seq_before;       /* the one of the fault before */
	_Atomic uint32_t takeovers, kills, spawns;
	_Atomic uint64_t guest_write_id;         /* owner: effect id of the last GUEST_WRITE applied */
	/* The newest faults; number `faults` - 1 lies at that number % WIRE_FAULTS. */
	struct { _Atomic uint64_t seq; _Atomic uint32_t effect, reserved; } fault[WIRE_FAULTS];
	_Atomic uint32_t quarantines;            /* owner: machines quarantined, in all */

	/* Probation: the predecessor votes (engine/vote.h), or asks for the guest.
	 * A word of an epoch that is over means nothing. */
	_Alignas(64) _Atomic uint64_t vote;      /* turn << 2 | enum wire_vote; compare-exchange, both sides */
	_Atomic uint32_t vote_futex;             /* bumped and woken after each move of `vote` */
	_Atomic uint64_t return_ask;             /* WIRE_ASK(epoch, slot): the owner is to flip to `slot`; predecessor */
	_Atomic uint64_t kill_ask;               /* WIRE_ASK(epoch, slot): the partition is to kill this owner; a follower */
	_Atomic uint64_t decided_ns;             /* CLOCK_MONOTONIC: the guest was to go back; whoever wanted it */

	/* What the owner of step_epoch steps or performs: who kills it tells by it
	 * what the fault was about. As struct fault_point. */
	_Atomic uint64_t step_seq;
	_Atomic uint32_t step_effect, step_epoch;
	_Atomic uint32_t unwatched;              /* 1: nobody is killed for standing still (a debugger); partition */
};

/* ---- declared state: written by the owner, read by the partition ----------- */
struct wire_declared_vp { uint64_t scontrol, simp, siefp, sint[16]; };
struct wire_declared_copy {
	uint64_t generation;                     /* sequence of the newest turn it holds */
	struct wire_declared_vp vp[LIMIT_VPS];
	uint32_t door[LIMIT_CHANNELS];           /* connection id that rings eventfd "door.N"; 0 none */
};
struct wire_declared {
	_Alignas(64) _Atomic uint64_t commit;    /* generation << 1 | index of the valid copy; owner */
	_Alignas(64) _Atomic uint64_t in_force;  /* generation the partition has applied */
	struct wire_declared_copy copy[2];
};

/* ---- exits ----------------------------------------------------------------- */
/* The one table of exits: who handles each. WIRE_ALONE: the partition, because
 * no VP may stall and nothing be delivered twice while no paravisor lives.
 * WIRE_MAILBOX: the VP waits in its mailbox for the owner. WIRE_LOOP: nothing
 * to do but to run the VP again. */
#define WIRE_EXITS(X)                                                              \
	X(EXIT_PIO, 1, WIRE_MAILBOX, "port I/O")                                    \
	X(EXIT_MMIO, 2, WIRE_MAILBOX, "access to memory that is not RAM")           \
	X(EXIT_RDMSR, 3, WIRE_MAILBOX, "RDMSR 0x40000000..0x400001ff, but EOM")     \
	X(EXIT_WRMSR, 4, WIRE_MAILBOX, "WRMSR 0x40000000..0x400001ff, but EOM")     \
	X(EXIT_HYPERCALL, 5, WIRE_MAILBOX, "slow hypercall but HvPostMessage")      \
	X(EXIT_FATAL, 6, WIRE_MAILBOX, "triple fault, or the back end gives up")    \
	X(EXIT_POST_MESSAGE, 7, WIRE_ALONE, "HvPostMessage into the bounded queue") \
	X(EXIT_EOM, 8, WIRE_ALONE, "WRMSR EOM: the slot was freed, try the next message") \
	X(EXIT_OTHER_MSR, 9, WIRE_ALONE, "unknown MSR: #GP")                        \
	X(EXIT_AGAIN, 10, WIRE_LOOP, "EINTR, EAGAIN")

enum wire_exit {
#define X(name, code, handler, doc) name = (code),
	WIRE_EXITS(X)
#undef X
};
enum wire_exit_fatal {
	FATAL_TRIPLE_FAULT = 1,
	FATAL_INTERNAL_ERROR = 2,
	FATAL_FAIL_ENTRY = 3,
	FATAL_SOFT_GUEST_ENDED = 4,
};

/* state: generation << 2 | MAILBOX_*; moved by compare-exchange, a futex (its
 * low half: generation's low 30 bits). */
enum { MAILBOX_IDLE = 0, MAILBOX_POSTED = 1, MAILBOX_ANSWERED = 2 };
struct wire_mailbox {
	_Alignas(64) _Atomic uint32_t state;     /* generation << 2 | MAILBOX_* */
	uint32_t exit;                           /* enum wire_exit; VP thread writes before POSTED */
	uint64_t address;                        /* port, GPA, MSR, hypercall control, or enum wire_exit_fatal */
	uint64_t value;                          /* written by the guest; RDX of a hypercall */
	uint64_t value2;                         /* R8 of a hypercall; reference time of an MSR */
	uint32_t size;                           /* bytes */
	uint32_t is_read;
	uint64_t posted_ns;                      /* CLOCK_MONOTONIC */
	_Alignas(64) uint64_t answer;            /* owner writes before ANSWERED */
	uint32_t fault;                          /* 1: #GP */
	uint32_t reserved;
};

/* ---- posted messages: partition (any VP thread, under its lock) -> owner ---- */
struct wire_posted {
	uint32_t connection_id, message_type, vp, bytes;
	uint8_t payload[LIMIT_MESSAGE];
};
struct wire_posted_queue {
	_Alignas(64) _Atomic uint64_t head;      /* partition: next place to fill, free-running */
	_Alignas(64) _Atomic uint64_t tail;      /* owner: next to take; published after the append */
	struct wire_posted entry[LIMIT_MESSAGE_QUEUE];
};

/* ---- outgoing SynIC messages: owner -> partition, one queue per VP --------- */
struct wire_message {
	uint64_t id;                             /* effect id */
	uint32_t sint, bytes;
	uint8_t payload[LIMIT_MESSAGE];
};
struct wire_message_queue {
	_Alignas(64) _Atomic uint64_t head;      /* owner; stored after entry and last_id */
	_Alignas(64) _Atomic uint64_t tail;      /* partition: next to deliver */
	_Atomic uint64_t last_id;                /* id of the newest entry: redo applies only greater */
	struct wire_message entry[LIMIT_MESSAGE_QUEUE];
};

/* ---- one-off commands: owner -> partition, and their replies --------------- */
enum wire_command_op {
	WIRE_CMD_VP_START = 1,    /* vp 0: arg = rip, rsi, cr3, gdt; starts all VP threads */
	WIRE_CMD_RESET = 2,       /* stop VPs, registers to reset; reply when none runs */
	WIRE_CMD_POWER_OFF = 3,   /* the VM ends; arg[0]: exit status of `run` */
	WIRE_CMD_SPAWN = 4,       /* successor from the descriptor row arg[0]; arg[1]: enum wire_role, 0 ROLE_SUCCESSOR; reply value: slot */
	WIRE_CMD_KILL = 5,        /* SIGKILL the paravisor in slot arg[0] */
	WIRE_CMD_INJECT_NMI = 6,  /* for debugging */
	WIRE_CMD_DISK_DROP = 7,   /* close the disk in row arg[0] */
};
struct wire_command {
	uint64_t id;
	uint32_t op, vp;
	uint64_t arg[4];
};
struct wire_command_queue {
	_Alignas(64) _Atomic uint64_t head;      /* owner */
	_Alignas(64) _Atomic uint64_t tail;      /* partition: done */
	_Atomic uint64_t last_id;
	struct wire_command entry[LIMIT_COMMAND_QUEUE];
};
struct wire_reply { uint64_t id, value; uint32_t op, status; };
struct wire_reply_queue {
	_Alignas(64) _Atomic uint64_t head;      /* partition */
	_Alignas(64) _Atomic uint64_t tail;      /* owner */
	struct wire_reply entry[LIMIT_COMMAND_QUEUE];
};

/* ---- inbox: operator's commands and notices, partition -> owner ------------ */
enum wire_operator {
	OP_CONFIG = 1,        /* data: struct rec_config and command line; first notice ever */
	OP_DISK = 2,          /* data: struct rec_disk_config and name */
	OP_START = 3,
	OP_SHUTDOWN = 4,      /* ask the guest */
	OP_POWER_OFF = 5,
	OP_SERVICE = 6,       /* arg: descriptor row of the executable; value: wire_service_flag;
			       * data: struct rec_service_ask and names, NUL-terminated each */
	OP_SUCCESSOR_READY = 7, /* arg: slot; value: sequence it has followed to */
	OP_SUCCESSOR_GONE = 8,  /* arg: slot; data: why */
	OP_ROLLBACK = 9,
	OP_COMMIT = 10,       /* end the probation and raise the level to `value`; 0: leave it;
			       * WIRE_LEVEL_HIGHEST: what the owner's build serves */
	OP_RESIZE = 11,       /* arg: controller << 16 | LUN; value: bytes */
	OP_DISK_ADD = 12,     /* data as OP_DISK; value: row of the file, put there by the partition */
	OP_DISK_REMOVE = 13,  /* arg: controller << 16 | LUN */
	OP_DISK_EJECT = 14,   /* arg: the same; value 1: although the guest holds the medium */
	OP_DISK_INSERT = 15,  /* as OP_DISK_ADD */
	OP_CONTROLLER_REMOVE = 16, /* arg: controller */
};
enum wire_service_flag { WIRE_SERVICE_COMMIT = 1 /* at the end of the probation */ };
enum { WIRE_LEVEL_HIGHEST = 0xffff };
struct wire_notice {
	uint32_t op, arg;
	uint64_t value;
	uint32_t token;       /* whom to REPORT to; 0 nobody */
	uint32_t bytes;
	uint8_t data[1024];
};
struct wire_inbox {
	_Alignas(64) _Atomic uint64_t head;      /* partition */
	_Alignas(64) _Atomic uint64_t tail;      /* owner */
	struct wire_notice entry[128];          /* configuration of LIMIT_DISKS disks fits at once */
	/* REPORTs: owner -> partition, which passes them to the client of `token` */
	_Alignas(64) _Atomic uint64_t report_head; /* owner */
	_Alignas(64) _Atomic uint64_t report_tail; /* partition */
	_Atomic uint64_t report_last_id;
	struct wire_notice report[64];
};

/* ---- console: byte streams, positions free-running ------------------------- */
struct wire_console {
	_Alignas(64) _Atomic uint64_t head;      /* producer */
	_Alignas(64) _Atomic uint64_t tail;      /* consumer; output: the oldest byte is dropped when full */
	uint8_t bytes[LIMIT_CONSOLE_BYTES];
};

/* ---- checkpoints ------------------------------------------------------------ */
struct wire_slot_head {
	_Alignas(64) _Atomic uint64_t generation; /* 0: never valid; odd: being written */
	uint64_t bytes;                           /* packed */
	uint64_t hash[2];                         /* XXH3-128 of the packed bytes */
	uint64_t seq;                             /* the cut, lane 0 */
	uint64_t position;                        /* log position behind it: where a reader goes on */
	uint64_t chain;                           /* chain value there */
	uint64_t time_ns;
};

/* ---- disk requests ----------------------------------------------------------- */
/* state: generation << 32 | SQ position; PLACED is marked by generation != 0. */
struct wire_disk_slot {
	_Atomic uint64_t placed;                 /* generation << 32 | low 32 bits of the SQ position; 0 none */
	_Atomic uint32_t epoch;                  /* of the submitter */
	uint32_t reserved;
};
struct wire_disk_table {
	struct wire_disk_slot slot[LIMIT_REQUESTS];
};

/* ---- what this side has published of each ring (not guest-visible) ----------- */
struct wire_ring_pos {
	_Atomic uint64_t out_position;           /* all before it was written and published */
	uint64_t reserved[7];
};

/* ---- paravisor processes ------------------------------------------------------ */
enum wire_proc_state {
	PROC_FREE = 0,
	PROC_SPAWNED = 1,
	PROC_LOADING = 2,
	PROC_FOLLOWING = 3,
	PROC_READY = 4,
	PROC_OWNER = 5,
	PROC_RETIRED = 6,
	PROC_FAILED = 7,
	PROC_PROBATION = 8,   /* was owner, follows the one that came after it */
};
enum wire_role { ROLE_FIRST = 1, ROLE_SUCCESSOR = 2, ROLE_TAKER = 3, ROLE_STANDBY = 4 };
struct wire_proc {
	_Alignas(64) pthread_mutex_t thread[LIMIT_THREADS]; /* robust, process-shared: held while the thread may write */
	_Alignas(64) _Atomic uint32_t state;     /* enum wire_proc_state; the process itself, but FREE and SPAWNED */
	_Atomic int32_t pid;
	uint32_t role;                           /* enum wire_role */
	uint32_t exe_row;                        /* descriptor row of the executable it runs */
	_Atomic uint64_t followed_seq;
	_Atomic uint64_t heartbeat_ns;
	_Atomic uint64_t cut_seq;                /* ROLE_SUCCESSOR: sequence at which it was READY */
	char build[64];                          /* version and build id, NUL-terminated */
	char why[160];                           /* FAILED: one line */
};

/* ---- counters -------------------------------------------------------------- */
struct wire_stats {
	_Atomic uint64_t exits[16];              /* by enum wire_exit; partition */
	_Atomic uint64_t doorbells_unmatched;
	_Atomic uint64_t messages_delivered;
	_Atomic uint64_t turns, records, checkpoints, log_full_waits; /* owner */
	_Atomic uint64_t requests_submitted, requests_completed, requests_reissued;
	_Atomic uint64_t inflight;               /* owner: submitted and not completed */
	/* last take-overs, newest at n % 64; gap = served - stop */
	_Atomic uint64_t n_gaps;
	struct { uint64_t seq, gap_ns, inflight; uint32_t reason, epoch; char build[32]; } gap[64];
	/* of the same take-overs, ns behind the stop or the death: the word was the new
	 * owner's; its hands were right; it had read every ring once (the gap) */
	struct {
		uint64_t owned_ns, armed_ns, first_ns;
		uint64_t vp_wait_ns;             /* longest wait of a VP that a take-over ended */
		uint64_t vp_stopped;             /* VPs kicked out over it */
		uint64_t followed, differences;  /* turns the owner had followed; expected differences */
	} window[64];
};

#endif
