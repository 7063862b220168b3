/* See shapes.h. Handles, relids and processors are drawn from few values, so that
 * messages meet each other. */
#include "fuzz/shapes.h"

#include "engine/fact.h"
#include "statemachines/bytes.h"
#include "statemachines/ic.h"
#include "statemachines/machines.h"
#include "statemachines/ring_packet.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vstor.h"

enum { HANDLES = 6, RELIDS = 6, GPADL_PFNS_MAX = 26, BODY_PFNS_MAX = 28 };

static uint32_t relid(struct feed *f, const struct world *w)
{
	uint32_t n = world_live(w, KIND_channel);

	if (feed_once_in(f, 64))
		return feed_u32(f);
	return feed_below(f, n < RELIDS ? n + 1 : RELIDS);
}

static uint32_t processor(struct feed *f)
{
	return feed_once_in(f, 32) ? feed_u32(f) : feed_below(f, 3);
}

static uint32_t type_of(struct feed *f)
{
	static const uint8_t common[] = {
		VMBUS_OPEN, VMBUS_OPEN, VMBUS_CLOSE, VMBUS_GPADL_HEADER, VMBUS_GPADL_HEADER,
		VMBUS_GPADL_BODY, VMBUS_GPADL_TEARDOWN, VMBUS_RELID_RELEASED, VMBUS_MODIFY,
		VMBUS_REQUEST_OFFERS, VMBUS_OPEN, VMBUS_GPADL_HEADER,
	};
	uint32_t pick = feed_u8(f);

	if (pick < 16)
		return pick < 4 ? VMBUS_UNLOAD : VMBUS_CONTACT;
	if (pick < 32)
		return feed_u8(f) % 32;
	return common[pick % ARRAY_LEN(common)];
}

static uint32_t put_pfns(struct feed *f, uint8_t *at, uint32_t n)
{
	uint64_t first = feed_once_in(f, 16) ? feed_u64(f) : feed_u8(f);

	for (uint32_t i = 0; i < n; i++)
		put_le64(at + (size_t)i * 8, first + i);
	return n * 8;
}

static uint32_t gpadl_header(struct feed *f, const struct world *w, uint8_t *m)
{
	static const uint16_t sizes[] = { 4, 8, 16, 26, 27, 40, 64, 130, 1024, 1025, 2, 1, 0 };
	uint32_t pages = sizes[feed_below(f, ARRAY_LEN(sizes))];
	uint32_t offset = feed_once_in(f, 16) ? feed_u16(f) : 0;

	put_le32(m + 8, relid(f, w));
	put_le32(m + 12, feed_below(f, HANDLES));
	put_le16(m + 16, (uint16_t)(8 + pages * 8));
	put_le16(m + 18, 1);
	put_le32(m + 20, pages * 4096);
	put_le32(m + 24, offset);
	if (feed_once_in(f, 16))
		put_le32(m + 20, feed_u32(f));
	return 28 + put_pfns(f, m + 28, pages < GPADL_PFNS_MAX ? pages : GPADL_PFNS_MAX);
}

static uint32_t open_message(struct feed *f, const struct world *w, uint8_t *m)
{
	static const uint8_t downstream[] = { 2, 4, 8, 13, 20, 2, 1, 0 };

	put_le32(m + 8, relid(f, w));
	put_le32(m + 12, feed_u8(f));
	put_le32(m + 16, feed_below(f, HANDLES));
	put_le32(m + 20, processor(f));
	put_le32(m + 24, downstream[feed_below(f, ARRAY_LEN(downstream))]);
	if (feed_once_in(f, 32))
		put_le32(m + 24, feed_u32(f));
	return 148;
}

static uint32_t contact(struct feed *f, uint8_t *m)
{
	static const uint32_t versions[] = { 5 << 16 | 3, 5 << 16 | 2, 5 << 16, 4 << 16 | 1,
					     4 << 16, 6 << 16, 0 };

	put_le32(m + 8, versions[feed_below(f, ARRAY_LEN(versions))]);
	put_le32(m + 12, processor(f));
	return 40;
}

