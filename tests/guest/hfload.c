/*
 * hfload: the workload that runs in the guest while the paravisor is replaced and killed.
 *
 * Each worker is a thread with one O_DIRECT request in flight in a region of its own, so WORKERS requests are in
 * flight at any time. Every block is stamped (stamp.h) and every read is checked against what the worker wrote last.
 * Half of the requests go to a few hot blocks, so that a write that is lost or done again late is soon found.
 *
 * The phases: fill every block; load until told to stop; read everything back; write the index; flush. One line
 * "HFLOAD {json}" tells the result. If nothing completes for --stall seconds, that line is printed at once with
 * "stalled":true and the program ends as far as it can (threads that wait for the disk cannot be ended).
 *
 * Exit status: 0 all good; 1 errors, mismatches or a stall; 2 wrong usage or the device could not be used.
 */
#define _GNU_SOURCE
#include "stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	WORKERS_MAX = 64,
	SPAN_MAX = 256,
	HOT_BLOCKS = 16,
	HISTOGRAM = 28,       /* by powers of two, in microseconds */
	GAPS_KEPT = 64,       /* the longest ones */
	GAP_STEP_MS = 100,    /* and the longest of each such interval */
	GAP_STEPS_MAX = 9000, /* 15 minutes */
	GAP_STEPS_TOLD = 1500,
	FAULTS_TOLD = 8,
};

#define MS UINT64_C(1000000)
#define GAP_TOLD (5 * MS)

enum phase { PHASE_FILL, PHASE_LOAD, PHASE_READ_BACK, PHASE_DONE };

struct options {
	const char *path;
	const char *name;
	const char *stop_file;
	const char *ready_file;
	uint64_t offset;
	uint64_t length;
	uint32_t workers;
	uint32_t block;
	uint32_t read_percent;
	uint32_t span;
	uint64_t stall_ns;
	uint64_t seconds;
	uint64_t status_ns; /* 0: no status lines */
};

struct worker {
	pthread_t thread;
	uint32_t region;
	uint64_t start; /* of the region, in bytes */
	uint32_t *generation;
	uint64_t *buffer;
	uint64_t random;
	uint64_t sequence;
	/* Read by others while it runs: */
	_Atomic uint64_t reads, writes, bytes, io_errors, mismatches, verified;
	_Atomic uint64_t histogram[HISTOGRAM];
	_Atomic uint64_t latency_max;
};

struct gap {
	uint64_t end, length; /* guest uptime and duration, ns */
};

static struct {
	struct options opt;
	int fd;
	uint64_t run;
	uint32_t region_blocks;
	uint32_t index_blocks;
	struct worker worker[WORKERS_MAX];
	pthread_barrier_t filled;
	_Atomic uint32_t phase;
	_Atomic uint32_t ended;
	_Atomic bool stop;
	_Atomic uint64_t last; /* completion */
	_Atomic uint32_t faults_told;
	/* Completion gaps of the load phase. */
	pthread_mutex_t lock;
	struct gap gap[GAPS_KEPT];
	uint32_t gaps;
	uint64_t gap_max;
	uint64_t gaps_over; /* how many were told at all */
	uint64_t load_start, load_end;
	_Atomic uint32_t step_max[GAP_STEPS_MAX]; /* microseconds */
} hf = { .lock = PTHREAD_MUTEX_INITIALIZER };

static volatile sig_atomic_t told_to_stop;

static void on_signal(int number)
{
	(void)number;
	told_to_stop = 1;
}

