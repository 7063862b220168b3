/* One VMBus channel: opening, packets in both directions, closing, revoking.
 *
 * Invariants: `inflight` counts packets handed to the device that nobody has
 * ended; rings stay mapped and the GPADL stays lent while it is not 0. The
 * guest-to-server cursor moves only over a packet that was parsed; the other
 * only over one that was sent. Free room is computed from the read index that
 * was logged last, so it is never more than there really is. A ring that is
 * not what the protocol says ends in a rescind, never in a stop of ours. */
#include "statemachines/channel.h"

#include "statemachines/device.h"
#include "statemachines/effects.h"
#include "statemachines/gpadl.h"
#include "statemachines/machines.h"
#include "statemachines/ring_packet.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"

#include <string.h>

static const uint64_t revoked_key = (uint64_t)1 << 32;

static bool holds_closed(const void *self)
{
	const struct channel *c = self;

	return c->inflight == 0 && c->gpadl_generation == 0;
}

static bool holds_identity(const void *self)
{
	const struct channel *c = self;

	return c->key == c->relid && c->relid != 0 && holds_closed(c);
}

static bool holds_gpadl(const void *self)
{
	const struct channel *c = self;

	return c->gpadl_generation != 0 && c->inflight == 0;
}

static bool holds_rings(const void *self)
{
	const struct channel *c = self;

	return c->gpadl_generation != 0 && c->in_size > 0 && c->out_read < c->out_size;
}

static bool holds_inflight(const void *self)
{
	const struct channel *c = self;

	return c->inflight > 0 && c->gpadl_generation != 0;
}

/* ---- messages to the guest, the device, the bus ----------------------- */

static void send_message(struct sm_cx *cx, const uint8_t *m, size_t len)
{
	struct rec_message r = { .vp = ((const struct channel *)cx->self)->message_vp,
				 .sint = VMBUS_SINT };

	sm_effect(cx, EFFECT_MESSAGE, &r, m, len);
}

static void send_open_result(struct sm_cx *cx, uint32_t open_id, uint32_t status)
{
	const struct channel *c = cx->self;
	uint8_t m[VMBUS_MAX];

	send_message(cx, m, vmbus_put_words(m, VMBUS_OPEN_RESULT, c->relid, open_id, status));
}

static void send_modify_result(struct sm_cx *cx, uint32_t status)
{
	const struct channel *c = cx->self;
	uint8_t m[VMBUS_MAX];

	if (c->version >= VMBUS_V5_3)
		send_message(cx, m,
			     vmbus_put_words(m, VMBUS_MODIFY_RESULT, c->relid, status, 0));
}

static struct sm_ref device(const struct channel *c)
{
	return (struct sm_ref){ c->device_kind, c->device_index, c->device_generation };
}

static void tell_device(struct sm_cx *cx, uint16_t event)
{
	const struct channel *c = cx->self;
	struct rec_channel_open r = { .channel = c->relid, .subchannel = c->subchannel };

	sm_post(cx, device(c), event, &r, NULL, 0);
}

static void tell_detached(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_DETACHED, NULL, NULL, 0);
}

static void tell_added(struct sm_cx *cx)
{
	struct rec_relid r = { .relid = ((const struct channel *)cx->self)->relid };

	sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_ADDED, &r, NULL, 0);
}

enum { REVOKE_OFFER_AGAIN = 1, REVOKE_FOR_GOOD = 2 }; /* value of REVOKE */

/* Not to be offered again: a sub-channel, or one whose device is no more. */
static bool passes_away(const struct sm_cx *cx)
{
	const struct channel *c = cx->self;

	return c->subchannel != 0 || c->leaves;
}

static bool is_for_good(const struct sm_cx *cx)
{
	return passes_away(cx) || ((const struct rec_relid *)cx->p)->value == REVOKE_FOR_GOOD;
}

static bool is_idle(const struct sm_cx *cx)
{
	return ((const struct channel *)cx->self)->inflight == 0;
}

