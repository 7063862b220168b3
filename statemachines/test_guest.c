/* What a guest and its host do, one call each; see test_story.h. */
#include "statemachines/bytes.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>

enum { RING_PAGES = 8, DOWNSTREAM = 4, RING_DATA = 3 * 4096, FIRST_PFN = 0x1000 };

void guest_config(struct story *s, uint32_t vps)
{
	static const char cmdline[] = "console=ttyS0";
	struct rec_config c = { .memory_bytes = 512 << 20, .low_bytes = 512 << 20,
				.wall_ns = 1700000000000000000ull, .tsc_hz = 2500000000ull,
				.apic_hz = 1000000000, .vps = vps, .backend = 1 };

	RAISE(s, vtl, 0, CONFIG, c, cmdline, sizeof(cmdline) - 1);
}

void guest_disk(struct story *s, uint16_t lun, uint64_t blocks, uint32_t flags)
{
	struct rec_disk_config d = { .blocks = blocks, .block_bytes = 512, .flags = flags,
				     .fd = (uint16_t)(40 + lun), .lun = lun,
				     .identity = { 0x1234567890abcdefu, 0x1000u + lun } };

	RAISE(s, disk, lun, CONFIG, d, "disk.img", 8);
}

void guest_start(struct story *s)
{
	struct rec_operator start = { .op = 3, .token = 7 };
	struct rec_guest_loaded loaded = { .rip = 0x1000200, .rsi = 0x7000, .cr3 = 0x9000,
					   .gdt = 0x8000 };
	struct rec_command_done done = { .op = 1 };

	RAISE(s, vtl, 0, START, start, NULL, 0);
	RAISE(s, vtl, 0, LOADED, loaded, NULL, 0);
	RAISE(s, vtl, 0, COMMAND_DONE, done, NULL, 0);
}

void guest_in_force(struct story *s)
{
	struct rec_in_force f = { .generation = story_seq(s) };

	RAISE(s, vtl, 0, IN_FORCE, f, NULL, 0);
}

void guest_post(struct story *s, const void *message, size_t len)
{
	struct rec_posted p = { .connection_id = 1, .message_type = 1 };

	RAISE(s, vmbus, 0, POSTED, p, message, len);
}

void guest_words(struct story *s, uint32_t type, uint32_t a, uint32_t b, uint32_t c)
{
	uint8_t m[28] = { 0 };

	put_le32(m, type);
	put_le32(m + 8, a);
	put_le32(m + 12, b);
	put_le32(m + 16, c);
	guest_post(s, m, sizeof(m));
}

void guest_contact(struct story *s, uint32_t version)
{
	uint8_t m[40] = { 0 };

	put_le32(m, VMBUS_CONTACT);
	put_le32(m + 8, version);
	m[16] = VMBUS_SINT;
	guest_post(s, m, sizeof(m));
}

void guest_offers(struct story *s)
{
	guest_words(s, VMBUS_REQUEST_OFFERS, 0, 0, 0);
}

void guest_gpadl(struct story *s, uint32_t relid, uint32_t handle, uint32_t pages)
{
	uint8_t m[VMBUS_MAX] = { 0 };
	uint32_t at = 0, room = 26;

	put_le32(m, VMBUS_GPADL_HEADER);
	put_le32(m + 8, relid);
	put_le32(m + 12, handle);
	put_le16(m + 16, (uint16_t)(8 + pages * 8));
	put_le16(m + 18, 1);
	put_le32(m + 20, pages * 4096);
	for (; at < pages && at < room; at++)
		put_le64(m + 28 + at * 8, FIRST_PFN + at);
	guest_post(s, m, 28 + (size_t)at * 8);
	for (uint32_t number = 0; at < pages; number++) {
		size_t n = 0;

		memset(m, 0, sizeof(m));
		put_le32(m, VMBUS_GPADL_BODY);
		put_le32(m + 8, number);
		put_le32(m + 12, handle);
		for (; at < pages && n < 28; at++, n++)
			put_le64(m + 16 + n * 8, FIRST_PFN + at);
		guest_post(s, m, 16 + n * 8);
	}
}

void guest_open(struct story *s, uint32_t relid, uint32_t handle)
{
	struct rec_ring_mapped mapped = { .in_size = RING_DATA, .out_size = RING_DATA };
	uint8_t m[148] = { 0 };

	guest_gpadl(s, relid, handle, RING_PAGES);
	put_le32(m, VMBUS_OPEN);
	put_le32(m + 8, relid);
	put_le32(m + 12, relid); /* openid: Linux takes the relid */
	put_le32(m + 16, handle);
	put_le32(m + 24, DOWNSTREAM);
	guest_post(s, m, sizeof(m));
	mapped.generation = (uint32_t)story_seq(s);
	RAISE(s, channel, (uint16_t)relid, MAPPED, mapped, NULL, 0);
	guest_in_force(s);
}

/* Descriptor, range with its page numbers, padding. */
static size_t put_gpa_direct(uint8_t *p, uint64_t pfn, uint32_t bytes)
{
	uint32_t pages = (bytes + 4095) / 4096;

	put_le32(p + 20, 1);
	put_le32(p + 24, bytes);
	for (uint32_t i = 0; i < pages; i++)
		put_le64(p + 32 + i * 8, pfn + i);
	return 32 + (size_t)pages * 8;
}

