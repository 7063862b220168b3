/* A disk or optical drive of the host, told to its controller. Figures come
 * from the operator's process, which opened the file; they are checked here all
 * the same, because a wrong one would become a wrong answer to the guest.
 *
 * Invariants: from ATTACHING on the row of `fd` is this disk's own, and is given
 * up exactly once; 0 is no row: the first one is the guest's kernel. `token` is the
 * operator of the command that is under way. */
#include "statemachines/disk.h"

#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/operator.h"
#include "statemachines/storvsp.h"
#include "statemachines/vmbus.h"

enum { LUNS = 64, LAST = LIMIT_DISKS - 1 };
static const uint64_t max_bytes = (uint64_t)1 << 62;

static bool sound(uint64_t blocks, uint32_t block_bytes, uint32_t flags)
{
	if (flags & DISK_OPTICAL)
		return block_bytes == DISK_OPTICAL_BLOCK && (flags & DISK_READ_ONLY) &&
		       blocks <= UINT32_MAX;
	return (block_bytes == 512 || block_bytes == 4096) && blocks > 0 &&
	       blocks <= max_bytes / block_bytes;
}

static bool holds_empty(const void *self)
{
	return ((const struct disk *)self)->block_bytes == 0;
}

static bool holds_disk(const void *self)
{
	const struct disk *d = self;

	return sound(d->blocks, d->block_bytes, d->flags) && d->controller < CAPACITY_storvsp &&
	       d->lun < LUNS;
}

static bool holds_asking(const void *self)
{
	const struct disk *d = self;

	return sound(d->blocks, d->block_bytes, d->flags) && d->controller < CAPACITY_storvsp;
}

static bool disk_sound(const struct sm_cx *cx)
{
	const struct rec_disk_config *p = cx->p;

	return sound(p->blocks, p->block_bytes, p->flags) && p->controller < CAPACITY_storvsp &&
	       p->target == 0 && (p->lun < LUNS || p->lun == LUN_ANY);
}

/* ---- rows and reports --------------------------------------------------- */

static void drop_row(struct sm_cx *cx, uint16_t row)
{
	struct rec_command c = { .op = COMMAND_DISK_DROP, .arg = { row } };

	sm_effect(cx, EFFECT_COMMAND, &c, NULL, 0);
}

static void report_now(struct sm_cx *cx, uint32_t status, const char *text)
{
	struct disk *d = cx->self;

	operator_report(cx, OPERATOR_DISK, d->token, status, text);
	d->token = 0;
}

/* A command with a file that nobody can use: its row goes as well. */
static void refuse_row(struct sm_cx *cx, uint32_t status, const char *text)
{
	const struct rec_disk_config *p = cx->p;

	if (p->fd)
		drop_row(cx, p->fd);
	operator_report(cx, OPERATOR_DISK, p->token, status, text);
}

static void refuse(struct sm_cx *cx, uint32_t status, const char *text)
{
	const struct rec_operator *p = cx->p;

	operator_report(cx, p->op, p->token, status, text);
}

static void refuse_file(struct sm_cx *cx)
{
	refuse_row(cx, OPERATOR_E_INVALID, "the guest cannot have a disk like that");
}

static void refuse_busy(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_BUSY, "it is being taken away; requests are out on it");
}

/* ---- whom a command means ------------------------------------------------ */

static bool is_at(const struct disk *d, uint32_t controller, uint32_t lun)
{
	return d->block_bytes && d->controller == controller && d->lun == lun;
}

static bool is_meant(const struct sm_cx *cx)
{
	uint32_t arg = ((const struct rec_operator *)cx->p)->arg;

	return is_at(cx->self, arg >> 16, arg & 0xffff);
}

static bool is_meant_file(const struct sm_cx *cx)
{
	const struct rec_disk_config *p = cx->p;

	return is_at(cx->self, p->controller, p->lun);
}

static void pass(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_disk, (uint16_t)(cx->ref.index + 1)), cx->event->code, cx->p,
		cx->tail, cx->tail_len);
}

