/* Pure parsers: bytes of the guest in, figures or a refusal out. Hostile input
 * is placed at the end of a page whose neighbour cannot be read, so that one
 * byte too many ends the test. */
#include "engine/limits.h"
#include "statemachines/bytes.h"
#include "statemachines/effects.h"
#include "statemachines/gpa_list.h"
#include "statemachines/hypercall_page.h"
#include "statemachines/ring_packet.h"
#include "statemachines/scsi_data.h"
#include "statemachines/scsi_mode.h"
#include "statemachines/vmbus_msg.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

/* Copies @len bytes so that they end at an unreadable page. */
static uint8_t *at_the_edge(const uint8_t *bytes, size_t len)
{
	static uint8_t *page;

	if (!page) {
		page = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		cr_assert(page != MAP_FAILED);
		cr_assert_eq(mprotect(page + 2 * PAGE, PAGE, PROT_NONE), 0);
	}
	if (len)
		memcpy(page + 2 * PAGE - len, bytes, len);
	return page + 2 * PAGE - len;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* ---- VMBus messages --------------------------------------------------- */

Test(vmbus_msg, lengths_are_least_lengths)
{
	static const struct { uint8_t type; uint8_t least; } types[] = {
		{ VMBUS_REQUEST_OFFERS, 8 }, { VMBUS_UNLOAD, 8 }, { VMBUS_CLOSE, 12 },
		{ VMBUS_RELID_RELEASED, 12 }, { VMBUS_GPADL_TEARDOWN, 16 }, { VMBUS_MODIFY, 16 },
		{ VMBUS_GPADL_BODY, 16 }, { VMBUS_GPADL_HEADER, 20 }, { VMBUS_OPEN, 28 },
		{ VMBUS_CONTACT, 40 },
	};
	struct vmbus_msg m;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		uint8_t bytes[VMBUS_MAX] = { types[i].type };

		for (size_t len = 0; len <= VMBUS_MAX; len++) {
			int e = vmbus_msg_parse(at_the_edge(bytes, len), len, 64, &m);

			cr_assert_eq(e == 0, len >= types[i].least, "type %u, %zu bytes",
				     types[i].type, len);
		}
	}
}

Test(vmbus_msg, gpadl_ranges)
{
	uint8_t h[60] = { VMBUS_GPADL_HEADER };
	struct vmbus_msg m;

	put_le32(h + 8, 3);
	put_le32(h + 12, 0xe1e10);
	put_le16(h + 16, 8 + 4 * 8);
	put_le16(h + 18, 1);
	put_le32(h + 20, 4 * PAGE);
	cr_assert_eq(vmbus_msg_parse(h, sizeof(h), 64, &m), 0);
	cr_assert_eq(m.pages, 4);
	cr_assert_eq(m.n_pfns, 4);
	cr_assert_eq(vmbus_msg_parse(h, 28 + 8, 64, &m), 0);
	cr_assert_eq(m.n_pfns, 1, "the rest comes in bodies");
	cr_assert_eq(vmbus_msg_parse(h, sizeof(h), 3, &m), 0);
	cr_assert_eq(m.pages, 0, "more pages than allowed: still answered by name");
	cr_assert_eq(m.gpadl, 0xe1e10);
	put_le16(h + 18, 2);
	vmbus_msg_parse(h, sizeof(h), 64, &m);
	cr_assert_eq(m.pages, 0, "one range only");
	put_le16(h + 18, 1);
	put_le32(h + 24, PAGE);
	vmbus_msg_parse(h, sizeof(h), 64, &m);
	cr_assert_eq(m.pages, 0, "the offset lies in the first page");
	put_le32(h + 24, 0);
	put_le32(h + 20, 0xffffffff);
	vmbus_msg_parse(h, sizeof(h), 64, &m);
	cr_assert_eq(m.pages, 0);
}

Test(vmbus_msg, offer_layout)
{
	static const uint64_t type[2] = { 1, 2 }, instance[2] = { 3, 4 };
	struct vmbus_offer o = { .type = type, .instance = instance, .relid = 5, .flags = 1,
				 .subchannel = 2 };
	uint8_t m[VMBUS_MAX];

	cr_assert_eq(vmbus_put_offer(m, &o), 196);
	cr_assert_eq(get_le32(m + 184), 5);
	cr_assert_eq(get_le16(m + 180), 2);
	cr_assert_eq(get_le16(m + 190), 1, "dedicated interrupt");
	cr_assert_eq(m[189], 0, "no monitor");
	cr_assert_eq(get_le32(m + 192), 0x2005);
}

