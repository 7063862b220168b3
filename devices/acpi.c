/* ACPI tables, written byte by byte.
 *
 * One cursor runs over the buffer; a table is begun (header), filled, and
 * ended (length, checksum). AML is nested: its package lengths are of fixed
 * width (two bytes), so that they can be written when the package ends. */
#include "devices/acpi.h"

#include "engine/fact.h"

#include <string.h>

enum {
	HEADER = 36,
	OFFSET_LENGTH = 4,
	OFFSET_CHECKSUM = 9,
	RSDP_BYTES = 36,
	FADT_BYTES = 276,
	AML_ZERO = 0x00, AML_NAME = 0x08, AML_BYTE = 0x0A, AML_DWORD = 0x0C, AML_STRING = 0x0D,
	AML_SCOPE = 0x10, AML_BUFFER = 0x11, AML_PACKAGE = 0x12,
	AML_EXT = 0x5B, AML_DEVICE = 0x82,
	FADT_PWR_BUTTON = 1 << 4, FADT_SLP_BUTTON = 1 << 5, FADT_RESET_REG = 1 << 10,
	FADT_HW_REDUCED = 1 << 20, FADT_WBINVD = 1,
	BOOT_NO_VGA = 1 << 2, BOOT_NO_CMOS = 1 << 5,
	GAS_IO = 1,
};

struct writer {
	uint8_t *bytes;
	size_t at;
};

static void put(struct writer *w, const void *src, size_t n)
{
	fact(w->at + n <= ACPI_BYTES);
	memcpy(w->bytes + w->at, src, n);
	w->at += n;
}

static void put8(struct writer *w, unsigned v)
{
	uint8_t b = (uint8_t)v;

	put(w, &b, 1);
}

static void put16(struct writer *w, unsigned v)
{
	uint16_t b = (uint16_t)v;

	put(w, &b, sizeof(b));
}

static void put32(struct writer *w, uint32_t v)
{
	put(w, &v, sizeof(v));
}

static void put64(struct writer *w, uint64_t v)
{
	put(w, &v, sizeof(v));
}

static void set32(struct writer *w, size_t at, uint32_t v)
{
	memcpy(w->bytes + at, &v, sizeof(v));
}

static void set64(struct writer *w, size_t at, uint64_t v)
{
	memcpy(w->bytes + at, &v, sizeof(v));
}

static uint8_t checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static size_t table_begin(struct writer *w, const char signature[4], uint8_t revision)
{
	size_t start = w->at = ALIGN_UP(w->at, (size_t)16);

	put(w, signature, 4);
	put32(w, 0);
	put8(w, revision);
	put8(w, 0);
	put(w, "HLDFST", 6);
	put(w, "HOLDFAST", 8);
	put32(w, 1);
	put(w, "HLDF", 4);
	put32(w, 1);
	return start;
}

/* Returns the guest address of the table. */
static uint64_t table_end(struct writer *w, size_t start)
{
	size_t len = w->at - start;

	set32(w, start + OFFSET_LENGTH, (uint32_t)len);
	w->bytes[start + OFFSET_CHECKSUM] = checksum(w->bytes + start, len);
	return ACPI_RSDP + start;
}

/* ---- AML (ACPI 6.4, 20.2) ----------------------------------------------- */

/* Opens a package whose two-byte length is written by aml_end(). */
static size_t aml_begin(struct writer *w)
{
	put16(w, 0);
	return w->at - 2;
}

static void aml_end(struct writer *w, size_t start)
{
	size_t len = w->at - start;

	fact(len < 1 << 12);
	w->bytes[start] = (uint8_t)(1 << 6 | (len & 0xf));
	w->bytes[start + 1] = (uint8_t)(len >> 4);
}

static void aml_name(struct writer *w, const char segment[4])
{
	put8(w, AML_NAME);
	put(w, segment, 4);
}

static void aml_string(struct writer *w, const char *s)
{
	put8(w, AML_STRING);
	put(w, s, strlen(s) + 1);
}

static size_t device_begin(struct writer *w, const char segment[4])
{
	size_t start;

	put8(w, AML_EXT);
	put8(w, AML_DEVICE);
	start = aml_begin(w);
	put(w, segment, 4);
	return start;
}

/* A buffer of resource descriptors, closed by the end tag. */
static void resources(struct writer *w, const struct writer *content)
{
	size_t start;

	aml_name(w, "_CRS");
	put8(w, AML_BUFFER);
	start = aml_begin(w);
	put8(w, AML_BYTE);
	put8(w, (unsigned)content->at + 2);
	put(w, content->bytes, content->at);
	put16(w, 0x79);
	aml_end(w, start);
}

/* QWordMemory, producer, fixed, read-write, not cacheable (6.4.3.5.1). */
static void resource_window(struct writer *w, uint64_t first, uint64_t last)
{
	put8(w, 0x8A);
	put16(w, 43);
	put8(w, 0);
	put8(w, 0x0C);
	put8(w, 0x01);
	put64(w, 0);
	put64(w, first);
	put64(w, last);
	put64(w, 0);
	put64(w, last - first + 1);
}

static void resource_irq(struct writer *w, unsigned line)
{
	put8(w, 0x22);
	put16(w, 1u << line);
}

