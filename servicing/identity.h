/* servicing/identity.h - what an executable says of itself without being run:
 * an ELF note, so that `service` can refuse a file before anything changes. */
#ifndef SERVICING_IDENTITY_H
#define SERVICING_IDENTITY_H

#include <stdint.h>

/* The note's description. Append members; readers check its size. */
struct identity {
	uint32_t wire;             /* WIRE_VERSION it speaks */
	uint32_t level;            /* highest it serves */
	uint32_t codec;            /* CODEC_FORMAT it reads */
	uint32_t channels, requests, vps; /* capacities it was compiled with */
	char build[32];            /* version and variant */
};

/* Of this program. */
const struct identity *identity_own(void);

enum { IDENTITY_E_ELF = 1, IDENTITY_E_MACHINE = 2, IDENTITY_E_NONE = 3 };

/* Reads that of the executable @fd; every byte of the file is checked. 0, or
 * IDENTITY_E_*: not an ELF executable, of another architecture, not a holdfast. */
int identity_read(int fd, struct identity *ret);

#endif
