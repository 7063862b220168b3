/* From an SRB to what is to be done for it (SPC-4, SBC-3; protocol C.3, C.4).
 *
 * Checks in this order, as a disk does: is there a LUN, has it something to
 * report first, is the command known, is its range on the disk, may it write,
 * did the guest bring enough pages. */
#include "statemachines/scsi_plan.h"

#include "engine/limits.h"
#include "statemachines/disk.h"
#include "statemachines/gpa_list.h"
#include "statemachines/lun.h"
#include "statemachines/scsi_mode.h"

static bool writes(const struct scsi_command *c)
{
	return c->kind == SCSI_WRITE || c->kind == SCSI_UNMAP || c->kind == SCSI_WRITE_SAME;
}

static bool works_without_lun(const struct scsi_command *c)
{
	return c->kind == SCSI_INQUIRY || c->kind == SCSI_REPORT_LUNS ||
	       c->kind == SCSI_REQUEST_SENSE;
}

/* MMC's own; and what a drive has no use for. */
static bool fits_device(const struct scsi_command *c, bool optical)
{
	switch (c->kind) {
	case SCSI_PREVENT:
	case SCSI_GET_EVENT:
	case SCSI_GET_CONFIGURATION:
	case SCSI_READ_TOC:
	case SCSI_READ_DISC_INFORMATION:
	case SCSI_MECHANISM_STATUS:
		return optical;
	case SCSI_UNMAP:
	case SCSI_WRITE_SAME:
	case SCSI_MODE_SELECT:
		return !optical;
	default:
		return true;
	}
}

static bool needs_blocks(const struct scsi_command *c)
{
	switch (c->kind) {
	case SCSI_TEST_UNIT_READY:
	case SCSI_READ_CAPACITY_10:
	case SCSI_READ_CAPACITY_16:
	case SCSI_READ:
	case SCSI_WRITE:
	case SCSI_VERIFY:
	case SCSI_SYNCHRONIZE:
	case SCSI_UNMAP:
	case SCSI_WRITE_SAME:
	case SCSI_READ_TOC:
	case SCSI_READ_DISC_INFORMATION:
		return true;
	default:
		return false;
	}
}

/* Why blocks cannot be reached now; 0: they can. */
static uint32_t not_ready(const struct rec_srb *r)
{
	if (r->lun_flags & LUN_TRAY_OPEN)
		return SENSE_TRAY_OPEN;
	if ((r->lun_flags & DISK_OPTICAL) && r->blocks == 0)
		return SENSE_NO_MEDIUM;
	return r->lun_flags & LUN_STOPPED ? SENSE_STOPPED : 0;
}

/* @bytes of data: does the guest offer as many, in pages that one request can name? */
static bool pages_suffice(const struct rec_srb *r, const uint8_t *gpas, const uint8_t *packet,
			  uint64_t bytes)
{
	uint64_t pages = (r->gpa_bytes - (uint64_t)r->gpa_ranges * 8) / 8;

	return bytes <= LIMIT_TRANSFER && pages <= LIMIT_SEGMENTS &&
	       get_le32(packet + VSTOR_AT_TRANSFER) >= bytes &&
	       gpa_list_total(gpas, r->gpa_ranges) >= bytes;
}

static void plan_transfer(struct scsi_plan *p, const struct rec_srb *r, const uint8_t *gpas,
			  const uint8_t *packet)
{
	p->op = p->c.kind == SCSI_READ ? DISK_READ : DISK_WRITE;
	p->lba = p->c.lba;
	p->count = p->c.count;
	p->bytes = p->count * r->block_bytes;
	p->c.fua |= p->op == DISK_WRITE && (r->lun_flags & LUN_WRITE_THROUGH);
	if (p->bytes == 0)
		return;
	if (pages_suffice(r, gpas, packet, p->bytes))
		p->way = SCSI_WAY_TRANSFER;
	else
		p->sense = SENSE_FIELD;
}

static void plan_unmap(struct scsi_plan *p, const struct rec_srb *r, const uint8_t *gpas,
		       const uint8_t *packet)
{
	p->op = DISK_UNMAP;
	p->bytes = p->c.allocation;
	if (p->bytes == 0)
		return;
	if (p->bytes <= SCSI_UNMAP_LIST && pages_suffice(r, gpas, packet, p->bytes))
		p->way = SCSI_WAY_FETCH;
	else
		p->sense = SENSE_FIELD;
}

