/* Processes: a number, fibers, descriptors, memory.
 *
 * What a process allocates hangs on it, so that a SIGKILL gives it back as the
 * kernel would. Robust mutexes need no list: who finds one held by a process
 * that has ended is told so (sync.c). */
#include "sim/kernel.h"

#include "engine/fact.h"
#include "sim/run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST_PID = 100 };

struct process *process_new(enum process_role role)
{
	struct process *p = __real_calloc(1, sizeof(*p));

	fact(p && kernel.n_processes < SIM_PROCESSES);
	p->pid = FIRST_PID + kernel.n_processes;
	p->alive = true;
	p->role = role;
	memset(p->fd, 0xff, sizeof(p->fd));
	kernel.process[kernel.n_processes++] = p;
	return p;
}

struct process *process_by_pid(int pid)
{
	int n = pid - FIRST_PID;

	return n >= 0 && n < kernel.n_processes ? kernel.process[n] : NULL;
}

static void drop_fibers(struct process *p)
{
	for (unsigned i = 0; i < SIM_FIBERS; i++) {
		struct fiber *f = &kernel.fiber[i];

		if (f->state == FIBER_FREE || f->process != p)
			continue;
		f->state = FIBER_FREE;
		f->ended = true;
		kernel.runnable &= ~(UINT64_C(1) << f->id);
		kernel.blocked &= ~(UINT64_C(1) << f->id);
		kernel.held &= ~(UINT64_C(1) << f->id);
	}
	p->fibers = 0;
}

void process_end(struct process *p, int status, int signal)
{
	bool own = process_current() == p;

	if (!p->alive)
		return;
	run_process_ends(p, status, signal);
	p->alive = false;
	p->status = status;
	p->signal = signal;
	p->world = NULL;
	p->lane = NULL;
	drop_fibers(p);
	descriptors_close(p);
	mutex_orphaned();
	fiber_wake_set(p->watchers);
	p->watchers = 0;
	uring_submitter_died(p->pid);
	heap_drop(p);
	if (own)
		fiber_exit();
}

/* ---- memory ---------------------------------------------------------------------- */

enum { HEAP_MAGIC = 0x48454150, HEAP_CLASSES = 48 };

struct heap_block {
	struct heap_block *next, **back;
	uint64_t bytes;
	uint32_t magic, huge;
};
_Static_assert(sizeof(struct heap_block) % 16 == 0, "what follows is aligned");

/* Large blocks of processes that ended are used again: a taker needs the same
 * sizes as the one before, and fresh pages cost more than all it does. Of huge
 * ones little is touched: they are the kernel's zeros each time. */
static struct { uint64_t bytes; struct heap_block *first; } kept[HEAP_CLASSES];
enum { KEPT_FROM = 64 << 10, HUGE_FROM = 1 << 20 };

static struct heap_block *kept_take(uint64_t bytes)
{
	for (unsigned i = 0; i < HEAP_CLASSES; i++) {
		struct heap_block *b = kept[i].first;

		if (kept[i].bytes != bytes || !b)
			continue;
		kept[i].first = b->next;
		return b;
	}
	return NULL;
}

static bool kept_give(struct heap_block *b)
{
	if (b->bytes < KEPT_FROM)
		return false;
	for (unsigned i = 0; i < HEAP_CLASSES; i++) {
		if (kept[i].bytes && kept[i].bytes != b->bytes)
			continue;
		kept[i].bytes = b->bytes;
		b->next = kept[i].first;
		kept[i].first = b;
		return true;
	}
	return false;
}

static struct heap_block *huge_get(size_t bytes)
{
	void *at = __real_mmap64(NULL, sizeof(struct heap_block) + bytes, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void *heap_get(size_t bytes, bool zero)
{
	struct process *p = process_current();
	bool huge = zero && bytes >= HUGE_FROM;
	struct heap_block *b = huge ? huge_get(bytes) : kept_take(bytes);
	bool fresh = huge || !b;

	if (!b && !huge)
		b = zero ? __real_calloc(1, sizeof(*b) + bytes) : __real_malloc(sizeof(*b) + bytes);
	if (!b)
		return NULL;
	*b = (struct heap_block){ .bytes = bytes, .magic = HEAP_MAGIC, .huge = huge,
				  .next = p->heap, .back = &p->heap };
	if (p->heap)
		p->heap->back = &b->next;
	p->heap = b;
	if (zero && !fresh)
		memset(b + 1, 0, bytes);
	return b + 1;
}

static void heap_put(struct heap_block *b)
{
	*b->back = b->next;
	if (b->next)
		b->next->back = b->back;
	b->magic = 0;
	if (b->huge)
		__real_munmap(b, sizeof(*b) + b->bytes);
	else if (!kept_give(b))
		__real_free(b);
}

void heap_drop(struct process *p)
{
	while (p->heap)
		heap_put(p->heap);
}

/* What libc gave has no header of ours before it. */
__attribute__((no_sanitize("address")))
static struct heap_block *block_of(void *at)
{
	struct heap_block *b = (struct heap_block *)at - 1;

	return b->magic == HEAP_MAGIC ? b : NULL;
}

void *__wrap_malloc(size_t bytes)
{
	if (!process_current())
		return __real_malloc(bytes);
	return run_allocation_fails() ? NULL : heap_get(bytes, false);
}

void *__wrap_calloc(size_t n, size_t each)
{
	if (!process_current())
		return __real_calloc(n, each);
	return run_allocation_fails() ? NULL : heap_get(n * each, true);
}

void __wrap_free(void *at)
{
	if (!at)
		return;
	if (block_of(at))
		heap_put(block_of(at));
	else
		__real_free(at);
}

void *__wrap_realloc(void *at, size_t bytes)
{
	struct heap_block *b = at ? block_of(at) : NULL;
	void *to;

	if (!process_current() || (at && !b))
		return __real_realloc(at, bytes);
	to = __wrap_malloc(bytes);
	if (to && b) {
		memcpy(to, at, b->bytes < bytes ? b->bytes : bytes);
		heap_put(b);
	}
	return to;
}

char *__wrap_strdup(const char *text)
{
	size_t n = strlen(text) + 1;
	char *to = __wrap_malloc(n);

	return to ? memcpy(to, text, n) : NULL;
}