Test(vmbus_msg, versions)
{
	cr_assert(vmbus_version_known(0x50003) && vmbus_version_known(0x40000));
	cr_assert(!vmbus_version_known(0x50004) && !vmbus_version_known(0x60000) &&
		  !vmbus_version_known(0x30000) && !vmbus_version_known(0));
}

/* ---- ring packets and page lists -------------------------------------- */

Test(ring_packet, inband)
{
	uint8_t payload[5] = { 1, 2, 3, 4, 5 }, p[64];
	struct ring_packet r;
	size_t n = ring_packet_put(p, RING_INBAND, 1, 77, payload, sizeof(payload));

	cr_assert_eq(n, 24);
	cr_assert_eq(ring_packet_parse(at_the_edge(p, n), n, &r), 0);
	cr_assert_eq(r.transaction, 77);
	cr_assert_eq(r.payload_bytes, 8, "padded");
	cr_assert_eq(ring_packet_parse(p, 16, &r), RING_FAULT_LENGTH);
	put_le16(p + 2, 1);
	cr_assert_eq(ring_packet_parse(p, n, &r), RING_FAULT_OFFSET);
	put_le16(p + 2, 4);
	cr_assert_eq(ring_packet_parse(p, n, &r), RING_FAULT_OFFSET);
	put_le16(p + 2, 2);
	put_le16(p, 7);
	cr_assert_eq(ring_packet_parse(p, n, &r), RING_FAULT_TYPE);
}

Test(ring_packet, ranges_beyond_the_packet)
{
	uint8_t p[64] = { RING_GPA_DIRECT, 0, 6, 0, 8, 0 };
	struct ring_packet r;

	put_le32(p + 20, 1);
	put_le32(p + 24, 2 * PAGE);
	cr_assert_eq(ring_packet_parse(at_the_edge(p, 64), 64, &r), 0, "two page numbers fit");
	put_le32(p + 24, 2 * PAGE + 1);
	cr_assert_eq(ring_packet_parse(at_the_edge(p, 64), 64, &r), RING_FAULT_LENGTH);
	put_le32(p + 24, 0xffffffff);
	cr_assert_eq(ring_packet_parse(at_the_edge(p, 64), 64, &r), RING_FAULT_LENGTH);
	put_le32(p + 24, 1);
	put_le32(p + 28, PAGE);
	cr_assert_eq(ring_packet_parse(at_the_edge(p, 64), 64, &r), RING_FAULT_LENGTH);
	put_le32(p + 28, 0);
	put_le32(p + 20, 0xffffffff);
	cr_assert_eq(ring_packet_parse(at_the_edge(p, 64), 64, &r), RING_FAULT_LENGTH);
}

Test(ring_packet, random_bytes_stay_inside)
{
	uint64_t seed = 88172645463325252u, sound = 0;

	for (unsigned round = 0; round < 300000; round++) {
		size_t len = next_random(&seed) % 33 * 8;
		uint8_t p[264];
		struct ring_packet r;

		for (size_t i = 0; i < sizeof(p); i++)
			p[i] = (uint8_t)next_random(&seed);
		if (round & 1 && len >= 32) {
			p[0] = round & 2 ? 6 : 9;
			p[1] = p[3] = p[5] = 0;
			p[2] &= 15;
			p[4] = (uint8_t)(len / 8);
			put_le32(p + 20, p[20] & 3);
			put_le32(p + 24, get_le32(p + 24) & 0x3fff);
			put_le32(p + 28, get_le32(p + 28) & 0xfff);
		}
		if (ring_packet_parse(at_the_edge(p, len), len, &r) == 0) {
			uint64_t pairs[16], got;
			volatile uint8_t last;

			sound++;
			if (r.payload_bytes)
				last = r.payload[r.payload_bytes - 1];
			(void)last;
			gpa_list_pairs(r.gpas, r.gpa_ranges, next_random(&seed) % 5000, 9000, pairs,
				       8,
				       &got);
		}
	}
	cr_assert_gt(sound, 1000, "the test must also see packets that are sound: %lu", sound);
}

