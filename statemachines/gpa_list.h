/* statemachines/gpa_list.h - the guest pages of a request's data (protocol
 * B.10, type 9; include/linux/hyperv.h, struct gpa_range). Pure functions. */
#ifndef STATEMACHINES_GPA_LIST_H
#define STATEMACHINES_GPA_LIST_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that @ranges ranges {u32 len, u32 offset, u64 pfn[]} take at @p; 0 when
 * they do not fit into @len, or a range begins behind its first page. */
uint32_t gpa_list_bytes(const uint8_t *p, size_t len, uint32_t ranges);

/* Bytes of guest memory that the ranges name. @p has passed gpa_list_bytes(). */
uint64_t gpa_list_total(const uint8_t *p, uint32_t ranges);

/* Writes {gpa, bytes} pairs for @want bytes from byte @skip on to @pairs, at
 * most @max pairs; neighbours are joined. Returns the number of pairs;
 * *@ret_bytes: bytes they hold, less than @want when the list or @max ends
 * first. */
uint32_t gpa_list_pairs(const uint8_t *p, uint32_t ranges, uint64_t skip, uint64_t want,
			uint64_t *pairs, uint32_t max, uint64_t *ret_bytes);

/* The first @block bytes of the list again and again, each time whole, for at
 * most @want bytes and LIMIT_TRANSFER; else as gpa_list_pairs(). 0 pairs: the
 * list is shorter than a block, or a block lies in more pieces than any guest has
 * reason for. */
uint32_t gpa_list_repeat(const uint8_t *p, uint32_t ranges, uint32_t block, uint64_t want,
			 uint64_t *pairs, uint32_t max, uint64_t *ret_bytes);

#endif