static bool is_idle_sub(const struct sm_cx *cx)
{
	return is_idle(cx) && passes_away(cx);
}

/* ---- identity and offer ----------------------------------------------- */

static void learn(struct sm_cx *cx)
{
	const struct rec_offer *p = cx->p;
	struct channel *c = cx->self;

	c->relid = cx->ref.index;
	c->key = c->relid;
	memcpy(c->type, p->type, sizeof(c->type));
	memcpy(c->instance, p->instance, sizeof(c->instance));
	c->subchannel = p->subchannel;
	c->flags = p->flags;
	c->pipe_mode = p->pipe_mode;
	c->device_kind = p->device_kind;
	c->device_index = p->device_index;
	c->device_generation = p->device_generation;
	tell_added(cx);
}

static void offer(struct sm_cx *cx)
{
	const struct rec_connected *p = cx->p;
	struct channel *c = cx->self;
	struct vmbus_offer o = { .type = c->type, .instance = c->instance, .relid = c->relid,
				 .pipe_mode = c->pipe_mode, .flags = c->flags,
				 .subchannel = c->subchannel };
	uint8_t m[VMBUS_MAX];

	c->version = p->version;
	c->message_vp = p->message_vp;
	send_message(cx, m, vmbus_put_offer(m, &o));
}

static void vanish(struct sm_cx *cx)
{
	tell_device(cx, DEVICE_GONE);
	sm_retire(cx);
}

/* The guest of this connection is no more. */
static void detach(struct sm_cx *cx)
{
	struct channel *c = cx->self;

	c->version = c->message_vp = 0;
	c->disconnecting = c->released = c->offer_again = false;
	c->fault = 0;
	tell_detached(cx);
}

static void detach_retire(struct sm_cx *cx)
{
	tell_detached(cx);
	vanish(cx);
}

static void detach_return(struct sm_cx *cx)
{
	struct channel *c = cx->self;

	c->key = c->relid;
	detach(cx);
}

/* ---- open ------------------------------------------------------------- */

static void refuse_open(struct sm_cx *cx)
{
	send_open_result(cx, ((const struct rec_open *)cx->p)->open_id, VMBUS_FAILED);
}

static bool gpadl_exists(const struct sm_cx *cx)
{
	return sm_find(cx, KIND_gpadl, ((const struct rec_open *)cx->p)->gpadl).generation != 0;
}

static void ask_gpadl(struct sm_cx *cx)
{
	const struct rec_open *p = cx->p;
	struct sm_ref gpadl = sm_find(cx, KIND_gpadl, p->gpadl);
	struct channel *c = cx->self;
	struct rec_gpadl_use use = { .channel = c->relid, .downstream = p->downstream };

	c->open_id = p->open_id;
	c->target_vp = p->target_vp;
	c->map_generation = (uint32_t)cx->seq;
	c->gpadl_index = gpadl.index;
	c->gpadl_generation = gpadl.generation;
	sm_post(cx, gpadl, gpadl_EV_USE, &use, NULL, 0);
}

static void forget_rings(struct channel *c)
{
	c->gpadl_index = 0;
	c->gpadl_generation = 0;
	c->in_size = c->out_size = c->out_read = 0;
	c->in_position = c->out_position = 0;
	c->map_generation = c->open_id = c->target_vp = 0;
	c->door_seq = 0;
	c->polling = false;
	c->sender_kind = 0;
	c->device_waits = false;
}

static void fail_open(struct sm_cx *cx)
{
	struct channel *c = cx->self;

	send_open_result(cx, c->open_id, VMBUS_FAILED);
	forget_rings(c);
}

static void declare_door(struct sm_cx *cx, uint32_t connection_id)
{
	struct rec_declare_door d = { .channel = ((const struct channel *)cx->self)->relid,
				      .connection_id = connection_id };

	sm_effect(cx, EFFECT_DECLARE_DOOR, &d, NULL, 0);
}

