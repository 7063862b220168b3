/* tests/soft/attack_cycle.h - one connection from beginning to end, by hand: what
 * the attackers of every state (attack_state.c) and of two events at once
 * (attack_moment.c) post and send.
 *
 * One thread. A struct cycle is one channel of the connection; that of a
 * sub-channel is made by cycle_sub(). Nothing is waited for but what a function
 * says; each wait ends, and what was owed and stayed out is counted in
 * attack->unanswered. */
#ifndef TESTS_SOFT_ATTACK_CYCLE_H
#define TESTS_SOFT_ATTACK_CYCLE_H

#include "tests/soft/attack.h"

enum {
	CYCLE_POOL = 64,          /* pages; the first are rings */
	CYCLE_RINGS = 16,         /* of the primary or the first sub-channel; others have half */
	CYCLE_SUBS = 3,
	CYCLE_DATA_PAGES = 16,    /* the last of them: of a READ */
	CYCLE_LONG_PAGES = 256,   /* of a long one, these again and again */
	CYCLE_HANDLE = 0x5001,    /* GPADL of the primary's rings; of sub-channel n: + n */
	CYCLE_OTHER_HANDLE = 0x5010,
	CYCLE_ANSWER = 88,        /* bytes of an answer in its ring, and of a request without data */
};
_Static_assert((int)CYCLE_POOL <= (int)ATTACK_POOL_PAGES, "the pool's page numbers");

struct cycle {
	struct attack *attack;
	struct dice *dice;
	struct guestring ring;
	uint32_t half, relid, first_page; /* of the rings, in the pool */
	uint32_t handle;
	uint32_t room;            /* bytes of its ring of answers when it is opened; 0: all */
	uint64_t id;
	bool silent;              /* its requests want no completion */
	struct guestring_header held, *shown; /* cycle_hold() */
};

/* Connected to a VM of its own making; nothing may be attached. */
int cycle_begin(struct attack *attack);
/* *@attack and *@dice live longer than the cycle. */
void cycle_init(struct cycle *c, struct attack *attack, struct dice *dice);

/* ---- messages --------------------------------------------------------------------- */

/* Messages of this type that have come. */
uint32_t cycle_seen(uint32_t type);
/* Until one more than @before has come. The first waits for what may stay out, a short
 * time; the other for what is owed, but an OPEN of a channel that is taken back. */
bool cycle_await_some(uint32_t type, uint32_t before);
bool cycle_await(struct cycle *c, uint32_t type, uint32_t before);
void cycle_post(struct cycle *c, uint32_t type, uint32_t a, uint32_t b);
void cycle_initiate(struct cycle *c);
/* @pages of the pool, or of the channel's rings when they are few; of these only the
 * first @sent, the rest is a body's. */
void cycle_gpadl(struct cycle *c, uint32_t handle, uint32_t pages, uint32_t sent);
void cycle_body(struct cycle *c, uint32_t handle, uint32_t n);
void cycle_open(struct cycle *c, uint32_t relid, uint32_t handle);

/* Contact, and offers if asked for: then the primary's relid is known. */
bool cycle_link_up(struct cycle *c, bool offers);
/* New rings, the one of answers with what seem to be some already that nobody took; their
 * GPADL, OPEN; true: opened, or not waited for. */
bool cycle_open_up(struct cycle *c, bool waits);
/* Asks for @n sub-channels; true: all were offered. */
bool cycle_ask_subs(struct cycle *c, uint32_t n);
/* Sub-channel @n (1 is the first) of @c, which has not been opened. */
struct cycle cycle_sub(const struct cycle *c, uint32_t n);

/* ---- packets ---------------------------------------------------------------------- */

void cycle_signal(struct cycle *c);
/* The packets of the handshake from number @from to before @to; there are four. */
void cycle_handshake(struct cycle *c, uint32_t from, uint32_t to);
void cycle_operation(struct cycle *c, uint32_t what, uint16_t n);
/* READs of 64 KiB until @n are in or it has taken long; with a door. */
void cycle_reads(struct cycle *c, uint32_t n);
/* READs of 1 MiB, as many of @n as there is room for; no door. Nobody has written there:
 * a disk that is a file with holes has no blocks to wait for, and the server itself is
 * busy making zeros before it looks at anything else. */
void cycle_long_reads(struct cycle *c, uint32_t n);
/* TEST UNIT READY, as many of @n as there is room for; the second with a door. */
void cycle_ask(struct cycle *c, uint32_t n);
void cycle_not_ready(struct cycle *c, uint32_t n);
/* Requests with a parameter list that changes nothing: MODE SELECT, or UNMAP; no door. */
void cycle_lists(struct cycle *c, uint32_t n, bool select);
/* WRITE and SYNCHRONIZE CACHE of the victim's disk, which keep it a while; no door. */
void cycle_slow(struct cycle *c);
/* A descriptor that no packet has, or a sound one of a type that none has; no door. */
void cycle_bad_packet(struct cycle *c);
void cycle_odd_packet(struct cycle *c);
void cycle_break_ring(struct cycle *c);
void cycle_make_room(struct cycle *c);

/* Between the two the server sees nothing of what is sent; then all at once. */
void cycle_hold(struct cycle *c);
void cycle_release(struct cycle *c);

#endif
