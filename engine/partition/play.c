/* A stand-in for paravisor and guest, for the tests of the partition.
 *
 * Started with `paravisor`, it owns, follows or takes over as a paravisor
 * would, with no machine behind it: it answers every mailbox by a fixed rule
 * and checks that posted messages are numbered without a hole. What it shall
 * do stands in the VM's name as words: "soft" or "kvm" (which guest code to
 * start), "standby" (keep one), "crash" (die early, four epochs long).
 *
 * Started otherwise it is the guest of `soft`: `guest ROUNDS STATUS`. */
#include "engine/custody.h"
#include "engine/fact.h"
#include "engine/partition/soft_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	MSR_VP_INDEX = 0x40000002, MSR_CRASH_P0 = 0x40000100, MSR_CRASH_CTL = 0x40000105,
	CALL_POST_MESSAGE = 0x5C,
	INPUT_GPA = 0x8000,
	CONNECTION = 4,
	PORT_RESULT = 0x42, PORT_END = 0x43,
	CRASH_EPOCHS = 4,
	KVM_PML4 = 0x1000, KVM_PDPT = 0x2000, KVM_PD = 0x3000, KVM_GDT = 0x7000, KVM_CODE = 0x10000,
	KVM_RUNS = 2, KVM_RINGS = 1000,
};

#define ANSWER_MS 2
#define CRASH_NS UINT64_C(20000000)
#define HYPERCALL_ANSWER UINT64_C(0x12345678)

/* ---- the paravisor's part -------------------------------------------------------- */

struct play {
	struct custody c;
	uint32_t slot, epoch;
	const char *wish;
	uint8_t *ram;
	uint64_t since;
};

static void command(struct play *s, uint32_t op, const uint64_t arg[4])
{
	struct wire_command_queue *q = s->c.command;
	uint64_t head = atomic_load(&q->head);
	struct wire_command *c = &q->entry[head % LIMIT_COMMAND_QUEUE];
	const uint64_t one = 1;

	*c = (struct wire_command){ .id = atomic_load(&q->last_id) + 1, .op = op };
	memcpy(c->arg, arg, sizeof(c->arg));
	atomic_store(&q->last_id, c->id);
	atomic_store(&q->head, head + 1);
	fact(write(custody_fd(&s->c, "part"), &one, sizeof(one)) == (ssize_t)sizeof(one));
}

static bool wishes(const struct play *s, const char *word)
{
	return strstr(s->wish, word) != NULL;
}

/* Reads an MSR, rings door 1 a thousand times and connection 0x2002, which has
 * none, once; reads the hypercall port and writes what came to a port; reads
 * and writes device memory; ends in a triple fault. */
static const uint8_t KVM_GUEST[] = {
	0xb9, 0x02, 0x00, 0x00, 0x40, 0x0f, 0x32,       /* mov ecx, 40000002; rdmsr */
	0xe7, PORT_RESULT,                              /* out result, eax */
	0xbb, 0xe8, 0x03, 0x00, 0x00,                   /* mov ebx, 1000 */
	0xb8, 0x01, 0x20, 0x00, 0x00, 0xe7, 0xe7,       /* again: mov eax, 2001; out e7, eax */
	0xff, 0xcb, 0x75, 0xf5,                         /* dec ebx; jnz again */
	0xb8, 0x02, 0x20, 0x00, 0x00, 0xe7, 0xe7,       /* mov eax, 2002; out e7, eax */
	0xb9, 0x34, 0x12, 0x00, 0x00,                   /* mov ecx, 1234 */
	0xe5, 0xe6, 0xe7, PORT_RESULT,                  /* in eax, e6; out result, eax */
	0xb9, 0x00, 0x00, 0x00, 0xf0,                   /* mov ecx, f0000000 */
	0xc7, 0x01, 0x11, 0x22, 0x33, 0x44,             /* mov dword [rcx], 44332211 */
	0x8b, 0x01, 0xe7, PORT_RESULT,                  /* mov eax, [rcx]; out result, eax */
	0xb9, 0x05, 0x01, 0x00, 0x40, 0x0f, 0x32,       /* mov ecx, 40000105; rdmsr */
	0x0f, 0x0b,                                     /* ud2, and no IDT */
};

static const uint64_t KVM_RESULTS[] = { 0, HYPERCALL_ANSWER, 0x55667788 };

static void put64(struct play *s, uint64_t gpa, uint64_t value)
{
	memcpy(s->ram + gpa, &value, sizeof(value));
}

