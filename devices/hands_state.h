/* devices/hands_state.h - what the hands hold between calls; private to
 * devices/. Each member names how it is rebuilt: docs/HANDS.md. */
#ifndef DEVICES_HANDS_STATE_H
#define DEVICES_HANDS_STATE_H

#include "devices/declared.h"
#include "devices/guestmem.h"
#include "devices/hands.h"
#include "devices/ring.h"
#include "devices/sabotage.h"
#include "devices/uring.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"

enum {
	CHANNEL_WORDS = (LIMIT_CHANNELS + 63) / 64,
	ANSWERS_MAX = LIMIT_BATCH + LIMIT_CHANNELS, /* what a lane can stage at once */
	TIMERS_MAX = 16,                            /* looked at in every loop */
	SINT_VMBUS = 2,
	EVENT_FLAGS = SINT_VMBUS * 256,             /* offset in a SIEFP page (protocol B.2) */
	SYNIC_ENABLED = 1,
};

/* A set of channels. */
struct channels {
	uint64_t word[CHANNEL_WORDS];
};

/* The rings of one channel. */
struct chan {
	struct ring in, out;
	uint64_t in_next;         /* next packet to copy */
	uint64_t in_published;    /* read index in the header */
	uint64_t in_position;     /* read index to publish at the flush */
	uint64_t out_published;   /* write index in the header */
	uint64_t out_position;    /* all before it is written */
	uint32_t target_vp;       /* to signal at the flush */
	uint32_t want;            /* bytes RING_POLL waits for */
	bool waiting;             /* a RING_POLL is not answered */
	bool bad;                 /* RING_BAD was told: not read any more */
#if HOLDFAST_SABOTAGE
	uint64_t skew;            /* bytes written twice */
#endif
	uint8_t *page[LIMIT_RING_PAGES];
};

/* An instance with a deadline; only `told` ever changes. */
struct timer {
	uint16_t kind, index, code;
	uint32_t offset;          /* of the field */
	uint64_t told;            /* deadline for which TIMER was offered */
};

struct answer {
	struct lane_event e;      /* `fixed` and `tail` point to `bytes` of the hands */
};

struct hands {
	struct custody *c;
	const struct registry *registry;
	const struct world *world;
	struct guestmem mem;
	struct uring uring;
	struct declared declared;
	uint32_t epoch;

	/* Descriptors, from custody's table; they never change. */
	bool row_is_door[LIMIT_FDS];
	uint16_t row_door[LIMIT_FDS];
	int door_fd[LIMIT_CHANNELS];
	int irq_fd[LIMIT_VPS];
	int kick_fd, part_fd, cq_fd, com1_fd;

	struct chan chan[LIMIT_CHANNELS];
	struct channels mapped;
	struct channels ready;        /* something may lie in the ring */
	struct channels to_consume, to_publish, to_signal;
	uint32_t next_channel;        /* whose turn it is */
	struct channels warm;         /* whose pages hands_warm() has mapped */
	bool warm_custody;
	bool fds_changed;

	/* Between collect and taken: heads to publish; 0 for none. */
	uint64_t take_posted, take_replies, take_inbox, take_console, take_cq;
	bool any_posted, any_replies, any_inbox, any_console, any_cq;

	bool held;                    /* a source has more than there is room for */
	bool kick_part;               /* at the flush */
	struct timer timer[TIMERS_MAX];
	unsigned n_timers;

	struct answer answer[ANSWERS_MAX];
	unsigned n_answers;
	size_t answer_bytes;
	uint8_t *bytes;               /* ANSWERS_MAX payloads */
	struct iovec *iov;            /* of requests placed and not yet taken by the kernel */
	uint32_t iov_used;
	uint8_t packet[LIMIT_PACKET];
};

/* ---- sets --------------------------------------------------------------- */
static inline void channels_add(struct channels *s, uint32_t i)
{
	s->word[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void channels_remove(struct channels *s, uint32_t i)
{
	s->word[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline bool channels_has(const struct channels *s, uint32_t i)
{
	return s->word[i / 64] >> (i % 64) & 1;
}

/* Lowest member not below @from; LIMIT_CHANNELS: none. */
uint32_t channels_next(const struct channels *s, uint32_t from);

/* ---- channels.c --------------------------------------------------------- */
/* Maps from machine state; false: the machine has no rings, or they are gone. */
bool chan_derive(struct hands *h, uint32_t i);
void chan_map(struct hands *h, const struct effect *e);
void chan_unmap(struct hands *h, uint32_t i);
void chan_send(struct hands *h, const struct effect *e, bool redo);
void chan_consumed(struct hands *h, const struct effect *e);
void chan_poll(struct hands *h, const struct effect *e);
void chan_want_signal(struct hands *h, uint32_t i, uint32_t vp);
/* Publishes what was written and consumed, in the order of the channels. */
void chan_publish(struct hands *h, uint32_t i);
void chan_publish_all(struct hands *h);
/* Sets flags and interrupts; @always: also where the flag was set already. */
void chan_signal_all(struct hands *h, bool always);
/* True: room for what RING_POLL waits for, or the index is not legal (fault). */
bool chan_has_room(struct hands *h, uint32_t i, uint32_t *ret_read, bool *ret_fault);

/* ---- answers.c ---------------------------------------------------------- */
/* Queues an answer; copies. @room: bytes of tail the caller will fill; returns
 * where. */
uint8_t *answer_add(struct hands *h, uint16_t kind, uint16_t index, uint32_t generation,
		    uint16_t code, const void *fixed, uint32_t fixed_len, uint32_t tail_len);

/* ---- requests.c --------------------------------------------------------- */
void request_submit(struct hands *h, const struct effect *e, bool redo);
/* As uring_again: from the live scsi machine. */
bool request_again(void *user, uint32_t slot, uint32_t generation);

#if HOLDFAST_SABOTAGE
struct scsi;
/* Of the guest's buffer of a request that was completed; NULL: none. */
uint8_t *request_first_byte(const struct hands *h, const struct scsi *m);
#endif

/* ---- timers.c ----------------------------------------------------------- */
void timers_find(struct hands *h);     /* once */
void timers_forget(struct hands *h);   /* what was told is told again */
/* Of the timer @n, 0: none, or told. */
uint64_t timer_deadline(const struct hands *h, const struct world *w, unsigned n);
/* The first that was not told; UINT64_MAX: none, or nothing is owned. */
uint64_t timers_next(const struct hands *h);

/* ---- declared state from machines --------------------------------------- */
void hands_declare(struct hands *h, const struct world *w);

void hands_ring(int fd);    /* one signal to an eventfd */

#endif
