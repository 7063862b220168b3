/* The connection. Messages of the guest are parsed and routed; what no machine
 * can take is answered here, because a guest thread waits without timeout for
 * OPENCHANNEL_RESULT, GPADL_CREATED, GPADL_TORNDOWN and MODIFYCHANNEL_RESPONSE.
 *
 * Invariant of DISCONNECTING: `waiting` counts exactly the channels and GPADLs
 * that were told DISCONNECT and have not answered DETACHED. Each answers once;
 * channel 0 always answers, so that there is always somebody to wait for. */
#include "statemachines/vmbus.h"

#include "statemachines/channel.h"
#include "statemachines/effects.h"
#include "statemachines/gpadl.h"
#include "statemachines/machines.h"
#include "statemachines/storvsp.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vtl.h"

static const uint64_t revoked_key = (uint64_t)1 << 32;

static bool holds_no_version(const void *self)
{
	const struct vmbus *b = self;

	return b->version == 0 && b->waiting == 0;
}

static bool holds_version(const void *self)
{
	const struct vmbus *b = self;

	return vmbus_version_known(b->version) && b->waiting == 0;
}

static bool holds_waiting(const void *self)
{
	const struct vmbus *b = self;

	return b->waiting > 0 && (b->reset_asked || b->contact_asked || b->unload_asked);
}

static void configure(struct sm_cx *cx)
{
	((struct vmbus *)cx->self)->vps = ((const struct rec_config *)cx->p)->vps;
}

/* One that was made after the configuration. */
static void tell_vps(struct sm_cx *cx)
{
	struct rec_config c = { .vps = ((const struct vmbus *)cx->self)->vps };
	uint32_t n = ((const struct rec_relid *)cx->p)->relid;

	sm_post(cx, ref_of(KIND_storvsp, (uint16_t)n), storvsp_EV_CONFIG, &c, NULL, 0);
}

/* ---- messages --------------------------------------------------------- */

/* False: malformed, or not for the bus. */
static bool parse(const struct sm_cx *cx, struct vmbus_msg *ret)
{
	const struct rec_posted *p = cx->p;

	if (p->message_type != VMBUS_MESSAGE_TYPE ||
	    (p->connection_id != VMBUS_CONNECTION_OLD && p->connection_id != VMBUS_CONNECTION_NEW))
		return false;
	return vmbus_msg_parse(cx->tail, cx->tail_len, LIMIT_GPADL_PAGES, ret) == 0;
}

static void send(struct sm_cx *cx, uint32_t vp, const uint8_t *m, size_t len)
{
	struct rec_message r = { .vp = vp, .sint = VMBUS_SINT };

	sm_effect(cx, EFFECT_MESSAGE, &r, m, len);
}

static void send_to_guest(struct sm_cx *cx, const uint8_t *m, size_t len)
{
	send(cx, ((const struct vmbus *)cx->self)->message_vp, m, len);
}

static bool is(const struct sm_cx *cx, enum vmbus_type type)
{
	struct vmbus_msg m;

	return parse(cx, &m) && m.type == type;
}

static bool asks_contact(const struct sm_cx *cx)
{
	return is(cx, VMBUS_CONTACT);
}

static bool asks_unload(const struct sm_cx *cx)
{
	return is(cx, VMBUS_UNLOAD);
}

static bool asks_offers(const struct sm_cx *cx)
{
	return is(cx, VMBUS_REQUEST_OFFERS);
}

static void drop(struct sm_cx *cx)
{
	((struct vmbus *)cx->self)->dropped++;
}

/* ---- contact ---------------------------------------------------------- */

static bool acceptable(const struct vmbus *b, uint32_t version, uint32_t vp)
{
	return vmbus_version_known(version) && vp < b->vps;
}

static bool contact_known(const struct sm_cx *cx)
{
	struct vmbus_msg m;

	return parse(cx, &m) && m.type == VMBUS_CONTACT &&
	       acceptable(cx->self, m.version, m.target_vp);
}

