/* `holdfast sim` is a program of its own, holdfast-sim: it links the product's
 * objects against a simulated kernel, which this one must not. */
#include "servicing/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* Beside this executable, or in the folder of its build. */
static const char *const places[] = { "holdfast-sim", "sim/holdfast-sim" };

int cmd_sim(int argc, char **argv)
{
	char dir[PATH_BYTES] = "", path[PATH_BYTES + 32];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char *end = n > 0 ? strrchr(dir, '/') : NULL;

	(void)argc;
	if (end)
		*end = '\0';
	for (size_t i = 0; end && i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, places[i]);
		execv(path, argv);
	}
	fprintf(stderr, "holdfast: sim: %s/%s: %s; build it: ninja sim/holdfast-sim\n", dir,
		places[1], strerror(errno));
	return 1;
}
