/* engine/owner.h - who may write: a paravisor's side of the ownership protocol.
 *
 * Every thread that writes custody or guest memory or submits I/O holds a
 * robust process-shared mutex of its own (struct wire_proc.thread). The kernel
 * hands a dead thread's mutex on with EOWNERDEAD: that is the fence. */
#ifndef ENGINE_OWNER_H
#define ENGINE_OWNER_H

#include "engine/custody.h"

/* Locks the mutex of thread @thread of process slot @slot for the calling
 * thread. 0, or -errno (-ETIMEDOUT). EOWNERDEAD is made consistent: 0. */
int owner_lock(struct custody *c, unsigned slot, unsigned thread, uint64_t timeout_ns);
void owner_unlock(struct custody *c, unsigned slot, unsigned thread);

/* First owner ever: NONE -> OWNED(1). 0, or -EBUSY. */
int owner_first(struct custody *c, unsigned slot);

/* The named taker: holds its own mutex already; locks, in ascending order, all
 * mutexes of every slot that was owner, so that no thread of a dead epoch can
 * still write; then TAKING(E, slot) -> OWNED(E+1, slot). 0, -EPERM: not named
 * (any more), -ETIMEDOUT: a thread of an old epoch still lives. */
int owner_take(struct custody *c, unsigned slot, uint64_t timeout_ns, uint32_t *ret_epoch);

/* Planned, old side: OWNED -> FLIPPING. The caller has stopped its lanes and
 * stored the flip_* words; unlocks thread 0. 0, or -EPERM. */
int owner_offer(struct custody *c, unsigned slot, uint32_t epoch, unsigned successor);
/* Waits for the successor. 0: it has taken over. -ETIMEDOUT: it did not in
 * time, is dead, or gave up; the flip was aborted, the old one owns again and
 * holds its mutex. */
int owner_await(struct custody *c, unsigned slot, uint32_t epoch, uint64_t timeout_ns);

/* Planned, successor's side: passes through the old one's mutexes, then
 * FLIPPING(E) -> OWNED(E+1, slot). 0, -EPERM, or -ETIMEDOUT. */
int owner_accept(struct custody *c, unsigned slot, uint64_t timeout_ns, uint32_t *ret_epoch);

#endif
