/* Parts of the partition against a buffer as guest RAM and a back end that
 * only notes what it is told. */
#include "engine/partition/partition.h"
#include "tests/child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RAM = 1 << 20, SIMP = 0x3000, SLOT = SIMP + 0x200, PAGE_IN = 0x5000 };

static struct {
	unsigned vectors, doors;
	uint8_t vector[LIMIT_VPS];
	uint32_t before, after, door;
} noted;

static struct partition p;

/* Parts that are not under test here, but are called. */
void partition_log(const char *format, ...)
{
	(void)format;
}

static int note_vectors(struct partition *partition, const uint8_t vector[LIMIT_VPS])
{
	(void)partition;
	noted.vectors++;
	memcpy(noted.vector, vector, sizeof(noted.vector));
	return 0;
}

static int note_door(struct partition *partition, uint32_t door, uint32_t before, uint32_t after)
{
	(void)partition;
	noted.doors++;
	noted.door = door;
	noted.before = before;
	noted.after = after;
	return 0;
}

static const struct backend NOTING = { .name = "noting", .set_vectors = note_vectors,
				       .set_door = note_door };

static void setup(void)
{
	cr_assert_eq(custody_create(&p.c), 0);
	p.o.vps = 2;
	p.backend = &NOTING;
	p.ram = calloc(1, RAM);
	p.ram_bytes = p.ram_low_bytes = RAM;
	p.kick_fd = eventfd(0, EFD_NONBLOCK);
	for (uint32_t i = 0; i < 2; i++) {
		p.irq_fd[i] = eventfd(0, EFD_NONBLOCK);
		pthread_mutex_init(&p.synic[i].lock, NULL);
	}
	pthread_mutex_init(&p.posted_lock, NULL);
	p.synic[0].declared = (struct wire_declared_vp){ .scontrol = 1, .simp = SIMP | 1 };
	p.synic[0].declared.sint[2] = 0xf3;
}

TestSuite(partition, .init = setup);

