/* `holdfast inspect`: ownership, processes, mailboxes, log, checkpoints,
 * counters and every live machine as one tree.
 *
 * The tree is JSON; text is the same tree, a line per object. A path names a
 * part of it: channel, channel[3], channel[3].state, procs[0].pid, ownership. */
#include "servicing/commands.h"
#include "servicing/decode.h"
#include "servicing/registry.h"
#include "servicing/view.h"

#include "engine/fact.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WATCH_US = 500000, PATH_TEXT = 256 };

struct inspect_options {
	const char *state, *path;
	bool json, watch;
};

static int arguments(int argc, char **argv, struct inspect_options *o)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "watch", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			o->state = optarg;
		else if (option == 'j')
			o->json = true;
		else if (option == 'w')
			o->watch = true;
		else
			return command_usage(argv[0]);
	}
	if (optind < argc)
		o->path = argv[optind++];
	return o->state && optind == argc ? 0 : command_usage(argv[0]);
}

static void add_text(cJSON *to, const char *name, const char *text, size_t size)
{
	char copy[256];

	snprintf(copy, sizeof(copy), "%.*s", (int)strnlen(text, size), text);
	cJSON_AddStringToObject(to, name, copy);
}

static const char *name_of(const char *const *names, size_t n, unsigned i)
{
	return i < n && names[i] ? names[i] : "?";
}

/* ---- the tree ------------------------------------------------------------------- */

static void add_partition(cJSON *tree, const struct custody *c)
{
	cJSON *o = cJSON_AddObjectToObject(tree, "partition");

	add_text(o, "name", c->h->name, sizeof(c->h->name));
	cJSON_AddStringToObject(o, "backend", c->h->backend == 1 ? "kvm" : "soft");
	decode_number(o, "vps", c->h->vps);
	decode_number(o, "ram_bytes", c->h->ram_bytes);
	decode_number(o, "custody_bytes", c->bytes);
	decode_number(o, "log_bytes", c->lane_words[0].bytes);
	decode_number(o, "now_ns", custody_now_ns(c));
}

static void add_ownership(cJSON *tree, const struct custody *c)
{
	static const char *const states[] = { "none", "owned", "flipping", "taking", "paused" };
	cJSON *o = cJSON_AddObjectToObject(tree, "ownership");
	uint64_t word = atomic_load(&c->h->owner);

	decode_number(o, "epoch", OWNER_EPOCH(word));
	decode_number(o, "slot", OWNER_SLOT(word));
	cJSON_AddStringToObject(o, "state", name_of(states, ARRAY_LEN(states), OWNER_STATE(word)));
	decode_number(o, "level", atomic_load(&c->h->level));
	decode_number(o, "takeovers", atomic_load(&c->h->takeovers));
	decode_number(o, "kills", atomic_load(&c->h->kills));
	decode_number(o, "spawns", atomic_load(&c->h->spawns));
	decode_number(o, "faults", atomic_load(&c->h->faults));
	decode_number(o, "vp_stopped", atomic_load(&c->h->vp_stopped));
	decode_number(o, "vp_wait_ns_max", atomic_load(&c->h->vp_wait_ns_max));
	decode_number(o, "death_ns", atomic_load(&c->h->death_ns));
	decode_number(o, "served_ns", atomic_load(&c->h->served_ns));
}

static void add_procs(cJSON *tree, const struct custody *c)
{
	static const char *const states[] = { "free", "spawned", "loading", "following", "ready",
					      "owner", "retired", "failed" };
	static const char *const roles[] = { NULL, "first", "successor", "taker", "standby" };
	cJSON *all = cJSON_AddObjectToObject(tree, "procs");

	for (unsigned i = 0; i < LIMIT_PROCS; i++) {
		const struct wire_proc *p = &c->proc[i];
		unsigned state = atomic_load(&p->state);
		char key[8];
		cJSON *o;

		if (state == PROC_FREE)
			continue;
		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(all, key);
		cJSON_AddStringToObject(o, "state", name_of(states, ARRAY_LEN(states), state));
		cJSON_AddStringToObject(o, "role", name_of(roles, ARRAY_LEN(roles), p->role));
		decode_number(o, "pid", (uint64_t)atomic_load(&p->pid));
		add_text(o, "build", p->build, sizeof(p->build));
		decode_number(o, "followed_seq", atomic_load(&p->followed_seq));
		if (p->why[0])
			add_text(o, "why", p->why, sizeof(p->why));
	}
}

