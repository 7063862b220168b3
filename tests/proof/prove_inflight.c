/* The table of requests in flight (devices/uring.c): which of them the kernel has
 * taken is told by a position and the queue's head alone, whatever the tail says,
 * and the counters run over. */
#include <stdatomic.h>
#include "devices/uring.c"

uint32_t any_u32(void);

static struct wire_disk_table disk;
static struct wire_stats stats;
/* The arithmetic does not know how large a power of two it is. */
enum { QUEUE = 8, SLOTS = 2 };
static struct io_uring_sqe sqes[QUEUE];
static unsigned khead, ktail, entries, mask;

/* A queue that this owner uses: at most `entries` lie between head and tail. */
static struct uring some_queue(void)
{
	struct uring u = { .disk = &disk, .stats = &stats, .epoch = 1, .mapped = true };

	entries = QUEUE;
	mask = entries - 1;
	khead = any_u32();
	u.ring.sq.khead = &khead;
	u.ring.sq.ktail = &ktail;
	u.ring.sq.kring_entries = &entries;
	u.ring.sq.kring_mask = &mask;
	u.ring.sq.sqes = sqes;
	u.ring.sq.sqe_tail = any_u32();
	__CPROVER_assume(u.ring.sq.sqe_tail - khead <= entries);
	return u;
}

void prove_place(void)
{
	struct uring u = some_queue();
	struct uring_request r = { .slot = any_u32(), .generation = any_u32(), .op = DISK_FLUSH };
	uint32_t head = khead, full = u.ring.sq.sqe_tail - khead == entries;

	__CPROVER_assume(r.slot < SLOTS && r.generation != 0);
	if (uring_place(&u, &r)) {
		__CPROVER_assert(full, "refused only when the queue is full");
		return;
	}
	__CPROVER_assert(!full, "never over the queue");
	__CPROVER_assert(uring_placed(&u, r.slot, r.generation), "it is placed");
	__CPROVER_assert(!uring_placed(&u, r.slot, r.generation + 1), "and nothing else is");
	__CPROVER_assert(never_taken(&u.ring.sq, disk.slot[r.slot].placed, head),
			 "an owner that dies now leaves it to be placed again");
	__CPROVER_assert(!never_taken(&u.ring.sq, disk.slot[r.slot].placed, ktail),
			 "once the head has passed it, it is the kernel's");
}

/* Positions of the past, as far back as there are positions: the kernel's. */
void prove_taken(void)
{
	struct uring u = some_queue();
	uint32_t position = any_u32(), generation = any_u32();

	__CPROVER_assume(generation != 0);
	__CPROVER_assume(khead - position >= 1 && khead - position < UINT32_MAX - entries);
	__CPROVER_assert(!never_taken(&u.ring.sq, (uint64_t)generation << 32 | position, khead),
			 "taken is taken");
	__CPROVER_assert(!never_taken(&u.ring.sq, 0, khead), "an empty slot is nobody's");
}
