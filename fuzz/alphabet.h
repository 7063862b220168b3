/* fuzz/alphabet.h - outside events, made from the tables and the input's bytes.
 *
 * The kinds, events and members of payloads are those of the descriptors. A
 * member's value comes from the input, from a set of interesting values, from
 * the fields of the instance it goes to, or from what effects have named
 * lately. Payloads with a format of their own (channel messages, ring packets,
 * parameter lists) are built as such, mostly whole, sometimes damaged. */
#ifndef FUZZ_ALPHABET_H
#define FUZZ_ALPHABET_H

#include "engine/world.h"
#include "fuzz/feed.h"

enum { ALPHABET_SEEN = 64, ALPHABET_ECHOES = 16, ALPHABET_ECHO_BYTES = 512 };

/* Values that effects named lately, and the last packet sent on each channel. */
struct alphabet_memory {
	uint64_t seen[ALPHABET_SEEN];
	unsigned at;
	struct {
		uint32_t len;
		uint8_t bytes[ALPHABET_ECHO_BYTES];
	} echo[ALPHABET_ECHOES];
};

/* Collects the events that may come from outside. Once. */
void alphabet_init(const struct registry *r);

/* Fills in kind, index, generation, code, payload and len of *@ev; @payload has
 * LIMIT_PAYLOAD bytes. */
void alphabet_event(struct feed *f, const struct world *w, const struct alphabet_memory *m,
		    struct event *ev, uint8_t *payload);

/* Changes one member of the fixed part of a payload. */
void alphabet_mutate(struct feed *f, const struct alphabet_memory *m, const struct rec_desc *rec,
		     uint8_t *payload);

/* A parameter list of UNMAP, zeros, or anything; @n bytes. */
void alphabet_list(struct feed *f, uint8_t *dst, size_t n);

/* One packet for channel @index at its next position: a well-formed vstor
 * packet with operation @op and CDB opcode @opcode. Length of the payload. */
uint32_t alphabet_packet(struct feed *f, const struct world *w, uint16_t index, uint32_t op,
			 uint8_t opcode, uint8_t *payload);

/* Remembers what the effects of a turn name. */
void alphabet_learn(struct alphabet_memory *m, const struct effect *e,
		    const struct effect_desc *d);

#endif
