/* statemachines/ring_packet.h - one packet of a VMBus ring (protocol B.10;
 * include/linux/hyperv.h, struct vmpacket_descriptor). Pure functions. */
#ifndef STATEMACHINES_RING_PACKET_H
#define STATEMACHINES_RING_PACKET_H

#include <stddef.h>
#include <stdint.h>

enum ring_packet_type {
	RING_INBAND = 6,       /* VM_PKT_DATA_INBAND */
	RING_GPA_DIRECT = 9,   /* VM_PKT_DATA_USING_GPA_DIRECT */
	RING_COMPLETION = 11,  /* VM_PKT_COMP */
};

enum {
	RING_DESCRIPTOR = 16,
	RING_TRAILER = 8,
	RING_WANTS_COMPLETION = 1, /* flags */
};

struct ring_packet {
	uint16_t type, flags;
	uint64_t transaction;
	const uint8_t *gpas;       /* ranges {u32 len, u32 offset, u64 pfn[]} back to back */
	uint32_t gpa_bytes, gpa_ranges;
	const uint8_t *payload;
	uint32_t payload_bytes;
};

/* @p, @len: descriptor and payload, without the trailer. 0, or an enum
 * ring_fault (effects.h): a packet that does not hold together, or of a type
 * that no device of ours is sent. All ranges lie inside @p. */
int ring_packet_parse(const uint8_t *p, size_t len, struct ring_packet *ret);

/* Bytes of descriptor and payload for a payload of @len, padded. */
static inline size_t ring_packet_bytes(size_t len)
{
	return RING_DESCRIPTOR + ((len + 7) & ~(size_t)7);
}

/* Builds descriptor and padded payload at @p; returns ring_packet_bytes(len). */
size_t ring_packet_put(uint8_t *p, uint16_t type, uint16_t flags, uint64_t transaction,
		       const uint8_t *payload, size_t len);

#endif
