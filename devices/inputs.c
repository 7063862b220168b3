/* Inputs: from custody, completion queue and rings to events.
 *
 * The position up to which each source was taken is lane state (source_pos) or
 * a field of the channel's machine; nothing is decided by what the hands
 * remember. An event is copied out of its source before it is believed; the
 * source's head is published only when the append is committed. */
#include "devices/hands_state.h"

#include "devices/console.h"
#include "engine/fact.h"
#include "statemachines/bytes.h"
#include "statemachines/channel.h"
#include "statemachines/disk.h"
#include "statemachines/scsi.h"
#include "statemachines/servicing.h"
#include "statemachines/storvsp.h"
#include "statemachines/uart.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vp.h"
#include "statemachines/vtl.h"

#include <string.h>
#include <unistd.h>

enum {
	RING_TURN = 32,          /* packets of one ring before the next has its turn */
	MESSAGE_SHARE = 4,       /* a batch is at most a part in so many of messages, while
				  * rings or completions wait */
	SPARE_REQUESTS = 8,      /* scsi instances kept for what is no packet's */
	PACKET_CHUNKS = 36,      /* blob chunks a packet may need: GPA list, extents, deferred */
};

/* One collect: where events go, and how many more may. */
struct collector {
	struct hands *h;
	const struct world *w;
	const struct lane_state *state;
	struct lane *lane;
	unsigned left;
	unsigned packets;        /* taken by this collect */
};

static bool offer(struct collector *c, const struct lane_event *e)
{
	if (c->left == 0 || !lane_offer(c->lane, e))
		return false;
	c->left--;
	return true;
}

/* ---- exits -------------------------------------------------------------- */

static uint32_t access_size(const struct wire_mailbox *m, uint32_t max)
{
	return m->size <= max ? m->size : max;
}

/* Fills the record of the exit; returns its event and length, 0: no such exit. */
static uint16_t exit_record(const struct wire_mailbox *m, uint32_t generation,
			    uint8_t record[64], uint32_t *ret_len)
{
	struct rec_exit_pio pio = { .generation = generation, .port = (uint16_t)m->address,
				    .size = (uint8_t)access_size(m, 4), .is_in = m->is_read != 0,
				    .value = (uint32_t)m->value };
	struct rec_exit_mmio mmio = { .gpa = m->address, .value = m->value,
				      .generation = generation,
				      .size = (uint8_t)access_size(m, 8),
				      .is_read = m->is_read != 0 };
	struct rec_exit_msr msr = { .value = m->value, .reference_time = m->value2,
				    .generation = generation, .msr = (uint32_t)m->address };
	struct rec_exit_hypercall call = { .control = m->address, .in = m->value,
					   .out = m->value2, .generation = generation };
	struct rec_exit_fatal fatal = { .generation = generation,
					.reason = (uint32_t)m->address, .detail = m->value };
	const struct {
		const void *p;
		uint32_t len;
		uint16_t code;
	} by_exit[] = {
		[EXIT_PIO] = { &pio, sizeof(pio), vp_EV_PIO },
		[EXIT_MMIO] = { &mmio, sizeof(mmio), vp_EV_MMIO },
		[EXIT_RDMSR] = { &msr, sizeof(msr), vp_EV_MSR_READ },
		[EXIT_WRMSR] = { &msr, sizeof(msr), vp_EV_MSR_WRITE },
		[EXIT_HYPERCALL] = { &call, sizeof(call), vp_EV_HYPERCALL },
		[EXIT_FATAL] = { &fatal, sizeof(fatal), vp_EV_FATAL },
	};
	uint32_t exit = m->exit;

	if (exit >= ARRAY_LEN(by_exit) || !by_exit[exit].p)
		return 0;
	*ret_len = by_exit[exit].len;
	memcpy(record, by_exit[exit].p, *ret_len);
	return by_exit[exit].code;
}

static void collect_mailboxes(struct collector *c)
{
	for (uint16_t vp = 0; vp < c->h->c->h->vps; vp++) {
		const struct wire_mailbox *m = &c->h->c->mailbox[vp];
		uint32_t word = atomic_load_explicit(&m->state, memory_order_acquire);
		struct lane_event e = { .kind = KIND_vp, .index = vp,
					.source = (uint8_t)(SOURCE_MAILBOX + vp) };
		uint8_t record[64];

		e.source_pos = word >> 2;
		if ((word & 3) != MAILBOX_POSTED ||
		    e.source_pos == c->state->source_pos[SOURCE_MAILBOX + vp])
			continue;
		e.code = exit_record(m, word >> 2, record, &e.fixed_len);
		e.fixed = record;
		if (e.code && !offer(c, &e))
			return;
	}
}

