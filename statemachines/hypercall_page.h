/* statemachines/hypercall_page.h - pages of guest memory that the paravisor
 * fills: the hypercall page and the reference TSC page. Pure functions. */
#ifndef STATEMACHINES_HYPERCALL_PAGE_H
#define STATEMACHINES_HYPERCALL_PAGE_H

#include <stdint.h>

enum {
	HYPERCALL_PAGE_BYTES = 4096,
	REFERENCE_TSC_BYTES = 24,    /* used of its page (HV_REFERENCE_TSC_PAGE) */
	PORT_HYPERCALL = 0xe6,       /* 8-bit immediates, so that no register is touched */
	PORT_DOORBELL = 0xe7,
};

/* Code that a guest calls for a hypercall (prototype 3.1): a fast
 * HvSignalEvent becomes an OUT that an ioeventfd takes, any other call an IN
 * that exits with its input registers as they were. */
void hypercall_page_fill(uint8_t page[HYPERCALL_PAGE_BYTES]);

/* Sequence 1, scale floor(10^7 * 2^64 / tsc_hz), offset 0; sequence 0 ("use the
 * MSR") when the scale does not fit, which is below 10 MHz. */
void reference_tsc_fill(uint8_t page[REFERENCE_TSC_BYTES], uint64_t tsc_hz);

#endif
