/* devices/uring.h - the lane's io_uring: made by the partition, inherited, and
 * kept by the next owner with all that is in flight (DESIGN §4, disk request).
 *
 * Only the owner's lane thread calls this. user_data of every request is
 * generation << 32 | slot; slot = index of the scsi machine. A slot in custody
 * says PLACED(generation, SQ position) before the shared tail moves, and is
 * emptied when its completion was taken. Files are the ring's own: the partition
 * registers each disk under the number of its row, so that no paravisor holds a
 * disk, and one that comes later is there for those that run already. */
#ifndef DEVICES_URING_H
#define DEVICES_URING_H

#include "engine/custody.h"

#include <stdbool.h>
#include <sys/uio.h>

/* One request, in this process's addresses. */
struct uring_request {
	uint32_t slot, generation;
	uint16_t row;             /* of custody's table: index among the ring's registered files */
	uint16_t op;              /* enum disk_op */
	bool fua;                 /* DISK_WRITE: durable before it completes */
	bool block_device;        /* DISK_ZERO: see uring_place() */
	uint64_t offset, bytes;   /* bytes: DISK_UNMAP, DISK_ZERO */
	const struct iovec *iov;  /* DISK_READ, DISK_WRITE; must live until uring_enter() */
	unsigned n_iov;
};

struct uring {
	struct io_uring ring;
	struct wire_disk_table *disk;
	struct wire_stats *stats;
	uint32_t epoch;
	bool mapped;
};

/* Maps the ring that custody's row "uring.0" names. 0 or a negative errno. */
int uring_map(struct uring *u, const struct custody *c);
void uring_unmap(struct uring *u);

/* First act of a new owner, before any uring_enter(): the queue starts where the
 * kernel stands, and every request that the kernel did not take from it is
 * placed anew. For each such slot @again is called: it places the request
 * (uring_place(), without uring_enter()) when its machine still waits for that
 * generation, and returns true; false empties the slot. @taken: position of the
 * completion queue up to which completions are in the log. */
typedef bool uring_again(void *user, uint32_t slot, uint32_t generation);
void uring_take_over(struct uring *u, uint32_t epoch, uint64_t taken, uring_again *again,
		     void *user);

/* Whether @slot holds the submission of @generation, not completed yet. */
bool uring_placed(const struct uring *u, uint32_t slot, uint32_t generation);

/* Writes one SQE behind the others; the kernel sees it at uring_enter(). 0, or
 * -EBUSY when the queue is full (enter, then try again). Zeroing is
 * FALLOC_FL_ZERO_RANGE on a block device, which falls back to writing, and a
 * punched hole in a file, which every file system that can punch reads as
 * zeros; unmapping is a punched hole. */
int uring_place(struct uring *u, const struct uring_request *r);

/* Hands all placed SQEs to the kernel. 0: it took all; -EAGAIN: not yet, call
 * again later; else a negative errno. */
int uring_enter(struct uring *u);
unsigned uring_waiting(const struct uring *u); /* placed and not yet with the kernel */

/* Completions, by free-running position. uring_peek: false when there is none
 * at @position. */
struct uring_completion {
	uint32_t slot, generation;
	int32_t result;
};
bool uring_peek(const struct uring *u, uint64_t position, struct uring_completion *ret);
bool uring_has(const struct uring *u, uint64_t position);
/* All before @position are in the log: the kernel may reuse their places. Their
 * slots are emptied. */
void uring_taken(struct uring *u, uint64_t position);
/* Empties @slot if it holds @generation. */
void uring_release(struct uring *u, uint32_t slot, uint32_t generation);

/* Slots placed by @epoch and not completed. */
unsigned uring_requests_of(const struct uring *u, uint32_t epoch);

#endif
