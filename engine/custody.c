/* Custody: one memfd, laid out by a table that stands in its header.
 *
 * The maker writes the table; whoever attaches believes the table only after
 * it has checked it: every area inside the file, aligned, large enough for the
 * structures this build was compiled with, and the capacities equal. Pointers
 * are private to each process; nothing in the shared memory is one. */
#include "engine/custody.h"

#include "engine/fact.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const uint64_t AREA_BYTES[AREAS] = {
	[AREA_HEADER] = sizeof(struct wire_header),
	[AREA_DECLARED] = sizeof(struct wire_declared),
	[AREA_MAILBOXES] = sizeof(struct wire_mailbox) * LIMIT_VPS,
	[AREA_POSTED] = sizeof(struct wire_posted_queue),
	[AREA_MESSAGES] = sizeof(struct wire_message_queue) * LIMIT_VPS,
	[AREA_COMMANDS] = sizeof(struct wire_command_queue),
	[AREA_REPLIES] = sizeof(struct wire_reply_queue),
	[AREA_INBOX] = sizeof(struct wire_inbox),
	[AREA_CONSOLE_OUT] = sizeof(struct wire_console),
	[AREA_CONSOLE_IN] = sizeof(struct wire_console),
	[AREA_LANE_WORDS] = sizeof(struct log_words) * LIMIT_LANES,
	[AREA_LANE_RING] = LIMIT_LOG_BYTES,
	[AREA_SLOTS] = sizeof(struct wire_slot_head) * 2,
	[AREA_SLOT_A] = LIMIT_SLOT_BYTES,
	[AREA_SLOT_B] = LIMIT_SLOT_BYTES,
	[AREA_DISK] = sizeof(struct wire_disk_table),
	[AREA_RINGS] = sizeof(struct wire_ring_pos) * LIMIT_CHANNELS,
	[AREA_PROCS] = sizeof(struct wire_proc) * LIMIT_PROCS,
	[AREA_STATS] = sizeof(struct wire_stats),
};

_Static_assert((int)AREAS <= 32, "the header's table");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words are shared by processes");

static void *area(const struct custody *c, enum wire_area a)
{
	return c->base + c->h->area[a].offset;
}

static void find_areas(struct custody *c)
{
	c->declared = area(c, AREA_DECLARED);
	c->mailbox = area(c, AREA_MAILBOXES);
	c->posted = area(c, AREA_POSTED);
	c->message = area(c, AREA_MESSAGES);
	c->command = area(c, AREA_COMMANDS);
	c->reply = area(c, AREA_REPLIES);
	c->inbox = area(c, AREA_INBOX);
	c->console_out = area(c, AREA_CONSOLE_OUT);
	c->console_in = area(c, AREA_CONSOLE_IN);
	c->lane_words = area(c, AREA_LANE_WORDS);
	c->lane_ring = area(c, AREA_LANE_RING);
	c->slot_head = area(c, AREA_SLOTS);
	c->slot[0] = area(c, AREA_SLOT_A);
	c->slot[1] = area(c, AREA_SLOT_B);
	c->disk = area(c, AREA_DISK);
	c->ring_pos = area(c, AREA_RINGS);
	c->proc = area(c, AREA_PROCS);
	c->stats = area(c, AREA_STATS);
}

static int map(struct custody *c, int prot)
{
	void *base = mmap(NULL, c->bytes, prot, MAP_SHARED, c->fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	c->base = base;
	c->h = base;
	return 0;
}

static uint64_t lay_out(uint64_t offset[AREAS])
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < AREAS; i++) {
		offset[i] = end;
		end = ALIGN_UP(end + AREA_BYTES[i], (uint64_t)WIRE_PAGE);
	}
	return end;
}

int custody_mutex_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;
	int error = pthread_mutexattr_init(&attr);

	if (error)
		return -error;
	error = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (!error)
		error = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (!error)
		error = pthread_mutex_init(mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return -error;
}

static int fill(struct custody *c, const uint64_t offset[AREAS])
{
	struct wire_header *h = c->h;

	for (uint32_t i = 0; i < AREAS; i++) {
		h->area[i].offset = offset[i];
		h->area[i].bytes = AREA_BYTES[i];
	}
	h->bytes = c->bytes;
	h->lanes = 1;
	h->channels = LIMIT_CHANNELS;
	h->requests = LIMIT_REQUESTS;
	for (uint32_t i = 0; i < LIMIT_FDS; i++)
		h->fds[i].fd = -1;
	find_areas(c);
	log_words_init(&c->lane_words[0], LIMIT_LOG_BYTES);
	for (uint32_t p = 0; p < LIMIT_PROCS; p++) {
		for (uint32_t t = 0; t < LIMIT_THREADS; t++) {
			int error = custody_mutex_init(&c->proc[p].thread[t]);

			if (error)
				return error;
		}
	}
	h->version = WIRE_VERSION;
	h->magic = WIRE_MAGIC;
	return 0;
}

