/* tests/soft/attack.h - what a guest can do to its paravisor, all of it, with
 * arguments from a seed.
 *
 * Several attackers (threads) share one struct attack, beside a well-behaved
 * client on the primary channel. They leave that client's channel, pages and
 * disk alone, because a guest that overwrites itself proves nothing: what they
 * name lies in the pool, outside RAM, or is only read; what they change on a
 * disk is not on LUN 0; what ends the VM is left out. All the rest is fair. */
#ifndef TESTS_SOFT_ATTACK_H
#define TESTS_SOFT_ATTACK_H

#include "tests/soft/guestscsi.h"

#include <pthread.h>

enum {
	ATTACK_RING_PAGES = 8, /* of one ring pair */
	ATTACK_POOL_PAGES = 64,
	ATTACK_SPOTS = 64,
	ATTACK_TYPES = 32, /* types of channel messages, 0 included */
};

enum attack_kind {
	ATTACK_MESSAGE,	   /* well-formed channel message */
	ATTACK_BAD_MESSAGE, /* damaged, cut, or not of a known type */
	ATTACK_BAD_POST,   /* HvPostMessage that is none */
	ATTACK_HYPERCALL,
	ATTACK_MSR_READ,
	ATTACK_MSR_WRITE,
	ATTACK_IN,
	ATTACK_OUT,
	ATTACK_MMIO,
	ATTACK_BAD_CALL, /* what the back end does not know */
	ATTACK_SRB,
	ATTACK_VSTOR,
	ATTACK_BAD_PACKET,
	ATTACK_BAD_INDEX,
	ATTACK_FLIP, /* of a byte while the server reads */
	ATTACK_OPEN, /* of a sub-channel */
	ATTACK_REVOKED, /* times the server took one away */
	ATTACK_CONTACT, /* CONTACT and UNLOAD */
	ATTACK_DIRECTED, /* attack_state.h */
	ATTACK_KINDS,
};

enum attacker { ATTACKER_MESSAGES = 1, ATTACKER_EXITS = 2, ATTACKER_RINGS = 4, ATTACKER_ALL = 7 };

struct attack {
	/* The caller's, before attack_start(). */
	struct softvm *vm;
	struct guestbus *bus;
	struct guestscsi *scsi;
	uint64_t seed;
	uint8_t victim; /* LUN that may be written; 0: none */
	bool contacts;	/* CONTACT and UNLOAD too: the connection goes down */
	uint32_t attackers; /* bits of enum attacker */
	bool synic;	/* SynIC registers of processors but the first */
	bool ports_that_end; /* 0x600 to 0x607 as well: the VM ends */
	/* Results. */
	_Atomic uint64_t n[ATTACK_KINDS], by_type[ATTACK_TYPES];
	_Atomic uint64_t unanswered; /* an OPEN, CLOSE or GPADL that nobody answered */
	/* The attackers'. */
	_Atomic bool stop;
	_Atomic uint32_t shielded; /* relid that only one of them uses */
	uint64_t pfn[ATTACK_POOL_PAGES];
	uint8_t *pool;
	uint8_t *_Atomic spot[ATTACK_SPOTS]; /* bytes that may be flipped */
	pthread_t thread[4];
	unsigned n_threads;
};

/* The pool, then all attackers. 0 or a negative errno. */
int attack_start(struct attack *attack);
/* Ends them; they finish what they are at. */
void attack_stop(struct attack *attack);
uint64_t attack_total(struct attack *attack);
const char *attack_kind_name(enum attack_kind kind);

/* ---- between the attackers -------------------------------------------------------- */
struct dice {
	uint64_t state;
};
uint64_t dice_next(struct dice *dice);
uint32_t dice_below(struct dice *dice, uint32_t n);
bool dice_once_in(struct dice *dice, uint32_t n);
/* A number as guests and fuzzers choose them: small, round, at an edge, any. */
uint64_t dice_number(struct dice *dice);
/* A processor that the good client does not depend on, if there is one. */
uint32_t attack_vp(struct attack *attack, struct dice *dice);
/* A guest address whose contents may be changed: in the pool, or outside RAM. */
uint64_t attack_page(struct attack *attack, struct dice *dice);
void attack_count(struct attack *attack, enum attack_kind kind);
/* Relid of the good client's channel. */
uint32_t attack_good(struct attack *attack);

void attack_message(struct attack *attack, struct dice *dice);
void attack_exit(struct attack *attack, struct dice *dice);
/* One sub-channel: opened, attacked until it is revoked or for a while, closed. */
void attack_ring(struct attack *attack, struct dice *dice);

#endif