static uint32_t body_of(struct feed *f, const struct world *w, uint32_t type, uint8_t *m)
{
	switch (type) {
	case VMBUS_OPEN:
		return open_message(f, w, m);
	case VMBUS_GPADL_HEADER:
		return gpadl_header(f, w, m);
	case VMBUS_GPADL_BODY:
		put_le32(m + 8, feed_u8(f));
		put_le32(m + 12, feed_below(f, HANDLES));
		return 16 + put_pfns(f, m + 16, feed_below(f, BODY_PFNS_MAX + 1));
	case VMBUS_GPADL_TEARDOWN:
		put_le32(m + 8, relid(f, w));
		put_le32(m + 12, feed_below(f, HANDLES));
		return 16;
	case VMBUS_MODIFY:
		put_le32(m + 8, relid(f, w));
		put_le32(m + 12, processor(f));
		return 16;
	case VMBUS_CLOSE:
	case VMBUS_RELID_RELEASED:
		put_le32(m + 8, relid(f, w));
		return 12;
	case VMBUS_CONTACT:
		return contact(f, m);
	default:
		return 8;
	}
}

uint32_t shape_message(struct feed *f, const struct world *w, uint8_t *dst)
{
	uint32_t type = type_of(f), len;

	memset(dst, 0, LIMIT_MESSAGE);
	put_le32(dst, type);
	len = body_of(f, w, type, dst);
	if (feed_once_in(f, 16))
		dst[feed_below(f, LIMIT_MESSAGE)] = feed_u8(f);
	if (feed_once_in(f, 16))
		len = feed_below(f, LIMIT_MESSAGE + 1);
	return len;
}

/* ---- ring packets ------------------------------------------------------------------ */

static const uint8_t opcodes[] = {
	0x28, 0x2a, 0x88, 0x8a, 0x08, 0x0a, 0xa8, 0xaa, 0x42, 0x41, 0x93, 0x35, 0x91, 0x12, 0x25,
	0x9e, 0xa0, 0x00, 0x03, 0x1a, 0x5a, 0x1b, 0x2f, 0x8f,
};

static void put_cdb(struct feed *f, uint8_t opcode, uint8_t *cdb)
{
	uint8_t blocks = feed_u8(f) % 18, lba = feed_u8(f);

	memset(cdb, 0, 16);
	cdb[0] = opcode;
	switch (opcode >> 5) {
	case 0:
		cdb[3] = lba;
		cdb[4] = blocks;
		break;
	case 4:
		cdb[9] = lba;
		cdb[13] = blocks;
		break;
	case 5:
		cdb[5] = lba;
		cdb[9] = blocks;
		break;
	default:
		cdb[5] = lba;
		cdb[8] = blocks;
	}
	if (opcode == 0x42)
		put_be16(cdb + 7, (uint16_t)(8 + 16 * (blocks % 6)));
	if (opcode == 0x9e)
		cdb[1] = 0x10;
	if (feed_once_in(f, 4))
		cdb[1 + feed_below(f, 15)] = feed_u8(f);
}

static void put_srb(struct feed *f, uint8_t opcode, uint8_t *v)
{
	put_le16(v + 12, VSTOR_SRB_BYTES);
	v[VSTOR_AT_LUN] = (uint8_t)feed_below(f, 3);
	v[VSTOR_AT_CDB_LENGTH] = 16;
	v[VSTOR_AT_SENSE_LENGTH] = 20;
	v[VSTOR_AT_DIRECTION] = feed_u8(f) % 3;
	put_le32(v + VSTOR_AT_TRANSFER, (feed_u8(f) % 18) * 512u);
	put_cdb(f, opcode, v + VSTOR_AT_CDB);
}

/* GPA ranges at @at, so that at most @max bytes are taken. */
static uint32_t put_ranges(struct feed *f, uint8_t *at, uint32_t max, uint32_t *ret_ranges)
{
	uint32_t want = feed_u8(f), used = 0;

	*ret_ranges = 0;
	want = want < 192 ? 1 : want < 224 ? 0 : feed_below(f, 20);
	while (*ret_ranges < want) {
		uint32_t len = feed_once_in(f, 16) ? feed_u32(f) : (feed_u8(f) % 18) * 512u;
		uint32_t offset = feed_once_in(f, 4) ? feed_u16(f) % 4096 : 0;
		uint64_t pages = ((uint64_t)len + offset + 4095) / 4096;

		if (used + 8 + pages * 8 > max)
			break;
		put_le32(at + used, len);
		put_le32(at + used + 4, offset);
		used += 8 + put_pfns(f, at + used + 8, (uint32_t)pages);
		(*ret_ranges)++;
	}
	return used;
}

