/* fuzz/shapes.h - payloads that have a format of their own, mostly whole. */
#ifndef FUZZ_SHAPES_H
#define FUZZ_SHAPES_H

#include "engine/world.h"
#include "fuzz/feed.h"

/* A channel message of the guest (protocol B.5), at most LIMIT_MESSAGE bytes. */
uint32_t shape_message(struct feed *f, const struct world *w, uint8_t *dst);

/* A ring packet without its trailer (B.10), with a vstor packet (C.1) or
 * anything else in it; sometimes with a wrong descriptor. At most LIMIT_PACKET. */
uint32_t shape_packet(struct feed *f, uint8_t *dst);

/* A whole one, with this operation and opcode. */
uint32_t shape_vstor(struct feed *f, uint32_t op, uint8_t opcode, uint8_t *dst);

/* What was sent to the guest, as its answer: flags say "response", and of the
 * versions offered by a negotiation (protocol J) one pair is chosen. */
uint32_t shape_echo(struct feed *f, const uint8_t *sent, uint32_t len, uint8_t *dst);

/* An UNMAP parameter list, zeros, or anything. */
void shape_list(struct feed *f, uint8_t *dst, size_t n);

#endif