/* Gives the rings back: hands, doorbell, GPADL. */
static void release_rings(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	struct rec_channel_ref r = { .channel = c->relid };
	struct sm_ref gpadl = { KIND_gpadl, c->gpadl_index, c->gpadl_generation };

	sm_effect(cx, EFFECT_RING_UNMAP, &r, NULL, 0);
	if (c->door_seq)
		declare_door(cx, 0);
	sm_post(cx, gpadl, gpadl_EV_UNUSE, NULL, NULL, 0);
	forget_rings(c);
}

static bool is_old_map(const struct sm_cx *cx)
{
	return ((const struct rec_ring_mapped *)cx->p)->generation !=
	       ((const struct channel *)cx->self)->map_generation;
}

static bool index_sound(uint32_t index, uint32_t size)
{
	return index < size && index % 8 == 0;
}

static bool rings_sound(const struct sm_cx *cx)
{
	const struct rec_ring_mapped *p = cx->p;

	return p->status == 0 && p->in_size % 8 == 0 && p->out_size % 8 == 0 &&
	       index_sound(p->in_read, p->in_size) && index_sound(p->out_write, p->out_size) &&
	       index_sound(p->out_read, p->out_size);
}

static void arm(struct sm_cx *cx)
{
	const struct rec_ring_mapped *p = cx->p;
	struct channel *c = cx->self;

	c->in_size = p->in_size;
	c->out_size = p->out_size;
	c->in_position = p->in_read;
	c->out_position = p->out_write;
	c->out_read = p->out_read;
	c->door_seq = cx->seq;
	declare_door(cx, VMBUS_DOOR_BASE | c->relid);
}

static void fail_map(struct sm_cx *cx)
{
	send_open_result(cx, ((const struct channel *)cx->self)->open_id, VMBUS_FAILED);
	release_rings(cx);
}

static bool door_in_force(const struct sm_cx *cx)
{
	return ((const struct rec_in_force *)cx->p)->generation >=
	       ((const struct channel *)cx->self)->door_seq;
}

static void confirm_open(struct sm_cx *cx)
{
	send_open_result(cx, ((const struct channel *)cx->self)->open_id, 0);
	tell_device(cx, DEVICE_OPENED);
}

static void unmap(struct sm_cx *cx)
{
	release_rings(cx);
}

static void unmap_detach(struct sm_cx *cx)
{
	release_rings(cx);
	detach(cx);
}

static void unmap_retire(struct sm_cx *cx)
{
	release_rings(cx);
	detach_retire(cx);
}

/* ---- guest to server -------------------------------------------------- */

static bool is_not_next(const struct sm_cx *cx)
{
	return ((const struct rec_packet *)cx->p)->position !=
	       ((const struct channel *)cx->self)->in_position;
}

static void count_stale(struct sm_cx *cx)
{
	((struct channel *)cx->self)->stale++;
}

static uint32_t packet_fault(const struct sm_cx *cx, struct ring_packet *ret)
{
	const struct channel *c = cx->self;
	const struct rec_packet *p = cx->p;

	if (cx->tail_len > LIMIT_PACKET || p->next - p->position != cx->tail_len + RING_TRAILER ||
	    p->next - p->position >= c->in_size)
		return RING_FAULT_LENGTH;
	return (uint32_t)ring_packet_parse(cx->tail, cx->tail_len, ret);
}

static bool packet_sound(const struct sm_cx *cx)
{
	struct ring_packet packet;

	return packet_fault(cx, &packet) == 0;
}

static void hand_to_device(struct sm_cx *cx, const struct ring_packet *packet)
{
	struct channel *c = cx->self;
	struct rec_channel_packet r = {
		.transaction = packet->transaction, .channel = c->relid, .type = packet->type,
		.flags = packet->flags, .gpa_bytes = packet->gpa_bytes,
		.gpa_ranges = packet->gpa_ranges,
	};
	uint8_t tail[LIMIT_PACKET];

	c->inflight++;
	if (packet->gpa_bytes)
		memcpy(tail, packet->gpas, packet->gpa_bytes);
	memcpy(tail + packet->gpa_bytes, packet->payload, packet->payload_bytes);
	sm_post(cx, device(c), DEVICE_PACKET, &r, tail,
		(size_t)packet->gpa_bytes + packet->payload_bytes);
}