static void start_kvm(struct play *s)
{
	const uint64_t arg[4] = { KVM_CODE, 0, KVM_PML4, KVM_GDT };

	put64(s, KVM_PML4, KVM_PDPT | 3);
	for (uint64_t i = 0; i < 4; i++)
		put64(s, KVM_PDPT + 8 * i, (KVM_PD + 0x1000 * i) | 3);
	for (uint64_t i = 0; i < 4 * 512; i++)
		put64(s, KVM_PD + 8 * i, i << 21 | 0x83);
	put64(s, KVM_GDT + 0x10, UINT64_C(0x00af9b000000ffff));
	put64(s, KVM_GDT + 0x18, UINT64_C(0x00cf93000000ffff));
	memcpy(s->ram + KVM_CODE, KVM_GUEST, sizeof(KVM_GUEST));
	command(s, WIRE_CMD_VP_START, arg);
}

/* Row 1 of the doors: connection 0x2001; in force before anything starts. */
static void declare(struct play *s)
{
	struct wire_declared *d = s->c.declared;
	const uint64_t one = 1;

	d->copy[1].door[1] = 0x2001;
	atomic_store(&d->commit, UINT64_C(1) << 1 | 1);
	fact(write(custody_fd(&s->c, "part"), &one, sizeof(one)) == (ssize_t)sizeof(one));
	while (atomic_load(&d->in_force) != 1)
		usleep(1000);
}

static void start_first(struct play *s)
{
	const uint64_t none[4] = { 0 };

	atomic_store(&s->c.inbox->tail, atomic_load(&s->c.inbox->head));
	declare(s);
	if (wishes(s, "kvm"))
		start_kvm(s);
	else
		command(s, WIRE_CMD_VP_START, none);
}

static void end(struct play *s, uint64_t status)
{
	const uint64_t arg[4] = { status };

	command(s, WIRE_CMD_POWER_OFF, arg);
}

/* What the guest of `kvm` found; the first that is wrong ends the VM. */
static void check_result(struct play *s, uint64_t value)
{
	_Atomic uint64_t *n = &s->c.stats->turns;
	uint64_t i = atomic_fetch_add(n, 1) % ARRAY_LEN(KVM_RESULTS);

	if (value != KVM_RESULTS[i])
		end(s, 100 + i);
}

/* Every ring of the doorbell was absorbed and counted. */
static bool all_rings(const struct play *s)
{
	uint64_t n = 0;

	return read(custody_fd(&s->c, "door.1"), &n, sizeof(n)) == (ssize_t)sizeof(n) &&
	       n == KVM_RUNS * KVM_RINGS;
}

static void triple_fault(struct play *s, const struct wire_mailbox *m)
{
	const uint64_t none[4] = { 0 };

	if (m->address != FATAL_TRIPLE_FAULT)
		end(s, 90);
	else if (atomic_fetch_add(&s->c.stats->records, 1) + 1 == KVM_RUNS)
		end(s, all_rings(s) ? 7 : 92);
	else
		command(s, WIRE_CMD_RESET, none);
}

static uint64_t answer(struct play *s, const struct wire_mailbox *m, uint32_t vp)
{
	switch (m->exit) {
	case EXIT_RDMSR:
		return m->address == MSR_VP_INDEX ? vp : m->address << 32 | vp;
	case EXIT_HYPERCALL:
		return m->address == 0x1234 ? HYPERCALL_ANSWER : 2;
	case EXIT_PIO:
		if (m->address == PORT_RESULT)
			check_result(s, m->value);
		return 0;
	case EXIT_MMIO:
		if (!m->is_read && m->value != 0x44332211)
			end(s, 91);
		return 0x55667788;
	case EXIT_FATAL:
		triple_fault(s, m);
		return 0;
	default:
		return 0;
	}
}

static void serve_mailboxes(struct play *s)
{
	for (uint32_t vp = 0; vp < s->c.h->vps; vp++) {
		struct wire_mailbox *m = &s->c.mailbox[vp];
		uint32_t state = atomic_load(&m->state);

		if ((state & 3) != MAILBOX_POSTED)
			continue;
		m->answer = answer(s, m, vp);
		m->fault = 0;
		if (atomic_compare_exchange_strong(&m->state, &state,
						   (state & ~3u) | MAILBOX_ANSWERED))
			futex_wake(&m->state);
	}
}

