/* Pages that the paravisor fills in guest memory. */
#include "statemachines/hypercall_page.h"

#include "statemachines/bytes.h"

void hypercall_page_fill(uint8_t page[HYPERCALL_PAGE_BYTES])
{
	static const uint8_t code[] = {
		0xf3, 0x0f, 0x1e, 0xfa,             /* endbr64 */
		0x81, 0xf9, 0x5d, 0x00, 0x01, 0x00, /* cmp ecx, 0x1005d: fast HvSignalEvent */
		0x75, 0x07,                         /* jne slow */
		0x89, 0xd0,                         /* mov eax, edx: connection id */
		0xe7, PORT_DOORBELL,                /* out doorbell, eax */
		0x31, 0xc0,                         /* xor eax, eax: success */
		0xc3,                               /* ret */
		0xe5, PORT_HYPERCALL,               /* slow: in eax, hypercall */
		0xc3,                               /* ret */
	};

	memset(page, 0xcc, HYPERCALL_PAGE_BYTES); /* int3 */
	memcpy(page, code, sizeof(code));
}

/* floor(10^7 * 2^64 / hz) by long division; 10^7 < hz < 2^63. */
static uint64_t scale_of(uint64_t hz)
{
	uint64_t rest = 10000000, scale = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		rest <<= 1;
		scale <<= 1;
		if (rest >= hz) {
			rest -= hz;
			scale |= 1;
		}
	}
	return scale;
}

void reference_tsc_fill(uint8_t page[REFERENCE_TSC_BYTES], uint64_t tsc_hz)
{
	memset(page, 0, REFERENCE_TSC_BYTES);
	if (tsc_hz <= 10000000 || tsc_hz >> 63)
		return;
	put_le32(page, 1);
	put_le64(page + 8, scale_of(tsc_hz));
}