static void accept(struct sm_cx *cx, uint32_t version, uint32_t vp)
{
	struct vmbus *b = cx->self;
	uint8_t m[VMBUS_MAX];

	b->version = version;
	b->message_vp = vp;
	send_to_guest(cx, m, vmbus_put_version(m, true));
}

static void accept_contact(struct sm_cx *cx)
{
	struct vmbus_msg m;

	parse(cx, &m);
	accept(cx, m.version, m.target_vp);
}

/* A processor that does not exist cannot be answered on: the first one is. */
static void refuse(struct sm_cx *cx, uint32_t vp)
{
	uint8_t m[VMBUS_MAX];

	send(cx, vp < ((const struct vmbus *)cx->self)->vps ? vp : 0, m,
	     vmbus_put_version(m, false));
}

static void refuse_contact(struct sm_cx *cx)
{
	struct vmbus_msg m;

	parse(cx, &m);
	refuse(cx, m.target_vp);
}

static void answer_unload(struct sm_cx *cx)
{
	const struct rec_posted *p = cx->p;
	uint8_t m[VMBUS_MAX];

	send(cx, p->vp, m, vmbus_put_bare(m, VMBUS_UNLOADED));
}

/* ---- offers ----------------------------------------------------------- */

static struct rec_connected connection(const struct vmbus *b)
{
	return (struct rec_connected){ .version = b->version, .message_vp = b->message_vp };
}

static void offer_all(struct sm_cx *cx)
{
	struct rec_connected c = connection(cx->self);

	sm_post_all(cx, KIND_channel, channel_EV_OFFER, &c, NULL, 0);
	sm_post(cx, cx->ref, vmbus_EV_ALL_OFFERED, NULL, NULL, 0);
}

static void offer_one(struct sm_cx *cx)
{
	struct rec_connected c = connection(cx->self);

	sm_post(cx, cx->from, channel_EV_OFFER, &c, NULL, 0);
}

static void end_offers(struct sm_cx *cx)
{
	uint8_t m[VMBUS_MAX];

	send_to_guest(cx, m, vmbus_put_bare(m, VMBUS_ALL_OFFERS));
}

/* ---- routing ---------------------------------------------------------- */

static struct sm_ref channel_of(const struct sm_cx *cx, uint32_t relid)
{
	return relid ? sm_find(cx, KIND_channel, relid) : (struct sm_ref){ 0 };
}

static struct sm_ref revoked_of(const struct sm_cx *cx, uint32_t relid)
{
	return sm_find(cx, KIND_channel, relid | revoked_key);
}

/* A legal GPADL for a channel that is offered, with a handle not in use. */
static bool starts_gpadl(const struct sm_cx *cx)
{
	struct vmbus_msg m;

	return parse(cx, &m) && m.type == VMBUS_GPADL_HEADER && m.pages &&
	       channel_of(cx, m.relid).generation &&
	       !sm_find(cx, KIND_gpadl, m.gpadl).generation && sm_room(cx, KIND_gpadl);
}

static void make_gpadl(struct sm_cx *cx)
{
	const struct vmbus *b = cx->self;
	struct rec_gpadl_header h;
	struct vmbus_msg m;

	parse(cx, &m);
	h = (struct rec_gpadl_header){ .relid = m.relid, .gpadl = m.gpadl,
				       .byte_count = m.byte_count, .byte_offset = m.byte_offset,
				       .pages = m.pages, .message_vp = b->message_vp };
	sm_post(cx, sm_spawn(cx, KIND_gpadl), gpadl_EV_HEADER, &h, m.pfns, (size_t)m.n_pfns * 8);
}

static bool reaches_gpadl(const struct sm_cx *cx)
{
	struct vmbus_msg m;

	return parse(cx, &m) &&
	       (m.type == VMBUS_GPADL_BODY || m.type == VMBUS_GPADL_TEARDOWN) &&
	       sm_find(cx, KIND_gpadl, m.gpadl).generation;
}