/* ---- queues of the partition -------------------------------------------- */

/* Room for answers to what the guest posts, on the processor that the bus answers
 * on; the spare places are for what is answered later. Another processor that
 * does not read its own loses some: it must not stop the connection. */
static uint64_t message_room(const struct collector *c)
{
	const struct vmbus *b = world_at(c->w, KIND_vmbus, 0);
	const struct wire_message_queue *q = &c->h->c->message[b ? b->message_vp % LIMIT_VPS : 0];
	uint64_t n = atomic_load_explicit(&q->head, memory_order_relaxed) -
		     atomic_load_explicit(&q->tail, memory_order_acquire);

	n += LIMIT_MESSAGE_SPARE;
	return n < LIMIT_MESSAGE_QUEUE ? LIMIT_MESSAGE_QUEUE - n : 0;
}

/* The most answers that a message has. Its type is read again when it is parsed,
 * from the same copy. */
static uint64_t message_cost(const struct wire_posted *m)
{
	return m->bytes >= 4 && get_le32(m->payload) == VMBUS_REQUEST_OFFERS ? LIMIT_MESSAGE_OFFERS
									     : 1;
}

/* A guest that posts without end takes only its share from its own I/O. */
static unsigned message_share(const struct collector *c)
{
	bool others = uring_has(&c->h->uring, c->state->source_pos[SOURCE_CQ]) ||
		      channels_next(&c->h->ready, 0) < LIMIT_CHANNELS;

	return others ? (c->left + MESSAGE_SHARE - 1) / MESSAGE_SHARE : c->left;
}

static void collect_posted(struct collector *c)
{
	struct hands *h = c->h;
	uint64_t head = atomic_load_explicit(&h->c->posted->head, memory_order_acquire);
	uint64_t pos = c->state->source_pos[SOURCE_POSTED], room;
	unsigned share = message_share(c);

	if (pos == head)
		return;
	room = message_room(c);
	while (pos != head && share-- > 0) {
		struct wire_posted m = h->c->posted->entry[pos % LIMIT_MESSAGE_QUEUE];
		uint64_t cost = message_cost(&m);
		struct rec_posted fixed = { .connection_id = m.connection_id,
					    .message_type = m.message_type, .vp = m.vp };
		struct lane_event e = {
			.kind = KIND_vmbus, .code = vmbus_EV_POSTED, .source = SOURCE_POSTED,
			.source_pos = pos + 1, .fixed = &fixed, .fixed_len = sizeof(fixed),
			.tail = m.payload,
			.tail_len = m.bytes < LIMIT_MESSAGE ? m.bytes : LIMIT_MESSAGE,
		};

		if (cost > room || !offer(c, &e))
			break;
		room -= cost;
		h->take_posted = ++pos;
		h->any_posted = true;
	}
	if (pos != head)
		h->held = true;
}

static void collect_replies(struct collector *c)
{
	struct hands *h = c->h;
	const struct wire_reply_queue *q = h->c->reply;
	uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);

	for (uint64_t pos = c->state->source_pos[SOURCE_REPLIES]; pos != head;) {
		struct wire_reply r = q->entry[pos % LIMIT_COMMAND_QUEUE];
		struct rec_command_done done = { .id = r.id, .op = r.op, .status = r.status,
						 .value = r.value };
		bool ours = r.op == WIRE_CMD_SPAWN || r.op == WIRE_CMD_KILL;
		struct lane_event e = {
			.kind = ours ? KIND_servicing : KIND_vtl,
			.code = ours ? (uint16_t)servicing_EV_COMMAND_DONE
				     : (uint16_t)vtl_EV_COMMAND_DONE,
			.source = SOURCE_REPLIES, .source_pos = pos + 1,
			.fixed = &done, .fixed_len = sizeof(done),
		};

		if (!offer(c, &e))
			return;
		h->take_replies = ++pos;
		h->any_replies = true;
	}
}

/* ---- inbox -------------------------------------------------------------- */

