/* The inherited io_uring.
 *
 * liburing maps it; the submission queue is driven here, because
 * io_uring_submit() derives what to submit from private counters that a dead
 * owner took with it. The SQ index array is the identity, so position & mask
 * names index entry and SQE alike. Invariants: sqe_tail is the shared tail;
 * sqe_head is what the kernel had taken when it was last looked at; a slot that
 * is PLACED at a position the kernel has taken has exactly one completion,
 * come or to come.
 *
 * SQE addresses are those of the process that placed them; the kernel copies
 * them when it takes the SQE (IORING_FEAT_SUBMIT_STABLE), never later. */
#include "devices/uring.h"

#include "engine/fact.h"
#include "statemachines/effects.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sched.h>
#include <string.h>

enum { ENTER_TRIES = 64 };

int uring_map(struct uring *u, const struct custody *c)
{
	struct io_uring_params params = c->h->uring_params;
	int fd = custody_fd(c, "uring.0"), r;

	*u = (struct uring){ .disk = c->disk, .stats = c->stats };
	if (fd < 0)
		return fd;
	r = io_uring_queue_mmap(fd, &params, &u->ring);
	if (r < 0)
		return r;
	u->mapped = true;
	return 0;
}

void uring_unmap(struct uring *u)
{
	struct io_uring *ring = &u->ring;

	if (!u->mapped)
		return;
	/* Unmaps and closes the inherited descriptor: this process is done with it. */
	io_uring_queue_exit(ring);
	u->mapped = false;
}

static uint32_t placed_generation(uint64_t placed)
{
	return (uint32_t)(placed >> 32);
}

bool uring_placed(const struct uring *u, uint32_t slot, uint32_t generation)
{
	uint64_t placed = atomic_load(&u->disk->slot[slot].placed);

	return placed != 0 && placed_generation(placed) == generation;
}

static void recount(struct uring *u)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < LIMIT_REQUESTS; i++)
		n += atomic_load_explicit(&u->disk->slot[i].placed, memory_order_relaxed) != 0;
	atomic_store_explicit(&u->stats->inflight, n, memory_order_relaxed);
}

/* The queue never holds more than its entries, whoever filled it: the answer
 * does not depend on a tail that an owner may have died while moving. */
static bool never_taken(const struct io_uring_sq *sq, uint64_t placed, uint32_t head)
{
	return placed != 0 && (uint32_t)placed - head <= *sq->kring_entries;
}

/* One slot after the other, and the kernel is not entered before the last: if
 * this owner dies in between, each slot lies at its old place or at its new one,
 * both of which the next owner finds not taken. */
static void place_again(struct uring *u, uint32_t head, uring_again *again, void *user)
{
	for (uint32_t i = 0; i < LIMIT_REQUESTS; i++) {
		struct wire_disk_slot *slot = &u->disk->slot[i];
		uint64_t placed = atomic_load_explicit(&slot->placed, memory_order_relaxed);

		if (never_taken(&u->ring.sq, placed, head) &&
		    !again(user, i, placed_generation(placed)))
			atomic_store_explicit(&slot->placed, 0, memory_order_release);
	}
}

void uring_take_over(struct uring *u, uint32_t epoch, uint64_t taken, uring_again *again,
		     void *user)
{
	struct io_uring_sq *sq = &u->ring.sq;
	uint32_t head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < *sq->kring_entries; i++)
		if (sq->array[i] != i)
			sq->array[i] = i;
	sq->sqe_head = sq->sqe_tail = head;
	__atomic_store_n(sq->ktail, head, __ATOMIC_RELEASE);
	u->epoch = epoch;
	if ((int32_t)((uint32_t)taken - *u->ring.cq.khead) > 0)
		uring_taken(u, taken);
	place_again(u, head, again, user);
	recount(u);
}

static void prepare(struct io_uring_sqe *sqe, const struct uring_request *r)
{
	const int keep = FALLOC_FL_KEEP_SIZE;
	bool vector = r->n_iov != 1;

	memset(sqe, 0, sizeof(*sqe));
	sqe->fd = r->row;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->off = r->offset;
	sqe->user_data = (uint64_t)r->generation << 32 | r->slot;
	switch ((enum disk_op)r->op) {
	case DISK_READ:
	case DISK_WRITE:
		if (r->op == DISK_READ)
			sqe->opcode = vector ? IORING_OP_READV : IORING_OP_READ;
		else
			sqe->opcode = vector ? IORING_OP_WRITEV : IORING_OP_WRITE;
		sqe->addr = (uintptr_t)(vector ? (const void *)r->iov : r->iov->iov_base);
		sqe->len = vector ? r->n_iov : (uint32_t)r->iov->iov_len;
		sqe->rw_flags = r->op == DISK_WRITE && r->fua ? RWF_DSYNC : 0;
		break;
	case DISK_FLUSH:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->off = 0;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	case DISK_UNMAP:
	case DISK_ZERO:
		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->addr = r->bytes;
		sqe->len = (uint32_t)(r->op == DISK_ZERO && r->block_device
					      ? FALLOC_FL_ZERO_RANGE | keep
					      : FALLOC_FL_PUNCH_HOLE | keep);
		break;
	}
}

