/* The io_uring and the disks behind it.
 *
 * The ring's memory is the kernel's: whoever maps it sees the same. A request
 * is copied when it is taken from the submission queue; its data moves when it
 * completes, at a time drawn for it, so requests overtake each other. When the
 * process that entered the ring dies, what the disk has not done yet may come
 * back as -ECANCELED with nothing done, as Linux does with its task's work. */
#include "sim/kernel.h"

#include "engine/fact.h"
#include "engine/limits.h"
#include "sim/run.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	SQ = 1024, CQ = 4096, REQUESTS = 2048, SEGMENTS = 257, SECTOR = 512,
	QUICK_NS = 4000, LATE_NS = 40000000,
};

struct request {
	uint64_t user_data, offset, bytes;
	unsigned n_iov;
	int pid;
	uint8_t opcode, disk;
	bool cancelled;
	struct iovec iov[SEGMENTS];
};

static struct {
	unsigned sq_head, sq_tail, sq_mask, sq_entries, sq_flags, sq_dropped;
	unsigned cq_head, cq_tail, cq_mask, cq_entries, cq_flags, cq_overflow;
	unsigned array[SQ];
	struct io_uring_sqe *sqe;     /* SQ */
	struct io_uring_cqe *cqe;     /* CQ */
	int16_t event;                /* object; 0 none */
	int16_t file[LIMIT_FDS];      /* registered: objects, -1 none */
	struct request request[REQUESTS];
	struct next { uint64_t due; uint16_t request; } heap[REQUESTS + 1]; /* by due; [1] is the next */
	uint64_t used[REQUESTS / 64]; /* set of requests */
	bool stuck;                   /* nothing is completed */
	unsigned n;
	uint16_t unused[REQUESTS];
	unsigned n_unused;
	uint64_t usual_ns;            /* latency of this run's disks: up to */
} uring;

static struct {
	uint8_t *bytes;
	uint64_t size;
	bool block;
	uint64_t idle_at;             /* one that turns: when it has done what it was given */
} disk[8];

/* ---- disks ----------------------------------------------------------------------- */

void disk_make(unsigned index, uint64_t bytes, bool block)
{
	disk[index].bytes = __real_calloc(1, bytes);
	fact(disk[index].bytes);
	disk[index].size = bytes;
	disk[index].block = block;
}

void disk_stat(unsigned index, struct stat *st)
{
	st->st_mode = disk[index].block ? S_IFBLK : S_IFREG;
	st->st_size = disk[index].block ? 0 : (off_t)disk[index].size;
}

/* Moves @n bytes between the request's memory and its disk. */
static void transfer(const struct request *r, uint64_t n)
{
	uint8_t *at = disk[r->disk].bytes + r->offset;
	bool reads = r->opcode == IORING_OP_READ || r->opcode == IORING_OP_READV;

	for (unsigned i = 0; i < r->n_iov && n; i++) {
		size_t part = r->iov[i].iov_len < n ? r->iov[i].iov_len : n;

		if (reads)
			memcpy(r->iov[i].iov_base, at, part);
		else
			memcpy(at, r->iov[i].iov_base, part);
		at += part;
		n -= part;
	}
}

/* ---- the queue of what is under way ------------------------------------------------ */

static bool sooner(unsigned a, unsigned b)
{
	return uring.heap[a].due < uring.heap[b].due;
}

static void swap(unsigned a, unsigned b)
{
	struct next t = uring.heap[a];

	uring.heap[a] = uring.heap[b];
	uring.heap[b] = t;
}

static void push(uint16_t index, uint64_t due)
{
	unsigned i = ++uring.n;

	uring.heap[i] = (struct next){ due, index };
	for (; i > 1 && sooner(i, i / 2); i /= 2)
		swap(i, i / 2);
}

static uint16_t pop(void)
{
	uint16_t first = uring.heap[1].request;
	unsigned i = 1;

	uring.heap[1] = uring.heap[uring.n--];
	for (;;) {
		unsigned child = 2 * i;

		if (child > uring.n)
			return first;
		if (child < uring.n && sooner(child + 1, child))
			child++;
		if (!sooner(child, i))
			return first;
		swap(i, child);
		i = child;
	}
}

/* From memory to a disk that turns. */
static const uint32_t speeds[] = { 20000, 60000, 60000, 200000, 1000000, 8000000 };
enum { SLOW_NS = 2000000 };

/* A disk that turns does one request after the other. */
static uint64_t done_by_turning(unsigned index)
{
	uint64_t ns = options.disk_ms * 1000000;
	uint64_t from = disk[index].idle_at > kernel.now ? disk[index].idle_at : kernel.now;

	disk[index].idle_at = from + ns / 2 + chance_below(&kernel.host, ns);
	return disk[index].idle_at;
}