/* The n-th message that was ever taken says n. */
static void serve_posted(struct play *s)
{
	struct wire_posted_queue *q = s->c.posted;
	uint64_t tail = atomic_load(&q->tail);

	while (tail != atomic_load(&q->head)) {
		uint64_t n;

		memcpy(&n, q->entry[tail % LIMIT_MESSAGE_QUEUE].payload, sizeof(n));
		if (n != tail)
			end(s, 99);
		tail++;
		atomic_store(&q->tail, tail);
	}
}

/* A guest that was reset is started again. */
static void serve_replies(struct play *s)
{
	struct wire_reply_queue *q = s->c.reply;
	uint64_t tail = atomic_load(&q->tail);

	while (tail != atomic_load(&q->head)) {
		const struct wire_reply *r = &q->entry[tail % LIMIT_COMMAND_QUEUE];

		if (r->status)
			end(s, 80 + r->op);
		if (r->op == WIRE_CMD_RESET)
			start_kvm(s);
		tail++;
		atomic_store(&q->tail, tail);
	}
}

static void report(struct play *s, const struct wire_notice *to)
{
	static const char text[] = "done";
	struct wire_inbox *in = s->c.inbox;
	uint64_t head = atomic_load(&in->report_head);
	struct wire_notice *n = &in->report[head % ARRAY_LEN(in->report)];
	const uint64_t one = 1;

	*n = (struct wire_notice){ .op = to->op, .token = to->token, .bytes = sizeof(text) };
	memcpy(n->data, text, sizeof(text));
	atomic_store(&in->report_head, head + 1);
	fact(write(custody_fd(&s->c, "part"), &one, sizeof(one)) == (ssize_t)sizeof(one));
}

/* A service starts a successor, which will follow for ever; those that go are
 * counted as checkpoints. */
static void serve_inbox(struct play *s)
{
	struct wire_inbox *in = s->c.inbox;
	uint64_t tail = atomic_load(&in->tail);

	while (tail != atomic_load(&in->head)) {
		const struct wire_notice *n = &in->entry[tail % ARRAY_LEN(in->entry)];
		const uint64_t arg[4] = { n->arg };

		if (n->op == OP_SERVICE)
			command(s, WIRE_CMD_SPAWN, arg);
		else if (n->op == OP_SUCCESSOR_GONE)
			atomic_fetch_add(&s->c.stats->checkpoints, 1);
		if (n->token)
			report(s, n);
		tail++;
		atomic_store(&in->tail, tail);
	}
}

/* What is typed is written. */
static void serve_console(struct play *s)
{
	struct wire_console *in = s->c.console_in, *out = s->c.console_out;
	uint64_t tail = atomic_load(&in->tail), head = atomic_load(&out->head);
	const uint64_t one = 1;

	if (tail == atomic_load(&in->head))
		return;
	while (tail != atomic_load(&in->head))
		out->bytes[head++ % LIMIT_CONSOLE_BYTES] = in->bytes[tail++ % LIMIT_CONSOLE_BYTES];
	atomic_store(&in->tail, tail);
	atomic_store(&out->head, head);
	fact(write(custody_fd(&s->c, "part"), &one, sizeof(one)) == (ssize_t)sizeof(one));
}

static void keep_standby(struct play *s)
{
	const uint64_t arg[4] = { (uint64_t)custody_fd_row(&s->c, "exe.0"), ROLE_STANDBY };

	if (wishes(s, "standby"))
		command(s, WIRE_CMD_SPAWN, arg);
}

_Noreturn static void own(struct play *s)
{
	int kick = custody_fd(&s->c, "kick");

	atomic_store(&s->c.proc[s->slot].state, PROC_OWNER);
	s->since = mono_now_ns();
	keep_standby(s);
	for (;;) {
		struct pollfd fd = { .fd = kick, .events = POLLIN };
		uint64_t n;

		poll(&fd, 1, ANSWER_MS);
		if (read(kick, &n, sizeof(n)) < 0)
			n = 0;
		serve_mailboxes(s);
		serve_posted(s);
		serve_replies(s);
		serve_inbox(s);
		serve_console(s);
		if (wishes(s, "crash") && s->epoch <= CRASH_EPOCHS &&
		    mono_now_ns() - s->since > CRASH_NS)
			raise(SIGSEGV);
	}
}

static void note_gap(struct play *s)
{
	uint64_t n = atomic_load(&s->c.stats->n_gaps), now = mono_now_ns();

	atomic_store(&s->c.h->served_ns, now);
	s->c.stats->gap[n % 64].gap_ns = now - atomic_load(&s->c.h->death_ns);
	s->c.stats->gap[n % 64].epoch = s->epoch;
	atomic_store(&s->c.stats->n_gaps, n + 1);
}