static uint64_t counter(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void queue(uint32_t sint, const char *text)
{
	struct wire_message_queue *q = &p.c.message[0];
	uint64_t head = atomic_load(&q->head);
	struct wire_message *m = &q->entry[head % LIMIT_MESSAGE_QUEUE];

	*m = (struct wire_message){ .id = head + 1, .sint = sint, .bytes = (uint32_t)strlen(text) };
	memcpy(m->payload, text, m->bytes);
	atomic_store(&q->last_id, head + 1);
	atomic_store(&q->head, head + 1);
}

static uint32_t slot_type(void)
{
	uint32_t type;

	memcpy(&type, p.ram + SLOT, sizeof(type));
	return type;
}

static void free_the_slot(void)
{
	memset(p.ram + SLOT, 0, 4);
}

/* ---- messages ------------------------------------------------------------------ */

Test(partition, message_is_written_and_interrupts_once)
{
	queue(2, "one");
	synic_deliver(&p, 0);
	cr_assert_eq(slot_type(), 1);
	cr_assert_eq(p.ram[SLOT + 4], 3);
	cr_assert_eq(p.ram[SLOT + 5], 0);
	cr_assert_eq(memcmp(p.ram + SLOT + 16, "one", 3), 0);
	cr_assert_eq(atomic_load(&p.c.message[0].tail), 1);
	cr_assert_eq(counter(p.irq_fd[0]), 1);
	synic_deliver(&p, 0);
	cr_assert_eq(counter(p.irq_fd[0]), 0);
}

Test(partition, busy_slot_gets_the_pending_flag_and_waits_for_eom)
{
	queue(2, "one");
	synic_deliver(&p, 0);
	queue(2, "two");
	cr_assert(synic_poll(&p));
	cr_assert_eq(p.ram[SLOT + 5], 1);
	cr_assert_eq(memcmp(p.ram + SLOT + 16, "one", 3), 0);
	cr_assert_eq(atomic_load(&p.c.message[0].tail), 1);
	free_the_slot();
	synic_deliver(&p, 0);
	cr_assert_eq(memcmp(p.ram + SLOT + 16, "two", 3), 0);
	cr_assert_eq(p.ram[SLOT + 5], 0);
	cr_assert_eq(atomic_load(&p.c.message[0].tail), 2);
	cr_assert_not(synic_poll(&p));
}

Test(partition, first_of_two_says_that_more_are_queued)
{
	queue(2, "one");
	queue(2, "two");
	synic_deliver(&p, 0);
	cr_assert_eq(p.ram[SLOT + 5], 1);
	cr_assert_eq(atomic_load(&p.c.message[0].tail), 1);
}

Test(partition, message_waits_for_an_enabled_path)
{
	struct wire_declared_vp d = p.synic[0].declared, masked = d;

	masked.sint[2] |= 1u << 16;
	synic_declare(&p, 0, &masked);
	queue(2, "one");
	cr_assert(synic_poll(&p));
	cr_assert_eq(slot_type(), 0);
	masked = d;
	masked.simp = (UINT64_C(1) << 40) | 1;
	synic_declare(&p, 0, &masked);
	cr_assert(synic_poll(&p));
	synic_declare(&p, 0, &d);
	cr_assert_not(synic_poll(&p));
	cr_assert_eq(slot_type(), 1);
}

Test(partition, malformed_message_is_dropped_and_the_next_goes_out)
{
	queue(16, "bad");
	queue(2, "two");
	synic_deliver(&p, 0);
	cr_assert_eq(atomic_load(&p.c.message[0].tail), 2);
	cr_assert_eq(memcmp(p.ram + SLOT + 16, "two", 3), 0);
}

Test(partition, slot_that_stays_busy_is_interrupted_again)
{
	queue(2, "one");
	synic_deliver(&p, 0);
	queue(2, "two");
	counter(p.irq_fd[0]);
	for (unsigned i = 0; i < PARTITION_STUCK_POLLS; i++)
		cr_assert(synic_poll(&p));
	cr_assert_eq(counter(p.irq_fd[0]), 1);
}

/* ---- declared state -------------------------------------------------------------- */

static struct wire_declared_copy *inactive(void)
{
	struct wire_declared *d = p.c.declared;
	uint64_t index = (atomic_load(&d->commit) & 1) ^ 1;

	d->copy[index] = d->copy[index ^ 1];
	return &d->copy[index];
}

static void commit(uint64_t generation)
{
	uint64_t index = (atomic_load(&p.c.declared->commit) & 1) ^ 1;

	atomic_store(&p.c.declared->commit, generation << 1 | index);
	declared_reconcile(&p);
}

Test(partition, declared_rows_touch_the_machine_only_when_they_differ)
{
	struct wire_declared_copy *copy = inactive();

	copy->door[7] = 0x2007;
	copy->vp[1].scontrol = 1;
	copy->vp[1].sint[2] = 0xf3;
	commit(5);
	cr_assert_eq(atomic_load(&p.c.declared->in_force), 5);
	cr_assert_eq(noted.vectors, 1);
	cr_assert_eq(noted.vector[1], 0xf3);
	cr_assert_eq(noted.doors, 1);
	cr_assert_eq(noted.door, 7);
	inactive();
	commit(6);
	cr_assert_eq(atomic_load(&p.c.declared->in_force), 6);
	cr_assert_eq(noted.vectors, 1);
	cr_assert_eq(noted.doors, 1);
	copy = inactive();
	copy->door[7] = 0;
	copy->vp[1].sint[2] |= 1u << 16;
	commit(7);
	cr_assert_eq(noted.vector[1], 0);
	cr_assert_eq(noted.before, 0x2007);
	cr_assert_eq(noted.after, 0);
}

/* ---- posted messages -------------------------------------------------------------- */

static void input(uint32_t connection, uint32_t bytes)
{
	uint32_t words[4] = { connection, 0, 1, bytes };

	memcpy(p.ram + PAGE_IN, words, sizeof(words));
	memset(p.ram + PAGE_IN + 16, 0x5a, LIMIT_MESSAGE);
}

Test(partition, post_message_is_copied_with_its_vp)
{
	const struct wire_posted *e = &p.c.posted->entry[0];

	input(4, 240);
	cr_assert_eq(posted_put(&p, 1, 0x5c, PAGE_IN), 0);
	cr_assert_eq(atomic_load(&p.c.posted->head), 1);
	cr_assert_eq(e->connection_id, 4);
	cr_assert_eq(e->vp, 1);
	cr_assert_eq(e->bytes, 240);
	cr_assert_eq(e->payload[239], 0x5a);
	cr_assert_eq(counter(p.kick_fd), 1);
}

Test(partition, post_message_refuses_bad_input)
{
	input(4, 241);
	cr_assert_eq(posted_put(&p, 0, 0x5c, PAGE_IN), 5);
	input(4, 16);
	cr_assert_eq(posted_put(&p, 0, 0x1005c, PAGE_IN), 3);
	cr_assert_eq(posted_put(&p, 0, 0x5c, PAGE_IN + 4), 4);
	cr_assert_eq(posted_put(&p, 0, 0x5c, PAGE_IN + WIRE_PAGE - 8), 5);
	cr_assert_eq(posted_put(&p, 0, 0x5c, RAM), 5);
	cr_assert_eq(posted_put(&p, 0, 0x5c, UINT64_MAX - 7), 5);
	cr_assert_eq(atomic_load(&p.c.posted->head), 0);
}

Test(partition, post_message_says_when_the_queue_is_full)
{
	input(4, 16);
	for (unsigned i = 0; i < LIMIT_MESSAGE_QUEUE; i++)
		cr_assert_eq(posted_put(&p, 0, 0x5c, PAGE_IN), 0);
	cr_assert_eq(posted_put(&p, 0, 0x5c, PAGE_IN), 0x13);
	atomic_store(&p.c.posted->tail, 1);
	cr_assert_eq(posted_put(&p, 0, 0x5c, PAGE_IN), 0);
}

/* ---- RAM, custody ----------------------------------------------------------------- */

Test(partition, ram_has_a_gap_below_4_gib)
{
	p.ram_low_bytes = RAM / 2;
	cr_assert_eq(resource_ram(&p, RAM / 2 - 8, 8), p.ram + RAM / 2 - 8);
	cr_assert_null(resource_ram(&p, RAM / 2 - 8, 9));
	cr_assert_null(resource_ram(&p, RAM / 2, 1));
	cr_assert_eq(resource_ram(&p, UINT64_C(4) << 30, RAM / 2), p.ram + RAM / 2);
	cr_assert_null(resource_ram(&p, UINT64_C(4) << 30, RAM / 2 + 1));
	cr_assert_null(resource_ram(&p, UINT64_MAX, 2));
}

Test(partition, custody_is_found_again_by_another_mapping)
{
	struct custody other;

	cr_assert_eq(custody_fd_add(&p.c, "ram", 40), 0);
	cr_assert_eq(custody_fd_add(&p.c, "kick", 41), 1);
	atomic_store(&p.c.posted->head, 77);
	cr_assert_eq(custody_attach(&other, p.c.fd, false), 0);
	cr_assert_eq(atomic_load(&other.posted->head), 77);
	cr_assert_eq(custody_fd(&other, "kick"), WIRE_FD_BASE + 1);
	cr_assert_eq(custody_fd(&other, "disk.0"), -ENOENT);
	custody_detach(&other);
}

Test(partition, custody_of_another_kind_is_refused)
{
	struct custody other;

	p.c.h->version++;
	cr_assert_eq(custody_attach(&other, p.c.fd, true), CUSTODY_E_VERSION);
	p.c.h->version--;
	p.c.h->channels++;
	cr_assert_eq(custody_attach(&other, p.c.fd, true), CUSTODY_E_CAPACITY);
	p.c.h->channels--;
	p.c.h->area[AREA_STATS].offset = p.c.bytes;
	cr_assert_eq(custody_attach(&other, p.c.fd, true), CUSTODY_E_CAPACITY);
	p.c.h->magic = 0;
	cr_assert_eq(custody_attach(&other, p.c.fd, true), CUSTODY_E_MAGIC);
}

Test(partition, a_row_that_is_free_is_used_again)
{
	cr_assert_eq(custody_fd_add(&p.c, "a", 40), 0);
	cr_assert_eq(custody_fd_add(&p.c, "b", 41), 1);
	p.c.h->fds[0].fd = -1;
	cr_assert_eq(custody_fd_row(&p.c, "a"), -ENOENT);
	cr_assert_eq(custody_fd_add(&p.c, "c", 42), 0);
}

/* ---- the watchdog ------------------------------------------------------------ */

enum { OWNER = 3, LOOKS = 12, LIMIT_MS = 4 };

/* An owner that does nothing at all. */
static pid_t begin_watch(uint64_t watchdog_ns)
{
	pid_t pid = child_fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	pthread_mutex_init(&p.children_lock, NULL);
	p.o.watchdog_ns = watchdog_ns;
	p.child[OWNER] = (struct child){ .alive = true, .pid = pid, .pidfd = pidfd_open(pid, 0) };
	atomic_store(&p.c.h->owner, OWNER_WORD(1, OWNER, OWNER_OWNED));
	atomic_store(&p.c.h->step_epoch, 1);
	atomic_store(&p.c.h->step_seq, 77);
	return pid;
}

/* As the hub would, with room between two looks. Returns how often it was knocked. */
static unsigned look_often(unsigned n)
{
	unsigned knocks = 0;

	for (unsigned i = 0; i < n; i++) {
		watchdog_look(&p);
		knocks += (unsigned)counter(p.kick_fd);
		usleep(LIMIT_MS * 1000 / 4 + 100);
	}
	return knocks;
}

static bool lives(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == 0;
}

Test(partition, an_owner_that_was_knocked_at_in_vain_is_killed)
{
	pid_t pid = begin_watch(LIMIT_MS * UINT64_C(1000000));

	cr_assert_eq(look_often(5), 4);
	cr_assert(lives(pid));
	cr_assert_eq(look_often(1), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_assert(p.child[OWNER].stood_still);
	cr_assert_eq(atomic_load(&p.c.h->faults), 1);
	cr_assert_eq(atomic_load(&p.c.h->fault_seq), 77);
}

Test(partition, what_another_epoch_stepped_is_no_fault_of_this_one)
{
	begin_watch(LIMIT_MS * UINT64_C(1000000));
	atomic_store(&p.c.h->step_epoch, 2);
	look_often(6);
	cr_assert(p.child[OWNER].stood_still);
	cr_assert_eq(atomic_load(&p.c.h->faults), 0);
}

Test(partition, an_owner_that_answers_a_knock_is_left_alone)
{
	pid_t pid = begin_watch(LIMIT_MS * UINT64_C(1000000));

	for (unsigned i = 0; i < LOOKS; i++) {
		if (look_often(1))
			atomic_fetch_add(&p.c.proc[OWNER].heartbeat_ns, 1);
	}
	cr_assert(lives(pid));
	cr_assert_eq(kill(pid, SIGKILL), 0);
}

Test(partition, looks_that_come_too_soon_do_not_count)
{
	pid_t pid = begin_watch(UINT64_C(3600000000000));

	cr_assert_eq(look_often(LOOKS), 0);
	cr_assert(lives(pid));
	cr_assert_eq(kill(pid, SIGKILL), 0);
}

Test(partition, nobody_is_watched_without_a_limit)
{
	pid_t pid = begin_watch(0);

	cr_assert_eq(watchdog_wait_ms(&p), -1);
	cr_assert_eq(look_often(LOOKS), 0);
	cr_assert(lives(pid));
	cr_assert_eq(kill(pid, SIGKILL), 0);
}