static _Noreturn void __attribute__((format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("hfload: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) != 0) {
		die("clock %d cannot be read: %s", (int)clock, strerror(errno));
	}
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Both clocks of the kernel; they differ by the time it was suspended. `blur` is how far apart they were read. */
struct clocks {
	uint64_t monotonic, boot, blur;
};

static struct clocks read_clocks(void)
{
	struct clocks c = { .monotonic = now_ns() };
	c.boot = clock_ns(CLOCK_BOOTTIME);
	c.blur = now_ns() - c.monotonic;
	return c;
}

static uint64_t draw(struct worker *w)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return stamp_mix(w->random);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void record_gap(uint64_t end, uint64_t length)
{
	const uint64_t step = (end - hf.load_start) / (GAP_STEP_MS * MS);
	if (step < GAP_STEPS_MAX) {
		const uint64_t us = length / 1000;
		const uint32_t value = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
		uint32_t old = atomic_load_explicit(&hf.step_max[step], memory_order_relaxed);
		while (old < value && !atomic_compare_exchange_weak(&hf.step_max[step], &old, value)) {
		}
	}
	if (length <= GAP_TOLD && length <= hf.gap_max) {
		return; /* gap_max is read without the lock here: a stale value only costs the lock */
	}
	pthread_mutex_lock(&hf.lock);
	if (length > hf.gap_max) {
		hf.gap_max = length;
	}
	if (length > GAP_TOLD) {
		hf.gaps_over++;
		uint32_t at = hf.gaps;
		if (hf.gaps < GAPS_KEPT) {
			hf.gaps++;
		} else {
			at = 0;
			for (uint32_t i = 1; i < GAPS_KEPT; i++) {
				if (hf.gap[i].length < hf.gap[at].length) {
					at = i;
				}
			}
			if (hf.gap[at].length >= length) {
				at = GAPS_KEPT;
			}
		}
		if (at < GAPS_KEPT) {
			hf.gap[at] = (struct gap){ .end = end, .length = length };
		}
	}
	pthread_mutex_unlock(&hf.lock);
}

static void completed(struct worker *w, uint64_t began)
{
	const uint64_t now = now_ns();
	const uint64_t before = atomic_exchange(&hf.last, now);
	if (atomic_load_explicit(&hf.phase, memory_order_relaxed) != PHASE_LOAD) {
		return;
	}
	if (before >= hf.load_start && now > before) {
		record_gap(now, now - before);
	}
	const uint64_t latency = now - began;
	uint64_t us = latency / 1000;
	uint32_t bucket = 0;
	while (us > 1 && bucket < HISTOGRAM - 1) {
		us >>= 1;
		bucket++;
	}
	add(&w->histogram[bucket], 1);
	if (latency > get(&w->latency_max)) {
		atomic_store_explicit(&w->latency_max, latency, memory_order_relaxed);
	}
}

static void tell_fault(const struct worker *w, uint32_t block, const char *what, uint64_t want, uint64_t got)
{
	if (atomic_fetch_add(&hf.faults_told, 1) < FAULTS_TOLD) {
		fprintf(stderr, "HFBAD name=%s region=%u block=%u what=%s want=%" PRIu64 " got=%" PRIu64 " uptime_ms=%" PRIu64 "\n",
			hf.opt.name, w->region, block, what, want, got, now_ns() / MS);
	}
}

static bool transfer(struct worker *w, bool write, uint32_t block, uint32_t count)
{
	const size_t size = (size_t)count * hf.opt.block;
	const off_t at = (off_t)(w->start + (uint64_t)block * hf.opt.block);
	const uint64_t began = now_ns();
	const ssize_t n = write ? pwrite(hf.fd, w->buffer, size, at) : pread(hf.fd, w->buffer, size, at);
	const int error = errno;
	completed(w, began);
	add(write ? &w->writes : &w->reads, 1);
	if (n != (ssize_t)size) {
		add(&w->io_errors, 1);
		tell_fault(w, block, write ? "write-failed" : "read-failed", size, n < 0 ? (uint64_t)error : (uint64_t)n);
		return false;
	}
	add(&w->bytes, size);
	return true;
}

static struct stamp stamp_of(const struct worker *w, uint32_t block)
{
	return (struct stamp){
		.magic = STAMP_MAGIC,
		.run = hf.run,
		.region = w->region,
		.writer = w->region,
		.block = block,
		.generation = w->generation[block],
		.size = hf.opt.block,
		.kind = STAMP_DATA,
	};
}

static uint64_t *block_in_buffer(struct worker *w, uint32_t i)
{
	return w->buffer + (size_t)i * (hf.opt.block / sizeof(uint64_t));
}

static void write_blocks(struct worker *w, uint32_t block, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct stamp s = stamp_of(w, block + i);
		s.generation++;
		s.sequence = ++w->sequence;
		stamp_fill(block_in_buffer(w, i), &s);
	}
	const bool good = transfer(w, true, block, count);
	for (uint32_t i = 0; i < count; i++) {
		/* After a failed write nobody knows what is there: generation 0 is not checked any more. */
		w->generation[block + i] = good ? w->generation[block + i] + 1 : 0;
	}
}

static void read_blocks(struct worker *w, uint32_t block, uint32_t count)
{
	/* So that a read that "completes" without data having come is seen. */
	for (uint32_t i = 0; i < count; i++) {
		block_in_buffer(w, i)[0] = 0;
	}
	if (!transfer(w, false, block, count)) {
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct stamp want = stamp_of(w, block + i);
		struct stamp got;
		if (want.generation == 0) {
			continue;
		}
		const enum stamp_fault fault = stamp_check(block_in_buffer(w, i), &want, &got);
		if (fault == STAMP_GOOD) {
			add(&w->verified, 1);
		} else {
			add(&w->mismatches, 1);
			tell_fault(w, block + i, stamp_fault_name(fault), want.generation, got.generation);
		}
	}
}

static void write_index(struct worker *w)
{
	const uint32_t per_block = stamp_gens_per_index(hf.opt.block);
	for (uint32_t part = 0; part < hf.index_blocks; part++) {
		const uint32_t first = hf.index_blocks + part * per_block;
		const uint32_t left = first < hf.region_blocks ? hf.region_blocks - first : 0;
		const struct stamp_index index = {
			.regions = hf.opt.workers,
			.region_blocks = hf.region_blocks,
			.index_blocks = hf.index_blocks,
			.part = part,
			.first = first,
			.count = left < per_block ? left : per_block,
			.writes = w->sequence,
		};
		struct stamp s = stamp_of(w, part);
		s.kind = STAMP_INDEX;
		s.sequence = ++w->sequence;
		memset(w->buffer, 0, hf.opt.block);
		unsigned char *bytes = (unsigned char *)w->buffer;
		memcpy(bytes + sizeof s, &index, sizeof index);
		memcpy(bytes + sizeof s + sizeof index, w->generation + first, index.count * sizeof(uint32_t));
		stamp_seal(w->buffer, &s);
		(void)transfer(w, true, part, 1);
	}
}

static void each_span(struct worker *w, void (*act)(struct worker *, uint32_t, uint32_t))
{
	for (uint32_t block = hf.index_blocks; block < hf.region_blocks;) {
		const uint32_t left = hf.region_blocks - block;
		const uint32_t count = left < hf.opt.span ? left : hf.opt.span;
		act(w, block, count);
		block += count;
	}
}

static void one_request(struct worker *w)
{
	const uint64_t r = draw(w);
	const uint32_t data = hf.region_blocks - hf.index_blocks;
	const uint32_t reach = (r & 1) != 0 && data > HOT_BLOCKS ? HOT_BLOCKS : data;
	const uint32_t at = (uint32_t)((r >> 8) % reach);
	uint32_t count = (r & 6) != 0 ? 1 : (uint32_t)((r >> 40) % hf.opt.span) + 1;
	if (count > data - at) {
		count = data - at;
	}
	if (draw(w) % 100 < hf.opt.read_percent) {
		read_blocks(w, hf.index_blocks + at, count);
	} else {
		write_blocks(w, hf.index_blocks + at, count);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	each_span(w, write_blocks);
	pthread_barrier_wait(&hf.filled); /* all filled */
	pthread_barrier_wait(&hf.filled); /* the load starts */
	while (!atomic_load_explicit(&hf.stop, memory_order_relaxed)) {
		one_request(w);
	}
	each_span(w, read_blocks);
	write_index(w);
	atomic_fetch_add(&hf.ended, 1);
	return NULL;
}

static uint64_t sum_of(size_t field)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < hf.opt.workers; i++) {
		total += get((_Atomic uint64_t *)(void *)((char *)&hf.worker[i] + field));
	}
	return total;
}
#define SUM(field) sum_of(offsetof(struct worker, field))

