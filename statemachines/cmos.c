/* A read-only real-time clock. The date is computed from the time stamp of the
 * event, so a replay reads the same clock. */
#include "statemachines/cmos.h"

#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/ports.h"

enum {
	REG_SECONDS = 0, REG_MINUTES = 2, REG_HOURS = 4, REG_WEEKDAY = 6, REG_DAY = 7,
	REG_MONTH = 8, REG_YEAR = 9, REG_A = 0x0a, REG_B = 0x0b, REG_D = 0x0d, REG_CENTURY = 0x32,
	A_RATES = 0x26,      /* 32 kHz, 1.024 kHz; no update in progress */
	B_24_HOURS = 0x02,   /* binary-coded decimal, 24 hours */
	D_VALID = 0x80,
	INDEX_MASK = 0x7f,   /* bit 7 of the index port gates NMI */
};

struct date {
	unsigned year, month, day, weekday, hour, minute, second;
};

static bool holds_index(const void *self)
{
	return ((const struct cmos *)self)->index <= INDEX_MASK;
}

/* Proleptic Gregorian calendar, counted in eras of 400 years from 1 March 0000. */
static struct date date_of(uint64_t seconds)
{
	uint64_t days = seconds / 86400, z = days + 719468;
	unsigned rest = (unsigned)(seconds % 86400);
	unsigned of_era = (unsigned)(z % 146097);
	unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * of_year + 2) / 153; /* from March */
	struct date d = {
		.day = of_year - (153 * month + 2) / 5 + 1,
		.month = month < 10 ? month + 3 : month - 9,
		.weekday = (unsigned)((days + 4) % 7) + 1,
		.hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60,
	};

	d.year = year + (unsigned)(z / 146097) * 400 + (d.month <= 2);
	return d;
}

static uint8_t bcd(unsigned v)
{
	return (uint8_t)(v / 10 % 10 << 4 | v % 10);
}

static uint8_t register_value(const struct cmos *c, uint64_t now_ns)
{
	struct date d = date_of((c->wall_ns + now_ns) / 1000000000);

	switch (c->index) {
	case REG_SECONDS:
		return bcd(d.second);
	case REG_MINUTES:
		return bcd(d.minute);
	case REG_HOURS:
		return bcd(d.hour);
	case REG_WEEKDAY:
		return bcd(d.weekday);
	case REG_DAY:
		return bcd(d.day);
	case REG_MONTH:
		return bcd(d.month);
	case REG_YEAR:
		return bcd(d.year % 100);
	case REG_CENTURY:
		return bcd(d.year / 100);
	case REG_A:
		return A_RATES;
	case REG_B:
		return B_24_HOURS;
	case REG_D:
		return D_VALID;
	default:
		return 0;
	}
}

static void tell(struct sm_cx *cx, uint64_t value)
{
	const struct rec_vp_pio *p = cx->p;
	struct rec_mailbox_answer a = { .value = value, .generation = p->generation, .vp = p->vp };

	sm_effect(cx, EFFECT_MAILBOX_ANSWER, &a, NULL, 0);
}

static bool is_select(const struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;

	return !p->is_in && p->port == PORT_CMOS_INDEX;
}

static void select(struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;

	((struct cmos *)cx->self)->index = p->value & INDEX_MASK;
	tell(cx, 0);
}

/* The index port reads as ones; writes of data are dropped. */
static void answer(struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;
	uint64_t above = p->size >= 4 ? 0xffffff00u : p->size == 2 ? 0xff00 : 0;

	if (!p->is_in)
		tell(cx, 0);
	else if (p->port == PORT_CMOS_INDEX)
		tell(cx, above | 0xff);
	else
		tell(cx, above | register_value(cx->self, cx->time_ns));
}

static void configure(struct sm_cx *cx)
{
	((struct cmos *)cx->self)->wall_ns = ((const struct rec_config *)cx->p)->wall_ns;
}

#define SM_DEF "statemachines/cmos.def"
#define SM_PREFIX cmos
#define SM_KIND KIND_cmos
#define SM_CAPACITY CAPACITY_cmos
#define SM_DOC "The real-time clock, read-only (Motorola MC146818A; ACPI FADT CENTURY)."
#include "engine/sm_define.h"
