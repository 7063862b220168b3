/* Words of custody that processes share: ownership, the vote, the table of faults. One
 * process plays both sides; a child that ends plays the dead. */
#include "engine/fact.h"
#include "engine/faults.h"
#include "engine/owner.h"
#include "engine/vote.h"
#include "tests/child.h"

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
	c.h->bytes++;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->bytes--;
	c.h->channels--;
	cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY);
	c.h->channels++;
	cr_assert_eq(custody_attach(&other, c.fd, true), 0);
	cr_assert_eq(custody_fd_row(&other, "none"), -ENOENT);
	custody_detach(&other);
}

Test(custody, an_area_that_does_not_hold_is_refused)
{
	const struct { uint64_t offset, bytes; } wrong[] = {
		{ 8, 0 }, { c.bytes + WIRE_PAGE, 0 }, { c.bytes, 1 }, { 0, UINT64_MAX },
		{ 0, 8 },
	};
	struct custody other;

	for (uint32_t i = 0; i < AREAS; i++) {
		uint64_t offset = c.h->area[i].offset, bytes = c.h->area[i].bytes;

		for (unsigned n = 0; n < ARRAY_LEN(wrong); n++) {
			c.h->area[i].offset = wrong[n].offset;
			c.h->area[i].bytes = wrong[n].bytes ? wrong[n].bytes : bytes;
			cr_assert_eq(custody_attach(&other, c.fd, false), CUSTODY_E_CAPACITY,
				     "area %u, case %u", i, n);
			custody_detach(&other);
		}
		c.h->area[i].offset = offset;
		c.h->area[i].bytes = bytes;
	}
	cr_assert_eq(custody_attach(&other, c.fd, false), 0);
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
	c.h->fds[3].fd = -1;
	cr_assert_eq(custody_fd(&c, "row.3"), -ENOENT, "it was given back");
	cr_assert_eq(custody_fd_add(&c, "more", 7), 3);
	cr_assert_eq(custody_fd_row(&c, "more"), 3);
	cr_assert_eq(c.h->n_fds, LIMIT_FDS);
}

/* ---- waiting ---------------------------------------------------------------------- */

/* Moves the ownership word until somebody says that he has seen it. */
static void *move_owner(void *seen)
{
	while (!atomic_load((_Atomic int *)seen)) {
		uint64_t word = atomic_load(&c.h->owner);

		custody_owner_move(&c, word, OWNER_WORD(1, OLD, OWNER_OWNED));
		usleep(1000);
	}
	return NULL;
}

Test(custody, who_waits_for_the_owner_is_woken)
{
	_Atomic int seen = 0;
	uint64_t begun = mono_now_ns();
	pthread_t thread;

	custody_owner_wait(&c, 0, 5 * MS);
	cr_assert_geq(mono_now_ns() - begun, 5 * MS, "nobody moves it");
	cr_assert_eq(futex_wait(&c.h->owner_futex, 1, UINT64_MAX), -EAGAIN, "it is not 1");
	cr_assert_eq(futex_wait(&c.h->owner_futex, 0, MS), -ETIMEDOUT);
	cr_assert_eq(pthread_create(&thread, NULL, move_owner, &seen), 0);
	custody_owner_wait(&c, 0, UINT64_MAX);
	cr_assert_eq(atomic_load(&c.h->owner), OWNER_WORD(1, OLD, OWNER_OWNED));
	while (futex_wait(&c.h->owner_futex, atomic_load(&c.h->owner_futex), UINT64_MAX) < 0)
		;
	atomic_store(&seen, 1);
	pthread_join(thread, NULL);
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
	pid_t child = child_fork();
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

/* Waits for @held, lets time pass, and does what @deed says. */
enum deed { REAP, MOVE };
struct meanwhile {
	_Atomic int *held;
	enum deed deed;
};

static void *meanwhile(void *user)
{
	struct meanwhile *m = user;

	usleep(30000);
	if (m->deed == REAP) {
		atomic_store(&c.proc[OLD].state, PROC_RETIRED);
	} else {
		atomic_store(&c.h->owner, OWNER_WORD(7, 6, OWNER_OWNED));
		atomic_store(m->held, 2);
	}
	return NULL;
}

/* The mutex of a thread that lives is in the way while somebody else does @deed. */
static int taken_meanwhile(enum deed deed, bool planned)
{
	_Atomic int held = 0;
	struct meanwhile m = { .held = &held, .deed = deed };
	uint32_t epoch = 0;
	pthread_t holder, other;
	int r;

	atomic_store(&c.proc[OLD].state, PROC_OWNER);
	cr_assert_eq(pthread_create(&holder, NULL, hold_mutex, &held), 0);
	while (!atomic_load(&held))
		usleep(1000);
	atomic_store(&c.h->flip_to, NEW);
	atomic_store(&c.h->owner, planned ? OWNER_WORD(1, OLD, OWNER_FLIPPING)
					  : OWNER_WORD(1, NEW, OWNER_TAKING));
	cr_assert_eq(pthread_create(&other, NULL, meanwhile, &m), 0);
	r = planned ? owner_accept(&c, NEW, 60000ull * MS, &epoch)
		    : owner_take(&c, NEW, 60000ull * MS, &epoch);
	atomic_store(&held, 2);
	pthread_join(holder, NULL);
	pthread_join(other, NULL);
	cr_assert_eq(epoch, r == 0 ? 2 : 0);
	return r;
}

Test(custody, who_was_reaped_meanwhile_needs_no_fence)
{
	cr_assert_eq(taken_meanwhile(REAP, false), 0);
}

Test(custody, a_word_that_moved_meanwhile_is_not_taken)
{
	cr_assert_eq(taken_meanwhile(MOVE, false), -EPERM);
	cr_assert_eq(taken_meanwhile(MOVE, true), -EPERM);
	cr_assert_eq(atomic_load(&c.h->owner), OWNER_WORD(7, 6, OWNER_OWNED));
}

Test(custody, a_mutex_that_cannot_be_mended_is_no_fence)
{
	pthread_mutex_t *m = &c.proc[OLD].thread[1];
	uint32_t epoch = 0;

	owner_that_dies();
	cr_assert_eq(pthread_mutex_lock(m), EOWNERDEAD);
	pthread_mutex_unlock(m);
	atomic_store(&c.h->owner, OWNER_WORD(1, NEW, OWNER_TAKING));
	cr_assert_eq(owner_take(&c, NEW, 100 * MS, &epoch), -ENOTRECOVERABLE);
	cr_assert_eq(epoch, 0);
}

Test(custody, who_is_not_named_takes_nothing)
{
	uint32_t epoch = 0;

	atomic_store(&c.h->owner, OWNER_WORD(1, OLD, OWNER_TAKING));
	cr_assert_eq(owner_take(&c, NEW, MS, &epoch), -EPERM, "another is");
	atomic_store(&c.h->owner, 0);

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

static void *agree_late(void *unused)
{
	usleep(300000);
	vote_agree(&c, 11);
	return unused;
}

Test(custody, who_sleeps_for_a_vote_is_woken)
{
	pthread_t thread;

	voter_is_alive();
	vote_open(&c, 10);
	cr_assert_eq(pthread_create(&thread, NULL, agree_late, NULL), 0);
	cr_assert_eq(vote_await(&c, 11, 60000ull * MS), VOTE_AGREED);
	pthread_join(thread, NULL);
	cr_assert(vote_is_open(&c));
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