static void packet(struct story *s, uint32_t relid, uint64_t transaction, const uint8_t *payload,
		   size_t len, uint64_t pfn, uint32_t bytes, uint16_t flags)
{
	const struct channel *c = world_at(story_world(s), KIND_channel, (uint16_t)relid);
	struct rec_packet r = { .position = c->in_position };
	uint8_t p[LIMIT_PACKET] = { 0 };
	size_t offset = bytes ? put_gpa_direct(p, pfn, bytes) : RING_DESCRIPTOR;

	put_le16(p, bytes ? RING_GPA_DIRECT : RING_INBAND);
	put_le16(p + 2, (uint16_t)(offset / 8));
	put_le16(p + 4, (uint16_t)((offset + len) / 8));
	put_le16(p + 6, flags);
	put_le64(p + 8, transaction);
	memcpy(p + offset, payload, len);
	r.next = r.position + offset + len + RING_TRAILER;
	RAISE(s, channel, (uint16_t)relid, PACKET, r, p, offset + len);
}

void guest_packet(struct story *s, uint32_t relid, uint64_t transaction, const uint8_t *payload,
		  size_t len, uint64_t pfn, uint32_t bytes)
{
	packet(s, relid, transaction, payload, len, pfn, bytes, RING_WANTS_COMPLETION);
}

void guest_unanswered(struct story *s, uint32_t relid, const uint8_t *payload, size_t len,
		      uint64_t pfn, uint32_t bytes)
{
	packet(s, relid, 0, payload, len, pfn, bytes, 0);
}

void guest_vstor(struct story *s, uint32_t relid, uint32_t op, uint32_t word)
{
	uint8_t p[VSTOR_BYTES] = { 0 };

	put_le32(p, op);
	put_le32(p + 4, 1);
	put_le32(p + 12, word);
	guest_packet(s, relid, 0xfffffffffffffffdu, p, sizeof(p), 0, 0);
}

void guest_handshake(struct story *s, uint32_t relid)
{
	guest_vstor(s, relid, VSTOR_BEGIN, 0);
	guest_vstor(s, relid, VSTOR_QUERY_VERSION, 0x0602);
	guest_vstor(s, relid, VSTOR_QUERY_PROPERTIES, 0);
	guest_vstor(s, relid, VSTOR_END, 0);
}

void guest_srb(struct story *s, uint32_t relid, uint64_t transaction, uint8_t lun,
	       const uint8_t *cdb, unsigned cdb_len, uint64_t pfn, uint32_t bytes)
{
	uint8_t p[VSTOR_BYTES] = { 0 };

	put_le32(p, VSTOR_EXECUTE_SRB);
	put_le32(p + 4, 1);
	put_le16(p + 12, VSTOR_SRB_BYTES);
	p[VSTOR_AT_LUN] = lun;
	p[VSTOR_AT_CDB_LENGTH] = (uint8_t)cdb_len;
	p[VSTOR_AT_SENSE_LENGTH] = VSTOR_SENSE_MAX;
	put_le32(p + VSTOR_AT_TRANSFER, bytes);
	memcpy(p + VSTOR_AT_CDB, cdb, cdb_len);
	guest_packet(s, relid, transaction, p, sizeof(p), pfn, bytes);
}

static void move(struct story *s, uint8_t opcode, uint64_t transaction, uint32_t lba,
		 uint16_t blocks)
{
	uint8_t cdb[10] = { opcode };

	put_be32(cdb + 2, lba);
	put_be16(cdb + 7, blocks);
	guest_srb(s, 1, transaction, 0, cdb, sizeof(cdb), 0x2000, blocks * 512u);
}

void guest_read(struct story *s, uint64_t transaction, uint32_t lba, uint16_t blocks)
{
	move(s, 0x28, transaction, lba, blocks);
}

void guest_write(struct story *s, uint64_t transaction, uint32_t lba, uint16_t blocks)
{
	move(s, 0x2a, transaction, lba, blocks);
}

const uint8_t *guest_answer(const struct story *s)
{
	return story_effect(s, EFFECT_RING_SEND, 0).tail + RING_DESCRIPTOR;
}

void disk_done(struct story *s, uint16_t slot, int32_t result)
{
	const struct scsi *q = world_at(story_world(s), KIND_scsi, slot);
	struct rec_disk_done d = { .result = (uint32_t)result };

	cr_assert(q, "nothing is in slot %u", slot);
	d.generation = q->generation;
	RAISE(s, scsi, slot, DISK_DONE, d, NULL, 0);
}

void guest_ready(struct story *s)
{
	story_mute(s, true);
	guest_config(s, 1);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e10);
	guest_handshake(s, 1);
	story_mute(s, false);
}

void guest_answer_ic(struct story *s, uint32_t relid, uint8_t m[IC_MAX], uint32_t status)
{
	size_t len = (get_le32(m + 4) + 8 + 7) & ~7u;

	put_le32(m + 20, status);
	m[25] = 5;
	guest_packet(s, relid, 0, m, len, 0, 0);
}

void guest_last_ic(const struct story *s, uint8_t m[IC_MAX])
{
	struct effect e = story_effect(s, EFFECT_RING_SEND, 0);

	memset(m, 0, IC_MAX);
	memcpy(m, e.tail + RING_DESCRIPTOR, e.tail_len - RING_DESCRIPTOR);
}

void guest_agree_ic(struct story *s, uint32_t relid, uint32_t version)
{
	uint8_t m[IC_MAX];

	guest_open(s, relid, 0xe1e10 + relid);
	guest_last_ic(s, m);
	cr_assert_eq(get_le16(m + 12), IC_NEGOTIATE);
	put_le16(m + 28, version != 0);
	put_le16(m + 30, version != 0);
	put_le16(m + 36, 3);
	put_le16(m + 38, 0);
	put_le16(m + 40, (uint16_t)(version >> 16));
	put_le16(m + 42, (uint16_t)version);
	guest_answer_ic(s, relid, m, 0);
}
