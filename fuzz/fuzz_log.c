/* fuzz/fuzz_log.c - log_read over a ring that was damaged.
 *
 * A good ring is written, with pads and wraps. Then the input changes bytes of
 * it, its words (tail, oldest), or the reader's place. The reader must return
 * only records that were written, in order, each as it was; and end with END,
 * LAPPED or DAMAGED. It may never return a changed record: the chain says so. */
#include "fuzz/driver.h"
#include "fuzz/feed.h"
#include "fuzz/oracle.h"

#include "engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RING = 1 << 14, RECORDS = 1 << 10, PAYLOAD = 900, EDITS_MAX = 4 };

static struct {
	uint64_t inputs, records, ended, lapped, damaged;
} figures;

static uint8_t *ring, *scratch;
static struct log_words words;
static struct {
	uint64_t seq, chain, position;
	uint32_t len;
} written[RECORDS];
static unsigned n_written;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	ring = malloc(RING);
	scratch = malloc(LOG_SCRATCH);
	if (!ring || !scratch)
		exit(1);
	return 0;
}

static void write_all(struct feed *f)
{
	unsigned n = 1 + feed_u16(f) % (RECORDS - 1);
	uint8_t payload[PAYLOAD];
	struct log_writer w;

	memset(ring, 0, RING);
	log_words_init(&words, RING);
	log_writer_init(&w, &words, ring, 0, 0, 0, 0);
	for (n_written = 0; n_written < n; n_written++) {
		struct log_record h = { .seq = n_written + 1, .type = LOG_EVENT,
					.epoch = 1, .time_ns = n_written };
		uint32_t len = feed_u8(f) * 3u;

		memset(payload, (int)n_written, len);
		w.keep = w.end; /* nobody needs the old ones */
		written[n_written].position = w.end;
		log_append(&w, &h, payload, len);
		log_commit(&w);
		written[n_written].seq = h.seq;
		written[n_written].chain = w.chain;
		written[n_written].len = len;
	}
}

/* True: something that a reader may meet was changed. */
static void damage(struct feed *f)
{
	unsigned edits = feed_u8(f) % EDITS_MAX;

	for (unsigned i = 0; i < edits; i++) {
		switch (feed_below(f, 8)) {
		case 0:
			atomic_store(&words.tail, feed_once_in(f, 2)
							  ? feed_u64(f)
							  : atomic_load(&words.tail) +
								    feed_u16(f) - 32768u);
			break;
		case 1:
			atomic_store(&words.oldest, atomic_load(&words.oldest) + feed_u16(f));
			break;
		default:
			ring[feed_u16(f) % RING] = feed_u8(f);
		}
	}
}

static void check(const struct log_record *h, const uint8_t *payload, unsigned n)
{
	if (n >= n_written || h->seq != written[n].seq || h->chain != written[n].chain ||
	    h->len != written[n].len)
		oracle_failed("a record that was never written", n, h->seq);
	for (uint32_t i = 0; i < h->len; i++)
		if (payload[i] != (uint8_t)n)
			oracle_failed("a record with another payload", n, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	struct log_reader r;
	struct log_record h;
	const uint8_t *payload;
	enum log_result result;
	unsigned first, n;

	figures.inputs++;
	write_all(&f);
	for (first = 0; first < n_written; first++)
		if (written[first].position >= atomic_load(&words.oldest))
			break;
	first += feed_below(&f, n_written - first);
	log_reader_init(&r, &words, ring, written[first].position,
			first ? written[first - 1].chain : 0, scratch);
	damage(&f);
	for (n = first; (result = log_read(&r, &h, &payload)) == LOG_OK; n++) {
		check(&h, payload, n);
		figures.records++;
	}
	figures.ended += result == LOG_E_END;
	figures.lapped += result == LOG_E_LAPPED;
	figures.damaged += result == LOG_E_DAMAGED;
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f records=%" PRIu64 " ended=%" PRIu64
	       " lapped=%" PRIu64 " damaged=%" PRIu64 "\n",
	       figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0,
	       figures.records, figures.ended, figures.lapped, figures.damaged);
}
