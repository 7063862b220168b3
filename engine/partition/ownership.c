/* Ownership: the sentinel, a thread that waits for the owner's death.
 *
 * It sleeps on the robust mutex that the owner's first thread holds. The
 * kernel hands it on with EOWNERDEAD as soon as that thread is dead, whatever
 * the guest's size. Then ONE taker is named by compare-exchange; only the
 * named one may take, so nothing here decides by anything but the word. An
 * owner that dies without holding the mutex is found by its reaped process.
 *
 * The sentinel never takes from a live owner: it names after a death only. */
#include "engine/partition/partition.h"
#include "engine/slice.h"

#include <errno.h>
#include <string.h>

/* How often what no futex tells is looked at: a taker's or an old owner's end. */
#define LOOK_NS UINT64_C(1000000)
#define IDLE_LOOK_NS UINT64_C(50000000)

/* The sentinel's own memory of builds. */
struct sentinel {
	struct partition *p;
	int owner_row;                /* executable of the present owner, -1 none yet */
	int before_row;               /* of the owner before that ran another one, -1 none */
	uint32_t owner_level, before_level; /* in force while these served, as last seen */
	int left_row;                 /* given up after a crash loop; -1: or it is over */
};

void ownership_fault(struct partition *p)
{
	memmove(p->fault_ns + 1, p->fault_ns, sizeof(p->fault_ns) - sizeof(p->fault_ns[0]));
	p->fault_ns[0] = mono_now_ns();
}

/* Whether the newest @n faults lie within the window. */
static bool faults_within(struct partition *p, uint32_t n)
{
	bool within;

	pthread_mutex_lock(&p->children_lock);
	within = p->fault_ns[n - 1] != 0 &&
		 mono_now_ns() - p->fault_ns[n - 1] < PARTITION_FAULT_NS;
	pthread_mutex_unlock(&p->children_lock);
	return within;
}

static void forget_faults(struct partition *p)
{
	pthread_mutex_lock(&p->children_lock);
	memset(p->fault_ns, 0, sizeof(p->fault_ns));
	pthread_mutex_unlock(&p->children_lock);
}

static uint32_t row_of(struct partition *p, uint32_t slot)
{
	uint32_t row;

	pthread_mutex_lock(&p->children_lock);
	row = p->child[slot].exe_row;
	pthread_mutex_unlock(&p->children_lock);
	return row;
}

static bool gave_up(struct partition *p, uint32_t slot)
{
	bool did;

	pthread_mutex_lock(&p->children_lock);
	did = p->child[slot].gave_up;
	pthread_mutex_unlock(&p->children_lock);
	return did;
}

/* A death becomes a fault only when it is reaped, which is later than it is
 * seen. One that would be the third is worth that wait. */
static bool crash_loop(struct partition *p, uint32_t slot)
{
	uint64_t until = mono_now_ns() + UINT64_C(1000000000);

	if (!faults_within(p, PARTITION_FAULTS - 1))
		return false;
	while (spawn_alive(p, slot) && mono_now_ns() < until)
		custody_owner_wait(&p->c, atomic_load(&p->c.h->owner), LOOK_NS);
	return faults_within(p, PARTITION_FAULTS);
}

/* A live follower that may take over, or -1. @row: only of this build, -1 any. */
static int standby(struct partition *p, enum wire_proc_state state, int row)
{
	for (uint32_t i = 0; i < LIMIT_PROCS; i++) {
		const struct wire_proc *proc = &p->c.proc[i];

		if (proc->role == ROLE_STANDBY && atomic_load(&proc->state) == state &&
		    (row < 0 || proc->exe_row == (uint32_t)row) && spawn_alive(p, i))
			return (int)i;
	}
	return -1;
}

/* The owner before this one, while it follows, or -1. */
static int predecessor(struct partition *p, int row)
{
	uint32_t slot = atomic_load(&p->c.h->predecessor) - 1;

	if (slot >= LIMIT_PROCS || atomic_load(&p->c.proc[slot].state) != PROC_PROBATION ||
	    (row >= 0 && p->c.proc[slot].exe_row != (uint32_t)row) || !spawn_alive(p, slot))
		return -1;
	return (int)slot;
}

/* In the middle of a flip, the one it goes to; in probation, the predecessor. */
static int choose(struct partition *p, uint64_t word, int row)
{
	uint32_t flip_to = atomic_load(&p->c.h->flip_to);
	int slot;

	if (OWNER_STATE(word) == OWNER_FLIPPING && row < 0 && spawn_alive(p, flip_to))
		return (int)flip_to;
	slot = predecessor(p, row);
	if (slot >= 0)
		return slot;
	slot = standby(p, PROC_READY, row);
	if (slot < 0)
		slot = standby(p, PROC_FOLLOWING, row);
	return slot != (int)OWNER_SLOT(word) ? slot : -1;
}

/* Moves @word to TAKING of a live follower, or of one that is started now. */
static void name(struct partition *p, uint64_t word, int only_row, uint32_t spawn_row)
{
	int slot = choose(p, word, only_row);
	bool spawned = slot < 0;

	if (spawned)
		slot = spawn_paravisor(p, spawn_row, ROLE_TAKER);
	if (slot < 0) {
		custody_owner_wait(&p->c, word, IDLE_LOOK_NS);
		return;
	}
	if (custody_owner_move(&p->c, word, OWNER_WORD(OWNER_EPOCH(word), slot, OWNER_TAKING)))
		partition_log("slot %d is named to take over from slot %u", slot, OWNER_SLOT(word));
	else if (spawned)
		spawn_kill(p, (uint32_t)slot);
}

/* A build from before a commit cannot load the state of a higher level. */
static bool way_back(const struct sentinel *s)
{
	return s->before_row >= 0 && atomic_load(&s->p->c.h->level) == s->before_level;
}