static void add_mailboxes(cJSON *tree, const struct custody *c)
{
	static const char *const states[] = { "idle", "posted", "answered", "?" };
	static const char *const exits[] = {
#define X(name, code, handler, doc) [code] = #name,
		WIRE_EXITS(X)
#undef X
	};
	cJSON *all = cJSON_AddObjectToObject(tree, "mailboxes");

	for (unsigned i = 0; i < c->h->vps && i < LIMIT_VPS; i++) {
		const struct wire_mailbox *m = &c->mailbox[i];
		uint32_t word = atomic_load(&m->state);
		char key[8];
		cJSON *o;

		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(all, key);
		cJSON_AddStringToObject(o, "state", states[word & 3]);
		decode_number(o, "generation", word >> 2);
		cJSON_AddStringToObject(o, "exit", name_of(exits, ARRAY_LEN(exits), m->exit));
		decode_number(o, "address", m->address);
		decode_number(o, "value", m->value);
	}
}

static void add_log(cJSON *tree, const struct custody *c)
{
	const struct log_words *l = &c->lane_words[0];
	cJSON *o = cJSON_AddObjectToObject(tree, "log");
	cJSON *all = cJSON_AddObjectToObject(tree, "checkpoints");

	decode_number(o, "tail", atomic_load(&l->tail));
	decode_number(o, "oldest", atomic_load(&l->oldest));
	decode_number(o, "done_seq", atomic_load(&l->done));
	for (unsigned i = 0; i < 2; i++) {
		const struct wire_slot_head *s = &c->slot_head[i];
		cJSON *slot = cJSON_AddObjectToObject(all, i ? "1" : "0");

		decode_number(slot, "generation", atomic_load(&s->generation));
		decode_number(slot, "seq", s->seq);
		decode_number(slot, "bytes", s->bytes);
		decode_number(slot, "position", s->position);
	}
}

static void add_stats(cJSON *tree, const struct custody *c)
{
	cJSON *o = cJSON_AddObjectToObject(tree, "stats");

	decode_number(o, "turns", atomic_load(&c->stats->turns));
	decode_number(o, "checkpoints", atomic_load(&c->stats->checkpoints));
	decode_number(o, "log_full_waits", atomic_load(&c->stats->log_full_waits));
	decode_number(o, "requests_submitted", atomic_load(&c->stats->requests_submitted));
	decode_number(o, "requests_completed", atomic_load(&c->stats->requests_completed));
	decode_number(o, "requests_reissued", atomic_load(&c->stats->requests_reissued));
	decode_number(o, "inflight", atomic_load(&c->stats->inflight));
	decode_number(o, "messages_delivered", atomic_load(&c->stats->messages_delivered));
	decode_number(o, "doorbells_unmatched", atomic_load(&c->stats->doorbells_unmatched));
}

/* The last take-overs, by the owner's count; those being overwritten are left out. */
static void add_gaps(cJSON *tree, const struct custody *c)
{
	static const char *const reasons[] = { NULL, "first", "planned", "death", "rollback" };
	cJSON *all = cJSON_AddObjectToObject(tree, "gaps");
	uint64_t n = atomic_load(&c->stats->n_gaps);

	for (uint64_t i = n > ARRAY_LEN(c->stats->gap) - 1 ? n - ARRAY_LEN(c->stats->gap) + 1 : 0;
	     i < n; i++) {
		uint64_t at = i % ARRAY_LEN(c->stats->gap);
		char key[24];
		cJSON *o;

		snprintf(key, sizeof(key), "%llu", (unsigned long long)i);
		o = cJSON_AddObjectToObject(all, key);
		cJSON_AddStringToObject(o, "reason", name_of(reasons, ARRAY_LEN(reasons),
							     c->stats->gap[at].reason));
		decode_number(o, "epoch", c->stats->gap[at].epoch);
		decode_number(o, "seq", c->stats->gap[at].seq);
		decode_number(o, "gap_ns", c->stats->gap[at].gap_ns);
		decode_number(o, "inflight", c->stats->gap[at].inflight);
		add_text(o, "build", c->stats->gap[at].build, sizeof(c->stats->gap[at].build));
	}
}