Test(gpa_list, pieces)
{
	uint8_t l[8 + 3 * 8];
	uint64_t pairs[8], got;

	put_le32(l, 9000);
	put_le32(l + 4, 100);
	put_le64(l + 8, 10);
	put_le64(l + 16, 11);
	put_le64(l + 24, 20);
	cr_assert_eq(gpa_list_bytes(l, sizeof(l), 1), sizeof(l));
	cr_assert_eq(gpa_list_total(l, 1), 9000);
	cr_assert_eq(gpa_list_pairs(l, 1, 0, 9000, pairs, 4, &got), 2, "neighbours are joined");
	cr_assert_eq(pairs[0], 10 * PAGE + 100);
	cr_assert_eq(pairs[1], 2 * PAGE - 100);
	cr_assert_eq(pairs[2], 20 * PAGE);
	cr_assert_eq(pairs[3], 9000 - (2 * PAGE - 100));
	cr_assert_eq(gpa_list_pairs(l, 1, 4096, 9000, pairs, 4, &got), 2);
	cr_assert_eq(pairs[0], 11 * PAGE + 100);
	cr_assert_eq(got, 9000 - 4096);
	cr_assert_eq(gpa_list_pairs(l, 1, 0, 9000, pairs, 1, &got), 1);
	cr_assert_eq(got, 2 * PAGE - 100, "as much as the pairs hold");
	put_le64(l + 8, UINT64_MAX);
	gpa_list_pairs(l, 1, 0, 10, pairs, 4, &got);
	cr_assert_geq(pairs[0], 1ull << 63, "a wild page number does not become RAM");
}

/* ---- SCSI ------------------------------------------------------------- */

static struct scsi_command parsed(const uint8_t *cdb, unsigned len)
{
	uint8_t padded[16] = { 0 };
	struct scsi_command c;

	memcpy(padded, cdb, len);
	cr_assert_eq(scsi_cdb_parse(padded, len, &c), 0, "opcode %02x", cdb[0]);
	return c;
}

Test(scsi_cdb, reads_of_all_lengths)
{
	struct scsi_command c = parsed((const uint8_t[]){ 0x08, 0xe1, 2, 3, 0, 0 }, 6);

	cr_assert_eq(c.lba, 0x10203);
	cr_assert_eq(c.count, 256, "0 means 256 in READ(6)");
	c = parsed((const uint8_t[]){ 0x28, 8, 1, 2, 3, 4, 0, 0, 9, 0 }, 10);
	cr_assert(c.lba == 0x01020304 && c.count == 9 && c.fua);
	c = parsed((const uint8_t[]){ 0xa8, 0, 1, 2, 3, 4, 0, 1, 0, 0, 0, 0 }, 12);
	cr_assert(c.lba == 0x01020304 && c.count == 0x10000);
	c = parsed((const uint8_t[]){ 0x88, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0 }, 16);
	cr_assert(c.lba == 0x0100000000000002 && c.count == 3 && c.kind == SCSI_READ);
}

Test(scsi_cdb, refusals)
{
	struct scsi_command c;

	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0x28 }, 6, &c), SCSI_E_FIELD);
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0x28, 0x20 }, 10, &c), SCSI_E_FIELD);
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0xff }, 16, &c), SCSI_E_OPCODE);
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0x9e, 0x11 }, 16, &c), SCSI_E_FIELD);
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0x42, 1 }, 10, &c), SCSI_E_FIELD,
		     "UNMAP with ANCHOR");
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0xa0, 0, 3 }, 12, &c), SCSI_E_FIELD,
		     "no such report of LUNs");
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0x12, 0, 0x80, 0, 36 }, 6, &c),
		     SCSI_E_FIELD, "a page without EVPD");
	cr_assert_eq(scsi_cdb_parse((const uint8_t[16]){ 0x00 }, 0, &c), SCSI_E_OPCODE);
}