int custody_create(struct custody *c)
{
	uint64_t offset[AREAS];
	int error;

	*c = (struct custody){ .bytes = lay_out(offset) };
	c->fd = memfd_create("holdfast-custody", MFD_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	error = ftruncate(c->fd, (off_t)c->bytes) ? -errno : map(c, PROT_READ | PROT_WRITE);
	if (!error)
		error = fill(c, offset);
	if (error) {
		custody_detach(c);
		close(c->fd);
		c->fd = -1;
	}
	return error;
}

static bool area_holds(const struct custody *c, uint32_t i)
{
	uint64_t offset = c->h->area[i].offset, bytes = c->h->area[i].bytes;

	return offset % WIRE_PAGE == 0 && offset <= c->bytes && bytes <= c->bytes - offset &&
	       bytes >= AREA_BYTES[i];
}

static int check(const struct custody *c)
{
	const struct wire_header *h = c->h;

	if (h->magic != WIRE_MAGIC)
		return CUSTODY_E_MAGIC;
	if (h->version != WIRE_VERSION)
		return CUSTODY_E_VERSION;
	if (h->bytes != c->bytes || h->channels != LIMIT_CHANNELS ||
	    h->requests != LIMIT_REQUESTS || h->lanes == 0 || h->lanes > LIMIT_LANES ||
	    h->vps > LIMIT_VPS || h->n_fds > LIMIT_FDS)
		return CUSTODY_E_CAPACITY;
	for (uint32_t i = 0; i < AREAS; i++) {
		if (!area_holds(c, i))
			return CUSTODY_E_CAPACITY;
	}
	return 0;
}

int custody_attach(struct custody *c, int fd, bool writable)
{
	struct stat st;
	int error;

	*c = (struct custody){ .fd = fd };
	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < (off_t)sizeof(struct wire_header))
		return CUSTODY_E_MAGIC;
	c->bytes = (uint64_t)st.st_size;
	error = map(c, writable ? PROT_READ | PROT_WRITE : PROT_READ);
	if (error)
		return error;
	error = check(c);
	if (error) {
		custody_detach(c);
		return error;
	}
	find_areas(c);
	return 0;
}

void custody_detach(struct custody *c)
{
	int fd = c->fd;

	if (c->base)
		munmap(c->base, c->bytes);
	*c = (struct custody){ .fd = fd };
}

int custody_fd_add(struct custody *c, const char *name, int fd)
{
	uint32_t row = 0;

	while (row < c->h->n_fds && c->h->fds[row].fd >= 0)
		row++;
	if (row == LIMIT_FDS)
		return -ENOSPC;
	snprintf(c->h->fds[row].name, sizeof(c->h->fds[row].name), "%s", name);
	c->h->fds[row].fd = fd;
	if (row == c->h->n_fds)
		c->h->n_fds = row + 1;
	return (int)row;
}

int custody_fd_row(const struct custody *c, const char *name)
{
	for (uint32_t i = 0; i < c->h->n_fds; i++) {
		const struct wire_fd *f = &c->h->fds[i];

		if (f->fd >= 0 && strncmp(f->name, name, sizeof(f->name)) == 0)
			return (int)i;
	}
	return -ENOENT;
}

int custody_fd(const struct custody *c, const char *name)
{
	int row = custody_fd_row(c, name);

	return row < 0 ? row : WIRE_FD_BASE + row;
}

uint64_t mono_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t custody_now_ns(const struct custody *c)
{
	return mono_now_ns() - c->h->mono_base_ns;
}

int futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t timeout_ns)
{
	struct timespec t = { .tv_sec = (time_t)(timeout_ns / 1000000000u),
			      .tv_nsec = (long)(timeout_ns % 1000000000u) };

	if (syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ns == UINT64_MAX ? NULL : &t, NULL,
		    0) < 0)
		return -errno;
	return 0;
}

void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool custody_owner_move(struct custody *c, uint64_t from, uint64_t to)
{
	if (!atomic_compare_exchange_strong(&c->h->owner, &from, to))
		return false;
	atomic_fetch_add(&c->h->owner_futex, 1);
	futex_wake(&c->h->owner_futex);
	return true;
}

void custody_owner_wait(struct custody *c, uint64_t seen, uint64_t timeout_ns)
{
	uint64_t start = mono_now_ns();

	for (;;) {
		uint32_t ticket = atomic_load(&c->h->owner_futex);
		uint64_t passed = mono_now_ns() - start;

		if (atomic_load(&c->h->owner) != seen || passed >= timeout_ns)
			return;
		futex_wait(&c->h->owner_futex, ticket,
			   timeout_ns == UINT64_MAX ? UINT64_MAX : timeout_ns - passed);
	}
}