int uring_place(struct uring *u, const struct uring_request *r)
{
	struct io_uring_sq *sq = &u->ring.sq;
	struct wire_disk_slot *slot = &u->disk->slot[r->slot];
	uint32_t mask = *sq->kring_mask, position = sq->sqe_tail;

	fact(r->slot < LIMIT_REQUESTS && u->epoch != 0);
	if (position - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE) >= *sq->kring_entries)
		return -EBUSY;
	prepare(&sq->sqes[position & mask], r);
	atomic_store_explicit(&slot->epoch, u->epoch, memory_order_relaxed);
	atomic_store_explicit(&slot->placed, (uint64_t)r->generation << 32 | position,
			      memory_order_release);
	sq->sqe_tail = position + 1;
	__atomic_store_n(sq->ktail, position + 1, __ATOMIC_RELEASE);
	atomic_fetch_add_explicit(&u->stats->requests_submitted, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&u->stats->inflight, 1, memory_order_relaxed);
	return 0;
}

unsigned uring_waiting(const struct uring *u)
{
	if (!u->mapped)
		return 0;
	return u->ring.sq.sqe_tail - __atomic_load_n(u->ring.sq.khead, __ATOMIC_ACQUIRE);
}

int uring_enter(struct uring *u)
{
	struct io_uring_sq *sq = &u->ring.sq;

	for (unsigned i = 0; i < ENTER_TRIES; i++) {
		uint32_t head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
		int r;

		sq->sqe_head = head;
		if (head == sq->sqe_tail)
			return 0;
		r = io_uring_enter((unsigned)u->ring.ring_fd, sq->sqe_tail - head, 0, 0, NULL);
		if (r == -EAGAIN || r == -EBUSY)
			sched_yield();
		else if (r < 0 && r != -EINTR)
			return r;
	}
	return uring_waiting(u) ? -EAGAIN : 0;
}

static const struct io_uring_cqe *cqe_at(const struct uring *u, uint32_t position)
{
	return &u->ring.cq.cqes[position & *u->ring.cq.kring_mask];
}

bool uring_has(const struct uring *u, uint64_t position)
{
	return (uint32_t)position != __atomic_load_n(u->ring.cq.ktail, __ATOMIC_ACQUIRE);
}

bool uring_peek(const struct uring *u, uint64_t position, struct uring_completion *ret)
{
	const struct io_uring_cqe *cqe;

	if (!uring_has(u, position))
		return false;
	cqe = cqe_at(u, (uint32_t)position);
	ret->slot = (uint32_t)cqe->user_data;
	ret->generation = (uint32_t)(cqe->user_data >> 32);
	ret->result = cqe->res;
	return true;
}

void uring_release(struct uring *u, uint32_t slot, uint32_t generation)
{
	if (slot >= LIMIT_REQUESTS || !uring_placed(u, slot, generation))
		return;
	atomic_store_explicit(&u->disk->slot[slot].placed, 0, memory_order_release);
	atomic_fetch_add_explicit(&u->stats->requests_completed, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&u->stats->inflight, 1, memory_order_relaxed);
}

void uring_taken(struct uring *u, uint64_t position)
{
	uint32_t head = *u->ring.cq.khead;

	for (uint32_t i = head; i != (uint32_t)position; i++) {
		uint64_t data = cqe_at(u, i)->user_data;

		uring_release(u, (uint32_t)data, (uint32_t)(data >> 32));
	}
	__atomic_store_n(u->ring.cq.khead, (uint32_t)position, __ATOMIC_RELEASE);
}

unsigned uring_requests_of(const struct uring *u, uint32_t epoch)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < LIMIT_REQUESTS; i++) {
		const struct wire_disk_slot *s = &u->disk->slot[i];

		n += atomic_load(&s->placed) != 0 && atomic_load(&s->epoch) == epoch;
	}
	return n;
}
