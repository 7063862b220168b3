/* devices/test_bed.h - custody with rows, as a spawned process finds it. For
 * tests of this folder only. */
#ifndef DEVICES_TEST_BED_H
#define DEVICES_TEST_BED_H

#include "engine/custody.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BED_RAM = 16 << 20 };

/* Makes @fd row @name, with its descriptor where a child would have it. Rows
 * whose descriptor the test runner uses are filled with others. */
static inline int bed_row(struct custody *c, const char *name, int fd)
{
	int row = custody_fd_add(c, "", fd);

	cr_assert_geq(fd, 0);
	while (fcntl(WIRE_FD_BASE + row, F_GETFD) >= 0)
		row = custody_fd_add(c, "", fd);
	cr_assert_geq(row, 0);
	snprintf(c->h->fds[row].name, sizeof(c->h->fds[row].name), "%s", name);
	cr_assert_eq(dup2(fd, WIRE_FD_BASE + row), WIRE_FD_BASE + row);
	return row;
}

static inline int bed_high(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 700);

	cr_assert_geq(high, 0);
	close(fd);
	return high;
}

static inline void bed_make(struct custody *c)
{
	struct io_uring ring;
	int fd, cq = bed_high(eventfd(0, EFD_NONBLOCK));

	cr_assert_eq(custody_create(c), 0);
	c->fd = bed_high(c->fd);
	c->h->vps = 2;
	c->h->backend = 1;
	c->h->ram_bytes = c->h->ram_low_bytes = BED_RAM;
	c->h->uring_params = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE,
						       .cq_entries = LIMIT_URING_CQ };
	cr_assert_eq(io_uring_queue_init_params(LIMIT_URING_ENTRIES, &ring, &c->h->uring_params),
		     0);
	cr_assert_eq(io_uring_register_files_sparse(&ring, LIMIT_FDS), 0);
	fd = bed_high(ring.ring_fd);
	cr_assert_eq(io_uring_register((unsigned)fd, IORING_REGISTER_EVENTFD, &cq, 1), 0);
	bed_row(c, "uring.0", fd);
	bed_row(c, "cq.0", cq);
	fd = bed_high(memfd_create("ram", 0));
	cr_assert_eq(ftruncate(fd, BED_RAM), 0);
	bed_row(c, "ram", fd);
	bed_row(c, "kick", bed_high(eventfd(0, EFD_NONBLOCK)));
	bed_row(c, "part", bed_high(eventfd(0, EFD_NONBLOCK)));
	bed_row(c, "irq.0", bed_high(eventfd(0, EFD_NONBLOCK)));
	bed_row(c, "irq.1", bed_high(eventfd(0, EFD_NONBLOCK)));
	bed_row(c, "door.5", bed_high(eventfd(0, EFD_NONBLOCK)));
}

/* A disk of @bytes, opened without the page cache where the host can; the row. */
static inline int bed_disk(struct custody *c, off_t bytes)
{
	char path[] = "/tmp/holdfast-test-XXXXXX";
	int fd = mkstemp(path), direct = open(path, O_RDWR | O_DIRECT), row;
	struct io_uring_files_update update = { 0 };

	cr_assert_eq(ftruncate(fd, bytes), 0);
	unlink(path);
	if (direct >= 0)
		close(fd);
	fd = bed_high(direct >= 0 ? direct : fd);
	row = bed_row(c, "disk.0", fd);
	update.offset = (uint32_t)row;
	update.fds = (uintptr_t)&fd;
	cr_assert_eq(io_uring_register((unsigned)custody_fd(c, "uring.0"),
				       IORING_REGISTER_FILES_UPDATE, &update, 1), 1);
	return row;
}

static inline uint64_t bed_count(const struct custody *c, const char *name)
{
	uint64_t n = 0;

	if (read(custody_fd(c, name), &n, sizeof(n)) < 0)
		return 0;
	return n;
}

#endif
