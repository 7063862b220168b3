/* engine/custody.h - finding one's way in custody.
 *
 * struct custody is private memory of each process: pointers into the shared
 * mapping. Made by custody_create() (partition) or custody_attach(). */
#ifndef ENGINE_CUSTODY_H
#define ENGINE_CUSTODY_H

#include "engine/partition/wire.h"

#include <stdbool.h>

struct custody {
	int fd;
	uint8_t *base;
	uint64_t bytes;
	struct wire_header *h;
	struct wire_declared *declared;
	struct wire_mailbox *mailbox;
	struct wire_posted_queue *posted;
	struct wire_message_queue *message;
	struct wire_command_queue *command;
	struct wire_reply_queue *reply;
	struct wire_inbox *inbox;
	struct wire_console *console_out, *console_in;
	struct log_words *lane_words;
	uint8_t *lane_ring;
	struct wire_slot_head *slot_head;
	uint8_t *slot[2];
	struct wire_disk_table *disk;
	struct wire_ring_pos *ring_pos;
	struct wire_proc *proc;
	struct wire_stats *stats;
};

/* Makes and maps a new custody memfd; robust mutexes initialised, words zero,
 * log empty. The caller fills the header's figures and descriptor table.
 * Returns 0 or a negative errno. @c->fd is owned by @c. */
int custody_create(struct custody *c);

/* Maps @fd. @writable false: PROT_READ (inspection). The descriptor is not
 * consumed. Returns 0, -errno, or CUSTODY_E_*. */
enum { CUSTODY_E_MAGIC = 1, CUSTODY_E_VERSION = 2, CUSTODY_E_CAPACITY = 3 };
int custody_attach(struct custody *c, int fd, bool writable);
void custody_detach(struct custody *c);

/* Makes @mutex robust and process-shared, unlocked; 0 or a negative errno. For
 * the slot of a process that is about to be spawned. Partition only. */
int custody_mutex_init(pthread_mutex_t *mutex);

/* Adds a row; returns its index or -ENOSPC. Partition only. */
int custody_fd_add(struct custody *c, const char *name, int fd);
/* Row of @name, or -ENOENT. */
int custody_fd_row(const struct custody *c, const char *name);
/* Descriptor of @name in a spawned process (WIRE_FD_BASE + row), or -ENOENT. */
int custody_fd(const struct custody *c, const char *name);

/* Partition's clock, ns: CLOCK_MONOTONIC less the base. The same in all processes. */
uint64_t custody_now_ns(const struct custody *c);
uint64_t mono_now_ns(void);

/* Moves the ownership word; true when it was @from. Wakes who waits for it. */
bool custody_owner_move(struct custody *c, uint64_t from, uint64_t to);
/* Waits until the word is not @seen, or @timeout_ns has passed. */
void custody_owner_wait(struct custody *c, uint64_t seen, uint64_t timeout_ns);

/* futex on a shared word; 0, or -errno (-EAGAIN, -ETIMEDOUT, -EINTR). */
int futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t timeout_ns);
void futex_wake(_Atomic uint32_t *word);

#endif