/* Zeros, which need no data: either the command says so, or its block is looked at. */
static void plan_write_same(struct scsi_plan *p, const struct rec_srb *r, const uint8_t *gpas,
			    const uint8_t *packet)
{
	p->op = DISK_ZERO;
	p->lba = p->c.lba;
	p->count = p->c.count ? p->c.count : r->blocks - p->c.lba;
	p->bytes = p->c.no_data ? 0 : r->block_bytes;
	if (p->count == 0)
		return;
	if (p->count > SCSI_UNMAP_BYTES / r->block_bytes)
		p->sense = SENSE_FIELD;
	else if (p->c.no_data)
		p->way = SCSI_WAY_ACT;
	else if (pages_suffice(r, gpas, packet, p->bytes))
		p->way = SCSI_WAY_FETCH;
	else
		p->sense = SENSE_FIELD;
}

/* What is cached goes to the medium first: what the guest sets may be that there
 * is no cache. */
static void plan_mode_select(struct scsi_plan *p, const struct rec_srb *r, const uint8_t *gpas,
			     const uint8_t *packet)
{
	p->op = DISK_FLUSH;
	p->bytes = p->c.allocation;
	if (p->bytes == 0)
		return;
	if (p->bytes <= SCSI_MODE_LIST && pages_suffice(r, gpas, packet, p->bytes))
		p->way = SCSI_WAY_FETCH;
	else
		p->sense = SENSE_FIELD;
}

static void plan_flush(struct scsi_plan *p)
{
	p->way = SCSI_WAY_ACT;
	p->op = DISK_FLUSH;
}

static void plan_command(struct scsi_plan *p, const struct rec_srb *r, const uint8_t *gpas,
			 const uint8_t *packet)
{
	switch (p->c.kind) {
	case SCSI_READ:
	case SCSI_WRITE:
		plan_transfer(p, r, gpas, packet);
		break;
	case SCSI_SYNCHRONIZE:
	case SCSI_VERIFY: /* SBC-3 5.36: cached blocks are written first */
		plan_flush(p);
		break;
	case SCSI_START_STOP:
		if (!p->c.start && !(r->lun_flags & DISK_OPTICAL))
			plan_flush(p);
		break;
	case SCSI_MODE_SELECT:
		plan_mode_select(p, r, gpas, packet);
		break;
	case SCSI_UNMAP:
		plan_unmap(p, r, gpas, packet);
		break;
	case SCSI_WRITE_SAME:
		plan_write_same(p, r, gpas, packet);
		break;
	default:
		break;
	}
}

/* What is wrong with the command before it is looked at more closely. */
static uint32_t first_sense(const struct rec_srb *r, const struct scsi_command *c, int error)
{
	bool optical = r->lun_flags & DISK_OPTICAL;

	if (r->sense && (error || c->kind != SCSI_REQUEST_SENSE))
		return r->sense;
	if (error == SCSI_E_OPCODE || (!error && !fits_device(c, optical)))
		return SENSE_OPCODE;
	if (error)
		return SENSE_FIELD;
	if (needs_blocks(c) && not_ready(r))
		return not_ready(r);
	if (c->lba_with_count && (c->lba > r->blocks || c->count > r->blocks - c->lba))
		return SENSE_RANGE;
	return writes(c) && (r->lun_flags & DISK_READ_ONLY) ? SENSE_WRITE_PROTECTED : 0;
}

struct scsi_plan scsi_plan(const struct rec_srb *r, const uint8_t *gpas,
			   const uint8_t packet[VSTOR_BYTES])
{
	unsigned len = packet[VSTOR_AT_CDB_LENGTH];
	struct scsi_plan p = { .way = SCSI_WAY_ANSWER };
	int e = scsi_cdb_parse(packet + VSTOR_AT_CDB, len < VSTOR_CDB_MAX ? len : VSTOR_CDB_MAX,
			       &p.c);

	p.no_lun = r->block_bytes == 0;
	if (p.no_lun)
		p.sense = e || !works_without_lun(&p.c) ? SENSE_NO_LUN : 0;
	else
		p.sense = first_sense(r, &p.c, e);
	if (!p.no_lun && p.sense == 0)
		plan_command(&p, r, gpas, packet);
	return p;
}

uint32_t scsi_plan_request_sense(const struct rec_srb *r)
{
	if (r->block_bytes == 0)
		return SENSE_NO_LUN;
	return r->sense ? r->sense : not_ready(r);
}