/* Whom an operator's command is for. A controller that never had a disk may not be
 * there: any other one refuses in its place. */
static void route_operator(const struct world *w, const struct wire_notice *n,
			   struct lane_event *e)
{
	static const struct {
		uint16_t kind, code;
	} route[] = {
		[OP_START] = { KIND_vtl, vtl_EV_START },
		[OP_SHUTDOWN] = { KIND_vtl, vtl_EV_SHUTDOWN },
		[OP_POWER_OFF] = { KIND_vtl, vtl_EV_POWER_OFF },
		[OP_SERVICE] = { KIND_servicing, servicing_EV_SERVICE },
		[OP_ROLLBACK] = { KIND_servicing, servicing_EV_ROLLBACK },
		[OP_COMMIT] = { KIND_servicing, servicing_EV_COMMIT },
		[OP_RESIZE] = { KIND_disk, disk_EV_RESIZE },
		[OP_DISK_REMOVE] = { KIND_disk, disk_EV_REMOVE },
		[OP_DISK_EJECT] = { KIND_disk, disk_EV_EJECT },
		[OP_CONTROLLER_REMOVE] = { KIND_storvsp, storvsp_EV_REMOVE },
	};

	if (n->op < ARRAY_LEN(route)) {
		e->kind = route[n->op].kind;
		e->code = route[n->op].code;
	}
	if (n->op == OP_CONTROLLER_REMOVE)
		e->index = (uint16_t)(n->arg % CAPACITY_storvsp);
	if (!world_at(w, e->kind, e->index))
		e->index = 0;
}

/* A notice that is a record already: its first bytes are the fixed part. */
static void raw_notice(const struct wire_notice *n, uint16_t kind, uint16_t code, uint32_t fixed,
		       struct lane_event *e)
{
	e->kind = kind;
	e->code = code;
	e->index = kind == KIND_disk && n->arg < LIMIT_DISKS ? (uint16_t)n->arg : 0;
	e->fixed = n->data;
	e->fixed_len = fixed;
	e->tail = n->data + fixed;
	e->tail_len = n->bytes > fixed ? n->bytes - fixed : 0;
}

/* What `run` cannot know is 0 in its configuration; the partition's header has
 * known it since the machine was made. */
static void complete_config(const struct wire_header *h, struct wire_notice *n)
{
	struct rec_config config;

	memcpy(&config, n->data, sizeof(config));
	if (config.low_bytes == 0)
		config.low_bytes = h->ram_low_bytes;
	if (config.wall_ns == 0)
		config.wall_ns = h->wall_ns;
	if (config.tsc_hz == 0)
		config.tsc_hz = h->tsc_hz;
	if (config.apic_hz == 0)
		config.apic_hz = h->apic_hz;
	memcpy(n->data, &config, sizeof(config));
}

/* Nor can a client know the row of its disk, and who it is to the partition. */
static void complete_disk(struct wire_notice *n)
{
	struct rec_disk_config config;

	memcpy(&config, n->data, sizeof(config));
	config.fd = (uint16_t)n->value;
	config.token = n->token;
	memcpy(n->data, &config, sizeof(config));
}

static bool offer_notice(struct collector *c, struct wire_notice *n, uint64_t pos)
{
	struct rec_operator op = { .op = n->op, .arg = n->arg, .value = n->value,
				   .token = n->token };
	struct rec_successor news = { .slot = n->arg, .status = n->op == OP_SUCCESSOR_GONE,
				      .seq = n->value };
	struct lane_event e = { .kind = KIND_servicing, .source = SOURCE_INBOX,
				.source_pos = pos, .fixed = &op, .fixed_len = sizeof(op),
				.tail = n->data, .tail_len = n->bytes };

	if (n->op == OP_CONFIG) {
		complete_config(c->h->c->h, n);
		raw_notice(n, KIND_vtl, vtl_EV_CONFIG, sizeof(struct rec_config), &e);
	} else if (n->op == OP_DISK) {
		raw_notice(n, KIND_disk, disk_EV_CONFIG, sizeof(struct rec_disk_config), &e);
	} else if (n->op == OP_DISK_ADD || n->op == OP_DISK_INSERT) {
		complete_disk(n);
		n->arg = 0;
		raw_notice(n, KIND_disk, n->op == OP_DISK_ADD ? disk_EV_ADD : disk_EV_INSERT,
			   sizeof(struct rec_disk_config), &e);
	} else if (n->op == OP_SUCCESSOR_READY || n->op == OP_SUCCESSOR_GONE) {
		e.code = n->op == OP_SUCCESSOR_READY ? servicing_EV_SUCCESSOR_READY
						     : servicing_EV_SUCCESSOR_GONE;
		e.fixed = &news;
		e.fixed_len = sizeof(news);
	} else {
		route_operator(c->w, n, &e);
	}
	return offer(c, &e);
}

