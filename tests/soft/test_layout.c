/* tests/soft/test_layout.c - every offset of protocol.md B.5, B.6, B.8 and C.1,
 * and the figures of tally.c. */
#include "tests/soft/guestscsi.h"
#include "tests/soft/tally.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdlib.h>

#define AT(type, member, offset)                                                                   \
	cr_assert_eq(offsetof(struct type, member), (offset), #type "." #member)
#define SIZE(type, bytes) cr_assert_eq(sizeof(struct type), (bytes), #type)

Test(layout, channel_messages)
{
	AT(bus_initiate, version, 8);
	AT(bus_initiate, target_vp, 12);
	AT(bus_initiate, sint, 16);
	AT(bus_initiate, vtl, 17);
	AT(bus_initiate, features, 20);
	AT(bus_initiate, monitor_to_child, 24);
	AT(bus_initiate, monitor_to_parent, 32);
	SIZE(bus_initiate, 40);
	AT(bus_version, supported, 8);
	AT(bus_version, state, 9);
	AT(bus_version, connection, 12);
	SIZE(bus_version, 16);
	SIZE(bus_relid, 12);
	AT(bus_open, relid, 8);
	AT(bus_open, openid, 12);
	AT(bus_open, gpadl, 16);
	AT(bus_open, target_vp, 20);
	AT(bus_open, downstream_page, 24);
	AT(bus_open, user, 28);
	SIZE(bus_open, 148);
	AT(bus_open_result, openid, 12);
	AT(bus_open_result, status, 16);
	SIZE(bus_open_result, 20);
	SIZE(bus_modify, 16);
	AT(bus_modify, target_vp, 12);
	SIZE(bus_modified, 16);
	AT(bus_modified, status, 12);
}

Test(layout, offer)
{
	AT(bus_offer, type, 8);
	AT(bus_offer, instance, 24);
	AT(bus_offer, flags, 56);
	AT(bus_offer, mmio, 58);
	AT(bus_offer, user, 60);
	AT(bus_offer, index, 180);
	AT(bus_offer, relid, 184);
	AT(bus_offer, monitor, 188);
	AT(bus_offer, monitor_allocated, 189);
	AT(bus_offer, dedicated, 190);
	AT(bus_offer, connection, 192);
	SIZE(bus_offer, 196);
}

Test(layout, gpadl)
{
	AT(bus_gpadl_header, relid, 8);
	AT(bus_gpadl_header, gpadl, 12);
	AT(bus_gpadl_header, range_bytes, 16);
	AT(bus_gpadl_header, ranges, 18);
	AT(bus_gpadl_header, byte_count, 20);
	AT(bus_gpadl_header, byte_offset, 24);
	AT(bus_gpadl_header, pfn, 28);
	cr_assert(sizeof(struct bus_gpadl_header) <= 240);
	AT(bus_gpadl_body, number, 8);
	AT(bus_gpadl_body, gpadl, 12);
	AT(bus_gpadl_body, pfn, 16);
	SIZE(bus_gpadl_body, 240);
	AT(bus_gpadl_created, gpadl, 12);
	AT(bus_gpadl_created, status, 16);
	SIZE(bus_gpadl_created, 20);
	AT(bus_gpadl_teardown, gpadl, 12);
	SIZE(bus_gpadl_teardown, 16);
	AT(bus_gpadl_torndown, gpadl, 8);
	SIZE(bus_gpadl_torndown, 12);
}

Test(layout, vstor)
{
	AT(vstor_packet, operation, 0);
	AT(vstor_packet, flags, 4);
	AT(vstor_packet, status, 8);
	AT(vstor_packet, u.srb.length, 12);
	AT(vstor_packet, u.srb.srb_status, 14);
	AT(vstor_packet, u.srb.scsi_status, 15);
	AT(vstor_packet, u.srb.port, 16);
	AT(vstor_packet, u.srb.path, 17);
	AT(vstor_packet, u.srb.target, 18);
	AT(vstor_packet, u.srb.lun, 19);
	AT(vstor_packet, u.srb.cdb_length, 20);
	AT(vstor_packet, u.srb.sense_length, 21);
	AT(vstor_packet, u.srb.data_in, 22);
	AT(vstor_packet, u.srb.transfer, 24);
	AT(vstor_packet, u.srb.cdb_or_sense, 28);
	AT(vstor_packet, u.srb.reserve, 48);
	AT(vstor_packet, u.srb.queue_tag, 50);
	AT(vstor_packet, u.srb.queue_action, 51);
	AT(vstor_packet, u.srb.srb_flags, 52);
	AT(vstor_packet, u.srb.timeout, 56);
	AT(vstor_packet, u.srb.sort_key, 60);
	AT(vstor_packet, u.protocol.version, 12);
	AT(vstor_packet, u.protocol.revision, 14);
	AT(vstor_packet, u.properties.max_channels, 16);
	AT(vstor_packet, u.properties.flags, 20);
	AT(vstor_packet, u.properties.max_transfer, 24);
	AT(vstor_packet, u.sub_channels, 12);
	SIZE(vstor_packet, 64);
}

Test(tally, quantiles_are_within_a_bucket_of_the_truth)
{
	struct tally_histogram *h = calloc(1, sizeof(*h));

	for (uint64_t ns = 1; ns <= 100000; ns++)
		tally_add(h, ns);
	cr_assert_eq(h->count, 100000);
	cr_assert_eq(h->max, 100000);
	cr_assert(tally_quantile(h, 500) >= 50000 && tally_quantile(h, 500) < 53500);
	cr_assert(tally_quantile(h, 990) >= 99000 && tally_quantile(h, 990) <= 100000);
	tally_add(h, UINT64_MAX);
	cr_assert_eq(h->max, UINT64_MAX);
	free(h);
}

Test(tally, the_longest_gaps_are_kept_in_order)
{
	static struct tally_gaps gaps;
	uint64_t now = 1000;

	tally_gaps_begin(&gaps, now);
	for (uint64_t i = 1; i <= 210; i++) {
		now += (i * 37 % 211) * 1000;
		tally_gaps_completion(&gaps, now);
	}
	cr_assert_eq(gaps.kept, TALLY_GAPS);
	for (uint32_t i = 0; i < gaps.kept; i++)
		cr_assert_eq(gaps.gap[i].length, (210 - i) * 1000);
}
