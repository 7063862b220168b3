/* Loading a Linux kernel.
 *
 * Order: place the kernel, which says what memory it needs; put the initrd as
 * high as it may lie; then write boot_params, which names both. Stale bytes of
 * a guest that was reset are overwritten wherever the kernel relies on zeros. */
#include "devices/loader.h"

#include "devices/bootparams.h"
#include "engine/fact.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SETUP_SECTS = 0x1F1, BOOT_FLAG = 0x1FE, HEADER_LENGTH = 0x201, MAGIC = 0x202,
	VERSION = 0x206, LOADFLAGS = 0x211, INITRD_MAX = 0x22C, XLOADFLAGS = 0x236,
	CMDLINE_SIZE = 0x238, PREF_ADDRESS = 0x258, INIT_SIZE = 0x260, HEADER_END = 0x290,
	SECTOR = 512, SETUP_SECTS_DEFAULT = 4, ENTRY_64 = 0x200, XLF_KERNEL_64 = 1,
	OLDEST_PROTOCOL = 0x20C, FIRST_MIB = 0x100000, PHDRS_MAX = 64, CHUNK = 1 << 20,
};

struct placed {
	uint64_t entry, end;           /* first byte behind what the kernel needs */
	uint64_t initrd_max;           /* highest address of an initrd byte */
	uint64_t cmdline_max;          /* bytes, without NUL */
	uint8_t header[HEADER_END];    /* bzImage: the file's first bytes */
	size_t header_bytes;           /* from BOOT_HEADER on; 0: ELF */
};

static uint64_t word_at(const uint8_t *p, size_t at, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, p + at, bytes);
	return v;
}

