/* The archive: append, read, go on after a death, gaps, retention, a full map. */
#include "persist/archive.h"
#include "tests/child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], why[ARCHIVE_WHY];
static struct archive *a;
static struct archive_reader *r;

/* A log without a ring: positions and chain as the writer would have them. */
static uint64_t position, chain, seq;

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/holdfast-archive-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	position = chain = seq = 0;
	a = NULL;
	r = NULL;
}

static void teardown(void)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "writer" };
	char path[128];

	archive_close(a);
	archive_reader_close(r);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

TestSuite(archive, .init = setup, .fini = teardown);

static struct archive_options options(uint64_t retention, uint64_t segment, uint64_t map)
{
	return (struct archive_options){ .version = "1", .build = "b", .schema_hash = 7,
					 .identity = 99, .level = 1, .retention = retention,
					 .segment = segment, .map = map };
}

static void open_with(struct archive_options o)
{
	cr_assert_eq(archive_open(dir, &o, &a, why), 0, "%s", why);
}

static void open_reader(void)
{
	cr_assert_eq(archive_reader_open(dir, &r, why), 0, "%s", why);
}

/* One event of @len bytes that begin with its sequence; a pad before it when
 * @padded. Into the archive unless @lost. */
static int event(uint32_t len, bool padded, bool lost)
{
	static uint8_t payload[64 << 10];
	struct log_record h = { .seq = seq + 1, .time_ns = seq * 10, .type = LOG_EVENT,
				.len = len, .kind = 3 };
	struct log_record pad = { .type = LOG_PAD };
	uint64_t at;

	seq++;
	if (padded) {
		chain = log_chain(&pad, NULL, chain);
		position += 4096;
	}
	if (len)
		memset(payload, (int)(seq & 0xff), len);
	h.chain = chain = log_chain(&h, payload, chain);
	at = position;
	position += log_cost(len);
	return lost ? 0 : archive_append(a, at, &h, payload);
}

static struct slot_cut cut(void)
{
	return (struct slot_cut){ .generation = 2, .seq = seq, .position = position,
				  .chain = chain };
}

/* Reads to the end from where the reader stands: events in a row from @first. */
static uint64_t read_events(uint64_t first)
{
	struct archive_record rec;
	int x;

	while ((x = archive_next(r, &rec)) == ARCHIVE_OK) {
		cr_assert_eq(rec.h.seq, first, "%lu, expected %lu", rec.h.seq, first);
		for (uint32_t i = 0; i < rec.h.len; i++)
			cr_assert_eq(rec.payload[i], rec.h.seq & 0xff);
		first++;
	}
	cr_assert_eq(x, ARCHIVE_E_END, "%d", x);
	return first - 1;
}

Test(archive, what_was_written_is_read)
{
	open_with(options(0, 1 << 20, 0));
	for (unsigned i = 0; i < 20000; i++)
		cr_assert_eq(event(i % 300, i % 1000 == 999, false), 0);
	cr_assert_eq(archive_flush(a), 0);
	open_reader();
	cr_assert_eq(archive_reader_header(r)->identity, 99);
	cr_assert_str_eq(archive_reader_header(r)->build, "b");
	archive_expect(r, &(struct slot_cut){ 0 });
	cr_assert_eq(read_events(1), 20000);
	for (unsigned i = 0; i < 10; i++)
		event(8, false, false);
	cr_assert_eq(archive_flush(a), 0);
	cr_assert_eq(read_events(20001), 20010);
}

Test(archive, seeks_by_sequence_and_by_cut)
{
	struct slot_cut middle = { 0 };

	open_with(options(0, 64 << 10, 0));
	for (unsigned i = 0; i < 5000; i++) {
		event(100, i % 70 == 0, false);
		if (seq == 2500)
			middle = cut();
	}
	cr_assert_eq(archive_flush(a), 0);
	open_reader();
	cr_assert_eq(archive_seek_seq(r, 777), 0);
	cr_assert_eq(read_events(777), 5000);
	cr_assert_eq(archive_seek_seq(r, 1), 0);
	cr_assert_eq(read_events(1), 5000);
	cr_assert_eq(archive_seek_seq(r, 5001), ARCHIVE_E_END);
	archive_expect(r, &middle);
	cr_assert_eq(read_events(2501), 5000);
}

Test(archive, a_writer_goes_on_where_it_ended)
{
	for (unsigned round = 0; round < 5; round++) {
		open_with(options(0, 64 << 10, 0));
		cr_assert_eq(archive_place(a)->seq, seq);
		cr_assert_eq(archive_place(a)->position, position);
		cr_assert_eq(archive_place(a)->chain, chain);
		for (unsigned i = 0; i < 700; i++)
			event(100, false, false);
		a = archive_close(a);
	}
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	cr_assert_eq(read_events(1), 3500);
}

Test(archive, a_killed_writer_lost_only_what_was_staged)
{
	uint64_t held;
	pid_t pid = child_fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		open_with(options(0, 64 << 10, 0));
		for (unsigned i = 0; i < 30000; i++)
			event(100, false, false);
		abort();
	}
	waitpid(pid, NULL, 0);
	open_with(options(0, 64 << 10, 0));
	held = archive_place(a)->seq;
	cr_assert(held > 0 && held < 30000);
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	cr_assert_eq(read_events(1), held);
}

