/* Loader and ACPI: checksums and contents of tables, both kinds of kernel, and
 * every refusal. */
#include "devices/loader.h"

#include "devices/acpi.h"
#include "devices/bootparams.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MIB = 1 << 20, RAM = 64 * MIB, KERNEL = 1 << 16 };

static struct guestmem m;
static uint8_t image[KERNEL];
static struct loader_files files;
static struct rec_guest_load want;

static void make(void)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	cr_assert(fd >= 0 && ftruncate(fd, RAM) == 0);
	cr_assert_eq(guestmem_map(&m, fd, RAM, RAM), 0);
	close(fd);
	guestmem_arm(&m, 1);
	files = (struct loader_files){ memfd_create("kernel", 0), -1 };
	want = (struct rec_guest_load){ .memory_bytes = RAM, .low_bytes = RAM, .vps = 3,
					.backend = 1 };
}

static void unmake(void)
{
	guestmem_unmap(&m);
	close(files.kernel);
	if (files.initrd >= 0)
		close(files.initrd);
}

TestSuite(loader, .init = make, .fini = unmake, .timeout = 20);

static void set(size_t at, uint64_t v, size_t bytes)
{
	memcpy(image + at, &v, bytes);
}

static void bzimage(void)
{
	memset(image, 0xC3, sizeof(image));
	memset(image, 0, 0x400);
	set(0x1F1, 3, 1);
	set(0x1FE, 0xAA55, 2);
	set(0x201, 0x6A, 1);
	memcpy(image + 0x202, "HdrS", 4);
	set(0x206, 0x20F, 2);
	set(0x211, 1, 1);
	set(0x22C, 0x7FFFFFFF, 4);
	set(0x236, 1, 2);
	set(0x238, 2047, 4);
	set(0x258, 16 * MIB, 8);
	set(0x260, 20 * MIB, 4);
	cr_assert_eq(pwrite(files.kernel, image, KERNEL, 0), KERNEL);
}

static void initrd(size_t bytes)
{
	files.initrd = memfd_create("initrd", 0);
	cr_assert_eq(ftruncate(files.initrd, (off_t)bytes), 0);
	cr_assert_eq(pwrite(files.initrd, "070701", 6, 0), 6);
}

static struct rec_guest_loaded load(const char *cmdline)
{
	struct rec_guest_loaded r;

	loader_load(&m, &files, &want, (const uint8_t *)cmdline, (uint32_t)strlen(cmdline), &r);
	return r;
}

static uint64_t word(uint64_t gpa, size_t bytes)
{
	uint64_t v = 0;

	cr_assert_eq(guestmem_read(&m, gpa, &v, bytes), 0);
	return v;
}

static const uint8_t *at(uint64_t gpa, uint64_t len)
{
	const uint8_t *p = guestmem_at(&m, gpa, len);

	cr_assert_not_null(p);
	return p;
}

Test(loader, bzimage_with_initrd)
{
	struct rec_guest_loaded r;
	uint64_t start;

	bzimage();
	initrd(5 * MIB + 3);
	r = load("console=ttyS0");
	cr_assert_eq(r.status, 0);
	cr_assert_eq(r.rip, 16 * MIB + 0x200);
	cr_assert_eq(r.rsi, BOOT_PARAMS);
	cr_assert_eq(memcmp(at(16 * MIB, 8), image + 0x800, 8), 0);
	start = word(BOOT_PARAMS + 0x218, 4);
	cr_assert_eq(start % GUESTMEM_PAGE, 0);
	cr_assert_geq(start, 36 * MIB);
	cr_assert_leq(start + 5 * MIB + 3, RAM);
	cr_assert_eq(word(BOOT_PARAMS + 0x21C, 4), 5 * MIB + 3);
	cr_assert_eq(memcmp(at(start, 6), "070701", 6), 0);
	cr_assert_str_eq((const char *)at(word(BOOT_PARAMS + 0x228, 4), 64), "console=ttyS0");
	cr_assert_eq(word(BOOT_PARAMS + 0x202, 4), 0x53726448);
	cr_assert_eq(word(BOOT_PARAMS + 0x210, 1), 0xFF);
	cr_assert_eq(word(BOOT_PARAMS + 0x1EF, 1), 0);
	cr_assert_eq(word(BOOT_PARAMS + 0x070, 8), ACPI_RSDP);
}

Test(loader, memory_map_and_page_tables)
{
	struct rec_guest_loaded r;

	bzimage();
	r = load("");
	cr_assert_eq(word(BOOT_PARAMS + 0x1E8, 1), 3);
	cr_assert_eq(word(BOOT_PARAMS + 0x2D0 + 8, 8), BOOT_LOW_END);
	cr_assert_eq(word(BOOT_PARAMS + 0x2D0 + 20, 8), 0xE0000);
	cr_assert_eq(word(BOOT_PARAMS + 0x2D0 + 36, 4), 2);
	cr_assert_eq(word(BOOT_PARAMS + 0x2D0 + 40, 8), MIB);
	cr_assert_eq(word(BOOT_PARAMS + 0x2D0 + 48, 8), RAM - MIB);
	cr_assert_eq(word(r.cr3, 8), (r.cr3 + 0x1000) | 3);
	for (uint64_t a = 0; a < (uint64_t)4 << 30; a += (uint64_t)2 << 20) {
		uint64_t pd = word(r.cr3 + 0x1000 + (a >> 30) * 8, 8) & ~UINT64_C(0xFFF);

		cr_assert_eq(word(pd + (a >> 21) % 512 * 8, 8), a | 0x83);
	}
	cr_assert_eq(word(r.gdt + 0x10, 8), 0x00AF9B000000FFFF);
	cr_assert_eq(word(r.gdt + 0x18, 8), 0x00CF93000000FFFF);
	cr_assert_eq(word(BOOT_RESET_STUB, 4), 0xB00604BA);
}

