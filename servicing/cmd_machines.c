/* `holdfast machines`: everything that derives from the .def files. */
#include "servicing/commands.h"
#include "servicing/options.h"

#include "engine/sm_tools.h"
#include "persist/schema.h"
#include "servicing/registry.h"
#include "statemachines/machines.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_MOST = 1 << 20 }; /* bytes of a published schema */

static int write_file(const char *dir, const struct sm_desc *d, const char *ending,
		      void (*print)(const struct sm_desc *, FILE *))
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.%s", dir, d->name, ending);
	f = fopen(path, "w");
	if (!f) {
		fprintf(stderr, "holdfast: %s: %s\n", path, strerror(errno));
		return 1;
	}
	print(d, f);
	return fclose(f) ? 1 : 0;
}

static int write_pages(const char *dir)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (machines[k] && (write_file(dir, machines[k], "md", sm_page) ||
				    write_file(dir, machines[k], "dot", sm_dot)))
			return 1;
	return 0;
}

static void print_list(const struct sm_desc *d, FILE *out)
{
	fprintf(out, "%-10s kind %2u  %4u instances  %2u states %2u events %2u fields %3u rows  level %u\n",
		d->name, d->kind, d->capacity, d->n_states, d->n_events, d->n_fields, d->n_rows,
		sm_desc_level(d));
}

static int for_each(const char *name, void (*print)(const struct sm_desc *, FILE *))
{
	unsigned n = 0;

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (!machines[k] || (name && strcmp(name, machines[k]->name) != 0))
			continue;
		print(machines[k], stdout);
		n++;
	}
	if (n)
		return 0;
	fprintf(stderr, "holdfast: no machine '%s'; `holdfast machines` lists them\n", name);
	return 1;
}

static int lint_all(void)
{
	unsigned found = 0, n = 0;

	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (machines[k]) {
			found += sm_lint(machines[k], stderr);
			n++;
		}
	printf("lint: %u machines, %u findings\n", n, found);
	return found ? 1 : 0;
}

/* What is published can be relied upon by other builds, saved states and logs. */
static int check_golden(const char *path)
{
	char why[SCHEMA_WHY] = "", *text;
	FILE *f = fopen(path, "re");
	size_t n;
	int r;

	if (!f) {
		fprintf(stderr, "holdfast: %s: %s; a file written by `holdfast machines --schema` "
			"expected\n", path, strerror(errno));
		return 1;
	}
	text = calloc(1, GOLDEN_MOST);
	n = text ? fread(text, 1, GOLDEN_MOST - 1, f) : 0;
	fclose(f);
	r = n ? schema_check(text, &program, why) : -ENODATA;
	free(text);
	if (r == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: %s. What was published stays as it is: give what is new a "
		"level above it (since), keep numbers, retire fields by SM_RETIRED; "
		"tests/compat/README.md tells how\n", path, r < 0 ? strerror(-r) : why);
	return 1;
}

int cmd_machines(int argc, char **argv)
{
	int option, what = 0;
	const char *dir = NULL, *name;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		what = option;
		dir = option == 'm' || option == 'g' ? optarg : dir;
	}
	name = optind < argc ? argv[optind] : NULL;
	switch (what) {
	case 'd':
		return for_each(name, sm_dot);
	case 'm':
		return write_pages(dir);
	case 'l':
		return lint_all();
	case 'g':
		return check_golden(dir);
	case 's':
		return schema_text(&program, stdout) < 0 ? 1 : 0;
	default:
		return for_each(name, print_list);
	}
}
