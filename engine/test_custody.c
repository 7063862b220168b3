/* Words of custody that processes share: ownership, the vote, the table of faults. One
 * process plays both sides; a child that ends plays the dead. */
#include "engine/faults.h"
#include "engine/owner.h"
#include "engine/vote.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OLD = 2, NEW = 5, MS = 1000000 };

static struct custody c;

static void setup(void)
{
	cr_assert_eq(custody_create(&c), 0);
}

static void teardown(void)
{
	custody_detach(&c);
}

TestSuite(custody, .init = setup, .fini = teardown);

/* ---- the mapping ---------------------------------------------------------------- */

Test(custody, what_another_program_made_is_refused)
{
	struct custody other;

	c.h->magic ^= 1;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_MAGIC);
	c.h->magic ^= 1;
	c.h->version++;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_VERSION);
	c.h->version--;
	c.h->requests++;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->requests--;
	c.h->lanes = 0;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->lanes = LIMIT_LANES + 1;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->lanes = 1;
	c.h->vps = LIMIT_VPS + 1;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->vps = 1;
	c.h->n_fds = LIMIT_FDS + 1;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->n_fds = 0;
	cr_assert_eq(custody_attach(&other, c.fd, true), 0);
	cr_assert_eq(custody_fd_row(&other, "none"), -ENOENT);
	custody_detach(&other);
}

Test(custody, a_file_that_is_too_short_is_refused)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct custody other;

	cr_assert_neq(custody_attach(&other, fd, false), 0);
	cr_assert_eq(custody_attach(&other, -1, false), -EBADF);
	close(fd);
}

Test(custody, the_table_of_descriptors_ends)
{
	char name[16];

	for (unsigned i = 0; i < LIMIT_FDS; i++) {
		snprintf(name, sizeof(name), "row.%u", i);
		cr_assert_eq(custody_fd_add(&c, name, 7), (int)i);
	}
	cr_assert_eq(custody_fd_add(&c, "more", 7), -ENOSPC);
	cr_assert_eq(custody_fd_row(&c, "row.3"), 3);
	cr_assert_eq(custody_fd(&c, "row.3"), WIRE_FD_BASE + 3);
	cr_assert_eq(custody_fd(&c, "more"), -ENOENT);
}

/* ---- ownership -------------------------------------------------------------------- */

Test(custody, there_is_one_first_owner)
{
	cr_assert_eq(owner_first(&c, OLD), 0);
	cr_assert_eq(owner_first(&c, NEW), -EBUSY);
	cr_assert_eq(atomic_load(&c.h->owner), OWNER_WORD(1, OLD, OWNER_OWNED));
}

Test(custody, a_planned_flip)
{
	uint32_t epoch = 0;

	cr_assert_eq(owner_lock(&c, OLD, 0, MS), 0);
	cr_assert_eq(owner_first(&c, OLD), 0);
	cr_assert_eq(owner_accept(&c, NEW, MS, &epoch), -EPERM, "nobody offers");
	cr_assert_eq(owner_offer(&c, OLD, 2, NEW), -EPERM, "of another epoch");
	cr_assert_eq(owner_offer(&c, OLD, 1, NEW), 0);
	cr_assert_eq(owner_accept(&c, NEW + 1, MS, &epoch), -EPERM, "not the successor");
	cr_assert_eq(owner_accept(&c, NEW, MS, &epoch), 0);
	cr_assert_eq(epoch, 2);
	cr_assert_eq(atomic_load(&c.h->predecessor), OLD + 1);
	cr_assert_eq(owner_await(&c, OLD, 1, MS), 0);
	cr_assert_eq(atomic_load(&c.proc[OLD].state), PROC_RETIRED);
}

Test(custody, a_flip_that_nobody_takes_comes_back)
{
	cr_assert_eq(owner_lock(&c, OLD, 0, MS), 0);
	cr_assert_eq(owner_first(&c, OLD), 0);
	cr_assert_eq(owner_offer(&c, OLD, 1, NEW), 0);
	cr_assert_eq(owner_await(&c, OLD, 1, 1000 * MS), -ETIMEDOUT, "the successor is dead");
	cr_assert_eq(atomic_load(&c.h->owner), OWNER_WORD(1, OLD, OWNER_OWNED));
	cr_assert_eq(owner_offer(&c, OLD, 1, NEW), 0);
	atomic_store(&c.proc[NEW].pid, getpid());
	cr_assert_eq(owner_await(&c, OLD, 1, 5 * MS), -ETIMEDOUT, "it is alive and slow");
	cr_assert_eq(owner_offer(&c, OLD, 1, NEW), 0);
	atomic_store(&c.proc[NEW].state, PROC_FAILED);
	cr_assert_eq(owner_await(&c, OLD, 1, 1000 * MS), -ETIMEDOUT, "it gave up");
}