static void pass_on(struct sm_cx *cx)
{
	if (cx->ref.index == LAST)
		refuse(cx, OPERATOR_E_NONE, "there is no such disk");
	else
		pass(cx);
}

static void pass_file_on(struct sm_cx *cx)
{
	if (cx->ref.index < LAST)
		pass(cx);
	else if (cx->event->code == disk_EV_ADD)
		refuse_row(cx, OPERATOR_E_BUSY, "there are as many disks as there can be");
	else
		refuse_row(cx, OPERATOR_E_NONE, "there is no such drive");
}

/* ---- coming -------------------------------------------------------------- */

/* The bus tells a new one how many processors there are. */
static void make_controllers(struct sm_cx *cx, unsigned last)
{
	while (CAPACITY_storvsp - sm_room(cx, KIND_storvsp) <= last) {
		struct rec_relid r = { .relid = sm_spawn(cx, KIND_storvsp).index };

		sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_CONTROLLER, &r, NULL, 0);
	}
}

static void tell_controller(struct sm_cx *cx, struct rec_lun *l)
{
	const struct disk *d = cx->self;

	make_controllers(cx, d->controller);
	l->target = d->target;
	l->lun = d->lun;
	l->disk = cx->ref.index;
	sm_post(cx, ref_of(KIND_storvsp, d->controller), storvsp_EV_LUN, l, NULL, 0);
}

static void describe(struct sm_cx *cx)
{
	const struct disk *d = cx->self;
	struct rec_lun l = {
		.blocks = d->blocks, .identity = { d->identity[0], d->identity[1] },
		.block_bytes = d->block_bytes, .flags = d->flags, .fd = d->fd,
	};

#if HOLDFAST_VARIANT_C
	((struct disk *)cx->self)->told++;
#endif
	tell_controller(cx, &l);
}

static void keep_name(struct sm_cx *cx)
{
	sm_blob_set(cx, &((struct disk *)cx->self)->name, cx->tail,
		    cx->tail_len < LIMIT_PATH ? cx->tail_len : LIMIT_PATH);
}

static void attach(struct sm_cx *cx)
{
	const struct rec_disk_config *p = cx->p;
	struct disk *d = cx->self;

	d->blocks = p->blocks;
	d->block_bytes = p->block_bytes;
	d->flags = p->flags;
	d->fd = p->fd;
	d->controller = p->controller;
	d->target = p->target;
	d->lun = p->lun;
	d->identity[0] = p->identity[0];
	d->identity[1] = p->identity[1];
	d->token = p->token;
	keep_name(cx);
	describe(cx);
}

static bool was_taken(const struct sm_cx *cx)
{
	return ((const struct rec_relid *)cx->p)->value == LUN_TAKEN;
}

/* At most two digits; returns what is behind them. */
static char *put_number(char *at, unsigned n)
{
	if (n >= 10)
		*at++ = (char)('0' + n / 10);
	*at++ = (char)('0' + n % 10);
	return at;
}

static void report_added(struct sm_cx *cx)
{
	char text[] = "attached as cc:ll";
	struct disk *d = cx->self;
	char *at;

	d->lun = (uint16_t)((const struct rec_relid *)cx->p)->relid;
	at = put_number(text + 12, d->controller);
	*at++ = ':';
	*put_number(at, d->lun) = '\0';
	report_now(cx, OPERATOR_OK, text);
}

static void forget(struct sm_cx *cx)
{
	struct disk *d = cx->self;

	if (d->fd)
		drop_row(cx, d->fd);
	sm_blob_clear(cx, &d->name);
	d->blocks = d->identity[0] = d->identity[1] = 0;
	d->block_bytes = d->flags = 0;
	d->fd = d->controller = d->target = d->lun = 0;
}

static void give_up(struct sm_cx *cx)
{
	forget(cx);
	if (((const struct rec_relid *)cx->p)->value == LUN_NO_ROOM)
		report_now(cx, OPERATOR_E_BUSY, "there is no channel left for its controller");
	else
		report_now(cx, OPERATOR_E_BUSY, "that LUN is in use, or its controller is being "
						"taken away");
}

