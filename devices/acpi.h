/* devices/acpi.h - the ACPI tables of a guest (ACPI 6.4; protocol A.10).
 *
 * A reduced-hardware platform: no PIC, PIT, PM timer or SCI. Sleep and reset
 * are I/O ports that the vtl machine answers. The DSDT names the VMBus device,
 * its windows for MMIO, and the serial port. */
#ifndef DEVICES_ACPI_H
#define DEVICES_ACPI_H

#include <stddef.h>
#include <stdint.h>

enum {
	ACPI_RSDP = 0xE0000,           /* also where a guest without boot_params looks */
	ACPI_BYTES = 0x10000,          /* all tables lie in [RSDP, RSDP + this) */
	ACPI_PORT_SLEEP_CONTROL = 0x600,
	ACPI_PORT_SLEEP_STATUS = 0x601,
	ACPI_PORT_RESET = 0x604,
	ACPI_RESET_VALUE = 1,
};

/* The one window for VMBus devices below 4 GiB; RAM must end before it. */
#define ACPI_MMIO_LOW UINT64_C(0xF8000000)
#define ACPI_MMIO_LOW_END UINT64_C(0xFEBFFFFF)
#define ACPI_MMIO_HIGH_BYTES (UINT64_C(1) << 30)

/* Where the window above RAM begins: 64 GiB, or behind the RAM if that is more. */
uint64_t acpi_mmio_high(uint64_t ram_end);

/* Builds all tables for @vps processors into @bytes (ACPI_BYTES, zeroed here)
 * as they are to lie at ACPI_RSDP. Returns the bytes used. */
size_t acpi_build(uint8_t *bytes, unsigned vps, uint64_t ram_end);

#endif
