/* servicing/paravisor.h - what one paravisor process holds. None of it is
 * truth: the truth is custody. */
#ifndef SERVICING_PARAVISOR_H
#define SERVICING_PARAVISOR_H

#include "engine/lane.h"
#include "servicing/expect.h"

struct hands;
struct loop;

enum {
	FENCE_NS = 2000000000,       /* threads of a dead epoch are gone long before */
	FLIP_NS = 1000000000,        /* past it the old owner goes on */
	FOLLOW_POLL_NS = 200000,     /* a follower looks at the log so often */
	HEARTBEAT_NS = 100000000,    /* an owner that is watched turns its loop so often */
	HANG_NS = 1000000000,        /* and is taken for stuck after so long */
};

struct paravisor {
	struct custody c;
	struct world *world;
	struct hands *hands;
	struct loop *loop;
	struct lane lane;
	struct follower follow;
	struct expect expect;
	unsigned slot, flip_to;
	enum wire_role role;
	uint32_t epoch;
	bool flip_asked;
	uint8_t fill;             /* arenas before use: 0xA5 in tests */
	size_t heap;              /* bytes that were allocated when it began to follow or serve */
	uint64_t leak_look_ns;    /* when to look again */
	uint32_t first_epoch;     /* that it owned; 0: none yet */
	/* How it comes to own: the next take-over's. */
	enum wire_takeover reason;
	uint64_t stop_ns;
	char cause[200];          /* why the guest came back to a predecessor; "" */
	/* A predecessor's: state at the flip, and whether the new owner had another. */
	uint64_t cut_seq, cut_hash;
	bool hash_differs;
	uint64_t watch_ns;        /* since when it watches the owner's heartbeat */
	bool returns;             /* it takes the guest back: what came between is not trusted
				   * before it has a checkpoint of its own */
	/* Stamps of the take-over. */
	uint64_t owned_ns, armed_ns, first_ns, wait_ns;
	int status;               /* the process's */
};

/* What a process does next. Its end: p->status. */
enum life { LIFE_ENDS = 0, LIFE_SERVES = 1, LIFE_FOLLOWS = 2 };

/* Notes why this process gives up; LIFE_ENDS with status 1. */
enum life paravisor_failed(struct paravisor *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* serving.c: the word is ours, in epoch p->epoch. Puts the hands right, redoes,
 * takes in everything once, and serves until the guest is handed on. */
enum life serving_run(struct paravisor *p);
void serving_on_ready(void *user, int fd);   /* as loop_ready */

/* follower.c: a process that never owned, or a standby: LIFE_SERVES once the
 * word is its own. */
enum life follower_first(struct paravisor *p);
enum life follower_taker(struct paravisor *p);
enum life follower_live(struct paravisor *p);
/* The owner has flipped to this slot: read to its end, compare, take the word. */
bool follower_accept(struct paravisor *p);
/* The owner is dead, and this slot named. */
bool follower_take(struct paravisor *p);

/* probation.c: the guest was handed on by this process: it follows, votes, and
 * takes it back if it has to. */
enum life probation_run(struct paravisor *p);
/* It has stepped this event: a look at the new owner's first record. */
void probation_turn(struct paravisor *p, const struct log_record *h, const void *payload);

/* heap.c: what is allocated now; 0 where the allocator does not tell. */
size_t heap_bytes(void);

#endif