Test(scsi_data, lengths_of_strings_and_pages)
{
	static const struct scsi_disk d = { .blocks = 0x123456789, .identity = { 5, 6 },
					    .block_bytes = 512 };
	struct scsi_command c = { .kind = SCSI_INQUIRY };
	uint8_t p[SCSI_DATA_MAX];

	cr_assert_eq(scsi_put_inquiry(p, &c, &d), 36);
	cr_assert_eq(memcmp(p + 8, "HoldfastVirtual Disk    000", 27), 0);
	cr_assert_eq(scsi_put_inquiry(p, &c, NULL), 36);
	cr_assert_eq(p[0], 0x7f, "no LUN: said by data, not by an error");
	c.evpd = true;
	cr_assert_eq(scsi_put_inquiry(p, &c, &d), 4 + 6);
	cr_assert_eq(memcmp(p + 4, "\x00\x80\x83\xb0\xb1\xb2", 6), 0);
	for (unsigned page = 0; page < 256; page++) {
		size_t n;

		c.page = (uint8_t)page;
		n = scsi_put_inquiry(p, &c, &d);
		cr_assert(n == 0 || (p[1] == page && get_be16(p + 2) == n - 4));
	}
	c.kind = SCSI_READ_CAPACITY_10;
	scsi_put_capacity(p, &c, &d);
	cr_assert_eq(get_be32(p), 0xffffffff, "too large for ten bytes");
	c.kind = SCSI_READ_CAPACITY_16;
	cr_assert_eq(scsi_put_capacity(p, &c, &d), 32);
	cr_assert_eq(get_be64(p), 0x123456788);
	cr_assert_eq(scsi_put_luns(p, UINT64_MAX), SCSI_DATA_MAX);
	cr_assert_eq(scsi_put_luns(p, 0), 8);
}

Test(scsi_data, unmap_lists)
{
	uint8_t l[8 + 32] = { 0, 38, 0, 32 };
	uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS];

	put_be64(l + 8, 90);
	put_be32(l + 16, 10);
	put_be64(l + 24, 5);
	cr_assert_eq(scsi_parse_unmap(at_the_edge(l, 40), 40, 100, 512, pairs), 1,
		     "an empty range is left out");
	cr_assert(pairs[0] == 90 && pairs[1] == 10);
	cr_assert_eq(scsi_parse_unmap(l, 40, 99, 512, pairs), UNMAP_E_RANGE);
	cr_assert_eq(scsi_parse_unmap(l, 7, 100, 512, pairs), UNMAP_E_LENGTH);
	put_be32(l + 32, 10);
	cr_assert_eq(scsi_parse_unmap(l, 40, 100, 512, pairs), 2);
	cr_assert_eq(scsi_parse_unmap(at_the_edge(l, 39), 39, 100, 512, pairs), 1,
		     "what the list cuts short is left out");
	l[3] = 31;
	cr_assert_eq(scsi_parse_unmap(l, 40, 100, 512, pairs), 1, "what its header cuts, too");
	put_be64(l + 8, UINT64_MAX);
	cr_assert_eq(scsi_parse_unmap(l, 40, 100, 512, pairs), UNMAP_E_RANGE);
}

Test(scsi_data, unmap_of_too_many)
{
	uint8_t l[8 + 16 * (SCSI_UNMAP_DESCRIPTORS + 1)] = { 0 };
	uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS];

	put_be16(l + 2, sizeof(l) - 8);
	cr_assert_eq(scsi_parse_unmap(l, sizeof(l), 100, 512, pairs), UNMAP_E_LIST);
	put_be16(l + 2, sizeof(l) - 8 - 16);
	cr_assert_eq(scsi_parse_unmap(l, sizeof(l), 100, 512, pairs), 0);
}

Test(scsi_data, mode_descriptor)
{
	struct scsi_disk d = { .blocks = UINT64_MAX, .block_bytes = 4096 };
	struct scsi_command c = { .kind = SCSI_MODE_SENSE_6, .page = 8 };
	uint8_t p[SCSI_DATA_MAX];

	cr_assert_eq(scsi_put_mode(p, &c, &d), 4 + 8 + 20);
	cr_assert(p[0] == 31 && p[3] == 8 && p[12] == 8);
	cr_assert(get_be32(p + 4) == UINT32_MAX && get_be32(p + 8) == 4096);
	d.blocks = 77;
	c.kind = SCSI_MODE_SENSE_10;
	cr_assert_eq(scsi_put_mode(p, &c, &d), 8 + 8 + 20);
	cr_assert(get_be16(p) == 34 && get_be16(p + 6) == 8 && get_be32(p + 8) == 77);
	c.no_descriptor = true;
	cr_assert_eq(scsi_put_mode(p, &c, &d), 8 + 20);
	cr_assert(get_be16(p + 6) == 0 && p[8] == 8);
	c.no_descriptor = false;
	c.page = 0x1d;
	cr_assert_eq(scsi_put_mode(p, &c, &d), 0, "a descriptor alone is no page");
}

/* ---- pages ------------------------------------------------------------ */

