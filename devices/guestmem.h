/* devices/guestmem.h - guest RAM, seen from a paravisor.
 *
 * RAM is one memfd (row "ram") that holds two ranges of guest physical memory
 * in order: [0, low) and [4 GiB, 4 GiB + rest). Addresses come from the guest
 * and are never believed: whatever is not RAM is -EFAULT. Writing is refused
 * (-EPERM) unless the process is armed with the epoch it owns, and the mapping
 * itself is read-only until then. Disarmed it stays writable: the kernel may
 * still complete requests of this process into it. One lane, one thread. */
#ifndef DEVICES_GUESTMEM_H
#define DEVICES_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GUESTMEM_HIGH ((uint64_t)4 << 30) /* where RAM goes on above the gap */

enum { GUESTMEM_PAGE = 4096 };

struct guestmem {
	uint8_t *base;
	uint64_t bytes, low;
	uint32_t epoch;          /* 0: not armed */
	bool read_only;          /* the mapping is PROT_READ: never armed yet */
};

/* Maps @bytes of @fd, which is not consumed. 0 or a negative errno. */
int guestmem_map(struct guestmem *m, int fd, uint64_t bytes, uint64_t low_bytes);
void guestmem_unmap(struct guestmem *m);

/* Makes the mapping writable ahead of guestmem_arm(), which then costs nothing.
 * Every write is still refused. 0 or a negative errno. */
int guestmem_open(struct guestmem *m);

/* From now on this process may write, as owner of @epoch (not 0). */
int guestmem_arm(struct guestmem *m, uint32_t epoch);
void guestmem_disarm(struct guestmem *m);

/* The bytes [gpa, gpa + len), for reading; NULL when they are not all RAM in
 * one range. The guest may change them at any time: copy once, then check. */
const uint8_t *guestmem_at(const struct guestmem *m, uint64_t gpa, uint64_t len);
/* The same for writing; also NULL when not armed. */
uint8_t *guestmem_writable(const struct guestmem *m, uint64_t gpa, uint64_t len);

/* Copies; 0, -EFAULT (nothing was copied) or -EPERM. */
int guestmem_read(const struct guestmem *m, uint64_t gpa, void *dst, size_t len);
int guestmem_write(const struct guestmem *m, uint64_t gpa, const void *src, size_t len);
int guestmem_zero(const struct guestmem *m, uint64_t gpa, size_t len);

/* Translates @n pairs {gpa, bytes} into iovecs, joining neighbours and leaving
 * out empty ones. Returns their number; -EFAULT: some are not RAM; -E2BIG:
 * more than @max; -EPERM: not armed. */
int guestmem_iovecs(const struct guestmem *m, const uint64_t *pairs, unsigned n,
		    struct iovec *iov, unsigned max);

#endif
