/* Loading programs; see programs.h.
 *
 * Invariant: an instance is in use by at most one live process. */
#include "sim/programs.h"

#include "engine/fact.h"
#include "sim/run.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <getopt.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INSTANCES = 8, ARGUMENTS = 64, PATH_BYTES = 4096 };

struct instance {
	void *handle;
	const struct sim_program *program;
	const struct process *user;
	uint8_t *data, *image;        /* writable segment, and how it was */
	size_t bytes;
};

static struct { const char *file; unsigned instances, n; struct instance instance[INSTANCES]; }
programs[PROGRAMS] = {
	[PROGRAM_A] = { .file = "sim-a.so", .instances = INSTANCES },
	[PROGRAM_B] = { .file = "sim-b.so", .instances = INSTANCES },
	[PROGRAM_LOAD] = { .file = "sim-load.so", .instances = 1 },
	[PROGRAM_HOSTILE_GUEST] = { .file = "sim-hostile.so", .instances = 1 },
	[PROGRAM_ARCHIVE_A] = { .file = "sim-archive-a.so", .instances = 1 },
	[PROGRAM_ARCHIVE_B] = { .file = "sim-archive-b.so", .instances = 1 },
};

struct start {
	struct instance *instance;
	int argc;
	char **argv;
};

/* ---- loading --------------------------------------------------------------------- */

/* The part of the data that is written after loading: behind what the loader
 * makes read-only. */
static int find_data(struct dl_phdr_info *info, size_t size, void *user)
{
	struct instance *i = user;
	uintptr_t inside = (uintptr_t)i->program, from = 0, to = 0, sealed = 0;
	bool ours = false;

	(void)size;
	for (unsigned n = 0; n < info->dlpi_phnum; n++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[n];
		uintptr_t at = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && inside >= at && inside < at + ph->p_memsz)
			ours = true;
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_W)) {
			from = at;
			to = at + ph->p_memsz;
		}
		if (ph->p_type == PT_GNU_RELRO)
			sealed = (at + ph->p_memsz + 4095) & ~(uintptr_t)4095;
	}
	if (!ours)
		return 0;
	if (sealed > from)
		from = sealed;
	i->data = (uint8_t *)from;
	i->bytes = to > from ? to - from : 0;
	return 1;
}

static int copy_to(int fd, const char *path)
{
	static uint8_t bytes[1 << 16];
	int from = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (from < 0)
		return -1;
	while ((n = __real_read(from, bytes, sizeof(bytes))) > 0)
		if (__real_write(fd, bytes, (size_t)n) != n)
			break;
	__real_close(from);
	return n == 0 ? 0 : -1;
}

static int load(struct instance *i, const char *path)
{
	char name[32];
	int fd = __real_memfd_create(path, 0);

	if (fd < 0 || copy_to(fd, path)) {
		fprintf(stderr, "holdfast: sim: %s: cannot be read; build it\n", path);
		return 1;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	i->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!i->handle) {
		fprintf(stderr, "holdfast: sim: %s: %s\n", path, dlerror());
		return 1;
	}
	i->program = dlsym(i->handle, "sim_program");
	fact(i->program);
	if (i->program->prepare)
		i->program->prepare();
	dl_iterate_phdr(find_data, i);
	i->image = __real_malloc(i->bytes + 1);
	fact(i->image);
	memcpy(i->image, i->data, i->bytes);
	return 0;
}

int programs_load(void)
{
	char path[PATH_BYTES + 32], dir[PATH_BYTES] = "";
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

	if (n > 0)
		*strrchr(dir, '/') = '\0';
	for (unsigned p = 0; p < PROGRAMS; p++) {
		snprintf(path, sizeof(path), "%s/%s", dir, programs[p].file);
		for (unsigned i = 0; i < programs[p].instances; i++)
			if (load(&programs[p].instance[i], path))
				return 1;
	}
	return 0;
}

const struct sim_program *program_tables(enum program p)
{
	return programs[p].instance[0].program;
}

/* ---- starting -------------------------------------------------------------------- */

static void *run_program(void *argument)
{
	struct start s = *(struct start *)argument;
	struct process *p = process_current();
	int status;

	optind = 0;
	status = s.instance->program->main(s.argc, s.argv);
	process_end(p, status, 0);
	return NULL;
}

static struct instance *free_instance(enum program program)
{
	for (unsigned i = 0; i < programs[program].instances; i++) {
		struct instance *at = &programs[program].instance[i];

		if (!at->user || !at->user->alive)
			return at;
	}
	return NULL;
}

/* Arguments live as long as the world. */
static struct start *keep(struct instance *instance, char *const *argv)
{
	struct start *s = __real_calloc(1, sizeof(*s) + ARGUMENTS * sizeof(char *));

	fact(s);
	s->instance = instance;
	s->argv = (char **)(void *)(s + 1);
	for (; argv[s->argc] && s->argc < ARGUMENTS - 1; s->argc++) {
		size_t n = strlen(argv[s->argc]) + 1;

		s->argv[s->argc] = __real_malloc(n);
		fact(s->argv[s->argc]);
		memcpy(s->argv[s->argc], argv[s->argc], n);
	}
	return s;
}

void program_start(struct process *p, enum program program, char *const *argv)
{
	struct instance *i = free_instance(program);

	fact(i);
	memcpy(i->data, i->image, i->bytes);
	i->user = p;
	fiber_new(p, run_program, keep(i, argv));
}