/* A completion answers a packet of ours; we ask for none, so it only passes. */
static void take_packet(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	struct rec_ring_consumed r = { .channel = c->relid, .target_vp = c->target_vp };
	struct ring_packet packet;

	packet_fault(cx, &packet);
	c->in_position = ((const struct rec_packet *)cx->p)->next;
	c->packets_in++;
	r.position = c->in_position;
	sm_effect(cx, EFFECT_RING_CONSUMED, &r, NULL, 0);
	if (packet.type != RING_COMPLETION)
		hand_to_device(cx, &packet);
}

static void end_request(struct sm_cx *cx)
{
	struct channel *c = cx->self;

	if (c->inflight)
		c->inflight--;
}

/* ---- server to guest -------------------------------------------------- */

static uint32_t used(const struct channel *c, uint32_t read)
{
	uint32_t write = (uint32_t)(c->out_position % c->out_size);

	return write >= read ? write - read : c->out_size - (read - write);
}

static uint32_t room_for(const struct sm_cx *cx)
{
	return (uint32_t)ring_packet_bytes(cx->tail_len) + RING_TRAILER;
}

/* The ring is never filled completely: full would look empty. */
static bool has_room(const struct sm_cx *cx)
{
	const struct channel *c = cx->self;

	return cx->tail_len <= LIMIT_PACKET - RING_DESCRIPTOR - RING_TRAILER &&
	       c->out_size - used(c, c->out_read) > room_for(cx);
}

/* A device that sends itself has other events of these numbers. */
static uint16_t answer_to(const struct channel *c, uint16_t sender_kind, uint16_t answer)
{
	return sender_kind == c->device_kind ? (uint16_t)(answer + DEVICE_SENT - SENDER_SENT)
					     : answer;
}

_Static_assert((int)DEVICE_BLOCKED - DEVICE_SENT == (int)SENDER_BLOCKED - SENDER_SENT &&
	       (int)DEVICE_RETRY - DEVICE_SENT == (int)SENDER_RETRY - SENDER_SENT,
	       "answers in the same order");

static void answer_sent(struct sm_cx *cx)
{
	sm_post(cx, cx->from, answer_to(cx->self, cx->from.kind, SENDER_SENT), NULL, NULL, 0);
}

static void send(struct sm_cx *cx)
{
	const struct rec_channel_send *p = cx->p;
	struct channel *c = cx->self;
	struct rec_ring_send r = { .position = c->out_position, .channel = c->relid,
				   .target_vp = c->target_vp };
	uint8_t packet[LIMIT_PACKET];
	size_t len = ring_packet_put(packet, p->type, p->flags, p->transaction, cx->tail,
				     cx->tail_len);

	sm_effect(cx, EFFECT_RING_SEND, &r, packet, len);
	c->out_position += len + RING_TRAILER;
	c->packets_out++;
	if (p->ends_request)
		end_request(cx);
	answer_sent(cx);
}

static void block(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	struct rec_channel_ref r = { .channel = c->relid, .value = room_for(cx) };

	if (cx->from.kind == c->device_kind)
		c->device_waits = true;
	else
		c->sender_kind = cx->from.kind;
	sm_post(cx, cx->from, answer_to(c, cx->from.kind, SENDER_BLOCKED), NULL, NULL, 0);
	if (!c->polling)
		sm_effect(cx, EFFECT_RING_POLL, &r, NULL, 0);
	c->polling = true;
}

static void wake_senders(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	struct rec_relid r = { .relid = c->relid };
	uint16_t kind = c->sender_kind;
	bool device_waits = c->device_waits;

	c->sender_kind = 0;
	c->device_waits = false;
	if (kind)
		sm_post_all(cx, kind, SENDER_RETRY, &r, NULL, 0);
	if (device_waits)
		sm_post(cx, device(c), DEVICE_RETRY, &r, NULL, 0);
}

