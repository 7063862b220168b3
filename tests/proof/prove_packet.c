/* Packets and page lists of a guest (statemachines/ring_packet.c, gpa_list.c), any
 * bytes up to PACKET: nothing outside is read, and what is named lies inside. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define memset(dst, value, n) (void)(dst)
#include "statemachines/gpa_list.c"
#include "statemachines/ring_packet.c"
#undef memset

size_t any_size(void);
uint32_t any_u32(void);
uint64_t any_u64(void);

enum { PACKET = 24, PAIRS = 2 };

void prove_packet(void)
{
	uint8_t bytes[PACKET]; /* anything */
	struct ring_packet r;
	size_t len = any_size();

	__CPROVER_assume(len <= PACKET);
	if (ring_packet_parse(bytes, len, &r))
		return;
	__CPROVER_assert(r.payload >= bytes && r.payload + r.payload_bytes == bytes + len,
			 "payload up to the end");
	__CPROVER_assert(!r.gpa_ranges || (r.gpas >= bytes && r.gpas + r.gpa_bytes <= r.payload),
			 "the list before the payload");
}

/* A list that was found sound, walked with any wish. */
void prove_pairs(void)
{
	uint8_t bytes[PACKET];
	uint64_t pairs[2 * PAIRS], got, skip = any_u64(), want = any_u64();
	size_t len = any_size();
	uint32_t ranges = any_u32(), n;

	__CPROVER_assume(len <= PACKET && ranges <= 1);
	if (gpa_list_bytes(bytes, len, ranges) == 0)
		return;
	n = gpa_list_pairs(bytes, ranges, skip, want, pairs, PAIRS, &got);
	__CPROVER_assert(n <= PAIRS, "not more than there is room for");
	__CPROVER_assert(got <= want && got <= gpa_list_total(bytes, ranges), "not too much");
	for (uint32_t i = 0; i < n; i++)
		__CPROVER_assert(pairs[2 * i + 1] > 0, "no piece of nothing");
}
