/* Data of an optical drive. The medium is an image of 2,048-byte blocks: one
 * track, number 1, from block 0 on, and the lead-out behind the last block. */
#include "statemachines/scsi_optical.h"

#include "statemachines/bytes.h"

enum {
	DATA_TRACK = 0x14,         /* ADR 1, data track, no copying forbidden */
	LEAD_OUT = 0xaa,
	PROFILE_DVD_ROM = 0x0010,
	CLASS_MEDIA = 4,           /* of events */
	FEATURE_HEAD = 4,
};

/* Frames are counted from 2 s before block 0 (MMC-6 table "LBA to MSF"). */
static void put_address(uint8_t *p, uint64_t lba, bool msf)
{
	uint32_t frame = (uint32_t)lba + 150;

	put_be32(p, (uint32_t)lba);
	if (!msf)
		return;
	p[0] = 0;
	p[1] = (uint8_t)(frame / 75 / 60);
	p[2] = (uint8_t)(frame / 75 % 60);
	p[3] = (uint8_t)(frame % 75);
}

static size_t put_track(uint8_t *p, uint8_t track, uint64_t lba, bool msf)
{
	p[1] = DATA_TRACK;
	p[2] = track;
	put_address(p + 4, lba, msf);
	return 8;
}

/* An entry of the raw table: POINT @point, its address in PMIN to PFRAME. */
static size_t put_raw(uint8_t *p, uint8_t point, uint8_t min, uint64_t lba)
{
	uint8_t at[4] = { 0, min, 0, 0 };

	if (lba != UINT64_MAX)
		put_address(at, lba, true);
	p[0] = 1; /* session */
	p[1] = DATA_TRACK;
	p[3] = point;
	memcpy(p + 8, at + 1, 3);
	return 11;
}

size_t scsi_put_toc(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		    const struct scsi_disk *d)
{
	size_t n = 4;

	memset(p, 0, SCSI_DATA_MAX);
	p[2] = p[3] = 1; /* first and last track, or session */
	switch (c->format) {
	case 0:
		if (c->page > 1 && c->page != LEAD_OUT)
			return 0;
		if (c->page <= 1)
			n += put_track(p + n, 1, 0, c->msf);
		n += put_track(p + n, LEAD_OUT, d->blocks, c->msf);
		break;
	case 1:
		n += put_track(p + n, 1, 0, c->msf);
		break;
	case 2:
		n += put_raw(p + n, 0xa0, 1, UINT64_MAX);
		n += put_raw(p + n, 0xa1, 1, UINT64_MAX);
		n += put_raw(p + n, 0xa2, 0, d->blocks);
		n += put_raw(p + n, 1, 0, 0);
		break;
	default:
		return 0;
	}
	put_be16(p, (uint16_t)(n - 2));
	return n;
}

static const struct feature {
	uint16_t code;
	uint8_t version, persistent, bytes;
	uint8_t data[8];
} features[] = {
	{ 0x0000, 0, 1, 4, { 0x00, 0x10, 0x01, 0x00 } },                   /* profiles: DVD-ROM */
	{ 0x0001, 2, 1, 8, { 0x00, 0x00, 0x00, 0x01, 0x01 } },             /* core: SCSI */
	{ 0x0002, 1, 1, 4, { 0x02 } },                                     /* morphing */
	{ 0x0003, 0, 1, 4, { 0x29 } },                                     /* tray, ejects, locks */
	{ 0x0010, 0, 0, 8, { 0x00, 0x00, 0x08, 0x00, 0x00, 0x10, 0x01 } }, /* random reading */
	{ 0x001f, 1, 0, 4, { 0x00 } },                                     /* DVD read */
	{ 0x0105, 0, 1, 4, { 0x00 } },                                     /* time-out */
};

/* RT 0: all, 1: those in force, 2: the one that is named. */
static bool wanted(const struct scsi_command *c, const struct feature *f, bool in_force)
{
	if (c->format == 2)
		return f->code == c->feature;
	return f->code >= c->feature && (c->format == 0 || in_force);
}

size_t scsi_put_configuration(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
			      const struct scsi_disk *d)
{
	bool medium = d->blocks && !d->tray_open;
	size_t n = 8;

	memset(p, 0, SCSI_DATA_MAX);
	put_be16(p + 6, medium ? PROFILE_DVD_ROM : 0);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];
		bool in_force = f->persistent || medium;

		if (!wanted(c, f, in_force))
			continue;
		put_be16(p + n, f->code);
		p[n + 2] = (uint8_t)(f->version << 2 | (f->persistent ? 2 : 0) | in_force);
		p[n + 3] = f->bytes;
		memcpy(p + n + FEATURE_HEAD, f->data, f->bytes);
		if (f->code == 0 && medium)
			p[n + FEATURE_HEAD + 2] = 1; /* the profile is current */
		n += FEATURE_HEAD + f->bytes;
	}
	put_be32(p, (uint32_t)(n - 4));
	return n;
}

size_t scsi_put_event(uint8_t p[SCSI_DATA_MAX], const struct scsi_command *c,
		      const struct scsi_disk *d, uint16_t event)
{
	memset(p, 0, SCSI_DATA_MAX);
	p[3] = 1 << CLASS_MEDIA; /* the classes there are */
	if (!(c->page & 1 << CLASS_MEDIA)) {
		put_be16(p, 2);
		p[2] = 0x80;     /* none of those asked for */
		return 4;
	}
	put_be16(p, 6);
	p[2] = CLASS_MEDIA;
	p[4] = (uint8_t)event;
	p[5] = (uint8_t)((d->blocks && !d->tray_open ? 2 : 0) | (d->tray_open ? 1 : 0));
	return 8;
}

size_t scsi_put_disc_information(uint8_t p[SCSI_DATA_MAX])
{
	memset(p, 0, SCSI_DATA_MAX);
	put_be16(p, 32);
	p[2] = 0x0e;             /* the last session is complete, and so is the disc */
	p[3] = p[4] = p[5] = p[6] = 1; /* first track; sessions; tracks of the last */
	return 34;
}

size_t scsi_put_mechanism(uint8_t p[SCSI_DATA_MAX], const struct scsi_disk *d)
{
	memset(p, 0, SCSI_DATA_MAX);
	p[1] = d->tray_open ? 0x10 : 0;
	return 8;
}
