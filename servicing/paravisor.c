/* The paravisor process: one slot in custody, one lane, one loop.
 *
 * It begins as one of four: the first owner ever; the taker that the partition
 * named after a death; a successor or a standby that follows the live log. Then
 * it serves, hands the guest on, follows the new owner, perhaps takes the guest
 * back, and so on until nobody needs it (follower.c, serving.c, probation.c). */
#include "servicing/paravisor.h"

#include "devices/hands.h"
#include "engine/loop.h"
#include "engine/owner.h"
#include "engine/sandbox.h"
#include "servicing/badbuild.h"
#include "servicing/build_id.h"
#include "servicing/commands.h"
#include "servicing/fault.h"
#include "servicing/registry.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Rows, the loop's own descriptors, the standard ones. */
enum { PARAVISOR_FILES = WIRE_FD_BASE + LIMIT_FDS + 16 };

enum life paravisor_failed(struct paravisor *p, const char *format, ...)
{
	struct wire_proc *proc = &p->c.proc[p->slot];
	va_list ap;

	va_start(ap, format);
	vsnprintf(proc->why, sizeof(proc->why), format, ap);
	va_end(ap);
	fprintf(stderr, "paravisor[%u]: %s\n", p->slot, proc->why);
	atomic_store(&proc->state, PROC_FAILED);
	hands_kick_partition(p->hands);
	p->status = 1;
	return LIFE_ENDS;
}

/* ---- start ---------------------------------------------------------------------- */

static int attach(struct paravisor *p)
{
	struct wire_proc *proc;
	int r = custody_attach(&p->c, WIRE_FD_CUSTODY, true);

	if (r != 0) {
		fprintf(stderr, "holdfast: paravisor: not started by a partition, or by one of "
				"another version (%d)\n", r);
		return 1;
	}
	if (p->slot >= LIMIT_PROCS)
		return command_usage("paravisor");
	proc = &p->c.proc[p->slot];
	snprintf(proc->build, sizeof(proc->build), "%s", build_text());
	atomic_store(&proc->pid, (int32_t)getpid());
	r = owner_lock(&p->c, p->slot, 0, FENCE_NS);
	if (r < 0)
		paravisor_failed(p, "cannot hold its own mutex: %s", strerror(-r));
	return p->status;
}

static bool differs(void *user, const struct divergence *d)
{
	return expect_differs(&((struct paravisor *)user)->expect, d);
}

static void on_turn(void *user, const struct log_record *h, const void *payload,
		    const struct turn *turn)
{
	struct paravisor *p = user;

	(void)turn;
	badbuild_turn(p->world, false);
	probation_turn(p, h, payload);
}

static bool prepare(struct paravisor *p)
{
	p->world = world_new(&program);
	p->hands = hands_new(&p->c, &program);
	p->loop = loop_new(serving_on_ready, p);
	if (!p->world || !p->hands || !p->loop || follow_init(&p->follow, p->world) < 0 ||
	    follow_own_init(&p->follow) < 0)
		return paravisor_failed(p, "no memory");
	p->follow.differs = differs;
	p->follow.user = p;
	p->follow.on_turn = on_turn;
	fault_install(&p->c, &p->lane.point);
	expect_load(&p->expect, &p->c, p->c.proc[p->slot].exe_row);
	return true;
}

/* Stays until no request submitted by this process is left: it completes them
 * (its task work), nothing else. Epochs of others in between cost only time. */
static void linger(struct paravisor *p)
{
	const struct timespec step = { .tv_nsec = 100000000 };
	const uint64_t most_ns = 60000000000ull;
	uint64_t until = mono_now_ns() + most_ns;
	unsigned n;

	do {
		n = 0;
		for (uint32_t epoch = p->first_epoch; epoch && epoch <= p->epoch; epoch++)
			n += hands_requests_of(p->hands, epoch);
		if (n)
			nanosleep(&step, NULL);
	} while (n && mono_now_ns() < until);
}

static enum life begin(struct paravisor *p)
{
	switch (p->role) {
	case ROLE_FIRST:
		return follower_first(p);
	case ROLE_TAKER:
		return follower_taker(p);
	case ROLE_SUCCESSOR:
	case ROLE_STANDBY:
		break;
	}
	return follower_live(p);
}

static void live(struct paravisor *p)
{
	enum life next = begin(p);

	while (next != LIFE_ENDS)
		next = next == LIFE_SERVES ? serving_run(p) : probation_run(p);
	if (p->status == 0)
		linger(p);
}

static enum wire_role role_of(const char *name)
{
	static const struct {
		const char *name;
		enum wire_role role;
	} roles[] = { { "first", ROLE_FIRST }, { "taker", ROLE_TAKER }, { "standby", ROLE_STANDBY } };

	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
		if (strcmp(name, roles[i].name) == 0)
			return roles[i].role;
	}
	return ROLE_SUCCESSOR;
}

/* All it needs is open and mapped, and the partition has left it no privileges.
 * A kernel without filters is no reason not to serve. */
static void confine(const struct paravisor *p)
{
	int r = sandbox_limits(PARAVISOR_FILES);

	if (!r)
		r = sandbox_allow_only(SANDBOX_PARAVISOR);
	if (r)
		fprintf(stderr, "paravisor[%u]: not confined: %s\n", p->slot, strerror(-r));
}

int cmd_paravisor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "slot", required_argument, NULL, 's' },
		{ "role", required_argument, NULL, 'r' },
		{ "fill", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	static struct paravisor p;
	int option;

	p.slot = LIMIT_PROCS;
	p.role = ROLE_SUCCESSOR;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			p.slot = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'r')
			p.role = role_of(optarg);
		else if (option == 'f')
			p.fill = (uint8_t)strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (attach(&p) || !prepare(&p))
		return 1;
	confine(&p);
	live(&p);
	return p.status;
}