static int read_exactly(int fd, void *dst, size_t len, uint64_t offset)
{
	uint8_t *p = dst;

	while (len) {
		ssize_t n = pread(fd, p, len < CHUNK ? len : CHUNK, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int file_bytes(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*ret = (uint64_t)st.st_size;
	return 0;
}

static int read_to_guest(const struct guestmem *m, int fd, uint64_t offset, uint64_t gpa,
			 uint64_t len)
{
	uint8_t *p = guestmem_writable(m, gpa, len);

	return p ? read_exactly(fd, p, len, offset) : -ENOMEM;
}

static int place_bzimage(const struct guestmem *m, int fd, uint64_t file, struct placed *p)
{
	const uint8_t *h = p->header;
	uint64_t sects = h[SETUP_SECTS] ? h[SETUP_SECTS] : SETUP_SECTS_DEFAULT;
	uint64_t start = (sects + 1) * SECTOR, load = word_at(h, PREF_ADDRESS, 8);
	uint64_t need = word_at(h, INIT_SIZE, 4);
	size_t header_end = (size_t)MAGIC + h[HEADER_LENGTH];

	if (word_at(h, VERSION, 2) < OLDEST_PROTOCOL || !(h[XLOADFLAGS] & XLF_KERNEL_64) ||
	    !(h[LOADFLAGS] & 1) || start >= file)
		return -ENOEXEC;
	if (load < FIRST_MIB)
		load = FIRST_MIB;
	if (need < file - start)
		need = file - start;
	if (!guestmem_at(m, load, need))
		return -ENOMEM;
	p->header_bytes = (header_end < HEADER_END ? header_end : HEADER_END) - BOOT_HEADER;
	p->entry = load + ENTRY_64;
	p->end = load + need;
	p->initrd_max = word_at(h, INITRD_MAX, 4);
	p->cmdline_max = word_at(h, CMDLINE_SIZE, 4);
	return read_to_guest(m, fd, start, load, file - start);
}

static int place_segment(const struct guestmem *m, int fd, uint64_t file, const Elf64_Phdr *ph,
			 struct placed *p)
{
	int r;

	if (ph->p_type != PT_LOAD || ph->p_memsz == 0)
		return 0;
	if (ph->p_filesz > ph->p_memsz || ph->p_offset > file ||
	    ph->p_filesz > file - ph->p_offset || ph->p_paddr < FIRST_MIB)
		return -ENOEXEC;
	if (!guestmem_at(m, ph->p_paddr, ph->p_memsz))
		return -ENOMEM;
	r = read_to_guest(m, fd, ph->p_offset, ph->p_paddr, ph->p_filesz);
	if (!r)
		r = guestmem_zero(m, ph->p_paddr + ph->p_filesz, ph->p_memsz - ph->p_filesz);
	if (p->end < ph->p_paddr + ph->p_memsz)
		p->end = ph->p_paddr + ph->p_memsz;
	return r;
}

static int place_elf(const struct guestmem *m, int fd, uint64_t file, struct placed *p)
{
	Elf64_Phdr phdr[PHDRS_MAX];
	Elf64_Ehdr eh;
	int r;

	memcpy(&eh, p->header, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64 ||
	    eh.e_phentsize != sizeof(*phdr) || eh.e_phnum == 0 || eh.e_phnum > PHDRS_MAX)
		return -ENOEXEC;
	r = read_exactly(fd, phdr, eh.e_phnum * sizeof(*phdr), eh.e_phoff);
	for (unsigned i = 0; i < eh.e_phnum && !r; i++)
		r = place_segment(m, fd, file, &phdr[i], p);
	if (!r && !guestmem_at(m, eh.e_entry, 1))
		return -ENOEXEC;
	p->entry = eh.e_entry;
	p->header_bytes = 0;
	p->initrd_max = UINT32_MAX;
	p->cmdline_max = BOOT_CMDLINE_MAX - 1;
	return r;
}

static int place_kernel(const struct guestmem *m, int fd, struct placed *p)
{
	uint64_t file = 0;
	int r = file_bytes(fd, &file);

	if (!r && file < sizeof(p->header))
		return -ENOEXEC;
	if (!r)
		r = read_exactly(fd, p->header, sizeof(p->header), 0);
	if (r)
		return r;
	if (memcmp(p->header, ELFMAG, SELFMAG) == 0)
		return place_elf(m, fd, file, p);
	if (word_at(p->header, BOOT_FLAG, 2) == 0xAA55 && memcmp(p->header + MAGIC, "HdrS", 4) == 0)
		return place_bzimage(m, fd, file, p);
	return -ENOEXEC;
}

/* As high as it may lie below the gap, above the kernel. */
static int place_initrd(const struct guestmem *m, int fd, const struct placed *p,
			struct boot *b)
{
	uint64_t top = b->low, bytes = 0, at;
	int r;

	if (fd < 0)
		return 0;
	r = file_bytes(fd, &bytes);
	if (r || bytes == 0)
		return r;
	if (top > p->initrd_max + 1)
		top = p->initrd_max + 1;
	if (bytes > top)
		return -ENOMEM;
	at = (top - bytes) & ~(uint64_t)(GUESTMEM_PAGE - 1);
	if (at < p->end)
		return -ENOMEM;
	b->initrd = at;
	b->initrd_bytes = bytes;
	return read_to_guest(m, fd, 0, at, bytes);
}

static int load(const struct guestmem *m, const struct loader_files *files, struct boot *b,
		struct rec_guest_loaded *ret)
{
	struct placed p = { 0 };
	int r;

	if (files->kernel < 0)
		return -ENOEXEC;
	r = place_kernel(m, files->kernel, &p);
	if (r)
		return r;
	if (b->cmdline_bytes > p.cmdline_max)
		return -E2BIG;
	r = place_initrd(m, files->initrd, &p, b);
	if (r)
		return r;
	if (p.header_bytes) {
		b->header = p.header + BOOT_HEADER;
		b->header_bytes = p.header_bytes;
	}
	ret->rip = p.entry;
	ret->rsi = BOOT_PARAMS;
	ret->cr3 = BOOT_PAGE_TABLES;
	ret->gdt = BOOT_GDT;
	return boot_write(m, b);
}

void loader_load(const struct guestmem *m, const struct loader_files *files,
		 const struct rec_guest_load *want, const uint8_t *cmdline, uint32_t cmdline_bytes,
		 struct rec_guest_loaded *ret)
{
	struct boot b = {
		.cmdline = cmdline, .cmdline_bytes = cmdline_bytes, .low = want->low_bytes,
		.high = want->memory_bytes - want->low_bytes, .vps = want->vps,
	};
	int r;

	fact(want->low_bytes <= want->memory_bytes);
	*ret = (struct rec_guest_loaded){ 0 };
	r = load(m, files, &b, ret);
	ret->status = (uint32_t)-r;
}
