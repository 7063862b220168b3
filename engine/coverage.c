/* Counting of answers: see coverage.h. One file holds COVERAGE_MACHINES places; a
 * table takes the place that has its hash, or the first empty one. */
#include "engine/coverage.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

static struct coverage *file;

/* ---- lines --------------------------------------------------------------------- */

#if HOLDFAST_COVERAGE_LINES
/* libgcov's: what was counted is added to the files, and counted from zero. */
void __gcov_dump(void);
void __gcov_reset(void);

static void *dump_lines(void *unused)
{
	for (;;) {
		sleep(1);
		__gcov_dump();
		__gcov_reset();
	}
	return unused;
}

/* Owners are killed and the partition leaves without a word: gcc's counters are
 * written while they run. Not in tests, which have an end, nor in the simulation,
 * whose threads are its own. */
static void __attribute__((constructor)) lines_open(void)
{
	sigset_t all, before;
	pthread_t thread;

	if (!getenv("HOLDFAST_COVERAGE_LINES"))
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	if (pthread_create(&thread, NULL, dump_lines, NULL) == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
#endif

/* ---- answers ------------------------------------------------------------------- */

static void __attribute__((constructor)) coverage_open(void)
{
	const size_t bytes = COVERAGE_MACHINES * sizeof(struct coverage);
	const char *path = getenv("HOLDFAST_COVERAGE");
	void *p;
	int fd;

	if (!path)
		return;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
		perror(path);
		exit(1);
	}
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		perror(path);
		exit(1);
	}
	file = p;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
	return XXH3_64bits_withSeed(text, strlen(text) + 1, h);
}

uint64_t coverage_table(const struct sm_desc *d)
{
	uint64_t h = hash_text(1, d->name);

	for (unsigned i = 0; i < d->n_states; i++)
		h = hash_text(h, d->states[i].name);
	for (unsigned i = 0; i < d->n_events; i++)
		h = hash_text(h, d->events[i].name);
	for (unsigned i = 0; i < d->n_rows; i++) {
		h = hash_text(h + d->rows[i].from * 64u + d->rows[i].on, d->rows[i].guard_name);
		h = hash_text(h + d->rows[i].to, d->rows[i].act_name);
	}
	return h ? h : 1;
}

static struct coverage *find(const struct sm_desc *d)
{
	uint64_t table = coverage_table(d);

	for (unsigned i = 0; i < COVERAGE_MACHINES; i++) {
		uint64_t found = 0;

		if (atomic_compare_exchange_strong(&file[i].table, &found, table) || found == table)
			return &file[i];
	}
	return NULL;
}

void coverage_step(const struct sm_cx *cx, unsigned state, const struct sm_row *row)
{
	static _Thread_local struct {
		const struct sm_desc *desc;
		struct coverage *counters;
	} of[LIMIT_KINDS];
	const struct sm_desc *d = cx->desc;
	struct coverage *c;
	size_t n;

	if (!file)
		return;
	if (of[d->kind].desc != d) {
		of[d->kind].desc = d;
		of[d->kind].counters = find(d);
	}
	c = of[d->kind].counters;
	if (!c)
		return;
	n = row ? (size_t)(row - d->rows) : (size_t)(cx->event - d->events);
	if (!row)
		atomic_fetch_add_explicit(&c->otherwise[state][n], 1, memory_order_relaxed);
	else if (n < COVERAGE_ROWS)
		atomic_fetch_add_explicit(&c->row[n], 1, memory_order_relaxed);
}