static void boot_id(char *id, size_t size)
{
	const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd < 0 ? 0 : read(fd, id, size - 1);
	id[n > 0 ? n : 0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	if (fd >= 0) {
		close(fd);
	}
}

static int by_time(const void *a, const void *b)
{
	const uint64_t x = ((const struct gap *)a)->end, y = ((const struct gap *)b)->end;
	return (x > y) - (x < y);
}

/* The longest gap of each interval, in tenths of a millisecond: what lets gaps be matched with events. Of a long load the
 * intervals are longer: each byte of the console is an exit, and keeps a processor of the guest. */
static void report_steps(FILE *out, uint64_t load_ms)
{
	const uint64_t all = load_ms / GAP_STEP_MS + 1;
	const uint64_t steps = all < GAP_STEPS_MAX ? all : GAP_STEPS_MAX;
	const uint64_t merged = (steps + GAP_STEPS_TOLD - 1) / GAP_STEPS_TOLD;

	fprintf(out, "],\"step_start_ms\":%" PRIu64 ",\"step_ms\":%" PRIu64 ",\"step_gap_100us\":[", hf.load_start / MS,
		merged * GAP_STEP_MS);
	for (uint64_t i = 0; i < steps; i += merged) {
		uint32_t longest = 0;
		for (uint64_t k = i; k < i + merged && k < steps; k++) {
			const uint32_t us = atomic_load(&hf.step_max[k]);
			longest = us > longest ? us : longest;
		}
		fprintf(out, "%s%u", i == 0 ? "" : ",", (longest + 50) / 100);
	}
}

static void report(const char *boot_before, struct clocks before, bool stalled)
{
	static char text[128 * 1024]; /* one write(2), so that lines of two of us do not mix on a console */
	FILE *out = fmemopen(text, sizeof text, "w");
	if (out == NULL) {
		die("no memory for the report: %s", strerror(errno));
	}
	char boot_after[64];
	boot_id(boot_after, sizeof boot_after);
	const struct clocks after = read_clocks();
	const uint64_t mono = after.monotonic;
	const int64_t drift = (int64_t)(after.boot - before.boot) - (int64_t)(after.monotonic - before.monotonic);
	const int64_t allowed = (int64_t)(MS + before.blur + after.blur);
	const bool continuous = strcmp(boot_before, boot_after) == 0 && mono >= before.monotonic && drift > -allowed && drift < allowed;
	if (stalled && hf.load_start != 0 && hf.load_end == 0) {
		const uint64_t last = atomic_load(&hf.last);
		record_gap(mono, mono - last);
	}
	const uint64_t end = hf.load_end != 0 ? hf.load_end : mono;
	const uint64_t load_ms = hf.load_start != 0 ? (end - hf.load_start) / MS : 0;

	fprintf(out, "HFLOAD {\"name\":\"%s\",\"ops\":%" PRIu64 ",\"reads\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"bytes\":%" PRIu64,
		hf.opt.name, SUM(reads) + SUM(writes), SUM(reads), SUM(writes), SUM(bytes));
	fprintf(out, ",\"io_errors\":%" PRIu64 ",\"mismatches\":%" PRIu64 ",\"verified_blocks\":%" PRIu64 ",\"stalled\":%s",
		SUM(io_errors), SUM(mismatches), SUM(verified), stalled ? "true" : "false");
	fprintf(out, ",\"workers\":%u,\"block\":%u,\"load_ms\":%" PRIu64 ",\"uptime_start_ms\":%" PRIu64 ",\"uptime_end_ms\":%" PRIu64,
		hf.opt.workers, hf.opt.block, load_ms, before.monotonic / MS, mono / MS);
	fprintf(out, ",\"boot_id\":\"%s\",\"uptime_ok\":%s", boot_after, continuous ? "true" : "false");

	uint64_t latency_max = 0;
	for (uint32_t i = 0; i < hf.opt.workers; i++) {
		const uint64_t l = get(&hf.worker[i].latency_max);
		latency_max = l > latency_max ? l : latency_max;
	}
	fprintf(out, ",\"latency_max_us\":%" PRIu64 ",\"latency_log2_us\":[", latency_max / 1000);
	for (uint32_t i = 0; i < HISTOGRAM; i++) {
		fprintf(out, "%s%" PRIu64, i == 0 ? "" : ",", SUM(histogram[i]));
	}
	pthread_mutex_lock(&hf.lock);
	fprintf(out, "],\"guest_gap_us\":%" PRIu64 ",\"gaps_over_5ms\":%" PRIu64 ",\"gaps_ms_us\":[", hf.gap_max / 1000, hf.gaps_over);
	qsort(hf.gap, hf.gaps, sizeof hf.gap[0], by_time);
	for (uint32_t i = 0; i < hf.gaps; i++) {
		fprintf(out, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", hf.gap[i].end / MS, hf.gap[i].length / 1000);
	}
	pthread_mutex_unlock(&hf.lock);
	report_steps(out, load_ms);
	fprintf(out, "]}\n");
	const long size = ftell(out);
	fclose(out);
	for (long done = 0; done < size;) {
		const ssize_t n = write(STDOUT_FILENO, text + done, (size_t)(size - done));
		if (n <= 0) {
			die("the report cannot be written: %s", strerror(errno));
		}
		done += n;
	}
}

static uint64_t number(const char *text, const char *what, uint64_t min, uint64_t max)
{
	char *end;
	errno = 0;
	const unsigned long long value = strtoull(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min || value > max) {
		die("%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, what, text, min, max);
	}
	return value;
}

static void parse(int argc, char **argv)
{
	struct options *o = &hf.opt;
	if (argc < 7) {
		fputs("usage: hfload PATH OFFSET LENGTH WORKERS BLOCK READ-PERCENT [--span BLOCKS] [--name NAME] [--status MS]\n"
		      "              [--stop-file F] [--ready-file F] [--stall SECONDS] [--seconds N]\n"
		      "PATH is a disk or a file (made if absent). Runs until SIGTERM, SIGINT, the stop file or N seconds.\n",
		      stderr);
		exit(2);
	}
	o->path = argv[1];
	o->name = "load";
	o->offset = number(argv[2], "OFFSET", 0, UINT64_C(1) << 46);
	o->length = number(argv[3], "LENGTH", 1, UINT64_C(1) << 46);
	o->workers = (uint32_t)number(argv[4], "WORKERS", 1, WORKERS_MAX);
	o->block = (uint32_t)number(argv[5], "BLOCK", STAMP_BLOCK_MIN, STAMP_BLOCK_MAX);
	o->read_percent = (uint32_t)number(argv[6], "READ-PERCENT", 0, 100);
	o->span = 16;
	o->stall_ns = UINT64_C(20000) * MS;
	for (int i = 7; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (value == NULL) {
			die("%s: unknown, or its value is missing", argv[i]);
		}
		if (strcmp(argv[i], "--span") == 0) {
			o->span = (uint32_t)number(value, "--span", 1, SPAN_MAX);
		} else if (strcmp(argv[i], "--name") == 0) {
			o->name = value;
		} else if (strcmp(argv[i], "--stop-file") == 0) {
			o->stop_file = value;
		} else if (strcmp(argv[i], "--ready-file") == 0) {
			o->ready_file = value;
		} else if (strcmp(argv[i], "--stall") == 0) {
			o->stall_ns = number(value, "--stall", 1, 3600) * 1000 * MS;
		} else if (strcmp(argv[i], "--status") == 0) {
			o->status_ns = number(value, "--status", 10, 60000) * MS;
		} else if (strcmp(argv[i], "--seconds") == 0) {
			o->seconds = number(value, "--seconds", 1, 86400);
		} else {
			die("%s: unknown option", argv[i]);
		}
	}
	if (o->block % 512 != 0 || o->offset % o->block != 0) {
		die("BLOCK must be a multiple of 512, and OFFSET of BLOCK");
	}
	const uint64_t blocks = o->length / o->workers / o->block;
	if (blocks < 4 || blocks > UINT32_MAX / 2) {
		die("LENGTH: each of the %u workers would get %" PRIu64 " blocks; 4 are needed", o->workers, blocks);
	}
	hf.region_blocks = (uint32_t)blocks;
	hf.index_blocks = stamp_index_blocks(o->block, hf.region_blocks);
}

static void prepare(void)
{
	struct stat st;
	const struct options *o = &hf.opt;
	hf.fd = open(o->path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (hf.fd < 0 || fstat(hf.fd, &st) != 0) {
		die("%s: cannot be opened with O_DIRECT: %s", o->path, strerror(errno));
	}
	if (S_ISBLK(st.st_mode)) {
		const off_t size = lseek(hf.fd, 0, SEEK_END);
		if (size < 0 || (uint64_t)size < o->offset + o->length) {
			die("%s: too small: %lld bytes, %" PRIu64 " are needed", o->path, (long long)size, o->offset + o->length);
		}
	}
	if (getrandom(&hf.run, sizeof hf.run, GRND_NONBLOCK) != (ssize_t)sizeof hf.run) {
		hf.run = stamp_mix(clock_ns(CLOCK_REALTIME) ^ (uint64_t)getpid());
	}
	for (uint32_t i = 0; i < o->workers; i++) {
		struct worker *w = &hf.worker[i];
		void *buffer;
		w->region = i;
		w->start = o->offset + (uint64_t)i * hf.region_blocks * o->block;
		w->random = stamp_mix(hf.run + i);
		w->generation = calloc(hf.region_blocks, sizeof w->generation[0]);
		if (w->generation == NULL || posix_memalign(&buffer, 4096, (size_t)o->span * o->block) != 0) {
			die("no memory for worker %u; use fewer workers or a smaller span", i);
		}
		w->buffer = buffer;
	}
}

static bool asked_to_stop(void)
{
	return told_to_stop != 0 || (hf.opt.stop_file != NULL && access(hf.opt.stop_file, F_OK) == 0);
}

/* Short, since each byte may cost an exit of the VP: name, uptime in ms, requests since the last line, errors, bad blocks. */
static void tell_status(void)
{
	static uint64_t ops_before;
	const uint64_t ops = SUM(reads) + SUM(writes);
	char line[160];
	const int n = snprintf(line, sizeof line, "HFSTAT %s t=%" PRIu64 " n=%" PRIu64 " e=%" PRIu64 " b=%" PRIu64 "\n", hf.opt.name,
			       now_ns() / MS, ops - ops_before, SUM(io_errors), SUM(mismatches));
	ops_before = ops;
	if (n > 0 && write(STDOUT_FILENO, line, (size_t)n) != n) {
		hf.opt.status_ns = 0;
	}
}

/* Watches over the workers until all have ended. False: nothing completed for too long. */
static bool watch(void)
{
	uint64_t next_status = now_ns() + hf.opt.status_ns;
	while (atomic_load(&hf.ended) < hf.opt.workers) {
		const struct timespec pause = { .tv_nsec = 20 * (long)MS };
		nanosleep(&pause, NULL);
		const uint64_t last = atomic_load(&hf.last), now = now_ns();
		if (now > last && now - last > hf.opt.stall_ns) {
			return false;
		}
		if (atomic_load(&hf.phase) != PHASE_LOAD) {
			continue;
		}
		if (hf.opt.status_ns != 0 && now >= next_status) {
			tell_status();
			next_status = now + hf.opt.status_ns;
		}
		const bool over = hf.opt.seconds != 0 && now - hf.load_start >= hf.opt.seconds * 1000 * MS;
		if (over || asked_to_stop()) {
			hf.load_end = now;
			atomic_store(&hf.phase, PHASE_READ_BACK);
			atomic_store(&hf.stop, true);
		}
	}
	return true;
}

/* The main thread cannot wait at a barrier for workers that hang, so a thread of its own starts the load. */
static void *start_load(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&hf.filled);
	hf.load_start = now_ns();
	atomic_store(&hf.last, hf.load_start);
	atomic_store(&hf.phase, PHASE_LOAD);
	pthread_barrier_wait(&hf.filled);
	if (hf.opt.ready_file != NULL) {
		const int fd = open(hf.opt.ready_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0) {
			close(fd);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	prepare();

	struct sigaction action = { .sa_handler = on_signal };
	sigset_t stop_signals, before;
	sigemptyset(&stop_signals);
	sigaddset(&stop_signals, SIGTERM);
	sigaddset(&stop_signals, SIGINT);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	char boot_before[64];
	boot_id(boot_before, sizeof boot_before);
	const struct clocks clocks_before = read_clocks();
	atomic_store(&hf.last, clocks_before.monotonic);

	/* Signals are for the main thread only. */
	pthread_t starter;
	pthread_sigmask(SIG_BLOCK, &stop_signals, &before);
	pthread_barrier_init(&hf.filled, NULL, hf.opt.workers + 1);
	int error = pthread_create(&starter, NULL, start_load, NULL);
	for (uint32_t i = 0; i < hf.opt.workers && error == 0; i++) {
		error = pthread_create(&hf.worker[i].thread, NULL, work, &hf.worker[i]);
	}
	if (error != 0) {
		die("a thread cannot be started: %s", strerror(error));
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	const bool stalled = !watch();
	if (!stalled) {
		pthread_join(starter, NULL);
		for (uint32_t i = 0; i < hf.opt.workers; i++) {
			pthread_join(hf.worker[i].thread, NULL);
		}
		atomic_store(&hf.phase, PHASE_DONE);
		if (fsync(hf.fd) != 0) {
			add(&hf.worker[0].io_errors, 1);
			tell_fault(&hf.worker[0], 0, "flush-failed", 0, (uint64_t)errno);
		}
	}
	report(boot_before, clocks_before, stalled);
	const bool good = !stalled && SUM(io_errors) == 0 && SUM(mismatches) == 0;
	_exit(good ? 0 : 1);
}
