/* The LUNs of a controller. Each set of them is a word; bit n is LUN n.
 *
 * Invariants: a LUN in `luns` has block_bytes; its number is not given to
 * another disk while `leaving` says that requests are out on its former file;
 * out[n] counts the requests that were started while LUN n was in `luns`. */
#include "statemachines/lun.h"

#include "statemachines/disk.h"
#include "statemachines/scsi_data.h"

enum { LUNS = 64 };

static uint64_t bit_of(unsigned n)
{
	return (uint64_t)1 << n;
}

static void set_bit(uint64_t *word, uint64_t bit, bool value)
{
	*word = value ? *word | bit : *word & ~bit;
}

/* ---- the operator ------------------------------------------------------- */

static void settings_of(struct storvsp *s, uint64_t luns)
{
	s->stopped &= ~luns;
	s->write_through &= ~luns;
	s->locked &= ~luns;
}

/* LUN @n has its file no more. */
static enum lun_answer give_up_file(struct storvsp *s, unsigned n)
{
	if (s->out[n] == 0)
		return LUN_GONE;
	s->leaving |= bit_of(n);
	return LUN_TAKEN;
}

static enum lun_answer take_away(struct storvsp *s, unsigned n)
{
	uint64_t bit = bit_of(n);

	s->vanished |= s->luns & bit;
	s->luns &= ~bit;
	settings_of(s, bit);
	s->changed &= ~bit;
	s->was_reset &= ~bit;
	s->other_medium &= ~bit;
	s->open_trays &= ~bit;
	s->event[n] = MEDIUM_NO_CHANGE;
	s->blocks[n] = 0;
	s->block_bytes[n] = 0;
	return give_up_file(s, n);
}

static void describe_file(struct storvsp *s, unsigned n, const struct rec_lun *p)
{
	s->blocks[n] = p->blocks;
	s->identity[2 * n] = p->identity[0];
	s->identity[2 * n + 1] = p->identity[1];
	s->block_bytes[n] = p->block_bytes;
	s->lun_flags[n] = p->flags & ~(uint32_t)LUN_FORCED;
	s->disk[n] = p->disk;
	s->fd[n] = p->fd;
}

/* Out of the drive: the tray opens; its medium cannot come back. */
static enum lun_answer take_medium(struct storvsp *s, unsigned n, bool forced)
{
	uint64_t bit = bit_of(n);

	if ((s->locked & bit) && !forced) {
		s->event[n] = MEDIUM_EJECT_REQUEST;
		return LUN_LOCKED_IN;
	}
	s->blocks[n] = 0;
	s->locked &= ~bit;
	s->open_trays |= bit;
	s->event[n] = MEDIUM_REMOVAL;
	return give_up_file(s, n);
}

static enum lun_answer change(struct storvsp *s, unsigned n, const struct rec_lun *p)
{
	uint64_t bit = bit_of(n);

	if (s->disk[n] != p->disk)
		return LUN_OCCUPIED;
	if (!(p->flags & DISK_OPTICAL)) {
		s->changed |= s->blocks[n] != p->blocks ? bit : 0;
	} else if (p->blocks == 0) {
		return take_medium(s, n, p->flags & LUN_FORCED);
	} else {
		s->open_trays &= ~bit;
		s->other_medium |= bit;
		s->event[n] = MEDIUM_NEW;
	}
	describe_file(s, n, p);
	return LUN_TAKEN;
}

unsigned lun_choose(const struct storvsp *s)
{
	unsigned n = 0;

	while (n < LUNS && ((s->luns | s->leaving) & bit_of(n)))
		n++;
	return n;
}

enum lun_answer lun_change(struct storvsp *s, const struct rec_lun *p)
{
	unsigned n = p->lun % LUNS;

	if (p->block_bytes == 0)
		return take_away(s, n);
	if (s->luns & bit_of(n))
		return change(s, n, p);
	if (s->leaving & bit_of(n))
		return LUN_OCCUPIED;
	s->luns |= bit_of(n);
	describe_file(s, n, p);
	return LUN_TAKEN;
}

bool lun_ended(struct storvsp *s, uint32_t lun_1)
{
	unsigned n = (lun_1 - 1) % LUNS;

	if (lun_1 == 0 || s->out[n] == 0)
		return false;
	s->out[n]--;
	if (s->out[n] || !(s->leaving & bit_of(n)))
		return false;
	s->leaving &= ~bit_of(n);
	return true;
}

void lun_reset(struct storvsp *s, uint64_t luns)
{
	settings_of(s, luns & s->luns);
	s->was_reset |= luns & s->luns;
}

