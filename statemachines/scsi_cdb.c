/* Command descriptor blocks. The length of a CDB follows from its group (SPC-4
 * 4.2.5.1), and is checked before any figure is taken. */
#include "statemachines/scsi_cdb.h"

#include "statemachines/bytes.h"

static unsigned length_of(uint8_t opcode)
{
	switch (opcode >> 5) {
	case 0:
		return 6;
	case 1:
	case 2:
		return 10;
	case 4:
		return 16;
	case 5:
		return 12;
	default:
		return 0;
	}
}

/* READ, WRITE and VERIFY in their four lengths. */
static void parse_range(const uint8_t *cdb, struct scsi_command *c)
{
	switch (length_of(cdb[0])) {
	case 6:
		c->lba = get_be32(cdb) & 0x1fffff;
		c->count = cdb[4] ? cdb[4] : 256;
		break;
	case 10:
		c->lba = get_be32(cdb + 2);
		c->count = get_be16(cdb + 7);
		break;
	case 12:
		c->lba = get_be32(cdb + 2);
		c->count = get_be32(cdb + 6);
		break;
	default:
		c->lba = get_be64(cdb + 2);
		c->count = get_be32(cdb + 10);
		break;
	}
	c->lba_with_count = true;
	c->fua = length_of(cdb[0]) != 6 && (cdb[1] & 0x08);
}

static int parse_transfer(const uint8_t *cdb, enum scsi_command_kind kind, struct scsi_command *c)
{
	c->kind = kind;
	parse_range(cdb, c);
	/* RDPROTECT, WRPROTECT: no protection information here. */
	return length_of(cdb[0]) != 6 && (cdb[1] & 0xe0) ? SCSI_E_FIELD : 0;
}

static int parse_write_same(const uint8_t *cdb, struct scsi_command *c)
{
	c->kind = SCSI_WRITE_SAME;
	parse_range(cdb, c);
	c->fua = false;
	c->no_data = length_of(cdb[0]) == 16 && (cdb[1] & 0x01);
	return cdb[1] & 0xf0 ? SCSI_E_FIELD : 0;
}

static int parse_inquiry(const uint8_t *cdb, struct scsi_command *c)
{
	c->kind = SCSI_INQUIRY;
	c->evpd = cdb[1] & 1;
	c->page = cdb[2];
	c->allocation = get_be16(cdb + 3);
	return (cdb[1] & ~1) || (!c->evpd && c->page) ? SCSI_E_FIELD : 0;
}

static int parse_service_action(const uint8_t *cdb, struct scsi_command *c)
{
	if ((cdb[1] & 0x1f) != 0x10)
		return SCSI_E_FIELD;
	c->kind = SCSI_READ_CAPACITY_16;
	c->allocation = get_be32(cdb + 10);
	return 0;
}

static int parse_mode_sense(const uint8_t *cdb, struct scsi_command *c)
{
	bool six = cdb[0] == 0x1a;

	c->kind = six ? SCSI_MODE_SENSE_6 : SCSI_MODE_SENSE_10;
	c->no_descriptor = cdb[1] & 0x08;
	c->control = cdb[2] >> 6;
	c->page = cdb[2] & 0x3f;
	c->allocation = six ? cdb[4] : get_be16(cdb + 7);
	/* Saved values and sub-pages do not exist. */
	return cdb[2] >> 6 == 3 || (cdb[3] != 0 && cdb[3] != 0xff) ? SCSI_E_FIELD : 0;
}

/* No saved pages; parameters in page format only (SPC-4 6.9). */
static int parse_mode_select(const uint8_t *cdb, struct scsi_command *c)
{
	c->kind = SCSI_MODE_SELECT;
	c->allocation = cdb[0] == 0x15 ? cdb[4] : get_be16(cdb + 7);
	return (cdb[1] & 0x11) != 0x10 ? SCSI_E_FIELD : 0;
}

/* A power condition is none that we know (SBC-3 5.25). */
static int parse_start_stop(const uint8_t *cdb, struct scsi_command *c)
{
	c->kind = SCSI_START_STOP;
	c->start = cdb[4] & 0x01;
	c->eject = cdb[4] & 0x02;
	return cdb[4] & 0xf0 ? SCSI_E_FIELD : 0;
}

/* BYTCHK: the guest's data would have to be compared here (SBC-3 5.36). */
static int parse_verify(const uint8_t *cdb, enum scsi_command_kind kind, struct scsi_command *c)
{
	c->kind = kind;
	parse_range(cdb, c);
	c->fua = kind == SCSI_WRITE;
	return cdb[1] & 0xe6 ? SCSI_E_FIELD : 0;
}

