/* The io_uring: each operation, and an owner that is killed with requests
 * taken, placed, and half placed. */
#include "devices/uring.h"

#include "devices/test_bed.h"
#include "statemachines/effects.h"
#include "tests/child.h"

#include <signal.h>
#include <sys/wait.h>

enum { BLOCK = 4096, TAKEN = 40, PLACED = 24, ALL = TAKEN + PLACED + 1 };

static struct custody c;
static struct uring u;
static int row;

static void make(void)
{
	bed_make(&c);
	row = bed_disk(&c, 64 << 20);
	cr_assert_eq(uring_map(&u, &c), 0);
}

TestSuite(uring, .init = make, .timeout = 60);

static bool no_again(void *user, uint32_t slot, uint32_t generation)
{
	(void)user;
	cr_assert_fail("slot %u generation %u", slot, generation);
	return false;
}

static uint8_t *buffers(void)
{
	void *p = mmap(NULL, (size_t)ALL * BLOCK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

static struct uring_completion wait_one(uint64_t *position)
{
	struct uring_completion done;

	while (!uring_peek(&u, *position, &done))
		usleep(100);
	uring_taken(&u, ++*position);
	return done;
}

static int32_t run(struct uring_request r, uint64_t *position)
{
	static uint32_t generation = 7;
	struct uring_completion done;

	r.row = (uint16_t)row;
	r.generation = ++generation;
	cr_assert_eq(uring_place(&u, &r), 0);
	cr_assert(uring_placed(&u, r.slot, r.generation));
	cr_assert_eq(uring_enter(&u), 0);
	done = wait_one(position);
	cr_assert_eq(done.slot, r.slot);
	cr_assert_eq(done.generation, r.generation);
	cr_assert_not(uring_placed(&u, r.slot, r.generation));
	return done.result;
}

Test(uring, each_operation)
{
	uint8_t *b = buffers();
	struct iovec one = { b, BLOCK };
	struct iovec two[] = { { b + 2 * BLOCK, BLOCK }, { b + 5 * BLOCK, BLOCK } };
	uint64_t position = 0;

	uring_take_over(&u, 1, 0, no_again, NULL);
	memset(b, 0xA1, BLOCK);
	cr_assert_eq(run((struct uring_request){ .op = DISK_WRITE, .offset = BLOCK, .iov = &one,
						 .n_iov = 1, .fua = true }, &position), BLOCK);
	cr_assert_eq(run((struct uring_request){ .op = DISK_READ, .offset = 0, .iov = two,
						 .n_iov = 2, .slot = 1023 }, &position), 2 * BLOCK);
	cr_assert_eq(b[2 * BLOCK], 0);
	cr_assert_eq(b[5 * BLOCK], 0xA1);
	cr_assert_eq(run((struct uring_request){ .op = DISK_FLUSH }, &position), 0);
	cr_assert_eq(run((struct uring_request){ .op = DISK_ZERO, .offset = BLOCK, .bytes = BLOCK },
			 &position), 0);
	cr_assert_eq(run((struct uring_request){ .op = DISK_UNMAP, .offset = 0, .bytes = BLOCK },
			 &position), 0);
	cr_assert_eq(run((struct uring_request){ .op = DISK_READ, .offset = BLOCK, .iov = &one,
						 .n_iov = 1 }, &position), BLOCK);
	cr_assert_eq(b[0], 0);
	cr_assert_eq(atomic_load(&c.stats->inflight), 0);
}

Test(uring, a_full_queue_is_busy)
{
	struct uring_request r = { .op = DISK_FLUSH, .row = (uint16_t)row };

	uring_take_over(&u, 1, 0, no_again, NULL);
	for (uint32_t i = 0; i < LIMIT_URING_ENTRIES; i++) {
		r.slot = i;
		r.generation = i + 1;
		cr_assert_eq(uring_place(&u, &r), 0);
	}
	cr_assert_eq(uring_place(&u, &r), -EBUSY);
	cr_assert_eq(uring_requests_of(&u, 1), LIMIT_REQUESTS);
	cr_assert_eq(uring_requests_of(&u, 2), 0);
}

/* Request n writes block n with its number. */
static void place_write(uint8_t *b, uint32_t n, uint32_t generation)
{
	static struct iovec iov[ALL];
	struct uring_request r = { .slot = n, .generation = generation, .op = DISK_WRITE,
				   .row = (uint16_t)row, .offset = (uint64_t)n * BLOCK,
				   .iov = &iov[n], .n_iov = 1 };

	memset(b + (size_t)n * BLOCK, (int)n + 1, BLOCK);
	iov[n] = (struct iovec){ b + (size_t)n * BLOCK, BLOCK };
	cr_assert_eq(uring_place(&u, &r), 0);
}

/* Dies with TAKEN requests in the kernel, PLACED behind the head, and one that
 * is noted in its slot while the tail has not moved. */
static void dying_owner(unsigned unused)
{
	uint8_t *b = buffers();

	(void)unused;
	uring_take_over(&u, 1, 0, no_again, NULL);
	for (uint32_t n = 0; n < TAKEN; n++)
		place_write(b, n, 100 + n);
	uring_enter(&u);
	for (uint32_t n = TAKEN; n < TAKEN + PLACED; n++)
		place_write(b, n, 100 + n);
	atomic_store(&c.disk->slot[ALL - 1].epoch, 1);
	atomic_store(&c.disk->slot[ALL - 1].placed,
		     (uint64_t)(100 + ALL - 1) << 32 | u.ring.sq.sqe_tail);
	raise(SIGKILL);
}

static uint8_t *mine;
static unsigned again_count;

static bool again(void *user, uint32_t slot, uint32_t generation)
{
	const unsigned *die_at = user;

	if (die_at && again_count == *die_at)
		raise(SIGKILL);
	cr_assert_geq(slot, TAKEN);
	cr_assert_eq(generation, 100 + slot);
	again_count++;
	place_write(mine, slot, generation);
	return true;
}

/* The next owner dies as well, before it has placed request @die_at again. */
static void dying_taker(unsigned die_at)
{
	mine = buffers();
	uring_take_over(&u, 2, 0, again, &die_at);
	raise(SIGKILL);
}

static void run_child(void (*body)(unsigned), unsigned arg)
{
	pid_t child = child_fork();

	if (child == 0)
		body(arg);
	cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(uring, a_killed_owner_loses_and_repeats_nothing)
{
	bool seen[ALL] = { false };
	uint64_t position = 0;
	uint8_t block[BLOCK] __attribute__((aligned(BLOCK)));

	run_child(dying_owner, 0);
	for (unsigned die_at = 0; die_at <= PLACED + 1; die_at += 5)
		run_child(dying_taker, die_at);
	mine = buffers();
	again_count = 0;
	uring_take_over(&u, 3, 0, again, NULL);
	cr_assert_eq(again_count, PLACED + 1);
	cr_assert_eq(uring_requests_of(&u, 3), PLACED + 1);
	cr_assert_eq(uring_requests_of(&u, 1), TAKEN);
	cr_assert_eq(uring_enter(&u), 0);
	for (unsigned i = 0; i < ALL; i++) {
		struct uring_completion done = wait_one(&position);

		cr_assert_lt(done.slot, ALL);
		cr_assert_not(seen[done.slot], "slot %u twice", done.slot);
		seen[done.slot] = true;
		cr_assert_eq(done.generation, 100 + done.slot);
		if (done.slot >= TAKEN)
			cr_assert_eq(done.result, BLOCK, "slot %u: %d", done.slot, done.result);
		if (done.result != BLOCK)
			continue;
		cr_assert_eq(pread(WIRE_FD_BASE + row, block, BLOCK, (off_t)done.slot * BLOCK),
			     BLOCK);
		cr_assert_eq(block[BLOCK - 1], (uint8_t)(done.slot + 1));
	}
	usleep(20000);
	cr_assert_not(uring_peek(&u, position, &(struct uring_completion){ 0 }));
	cr_assert_eq(atomic_load(&c.stats->inflight), 0);
}