Test(archive, a_gap_starts_a_run_at_an_unverified_checkpoint)
{
	struct archive_checkpoint cp;
	struct archive_record rec;
	struct slot_cut c;

	open_with(options(0, 0, 0));
	for (unsigned i = 0; i < 100; i++)
		event(50, false, false);
	c = cut();
	cr_assert_eq(archive_checkpoint(a, &c, (const uint8_t *)"first", 5, true), 0);
	for (unsigned i = 0; i < 100; i++)
		event(50, false, true);
	c = cut();
	cr_assert_eq(archive_gap(a, &c, (const uint8_t *)"second", 6), 0);
	for (unsigned i = 0; i < 100; i++)
		event(50, false, false);
	cr_assert_eq(archive_flush(a), 0);
	cr_assert_eq(archive_place(a)->run, 1);
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(archive_next(r, &rec), ARCHIVE_OK);
	cr_assert_eq(archive_next(r, &rec), ARCHIVE_E_GAP);
	cr_assert_eq(archive_checkpoint_from(r, rec.position + 200, &cp), 0);
	cr_assert(cp.unverified);
	cr_assert_eq(cp.len, 6);
	cr_assert_arr_eq(cp.bytes, (const uint8_t *)"second", 6);
	archive_expect(r, &cp.cut);
	cr_assert_eq(read_events(201), 300);
	cr_assert_eq(archive_checkpoint_before(r, 150, &cp), 0);
	cr_assert_not(cp.unverified);
	cr_assert_arr_eq(cp.bytes, (const uint8_t *)"first", 5);
	cr_assert_eq(archive_checkpoint_before(r, 99, &cp), ARCHIVE_E_END);
}

Test(archive, retention_keeps_the_first_and_the_last)
{
	struct archive_record rec;
	uint64_t last_of_first = 0, first_after = 0;
	int x;

	open_with(options(1 << 20, 128 << 10, 0));
	for (unsigned i = 0; i < 60000; i++) {
		cr_assert_eq(event(100, false, false), 0);
		if (i % 1000 == 0) {
			struct slot_cut c = cut();

			cr_assert_eq(archive_checkpoint(a, &c, (const uint8_t *)why, 200, true), 0);
		}
	}
	cr_assert_eq(archive_flush(a), 0);
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	while ((x = archive_next(r, &rec)) == ARCHIVE_OK)
		last_of_first = rec.h.seq;
	cr_assert_eq(x, ARCHIVE_E_GAP);
	cr_assert_eq(archive_next(r, &rec), ARCHIVE_OK);
	first_after = rec.h.seq;
	cr_assert(last_of_first > 500 && first_after > last_of_first && first_after > 50000);
	cr_assert_eq(read_events(first_after + 1), 60000);
}

/* Segments of 128 KiB, a checkpoint in each; the last one verified or not. */
static uint64_t kept_after(struct archive_options o, bool verified)
{
	struct archive_record rec;

	open_with(o);
	for (unsigned i = 0; i < 30000; i++) {
		struct slot_cut c;

		cr_assert_eq(event(100, false, false), 0);
		c = cut();
		if (i % 1000 == 0)
			cr_assert_eq(archive_checkpoint(a, &c, (const uint8_t *)why, 200,
							verified), 0);
	}
	cr_assert_eq(archive_flush(a), 0);
	archive_expire(a, seq * 10 + UINT64_C(100000000000));
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	for (uint64_t n = 0;; n++) {
		int x = archive_next(r, &rec);

		if (x == ARCHIVE_E_END)
			return n;
		n -= x == ARCHIVE_E_GAP;
	}
}

Test(archive, nothing_is_dropped_before_a_later_checkpoint_is_verified)
{
	cr_assert_eq(kept_after(options(1 << 20, 128 << 10, 64 << 20), false), 30000);
}

Test(archive, age_drops_what_is_verified)
{
	struct archive_options o = options(1 << 30, 128 << 10, 64 << 20);

	o.age_ns = UINT64_C(50000000000);
	cr_assert_lt(kept_after(o, true), 4000);
}

Test(archive, age_keeps_what_is_young)
{
	struct archive_options o = options(1 << 30, 128 << 10, 64 << 20);

	o.age_ns = UINT64_C(500000000000);
	cr_assert_eq(kept_after(o, true), 30000);
}

Test(archive, a_full_map_drops_the_oldest)
{
	open_with(options(1 << 30, 128 << 10, 2 << 20));
	for (unsigned i = 0; i < 60000; i++)
		cr_assert_eq(event(100, false, false), 0, "event %u", i);
	cr_assert_eq(archive_flush(a), 0);
	open_reader();
	cr_assert_eq(archive_seek_seq(r, 59990), 0);
	cr_assert_eq(read_events(59990), 60000);
}