static void collect_inbox(struct collector *c)
{
	struct hands *h = c->h;
	const struct wire_inbox *q = h->c->inbox;
	uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);

	for (uint64_t pos = c->state->source_pos[SOURCE_INBOX]; pos != head;) {
		struct wire_notice n = q->entry[pos % ARRAY_LEN(q->entry)];

		if (n.bytes > sizeof(n.data))
			n.bytes = sizeof(n.data);
		if (!offer_notice(c, &n, pos + 1))
			return;
		h->take_inbox = ++pos;
		h->any_inbox = true;
	}
}

/* ---- declared state, console, timers ------------------------------------ */

static void collect_in_force(struct collector *c)
{
	struct rec_in_force r = { .generation = atomic_load(&c->h->c->declared->in_force) };
	struct lane_event e = { .kind = KIND_vtl, .code = vtl_EV_IN_FORCE,
				.source = SOURCE_IN_FORCE, .source_pos = r.generation,
				.fixed = &r, .fixed_len = sizeof(r) };

	if (r.generation > c->state->source_pos[SOURCE_IN_FORCE])
		offer(c, &e);
}

/* No more keystrokes than the UART's input has room for. */
static void collect_console(struct collector *c)
{
	const struct uart *u = world_at(c->w, KIND_uart, 0);
	struct hands *h = c->h;
	uint64_t pos = c->state->source_pos[SOURCE_CONSOLE];
	uint8_t bytes[sizeof(u->rx)];
	uint32_t room = u ? (uint32_t)(sizeof(u->rx) - u->rx_count) : 0;
	struct rec_bytes fixed;
	struct lane_event e;
	uint32_t n;

	if (atomic_load_explicit(&h->c->console_in->head, memory_order_acquire) == pos)
		return;
	n = console_peek(h->c->console_in, &pos, bytes, room);
	if (n == 0)
		return;
	fixed = (struct rec_bytes){ .position = pos };
	e = (struct lane_event){ .kind = KIND_uart, .code = uart_EV_CONSOLE_IN,
				 .source = SOURCE_CONSOLE, .source_pos = pos + n,
				 .fixed = &fixed, .fixed_len = sizeof(fixed),
				 .tail = bytes, .tail_len = n };
	if (offer(c, &e)) {
		h->take_console = pos + n;
		h->any_console = true;
	}
}

static void collect_timers(struct collector *c)
{
	struct hands *h = c->h;
	uint64_t now = 0;

	for (unsigned i = 0; i < h->n_timers; i++) {
		struct timer *t = &h->timer[i];
		struct rec_deadline d = { .deadline_ns = timer_deadline(h, c->w, i) };
		struct lane_event e = { .kind = t->kind, .index = t->index, .code = t->code,
					.fixed = &d, .fixed_len = sizeof(d) };

		if (d.deadline_ns == 0)
			continue;
		now = now ? now : custody_now_ns(h->c);
		if (now >= d.deadline_ns && offer(c, &e))
			t->told = d.deadline_ns;
	}
}

/* ---- completions -------------------------------------------------------- */

#if HOLDFAST_SABOTAGE
static void flip_a_byte(const struct hands *h, const struct uring_completion *done)
{
	const struct scsi *m = world_at(h->world, KIND_scsi, (uint16_t)done->slot);
	uint8_t *first = m && m->op == DISK_READ && done->result > 0 ? request_first_byte(h, m)
								     : NULL;

	if (first && sabotage_now(SABOTAGE_FLIP))
		*first ^= 0xFF;
}
#endif

