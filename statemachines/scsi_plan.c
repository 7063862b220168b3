/* From an SRB to what is to be done for it (SPC-4, SBC-3; protocol C.3, C.4).
 *
 * Checks in this order, as a disk does: is there a LUN, has it something to
 * report first, is the command known, is its range on the disk, may it write,
 * did the guest bring enough pages. */
#include "statemachines/scsi_plan.h"

#include "engine/limits.h"
#include "statemachines/gpa_list.h"
#include "statemachines/scsi.h"

static bool writes(const struct scsi_command *c)
{
	return c->kind == SCSI_WRITE || c->kind == SCSI_UNMAP || c->kind == SCSI_WRITE_SAME;
}

static bool works_without_lun(const struct scsi_command *c)
{
	return c->kind == SCSI_INQUIRY || c->kind == SCSI_REPORT_LUNS;
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

/* Blocks of zeros only: either the command says so, or its block is looked at. */
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

static void plan_command(struct scsi_plan *p, const struct rec_srb *r, const uint8_t *gpas,
			 const uint8_t *packet)
{
	switch (p->c.kind) {
	case SCSI_READ:
	case SCSI_WRITE:
		plan_transfer(p, r, gpas, packet);
		break;
	case SCSI_SYNCHRONIZE:
		p->way = SCSI_WAY_ACT;
		p->op = DISK_FLUSH;
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

struct scsi_plan scsi_plan(const struct rec_srb *r, const uint8_t *gpas,
			   const uint8_t packet[VSTOR_BYTES])
{
	unsigned len = packet[VSTOR_AT_CDB_LENGTH];
	struct scsi_plan p = { .way = SCSI_WAY_ANSWER };
	int e = scsi_cdb_parse(packet + VSTOR_AT_CDB, len < VSTOR_CDB_MAX ? len : VSTOR_CDB_MAX,
			       &p.c);

	p.no_lun = r->block_bytes == 0;
	if (p.no_lun) {
		if (e || !works_without_lun(&p.c))
			p.sense = SENSE_NO_LUN;
	} else if (r->lun_flags & LUN_CHANGED) {
		p.sense = SENSE_CAPACITY;
	} else if (e) {
		p.sense = e == SCSI_E_OPCODE ? SENSE_OPCODE : SENSE_FIELD;
	} else if (p.c.lba_with_count &&
		   (p.c.lba > r->blocks || p.c.count > r->blocks - p.c.lba)) {
		p.sense = SENSE_RANGE;
	} else if (writes(&p.c) && (r->lun_flags & LUN_READ_ONLY)) {
		p.sense = SENSE_WRITE_PROTECTED;
	} else {
		plan_command(&p, r, gpas, packet);
	}
	return p;
}