static void add_world(cJSON *tree, const struct world *w)
{
	const struct lane_state *l = world_lane_const(w);
	cJSON *o = cJSON_AddObjectToObject(tree, "lane");

	decode_number(o, "seq", l->seq);
	decode_number(o, "time_ns", l->time_ns);
	decode_number(o, "level", l->level);
	decode_number(o, "ignored", l->ignored);
	decode_number(o, "rejected", l->rejected);
	decode_number(o, "blob_chunks_free", world_blob_room(w));
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = program.machines[k];
		cJSON *all = d ? cJSON_AddObjectToObject(tree, d->name) : NULL;

		for (uint16_t i = 0; d && i < d->capacity; i++) {
			char key[8];

			if (!world_at(w, d->kind, i))
				continue;
			snprintf(key, sizeof(key), "%u", i);
			cJSON_AddItemToObject(all, key, decode_instance(w, d, i));
		}
	}
}

static cJSON *tree_of(const struct view *v)
{
	cJSON *tree = cJSON_CreateObject();

	add_partition(tree, &v->c);
	add_ownership(tree, &v->c);
	add_procs(tree, &v->c);
	add_mailboxes(tree, &v->c);
	add_log(tree, &v->c);
	add_stats(tree, &v->c);
	add_gaps(tree, &v->c);
	add_world(tree, v->world);
	return tree;
}

/* ---- text ----------------------------------------------------------------------- */

static bool is_number(const char *s)
{
	return isdigit((unsigned char)*s) != 0;
}

static void print_scalar(const cJSON *v)
{
	char *text;

	if (cJSON_IsString(v)) {
		fputs(v->valuestring, stdout);
		return;
	}
	text = cJSON_PrintUnformatted(v);
	fputs(text ? text : "?", stdout);
	cJSON_free(text);
}

static void print_tree(const char *path, const cJSON *v)
{
	const cJSON *child;
	bool any = false;

	if (!cJSON_IsObject(v)) {
		printf("%s ", path);
		print_scalar(v);
		printf("\n");
		return;
	}
	cJSON_ArrayForEach(child, v) {
		if (cJSON_IsObject(child))
			continue;
		printf("%s %s=", any ? "" : path, child->string);
		print_scalar(child);
		any = true;
	}
	if (any)
		printf("\n");
	cJSON_ArrayForEach(child, v) {
		char below[PATH_TEXT];

		if (!cJSON_IsObject(child))
			continue;
		snprintf(below, sizeof(below), is_number(child->string) ? "%s[%s]" : "%s%s",
			 path, child->string);
		print_tree(below, child);
	}
}

/* The part of the tree that @path names, NULL when it is not there. */
static const cJSON *find(const cJSON *tree, const char *path)
{
	while (tree && *path) {
		size_t n = strcspn(path, ".[]");
		char key[64];

		if (n == 0) {
			path++;
			continue;
		}
		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		tree = cJSON_IsArray(tree) && is_number(key) ? cJSON_GetArrayItem(tree, atoi(key))
			: cJSON_GetObjectItemCaseSensitive(tree, key);
		path += n;
	}
	return tree;
}

static int show(const struct view *v, const struct inspect_options *o)
{
	cJSON *tree = tree_of(v);
	const cJSON *part = find(tree, o->path ? o->path : "");
	char *text;
	int r = 0;

	if (!part) {
		fprintf(stderr, "holdfast: %s: nothing is called '%s' now; "
			"`holdfast inspect --state %s` shows all\n", o->state, o->path, o->state);
		r = 1;
	} else if (!o->json) {
		print_tree(o->path ? o->path : "", part);
	} else {
		text = cJSON_Print(part);
		puts(text ? text : "null");
		cJSON_free(text);
	}
	cJSON_Delete(tree);
	return r;
}

int cmd_inspect(int argc, char **argv)
{
	struct inspect_options o = { 0 };
	struct view v;
	int r = arguments(argc, argv, &o);

	if (r)
		return r;
	if (view_open(o.state, &v) < 0)
		return 1;
	r = show(&v, &o);
	while (o.watch && !ferror(stdout) && view_alive(o.state)) {
		fflush(stdout);
		usleep(WATCH_US);
		if (view_update(&v) < 0)
			break;
		if (isatty(STDOUT_FILENO) == 1)
			printf("\033[H\033[J");
		r = show(&v, &o);
	}
	view_close(&v);
	return r;
}