/* Three faults in 10 s: the predecessor's build, if there is one; else a rest. */
static void name_after_crashes(struct sentinel *s, uint64_t word, uint32_t row)
{
	struct partition *p = s->p;
	uint64_t paused = OWNER_WORD(OWNER_EPOCH(word), OWNER_SLOT(word), OWNER_PAUSED);

	forget_faults(p);
	if (way_back(s)) {
		partition_log("three faults in 10 s: back to the build before, row %d",
			      s->before_row);
		name(p, word, s->before_row, (uint32_t)s->before_row);
		s->left_row = s->owner_row;
		s->owner_row = s->before_row;
		s->before_row = -1;
		return;
	}
	partition_log("three faults in 10 s: a rest of %llu ms before the next start",
		      (unsigned long long)(PARTITION_PAUSE_NS / 1000000));
	if (!custody_owner_move(&p->c, word, paused))
		return;
	custody_owner_wait(&p->c, paused, PARTITION_PAUSE_NS);
	name(p, paused, -1, row);
}

static void mark_dead(struct partition *p, uint32_t slot)
{
	bool before;

	pthread_mutex_lock(&p->children_lock);
	before = p->child[slot].died_owner;
	p->child[slot].died_owner = true;
	pthread_mutex_unlock(&p->children_lock);
	if (!before && atomic_exchange(&p->kill_stamped, 0) != slot + 1)
		atomic_store(&p->c.h->death_ns, mono_now_ns());
}

/* The process in @slot is dead. If the word still says that it owns, name. */
static void owner_died(struct sentinel *s, uint32_t slot)
{
	struct partition *p = s->p;
	uint64_t word = atomic_load(&p->c.h->owner);
	uint32_t row = row_of(p, slot);

	if (OWNER_SLOT(word) != slot ||
	    (OWNER_STATE(word) != OWNER_OWNED && OWNER_STATE(word) != OWNER_FLIPPING))
		return;
	mark_dead(p, slot);
	if (crash_loop(p, slot))
		name_after_crashes(s, word, row);
	else
		name(p, word, -1, row);
}

static void remember_build(struct sentinel *s, uint64_t word)
{
	int row = (int)row_of(s->p, OWNER_SLOT(word));

	if (OWNER_STATE(word) != OWNER_OWNED)
		return;
	s->left_row = -1;
	if (row != s->owner_row) {
		s->before_row = s->owner_row;
		s->before_level = s->owner_level;
		s->owner_row = row;
	}
}

static void watch_owner(struct sentinel *s, uint64_t word)
{
	struct partition *p = s->p;
	uint32_t slot = OWNER_SLOT(word);
	pthread_mutex_t *mutex = &p->c.proc[slot].thread[0];
	int r;

	remember_build(s, word);
	r = pthread_mutex_lock(mutex);
	/* Now, because the level is set a moment after the word and may rise while it
	 * owns; before its successor can raise it. */
	s->owner_level = atomic_load(&p->c.h->level);
	if (r == EOWNERDEAD) {
		pthread_mutex_consistent(mutex);
		pthread_mutex_unlock(mutex);
		owner_died(s, slot);
		return;
	}
	if (r == 0)
		pthread_mutex_unlock(mutex);
	if (!spawn_alive(p, slot))
		owner_died(s, slot);
	else
		custody_owner_wait(&p->c, word, LOOK_NS);
}

/* Whom to start when the taker in @slot is dead: the build that owned last. The
 * taker may have been a predecessor of another one, which cannot load a state
 * behind a commit. So may the build before, tried after a crash loop: then it is
 * the one that was left. */
static uint32_t next_row(struct sentinel *s, uint32_t slot)
{
	int row = (int)row_of(s->p, slot);

	if (s->left_row < 0 || row != s->owner_row || !gave_up(s->p, slot))
		return (uint32_t)(s->owner_row < 0 ? row : s->owner_row);
	partition_log("row %d does not serve this state: row %d again", row, s->left_row);
	s->owner_row = s->left_row;
	s->left_row = -1;
	return (uint32_t)s->owner_row;
}

/* The named one dies: the next. It never serves: it is killed first. */
static void watch_taker(struct sentinel *s, uint64_t word)
{
	struct partition *p = s->p;
	uint32_t slot = OWNER_SLOT(word);
	uint64_t until = mono_now_ns() + PARTITION_TAKE_NS;

	while (atomic_load(&p->c.h->owner) == word) {
		if (!spawn_alive(p, slot)) {
			name(p, word, -1, next_row(s, slot));
			return;
		}
		if (mono_now_ns() > until) {
			partition_log("the taker in slot %u does not serve: killed", slot);
			spawn_kill(p, slot);
			until = UINT64_MAX;
		}
		custody_owner_wait(&p->c, word, LOOK_NS);
	}
}

static void *watch(void *arg)
{
	struct sentinel s = { .p = arg, .owner_row = -1, .before_row = -1, .left_row = -1 };

	slice_shortest();
	for (;;) {
		uint64_t word = atomic_load(&s.p->c.h->owner);

		if (OWNER_SLOT(word) >= LIMIT_PROCS || OWNER_STATE(word) == OWNER_NONE)
			custody_owner_wait(&s.p->c, word, IDLE_LOOK_NS);
		else if (OWNER_STATE(word) == OWNER_TAKING)
			watch_taker(&s, word);
		else if (OWNER_STATE(word) == OWNER_PAUSED)
			name(s.p, word, -1, row_of(s.p, OWNER_SLOT(word)));
		else
			watch_owner(&s, word);
	}
	return NULL;
}

int ownership_start(struct partition *p)
{
	return -pthread_create(&p->sentinel, NULL, watch, p);
}
