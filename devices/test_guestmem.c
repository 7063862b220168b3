/* Guest RAM: bounds of both ranges, refusal without the epoch, iovecs. */
#include "devices/guestmem.h"
#include "tests/child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static struct guestmem m;

static void make(void)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	cr_assert(fd >= 0 && ftruncate(fd, 4 * MIB) == 0);
	cr_assert_eq(guestmem_map(&m, fd, 4 * MIB, 3 * MIB), 0);
	close(fd);
}

static void unmake(void)
{
	guestmem_unmap(&m);
}

TestSuite(guestmem, .init = make, .fini = unmake, .timeout = 20);

Test(guestmem, bounds_of_both_ranges)
{
	cr_assert_not_null(guestmem_at(&m, 0, 3 * MIB));
	cr_assert_null(guestmem_at(&m, 0, 3 * MIB + 1));
	cr_assert_null(guestmem_at(&m, 3 * MIB - 4, 8));
	cr_assert_null(guestmem_at(&m, 3 * MIB, 1));
	cr_assert_null(guestmem_at(&m, GUESTMEM_HIGH - 1, 2));
	cr_assert_eq(guestmem_at(&m, GUESTMEM_HIGH, MIB), guestmem_at(&m, 0, 1) + 3 * MIB);
	cr_assert_null(guestmem_at(&m, GUESTMEM_HIGH, MIB + 1));
	cr_assert_null(guestmem_at(&m, GUESTMEM_HIGH + MIB, 0));
	cr_assert_null(guestmem_at(&m, UINT64_MAX, 2));
	cr_assert_null(guestmem_at(&m, 8, UINT64_MAX));
}

Test(guestmem, writes_only_when_armed)
{
	uint64_t v = 42, got = 0;

	cr_assert_eq(guestmem_write(&m, 16, &v, sizeof(v)), -EPERM);
	cr_assert_null(guestmem_writable(&m, 16, 8));
	cr_assert_eq(guestmem_arm(&m, 3), 0);
	cr_assert_eq(guestmem_write(&m, 16, &v, sizeof(v)), 0);
	cr_assert_eq(guestmem_read(&m, 16, &got, sizeof(got)), 0);
	cr_assert_eq(got, 42);
	cr_assert_eq(guestmem_write(&m, 3 * MIB, &v, sizeof(v)), -EFAULT);
	guestmem_disarm(&m);
	cr_assert_eq(guestmem_zero(&m, 16, 8), -EPERM);
	cr_assert_eq(guestmem_read(&m, 16, &got, sizeof(got)), 0);
	cr_assert_eq(got, 42);
}

/* A follower that writes past its accessor dies of it, and the guest's byte stays. */
Test(guestmem, a_follower_cannot_write)
{
	uint8_t *byte = (uint8_t *)(uintptr_t)guestmem_at(&m, 64, 1);
	struct rlimit none = { 0, 0 };
	int status;
	pid_t pid;

	cr_assert_eq(*byte, 0);
	pid = child_fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)byte = 1;
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	cr_assert_eq(*byte, 0);
	cr_assert_eq(guestmem_arm(&m, 3), 0);
	*(volatile uint8_t *)byte = 1;
	cr_assert_eq(*byte, 1);
}

Test(guestmem, iovecs_join_neighbours)
{
	const uint64_t pairs[] = { 0x1000, 0x1000, 0x2000, 0x800, 0x5000, 0, 0x9000, 16 };
	const uint64_t bad[] = { 0x1000, 16, 3 * MIB, 16 };
	struct iovec iov[4];

	cr_assert_eq(guestmem_iovecs(&m, pairs, 4, iov, 4), -EPERM);
	guestmem_arm(&m, 1);
	cr_assert_eq(guestmem_iovecs(&m, pairs, 4, iov, 4), 2);
	cr_assert_eq(iov[0].iov_len, 0x1800);
	cr_assert_eq(iov[1].iov_len, 16);
	cr_assert_eq((const uint8_t *)iov[1].iov_base, guestmem_at(&m, 0x9000, 16));
	cr_assert_eq(guestmem_iovecs(&m, pairs, 4, iov, 1), -E2BIG);
	cr_assert_eq(guestmem_iovecs(&m, bad, 2, iov, 4), -EFAULT);
}
