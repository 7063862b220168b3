/* `holdfast list`: who serves the VM, in one line; or all VMs whose state
 * directories lie where `run` puts them. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/control_client.h"
#include "servicing/view.h"

#include <getopt.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int arguments(int argc, char **argv, const char **ret_state)
{
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		*ret_state = optarg;
	}
	return optind == argc ? 0 : command_usage(argv[0]);
}

/* One word: blanks would break whoever splits the line. */
static void build_word(const struct wire_proc *p, char ret[64])
{
	memcpy(ret, p->build, 64);
	ret[63] = '\0';
	for (char *c = ret; *c; c++) {
		if (*c == ' ')
			*c = '-';
	}
	if (!ret[0])
		strcpy(ret, "-");
}

static void print_line(const struct custody *c)
{
	uint64_t owner = atomic_load(&c->h->owner);
	unsigned slot = OWNER_SLOT(owner) % LIMIT_PROCS;
	bool owned = OWNER_STATE(owner) == OWNER_OWNED || OWNER_STATE(owner) == OWNER_FLIPPING;
	char build[64];

	build_word(&c->proc[slot], build);
	printf("paravisor_pid=%d epoch=%u build=%s slot=%u inflight=%" PRIu64 " vp_stopped=%" PRIu64
	       " takeovers=%u kills=%u vp_wait_ms_max=%.3f level=%u turns=%" PRIu64
	       " faults=%u spawns=%u\n",
	       owned ? atomic_load(&c->proc[slot].pid) : 0, OWNER_EPOCH(owner),
	       owned ? build : "-", slot, atomic_load(&c->stats->inflight),
	       atomic_load(&c->h->vp_stopped), atomic_load(&c->h->takeovers),
	       atomic_load(&c->h->kills), (double)atomic_load(&c->h->vp_wait_ns_max) / 1e6,
	       atomic_load(&c->h->level), atomic_load(&c->stats->turns),
	       atomic_load(&c->h->faults), atomic_load(&c->h->spawns));
}

static int list_one(const char *state)
{
	struct custody c;

	if (control_custody(state, &c) < 0)
		return 1;
	print_line(&c);
	custody_detach(&c);
	return 0;
}

static int list_all(void)
{
	glob_t found = { 0 };
	int r = glob("/run/holdfast-*", GLOB_ONLYDIR, NULL, &found);

	for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
		if (!view_alive(found.gl_pathv[i]))
			continue;
		printf("state=%s ", found.gl_pathv[i]);
		fflush(stdout);
		if (list_one(found.gl_pathv[i]))
			printf("\n");
	}
	globfree(&found);
	return 0;
}

int cmd_list(int argc, char **argv)
{
	const char *state = NULL;
	int r = arguments(argc, argv, &state);

	if (r)
		return r;
	return state ? list_one(state) : list_all();
}
