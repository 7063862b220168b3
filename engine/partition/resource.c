/* Resources: guest RAM, custody, the io_uring and every eventfd, made once
 * before the first paravisor and never replaced.
 *
 * All descriptors that become rows lie at PARTITION_FD_FREE or above, so that
 * duplicating them onto the rows' fixed numbers in a child never overwrites
 * one that is still to be duplicated. */
#include "engine/partition/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GIB UINT64_C(1073741824)

/* RAM below 4 GiB ends here: above it lie the IOAPIC, the LAPIC, windows. */
#define RAM_LOW_MAX (3 * GIB)

int resource_lift(int fd)
{
	int high;

	if (fd < 0)
		return -EBADF;
	high = fcntl(fd, F_DUPFD_CLOEXEC, PARTITION_FD_FREE);
	if (high < 0)
		return -errno;
	close(fd);
	return high;
}

void signal_eventfd(int fd)
{
	const uint64_t one = 1;

	/* A full counter is as good as a signal; nothing else can fail. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void *resource_ram(const struct partition *p, uint64_t gpa, uint64_t bytes)
{
	uint64_t high = p->ram_bytes - p->ram_low_bytes;

	if (gpa < p->ram_low_bytes && bytes <= p->ram_low_bytes - gpa)
		return p->ram + gpa;
	if (gpa < 4 * GIB)
		return NULL;
	gpa -= 4 * GIB;
	if (gpa < high && bytes <= high - gpa)
		return p->ram + p->ram_low_bytes + gpa;
	return NULL;
}

static int add(struct partition *p, const char *name, int fd)
{
	int row;

	if (fd < 0)
		return fd;
	row = custody_fd_add(&p->c, name, fd);
	return row < 0 ? row : 0;
}

/* An eventfd that is a row; returns the descriptor or -errno. */
static int add_eventfd(struct partition *p, const char *name, int flags)
{
	int fd = eventfd(0, flags | EFD_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	fd = resource_lift(fd);
	error = add(p, name, fd);
	return error ? error : fd;
}

static int try_huge(uint64_t bytes)
{
	int fd = memfd_create("holdfast-ram", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) || fallocate(fd, 0, 0, (off_t)bytes)) {
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

static int make_ram_fd(const struct partition *p, bool *ret_huge)
{
	int fd = p->o.hugetlb ? try_huge(p->ram_bytes) : -ENOENT;

	*ret_huge = fd >= 0;
	if (fd >= 0)
		return fd;
	if (p->o.hugetlb)
		partition_log("no hugetlb pages for %llu MiB of RAM: ordinary pages are used",
			      (unsigned long long)(p->ram_bytes >> 20));
	fd = memfd_create("holdfast-ram", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)p->ram_bytes)) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

static int make_ram(struct partition *p)
{
	uint64_t low_max = p->o.backend->code == BACKEND_SOFT.code ? UINT64_MAX : RAM_LOW_MAX;
	bool huge;
	void *at;

	p->ram_bytes = p->o.memory;
	p->ram_low_bytes = p->ram_bytes < low_max ? p->ram_bytes : low_max;
	p->ram_fd = resource_lift(make_ram_fd(p, &huge));
	if (p->ram_fd < 0)
		return p->ram_fd;
	at = mmap(NULL, p->ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->ram_fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	p->ram = at;
	if (!huge && madvise(at, p->ram_bytes, MADV_HUGEPAGE))
		partition_log("no huge pages for RAM on this host; ordinary pages are used");
	p->c.h->ram_bytes = p->ram_bytes;
	p->c.h->ram_low_bytes = p->ram_low_bytes;
	return add(p, "ram", p->ram_fd);
}

/* A filter of system calls does not see what an io_uring is asked for, so the
 * ring itself knows no more than disks need: no opening, no sockets. Of its
 * registrations only the table of disks can change. */
static int restrict_uring(struct partition *p)
{
	static const uint8_t ops[] = {
		IORING_OP_NOP, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_READ, IORING_OP_WRITE,
		IORING_OP_FSYNC, IORING_OP_SYNC_FILE_RANGE, IORING_OP_FALLOCATE,
		IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_ASYNC_CANCEL,
		IORING_OP_TIMEOUT, IORING_OP_TIMEOUT_REMOVE, IORING_OP_LINK_TIMEOUT,
	};
	struct io_uring_restriction r[ARRAY_LEN(ops) + 2] = {
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = UINT8_MAX },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_FILES_UPDATE },
	};
	int error;

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		r[i + 2] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP,
							  .sqe_op = ops[i] };
	error = io_uring_register((unsigned)p->uring.ring_fd, IORING_REGISTER_RESTRICTIONS, r,
				  ARRAY_LEN(r));
	return error ? error : io_uring_register((unsigned)p->uring.ring_fd,
						 IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* No SINGLE_ISSUER, DEFER_TASKRUN or SQPOLL: any paravisor may enter the ring,
 * and it must not depend on a thread of one that is dead (DESIGN §4). */
static int make_uring(struct partition *p)
{
	struct io_uring_params *params = &p->c.h->uring_params;
	int cq_fd, fd, error;

	*params = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
					    .cq_entries = LIMIT_URING_CQ };
	error = io_uring_queue_init_params(LIMIT_URING_ENTRIES, &p->uring, params);
	if (error)
		return error;
	fd = fcntl(p->uring.ring_fd, F_DUPFD_CLOEXEC, PARTITION_FD_FREE);
	if (fd < 0)
		return -errno;
	error = add(p, "uring.0", fd);
	if (error)
		return error;
	cq_fd = add_eventfd(p, "cq.0", EFD_NONBLOCK);
	error = cq_fd < 0 ? cq_fd : io_uring_register_eventfd(&p->uring, cq_fd);
	if (!error)
		error = io_uring_register_files_sparse(&p->uring, LIMIT_FDS);
	return error ? error : restrict_uring(p);
}

bool resource_is_disk(const struct wire_fd *f)
{
	return strncmp(f->name, "disk.", 5) == 0;
}

static int register_file(struct partition *p, uint32_t row, int fd)
{
	int n = io_uring_register_files_update(&p->uring, row, &fd, 1);

	return n == 1 ? 0 : n < 0 ? n : -EIO;
}

/* Is that file a disk already? A block device has more names than one. */
static bool has_disk(const struct partition *p, const struct stat *st)
{
	for (uint32_t row = 0; row < p->c.h->n_fds; row++) {
		const struct wire_fd *f = &p->c.h->fds[row];
		struct stat other;

		if (f->fd < 0 || !resource_is_disk(f) || fstat(f->fd, &other))
			continue;
		if (S_ISBLK(st->st_mode) && S_ISBLK(other.st_mode)
			    ? other.st_rdev == st->st_rdev
			    : other.st_dev == st->st_dev && other.st_ino == st->st_ino)
			return true;
	}
	return false;
}

int resource_disk_add(struct partition *p, int fd)
{
	struct stat st;
	char name[24];
	int row, error, high = resource_lift(fd);

	if (high < 0)
		return high;
	if (fstat(high, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
		close(high);
		return -EINVAL;
	}
	if (has_disk(p, &st)) {
		close(high);
		return -EEXIST;
	}
	snprintf(name, sizeof(name), "disk.%u", p->disks);
	row = custody_fd_add(&p->c, name, high);
	if (row < 0) {
		close(high);
		return row;
	}
	error = register_file(p, (uint32_t)row, high);
	if (error) {
		resource_disk_drop(p, (uint32_t)row);
		return error;
	}
	p->disks++;
	return row;
}

int resource_disk_drop(struct partition *p, uint32_t row)
{
	struct wire_fd *f = row < p->c.h->n_fds ? &p->c.h->fds[row] : NULL;

	if (!f || f->fd < 0 || !resource_is_disk(f))
		return -ENOENT;
	register_file(p, row, -1);
	close(f->fd);
	f->fd = -1;
	return 0;
}

/* The disks that the VM starts with are rows already. */
static int register_disks(struct partition *p)
{
	p->disks = LIMIT_DISKS; /* their names have lower numbers */
	for (uint32_t row = 0; row < p->c.h->n_fds; row++) {
		const struct wire_fd *f = &p->c.h->fds[row];
		int error = 0;

		if (f->fd >= 0 && resource_is_disk(f))
			error = register_file(p, row, f->fd);
		if (error)
			return error;
	}
	return 0;
}

/* The guest of `soft` reads its interrupt eventfd and sleeps there, so that
 * one blocks; KVM takes either. */
static int make_eventfds(struct partition *p)
{
	int irq_flags = p->o.backend->code == BACKEND_SOFT.code ? 0 : EFD_NONBLOCK;
	char name[24];

	p->kick_fd = add_eventfd(p, "kick", EFD_NONBLOCK);
	p->part_fd = add_eventfd(p, "part", EFD_NONBLOCK);
	p->com1_fd = add_eventfd(p, "com1", EFD_NONBLOCK);
	p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->kick_fd < 0 || p->part_fd < 0 || p->com1_fd < 0 || p->wake_fd < 0)
		return -EMFILE;
	for (uint32_t i = 0; i < p->o.vps; i++) {
		snprintf(name, sizeof(name), "irq.%u", i);
		p->irq_fd[i] = add_eventfd(p, name, irq_flags);
		if (p->irq_fd[i] < 0)
			return p->irq_fd[i];
	}
	for (uint32_t i = 0; i < LIMIT_CHANNELS; i++) {
		snprintf(name, sizeof(name), "door.%u", i);
		p->door_fd[i] = add_eventfd(p, name, EFD_NONBLOCK);
		if (p->door_fd[i] < 0)
			return p->door_fd[i];
	}
	return 0;
}

static void fill_header(struct partition *p)
{
	struct wire_header *h = p->c.h;
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	h->unwatched = p->o.watchdog_ns == 0;
	h->wall_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	h->mono_base_ns = mono_now_ns();
	h->vps = p->o.vps;
	h->backend = p->o.backend->code;
	snprintf(h->name, sizeof(h->name), "%s", p->o.name);
}

static int failed(const char *what, int error)
{
	partition_log("cannot make %s: %s", what, strerror(-error));
	return error;
}

int resource_custody(struct partition *p)
{
	int error = custody_create(&p->c);

	if (error)
		return failed("custody", error);
	p->c.fd = resource_lift(p->c.fd);
	if (p->c.fd < 0)
		return failed("custody", p->c.fd);
	fill_header(p);
	return 0;
}

int resource_create(struct partition *p)
{
	int error = make_ram(p);

	if (error)
		return failed("guest RAM", error);
	error = make_uring(p);
	if (error)
		return failed("the io_uring", error);
	error = register_disks(p);
	if (error)
		return failed("the io_uring's table of disks", error);
	error = make_eventfds(p);
	return error ? failed("eventfds", error) : 0;
}
