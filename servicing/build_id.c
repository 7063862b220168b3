/* The GNU build id, read from the program's own notes (linker flag --build-id). */
#include "servicing/build_id.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static void note_text(const uint8_t *p, size_t len, char *ret, size_t capacity)
{
	while (len > sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *n = (const void *)p;
		size_t name = (n->n_namesz + 3u) & ~3u, desc = (n->n_descsz + 3u) & ~3u;
		const uint8_t *id = p + sizeof(*n) + name;

		if (n->n_type == NT_GNU_BUILD_ID && n->n_descsz >= 4) {
			snprintf(ret, capacity, "%02x%02x%02x%02x", id[0], id[1], id[2],
				 id[3]);
			return;
		}
		if (sizeof(*n) + name + desc >= len)
			return;
		p += sizeof(*n) + name + desc;
		len -= sizeof(*n) + name + desc;
	}
}

static int visit(struct dl_phdr_info *info, size_t size, void *user)
{
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_NOTE)
			note_text((const uint8_t *)(info->dlpi_addr + ph->p_vaddr), ph->p_memsz,
				  user, 16);
	}
	return 1; /* the first object is the program itself */
}

const char *build_text(void)
{
	static char text[64], id[16] = "unknown";

	if (!text[0]) {
		dl_iterate_phdr(visit, id);
		snprintf(text, sizeof(text), "%s-%s %s", HOLDFAST_VERSION, HOLDFAST_VARIANT, id);
	}
	return text;
}