static void device_vmbus(struct writer *w, uint64_t high)
{
	uint8_t bytes[128];
	struct writer windows = { .bytes = bytes }, irq = { .bytes = bytes };
	size_t module = device_begin(w, "VMOD"), bus;

	aml_name(w, "_HID");
	aml_string(w, "ACPI0004");
	aml_name(w, "_UID");
	put8(w, AML_ZERO);
	resource_window(&windows, ACPI_MMIO_LOW, ACPI_MMIO_LOW_END);
	resource_window(&windows, high, high + ACPI_MMIO_HIGH_BYTES - 1);
	resources(w, &windows);
	bus = device_begin(w, "VMBS");
	aml_name(w, "_HID");
	aml_string(w, "VMBus");
	aml_name(w, "_UID");
	put8(w, AML_ZERO);
	aml_name(w, "_STA");
	put8(w, AML_BYTE);
	put8(w, 0x0F);
	resource_irq(&irq, 5);
	resources(w, &irq);
	aml_end(w, bus);
	aml_end(w, module);
}

static void device_serial(struct writer *w)
{
	static const uint8_t pnp0501[] = { 0x41, 0xD0, 0x05, 0x01 };
	uint8_t bytes[32];
	struct writer content = { .bytes = bytes };
	size_t device = device_begin(w, "COM1");

	aml_name(w, "_HID");
	put8(w, AML_DWORD);
	put(w, pnp0501, sizeof(pnp0501));
	aml_name(w, "_UID");
	put8(w, AML_ZERO);
	put8(&content, 0x47);
	put8(&content, 1);
	put16(&content, 0x3F8);
	put16(&content, 0x3F8);
	put8(&content, 1);
	put8(&content, 8);
	resource_irq(&content, 4);
	resources(w, &content);
	aml_end(w, device);
}

static uint64_t build_dsdt(struct writer *w, uint64_t high)
{
	static const uint8_t s5[] = { 4, AML_BYTE, 5, AML_BYTE, 5, AML_ZERO, AML_ZERO };
	size_t table = table_begin(w, "DSDT", 2), package, scope;

	aml_name(w, "_S5_");
	put8(w, AML_PACKAGE);
	package = aml_begin(w);
	put(w, s5, sizeof(s5));
	aml_end(w, package);
	put8(w, AML_SCOPE);
	scope = aml_begin(w);
	put8(w, '\\');
	put(w, "_SB_", 4);
	device_vmbus(w, high);
	device_serial(w);
	aml_end(w, scope);
	return table_end(w, table);
}

/* Generic address of an 8-bit I/O port (5.2.3.2). */
static void set_port(struct writer *w, size_t at, uint64_t port)
{
	w->bytes[at] = GAS_IO;
	w->bytes[at + 1] = 8;
	w->bytes[at + 3] = 1;
	set64(w, at + 4, port);
}

static uint64_t build_fadt(struct writer *w, uint64_t dsdt)
{
	static const uint8_t zeros[FADT_BYTES - HEADER];
	size_t t = table_begin(w, "FACP", 6);

	put(w, zeros, sizeof(zeros));
	set32(w, t + 40, (uint32_t)dsdt);
	w->bytes[t + 96] = 101;                     /* P_LVL2_LAT: no C2 */
	set32(w, t + 98, 1001);                     /* P_LVL3_LAT: no C3 */
	w->bytes[t + 109] = BOOT_NO_VGA | BOOT_NO_CMOS;
	set32(w, t + 112, FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG |
				  FADT_HW_REDUCED);
	set_port(w, t + 116, ACPI_PORT_RESET);
	w->bytes[t + 128] = ACPI_RESET_VALUE;
	set64(w, t + 140, dsdt);
	set_port(w, t + 244, ACPI_PORT_SLEEP_CONTROL);
	set_port(w, t + 256, ACPI_PORT_SLEEP_STATUS);
	return table_end(w, t);
}

static uint64_t build_madt(struct writer *w, unsigned vps)
{
	size_t table = table_begin(w, "APIC", 5);

	put32(w, 0xFEE00000);
	put32(w, 0);
	for (unsigned i = 0; i < vps; i++) {
		put8(w, 0);                         /* processor local APIC */
		put8(w, 8);
		put8(w, i + 1);
		put8(w, i);
		put32(w, 1);
	}
	put8(w, 1);                                 /* I/O APIC, GSI base 0 */
	put8(w, 12);
	put16(w, 0);
	put32(w, 0xFEC00000);
	put32(w, 0);
	return table_end(w, table);
}

static void build_rsdp(struct writer *w, uint64_t xsdt)
{
	memcpy(w->bytes, "RSD PTR ", 8);
	memcpy(w->bytes + 9, "HLDFST", 6);
	w->bytes[15] = 2;
	set32(w, 20, RSDP_BYTES);
	set64(w, 24, xsdt);
	w->bytes[8] = checksum(w->bytes, 20);
	w->bytes[32] = checksum(w->bytes, RSDP_BYTES);
}

uint64_t acpi_mmio_high(uint64_t ram_end)
{
	uint64_t least = UINT64_C(64) << 30;

	return ram_end > least ? ALIGN_UP(ram_end, ACPI_MMIO_HIGH_BYTES) : least;
}

size_t acpi_build(uint8_t *bytes, unsigned vps, uint64_t ram_end)
{
	struct writer w = { .bytes = bytes, .at = RSDP_BYTES };
	uint64_t fadt, madt;
	size_t xsdt;

	memset(bytes, 0, ACPI_BYTES);
	fadt = build_fadt(&w, build_dsdt(&w, acpi_mmio_high(ram_end)));
	madt = build_madt(&w, vps);
	xsdt = table_begin(&w, "XSDT", 1);
	put64(&w, fadt);
	put64(&w, madt);
	build_rsdp(&w, table_end(&w, xsdt));
	return w.at;
}
