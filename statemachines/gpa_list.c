/* Walking lists of guest pages.
 *
 * A range of len bytes at offset in its first page has
 * ceil((offset + len) / 4096) page numbers. What a page number names is for
 * the hands to check. One that is no 52-bit frame number becomes an address
 * behind all RAM, so that it cannot wrap round into some. */
#include "statemachines/gpa_list.h"

#include "engine/limits.h"
#include "statemachines/bytes.h"

enum { PAGE = 4096, RANGE = 8, REPEAT_PAIRS = 16 };

static uint64_t address_of(uint64_t pfn)
{
	return pfn >> 51 ? (uint64_t)1 << 63 : pfn * PAGE;
}

static uint64_t pages_of(const uint8_t *range)
{
	return ((uint64_t)get_le32(range) + get_le32(range + 4) + PAGE - 1) / PAGE;
}

uint32_t gpa_list_bytes(const uint8_t *p, size_t len, uint32_t ranges)
{
	size_t at = 0;

	for (uint32_t i = 0; i < ranges; i++) {
		if (len - at < RANGE || get_le32(p + at + 4) >= PAGE ||
		    pages_of(p + at) > (len - at - RANGE) / 8)
			return 0;
		at += RANGE + (size_t)pages_of(p + at) * 8;
	}
	return (uint32_t)at;
}

uint64_t gpa_list_total(const uint8_t *p, uint32_t ranges)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < ranges; i++) {
		total += get_le32(p);
		p += RANGE + pages_of(p) * 8;
	}
	return total;
}

struct walk {
	uint64_t skip, want;
	uint64_t *pairs;
	uint32_t n, max;
	uint64_t got;
};

/* One piece of guest memory; false: nothing more is wanted. */
static int piece(struct walk *w, uint64_t gpa, uint64_t bytes)
{
	if (w->skip >= bytes) {
		w->skip -= bytes;
		return 1;
	}
	gpa += w->skip;
	bytes -= w->skip;
	w->skip = 0;
	if (bytes > w->want - w->got)
		bytes = w->want - w->got;
	if (w->n && w->pairs[2 * w->n - 2] + w->pairs[2 * w->n - 1] == gpa) {
		w->pairs[2 * w->n - 1] += bytes;
	} else {
		if (w->n == w->max)
			return 0;
		w->pairs[2 * w->n] = gpa;
		w->pairs[2 * w->n + 1] = bytes;
		w->n++;
	}
	w->got += bytes;
	return w->got < w->want;
}

static int range_pieces(struct walk *w, const uint8_t *range)
{
	uint64_t left = get_le32(range), offset = get_le32(range + 4);

	for (const uint8_t *pfn = range + RANGE; left; pfn += 8, offset = 0) {
		uint64_t bytes = PAGE - offset < left ? PAGE - offset : left;

		if (!piece(w, address_of(get_le64(pfn)) + offset, bytes))
			return 0;
		left -= bytes;
	}
	return 1;
}

uint32_t gpa_list_pairs(const uint8_t *p, uint32_t ranges, uint64_t skip, uint64_t want,
			uint64_t *pairs, uint32_t max, uint64_t *ret_bytes)
{
	struct walk w = { .skip = skip, .want = want, .pairs = pairs, .max = max };

	for (uint32_t i = 0; want && i < ranges; i++) {
		if (!range_pieces(&w, p))
			break;
		p += RANGE + pages_of(p) * 8;
	}
	*ret_bytes = w.got;
	return w.n;
}

uint32_t gpa_list_repeat(const uint8_t *p, uint32_t ranges, uint32_t block, uint64_t want,
			 uint64_t *pairs, uint32_t max, uint64_t *ret_bytes)
{
	uint64_t one[2 * REPEAT_PAIRS], got;
	uint32_t n_one = gpa_list_pairs(p, ranges, 0, block, one, REPEAT_PAIRS, &got), n = 0;

	*ret_bytes = 0;
	if (want > LIMIT_TRANSFER)
		want = LIMIT_TRANSFER;
	if (got != block)
		return 0;
	while (*ret_bytes + block <= want && n + n_one <= max) {
		memcpy(pairs + 2 * (size_t)n, one, n_one * 2 * sizeof(*one));
		n += n_one;
		*ret_bytes += block;
	}
	return n;
}