/* A read index moves only over what was sent. */
static bool space_sound(const struct sm_cx *cx)
{
	const struct channel *c = cx->self;
	uint32_t read = ((const struct rec_ring_space *)cx->p)->read_index;

	return index_sound(read, c->out_size) && used(c, read) <= used(c, c->out_read);
}

static void take_space(struct sm_cx *cx)
{
	struct channel *c = cx->self;

	c->out_read = ((const struct rec_ring_space *)cx->p)->read_index;
	c->polling = false;
	wake_senders(cx);
}

/* A packet for a guest that closed the channel is dropped. */
static void drop_send(struct sm_cx *cx)
{
	if (((const struct rec_channel_send *)cx->p)->ends_request)
		end_request(cx);
	answer_sent(cx);
}

/* ---- interrupt target ------------------------------------------------- */

static void refuse_modify(struct sm_cx *cx)
{
	send_modify_result(cx, VMBUS_FAILED);
}

static void retarget(struct sm_cx *cx)
{
	((struct channel *)cx->self)->target_vp = ((const struct rec_modify *)cx->p)->target_vp;
	send_modify_result(cx, 0);
}

/* A bit set for the old processor may be overlooked: set it for the new one. */
static void retarget_signal(struct sm_cx *cx)
{
	const struct channel *c = cx->self;
	struct rec_signal s = { .channel = c->relid };

	retarget(cx);
	s.target_vp = c->target_vp;
	sm_effect(cx, EFFECT_SIGNAL, &s, NULL, 0);
}

/* ---- close ------------------------------------------------------------ */

/* No more packets; senders that wait for room may drop theirs. */
static void begin_close(struct sm_cx *cx)
{
	tell_device(cx, DEVICE_CLOSED);
	wake_senders(cx);
}

static void close_now(struct sm_cx *cx)
{
	begin_close(cx);
	release_rings(cx);
}

static void close_detach(struct sm_cx *cx)
{
	close_now(cx);
	detach(cx);
}

static void close_retire(struct sm_cx *cx)
{
	close_now(cx);
	detach_retire(cx);
}

static void note_leave(struct sm_cx *cx)
{
	((struct channel *)cx->self)->disconnecting = true;
}

static void begin_leave(struct sm_cx *cx)
{
	note_leave(cx);
	begin_close(cx);
}

static bool leaves_more(const struct sm_cx *cx)
{
	const struct channel *c = cx->self;
	const struct rec_channel_send *p = cx->p;

	return c->inflight > 1 || (cx->event->code == channel_EV_SEND && !p->ends_request);
}

static bool leaving(const struct sm_cx *cx)
{
	return ((const struct channel *)cx->self)->disconnecting;
}

static bool leaving_sub(const struct sm_cx *cx)
{
	return leaving(cx) && passes_away(cx);
}

static void end_last(struct sm_cx *cx)
{
	end_request(cx);
	release_rings(cx);
}

static void end_last_detach(struct sm_cx *cx)
{
	end_last(cx);
	detach(cx);
}

static void end_last_retire(struct sm_cx *cx)
{
	const struct channel *c = cx->self;
	bool told = c->disconnecting;

	end_last(cx);
	if (told)
		tell_detached(cx);
	vanish(cx);
}

static void drop_last(struct sm_cx *cx)
{
	answer_sent(cx);
	end_last(cx);
}

static void drop_last_detach(struct sm_cx *cx)
{
	answer_sent(cx);
	end_last_detach(cx);
}

static void drop_last_retire(struct sm_cx *cx)
{
	answer_sent(cx);
	end_last_retire(cx);
}

/* ---- revoke ----------------------------------------------------------- */

static void note_revoke(struct sm_cx *cx)
{
	uint32_t value = ((const struct rec_relid *)cx->p)->value;
	struct channel *c = cx->self;

	c->offer_again = value == REVOKE_OFFER_AGAIN;
	c->leaves = value == REVOKE_FOR_GOOD;
}

