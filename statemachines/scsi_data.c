/* Parameter data of a disk. Nothing here depends on time or on the host: the
 * same disk answers the same bytes, whoever serves it. */
#include "statemachines/scsi_data.h"

#include "statemachines/bytes.h"
#include "statemachines/variant.h"
#include "statemachines/vstor.h"

enum {
	INQUIRY_BYTES = 36,
	BLOCK_LIMITS_BYTES = 0x3c,
	CHARACTERISTICS_BYTES = 0x3c,
};

static size_t put_standard(uint8_t *p, const struct scsi_disk *d)
{
	const char *revision = HOLDFAST_VARIANT_B ? "0002" : "0001";

	p[0] = d ? 0x00 : 0x7f; /* qualifier 3, type 1Fh: no logical unit here */
	if (d && d->optical) {
		p[0] = 0x05;
		p[1] = 0x80;    /* RMB */
	}
	p[2] = 0x06;            /* SPC-4 */
	p[3] = 0x02;
	p[4] = INQUIRY_BYTES - 5;
	p[7] = 0x02;            /* CMDQUE */
	memcpy(p + 8, "Holdfast", 8);
	memcpy(p + 16, d && d->optical ? "Virtual DVD-ROM " : "Virtual Disk    ", 16);
	memcpy(p + 32, revision, 4);
	return INQUIRY_BYTES;
}

enum { PAGES = 6, PAGES_OPTICAL = 3 };
static const uint8_t pages[PAGES] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };

static size_t put_page_list(uint8_t *p, const struct scsi_disk *d)
{
	size_t n = d->optical ? PAGES_OPTICAL : PAGES;

	memcpy(p + 4, pages, n);
	return n;
}

static size_t put_serial(uint8_t *p, const struct scsi_disk *d)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 32; i++)
		p[4 + i] = (uint8_t)digits[d->identity[i / 16] >> (60 - i % 16 * 4) & 15];
	return 32;
}

/* One designator: NAA 6, IEEE registered extended, 16 bytes (SPC-4 7.8.6.6). */
static size_t put_designator(uint8_t *p, const struct scsi_disk *d)
{
	p[4] = 0x01; /* binary */
	p[5] = 0x03; /* of the logical unit, NAA */
	p[7] = 16;
	put_be64(p + 8, d->identity[0]);
	put_be64(p + 16, d->identity[1]);
	p[8] = (uint8_t)(0x60 | (p[8] & 0x0f));
	return 20;
}

static size_t put_block_limits(uint8_t *p, const struct scsi_disk *d)
{
	uint32_t transfer = VSTOR_TRANSFER / d->block_bytes;
	uint32_t unmap = SCSI_UNMAP_BYTES / d->block_bytes;

	put_be16(p + 6, (uint16_t)(4096 / d->block_bytes));
	put_be32(p + 8, transfer);
	put_be32(p + 12, transfer);
	put_be32(p + 20, unmap);
	put_be32(p + 24, SCSI_UNMAP_DESCRIPTORS);
	put_be32(p + 28, 4096 / d->block_bytes);
	put_be32(p + 32, 0x80000000u); /* UGAVALID, alignment 0 */
	put_be64(p + 36, unmap);
	return BLOCK_LIMITS_BYTES;
}

static size_t put_characteristics(uint8_t *p)
{
	put_be16(p + 4, 1); /* does not rotate */
	return CHARACTERISTICS_BYTES;
}

static size_t put_provisioning(uint8_t *p)
{
	p[5] = 0x80 | 0x40 | 0x20 | 0x04; /* LBPU, LBPWS, LBPWS10, LBPRZ */
	p[6] = 0x02;                      /* thin */
	return 4;
}

static size_t put_page(uint8_t *p, uint8_t page, const struct scsi_disk *d)
{
	size_t n;

	if (d->optical && page >= pages[PAGES_OPTICAL])
		return 0;
	switch (page) {
	case 0x00:
		n = put_page_list(p, d);
		break;
	case 0x80:
		n = put_serial(p, d);
		break;
	case 0x83:
		n = put_designator(p, d);
		break;
	case 0xb0:
		n = put_block_limits(p, d);
		break;
	case 0xb1:
		n = put_characteristics(p);
		break;
	case 0xb2:
		n = put_provisioning(p);
		break;
	default:
		return 0;
	}
	p[1] = page;
	put_be16(p + 2, (uint16_t)n);
	return 4 + n;
}

size_t scsi_put_inquiry(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			const struct scsi_disk *d)
{
	memset(p, 0, SCSI_DATA_MAX);
	if (d && c->evpd)
		return put_page(p, c->page, d);
	return put_standard(p, d);
}

size_t scsi_put_capacity(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			 const struct scsi_disk *d)
{
	uint64_t last = d->blocks - 1;

	memset(p, 0, SCSI_DATA_MAX);
	if (c->kind == SCSI_READ_CAPACITY_10) {
		put_be32(p, last > 0xffffffffu ? 0xffffffffu : (uint32_t)last);
		put_be32(p + 4, d->block_bytes);
		return 8;
	}
	put_be64(p, last);
	put_be32(p + 8, d->block_bytes);
	p[13] = d->block_bytes == 512 ? 3 : 0; /* 4096 bytes are the unit of the host */
	p[14] = d->optical ? 0 : 0x80 | 0x40;  /* LBPME, LBPRZ */
	return 32;
}

size_t scsi_put_luns(uint8_t p[SCSI_DATA_MAX], uint64_t luns)
{
	size_t at = 8;

	memset(p, 0, SCSI_DATA_MAX);
	for (unsigned lun = 0; lun < 64; lun++) {
		if (!(luns >> lun & 1))
			continue;
		p[at + 1] = (uint8_t)lun;
		at += 8;
	}
	put_be32(p, (uint32_t)(at - 8));
	return at;
}

int scsi_parse_unmap(const uint8_t *p, size_t len, uint64_t blocks, uint32_t block_bytes,
		     uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS])
{
	size_t bytes;
	int n = 0;

	if (len < 8)
		return UNMAP_E_LENGTH;
	bytes = get_be16(p + 2);
	if (bytes > len - 8)
		bytes = len - 8;
	if (bytes > SCSI_UNMAP_DESCRIPTORS * 16)
		return UNMAP_E_LIST;
	for (p += 8; bytes >= 16; p += 16, bytes -= 16) {
		uint64_t lba = get_be64(p), count = get_be32(p + 8);

		if (count == 0)
			continue;
		if (count > SCSI_UNMAP_BYTES / block_bytes)
			return UNMAP_E_LIST;
		if (lba >= blocks || count > blocks - lba)
			return UNMAP_E_RANGE;
		pairs[2 * n] = lba;
		pairs[2 * n + 1] = count;
		n++;
	}
	return n;
}