Test(loader, elf_is_entered_where_it_says_and_its_bss_is_zero)
{
	Elf64_Ehdr eh = { .e_ident = { 0x7F, 'E', 'L', 'F', ELFCLASS64 }, .e_machine = EM_X86_64,
			  .e_entry = 0x1000000, .e_phoff = 64, .e_phnum = 1,
			  .e_phentsize = sizeof(Elf64_Phdr) };
	Elf64_Phdr ph = { .p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = 0x1000000,
			  .p_filesz = 0x2000, .p_memsz = 0x8000 };
	struct rec_guest_loaded r;

	memset(image, 0x90, sizeof(image));
	memcpy(image, &eh, sizeof(eh));
	memcpy(image + 64, &ph, sizeof(ph));
	cr_assert_eq(pwrite(files.kernel, image, KERNEL, 0), KERNEL);
	guestmem_write(&m, 0x1002000, "stale", 5);
	r = load("quiet");
	cr_assert_eq(r.status, 0);
	cr_assert_eq(r.rip, 0x1000000);
	cr_assert_eq(word(0x1001FFF, 1), 0x90);
	cr_assert_eq(word(0x1002000, 8), 0);
	cr_assert_eq(word(BOOT_PARAMS + 0x202, 4), 0x53726448);
	ph.p_memsz = RAM;
	cr_assert_eq(pwrite(files.kernel, &ph, sizeof(ph), 64), (ssize_t)sizeof(ph));
	cr_assert_eq(load("").status, ENOMEM);
	ph.p_filesz = UINT64_MAX;
	cr_assert_eq(pwrite(files.kernel, &ph, sizeof(ph), 64), (ssize_t)sizeof(ph));
	cr_assert_eq(load("").status, ENOEXEC);
}

Test(loader, refusals)
{
	static char huge[BOOT_CMDLINE_MAX + 8];

	cr_assert_eq(load("").status, ENOEXEC);
	bzimage();
	set(0x236, 0, 2);
	cr_assert_eq(pwrite(files.kernel, image, KERNEL, 0), KERNEL);
	cr_assert_eq(load("").status, ENOEXEC);
	bzimage();
	memset(huge, 'x', sizeof(huge) - 1);
	cr_assert_eq(load(huge).status, E2BIG);
	initrd(RAM - 30 * MIB);
	cr_assert_eq(load("").status, ENOMEM);
	set(0x260, RAM, 4);
	cr_assert_eq(pwrite(files.kernel, image, KERNEL, 0), KERNEL);
	cr_assert_eq(load("").status, ENOMEM);
}

/* ---- ACPI --------------------------------------------------------------- */

static uint64_t u64_at(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t u32_at(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static const uint8_t *table(uint64_t gpa, const char *signature)
{
	const uint8_t *p = at(gpa, 36);

	cr_assert_eq(memcmp(p, signature, 4), 0, "%s", signature);
	cr_assert_eq(sum(p, u32_at(p + 4)), 0, "%s", signature);
	return p;
}

static bool holds(const uint8_t *p, const void *what, size_t n)
{
	return memmem(p, u32_at(p + 4), what, n) != NULL;
}

Test(loader, acpi_tables)
{
	static const uint64_t window[] = { 0, UINT64_C(64) << 30, (UINT64_C(65) << 30) - 1 };
	const uint8_t *rsdp, *xsdt, *fadt, *madt, *dsdt;

	bzimage();
	cr_assert_eq(load("").status, 0);
	rsdp = at(ACPI_RSDP, 36);
	cr_assert_eq(memcmp(rsdp, "RSD PTR ", 8), 0);
	cr_assert_eq(sum(rsdp, 20), 0);
	cr_assert_eq(sum(rsdp, 36), 0);
	xsdt = table(word(ACPI_RSDP + 24, 8), "XSDT");
	cr_assert_eq(u32_at(xsdt + 4), 36 + 16);
	fadt = table(word(word(ACPI_RSDP + 24, 8) + 36, 8), "FACP");
	madt = table(word(word(ACPI_RSDP + 24, 8) + 44, 8), "APIC");
	cr_assert_eq(u32_at(fadt + 4), 276);
	cr_assert(u32_at(fadt + 112) & 1 << 20);
	cr_assert_eq(fadt[116], 1);
	cr_assert_eq(u64_at(fadt + 120), 0x604);
	cr_assert_eq(u64_at(fadt + 248), 0x600);
	cr_assert_eq(u32_at(madt + 4), 44 + 3 * 8 + 12);
	cr_assert_eq(madt[44 + 2 * 8 + 3], 2);
	dsdt = table(u64_at(fadt + 140), "DSDT");
	cr_assert(holds(dsdt, "VMBus", 6));
	cr_assert(holds(dsdt, "ACPI0004", 9));
	cr_assert(holds(dsdt, window, sizeof(window)));
}

Test(loader, acpi_window_lies_behind_ram)
{
	cr_assert_eq(acpi_mmio_high(RAM), UINT64_C(64) << 30);
	cr_assert_eq(acpi_mmio_high((UINT64_C(100) << 30) + 5), UINT64_C(101) << 30);
}
