/* tests/soft/guestic.h - the guest's side of shutdown, heartbeat and time
 * synchronisation (protocol.md J): chooses versions, answers, and keeps count.
 *
 * Answers are given on the VP threads; the counters are read under the lock of
 * guestic_result(). */
#ifndef TESTS_SOFT_GUESTIC_H
#define TESTS_SOFT_GUESTIC_H

#include "tests/soft/guestbus.h"

struct guestic;

struct guestic_result {
	uint32_t shutdown_version, heartbeat_version, timesync_version; /* 0: none agreed */
	uint64_t beats, syncs, samples;
	uint64_t malformed; /* each is told on stderr */
	int64_t worst_ns;   /* farthest that a time was from the host's clock */
	bool shutdown;	    /* asked, and agreed to */
};

/* Opens the three channels. GUESTBUS_DENIED: one is not offered. */
int guestic_open(struct guestbus *bus, struct guestic **ret_ic);
/* Until the guest is asked to shut down; -ETIMEDOUT after @seconds. */
int guestic_wait(struct guestic *ic, uint32_t seconds);
struct guestic_result guestic_result(struct guestic *ic);
/* The memory stays, VP threads may still look at it. */
int guestic_close(struct guestic *ic);

#endif
