/* tests/soft/guestring.h - a guest's side of a VMBus channel's two rings
 * (protocol.md B.10 and B.11).
 *
 * The caller owns the memory and serialises all calls for one ring. Nothing
 * here signals: a function says when the server must be signalled. Sizes and
 * positions are bytes. */
#ifndef TESTS_SOFT_GUESTRING_H
#define TESTS_SOFT_GUESTRING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	GUESTRING_PAGE = 4096,
	GUESTRING_PACKET = 4096, /* longest packet, without its trailer */
};

enum guestring_condition {
	GUESTRING_FULL = 1, /* pending_send_sz is set; try again when the channel is signalled */
	GUESTRING_EMPTY = 2,
	GUESTRING_BROKEN = 3, /* the server broke a rule; guestring_fault() says which */
};

enum guestring_type {
	GUESTRING_INBAND = 6,
	GUESTRING_TRANSFER_PAGES = 7,
	GUESTRING_GPA_DIRECT = 9,
	GUESTRING_COMPLETION = 11,
};
enum { GUESTRING_WANTS_COMPLETION = 1 };

/* The first page of each ring. */
struct guestring_header {
	_Atomic uint32_t write_index, read_index, interrupt_mask, pending_send_sz;
	uint32_t reserved[12];
	_Atomic uint32_t features; /* bit 0: pending_send_sz is honoured */
};

struct guestring_half {
	struct guestring_header *header;
	uint8_t *data;
	uint32_t size;
};

struct guestring {
	struct guestring_half out, in;
	uint32_t read; /* taken from `in`, not yet published */
	const char *fault;
	uint64_t sent, received, full, masked; /* packets; refusals; signals spared by the mask */
};

struct guestring_packet {
	uint16_t type, flags;
	uint64_t id;
	const void *extra; /* between descriptor and payload, a multiple of 8 bytes */
	uint32_t extra_bytes;
	const void *payload;
	uint32_t payload_bytes;
};

struct guestring_received {
	uint16_t type, flags;
	uint64_t id;
	uint32_t bytes; /* of the payload, a multiple of 8 */
	uint8_t payload[GUESTRING_PACKET];
};

/* `base`: both rings, out first; each is a header page and data pages. Sets
 * both headers up as a guest does before it opens the channel. */
void guestring_init(struct guestring *ring, void *base, uint32_t out_pages, uint32_t in_pages);

/* 0 or GUESTRING_FULL; *ret_signal: the server must be signalled now. */
int guestring_send(struct guestring *ring, const struct guestring_packet *packet, bool *ret_signal);

/* The caller no longer waits for room. */
void guestring_stop_waiting(struct guestring *ring);

/* One round: mask; receive until EMPTY; publish; unmask; when that says there
 * is more, again. 0, GUESTRING_EMPTY or GUESTRING_BROKEN. */
void guestring_mask(struct guestring *ring);
int guestring_receive(struct guestring *ring, struct guestring_received *ret_packet);
bool guestring_publish(struct guestring *ring); /* true: the server must be signalled */
bool guestring_unmask(struct guestring *ring);	/* true: there is more */

const char *guestring_fault(const struct guestring *ring);

#endif