Test(scsi_sense, errors_of_the_host)
{
	static const struct { uint32_t error, reading, writing; } table[] = {
		{ 0, SENSE_READ_ERROR, SENSE_WRITE_ERROR },
		{ 5 /* EIO */, SENSE_READ_ERROR, SENSE_WRITE_ERROR },
		{ 61 /* ENODATA */, SENSE_READ_ERROR, SENSE_WRITE_ERROR },
		{ 12 /* ENOMEM */, 0, 0 },
		{ 11 /* EAGAIN */, 0, 0 },
		{ 28 /* ENOSPC */, SENSE_NO_SPACE, SENSE_NO_SPACE },
		{ 122 /* EDQUOT */, SENSE_NO_SPACE, SENSE_NO_SPACE },
		{ 27 /* EFBIG */, SENSE_NO_SPACE, SENSE_NO_SPACE },
		{ 30 /* EROFS */, SENSE_WRITE_PROTECTED, SENSE_WRITE_PROTECTED },
		{ 9 /* EBADF */, SENSE_UNIT_FAILURE, SENSE_WRITE_PROTECTED },
		{ 14 /* EFAULT */, SENSE_FIELD, SENSE_FIELD },
		{ 95 /* EOPNOTSUPP */, SENSE_OPCODE, SENSE_OPCODE },
		{ 19 /* ENODEV */, SENSE_UNIT_FAILURE, SENSE_UNIT_FAILURE },
		{ 110 /* ETIMEDOUT */, SENSE_TARGET_FAILURE, SENSE_TARGET_FAILURE },
	};

	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		cr_assert_eq(scsi_sense_of_error(table[i].error, false), table[i].reading, "%u", i);
		cr_assert_eq(scsi_sense_of_error(table[i].error, true), table[i].writing, "%u", i);
	}
}

Test(scsi_mode, what_can_be_set)
{
	struct scsi_disk d = { .block_bytes = 512, .blocks = 8 };
	uint8_t list[12 + 20] = { [3] = 8, [10] = 2, [12] = 8, [13] = 18 };
	bool through;

	cr_assert_eq(scsi_parse_mode_select(list, sizeof(list), true, &d, &through), 0);
	cr_assert(through);
	list[14] = 4;
	cr_assert_eq(scsi_parse_mode_select(list, sizeof(list), true, &d, &through), 0);
	cr_assert_not(through);
	cr_assert_eq(scsi_parse_mode_select(list, 0, true, &d, &through), 0, "nothing to set");
	cr_assert_eq(scsi_parse_mode_select(list, 3, true, &d, &through), SENSE_LIST_LENGTH);
	cr_assert_eq(scsi_parse_mode_select(list, 20, true, &d, &through), SENSE_LIST);
	list[10] = 16;
	cr_assert_eq(scsi_parse_mode_select(list, sizeof(list), true, &d, &through), SENSE_LIST,
		     "another sector");
	list[10] = 2;
	list[12] = 9;
	cr_assert_eq(scsi_parse_mode_select(list, sizeof(list), true, &d, &through), SENSE_LIST,
		     "no such page");
}

Test(gpa_list, a_block_again_and_again)
{
	uint8_t list[24] = { 0 };
	uint64_t pairs[2 * LIMIT_SEGMENTS], got;

	put_le32(list, 512);
	put_le32(list + 4, 4096 - 256);
	put_le64(list + 8, 7);
	put_le64(list + 16, 9);
	cr_assert_eq(gpa_list_repeat(list, 1, 512, 2048, pairs, LIMIT_SEGMENTS, &got), 8);
	cr_assert(got == 2048 && pairs[0] == 8 * 4096 - 256 && pairs[2] == 9 * 4096 &&
		  pairs[14] == 9 * 4096 && pairs[15] == 256);
	cr_assert_eq(gpa_list_repeat(list, 1, 512, 1 << 30, pairs, 5, &got), 4, "whole blocks only");
	cr_assert_eq(got, 1024);
	cr_assert_eq(gpa_list_repeat(list, 1, 1024, 2048, pairs, 8, &got), 0, "it has no such block");
}

Test(hypercall_page, scale_is_exact)
{
	uint8_t page[REFERENCE_TSC_BYTES];

	reference_tsc_fill(page, 2500000000ull);
	cr_assert_eq(get_le32(page), 1);
	cr_assert_eq(get_le64(page + 8), 73786976294838206ull, "floor(2^64 / 250)");
	reference_tsc_fill(page, 1000);
	cr_assert_eq(get_le32(page), 0, "use the MSR");
}
