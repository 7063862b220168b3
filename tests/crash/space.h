/* tests/crash/space.h - the address space of a process, and names for places in it.
 *
 * A place in text is (file, offset in it): the same in every process that runs
 * the file, wherever it is mapped. Not thread-safe. */
#ifndef TESTS_CRASH_SPACE_H
#define TESTS_CRASH_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SPACE_MAPS = 1024, SPACE_PATH = 200 };

struct space_map {
	uint64_t from, to, offset;
	bool shared, executable, writable;
	char path[SPACE_PATH];
};

struct space {
	unsigned n;
	struct space_map map[SPACE_MAPS];
};

struct place {
	char path[SPACE_PATH];
	uint64_t offset;
};

/* Reads /proc/PID/maps. 0 or a negative errno. */
int space_read(struct space *s, pid_t pid);

/* The writable MAP_SHARED mapping that [from, from + bytes) touches, or NULL. */
const struct space_map *space_shared(const struct space *s, uint64_t from, uint64_t bytes);

/* Text address to place and back. False / 0: not in this space. */
bool space_place(const struct space *s, uint64_t address, struct place *ret);
uint64_t space_address(const struct space *s, const struct place *p);

/* Offset in the file of function @name of the ELF file @path. 0, -ENOENT: no such
 * symbol, or another negative errno. */
int elf_function(const char *path, const char *name, struct place *ret);

/* "function at file:line" as far as symbols tell, else "file+offset". */
void place_describe(const struct place *p, char *text, size_t capacity);

#endif
