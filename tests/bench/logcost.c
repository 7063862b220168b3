/* tests/bench/logcost.c - what one record costs the writer of a log ring.
 *
 * A ring is written round and round by log_append() and log_commit(), nothing
 * else; all of it was touched before. A sample is the mean of a block of
 * records, because one record is shorter than a look at the clock.
 *
 * usage: logcost RING-BYTES PAYLOAD-BYTES RECORDS-A-COMMIT SECONDS */
#include "tests/bench/samples.h"

#include "engine/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1024, SAMPLES = 1 << 20, PAYLOAD_MAX = 4096 };

struct writer {
	struct log_words words;
	struct log_writer log;
	uint8_t payload[PAYLOAD_MAX];
	uint32_t len;
	unsigned batch;
	uint64_t seq;
};

static void append_block(struct writer *w)
{
	struct log_record h = { .type = LOG_EVENT, .kind = 5, .index = 3, .generation = 1,
				.epoch = 1, .code = 7 };

	w->log.keep = w->log.end;
	for (unsigned i = 0; i < BLOCK; i++) {
		h.seq = ++w->seq;
		h.time_ns = w->seq * 100;
		log_append(&w->log, &h, w->payload, w->len);
		if ((i + 1) % w->batch == 0)
			log_commit(&w->log);
	}
	log_commit(&w->log);
}

static void measure(struct writer *w, uint64_t seconds, struct samples *s, const char *name)
{
	uint64_t begin, end, at;

	for (uint64_t i = 0; i < w->log.size / log_cost(w->len) / BLOCK + 2; i++)
		append_block(w);
	begin = bench_now_ns();
	end = begin + seconds * UINT64_C(1000000000);
	w->seq = 0;
	for (at = begin; at < end;) {
		uint64_t now;

		append_block(w);
		now = bench_now_ns();
		samples_add(s, (double)(now - at) / BLOCK);
		at = now;
	}
	samples_print(s, name, (double)(at - begin) / (double)w->seq);
}

int main(int argc, char **argv)
{
	static struct writer w;
	struct samples s;
	uint64_t bytes = argc == 5 ? strtoull(argv[1], NULL, 0) : 0;
	uint8_t *ring;

	w.len = argc == 5 ? (uint32_t)strtoul(argv[2], NULL, 0) : PAYLOAD_MAX + 1;
	w.batch = argc == 5 ? (unsigned)strtoul(argv[3], NULL, 0) : 0;
	if (w.len > PAYLOAD_MAX || w.batch == 0 || (bytes & (bytes - 1)) != 0 ||
	    bytes < 2 * BLOCK * log_cost(w.len)) {
		fprintf(stderr, "usage: logcost RING-BYTES (a power of two, room for %d records) "
				"PAYLOAD-BYTES RECORDS-A-COMMIT SECONDS\n", 2 * BLOCK);
		return 2;
	}
	ring = aligned_alloc(4096, bytes);
	if (!ring)
		return 1;
	memset(ring, 0, bytes);
	memset(w.payload, 0x5a, sizeof(w.payload));
	samples_init(&s, SAMPLES);
	log_words_init(&w.words, bytes);
	log_writer_init(&w.log, &w.words, ring, 0, 0, 0, 0);
	measure(&w, strtoull(argv[4], NULL, 0), &s, "log.ns_per_record");
	free(ring);
	free(s.v);
	return 0;
}