/* Dies as the owner, with thread 1's mutex in its hands. */
static void owner_that_dies(void)
{
	pid_t child = fork();
	int status;

	cr_assert_geq(child, 0);
	if (child == 0) {
		owner_lock(&c, OLD, 1, MS);
		owner_first(&c, OLD);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
}

Test(custody, a_dead_owner_is_fenced_and_followed)
{
	uint32_t epoch = 0;

	owner_that_dies();
	atomic_store(&c.h->owner, OWNER_WORD(1, NEW, OWNER_TAKING));
	cr_assert_eq(owner_take(&c, NEW, 100 * MS, &epoch), 0);
	cr_assert_eq(epoch, 2);
	cr_assert_eq(atomic_load(&c.h->predecessor), OLD + 1);
	cr_assert_eq(atomic_load(&c.proc[OLD].state), PROC_RETIRED);
	cr_assert_eq(owner_lock(&c, OLD, 1, MS), 0, "the mutex is whole again");
}

static void *hold_mutex(void *done)
{
	owner_lock(&c, OLD, 2, MS);
	atomic_store((_Atomic int *)done, 1);
	while (atomic_load((_Atomic int *)done) == 1)
		usleep(1000);
	owner_unlock(&c, OLD, 2);
	return NULL;
}

Test(custody, a_thread_that_lives_is_not_passed)
{
	_Atomic int held = 0;
	uint32_t epoch = 0;
	pthread_t thread;

	cr_assert_eq(owner_first(&c, OLD), 0);
	cr_assert_eq(pthread_create(&thread, NULL, hold_mutex, &held), 0);
	while (!atomic_load(&held))
		usleep(1000);
	atomic_store(&c.h->owner, OWNER_WORD(1, NEW, OWNER_TAKING));
	cr_assert_eq(owner_take(&c, NEW, 20 * MS, &epoch), -ETIMEDOUT);
	atomic_store(&c.h->flip_to, NEW);
	atomic_store(&c.h->owner, OWNER_WORD(1, OLD, OWNER_FLIPPING));
	cr_assert_eq(owner_accept(&c, NEW, 20 * MS, &epoch), -ETIMEDOUT);
	atomic_store(&held, 2);
	pthread_join(thread, NULL);
	cr_assert_eq(owner_accept(&c, NEW, 20 * MS, &epoch), 0);
}

Test(custody, who_is_not_named_takes_nothing)
{
	uint32_t epoch = 0;

	cr_assert_eq(owner_first(&c, OLD), 0);
	cr_assert_eq(owner_take(&c, NEW, MS, &epoch), -EPERM);
	cr_assert_eq(epoch, 0);
}

/* ---- the vote ---------------------------------------------------------------------- */

static void voter_is_alive(void)
{
	atomic_store(&c.h->predecessor, OLD + 1);
	atomic_store(&c.proc[OLD].pid, getpid());
}

Test(custody, a_vote_agrees_up_to_a_turn)
{
	cr_assert_not(vote_is_open(&c));
	cr_assert_eq(vote_await(&c, 1, MS), VOTE_E_CLOSED);
	voter_is_alive();
	vote_open(&c, 10);
	cr_assert(vote_is_open(&c));
	cr_assert_eq(vote_await(&c, 10, MS), VOTE_AGREED);
	vote_agree(&c, 12);
	vote_agree(&c, 11);
	cr_assert_eq(vote_await(&c, 12, MS), VOTE_AGREED, "it never moves back");
	cr_assert_eq(vote_await(&c, 13, MS), VOTE_E_CLOSED, "too slow: it votes no more");
	cr_assert_not(vote_is_open(&c));
	vote_agree(&c, 20);
	cr_assert_eq(vote_await(&c, 20, MS), VOTE_E_CLOSED);
}

Test(custody, a_refusal_and_a_close_cannot_both_win)
{
	voter_is_alive();
	vote_open(&c, 10);
	cr_assert_not(vote_refuse(&c, 10), "it has agreed to that");
	cr_assert(vote_refuse(&c, 11));
	cr_assert_eq(vote_await(&c, 11, MS), VOTE_E_REFUSED);
	cr_assert_not(vote_close(&c));
	vote_open(&c, 10);
	cr_assert(vote_close(&c));
	cr_assert(vote_close(&c));
	cr_assert_not(vote_refuse(&c, 11));
}

Test(custody, a_dead_voter_is_not_waited_for)
{
	uint64_t begun = mono_now_ns();

	vote_open(&c, 10);
	cr_assert_eq(vote_await(&c, 11, 60000ull * MS), VOTE_E_CLOSED, "there is no predecessor");
	atomic_store(&c.h->predecessor, OLD + 1);
	vote_open(&c, 10);
	cr_assert_eq(vote_await(&c, 11, 60000ull * MS), VOTE_E_CLOSED, "it is dead");
	atomic_store(&c.h->predecessor, LIMIT_PROCS + 1);
	vote_open(&c, 10);
	cr_assert_eq(vote_await(&c, 11, 60000ull * MS), VOTE_E_CLOSED, "nobody has that slot");
	cr_assert_lt(mono_now_ns() - begun, 30000ull * MS);
}

/* ---- faults ------------------------------------------------------------------------ */

static void note(uint64_t seq, uint32_t effect)
{
	struct fault_point p = { .seq = seq, .effect = effect };

	faults_note(&c, &p);
}

Test(custody, two_faults_at_one_place_are_told)
{
	uint64_t id[WIRE_FAULTS / 2];

	note(7, 0);
	cr_assert_not(faults_twice(&c, 7, 0));
	note(7, 1);
	cr_assert_not(faults_twice(&c, 7, 0), "a step and an effect are two places");
	note(7, 0);
	cr_assert(faults_twice(&c, 7, 0));
	cr_assert_not(faults_twice(&c, 0, 0));
	cr_assert_eq(faults_effects(&c, 6, id), 0);
	note(7, 1);
	note(7, 1);
	cr_assert_eq(faults_effects(&c, 6, id), 1, "told once");
	cr_assert_eq(id[0], 7u << 12);
	cr_assert_eq(faults_effects(&c, 7, id), 0, "its turn is done");
	for (unsigned i = 0; i < WIRE_FAULTS; i++)
		note(100 + i, 0);
	cr_assert_not(faults_twice(&c, 7, 0), "the oldest are overwritten");
}