/* ---- another size --------------------------------------------------------- */

static bool may_resize(const struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	const struct disk *d = cx->self;

	return is_meant(cx) && !(d->flags & DISK_OPTICAL) && p->value % d->block_bytes == 0 &&
	       sound(p->value / d->block_bytes, d->block_bytes, d->flags);
}

static void resize(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	struct disk *d = cx->self;

	d->blocks = p->value / d->block_bytes;
	describe(cx);
	operator_report(cx, p->op, p->token, OPERATOR_OK, "resized");
}

static void refuse_resize(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_INVALID, "not a size it can have: a multiple of its sector, not 0");
}

/* ---- going ---------------------------------------------------------------- */

static void withdraw(struct sm_cx *cx)
{
	struct rec_lun l = { .block_bytes = 0 };

	tell_controller(cx, &l);
}

static void remove(struct sm_cx *cx)
{
	((struct disk *)cx->self)->token = ((const struct rec_operator *)cx->p)->token;
	withdraw(cx);
}

static bool is_behind(const struct sm_cx *cx)
{
	return ((const struct rec_relid *)cx->p)->relid ==
	       ((const struct disk *)cx->self)->controller;
}

static void finish_remove(struct sm_cx *cx)
{
	forget(cx);
	report_now(cx, OPERATOR_OK, "taken away");
}

/* ---- media ---------------------------------------------------------------- */

static bool may_eject(const struct sm_cx *cx)
{
	const struct disk *d = cx->self;

	return is_meant(cx) && (d->flags & DISK_OPTICAL) && d->blocks;
}

static void eject(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	struct disk *d = cx->self;
	struct rec_lun l = {
		.identity = { d->identity[0], d->identity[1] }, .block_bytes = d->block_bytes,
		.flags = d->flags | (p->value ? (uint32_t)LUN_FORCED : 0),
	};

	d->token = p->token;
	tell_controller(cx, &l);
}

static void refuse_eject(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_INVALID, "it has no medium that could be taken out");
}

static bool is_locked(const struct sm_cx *cx)
{
	return ((const struct rec_relid *)cx->p)->value == LUN_LOCKED_IN;
}

static void report_locked(struct sm_cx *cx)
{
	report_now(cx, OPERATOR_E_BUSY, "the guest holds the medium; it was asked to give it out "
					"(--force takes it)");
}

static void finish_eject(struct sm_cx *cx)
{
	struct disk *d = cx->self;

	drop_row(cx, d->fd);
	d->fd = 0;
	d->blocks = 0;
	sm_blob_clear(cx, &d->name);
	report_now(cx, OPERATOR_OK, "the medium is out");
}

static bool may_insert(const struct sm_cx *cx)
{
	const struct rec_disk_config *p = cx->p;
	const struct disk *d = cx->self;

	return is_meant_file(cx) && (d->flags & DISK_OPTICAL) && d->blocks == 0 && p->blocks &&
	       disk_sound(cx);
}

static void insert(struct sm_cx *cx)
{
	const struct rec_disk_config *p = cx->p;
	struct disk *d = cx->self;

	d->blocks = p->blocks;
	d->fd = p->fd;
	d->flags = p->flags;
	keep_name(cx);
	describe(cx);
	operator_report(cx, OPERATOR_DISK, p->token, OPERATOR_OK, "the medium is in");
}

static void refuse_insert(struct sm_cx *cx)
{
	refuse_row(cx, OPERATOR_E_INVALID, "not an optical drive, or there is a medium in it "
					   "already; eject it first");
}

#define SM_DEF "statemachines/disk.def"
#define SM_PREFIX disk
#define SM_KIND KIND_disk
#define SM_CAPACITY CAPACITY_disk
#define SM_DOC "A disk or optical drive of the host, as the operator attached it."
#include "engine/sm_define.h"
