/* Disk requests: from an effect, or from the live scsi machine, to the
 * io_uring. Both ways give the same request; only the addresses are this
 * process's own. A request that cannot be placed is answered with the
 * completion it will never have. */
#include "devices/hands_state.h"

#include "engine/fact.h"
#include "statemachines/disk.h"
#include "statemachines/gpa_list.h"
#include "statemachines/scsi.h"

#include <errno.h>
#include <string.h>

/* Requests handed to the kernel at once: the disk need not wait for the rest. */
enum { PART = 4 };

_Static_assert((int)LIMIT_URING_ENTRIES >= (int)LIMIT_REQUESTS, "the queue is never full");

/* Segments live until the kernel has taken the queue, so those of all that wait
 * in it lie one behind the other, in memory that stays warm. */
static struct iovec *segments(struct hands *h)
{
	if (uring_waiting(&h->uring) == 0)
		h->iov_used = 0;
	fact(h->iov_used <= (LIMIT_REQUESTS - 1) * LIMIT_SEGMENTS);
	return h->iov + h->iov_used;
}

static int place(struct hands *h, struct uring_request *r, uint16_t row, const uint64_t *pairs,
		 unsigned n)
{
	int got;

	if (row >= h->c->h->n_fds || h->c->h->fds[row].fd < 0)
		return -EBADF;
	r->row = row;
	if (r->op == DISK_READ || r->op == DISK_WRITE) {
		r->iov = segments(h);
		got = guestmem_iovecs(&h->mem, pairs, n, segments(h), LIMIT_SEGMENTS);
		if (got <= 0)
			return got ? got : -EINVAL;
		r->n_iov = (unsigned)got;
		h->iov_used += (uint32_t)got;
	}
	return uring_place(&h->uring, r);
}

static void refuse(struct hands *h, const struct uring_request *r, int error)
{
	struct rec_disk_done done = { .generation = r->generation, .result = (uint32_t)error };

	answer_add(h, KIND_scsi, (uint16_t)r->slot, 0, scsi_EV_DISK_DONE, &done, sizeof(done), 0);
}

void request_submit(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_disk_submit *p = e->p;
	struct uring_request r = {
		.slot = p->request, .generation = p->generation, .op = p->op,
		.fua = (p->flags & DISK_FLAG_FUA) != 0,
		.block_device = (p->flags & DISK_FLAG_BLOCK_DEVICE) != 0,
		.offset = p->offset, .bytes = p->bytes,
	};
	uint64_t pairs[2 * LIMIT_SEGMENTS];
	int error;

	fact(r.slot < LIMIT_REQUESTS && e->tail_len <= sizeof(pairs));
	if (redo && uring_placed(&h->uring, r.slot, r.generation))
		return;
	memcpy(pairs, e->tail, e->tail_len);
	error = place(h, &r, p->fd, pairs, e->tail_len / (2 * (unsigned)sizeof(*pairs)));
	if (error)
		refuse(h, &r, error);
	else if (uring_waiting(&h->uring) >= PART)
		uring_enter(&h->uring);
}

/* ---- from machine state ------------------------------------------------- */

static unsigned data_of(const struct hands *h, const struct scsi *m, uint64_t *pairs)
{
	uint8_t gpas[LIMIT_PACKET];
	size_t len = world_blob_read(h->world, m->gpas, 0, gpas, sizeof(gpas));
	uint64_t bytes;

	if (gpa_list_bytes(gpas, len, m->gpa_ranges) == 0)
		return 0;
	if (m->same)
		return gpa_list_repeat(gpas, m->gpa_ranges, m->block_bytes, m->bytes - m->done,
				       pairs, LIMIT_SEGMENTS, &bytes);
	return gpa_list_pairs(gpas, m->gpa_ranges, m->done, m->bytes - m->done, pairs,
			      LIMIT_SEGMENTS, &bytes);
}

#if HOLDFAST_SABOTAGE
uint8_t *request_first_byte(const struct hands *h, const struct scsi *m)
{
	uint64_t pairs[2 * LIMIT_SEGMENTS];

	return data_of(h, m, pairs) ? guestmem_writable(&h->mem, pairs[0], 1) : NULL;
}
#endif

static void range_of(const struct hands *h, const struct scsi *m, struct uring_request *r)
{
	uint64_t pair[2] = { m->lba, m->count };

	if (m->op == DISK_UNMAP && m->extents)
		world_blob_read(h->world, m->extents, (size_t)m->extent * sizeof(pair), pair,
				sizeof(pair));
	r->offset = pair[0] * m->block_bytes;
	r->bytes = pair[1] * m->block_bytes;
}

bool request_again(void *user, uint32_t slot, uint32_t generation)
{
	struct hands *h = user;
	const struct scsi *m = world_at(h->world, KIND_scsi, (uint16_t)slot);
	struct uring_request r = { .slot = slot, .generation = generation };
	uint64_t pairs[2 * LIMIT_SEGMENTS];
	unsigned n = 0;
	int error;

	if (!m || m->sm.state != scsi_SUBMITTED || m->generation != generation)
		return false;
	r.op = m->op;
	r.fua = m->fua;
	r.block_device = (m->lun_flags & DISK_BLOCK_DEVICE) != 0;
	if (m->op == DISK_READ || m->op == DISK_WRITE) {
		r.offset = m->lba * m->block_bytes + m->done;
		n = data_of(h, m, pairs);
	} else if (m->op != DISK_FLUSH) {
		range_of(h, m, &r);
	}
	error = place(h, &r, m->fd, pairs, n);
	if (error)
		refuse(h, &r, error);
	else
		atomic_fetch_add_explicit(&h->c->stats->requests_reissued, 1,
					  memory_order_relaxed);
	return !error;
}
