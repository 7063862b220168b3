/* Which actions a turn takes is found by running it once: replay is exact, so
 * the second time it takes the same. */
#include "servicing/trap.h"

#include "servicing/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NOP = 0x90, INT3 = 0xCC, ACTIONS = 64 };
static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

struct actions {
	uint8_t *entry[ACTIONS];
	unsigned n, unpatchable;
};

static void watch(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		  const struct sm_row *row)
{
	trace_add(user, cx, from, to, row);
}

/* The no-operation of a function, behind the landing mark of indirect calls. */
static uint8_t *entry_of(sm_action *act)
{
	uint8_t *p = (uint8_t *)(uintptr_t)act;

	if (memcmp(p, endbr64, sizeof(endbr64)) == 0)
		p += sizeof(endbr64);
	return *p == NOP ? p : NULL;
}

static void add(struct actions *a, sm_action *act)
{
	uint8_t *entry;

	if (!act || act == sm_nothing)
		return;
	entry = entry_of(act);
	if (!entry) {
		a->unpatchable++;
		return;
	}
	for (unsigned i = 0; i < a->n; i++) {
		if (a->entry[i] == entry)
			return;
	}
	if (a->n < ACTIONS)
		a->entry[a->n++] = entry;
}

static void collect(const struct trace *t, struct actions *a)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct trace_step *s = &t->step[i];
		const struct sm_state *state = sm_state_find(s->desc, s->from_state);

		if (s->row)
			add(a, s->row->act);
		else if (state && state->otherwise == SM_REJECT)
			add(a, s->desc->reject);
	}
}

static int patch(const struct actions *a, uint8_t byte)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < a->n; i++) {
		void *start = (void *)((uintptr_t)a->entry[i] & ~(page - 1));

		if (mprotect(start, page, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
			return -errno;
		*(volatile uint8_t *)a->entry[i] = byte;
		if (mprotect(start, page, PROT_READ | PROT_EXEC) < 0)
			return -errno;
	}
	return 0;
}

int trap_event(struct tape *t, uint64_t place)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	struct actions a = { .n = 0 };
	int r;

	if (!trace)
		return -ENOMEM;
	tape_go(t, place);
	world_watch_set(tape_world(t), watch, trace);
	tape_step(t);
	world_watch_set(tape_world(t), NULL, NULL);
	collect(trace, &a);
	if (a.unpatchable)
		fprintf(stderr, "holdfast: %u actions were built without an entry for traps; set "
			"a breakpoint on them in the debugger\n", a.unpatchable);
	trace_print(trace, stdout);
	fflush(stdout);
	free(trace);
	tape_go(t, place);
	r = patch(&a, INT3);
	if (r < 0) {
		fprintf(stderr, "holdfast: the program's text cannot be changed (%s); set a "
			"breakpoint on the action in the debugger\n", strerror(-r));
		return r;
	}
	tape_step(t);
	r = patch(&a, NOP);
	return r < 0 ? r : (int)a.n;
}