/* Waits to be named; a standby and a taker differ only in what was before. */
_Noreturn static void take(struct play *s)
{
	for (;;) {
		uint64_t w = atomic_load(&s->c.h->owner);

		s->epoch = OWNER_EPOCH(w) + 1;
		if (OWNER_STATE(w) == OWNER_TAKING && OWNER_SLOT(w) == s->slot &&
		    custody_owner_move(&s->c, w, OWNER_WORD(s->epoch, s->slot, OWNER_OWNED)))
			break;
		custody_owner_wait(&s->c, w, 1000000);
	}
	note_gap(s);
	own(s);
}

/* The ring moves blocks of disks and opens nothing, whoever asks. */
static void check_ring(const struct play *s)
{
	struct io_uring_params params = s->c.h->uring_params;
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	fact(io_uring_queue_mmap(custody_fd(&s->c, "uring.0"), &params, &ring) == 0);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_openat(sqe, AT_FDCWD, "/", O_RDONLY, 0);
	fact(io_uring_submit_and_wait(&ring, 1) == 1);
	fact(io_uring_peek_cqe(&ring, &cqe) == 0 && cqe->res == -EACCES);
	io_uring_cqe_seen(&ring, cqe);
}

static int paravisor(int argc, char **argv)
{
	const struct rlimit none = { 0 };
	struct play s = { 0 };

	fact(argc == 6);
	setrlimit(RLIMIT_CORE, &none);
	s.slot = (uint32_t)atoi(argv[3]);
	fact(custody_attach(&s.c, WIRE_FD_CUSTODY, true) == 0);
	s.ram = mmap(NULL, s.c.h->ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		     custody_fd(&s.c, "ram"), 0);
	fact(s.ram != MAP_FAILED);
	s.wish = s.c.h->name;
	fact(pthread_mutex_lock(&s.c.proc[s.slot].thread[0]) == 0);
	atomic_store(&s.c.proc[s.slot].state, PROC_READY);
	if (strcmp(argv[5], "first") == 0) {
		s.epoch = 1;
		fact(custody_owner_move(&s.c, 0, OWNER_WORD(1, s.slot, OWNER_OWNED)));
		check_ring(&s);
		start_first(&s);
		own(&s);
	}
	take(&s);
}

/* ---- the guest's part -------------------------------------------------------------- */

static uint64_t call(struct soft_vp *vp, uint32_t what, uint64_t address, uint64_t value)
{
	vp->call = what;
	vp->address = address;
	vp->value = value;
	atomic_store(&vp->state, SOFT_POSTED);
	futex_wake(&vp->state);
	while (atomic_load(&vp->state) != SOFT_IDLE)
		futex_wait(&vp->state, SOFT_POSTED, UINT64_MAX);
	return vp->result;
}

static void post(struct soft_vp *vp, uint8_t *ram, uint64_t n)
{
	const uint32_t head[4] = { CONNECTION, 0, 1, sizeof(n) };

	memcpy(ram + INPUT_GPA, head, sizeof(head));
	memcpy(ram + INPUT_GPA + sizeof(head), &n, sizeof(n));
	while (call(vp, SOFT_HYPERCALL, CALL_POST_MESSAGE, INPUT_GPA) == 0x13)
		usleep(100);
}

static int guest(int argc, char **argv)
{
	struct soft_vp *vp = mmap(NULL, sizeof(*vp), PROT_READ | PROT_WRITE, MAP_SHARED,
				  SOFT_FD_VPS, 0);
	uint64_t rounds;
	uint8_t *ram;

	fact(argc == 3 && vp != MAP_FAILED);
	ram = mmap(NULL, vp->ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, SOFT_FD_RAM, 0);
	fact(ram != MAP_FAILED);
	rounds = strtoull(argv[1], NULL, 10);
	for (uint64_t n = 0; n < rounds; n++) {
		post(vp, ram, n);
		call(vp, SOFT_WRMSR, MSR_CRASH_P0, n);
		if (call(vp, SOFT_RDMSR, MSR_CRASH_CTL, 0) != (uint64_t)MSR_CRASH_CTL << 32)
			return 98;
	}
	return atoi(argv[2]);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "paravisor") == 0)
		return paravisor(argc, argv);
	return guest(argc, argv);
}
