/* devices/bootparams.h - what a Linux kernel entered in 64-bit mode finds in
 * memory below 1 MiB (Documentation/x86/boot.rst and zero-page.rst; protocol
 * I.7): zero page, command line, page tables, GDT, ACPI, reset stub. */
#ifndef DEVICES_BOOTPARAMS_H
#define DEVICES_BOOTPARAMS_H

#include "devices/guestmem.h"

enum {
	BOOT_GDT = 0x1000,         /* selectors 0x10 code, 0x18 data */
	BOOT_PARAMS = 0x2000,
	BOOT_PAGE_TABLES = 0x3000, /* PML4, PDPT, four page directories: 4 GiB */
	BOOT_CMDLINE = 0x10000,
	BOOT_CMDLINE_MAX = 0x8000, /* NUL included */
	BOOT_LOW_END = 0x9FC00,    /* RAM below the legacy area */
	BOOT_RESET_STUB = 0xFFFF0, /* where a guest without EFI jumps to reboot (prototype 4.9) */
	BOOT_HEADER = 0x1F1,       /* setup header in file and zero page */
};

struct boot {
	const uint8_t *header;     /* the file's bytes from BOOT_HEADER on; NULL: ELF */
	size_t header_bytes;
	const uint8_t *cmdline;    /* no NUL */
	size_t cmdline_bytes;
	uint64_t initrd, initrd_bytes;
	uint64_t low, high;        /* bytes of RAM below the gap and from 4 GiB on */
	unsigned vps;
};

/* Writes all of it; guest memory must be armed. 0; -E2BIG: the command line is
 * too long; -EFAULT: there is less than 1 MiB of RAM. */
int boot_write(const struct guestmem *m, const struct boot *b);

#endif
