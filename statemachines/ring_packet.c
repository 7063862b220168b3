/* Ring packets: descriptor, GPA ranges, payload.
 *
 * Lengths come from the guest. Each is checked against what lies there before
 * anything behind it is read, so that every pointer of a parsed packet has its
 * bytes. */
#include "statemachines/ring_packet.h"

#include "statemachines/bytes.h"
#include "statemachines/effects.h"
#include "statemachines/gpa_list.h"

enum { GPA_DESCRIPTOR = 24 }; /* descriptor, u32 reserved, u32 range count */

static int parse_ranges(const uint8_t *p, size_t offset, struct ring_packet *r)
{
	if (offset < GPA_DESCRIPTOR)
		return RING_FAULT_OFFSET;
	r->gpa_ranges = get_le32(p + 20);
	r->gpas = p + GPA_DESCRIPTOR;
	r->gpa_bytes = gpa_list_bytes(r->gpas, offset - GPA_DESCRIPTOR, r->gpa_ranges);
	if (r->gpa_ranges && r->gpa_bytes == 0)
		return RING_FAULT_LENGTH;
	return 0;
}

int ring_packet_parse(const uint8_t *p, size_t len, struct ring_packet *ret)
{
	size_t offset;

	*ret = (struct ring_packet){ 0 };
	if (len < RING_DESCRIPTOR || len % 8 != 0 || (size_t)get_le16(p + 4) * 8 != len)
		return RING_FAULT_LENGTH;
	offset = (size_t)get_le16(p + 2) * 8;
	if (offset < RING_DESCRIPTOR || offset > len)
		return RING_FAULT_OFFSET;
	ret->type = get_le16(p);
	ret->flags = get_le16(p + 6);
	ret->transaction = get_le64(p + 8);
	ret->payload = p + offset;
	ret->payload_bytes = (uint32_t)(len - offset);
	switch (ret->type) {
	case RING_INBAND:
	case RING_COMPLETION:
		return 0;
	case RING_GPA_DIRECT:
		return parse_ranges(p, offset, ret);
	default:
		return RING_FAULT_TYPE;
	}
}

size_t ring_packet_put(uint8_t *p, uint16_t type, uint16_t flags, uint64_t transaction,
		       const uint8_t *payload, size_t len)
{
	size_t total = ring_packet_bytes(len);

	put_le16(p, type);
	put_le16(p + 2, RING_DESCRIPTOR / 8);
	put_le16(p + 4, (uint16_t)(total / 8));
	put_le16(p + 6, flags);
	put_le64(p + 8, transaction);
	if (len)
		memcpy(p + RING_DESCRIPTOR, payload, len);
	memset(p + RING_DESCRIPTOR + len, 0, total - RING_DESCRIPTOR - len);
	return total;
}