void lun_forget_guest(struct storvsp *s)
{
	settings_of(s, s->luns);
	s->was_reset = s->vanished = 0;
}

/* ---- the guest's commands ------------------------------------------------ */

/* The one thing that it tells before anything else, once. */
static uint32_t take_attention(struct storvsp *s, uint64_t bit)
{
	uint64_t *word = s->was_reset & bit	 ? &s->was_reset
			 : s->other_medium & bit ? &s->other_medium
			 : s->changed & bit	 ? &s->changed
						 : NULL;
	uint32_t sense;

	if (!word)
		return 0;
	sense = word == &s->was_reset	   ? SENSE_RESET
		: word == &s->other_medium ? SENSE_MEDIUM
					   : SENSE_CAPACITY;
	*word &= ~bit;
	return sense;
}

/* SPC-4 5.14: these leave a unit attention standing. */
static bool leaves_attention(enum scsi_command_kind kind)
{
	return kind == SCSI_INQUIRY || kind == SCSI_REPORT_LUNS || kind == SCSI_GET_CONFIGURATION ||
	       kind == SCSI_GET_EVENT;
}

static uint32_t move_tray(struct storvsp *s, unsigned n, bool load)
{
	uint64_t bit = bit_of(n);

	if (!load && (s->locked & bit))
		return SENSE_LOCKED_IN;
	if (load == !(s->open_trays & bit))
		return 0;
	set_bit(&s->open_trays, bit, !load);
	if (s->blocks[n] == 0)
		return 0;
	s->event[n] = load ? MEDIUM_NEW : MEDIUM_REMOVAL;
	if (load)
		s->other_medium |= bit;
	return 0;
}

static uint32_t start_stop(struct storvsp *s, unsigned n, const struct scsi_command *c)
{
	bool optical = s->lun_flags[n] & DISK_OPTICAL;

	if (c->eject)
		return optical ? move_tray(s, n, c->start) : SENSE_FIELD;
	if (!optical)
		set_bit(&s->stopped, bit_of(n), !c->start);
	return 0;
}

/* What the command does to the state of LUN @n; a sense, or 0. */
static uint32_t control(struct storvsp *s, unsigned n, const struct scsi_command *c,
			struct rec_srb *r)
{
	if (c->kind == SCSI_START_STOP)
		return start_stop(s, n, c);
	if (!(s->lun_flags[n] & DISK_OPTICAL))
		return 0;
	if (c->kind == SCSI_PREVENT) {
		set_bit(&s->locked, bit_of(n), c->prevent);
	} else if (c->kind == SCSI_GET_EVENT) {
		r->event = s->event[n];
		s->event[n] = MEDIUM_NO_CHANGE;
	}
	return 0;
}

static uint32_t flags_of(const struct storvsp *s, unsigned n)
{
	uint64_t bit = bit_of(n);

	return s->lun_flags[n] | (s->write_through & bit ? (uint32_t)LUN_WRITE_THROUGH : 0) |
	       (s->open_trays & bit ? (uint32_t)LUN_TRAY_OPEN : 0) |
	       (s->locked & bit ? (uint32_t)LUN_LOCKED : 0) |
	       (s->stopped & bit ? (uint32_t)LUN_STOPPED : 0);
}

void lun_describe(struct storvsp *s, const uint8_t packet[VSTOR_BYTES], struct rec_srb *r)
{
	unsigned n = packet[VSTOR_AT_LUN], len = packet[VSTOR_AT_CDB_LENGTH];
	struct scsi_command c;
	int e;

	if (packet[VSTOR_AT_PATH] || packet[VSTOR_AT_TARGET])
		return;
	r->luns[0] = s->luns;
	if (n >= LUNS || !(s->luns & bit_of(n))) {
		r->lun_flags = n < LUNS && (s->vanished & bit_of(n)) ? LUN_VANISHED : 0;
		return;
	}
	e = scsi_cdb_parse(packet + VSTOR_AT_CDB, len < VSTOR_CDB_MAX ? len : VSTOR_CDB_MAX, &c);
	if (e || !leaves_attention(c.kind))
		r->sense = take_attention(s, bit_of(n));
	if (!e && r->sense == 0)
		r->sense = control(s, n, &c, r);
	r->blocks = s->blocks[n];
	r->identity[0] = s->identity[2 * n];
	r->identity[1] = s->identity[2 * n + 1];
	r->block_bytes = s->block_bytes[n];
	r->lun_flags = flags_of(s, n);
	r->disk = s->disk[n];
	r->fd = s->fd[n];
	r->lun = (uint16_t)(n + 1);
	s->out[n]++;
}