/* It was taken back already, for another reason. */
static void note_device_gone(struct sm_cx *cx)
{
	if (((const struct rec_relid *)cx->p)->value == REVOKE_FOR_GOOD)
		note_revoke(cx);
}

static void rescind(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	uint8_t m[VMBUS_MAX];

	if (cx->event->code == channel_EV_REVOKE)
		note_revoke(cx);
	c->key = c->relid | revoked_key;
	send_message(cx, m, vmbus_put_word(m, VMBUS_RESCIND, c->relid));
}

static void rescind_quarantine(struct sm_cx *cx)
{
	rescind(cx);
	((struct channel *)cx->self)->offer_again = true;
}

static void revoke_closed(struct sm_cx *cx)
{
	rescind(cx);
}

static void quarantine_closed(struct sm_cx *cx)
{
	rescind_quarantine(cx);
}

static void unmap_revoke(struct sm_cx *cx)
{
	release_rings(cx);
	rescind(cx);
}

static void unmap_quarantine(struct sm_cx *cx)
{
	release_rings(cx);
	rescind_quarantine(cx);
}

static void begin_revoke(struct sm_cx *cx)
{
	begin_close(cx);
	rescind(cx);
}

static void revoke_now(struct sm_cx *cx)
{
	close_now(cx);
	rescind(cx);
}

static void begin_quarantine(struct sm_cx *cx)
{
	begin_close(cx);
	rescind_quarantine(cx);
}

static void quarantine_now(struct sm_cx *cx)
{
	close_now(cx);
	rescind_quarantine(cx);
}

/* What the guest did to its rings; the channel is not offered again. */
static void note_fault(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	struct ring_packet packet;

	if (cx->event->code == channel_EV_PACKET)
		c->fault = packet_fault(cx, &packet);
	else if (cx->event->code == channel_EV_RING_BAD)
		c->fault = ((const struct rec_ring_bad *)cx->p)->reason;
	else
		c->fault = RING_FAULT_READ_INDEX;
}

static void begin_fault(struct sm_cx *cx)
{
	note_fault(cx);
	begin_revoke(cx);
}

static void fault_now(struct sm_cx *cx)
{
	note_fault(cx);
	revoke_now(cx);
}

static bool over(const struct sm_cx *cx)
{
	const struct channel *c = cx->self;

	return c->disconnecting || c->released;
}

static bool over_sub(const struct sm_cx *cx)
{
	return over(cx) && passes_away(cx);
}

static void note_released(struct sm_cx *cx)
{
	((struct channel *)cx->self)->released = true;
}

/* The guest has let go of the relid, and of the GPADLs it gave for it. */
static void release_gpadls(struct sm_cx *cx)
{
	struct rec_relid r = { .relid = ((const struct channel *)cx->self)->relid };

	sm_post_all(cx, KIND_gpadl, gpadl_EV_RELEASED, &r, NULL, 0);
}

static void release_retire(struct sm_cx *cx)
{
	release_gpadls(cx);
	vanish(cx);
}

static void release_return(struct sm_cx *cx)
{
	struct channel *c = cx->self;
	bool again = c->offer_again;

	release_gpadls(cx);
	c->key = c->relid;
	c->released = c->offer_again = false;
	if (again)
		tell_added(cx);
}

static void end_last_return(struct sm_cx *cx)
{
	const struct channel *c = cx->self;

	end_last(cx);
	if (c->disconnecting)
		detach_return(cx);
	else
		release_return(cx);
}

static void drop_last_return(struct sm_cx *cx)
{
	answer_sent(cx);
	end_last_return(cx);
}

#define SM_DEF "statemachines/channel.def"
#define SM_PREFIX channel
#define SM_KIND KIND_channel
#define SM_CAPACITY CAPACITY_channel
#define SM_KEY key
#define SM_QUARANTINE channel_EV_QUARANTINE
#define SM_DOC \
	"A VMBus channel: its rings, its requests in flight, its end (protocol B.9 to B.11)."
#include "engine/sm_define.h"
