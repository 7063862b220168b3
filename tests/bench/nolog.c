/* tests/bench/nolog.c - an append that keeps no log, to measure what a log costs.
 *
 * Linked with --wrap=log_append, log_reserve and log_commit in place of the real
 * ones, in programs of the benchmarks only. A turn is stepped from its record and its
 * effects are performed from its confirm record, so both must lie somewhere
 * until the batch is over: this append puts them at the beginning of the ring,
 * over those of the batch before. Left out is all that makes them a log: the
 * chain, the way made for new records, cold memory, the published tail, and
 * thereby checkpoints. What dies with such a program is gone. */
#include "engine/log.h"

#include <string.h>

void __wrap_log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		       uint32_t len);
void *__wrap_log_reserve(struct log_writer *lw, uint32_t len);
void __wrap_log_commit(struct log_writer *lw);

/* An event behind anything but an event begins a batch: nobody needs the one before. */
void __wrap_log_append(struct log_writer *lw, const struct log_record *h, const void *payload,
		       uint32_t len)
{
	static uint16_t before = LOG_CONFIRM;
	struct log_record copy = *h;

	if (h->type == LOG_EVENT && before != LOG_EVENT)
		lw->end = 0;
	before = h->type;
	copy.len = len;
	copy.lane = lw->lane;
	if (len && payload != lw->ring + lw->end + sizeof(copy))
		memmove(lw->ring + lw->end + sizeof(copy), payload, len);
	memcpy(lw->ring + lw->end, &copy, sizeof(copy));
	lw->end += log_cost(len);
}

void *__wrap_log_reserve(struct log_writer *lw, uint32_t len)
{
	(void)len;
	return lw->ring + lw->end + sizeof(struct log_record);
}

void __wrap_log_commit(struct log_writer *lw)
{
	(void)lw;
}
