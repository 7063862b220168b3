/* Guest RAM: one mapping, bounds checked at each use.
 *
 * Invariant: no pointer leaves this file that was not checked against the two
 * ranges, with its whole length. */
#include "devices/guestmem.h"

#include "engine/fact.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int guestmem_map(struct guestmem *m, int fd, uint64_t bytes, uint64_t low_bytes)
{
	void *base;

	*m = (struct guestmem){ .bytes = bytes, .low = low_bytes, .read_only = true };
	if (bytes == 0 || low_bytes > bytes || low_bytes > GUESTMEM_HIGH)
		return -EINVAL;
	base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	m->base = base;
	return 0;
}

void guestmem_unmap(struct guestmem *m)
{
	if (m->base)
		munmap(m->base, m->bytes);
	*m = (struct guestmem){ 0 };
}

int guestmem_open(struct guestmem *m)
{
	if (m->read_only && mprotect(m->base, m->bytes, PROT_READ | PROT_WRITE))
		return -errno;
	m->read_only = false;
	return 0;
}

int guestmem_arm(struct guestmem *m, uint32_t epoch)
{
	int r = guestmem_open(m);

	fact(epoch != 0);
	if (r == 0)
		m->epoch = epoch;
	return r;
}

void guestmem_disarm(struct guestmem *m)
{
	m->epoch = 0;
}

static uint8_t *find(const struct guestmem *m, uint64_t gpa, uint64_t len)
{
	uint64_t high = m->bytes - m->low;

	if (gpa < m->low)
		return len <= m->low - gpa ? m->base + gpa : NULL;
	if (gpa < GUESTMEM_HIGH)
		return NULL;
	gpa -= GUESTMEM_HIGH;
	if (gpa >= high || len > high - gpa)
		return NULL;
	return m->base + m->low + gpa;
}

const uint8_t *guestmem_at(const struct guestmem *m, uint64_t gpa, uint64_t len)
{
	return find(m, gpa, len);
}

uint8_t *guestmem_writable(const struct guestmem *m, uint64_t gpa, uint64_t len)
{
	return m->epoch ? find(m, gpa, len) : NULL;
}

int guestmem_read(const struct guestmem *m, uint64_t gpa, void *dst, size_t len)
{
	const uint8_t *p = find(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(dst, p, len);
	return 0;
}

int guestmem_write(const struct guestmem *m, uint64_t gpa, const void *src, size_t len)
{
	uint8_t *p = find(m, gpa, len);

	if (!m->epoch)
		return -EPERM;
	if (!p)
		return -EFAULT;
	memcpy(p, src, len);
	return 0;
}

int guestmem_zero(const struct guestmem *m, uint64_t gpa, size_t len)
{
	uint8_t *p = find(m, gpa, len);

	if (!m->epoch)
		return -EPERM;
	if (!p)
		return -EFAULT;
	memset(p, 0, len);
	return 0;
}

int guestmem_iovecs(const struct guestmem *m, const uint64_t *pairs, unsigned n,
		    struct iovec *iov, unsigned max)
{
	unsigned used = 0;

	if (!m->epoch)
		return -EPERM;
	for (unsigned i = 0; i < n; i++) {
		uint64_t gpa = pairs[2 * i], len = pairs[2 * i + 1];
		uint8_t *p = find(m, gpa, len);

		if (!p)
			return -EFAULT;
		if (len == 0)
			continue;
		if (used && (uint8_t *)iov[used - 1].iov_base + iov[used - 1].iov_len == p) {
			iov[used - 1].iov_len += len;
			continue;
		}
		if (used == max)
			return -E2BIG;
		iov[used++] = (struct iovec){ .iov_base = p, .iov_len = len };
	}
	return (int)used;
}
