/* /proc/PID/maps, and just enough ELF to find a function. */
#include "tests/crash/space.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's answer for a place that symbols say nothing about. */
#define UNKNOWN "??"

static bool parse_line(const char *line, struct space_map *m)
{
	char flags[5] = "";
	int at = 0;

	*m = (struct space_map){ 0 };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &m->from, &m->to,
		   flags, &m->offset, &at) < 4)
		return false;
	m->writable = flags[1] == 'w';
	m->executable = flags[2] == 'x';
	m->shared = flags[3] == 's';
	if (at > 0)
		snprintf(m->path, sizeof(m->path), "%.*s", (int)strcspn(line + at, "\n"), line + at);
	return true;
}

int space_read(struct space *s, pid_t pid)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	s->n = 0;
	while (s->n < SPACE_MAPS && fgets(line, sizeof(line), f))
		s->n += parse_line(line, &s->map[s->n]);
	fclose(f);
	return s->n == 0 ? -ESRCH : s->n == SPACE_MAPS ? -E2BIG : 0;
}

const struct space_map *space_shared(const struct space *s, uint64_t from, uint64_t bytes)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct space_map *m = &s->map[i];

		if (m->shared && m->writable && bytes && from < m->to && from + bytes > m->from)
			return m;
	}
	return NULL;
}

bool space_place(const struct space *s, uint64_t address, struct place *ret)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct space_map *m = &s->map[i];

		if (!m->executable || address < m->from || address >= m->to)
			continue;
		snprintf(ret->path, sizeof(ret->path), "%s", m->path);
		ret->offset = address - m->from + m->offset;
		return true;
	}
	return false;
}

uint64_t space_address(const struct space *s, const struct place *p)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct space_map *m = &s->map[i];

		if (m->executable && p->offset >= m->offset &&
		    p->offset - m->offset < m->to - m->from && strcmp(m->path, p->path) == 0)
			return m->from + (p->offset - m->offset);
	}
	return 0;
}

/* ---- ELF ----------------------------------------------------------------------- */

struct image {
	const uint8_t *at;
	size_t bytes;
};

static int image_open(const char *path, struct image *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *at;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || (size_t)st.st_size < sizeof(Elf64_Ehdr)) {
		close(fd);
		return -ENOEXEC;
	}
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return -errno;
	*ret = (struct image){ .at = at, .bytes = (size_t)st.st_size };
	return memcmp(at, ELFMAG, SELFMAG) == 0 ? 0 : -ENOEXEC;
}

static const void *within(const struct image *i, uint64_t offset, uint64_t bytes)
{
	return offset <= i->bytes && bytes <= i->bytes - offset ? i->at + offset : NULL;
}

/* Address as linked to offset in the file, or the other way: the segment that
 * holds it says how far they are apart. */
static bool translate(const struct image *i, uint64_t from, bool to_offset, uint64_t *ret)
{
	const Elf64_Ehdr *e = (const void *)i->at;
	const Elf64_Phdr *p = within(i, e->e_phoff, (uint64_t)e->e_phnum * sizeof(*p));

	for (unsigned n = 0; p && n < e->e_phnum; n++) {
		uint64_t start = to_offset ? p[n].p_vaddr : p[n].p_offset;

		if (p[n].p_type != PT_LOAD || from < start || from - start >= p[n].p_filesz)
			continue;
		*ret = from - start + (to_offset ? p[n].p_offset : p[n].p_vaddr);
		return true;
	}
	return false;
}

static const Elf64_Sym *find(const struct image *i, const Elf64_Shdr *table,
			     const Elf64_Shdr *names, const char *name)
{
	const Elf64_Sym *symbol = within(i, table->sh_offset, table->sh_size);

	for (uint64_t n = 0; symbol && n < table->sh_size / sizeof(*symbol); n++) {
		uint64_t at = names->sh_offset + symbol[n].st_name;
		const char *text = within(i, at, strlen(name) + 1);

		if (text && symbol[n].st_value && ELF64_ST_TYPE(symbol[n].st_info) == STT_FUNC &&
		    strcmp(text, name) == 0)
			return &symbol[n];
	}
	return NULL;
}

int elf_function(const char *path, const char *name, struct place *ret)
{
	struct image image = { 0 };
	const Elf64_Ehdr *e;
	const Elf64_Shdr *s;
	const Elf64_Sym *symbol = NULL;
	int r = image_open(path, &image);

	if (r < 0)
		return r;
	e = (const void *)image.at;
	s = within(&image, e->e_shoff, (uint64_t)e->e_shnum * sizeof(*s));
	for (unsigned n = 0; s && !symbol && n < e->e_shnum; n++) {
		if ((s[n].sh_type == SHT_SYMTAB || s[n].sh_type == SHT_DYNSYM) &&
		    s[n].sh_link < e->e_shnum)
			symbol = find(&image, &s[n], &s[s[n].sh_link], name);
	}
	snprintf(ret->path, sizeof(ret->path), "%s", path);
	r = symbol && translate(&image, symbol->st_value, true, &ret->offset) ? 0 : -ENOENT;
	munmap((void *)(uintptr_t)image.at, image.bytes);
	return r;
}

static bool ask(const struct place *p, char *text, size_t capacity)
{
	struct image image = { 0 };
	uint64_t address = 0;
	char command[SPACE_PATH + 96];
	bool told = false;
	FILE *f;

	if (image_open(p->path, &image) < 0)
		return false;
	told = translate(&image, p->offset, false, &address);
	munmap((void *)(uintptr_t)image.at, image.bytes);
	if (!told || strchr(p->path, '\''))
		return false;
	snprintf(command, sizeof(command), "addr2line -f -p -s -e '%s' 0x%" PRIx64 " 2>/dev/null",
		 p->path, address);
	f = popen(command, "re");
	told = f && fgets(text, (int)capacity, f) && strncmp(text, UNKNOWN, 2) != 0;
	if (f)
		pclose(f);
	text[strcspn(text, "\n")] = '\0';
	return told;
}

void place_describe(const struct place *p, char *text, size_t capacity)
{
	const char *name = strrchr(p->path, '/');

	if (p->path[0] == '/' && ask(p, text, capacity))
		return;
	snprintf(text, capacity, "%s+0x%" PRIx64, name ? name + 1 : p->path, p->offset);
}
