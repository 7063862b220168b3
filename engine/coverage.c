/* Counting of answers: see coverage.h. One file holds COVERAGE_TABLES places; a
 * set of tables takes the place that has its hash, or the first empty one. A
 * process uses few sets (a test one after another), so the last one is kept. */
#include "engine/coverage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

static struct coverage *file;
static _Thread_local struct coverage *now;
static _Thread_local const struct registry *of;

static void __attribute__((constructor)) coverage_open(void)
{
	const size_t bytes = COVERAGE_TABLES * sizeof(struct coverage);
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

uint64_t coverage_tables(const struct registry *r)
{
	uint64_t h = 1;

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = r->machines[k];

		if (!d)
			continue;
		h = hash_text(h + k, d->name);
		for (unsigned i = 0; i < d->n_states; i++)
			h = hash_text(h, d->states[i].name);
		for (unsigned i = 0; i < d->n_events; i++)
			h = hash_text(h, d->events[i].name);
		for (unsigned i = 0; i < d->n_rows; i++) {
			h = hash_text(h + d->rows[i].from * 64u + d->rows[i].on,
				      d->rows[i].guard_name);
			h = hash_text(h + d->rows[i].to, d->rows[i].act_name);
		}
	}
	return h ? h : 1;
}

void coverage_use(const struct registry *r)
{
	uint64_t tables;

	now = NULL;
	of = r;
	if (!file)
		return;
	tables = coverage_tables(r);
	for (unsigned i = 0; i < COVERAGE_TABLES && !now; i++) {
		uint64_t found = 0;

		if (atomic_compare_exchange_strong(&file[i].tables, &found, tables) ||
		    found == tables)
			now = &file[i];
	}
}

void coverage_step(const struct registry *r, const struct sm_cx *cx, unsigned state,
		   const struct sm_row *row)
{
	uint16_t kind = cx->desc->kind;
	size_t n;

	if (r != of)
		coverage_use(r);
	if (!now)
		return;
	if (!row) {
		n = (size_t)(cx->event - cx->desc->events);
		atomic_fetch_add_explicit(&now->otherwise[kind][state][n], 1,
					  memory_order_relaxed);
		return;
	}
	n = (size_t)(row - cx->desc->rows);
	if (n < COVERAGE_ROWS)
		atomic_fetch_add_explicit(&now->row[kind][n], 1, memory_order_relaxed);
}
