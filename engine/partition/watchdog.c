/* The watchdog: an owner that stands still is killed; what follows is the death
 * of an owner like any other.
 *
 * Each turn of an owner's loop moves its heartbeat. One that is idle sleeps and
 * has no heartbeat to show, so one that was not seen to move is knocked at (the
 * eventfd of its inbox): who lives turns its loop once. Invariants: killed is only
 * who was knocked at WATCHDOG_LOOKS times in a row and did not move; time
 * is counted in this thread's own looks, each of which follows the one before by
 * at least a part of the limit, so a host that stood still is one look, not the
 * limit. A flip has a deadline of its own, a taker has PARTITION_TAKE_NS. */
#include "engine/faults.h"
#include "engine/partition/partition.h"

#include <inttypes.h>

enum { WATCHDOG_LOOKS = 4 };

static uint64_t part_ns(const struct partition *p)
{
	return p->o.watchdog_ns / WATCHDOG_LOOKS;
}

/* What it was about, as far as it told: the next owner tries that once more, and
 * then no more. */
static struct fault_point point_of(const struct partition *p, uint64_t word)
{
	struct wire_header *h = p->c.h;

	if (atomic_load(&h->step_epoch) != OWNER_EPOCH(word))
		return (struct fault_point){ 0 };
	return (struct fault_point){ .seq = atomic_load(&h->step_seq),
				     .effect = atomic_load(&h->step_effect) };
}

static void kill_owner(struct partition *p, uint64_t word)
{
	uint32_t slot = OWNER_SLOT(word);
	struct fault_point at = point_of(p, word);

	pthread_mutex_lock(&p->children_lock);
	if (atomic_load(&p->c.h->owner) == word && p->child[slot].alive) {
		partition_log("the owner in slot %u has stood still for %" PRIu64 " ms, at turn %" PRIu64
			      ": killed (`run --watchdog 0` leaves it to a debugger)", slot,
			      p->o.watchdog_ns / 1000000, at.seq);
		if (at.seq)
			faults_note(&p->c, &at);
		p->child[slot].stood_still = true;
		spawn_kill_stamped(p, slot);
	}
	pthread_mutex_unlock(&p->children_lock);
}

int watchdog_wait_ms(const struct partition *p)
{
	return p->o.watchdog_ns ? (int)(part_ns(p) / 1000000) : -1;
}

void watchdog_look(struct partition *p)
{
	uint64_t word = atomic_load(&p->c.h->owner), now = mono_now_ns(), beat;

	if (p->o.watchdog_ns == 0 || now < p->watch.next_ns)
		return;
	p->watch.next_ns = now + part_ns(p);
	if (OWNER_STATE(word) != OWNER_OWNED || OWNER_SLOT(word) >= LIMIT_PROCS) {
		p->watch.knocks = 0;
		return;
	}
	beat = atomic_load(&p->c.proc[OWNER_SLOT(word)].heartbeat_ns);
	if (word != p->watch.word || beat != p->watch.beat) {
		p->watch.word = word;
		p->watch.beat = beat;
		p->watch.knocks = 0;
	} else if (p->watch.knocks < WATCHDOG_LOOKS) {
		p->watch.knocks++;
		signal_eventfd(p->kick_fd);
	} else {
		p->watch.knocks = 0;
		kill_owner(p, word);
	}
}