/* Rings that wait get half of what is left, so that neither starves the other. */
static void collect_completions(struct collector *c)
{
	struct hands *h = c->h;
	uint64_t pos = c->state->source_pos[SOURCE_CQ];
	bool rings = channels_next(&h->ready, 0) < LIMIT_CHANNELS;
	unsigned max = rings && c->left > 1 ? c->left / 2 : c->left;
	struct uring_completion done;

	while (uring_peek(&h->uring, pos, &done)) {
		struct rec_disk_done r = { .generation = done.generation,
					   .result = (uint32_t)done.result };
		struct lane_event e = {
			.kind = KIND_scsi, .index = (uint16_t)done.slot,
			.code = scsi_EV_DISK_DONE, .source = SOURCE_CQ, .source_pos = pos + 1,
			.fixed = &r, .fixed_len = sizeof(r),
		};

		if (max-- == 0 || !offer(c, &e))
			return;
#if HOLDFAST_SABOTAGE
		flip_a_byte(h, &done);
#endif
		h->take_cq = ++pos;
		h->any_cq = true;
	}
}

/* ---- rings -------------------------------------------------------------- */

/* @m may have one more request: while it does not take its answers, or has its
 * share of the places, it waits, and others go on. */
static bool may_ask(const struct collector *c, const struct channel *m)
{
	return !m->polling && m->inflight + c->packets < LIMIT_CHANNEL_REQUESTS;
}

static bool room_for_packet(const struct collector *c)
{
	return world_room(c->w, KIND_scsi) > c->packets + SPARE_REQUESTS &&
	       world_blob_room(c->w) > (c->packets + 1) * PACKET_CHUNKS;
}

static bool offer_channel(struct collector *c, uint32_t i, uint16_t code, const void *fixed,
			  uint32_t fixed_len, const void *tail, uint32_t tail_len)
{
	struct lane_event e = { .kind = KIND_channel, .index = (uint16_t)i, .code = code,
				.fixed = fixed, .fixed_len = fixed_len, .tail = tail,
				.tail_len = tail_len };

	return offer(c, &e);
}

static bool offer_bad(struct collector *c, uint32_t i, uint32_t reason, uint32_t value)
{
	struct rec_ring_bad bad = { .reason = reason, .value = value };

	if (!offer_channel(c, i, channel_EV_RING_BAD, &bad, sizeof(bad), NULL, 0))
		return false;
	c->h->chan[i].bad = true;
	return true;
}

/* The guest was asked to signal when it has made room. */
static void collect_space(struct collector *c, uint32_t i)
{
	struct chan *ch = &c->h->chan[i];
	struct rec_ring_space space = { 0 };
	bool fault;

	if (!chan_has_room(c->h, i, &space.read_index, &fault))
		return;
	if (fault ? offer_bad(c, i, RING_FAULT_READ_INDEX, space.read_index)
		  : offer_channel(c, i, channel_EV_SPACE, &space, sizeof(space), NULL, 0)) {
		ch->waiting = false;
		ring_want_room(&ch->out, 0);
	}
}

/* At most RING_TURN packets. True: the ring is empty and the guest signals. It
 * signals only when it finds the ring empty by the published read index, so the
 * mask is lifted only when that index has caught up, a batch later. */
static bool drain_ring(struct collector *c, uint32_t i, const struct channel *m)
{
	struct chan *ch = &c->h->chan[i];

	ring_mask(&ch->in);
	for (unsigned n = 0; n < RING_TURN; n++) {
		uint32_t len = 0, reason = 0, value = 0;
		struct rec_packet p = { .position = ch->in_next };
		enum ring_take take;

		if (c->left == 0)
			return false;
		if (!room_for_packet(c) || !may_ask(c, m)) {
			c->h->held = true;
			return false;
		}
		take = ring_take(&ch->in, ch->in_next, c->h->packet, &len, &p.next, &reason,
				 &value);
		if (take == RING_FAULT)
			return offer_bad(c, i, reason, value);
		if (take == RING_EMPTY && ch->in_next != ch->in_published)
			return false;
		if (take == RING_EMPTY && !ring_unmask(&ch->in, ch->in_next))
			return true;
		if (take == RING_EMPTY)
			continue;
		if (!offer_channel(c, i, channel_EV_PACKET, &p, sizeof(p), c->h->packet, len))
			return false;
		ch->in_next = p.next;
		c->packets++;
	}
	return false;
}

/* A ring is read only while its channel is open: what is offered earlier or
 * later would be ignored, and lost. It stays in the set until then. */
