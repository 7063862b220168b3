/* A disk of the host, told to its controller. Figures come from the operator's
 * process, which opened it; they are checked here all the same, because a
 * wrong one would become a wrong answer to the guest. */
#include "statemachines/disk.h"

#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/operator.h"
#include "statemachines/storvsp.h"

enum { LUNS = 64 };
static const uint64_t max_bytes = (uint64_t)1 << 62;

static bool sound(uint64_t blocks, uint32_t block_bytes)
{
	return (block_bytes == 512 || block_bytes == 4096) && blocks > 0 &&
	       blocks <= max_bytes / block_bytes;
}

static bool holds_empty(const void *self)
{
	return ((const struct disk *)self)->blocks == 0;
}

static bool holds_disk(const void *self)
{
	const struct disk *d = self;

	return sound(d->blocks, d->block_bytes) && d->controller < CAPACITY_storvsp &&
	       d->lun < LUNS;
}

static bool disk_sound(const struct sm_cx *cx)
{
	const struct rec_disk_config *p = cx->p;

	return sound(p->blocks, p->block_bytes) && p->controller < CAPACITY_storvsp &&
	       p->target == 0 && p->lun < LUNS;
}

static void tell_controller(struct sm_cx *cx)
{
	const struct disk *d = cx->self;
	struct rec_lun l = {
		.blocks = d->blocks, .identity = { d->identity[0], d->identity[1] },
		.block_bytes = d->block_bytes, .flags = d->flags, .target = d->target,
		.lun = d->lun, .disk = cx->ref.index, .fd = d->fd,
	};

	sm_post(cx, ref_of(KIND_storvsp, d->controller), storvsp_EV_LUN, &l, NULL, 0);
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
	sm_blob_set(cx, &d->name, cx->tail, cx->tail_len < LIMIT_PATH ? cx->tail_len : LIMIT_PATH);
	tell_controller(cx);
}

static bool size_sound(const struct sm_cx *cx)
{
	const struct disk *d = cx->self;

	return sound(((const struct rec_operator *)cx->p)->value, d->block_bytes);
}

static void resize(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	((struct disk *)cx->self)->blocks = p->value;
	tell_controller(cx);
	operator_report(cx, OPERATOR_RESIZE, p->token, OPERATOR_OK, "resized");
}

static void refuse_resize(struct sm_cx *cx)
{
	operator_report(cx, OPERATOR_RESIZE, ((const struct rec_operator *)cx->p)->token,
			OPERATOR_E_INVALID, "no such disk, or not a size it can have");
}

#define SM_DEF "statemachines/disk.def"
#define SM_PREFIX disk
#define SM_KIND KIND_disk
#define SM_CAPACITY CAPACITY_disk
#define SM_DOC "A disk of the host, as the operator attached it."
#include "engine/sm_define.h"