static int parse_optical(const uint8_t *cdb, struct scsi_command *c)
{
	c->allocation = cdb[0] == 0xbd ? get_be16(cdb + 8) : get_be16(cdb + 7);
	switch (cdb[0]) {
	case 0x43:
		c->kind = SCSI_READ_TOC;
		c->msf = cdb[1] & 0x02;
		c->format = cdb[2] & 0x0f;
		c->page = cdb[6];
		return 0;
	case 0x46:
		c->kind = SCSI_GET_CONFIGURATION;
		c->format = cdb[1] & 0x03;
		c->feature = get_be16(cdb + 2);
		return 0;
	case 0x4a:
		c->kind = SCSI_GET_EVENT;
		c->page = cdb[4];
		return cdb[1] & 1 ? 0 : SCSI_E_FIELD; /* never asynchronous */
	case 0x51:
		c->kind = SCSI_READ_DISC_INFORMATION;
		return cdb[1] & 0x07 ? SCSI_E_FIELD : 0;
	default:
		c->kind = SCSI_MECHANISM_STATUS;
		return 0;
	}
}

/* All of them, or only the well known ones, of which there are none (SPC-4 6.33). */
static int parse_report_luns(const uint8_t *cdb, struct scsi_command *c)
{
	c->kind = SCSI_REPORT_LUNS;
	c->page = cdb[2];
	c->allocation = get_be32(cdb + 6);
	return cdb[2] > 2 ? SCSI_E_FIELD : 0;
}

/* ANCHOR: blocks are mapped or not, nothing between (SBC-3 5.28). */
static int parse_unmap(const uint8_t *cdb, struct scsi_command *c)
{
	c->kind = SCSI_UNMAP;
	c->allocation = get_be16(cdb + 7);
	return cdb[1] & 0x01 ? SCSI_E_FIELD : 0;
}

static int parse_plain(struct scsi_command *c, enum scsi_command_kind kind, uint32_t allocation)
{
	c->kind = kind;
	c->allocation = allocation;
	return 0;
}

int scsi_cdb_parse(const uint8_t cdb[16], unsigned len, struct scsi_command *ret)
{
	*ret = (struct scsi_command){ 0 };
	if (length_of(cdb[0]) == 0 || len < length_of(cdb[0]))
		return len == 0 || length_of(cdb[0]) == 0 ? SCSI_E_OPCODE : SCSI_E_FIELD;
	switch (cdb[0]) {
	case 0x00:
		return parse_plain(ret, SCSI_TEST_UNIT_READY, 0);
	case 0x03:
		ret->descriptor = cdb[1] & 0x01;
		return parse_plain(ret, SCSI_REQUEST_SENSE, cdb[4]);
	case 0x08: case 0x28: case 0xa8: case 0x88:
		return parse_transfer(cdb, SCSI_READ, ret);
	case 0x0a: case 0x2a: case 0xaa: case 0x8a:
		return parse_transfer(cdb, SCSI_WRITE, ret);
	case 0x12:
		return parse_inquiry(cdb, ret);
	case 0x1a: case 0x5a:
		return parse_mode_sense(cdb, ret);
	case 0x15: case 0x55:
		return parse_mode_select(cdb, ret);
	case 0x1b:
		return parse_start_stop(cdb, ret);
	case 0x1e:
		ret->prevent = cdb[4] & 0x01;
		return parse_plain(ret, SCSI_PREVENT, 0);
	case 0x25:
		return parse_plain(ret, SCSI_READ_CAPACITY_10, 8);
	case 0x2e: case 0x8e: case 0xae:
		return parse_verify(cdb, SCSI_WRITE, ret);
	case 0x2f: case 0x8f: case 0xaf:
		return parse_verify(cdb, SCSI_VERIFY, ret);
	case 0x35: case 0x91:
		ret->kind = SCSI_SYNCHRONIZE;
		parse_range(cdb, ret);
		ret->fua = false;
		return 0;
	case 0x41: case 0x93:
		return parse_write_same(cdb, ret);
	case 0x42:
		return parse_unmap(cdb, ret);
	case 0x43: case 0x46: case 0x4a: case 0x51: case 0xbd:
		return parse_optical(cdb, ret);
	case 0x9e:
		return parse_service_action(cdb, ret);
	case 0xa0:
		return parse_report_luns(cdb, ret);
	default:
		return SCSI_E_OPCODE;
	}
}