static void collect_ring(struct collector *c, uint32_t i)
{
	const struct channel *m = world_at(c->w, KIND_channel, (uint16_t)i);
	struct chan *ch = &c->h->chan[i];

	if (!m || m->sm.state != channel_OPEN) {
		c->h->held = true;
		return;
	}
	if (ch->waiting && !ch->bad)
		collect_space(c, i);
	/* Nobody but the guest can end this; it signals when it has made room. */
	if (ch->waiting && !ch->bad && m->polling)
		channels_remove(&c->h->ready, i);
	else if (ch->bad || drain_ring(c, i, m))
		channels_remove(&c->h->ready, i);
}

static void collect_rings(struct collector *c)
{
	struct hands *h = c->h;
	struct channels ready = h->ready;
	uint32_t i = h->next_channel;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (i = channels_next(&ready, i); i < LIMIT_CHANNELS;
		     i = channels_next(&ready, i + 1)) {
			if (c->left == 0) {
				h->next_channel = i;
				return;
			}
			collect_ring(c, i);
			channels_remove(&ready, i);
		}
		i = 0;
	}
}

/* ---- all ---------------------------------------------------------------- */

unsigned hands_collect(struct hands *h, const struct world *w, struct lane *l, unsigned max)
{
	struct collector c = { .h = h, .w = w, .state = world_lane_const(w), .lane = l,
			       .left = max };

	fact(h->epoch != 0);
	h->world = w;
	h->held = false;
	collect_mailboxes(&c);
	collect_posted(&c);
	collect_replies(&c);
	collect_inbox(&c);
	collect_in_force(&c);
	collect_console(&c);
	collect_timers(&c);
	collect_completions(&c);
	collect_rings(&c);
	return max - c.left;
}

void hands_taken(struct hands *h)
{
	struct custody *c = h->c;

	if (h->any_posted)
		atomic_store_explicit(&c->posted->tail, h->take_posted, memory_order_release);
	if (h->any_replies)
		atomic_store_explicit(&c->reply->tail, h->take_replies, memory_order_release);
	if (h->any_inbox)
		atomic_store_explicit(&c->inbox->tail, h->take_inbox, memory_order_release);
	if (h->any_console)
		atomic_store_explicit(&c->console_in->tail, h->take_console,
				      memory_order_release);
	if (h->any_cq)
		uring_taken(&h->uring, h->take_cq);
	h->any_posted = h->any_replies = h->any_inbox = h->any_console = h->any_cq = false;
}

/* ---- readiness ---------------------------------------------------------- */

static void clear(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return;
}

void hands_readable(struct hands *h, int fd)
{
	int row = fd - WIRE_FD_BASE;

	if (row < 0 || row >= LIMIT_FDS)
		return;
	clear(fd);
#if HOLDFAST_SABOTAGE
	if (sabotage_deaf())
		return;
#endif
	if (h->row_is_door[row] && channels_has(&h->mapped, h->row_door[row]))
		channels_add(&h->ready, h->row_door[row]);
}

bool hands_fds_changed(struct hands *h)
{
	bool changed = h->fds_changed;

	h->fds_changed = false;
	return changed;
}

unsigned hands_fds(const struct hands *h, int *fds, unsigned max)
{
	unsigned n = 0;

	fact(max >= 2 + LIMIT_CHANNELS);
	fds[n++] = h->kick_fd;
	fds[n++] = h->cq_fd;
	for (uint32_t i = channels_next(&h->mapped, 0); i < LIMIT_CHANNELS;
	     i = channels_next(&h->mapped, i + 1)) {
		if (h->door_fd[i] >= 0)
			fds[n++] = h->door_fd[i];
	}
	return n;
}

static bool completions_lie(const struct hands *h)
{
	return h->world && h->uring.mapped &&
	       uring_has(&h->uring, world_lane_const(h->world)->source_pos[SOURCE_CQ]);
}

double hands_patience(const struct hands *h)
{
	const double soon = 1e-3, long_time = 1.0;
	uint64_t next, now;

	if (h->held || completions_lie(h) || uring_waiting(&h->uring) ||
	    channels_next(&h->ready, 0) < LIMIT_CHANNELS)
		return soon;
	next = timers_next(h);
	if (next == UINT64_MAX)
		return long_time;
	now = custody_now_ns(h->c);
	if (next <= now + 1000000)
		return soon;
	return next - now > 1000000000 ? long_time : (double)(next - now) / 1e9;
}
