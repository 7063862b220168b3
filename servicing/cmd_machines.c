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
#include <string.h>

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

int cmd_machines(int argc, char **argv)
{
	int option, what = 0;
	const char *dir = NULL, *name;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == '?')
			return 2;
		what = option;
		dir = option == 'm' ? optarg : dir;
	}
	name = optind < argc ? argv[optind] : NULL;
	switch (what) {
	case 'd':
		return for_each(name, sm_dot);
	case 'm':
		return write_pages(dir);
	case 'l':
		return lint_all();
	case 's':
		return schema_text(&program, stdout) < 0 ? 1 : 0;
	default:
		return for_each(name, print_list);
	}
}