static uint64_t done_at(unsigned index)
{
	uint64_t at = options.disk_ms
			      ? done_by_turning(index)
			      : kernel.now + QUICK_NS + chance_below(&kernel.host, uring.usual_ns);

	if (run_fault(FAULT_DISK_LATE))
		at += chance_below(&kernel.fault, LATE_NS);
	return at;
}

/* ---- submission -------------------------------------------------------------------- */

static void copy_memory(struct request *r, const struct io_uring_sqe *sqe)
{
	const struct iovec *iov = (const struct iovec *)(uintptr_t)sqe->addr;
	const struct iovec one = { .iov_base = (void *)(uintptr_t)sqe->addr, .iov_len = sqe->len };
	bool vector = sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;

	if (!vector)
		iov = &one;
	r->n_iov = vector ? sqe->len : 1;
	fact(r->n_iov <= SEGMENTS);
	memcpy(r->iov, iov, r->n_iov * sizeof(*iov));
	r->bytes = 0;
	for (unsigned i = 0; i < r->n_iov; i++)
		r->bytes += iov[i].iov_len;
}

static void take(const struct io_uring_sqe *sqe)
{
	bool fixed = sqe->flags & IOSQE_FIXED_FILE;
	const struct object *o = fixed ? object_at(uring.file[sqe->fd]) : object_of(sqe->fd);
	struct request *r;
	uint16_t index;
	uint64_t due;

	fact(o && o->type == OBJECT_DISK && uring.n_unused);
	index = uring.unused[--uring.n_unused];
	r = &uring.request[index];
	r->opcode = sqe->opcode;
	r->disk = (uint8_t)o->value;
	r->user_data = sqe->user_data;
	r->offset = sqe->off;
	r->pid = process_current()->pid;
	r->cancelled = false;
	uring.used[index / 64] |= UINT64_C(1) << index % 64;
	r->n_iov = 0;
	r->bytes = 0;
	if (sqe->opcode == IORING_OP_FALLOCATE)
		r->bytes = sqe->addr;
	else if (sqe->opcode != IORING_OP_FSYNC)
		copy_memory(r, sqe);
	run_expect(r->offset <= disk[r->disk].size && r->bytes <= disk[r->disk].size - r->offset,
		   "a request reaches behind its disk's end");
	due = done_at(r->disk);
	if (due < kernel.next_tick)
		kernel.next_tick = due;
	push(index, due);
}

int __wrap_io_uring_enter(unsigned fd, unsigned n, unsigned wait, unsigned flags, sigset_t *set)
{
	unsigned taken = 0;

	(void)wait;
	(void)flags;
	(void)set;
	fact(object_of((int)fd) && object_of((int)fd)->type == OBJECT_URING);
	run_point(POINT_CALL);
	if (run_fault(FAULT_ENTER_AGAIN))
		return chance_once_in(&kernel.fault, 2) ? -EAGAIN : -EINTR;
	while (taken < n && uring.sq_head != uring.sq_tail) {
		if (taken && run_fault(FAULT_ENTER_AGAIN))
			break;
		take(&uring.sqe[uring.array[uring.sq_head & (SQ - 1)]]);
		uring.sq_head++;
		taken++;
	}
	run_point(POINT_CALL);
	return (int)taken;
}

/* ---- completion --------------------------------------------------------------------- */

/* What becomes of a transfer: all of it, a part, or an error in the midst. */
static int32_t outcome(const struct request *r)
{
	bool writes = r->opcode == IORING_OP_WRITE || r->opcode == IORING_OP_WRITEV;
	uint64_t sectors = r->bytes / SECTOR;

	if (r->cancelled)
		return -ECANCELED;
	if (r->opcode == IORING_OP_FSYNC)
		return run_fault(FAULT_DISK_ERROR) ? -EIO : 0;
	if (r->opcode == IORING_OP_FALLOCATE) {
		memset(disk[r->disk].bytes + r->offset, 0, r->bytes);
		return 0;
	}
	if (run_fault(FAULT_DISK_ERROR))
		return -EIO;
	if (writes && run_fault(FAULT_DISK_TORN)) {
		transfer(r, chance_below(&kernel.fault, sectors + 1) * SECTOR);
		return -EIO;
	}
	if (sectors > 1 && run_fault(FAULT_DISK_SHORT)) {
		uint64_t part = (1 + chance_below(&kernel.fault, sectors - 1)) * SECTOR;

		transfer(r, part);
		return (int32_t)part;
	}
	transfer(r, r->bytes);
	return (int32_t)r->bytes;
}

static void complete(uint16_t index)
{
	struct request *r = &uring.request[index];
	struct io_uring_cqe *cqe = &uring.cqe[uring.cq_tail & (CQ - 1)];

	fact(uring.cq_tail - uring.cq_head < CQ);
	cqe->user_data = r->user_data;
	cqe->res = outcome(r);
	cqe->flags = 0;
	uring.cq_tail++;
	uring.used[index / 64] &= ~(UINT64_C(1) << index % 64);
	uring.unused[uring.n_unused++] = index;
	kernel_events.completions++;
}