Test(archive, a_full_map_with_nothing_to_drop_ends_clearly)
{
	int x = 0;

	open_with(options(1 << 30, 1 << 30, 1 << 20));
	for (unsigned i = 0; i < 400000 && x == 0; i++)
		x = event(100, false, false);
	cr_assert_eq(x, ARCHIVE_E_FULL);
	cr_assert_eq(event(1, false, false), ARCHIVE_E_FULL);
	cr_assert_eq(archive_flush(a), ARCHIVE_E_FULL);
	a = archive_close(a);
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	cr_assert_gt(read_events(1), 5000);
}

Test(archive, two_writers_and_strangers_are_refused)
{
	struct archive_options o = options(0, 0, 0);
	struct archive *second = NULL;

	open_with(o);
	cr_assert_eq(archive_open(dir, &o, &second, why), ARCHIVE_E_REFUSED);
	cr_assert_not_null(strstr(why, "another archiver"));
	a = archive_close(a);
	o.identity = 100;
	cr_assert_eq(archive_open(dir, &o, &second, why), ARCHIVE_E_OTHER);
	cr_assert_eq(archive_reader_open("/nonexistent", &r, why), -ENOENT);
}

static void *look_a_while(void *fd)
{
	usleep(200000);
	close(*(int *)fd);
	return NULL;
}

Test(archive, who_only_looks_whether_it_is_written_keeps_no_writer_out)
{
	char path[128];
	pthread_t thread;
	int fd;

	open_with(options(0, 0, 0));
	a = archive_close(a);
	snprintf(path, sizeof(path), "%s/writer", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
	cr_assert_eq(pthread_create(&thread, NULL, look_a_while, &fd), 0);
	open_with(options(0, 0, 0));
	pthread_join(thread, NULL);
}

Test(archive, a_flipped_bit_is_found)
{
	struct archive_record rec;
	char path[128];
	uint8_t bytes[4096];
	bool flipped = false;
	FILE *f;
	int x;

	open_with(options(0, 0, 0));
	for (unsigned i = 0; i < 3000; i++)
		event(200, false, false);
	a = archive_close(a);
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	f = fopen(path, "r+");
	for (long at = 0; !flipped && fread(bytes, sizeof(bytes), 1, f) == 1; at += 4096) {
		if (bytes[2000] != bytes[2001] || bytes[2001] != bytes[2002] || !bytes[2000])
			continue;
		bytes[2001] ^= 4;
		fseek(f, at, SEEK_SET);
		fwrite(bytes, sizeof(bytes), 1, f);
		flipped = true;
	}
	fclose(f);
	cr_assert(flipped);
	open_reader();
	archive_expect(r, &(struct slot_cut){ 0 });
	while ((x = archive_next(r, &rec)) == ARCHIVE_OK)
		;
	cr_assert_eq(x, ARCHIVE_E_DAMAGED);
}

/* liblmdb trusts its file: one that is cut under the map ends a process by SIGBUS. */

static void fill(unsigned events)
{
	open_with(options(8 << 20, 1 << 20, 0));
	for (unsigned i = 0; i < events; i++)
		cr_assert_eq(event(4000, false, false), 0);
	cr_assert_eq(archive_flush(a), 0);
}

static void cut_file(off_t to)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	cr_assert_eq(truncate(path, to), 0);
}

Test(archive, a_file_cut_under_the_writer_ends_the_history_and_not_the_process)
{
	int x = 0;

	fill(500);
	cut_file(8192);
	for (unsigned i = 0; i < 500 && x == 0; i++)
		x = event(4000, false, false);
	cr_assert_eq(x, ARCHIVE_E_DAMAGED);
	cr_assert_neq(archive_flush(a), 0);
}

Test(archive, a_file_cut_under_a_reader_is_damaged)
{
	struct archive_record rec;
	struct archive_checkpoint cp;
	int x = 0;

	fill(500);
	open_reader();
	cr_assert_eq(archive_next(r, &rec), ARCHIVE_OK);
	cut_file(8192);
	while (x == 0)
		x = archive_next(r, &rec);
	cr_assert_eq(x, ARCHIVE_E_DAMAGED);
	cr_assert_eq(archive_next(r, &rec), ARCHIVE_E_DAMAGED);
	cr_assert_eq(archive_seek_seq(r, 3), ARCHIVE_E_DAMAGED);
	cr_assert_eq(archive_checkpoint_from(r, 0, &cp), ARCHIVE_E_DAMAGED);
	cr_assert_eq(archive_checkpoint_before(r, 9, &cp), ARCHIVE_E_DAMAGED);
}

Test(archive, a_cut_file_is_not_opened)
{
	struct archive_options o = options(8 << 20, 1 << 20, 0);

	fill(500);
	a = archive_close(a);
	cut_file(8192);
	cr_assert_eq(archive_reader_open(dir, &r, why), ARCHIVE_E_REFUSED);
	cr_assert(strstr(why, "cut or damaged"), "%s", why);
	cr_assert_eq(archive_open(dir, &o, &a, why), ARCHIVE_E_REFUSED);
	cr_assert(strstr(why, "cut or damaged"), "%s", why);
}
