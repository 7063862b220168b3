/* fuzz/fuzz_message.c - the pure parsers of what a guest writes: channel messages,
 * ring packets with their page lists, command blocks, UNMAP lists.
 *
 * Each gets a copy of exactly its length, so that a sanitizer sees one byte too
 * many; what a parser says lies inside what it was given. */
#include "fuzz/driver.h"
#include "fuzz/feed.h"
#include "fuzz/oracle.h"
#include "fuzz/program.h"
#include "fuzz/shapes.h"

#include "engine/fact.h"
#include "statemachines/effects.h"
#include "statemachines/gpa_list.h"
#include "statemachines/machines.h"
#include "statemachines/ring_packet.h"
#include "statemachines/scsi_data.h"
#include "statemachines/scsi_mode.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vstor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
	uint64_t inputs, messages, packets, cdbs, lists;
} figures;
static struct world *world;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world = world_new(&fuzz_program);
	if (!world)
		exit(1);
	machines_spawn_fixed(world);
	return 0;
}

static uint8_t *exact(const uint8_t *bytes, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	if (!p)
		exit(1);
	memcpy(p, bytes, len);
	return p;
}

static void inside(const char *what, const uint8_t *p, size_t len, const uint8_t *part, size_t n)
{
	if (n && (part < p || (size_t)(part - p) > len || n > len - (size_t)(part - p)))
		oracle_failed(what, len, n);
}

static void one_message(struct feed *f)
{
	uint8_t bytes[LIMIT_MESSAGE];
	uint32_t len = feed_once_in(f, 4) ? feed_u8(f) % (LIMIT_MESSAGE + 1)
					  : shape_message(f, world, bytes);
	struct vmbus_msg m;
	uint8_t *p;

	if (len == 0 || feed_once_in(f, 8))
		feed_bytes(f, bytes, sizeof(bytes));
	p = exact(bytes, len);
	if (vmbus_msg_parse(p, len, LIMIT_GPADL_PAGES, &m) == 0) {
		figures.messages++;
		inside("PFNs outside the message", p, len, m.pfns, (size_t)m.n_pfns * 8);
		if (m.pages > LIMIT_GPADL_PAGES ||
		    (m.type == VMBUS_GPADL_HEADER && m.n_pfns > m.pages))
			oracle_failed("a GPADL with more pages than it may have", len, m.pages);
	}
	free(p);
}

/* Pieces of memory that a request may name. */
static void walk_pages(struct feed *f, const struct ring_packet *r)
{
	uint64_t pairs[2 * LIMIT_SEGMENTS], got, sum = 0;
	uint64_t total = gpa_list_total(r->gpas, r->gpa_ranges);
	uint64_t skip = feed_u32(f), want = feed_once_in(f, 4) ? feed_u64(f) : feed_u32(f);
	uint32_t max = 1 + feed_u16(f) % LIMIT_SEGMENTS;
	uint32_t n = gpa_list_pairs(r->gpas, r->gpa_ranges, skip, want, pairs, max, &got);

	if (n > max || got > want || got > (total > skip ? total - skip : 0))
		oracle_failed("more memory than the list names", total, got);
	for (uint32_t i = 0; i < n; i++) {
		sum += pairs[2 * i + 1];
		if (pairs[2 * i + 1] == 0)
			oracle_failed("a piece of nothing", i, pairs[2 * i]);
	}
	if (sum != got)
		oracle_failed("pieces are not the sum", sum, got);
}

static void one_packet(struct feed *f)
{
	uint8_t bytes[LIMIT_PACKET] = { 0 };
	uint32_t len = feed_once_in(f, 4) ? feed_u16(f) % (LIMIT_PACKET + 1)
					  : shape_packet(f, bytes);
	struct ring_packet r;
	uint8_t *p;

	if (feed_once_in(f, 8))
		feed_bytes(f, bytes, len < 256 ? len : 256);
	p = exact(bytes, len);
	if (ring_packet_parse(p, len, &r) == 0) {
		figures.packets++;
		inside("payload outside the packet", p, len, r.payload, r.payload_bytes);
		inside("page list outside the packet", p, len, r.gpas, r.gpa_bytes);
		if (r.gpa_ranges)
			walk_pages(f, &r);
	}
	free(p);
}

