/* A list of guest pages. It is made by the bus for one relid and handle, and
 * retires when the guest has its pages back, or is gone.
 *
 * Invariants: `received` page numbers lie in `pfns`; the guest has been told
 * GPADL_CREATED exactly once from ACCEPTED on; a user is named exactly in
 * IN_USE and TEARING_DOWN. */
#include "statemachines/gpadl.h"

#include "statemachines/channel.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"

static bool holds_partial(const void *self)
{
	const struct gpadl *g = self;

	return g->channel_generation == 0 && (g->received < g->pages || g->pages == 0);
}

static bool holds_whole(const void *self)
{
	const struct gpadl *g = self;

	return g->pages > 0 && g->received == g->pages && g->pfns != 0 &&
	       g->channel_generation == 0;
}

static bool holds_user(const void *self)
{
	const struct gpadl *g = self;

	return g->received == g->pages && g->pfns != 0 && g->channel_generation != 0;
}

static void send(struct sm_cx *cx, const uint8_t *m, size_t len)
{
	struct rec_message r = { .vp = ((const struct gpadl *)cx->self)->message_vp,
				 .sint = VMBUS_SINT };

	sm_effect(cx, EFFECT_MESSAGE, &r, m, len);
}

static void send_created(struct sm_cx *cx, uint32_t status)
{
	const struct gpadl *g = cx->self;
	uint8_t m[VMBUS_MAX];

	send(cx, m, vmbus_put_words(m, VMBUS_GPADL_CREATED, g->relid, (uint32_t)g->key, status));
}

static void send_torndown(struct sm_cx *cx)
{
	uint8_t m[VMBUS_MAX];

	send(cx, m, vmbus_put_word(m, VMBUS_GPADL_TORNDOWN,
				   (uint32_t)((const struct gpadl *)cx->self)->key));
}

/* ---- page numbers come in --------------------------------------------- */

static bool header_is_all(const struct sm_cx *cx)
{
	return cx->tail_len / 8 >= ((const struct rec_gpadl_header *)cx->p)->pages;
}

static bool body_is_last(const struct sm_cx *cx)
{
	const struct gpadl *g = cx->self;

	return g->received + cx->tail_len / 8 >= g->pages;
}

/* Adds what came, no more than is missing. False: the guest's quota is used
 * up; it has been told, and this GPADL ends. */
static bool keep_pfns(struct sm_cx *cx)
{
	struct gpadl *g = cx->self;
	uint32_t n = cx->tail_len / 8;

	if (n > g->pages - g->received)
		n = g->pages - g->received;
	if (!sm_blob_append(cx, &g->pfns, cx->tail, (size_t)n * 8)) {
		send_created(cx, VMBUS_FAILED);
		sm_retire(cx);
		return false;
	}
	g->received += n;
	return true;
}

static void keep_header(struct sm_cx *cx)
{
	const struct rec_gpadl_header *p = cx->p;
	struct gpadl *g = cx->self;

	g->key = p->gpadl;
	g->relid = p->relid;
	g->byte_count = p->byte_count;
	g->byte_offset = p->byte_offset;
	g->pages = p->pages;
	g->message_vp = p->message_vp;
	keep_pfns(cx);
}

static void accept_header(struct sm_cx *cx)
{
	struct gpadl *g = cx->self;

	keep_header(cx);
	if (g->received == g->pages)
		send_created(cx, 0);
}

static void keep_body(struct sm_cx *cx)
{
	keep_pfns(cx);
}

static void accept_body(struct sm_cx *cx)
{
	if (keep_pfns(cx))
		send_created(cx, 0);
}

/* ---- use by a channel ------------------------------------------------- */

/* Both rings: a header page and at least one page of data. */
static bool fits_rings(const struct sm_cx *cx)
{
	const struct gpadl *g = cx->self;
	const struct rec_gpadl_use *p = cx->p;

	return g->relid == p->channel && g->byte_offset == 0 && g->byte_count % 4096 == 0 &&
	       g->pages <= LIMIT_RING_PAGES && p->downstream >= 2 && g->pages >= 4 &&
	       p->downstream <= g->pages - 2;
}

static void lend(struct sm_cx *cx)
{
	struct gpadl *g = cx->self;
	const struct rec_gpadl_use *p = cx->p;
	struct rec_ring_map r = { .channel = p->channel, .generation = (uint32_t)cx->seq,
				  .in_pages = p->downstream,
				  .out_pages = g->pages - p->downstream };
	uint64_t pfns[LIMIT_RING_PAGES];
	size_t len = sm_blob_read(cx, g->pfns, 0, pfns, sizeof(pfns));

	g->channel = cx->from.index;
	g->channel_generation = cx->from.generation;
	sm_effect(cx, EFFECT_RING_MAP, &r, pfns, len);
}

static void refuse_use(struct sm_cx *cx)
{
	const struct rec_gpadl_use *p = cx->p;
	struct rec_relid r = { .relid = p->channel };

	sm_post(cx, cx->from, channel_EV_REFUSED, &r, NULL, 0);
}

static void end_use(struct sm_cx *cx)
{
	struct gpadl *g = cx->self;

	g->channel = 0;
	g->channel_generation = 0;
}

/* ---- the end ---------------------------------------------------------- */

static void forget(struct sm_cx *cx)
{
	sm_retire(cx);
}

static bool is_of_relid(const struct sm_cx *cx)
{
	return ((const struct gpadl *)cx->self)->relid ==
	       ((const struct rec_relid *)cx->p)->relid;
}

static void give_back(struct sm_cx *cx)
{
	send_torndown(cx);
	sm_retire(cx);
}

/* Torn down before it was complete: both questions of the guest are answered. */
static void abandon(struct sm_cx *cx)
{
	send_created(cx, VMBUS_FAILED);
	give_back(cx);
}

static void detach(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_DETACHED, NULL, NULL, 0);
	sm_retire(cx);
}

static void note_teardown(struct sm_cx *cx)
{
	((struct gpadl *)cx->self)->torn_down = true;
}

static void note_leave(struct sm_cx *cx)
{
	((struct gpadl *)cx->self)->disconnecting = true;
}

static void finish(struct sm_cx *cx)
{
	const struct gpadl *g = cx->self;

	if (g->torn_down && !g->disconnecting)
		send_torndown(cx);
	if (g->disconnecting)
		sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_DETACHED, NULL, NULL, 0);
	sm_retire(cx);
}

#define SM_DEF "statemachines/gpadl.def"
#define SM_PREFIX gpadl
#define SM_KIND KIND_gpadl
#define SM_CAPACITY CAPACITY_gpadl
#define SM_KEY key
#define SM_DOC "A list of guest pages given to the bus for the rings of a channel (protocol B.8)."
#include "engine/sm_define.h"
