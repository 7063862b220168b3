/* The low megabyte of a starting guest. Everything is built in private buffers
 * and copied once; a second load after a reset overwrites all of it. */
#include "devices/bootparams.h"

#include "devices/acpi.h"

#include <errno.h>
#include <string.h>

enum {
	E820_RAM = 1, E820_RESERVED = 2,
	ZERO_RSDP = 0x070, ZERO_RAMDISK_HIGH = 0x0C0, ZERO_RAMDISK_SIZE_HIGH = 0x0C4,
	ZERO_CMDLINE_HIGH = 0x0C8, ZERO_E820_COUNT = 0x1E8, ZERO_BOOT_FLAG = 0x1FE,
	ZERO_MAGIC = 0x202, ZERO_VERSION = 0x206, ZERO_LOADER = 0x210, ZERO_LOADFLAGS = 0x211,
	ZERO_RAMDISK = 0x218, ZERO_RAMDISK_SIZE = 0x21C, ZERO_CMDLINE = 0x228,
	ZERO_SETUP_DATA = 0x250, ZERO_E820 = 0x2D0,
	LOADED_HIGH = 1, LOADER_UNKNOWN = 0xFF, PROTOCOL_2_12 = 0x20C,
	PAGE = GUESTMEM_PAGE,
	PTE_PRESENT_WRITE = 3, PTE_LARGE = 0x80, PTES = 512, DIRECTORIES = 4,
};

struct e820 {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static void set32(uint8_t *page, size_t at, uint64_t v)
{
	uint32_t low = (uint32_t)v;

	memcpy(page + at, &low, sizeof(low));
}

static void write_e820(uint8_t *page, const struct boot *b)
{
	const struct e820 map[] = {
		{ 0, BOOT_LOW_END, E820_RAM },
		{ ACPI_RSDP, 0x100000 - ACPI_RSDP, E820_RESERVED },
		{ 0x100000, b->low - 0x100000, E820_RAM },
		{ GUESTMEM_HIGH, b->high, E820_RAM },
	};
	uint8_t n = b->high ? 4 : 3;

	page[ZERO_E820_COUNT] = n;
	memcpy(page + ZERO_E820, map, n * sizeof(*map));
}

/* What the setup header of a bzImage would have said. */
static void write_header(uint8_t *page, const struct boot *b)
{
	static const uint16_t boot_flag = 0xAA55, version = PROTOCOL_2_12;

	if (b->header) {
		memcpy(page + BOOT_HEADER, b->header, b->header_bytes);
		return;
	}
	memcpy(page + ZERO_BOOT_FLAG, &boot_flag, sizeof(boot_flag));
	memcpy(page + ZERO_MAGIC, "HdrS", 4);
	memcpy(page + ZERO_VERSION, &version, sizeof(version));
}

static int write_zero_page(const struct guestmem *m, const struct boot *b)
{
	static const uint64_t no_setup_data;
	uint8_t page[PAGE] = { 0 };
	uint64_t rsdp = ACPI_RSDP;

	write_header(page, b);
	memcpy(page + ZERO_RSDP, &rsdp, sizeof(rsdp));
	page[ZERO_LOADER] = LOADER_UNKNOWN;
	page[ZERO_LOADFLAGS] |= LOADED_HIGH;
	set32(page, ZERO_RAMDISK, b->initrd);
	set32(page, ZERO_RAMDISK_HIGH, b->initrd >> 32);
	set32(page, ZERO_RAMDISK_SIZE, b->initrd_bytes);
	set32(page, ZERO_RAMDISK_SIZE_HIGH, b->initrd_bytes >> 32);
	set32(page, ZERO_CMDLINE, BOOT_CMDLINE);
	set32(page, ZERO_CMDLINE_HIGH, 0);
	memcpy(page + ZERO_SETUP_DATA, &no_setup_data, sizeof(no_setup_data));
	write_e820(page, b);
	return guestmem_write(m, BOOT_PARAMS, page, sizeof(page));
}

/* Identity map of the first 4 GiB by pages of 2 MiB. */
static int write_page_tables(const struct guestmem *m)
{
	uint64_t table[PTES] = { (BOOT_PAGE_TABLES + PAGE) | PTE_PRESENT_WRITE };
	int r = guestmem_write(m, BOOT_PAGE_TABLES, table, sizeof(table));

	for (uint64_t i = 0; i < DIRECTORIES; i++)
		table[i] = (BOOT_PAGE_TABLES + (2 + i) * PAGE) | PTE_PRESENT_WRITE;
	if (!r)
		r = guestmem_write(m, BOOT_PAGE_TABLES + PAGE, table, sizeof(table));
	for (uint64_t i = 0; i < DIRECTORIES && !r; i++) {
		for (uint64_t j = 0; j < PTES; j++)
			table[j] = ((i * PTES + j) << 21) | PTE_PRESENT_WRITE | PTE_LARGE;
		r = guestmem_write(m, BOOT_PAGE_TABLES + (2 + i) * PAGE, table, sizeof(table));
	}
	return r;
}

static int write_gdt(const struct guestmem *m)
{
	static const uint64_t gdt[] = { 0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF };

	return guestmem_write(m, BOOT_GDT, gdt, sizeof(gdt));
}

/* mov dx, PORT_RESET; mov al, RESET_VALUE; out dx, al; hlt; jmp to the hlt. */
static int write_reset_stub(const struct guestmem *m)
{
	static const uint8_t stub[] = { 0xBA, ACPI_PORT_RESET & 0xFF, ACPI_PORT_RESET >> 8,
					0xB0, ACPI_RESET_VALUE, 0xEE, 0xF4, 0xEB, 0xFD };

	return guestmem_write(m, BOOT_RESET_STUB, stub, sizeof(stub));
}

static int write_cmdline(const struct guestmem *m, const struct boot *b)
{
	int r;

	if (b->cmdline_bytes >= BOOT_CMDLINE_MAX)
		return -E2BIG;
	r = guestmem_write(m, BOOT_CMDLINE, b->cmdline, b->cmdline_bytes);
	return r ? r : guestmem_write(m, BOOT_CMDLINE + b->cmdline_bytes, "", 1);
}

static int write_acpi(const struct guestmem *m, const struct boot *b)
{
	uint8_t tables[ACPI_BYTES];

	acpi_build(tables, b->vps, b->high ? GUESTMEM_HIGH + b->high : b->low);
	return guestmem_write(m, ACPI_RSDP, tables, sizeof(tables));
}

int boot_write(const struct guestmem *m, const struct boot *b)
{
	int r;

	if (b->low <= 0x100000)
		return -EFAULT;
	r = write_zero_page(m, b);
	if (!r)
		r = write_cmdline(m, b);
	if (!r)
		r = write_page_tables(m);
	if (!r)
		r = write_gdt(m);
	if (!r)
		r = write_acpi(m, b);
	return r ? r : write_reset_stub(m);
}