static uint32_t put_packet(struct feed *f, uint16_t type, const uint8_t *payload, uint32_t bytes,
			   uint8_t *dst)
{
	uint32_t offset = 16, ranges, len;

	if (type == RING_GPA_DIRECT) {
		offset = 24 + put_ranges(f, dst + 24, LIMIT_PACKET - 24 - bytes - 8, &ranges);
		put_le32(dst + 16, 0);
		put_le32(dst + 20, ranges);
	}
	memcpy(dst + offset, payload, bytes);
	len = (offset + bytes + 7) & ~7u;
	memset(dst + offset + bytes, 0, len - offset - bytes);
	put_le16(dst, type);
	put_le16(dst + 2, (uint16_t)(offset / 8));
	put_le16(dst + 4, (uint16_t)(len / 8));
	put_le16(dst + 6, !feed_once_in(f, 8));
	put_le64(dst + 8, feed_u8(f));
	return len;
}

uint32_t shape_vstor(struct feed *f, uint32_t op, uint8_t opcode, uint8_t *dst)
{
	uint8_t v[VSTOR_BYTES] = { 0 };

	put_le32(v, op);
	put_le32(v + 4, 1);
	if (op == VSTOR_EXECUTE_SRB)
		put_srb(f, opcode, v);
	else if (op == VSTOR_QUERY_VERSION)
		put_le16(v + 12, 0x0602);
	else if (op == VSTOR_CREATE_SUBCHANNELS)
		put_le16(v + 12, (uint16_t)feed_below(f, 4));
	return put_packet(f, op == VSTOR_EXECUTE_SRB ? RING_GPA_DIRECT : RING_INBAND, v, sizeof(v),
			  dst);
}

static uint32_t op_of(struct feed *f)
{
	uint32_t pick = feed_u8(f);

	if (pick < 160)
		return VSTOR_EXECUTE_SRB;
	if (pick < 192)
		return 4 + pick % 3; /* resets */
	if (pick < 200)
		return VSTOR_CREATE_SUBCHANNELS;
	return pick < 248 ? VSTOR_BEGIN + pick % 4 : feed_u32(f);
}

uint32_t shape_packet(struct feed *f, uint8_t *dst)
{
	uint8_t opcode = feed_once_in(f, 16) ? feed_u8(f)
					     : opcodes[feed_below(f, ARRAY_LEN(opcodes))];
	uint32_t len = shape_vstor(f, op_of(f), opcode, dst);

	if (feed_once_in(f, 16))
		dst[feed_below(f, 32)] = feed_u8(f);
	if (feed_once_in(f, 16))
		dst[feed_below(f, len)] ^= feed_u8(f);
	if (feed_once_in(f, 32))
		len = feed_u16(f) % (LIMIT_PACKET + 1) & ~7u;
	return len;
}

/* Counts of versions, a reserved word, frameworks, versions. */
static void choose_versions(struct feed *f, uint8_t *body, uint32_t bytes)
{
	uint32_t n = get_le16(body), m = get_le16(body + 2), first, second;

	if (n == 0 || m == 0 || 8 + (n + m) * 4 > bytes)
		return;
	first = get_le32(body + 8 + (size_t)feed_below(f, n) * 4);
	second = get_le32(body + 8 + (size_t)(n + feed_below(f, m)) * 4);
	put_le16(body, 1);
	put_le16(body + 2, 1);
	put_le32(body + 8, first);
	put_le32(body + 12, second);
}

uint32_t shape_echo(struct feed *f, const uint8_t *sent, uint32_t len, uint8_t *dst)
{
	enum { AT_TYPE = 12, AT_FLAGS = 25, RESPONSE = 5 };
	uint8_t payload[LIMIT_PACKET / 2];

	memcpy(payload, sent, len);
	if (len >= IC_HEADER + 8 && !feed_once_in(f, 8)) {
		payload[AT_FLAGS] = RESPONSE;
		if (get_le16(payload + AT_TYPE) == IC_NEGOTIATE)
			choose_versions(f, payload + IC_HEADER, len - IC_HEADER);
	}
	if (len && feed_once_in(f, 4))
		payload[feed_below(f, len)] = feed_u8(f);
	if (feed_once_in(f, 16))
		len = feed_below(f, len + 1);
	return put_packet(f, RING_INBAND, payload, len, dst);
}

void shape_list(struct feed *f, uint8_t *dst, size_t n)
{
	uint32_t kind = feed_below(f, 4);

	memset(dst, 0, n);
	if (kind == 0)
		feed_bytes(f, dst, n < 64 ? n : 64);
	if (kind < 2 || n < 8)
		return;
	put_be16(dst, (uint16_t)(n - 2));
	put_be16(dst + 2, (uint16_t)(n - 8));
	for (size_t at = 8; at + 16 <= n; at += 16) {
		put_be64(dst + at, feed_u8(f));
		put_be32(dst + at + 8, feed_u8(f) % 9);
	}
	if (kind == 2)
		dst[feed_below(f, 32) % n] = feed_u8(f);
}
