/* The partition of a run: engine/partition as it is, but for what it gets from
 * outside: its main (here: a configuration made of the seed), the control
 * socket (here: an operator that does what the plan says), and how a process
 * is started (here: a program of programs.h). */
#include "engine/fact.h"
#include "engine/partition/partition.h"
#include "sim/boot.h"
#include "sim/keep.h"
#include "sim/moment.h"
#include "sim/oracle.h"
#include "sim/plan.h"
#include "sim/programs.h"
#include "sim/scenario.h"
#include "sim/shelf.h"
#include "statemachines/records.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	MEMORY = 64 << 20, DISK_BYTES = 4 << 20, BLOCK = 512, WORDS = 24, WORD = 48,
	SMALL_LOG = 4 << 20, DISKS = 2,
};

#define WATCHDOG_NS UINT64_C(2000000000)

static struct partition partition;
static struct wire_notice config[DISKS + 2];
static char words[WORDS][WORD], command_line[(WORDS + 4) * WORD];

void partition_log(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%12.6f partition: ", (double)kernel.now / 1e9);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* ---- starting processes -------------------------------------------------------------- */

static unsigned number_after(char *const *argv, const char *option)
{
	for (; *argv && argv[1]; argv++)
		if (strcmp(*argv, option) == 0)
			return (unsigned)strtoul(argv[1], NULL, 10);
	return 0;
}

static const char *word_after(char *const *argv, const char *option)
{
	for (; *argv && argv[1]; argv++)
		if (strcmp(*argv, option) == 0)
			return argv[1];
	return "";
}

/* spawn.c calls it with what the child is to be. */
int __wrap_clone(int (*entry)(void *), void *stack, int flags, void *argument, ...);
int __wrap_clone(int (*entry)(void *), void *stack, int flags, void *argument, ...)
{
	const struct spawn *s = argument;
	struct process *parent = process_current(), *p;
	const struct object *exe = object_of(s->exe_fd);

	(void)entry;
	(void)stack;
	(void)flags;
	fact(exe && exe->type == OBJECT_EXE);
	p = process_new(exe->value <= PROGRAM_B ? PROCESS_PARAVISOR : PROCESS_GUEST);
	p->program = (unsigned)exe->value;
	for (uint32_t i = 0; i < s->n_fds; i++) {
		p->fd[s->fds[i].to] = parent->fd[s->fds[i].from];
		object_at(p->fd[s->fds[i].to])->refs++;
	}
	if (p->role == PROCESS_PARAVISOR) {
		p->slot = number_after(s->argv, "--slot");
		p->standby = strcmp(word_after(s->argv, "--role"), "standby") == 0;
		plan_spawned(p);
		/* As main.c of the product: the command's name is its first word. */
		program_start(p, p->program, s->argv + 1);
	} else {
		program_start(p, p->program, s->argv);
	}
	return p->pid;
}

/* ---- the operator ---------------------------------------------------------------------- */

void hub_knock(void)
{
	const struct process *p = kernel.process[0];

	event_add(object_at(p->fd[partition.wake_fd]), 1);
}

static uint64_t pick(const uint32_t *values, unsigned n)
{
	return values[chance_below(&kernel.data, n)];
}

/* How long it follows, how much is voted on, how long the way back is open. */
static struct rec_service_ask draw_ask(void)
{
	static const uint32_t events[] = { 0, 0, 1, 200, 2000 };
	static const uint32_t ns[] = { 0, 0, 1000000, 50000000 };
	static const uint32_t voting[] = { 0, 1, 16, 256, 256 };
	static const uint32_t probation_ms[] = { 0, 1, 20, 1000, 10000 };

	return (struct rec_service_ask){
		.follow_events = pick(events, ARRAY_LEN(events)),
		.follow_ns = pick(ns, ARRAY_LEN(ns)),
		.voting = pick(voting, ARRAY_LEN(voting)),
		.probation_ns = pick(probation_ms, ARRAY_LEN(probation_ms)) * 1000000,
	};
}

static void service(struct wire_notice *n, enum program to)
{
	static const char expected[] = "scsi.GUEST_WRITE.tail";
	struct rec_service_ask ask = options.scenario ? scenario_ask()
				   : moment_any() ? moment_ask() : draw_ask();
	int row = spawn_exe_row(&partition, object_open(OBJECT_EXE, to));

	if (row < 0)
		return;
	n->op = OP_SERVICE;
	n->arg = (uint32_t)row;
	n->value = !options.scenario && chance_once_in(&kernel.data, 32) ? WIRE_SERVICE_COMMIT : 0;
	n->bytes = sizeof(ask) + sizeof(expected);
	memcpy(n->data, &ask, sizeof(ask));
	memcpy(n->data + sizeof(ask), expected, sizeof(expected));
}

uint16_t __wrap_posted_put(struct partition *p, uint32_t vp, uint64_t control, uint64_t gpa);
uint16_t __real_posted_put(struct partition *p, uint32_t vp, uint64_t control, uint64_t gpa);

uint16_t __wrap_posted_put(struct partition *p, uint32_t vp, uint64_t control, uint64_t gpa)
{
	uint16_t status = __real_posted_put(p, vp, control, gpa);

	moment_posted();
	return status;
}

static unsigned program_of_owner(void)
{
	uint32_t slot = OWNER_SLOT(atomic_load(&partition.c.h->owner));

	for (int i = 0; i < kernel.n_processes; i++) {
		const struct process *p = kernel.process[i];

		if (p->alive && p->role == PROCESS_PARAVISOR && p->slot == slot)
			return p->program;
	}
	return PROGRAM_A;
}

static void do_what(enum fault f)
{
	struct wire_notice n = { .token = 1 };
	uint32_t slot = OWNER_SLOT(atomic_load(&partition.c.h->owner));

	switch (f) {
	case FAULT_UPGRADE:
		service(&n, PROGRAM_B);
		break;
	case FAULT_DOWNGRADE:
		service(&n, PROGRAM_A);
		break;
	case FAULT_REPLACE:
		service(&n, program_of_owner());
		break;
	case FAULT_STANDBY:
		if (slot < LIMIT_PROCS)
			spawn_paravisor(&partition, partition.c.proc[slot].exe_row, ROLE_STANDBY);
		return;
	case FAULT_ROLLBACK:
		n.op = OP_ROLLBACK;
		break;
	case FAULT_COMMIT:
		n.op = OP_COMMIT;
		n.value = chance_once_in(&kernel.data, 4) ? WIRE_LEVEL_HIGHEST : 0;
		break;
	default:
		return;
	}
	if (n.op)
		hub_notice(&partition, &n);
}

int control_create(struct partition *p)
{
	(void)p;
	return 0;
}

void control_destroy(struct partition *p)
{
	(void)p;
}

uint32_t control_poll(struct partition *p, struct pollfd *fds)
{
	(void)p;
	(void)fds;
	return 0;
}

void control_serve(struct partition *p, const struct pollfd *fds, uint32_t n)
{
	enum fault f;

	(void)p;
	(void)fds;
	(void)n;
	while ((f = plan_operator()) != FAULTS)
		do_what(f);
}

void control_reports(struct partition *p)
{
	struct wire_inbox *in = p->c.inbox;

	while (atomic_load(&in->report_tail) != atomic_load(&in->report_head)) {
		const struct wire_notice *n =
			&in->report[atomic_load(&in->report_tail) % ARRAY_LEN(in->report)];

		partition_log("report: %u: %.*s", (unsigned)n->value, (int)n->bytes,
			      (const char *)n->data);
		result.reports[n->value != 0]++;
		atomic_fetch_add(&in->report_tail, 1);
	}
}

void control_console(struct partition *p)
{
	(void)p;
}

void control_ended(struct partition *p)
{
	(void)p;
}

/* ---- configuration ----------------------------------------------------------------------- */

static unsigned hostile_words(void)
{
	unsigned n = 0;

	snprintf(words[n++], WORD, "hostile");
	snprintf(words[n++], WORD, "seed=%llu", (unsigned long long)options.seed);
	snprintf(words[n++], WORD, "count=%llu", (unsigned long long)(options.events / 4 + 1));
	snprintf(words[n++], WORD, "seconds=1");
	snprintf(words[n++], WORD, "phases=%u", (unsigned)(1 + chance_below(&kernel.data, 2)));
	snprintf(words[n++], WORD, "victim=1");
	snprintf(words[n++], WORD, "region=2097152");
	snprintf(words[n++], WORD, "depth=%u", (unsigned)(1 + chance_below(&kernel.data, 16)));
	if (chance_once_in(&kernel.data, 2))
		snprintf(words[n++], WORD, "synic");
	return n;
}

static unsigned load_words(void)
{
	static const uint32_t bs[] = { 512, 512, 512, 512, 1024, 4096, 8192 };
	static const uint32_t depth[] = { 1, 4, 16, 32, 32, 64 };
	static const uint32_t offset[] = { 0, 0, 512, 1024 };
	static const uint32_t churn[] = { 0, 0, 1, 20 };
	unsigned n = 0;

	snprintf(words[n++], WORD, "load");
	snprintf(words[n++], WORD, "channels=%u", (unsigned)(1 + chance_below(&kernel.data, 4)));
	snprintf(words[n++], WORD, "depth=%u", (unsigned)pick(depth, ARRAY_LEN(depth)));
	snprintf(words[n++], WORD, "bs=%u", (unsigned)pick(bs, ARRAY_LEN(bs)));
	snprintf(words[n++], WORD, "offset=%u", (unsigned)pick(offset, ARRAY_LEN(offset)));
	snprintf(words[n++], WORD, "churn=%u", (unsigned)pick(churn, ARRAY_LEN(churn)));
	snprintf(words[n++], WORD, "flush=%u", (unsigned)chance_below(&kernel.data, 64));
	snprintf(words[n++], WORD, "ring=%uK", 16u << chance_below(&kernel.data, 4));
	snprintf(words[n++], WORD, "ops=%llu", (unsigned long long)(options.events * 9 / 20 + 1));
	snprintf(words[n++], WORD, "region=4M");
	snprintf(words[n++], WORD, "lost=60");
	return n;
}

/* Its disk is what it waits for: some requests are always there. */
static unsigned turning_words(void)
{
	static const char *const fixed[] = { "load", "channels=1", "depth=4", "bs=4096", "flush=64",
					     "region=4M", "lost=60" };
	unsigned n = 0;

	for (; n < ARRAY_LEN(fixed); n++)
		snprintf(words[n], WORD, "%s", fixed[n]);
	snprintf(words[n++], WORD, "ops=%llu", (unsigned long long)(options.events * 9 / 20 + 1));
	return n;
}

/* What the guest is told to do: words of softload or softhostile. */
static void write_words(void)
{
	unsigned n = options.scenario ? scenario_words(words)
		   : options.hostile ? hostile_words()
		   : options.disk_ms ? turning_words() : load_words();

	for (unsigned i = 0; i < n; i++) {
		strcat(command_line, words[i]);
		strcat(command_line, i + 1 < n ? " " : "");
	}
	if (options.guest_words)
		snprintf(command_line + strlen(command_line), WORD * 4, " %s", options.guest_words);
}

static void write_config(void)
{
	struct rec_config c = { .memory_bytes = MEMORY, .low_bytes = MEMORY,
				.vps = partition.o.vps, .backend = BACKEND_SOFT.code };
	struct wire_notice *n = &config[0];

	*n = (struct wire_notice){ .op = OP_CONFIG };
	memcpy(n->data, &c, sizeof(c));
	memcpy(n->data + sizeof(c), command_line, strlen(command_line));
	n->bytes = (uint32_t)(sizeof(c) + strlen(command_line));
	for (uint16_t i = 0; i < DISKS; i++) {
		struct rec_disk_config d = { .blocks = DISK_BYTES / BLOCK, .block_bytes = BLOCK,
					     .flags = i && !options.hostile ? 1 : 0, .fd = i,
					     .lun = i,
					     .identity = { 1 + i, 77 } };

		n = &config[1 + i];
		*n = (struct wire_notice){ .op = OP_DISK, .arg = i };
		memcpy(n->data, &d, sizeof(d));
		n->bytes = sizeof(d);
	}
	config[DISKS + 1] = (struct wire_notice){ .op = OP_START };
}

/* ---- bring-up, as main.c of the partition ---------------------------------------------------- */

static void add_disks(struct partition *p)
{
	char name[24];

	for (unsigned i = 0; i < DISKS; i++) {
		disk_make(i, DISK_BYTES, false);
		snprintf(name, sizeof(name), "disk.%u", i);
		fact(custody_fd_add(&p->c, name,
				    resource_lift(object_open(OBJECT_DISK, i))) == (int)i);
	}
}

static void start_first(struct partition *p)
{
	bool newer = !options.scenario && options.seed % 2;
	int row = spawn_exe_row(p, object_open(OBJECT_EXE, newer ? PROGRAM_B : PROGRAM_A));

	fact(row >= 0);
	p->config = config;
	p->config_n = ARRAY_LEN(config);
	while (p->config_next < p->config_n && hub_notice(p, &p->config[p->config_next]) == 0)
		p->config_next++;
	fact(spawn_paravisor(p, (uint32_t)row, ROLE_FIRST) >= 0);
	fact(ownership_start(p) == 0);
}

static void *run_partition(void *unused)
{
	struct partition *p = &partition;

	(void)unused;
	p->o = (struct options){ .state_dir = "sim", .name = "sim", .cmdline = command_line,
				 .backend = &BACKEND_SOFT, .memory = MEMORY, .config_fd = -1,
				 .watchdog_ns = WATCHDOG_NS };
	p->o.vps = options.scenario ? 2 : 1 + (uint32_t)chance_below(&kernel.data, 4);
	p->backend = p->o.backend;
	p->dir_fd = object_open(OBJECT_SINK, 0);
	p->log_fd = object_open(OBJECT_SINK, 0);
	p->o.guest_fd = object_open(OBJECT_EXE, options.hostile ? PROGRAM_HOSTILE_GUEST
								: PROGRAM_LOAD);
	atomic_store(&p->guest_pidfd, -1);
	write_words();
	write_config();
	vp_prepare(p);
	fact(resource_custody(p) == 0);
	/* A short log is gone round often: checkpoints and lapped readers. */
	if (!options.hostile && options.seed % 4)
		p->c.lane_words[0].bytes = SMALL_LOG;
	add_disks(p);
	fact(resource_create(p) == 0);
	fact(p->backend->create(p) == 0);
	fact(vp_create(p) == 0);
	oracle_start(&p->c);
	keep_start(&p->c);
	plan_start(&p->c);
	shelf_start(&p->c);
	moment_start(&p->c);
	start_first(p);
	hub_run(p);
	run_guest_has_ended();
	oracle_guest(atomic_load(&p->exit_status));
	shelf_end();
	oracle_cuts();
	moment_end();
	run_done();
	return NULL;
}

void boot(void)
{
	fiber_new(process_new(PROCESS_PARTITION), run_partition, NULL);
}