static bool moves(const struct scsi_command *c)
{
	return c->kind == SCSI_READ || c->kind == SCSI_WRITE || c->kind == SCSI_VERIFY ||
	       c->kind == SCSI_WRITE_SAME || c->kind == SCSI_SYNCHRONIZE;
}

static void one_cdb(struct feed *f)
{
	uint8_t bytes[VSTOR_CDB_MAX], data[SCSI_DATA_MAX];
	unsigned len = feed_u8(f) % 20;
	struct scsi_disk d = { .blocks = feed_u64(f), .block_bytes = 512 };
	struct scsi_command c;
	uint8_t *p, *out;

	feed_bytes(f, bytes, sizeof(bytes));
	p = exact(bytes, sizeof(bytes));
	out = malloc(sizeof(data));
	if (!out)
		exit(1);
	if (scsi_cdb_parse(p, len, &c) == 0) {
		figures.cdbs++;
		if (c.lba_with_count != moves(&c))
			oracle_failed("a command with a range that nobody checks", bytes[0], c.count);
		if (c.kind == SCSI_INQUIRY && scsi_put_inquiry(out, &c, &d) > SCSI_DATA_MAX)
			oracle_failed("INQUIRY data too long", bytes[0], c.page);
		if ((c.kind == SCSI_MODE_SENSE_6 || c.kind == SCSI_MODE_SENSE_10) &&
		    scsi_put_mode(out, &c, &d) > SCSI_DATA_MAX)
			oracle_failed("MODE SENSE data too long", bytes[0], c.page);
		if ((c.kind == SCSI_READ_CAPACITY_10 || c.kind == SCSI_READ_CAPACITY_16) &&
		    scsi_put_capacity(out, &c, &d) > SCSI_DATA_MAX)
			oracle_failed("READ CAPACITY data too long", bytes[0], 0);
	}
	free(out);
	free(p);
}

static void one_list(struct feed *f)
{
	uint8_t bytes[SCSI_UNMAP_LIST] = { 0 };
	uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS], blocks = feed_u64(f) >> feed_u8(f) % 64;
	uint32_t len = feed_u16(f) % (SCSI_UNMAP_LIST + 1);
	uint32_t block_bytes = feed_once_in(f, 2) ? 512 : 4096;
	uint8_t *p;
	int n;

	shape_list(f, bytes, len);
	p = exact(bytes, len);
	n = scsi_parse_unmap(p, len, blocks, block_bytes, pairs);
	if (n > SCSI_UNMAP_DESCRIPTORS)
		oracle_failed("more ranges than there is room for", len, (uint64_t)n);
	for (int i = 0; i < n; i++)
		if (pairs[2 * i] > blocks || pairs[2 * i + 1] > blocks - pairs[2 * i] ||
		    pairs[2 * i + 1] == 0)
			oracle_failed("UNMAP behind the disk's end", blocks, pairs[2 * i]);
	figures.lists += n > 0;
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(struct feed *) = { one_message, one_packet, one_cdb,
							   one_list };
	struct feed f = { data, size };

	while (f.left) {
		figures.inputs++;
		parsers[feed_u8(&f) % ARRAY_LEN(parsers)](&f);
	}
	return 0;
}

void fuzz_report(double seconds, int detail)
{
	(void)detail;
	printf("inputs=%" PRIu64 " per_second=%.0f messages=%" PRIu64 " packets=%" PRIu64
	       " cdbs=%" PRIu64 " lists=%" PRIu64 "\n",
	       figures.inputs, seconds > 0 ? (double)figures.inputs / seconds : 0.0,
	       figures.messages, figures.packets, figures.cdbs, figures.lists);
}