void disk_stick(bool stuck)
{
	uring.stuck = stuck;
	kernel.next_tick = kernel.now;
}

uint64_t disk_run(void)
{
	bool any = false;

	if (uring.stuck)
		return UINT64_MAX;

	while (uring.n && uring.heap[1].due <= kernel.now) {
		complete(pop());
		any = true;
	}
	if (any)
		event_add(object_at(uring.event), 1);
	return uring.n ? uring.heap[1].due : UINT64_MAX;
}

void uring_submitter_died(int pid)
{
	for (unsigned i = 0; i < ARRAY_LEN(uring.used); i++)
		for (uint64_t set = uring.used[i]; set; set &= set - 1) {
			struct request *r =
				&uring.request[i * 64 + (unsigned)__builtin_ctzll(set)];

			if (r->pid == pid && !r->cancelled && run_fault(FAULT_DISK_CANCEL))
				r->cancelled = true;
		}
}

unsigned disk_under_way(void)
{
	return uring.n;
}

/* ---- the ring's memory ---------------------------------------------------------------- */

static void fill(struct io_uring *ring, int fd)
{
	memset(ring, 0, sizeof(*ring));
	ring->ring_fd = ring->enter_ring_fd = fd;
	ring->sq.khead = &uring.sq_head;
	ring->sq.ktail = &uring.sq_tail;
	ring->sq.kring_mask = &uring.sq_mask;
	ring->sq.kring_entries = &uring.sq_entries;
	ring->sq.kflags = &uring.sq_flags;
	ring->sq.kdropped = &uring.sq_dropped;
	ring->sq.array = uring.array;
	ring->sq.sqes = uring.sqe;
	ring->sq.ring_mask = SQ - 1;
	ring->sq.ring_entries = SQ;
	ring->cq.khead = &uring.cq_head;
	ring->cq.ktail = &uring.cq_tail;
	ring->cq.kring_mask = &uring.cq_mask;
	ring->cq.kring_entries = &uring.cq_entries;
	ring->cq.kflags = &uring.cq_flags;
	ring->cq.koverflow = &uring.cq_overflow;
	ring->cq.cqes = uring.cqe;
	ring->cq.ring_mask = CQ - 1;
	ring->cq.ring_entries = CQ;
}

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
				      struct io_uring_params *params)
{
	int fd = object_open(OBJECT_URING, 0);

	fact(entries == SQ && params->cq_entries == CQ);
	uring.sqe = __real_calloc(SQ, sizeof(*uring.sqe));
	uring.cqe = __real_calloc(CQ, sizeof(*uring.cqe));
	fact(uring.sqe && uring.cqe);
	uring.usual_ns = options.hostile || options.scenario ? SLOW_NS
					 : speeds[chance_below(&kernel.data, ARRAY_LEN(speeds))];
	uring.sq_mask = SQ - 1;
	uring.sq_entries = SQ;
	uring.cq_mask = CQ - 1;
	uring.cq_entries = CQ;
	for (unsigned i = 0; i < REQUESTS; i++)
		uring.unused[uring.n_unused++] = (uint16_t)i;
	fill(ring, fd);
	return 0;
}

int __wrap_io_uring_register_eventfd(struct io_uring *ring, int fd)
{
	(void)ring;
	uring.event = process_current()->fd[fd];
	return 0;
}

/* Restrictions, and that the ring begins. */
int __wrap_io_uring_register(unsigned fd, unsigned op, const void *arg, unsigned n)
{
	(void)fd;
	(void)arg;
	(void)n;
	fact(op == IORING_REGISTER_RESTRICTIONS || op == IORING_REGISTER_ENABLE_RINGS);
	return 0;
}

int __wrap_io_uring_register_files_sparse(struct io_uring *ring, unsigned n)
{
	(void)ring;
	fact(n == LIMIT_FDS);
	memset(uring.file, 0xff, sizeof(uring.file));
	return 0;
}

int __wrap_io_uring_register_files_update(struct io_uring *ring, unsigned from, const int *fds,
					  unsigned n)
{
	const struct process *p = process_current();

	(void)ring;
	for (unsigned i = 0; i < n; i++)
		uring.file[from + i] = fds[i] < 0 ? -1 : p->fd[fds[i]];
	return (int)n;
}

int __wrap_io_uring_queue_mmap(int fd, struct io_uring_params *params, struct io_uring *ring)
{
	(void)params;
	if (run_allocation_fails())
		return -ENOMEM;
	fill(ring, fd);
	return 0;
}

void __wrap_io_uring_queue_exit(struct io_uring *ring)
{
	(void)ring;
}
