/* `holdfast inspect`: custody and every live machine as one tree.
 *
 * The tree is JSON; text is the same tree, a line per object. A path names a
 * part of it: channel, channel[3], channel[3].state, procs[0].pid, ownership. */
#include "servicing/archive_status.h"
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/decode.h"
#include "servicing/inspect_custody.h"
#include "servicing/registry.h"
#include "servicing/view.h"

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
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == 's')
			o->state = optarg;
		else if (option == 'j')
			o->json = true;
		else if (option == 'w')
			o->watch = true;
		else
			return 2;
	}
	if (optind < argc)
		o->path = argv[optind++];
	return optind == argc ? 0 : command_usage(argv[0]);
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

static cJSON *tree_of(const struct view *v, const char *state)
{
	cJSON *tree = cJSON_CreateObject();

	inspect_custody(tree, &v->c);
	archive_status_show(tree, state, &v->c);
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
		for (const char *p = v->valuestring; *p; p++) {
			if (*p == '\n')
				fputs("\\n", stdout);
			else
				putchar(*p);
		}
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
	cJSON *tree = tree_of(v, o->state);
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
