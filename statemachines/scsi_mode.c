/* Mode pages. MODE SELECT compares what it is given with the page that MODE SENSE
 * would return, under the mask of what can be changed, so that both are one
 * description. */
#include "statemachines/scsi_mode.h"

#include "statemachines/bytes.h"

enum {
	ALL_PAGES = 0x3f,
	PAGE_ERROR_RECOVERY = 0x01, PAGE_CACHING = 0x08, PAGE_CONTROL = 0x0a, PAGE_DRIVE = 0x2a,
	PAGE_MAX = 2 + 0x20,
	WCE = 0x04,                /* byte 2 of the caching page */
	CHANGEABLE = 1,            /* page control */
	HEADER_6 = 4, HEADER_10 = 8, DESCRIPTOR = 8,
	SPEED = 7056,              /* kB/s: 40 x CD, told because some ask */
};

static size_t put_drive_page(uint8_t *p, const struct scsi_disk *d)
{
	p[2] = 0x3b;                              /* reads CD-R, CD-RW, DVD */
	p[4] = 0x70;                              /* mode 2 forms, multi-session */
	p[6] = (uint8_t)(0x28 | 0x01 | (d->locked ? 0x02 : 0)); /* tray, ejects, can be locked */
	put_be16(p + 8, SPEED);
	put_be16(p + 14, SPEED);
	return 0x14;
}

/* One page with its header; 0: the device has no such page. */
static size_t put_page(uint8_t *p, uint8_t page, const struct scsi_disk *d)
{
	size_t n;

	memset(p, 0, PAGE_MAX);
	if (page == PAGE_ERROR_RECOVERY && d->optical) {
		n = 0x0a;
	} else if (page == PAGE_CACHING && !d->optical) {
		p[2] = d->write_through ? 0 : WCE;
		n = 0x12;
	} else if (page == PAGE_CONTROL && !d->optical) {
		n = 0x0a;
	} else if (page == PAGE_DRIVE && d->optical) {
		n = put_drive_page(p, d);
	} else {
		return 0;
	}
	p[0] = page;
	p[1] = (uint8_t)n;
	return n + 2;
}

static void mask_changeable(uint8_t *p, size_t n)
{
	memset(p + 2, 0, n - 2);
	if (p[0] == PAGE_CACHING)
		p[2] = WCE;
}

static size_t put_pages(uint8_t *p, const struct scsi_command *c, const struct scsi_disk *d)
{
	size_t at = 0;

	for (uint8_t page = 0; page < ALL_PAGES; page++) {
		size_t n = c->page == page || c->page == ALL_PAGES ? put_page(p + at, page, d) : 0;

		if (n && c->control == CHANGEABLE)
			mask_changeable(p + at, n);
		at += n;
	}
	return at;
}

/* Short LBA mode parameter block descriptor (SBC-3 6.5.2.2). */
static size_t put_descriptor(uint8_t *p, const struct scsi_disk *d)
{
	put_be32(p, d->blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)d->blocks);
	put_be32(p + 4, d->block_bytes);
	return DESCRIPTOR;
}

size_t scsi_put_mode(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		     const struct scsi_disk *d)
{
	size_t header = c->kind == SCSI_MODE_SENSE_6 ? HEADER_6 : HEADER_10, descriptor = 0, n;
	/* WP, DPOFUA; a drive has neither bit (MMC-6 7.2.1) */
	uint8_t device = (uint8_t)(d->optical ? 0 : (d->read_only ? 0x80 : 0) | 0x10);
	struct scsi_disk as = *d;

	if (c->control == 2)
		as.write_through = false;
	memset(p, 0, SCSI_DATA_MAX);
	if (!d->optical && !c->no_descriptor)
		descriptor = put_descriptor(p + header, d);
	n = put_pages(p + header + descriptor, c, &as);
	if (n == 0)
		return 0;
	n += header + descriptor;
	if (header == HEADER_6) {
		p[0] = (uint8_t)(n - 1);
		p[2] = device;
		p[3] = (uint8_t)descriptor;
	} else {
		put_be16(p, (uint16_t)(n - 2));
		p[3] = device;
		put_be16(p + 6, (uint16_t)descriptor);
	}
	return n;
}

/* ---- MODE SELECT ---------------------------------------------------------- */

/* Header and block descriptor; 0, or a sense, and where the pages begin. */
static uint32_t skip_header(const uint8_t *p, size_t len, bool six, const struct scsi_disk *d,
			    size_t *ret_at)
{
	size_t header = six ? HEADER_6 : HEADER_10, descriptor;

	if (len < header)
		return SENSE_LIST_LENGTH;
	descriptor = six ? p[3] : get_be16(p + 6);
	*ret_at = header + descriptor;
	if (descriptor != 0 && descriptor != DESCRIPTOR)
		return SENSE_LIST;
	if (len < *ret_at)
		return SENSE_LIST_LENGTH;
	if (descriptor && (get_be32(p + header + 4) & 0xffffff) != d->block_bytes)
		return SENSE_LIST;
	return 0;
}

static uint32_t take_page(const uint8_t *p, size_t len, const struct scsi_disk *d,
			  bool *write_through)
{
	uint8_t now[PAGE_MAX], mask[PAGE_MAX];
	size_t n = put_page(now, p[0] & 0x3f, d);

	if (n == 0 || (p[0] & 0xc0) || len < n || p[1] != n - 2)
		return SENSE_LIST;
	memcpy(mask, now, n);
	mask_changeable(mask, n);
	for (size_t i = 2; i < n; i++)
		if ((p[i] ^ now[i]) & ~mask[i])
			return SENSE_LIST;
	if (now[0] == PAGE_CACHING)
		*write_through = !(p[2] & WCE);
	return 0;
}

uint32_t scsi_parse_mode_select(const uint8_t *p, size_t len, bool six, const struct scsi_disk *d,
				bool *ret_write_through)
{
	size_t at = 0;
	uint32_t sense = len ? skip_header(p, len, six, d, &at) : 0;

	*ret_write_through = d->write_through;
	while (sense == 0 && at < len) {
		if (len - at < 2)
			return SENSE_LIST_LENGTH;
		sense = take_page(p + at, len - at, d, ret_write_through);
		at += 2u + p[at + 1];
	}
	return sense;
}
