/* Declared state: the committed copy of the page, brought into force.
 *
 * The owner writes the copy that is not committed, then the commit word. A
 * copy is believed only if the word is the same after it was taken. Doing it
 * again changes nothing: only rows that differ touch the machine. */
#include "engine/partition/partition.h"

#include <string.h>

enum { SINT_VMBUS = 2, VECTOR_MIN = 16 };

#define SINT_MASKED (UINT64_C(1) << 16)

/* The newest committed copy; false: in force already, or none yet. */
static bool take(const struct partition *p, struct wire_declared_copy *ret)
{
	const struct wire_declared *d = p->c.declared;

	for (;;) {
		uint64_t word = atomic_load_explicit(&d->commit, memory_order_acquire);

		if (word == 0 || word >> 1 == atomic_load(&d->in_force))
			return false;
		memcpy(ret, &d->copy[word & 1], sizeof(*ret));
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&d->commit, memory_order_relaxed) == word) {
			ret->generation = word >> 1;
			return true;
		}
	}
}

static uint8_t vector_of(const struct wire_declared_vp *d)
{
	uint64_t sint = d->sint[SINT_VMBUS];

	if (!(d->scontrol & 1) || (sint & SINT_MASKED) || (uint8_t)sint < VECTOR_MIN)
		return 0;
	return (uint8_t)sint;
}

/* All routes at once: a change waits for a grace period (protocol.md I.4). */
static void reconcile_vectors(struct partition *p, const struct wire_declared_copy *want)
{
	uint8_t vector[LIMIT_VPS] = { 0 };
	bool differs = false;
	int error;

	for (uint32_t i = 0; i < p->o.vps; i++) {
		vector[i] = vector_of(&want->vp[i]);
		differs |= vector[i] != vector_of(&p->declared.vp[i]);
	}
	if (!differs)
		return;
	error = p->backend->set_vectors(p, vector);
	if (error)
		partition_log("interrupt routes: %s", strerror(-error));
}

/* Rows are released before any is claimed: a connection may move to another. */
static void reconcile_doors(struct partition *p, const struct wire_declared_copy *want)
{
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < LIMIT_CHANNELS; i++) {
			uint32_t *now = &p->declared.door[i];
			uint32_t after = pass ? want->door[i] : 0;
			int error;

			if (*now == want->door[i] || *now == after)
				continue;
			error = p->backend->set_door(p, i, *now, after);
			if (error)
				partition_log("doorbell %u: %s", i, strerror(-error));
			else
				*now = after;
		}
	}
}

void declared_reconcile(struct partition *p)
{
	struct wire_declared_copy want;

	if (!take(p, &want))
		return;
	reconcile_vectors(p, &want);
	reconcile_doors(p, &want);
	for (uint32_t i = 0; i < p->o.vps; i++) {
		p->declared.vp[i] = want.vp[i];
		synic_declare(p, i, &want.vp[i]);
	}
	p->declared.generation = want.generation;
	atomic_store_explicit(&p->c.declared->in_force, want.generation, memory_order_release);
	signal_eventfd(p->kick_fd);
}