static void pass_to_gpadl(struct sm_cx *cx)
{
	struct rec_gpadl_body body;
	struct rec_relid teardown;
	struct vmbus_msg m;
	struct sm_ref to;

	parse(cx, &m);
	to = sm_find(cx, KIND_gpadl, m.gpadl);
	body = (struct rec_gpadl_body){ .gpadl = m.gpadl, .number = m.number };
	teardown = (struct rec_relid){ .relid = m.relid };
	if (m.type == VMBUS_GPADL_BODY)
		sm_post(cx, to, gpadl_EV_BODY, &body, m.pfns, (size_t)m.n_pfns * 8);
	else
		sm_post(cx, to, gpadl_EV_TEARDOWN, &teardown, NULL, 0);
}

static bool names_vp(const struct vmbus *b, const struct vmbus_msg *m)
{
	return (m->type != VMBUS_OPEN && m->type != VMBUS_MODIFY) || m->target_vp < b->vps;
}

static bool reaches_channel(const struct sm_cx *cx)
{
	struct vmbus_msg m;

	return parse(cx, &m) &&
	       (m.type == VMBUS_OPEN || m.type == VMBUS_CLOSE || m.type == VMBUS_MODIFY) &&
	       names_vp(cx->self, &m) && channel_of(cx, m.relid).generation;
}

static void pass_to_channel(struct sm_cx *cx)
{
	struct vmbus_msg m;
	struct sm_ref to;
	struct rec_open open;
	struct rec_modify modify;
	struct rec_relid relid;

	parse(cx, &m);
	to = channel_of(cx, m.relid);
	open = (struct rec_open){ .relid = m.relid, .open_id = m.open_id, .gpadl = m.gpadl,
				  .target_vp = m.target_vp, .downstream = m.downstream };
	modify = (struct rec_modify){ .relid = m.relid, .target_vp = m.target_vp };
	relid = (struct rec_relid){ .relid = m.relid };
	if (m.type == VMBUS_OPEN)
		sm_post(cx, to, channel_EV_OPEN, &open, NULL, 0);
	else if (m.type == VMBUS_MODIFY)
		sm_post(cx, to, channel_EV_MODIFY, &modify, NULL, 0);
	else
		sm_post(cx, to, channel_EV_CLOSE, &relid, NULL, 0);
}

/* The guest is woken by the rescind: an OPEN or CLOSE then needs no answer. */
static bool reaches_revoked(const struct sm_cx *cx)
{
	struct vmbus_msg m;

	return parse(cx, &m) &&
	       (m.type == VMBUS_OPEN || m.type == VMBUS_CLOSE || m.type == VMBUS_RELID_RELEASED) &&
	       revoked_of(cx, m.relid).generation;
}

static void pass_to_revoked(struct sm_cx *cx)
{
	struct rec_relid relid;
	struct vmbus_msg m;

	parse(cx, &m);
	relid = (struct rec_relid){ .relid = m.relid };
	if (m.type == VMBUS_RELID_RELEASED)
		sm_post(cx, revoked_of(cx, m.relid), channel_EV_RELEASED, &relid, NULL, 0);
}

/* What nobody can take, and yet is waited for. */
static void answer_unknown(struct sm_cx *cx)
{
	const struct vmbus *b = cx->self;
	struct vmbus_msg msg;
	uint8_t m[VMBUS_MAX];

	drop(cx);
	if (!parse(cx, &msg))
		return;
	if (msg.type == VMBUS_OPEN)
		send_to_guest(cx, m, vmbus_put_words(m, VMBUS_OPEN_RESULT, msg.relid, msg.open_id,
						     VMBUS_FAILED));
	else if (msg.type == VMBUS_GPADL_HEADER)
		send_to_guest(cx, m, vmbus_put_words(m, VMBUS_GPADL_CREATED, msg.relid, msg.gpadl,
						     VMBUS_FAILED));
	else if (msg.type == VMBUS_GPADL_TEARDOWN)
		send_to_guest(cx, m, vmbus_put_word(m, VMBUS_GPADL_TORNDOWN, msg.gpadl));
	else if (msg.type == VMBUS_MODIFY && b->version >= VMBUS_V5_3)
		send_to_guest(cx, m, vmbus_put_words(m, VMBUS_MODIFY_RESULT, msg.relid,
						     VMBUS_FAILED, 0));
}

