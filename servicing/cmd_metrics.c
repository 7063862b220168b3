/* `holdfast metrics`: counters and gauges in Prometheus' text format 0.0.4,
 * read from custody. They live as long as the VM, across every paravisor. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/view.h"

#include "engine/fact.h"
#include "servicing/registry.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

static void head(const char *name, const char *type, const char *help)
{
	printf("# HELP holdfast_%s %s\n# TYPE holdfast_%s %s\n", name, help, name, type);
}

static void one(const char *name, const char *type, const char *help, uint64_t v)
{
	head(name, type, help);
	printf("holdfast_%s %" PRIu64 "\n", name, v);
}

/* Nanoseconds as seconds, with all digits. */
static void seconds(uint64_t ns)
{
	printf("%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void label(const char *text, size_t size)
{
	for (size_t i = 0; i < size && text[i]; i++) {
		if (text[i] == '\n')
			fputs("\\n", stdout);
		else if (text[i] == '"' || text[i] == '\\')
			printf("\\%c", text[i]);
		else
			putchar(text[i]);
	}
}

static void print_owner(const struct custody *c)
{
	uint64_t word = atomic_load(&c->h->owner);
	const struct wire_proc *p = &c->proc[OWNER_SLOT(word) % LIMIT_PROCS];

	head("paravisor_info", "gauge", "Who serves: always 1, or 0 while nobody does.");
	printf("holdfast_paravisor_info{build=\"");
	label(p->build, sizeof(p->build));
	printf("\",slot=\"%u\"} %d\n", OWNER_SLOT(word), OWNER_STATE(word) == OWNER_OWNED);
	one("epoch", "gauge", "Number of the owner, counted from 1.", OWNER_EPOCH(word));
	one("level", "gauge", "Active level of the state's schema.", atomic_load(&c->h->level));
	one("takeovers_total", "counter", "Owners that began to serve.",
	    atomic_load(&c->h->takeovers));
	one("kills_total", "counter", "Paravisors killed by the operator.",
	    atomic_load(&c->h->kills));
	one("spawns_total", "counter", "Paravisors started.", atomic_load(&c->h->spawns));
	one("faults_total", "counter", "Paravisors that died by their own doing.",
	    atomic_load(&c->h->faults));
	head("vp_wait_seconds_max", "gauge", "Longest wait of a VP for the owner.");
	printf("holdfast_vp_wait_seconds_max ");
	seconds(atomic_load(&c->h->vp_wait_ns_max));
}

static void print_exits(const struct custody *c)
{
	head("exits_total", "counter", "Exits of VPs, by kind.");
#define X(name, code, handler, doc) \
	printf("holdfast_exits_total{exit=\"%s\"} %" PRIu64 "\n", &#name[sizeof("EXIT_") - 1], \
	       atomic_load(&c->stats->exits[code]));
	WIRE_EXITS(X)
#undef X
}

static void print_work(const struct custody *c)
{
	const struct wire_stats *s = c->stats;

	one("turns_total", "counter", "Turns of the lane.", atomic_load(&s->turns));
	one("checkpoints_total", "counter", "Checkpoints written.", atomic_load(&s->checkpoints));
	one("log_full_waits_total", "counter", "Times the lane waited for room in the log.",
	    atomic_load(&s->log_full_waits));
	one("log_bytes_total", "counter", "Bytes of log written.",
	    atomic_load(&c->lane_words[0].tail));
	one("requests_submitted_total", "counter", "Disk requests given to the kernel.",
	    atomic_load(&s->requests_submitted));
	one("requests_completed_total", "counter", "Disk requests the kernel has completed.",
	    atomic_load(&s->requests_completed));
	one("requests_reissued_total", "counter", "Disk requests the kernel never ran, given again.",
	    atomic_load(&s->requests_reissued));
	one("requests_inflight", "gauge", "Disk requests the kernel has.",
	    atomic_load(&s->inflight));
	one("messages_delivered_total", "counter", "SynIC messages the guest was given.",
	    atomic_load(&s->messages_delivered));
	one("doorbells_unmatched_total", "counter", "Signals for a connection nobody has.",
	    atomic_load(&s->doorbells_unmatched));
}

static void print_gap(const struct custody *c)
{
	uint64_t n = atomic_load(&c->stats->n_gaps);

	if (n == 0)
		return;
	head("last_takeover_gap_seconds", "gauge",
	     "From the last owner's stop or death to the new one's first ring access.");
	printf("holdfast_last_takeover_gap_seconds ");
	seconds(c->stats->gap[(n - 1) % ARRAY_LEN(c->stats->gap)].gap_ns);
}

static unsigned live_in(const struct world *w, const struct sm_desc *d, uint16_t state)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < d->capacity; i++) {
		const struct sm_head *h = world_at(w, d->kind, i);

		n += h && h->state == state;
	}
	return n;
}

/* Live instances by machine and state. */
static void print_machines(const struct world *w)
{
	head("machines", "gauge", "Live instances of state machines.");
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = program.machines[k];

		for (unsigned s = 0; d && s < d->n_states; s++)
			printf("holdfast_machines{machine=\"%s\",state=\"%s\"} %u\n", d->name,
			       d->states[s].name, live_in(w, d, d->states[s].code));
	}
	one("rejected_total", "counter", "Events of the guest that were refused.",
	    world_lane_const(w)->rejected);
	one("ignored_total", "counter", "Events that changed nothing.",
	    world_lane_const(w)->ignored);
}

int cmd_metrics(int argc, char **argv)
{
	const char *state = NULL;
	struct view v;
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		state = optarg;
	}
	if (optind != argc)
		return command_usage(argv[0]);
	if (view_open(state, &v) < 0)
		return 1;
	print_owner(&v.c);
	print_work(&v.c);
	print_exits(&v.c);
	print_gap(&v.c);
	print_machines(v.world);
	view_close(&v);
	return 0;
}