/* ---- disconnecting ---------------------------------------------------- */

static void leave(struct sm_cx *cx)
{
	struct vmbus *b = cx->self;

	b->version = 0;
	b->waiting = CAPACITY_channel - sm_room(cx, KIND_channel) + CAPACITY_gpadl -
		     sm_room(cx, KIND_gpadl);
	sm_post_all(cx, KIND_channel, channel_EV_DISCONNECT, NULL, NULL, 0);
	sm_post_all(cx, KIND_gpadl, gpadl_EV_DISCONNECT, NULL, NULL, 0);
}

static void note_contact(struct sm_cx *cx)
{
	struct vmbus *b = cx->self;
	struct vmbus_msg m;

	parse(cx, &m);
	b->contact_asked = true;
	b->unload_asked = false;
	b->next_version = m.version;
	b->next_vp = m.target_vp;
}

static void note_unload(struct sm_cx *cx)
{
	struct vmbus *b = cx->self;

	b->unload_asked = true;
	b->contact_asked = false;
}

static void note_reset(struct sm_cx *cx)
{
	((struct vmbus *)cx->self)->reset_asked = true;
}

static void leave_for_next(struct sm_cx *cx)
{
	note_contact(cx);
	leave(cx);
}

static void leave_at_unload(struct sm_cx *cx)
{
	note_unload(cx);
	leave(cx);
}

static void leave_at_reset(struct sm_cx *cx)
{
	note_reset(cx);
	leave(cx);
}

static bool more_waiting(const struct sm_cx *cx)
{
	return ((const struct vmbus *)cx->self)->waiting > 1;
}

static void count_detached(struct sm_cx *cx)
{
	((struct vmbus *)cx->self)->waiting--;
}

static bool reset_waits(const struct sm_cx *cx)
{
	return ((const struct vmbus *)cx->self)->reset_asked;
}

static bool next_is_known(const struct sm_cx *cx)
{
	const struct vmbus *b = cx->self;

	return b->contact_asked && acceptable(b, b->next_version, b->next_vp);
}

static void forget_questions(struct vmbus *b)
{
	b->waiting = 0;
	b->reset_asked = b->contact_asked = b->unload_asked = false;
	b->next_version = b->next_vp = 0;
}

static void tell_idle(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_vtl, 0), vtl_EV_BUS_IDLE, NULL, NULL, 0);
}

/* The guest that asked for anything else is no more. */
static void end_at_reset(struct sm_cx *cx)
{
	forget_questions(cx->self);
	tell_idle(cx);
}

static void accept_next(struct sm_cx *cx)
{
	struct vmbus *b = cx->self;
	uint32_t version = b->next_version, vp = b->next_vp;

	forget_questions(b);
	accept(cx, version, vp);
}

/* Either UNLOAD, or a contact of a version we do not know. */
static void end_connection(struct sm_cx *cx)
{
	struct vmbus *b = cx->self;
	uint8_t m[VMBUS_MAX];

	if (b->unload_asked)
		send_to_guest(cx, m, vmbus_put_bare(m, VMBUS_UNLOADED));
	else
		refuse(cx, b->next_vp);
	forget_questions(b);
}

#define SM_DEF "statemachines/vmbus.def"
#define SM_PREFIX vmbus
#define SM_KIND KIND_vmbus
#define SM_CAPACITY CAPACITY_vmbus
#define SM_DOC \
	"The connection of guest and VMBus: contact, offers, routing, unload " \
	"(protocol B.7; include/linux/hyperv.h)."
#include "engine/sm_define.h"
