/* Effects: from canonical bytes to guest memory, custody and descriptors.
 *
 * Each target keeps beside its commit word the identity of the last effect
 * applied; with redo, only what is newer is applied (DESIGN §4, exactly once).
 * Effects were made by our own machines: their shape is a fact; the guest
 * addresses in them are not. */
#include "devices/hands_state.h"

#include "devices/console.h"
#include "devices/loader.h"
#include "engine/fact.h"
#include "statemachines/vtl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BACKEND_SOFT = 2, GSI_COM1 = 4 };

void hands_ring(int fd)
{
	const uint64_t one = 1;

	/* A full counter is as good as a signal. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

/* ---- processors --------------------------------------------------------- */

static void mailbox_answer(struct hands *h, const struct effect *e)
{
	const struct rec_mailbox_answer *p = e->p;
	struct wire_mailbox *m = &h->c->mailbox[p->vp];
	uint32_t posted = p->generation << 2 | MAILBOX_POSTED;

	fact(p->vp < LIMIT_VPS);
	if (atomic_load(&m->state) != posted)
		return;
	m->answer = p->value;
	m->fault = p->fault;
	if (atomic_compare_exchange_strong(&m->state, &posted,
					   p->generation << 2 | MAILBOX_ANSWERED))
		futex_wake(&m->state);
}

static void declare_vp(struct hands *h, const struct effect *e)
{
	const struct rec_declare_vp *p = e->p;
	struct wire_declared_vp *d = &h->declared.now.vp[p->vp];

	fact(p->vp < LIMIT_VPS);
	d->scontrol = p->scontrol;
	d->simp = p->simp;
	d->siefp = p->siefp;
	memcpy(d->sint, p->sint, sizeof(d->sint));
	declared_touch(&h->declared, e->seq);
}

static void declare_door(struct hands *h, const struct effect *e)
{
	const struct rec_declare_door *p = e->p;

	fact(p->channel < LIMIT_CHANNELS);
	h->declared.now.door[p->channel] = p->connection_id;
	declared_touch(&h->declared, e->seq);
	if (p->connection_id && !channels_has(&h->mapped, p->channel))
		chan_derive(h, p->channel);
}

/* A full queue means that the guest has not read LIMIT_MESSAGE_QUEUE messages: it loses
 * this one. Posted messages are taken only while there is room for their answers. */
static void message(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_message *p = e->p;
	struct wire_message_queue *q = &h->c->message[p->vp];
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed), id = effect_id(e);
	struct wire_message *m = &q->entry[head % LIMIT_MESSAGE_QUEUE];

	fact(p->vp < LIMIT_VPS && e->tail_len <= LIMIT_MESSAGE);
	if ((redo && id <= atomic_load(&q->last_id)) ||
	    head - atomic_load_explicit(&q->tail, memory_order_acquire) >= LIMIT_MESSAGE_QUEUE)
		return;
	m->id = id;
	m->sint = p->sint;
	m->bytes = e->tail_len;
	memcpy(m->payload, e->tail, e->tail_len);
	atomic_store_explicit(&q->last_id, id, memory_order_release);
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	h->kick_part = true;
}

static void command(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_command *p = e->p;
	struct wire_command_queue *q = h->c->command;
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed), id = effect_id(e);
	struct wire_command *m = &q->entry[head % LIMIT_COMMAND_QUEUE];

	if (redo && id <= atomic_load(&q->last_id))
		return;
	fact(head - atomic_load(&q->tail) < LIMIT_COMMAND_QUEUE);
	m->id = id;
	m->op = p->op;
	m->vp = p->vp;
	memcpy(m->arg, p->arg, sizeof(m->arg));
	atomic_store_explicit(&q->last_id, id, memory_order_release);
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	h->kick_part = true;
}

/* ---- guest memory ------------------------------------------------------- */

static void guest_load(struct hands *h, const struct effect *e)
{
	struct loader_files files = { .kernel = custody_fd(h->c, "kernel"),
				      .initrd = custody_fd(h->c, "initrd") };
	const struct rec_guest_load *p = e->p;
	struct rec_guest_loaded loaded = { 0 };

	if (p->backend != BACKEND_SOFT)
		loader_load(&h->mem, &files, p, e->tail, e->tail_len, &loaded);
	answer_add(h, KIND_vtl, 0, 0, vtl_EV_LOADED, &loaded, sizeof(loaded), 0);
}

static void pair_at(const uint8_t *tail, uint32_t i, uint64_t pair[2])
{
	memcpy(pair, tail + i * 2 * sizeof(uint64_t), 2 * sizeof(uint64_t));
}

/* What is not RAM is left out: the guest named it. The id is stored before any
 * later effect can tell the guest, who may then use these bytes otherwise. */
static void guest_write(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_guest_write *p = e->p;
	const uint8_t *data = e->tail + (size_t)p->n_segments * 2 * sizeof(uint64_t);
	uint64_t left;

	fact(p->n_segments <= e->tail_len / (2 * sizeof(uint64_t)));
	if (redo && effect_id(e) <= atomic_load(&h->c->h->guest_write_id))
		return;
	left = e->tail_len - (uint64_t)p->n_segments * 2 * sizeof(uint64_t);
	for (uint32_t i = 0; i < p->n_segments && left; i++) {
		uint64_t pair[2];

		pair_at(e->tail, i, pair);
		if (pair[1] > left)
			pair[1] = left;
		guestmem_write(&h->mem, pair[0], data, pair[1]);
		data += pair[1];
		left -= pair[1];
	}
	atomic_store_explicit(&h->c->h->guest_write_id, effect_id(e), memory_order_release);
}

static int fetch(const struct hands *h, const struct effect *e, uint8_t *bytes)
{
	for (uint32_t i = 0; i < e->tail_len / (2 * sizeof(uint64_t)); i++) {
		uint64_t pair[2];

		pair_at(e->tail, i, pair);
		if (guestmem_read(&h->mem, pair[0], bytes, pair[1]))
			return -EFAULT;
		bytes += pair[1];
	}
	return 0;
}

/* The answer's own queue entry is the buffer. */
static void guest_read(struct hands *h, const struct effect *e)
{
	const struct rec_guest_read *p = e->p;
	struct rec_fetched f = { 0 };
	uint64_t total = 0;
	bool fits = true;
	uint8_t *tail;

	for (uint32_t i = 0; i < e->tail_len / (2 * sizeof(uint64_t)); i++) {
		uint64_t pair[2];

		pair_at(e->tail, i, pair);
		fits = fits && pair[1] <= LIMIT_PAYLOAD && (total += pair[1]) <=
							    LIMIT_PAYLOAD - sizeof(f);
	}
	f.status = fits ? 0 : E2BIG;
	tail = answer_add(h, p->kind, p->index, p->generation, p->event, &f, sizeof(f),
			  fits ? (uint32_t)total : 0);
	if (fits && fetch(h, e, tail)) {
		struct lane_event *a = &h->answer[h->n_answers - 1].e;

		f.status = EFAULT;
		memcpy(tail - sizeof(f), &f, sizeof(f));
		a->tail_len = 0;
	}
}

/* ---- people ------------------------------------------------------------- */

static void console_out(struct hands *h, const struct effect *e)
{
	console_put(h->c->console_out, e->tail, e->tail_len);
	h->kick_part = true;
}

/* Head before id: a REPORT may repeat once, it is never lost. Without room
 * nobody listens any more. */
static void report(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_operator *p = e->p;
	struct wire_inbox *q = h->c->inbox;
	uint64_t head = atomic_load_explicit(&q->report_head, memory_order_relaxed);
	struct wire_notice *n = &q->report[head % ARRAY_LEN(q->report)];
	uint32_t len = e->tail_len < sizeof(n->data) ? e->tail_len : (uint32_t)sizeof(n->data);

	if ((redo && effect_id(e) <= atomic_load(&q->report_last_id)) ||
	    head - atomic_load(&q->report_tail) >= ARRAY_LEN(q->report))
		return;
	*n = (struct wire_notice){ .op = p->op, .arg = p->arg, .value = p->value,
				   .token = p->token, .bytes = len };
	memcpy(n->data, e->tail, len);
	atomic_store_explicit(&q->report_head, head + 1, memory_order_release);
	atomic_store_explicit(&q->report_last_id, effect_id(e), memory_order_release);
	h->kick_part = true;
}

static void irq(const struct hands *h, const struct effect *e)
{
	if (((const struct rec_irq *)e->p)->gsi == GSI_COM1)
		hands_ring(h->com1_fd);
}

/* ---- dispatch ----------------------------------------------------------- */

static void perform_ring(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_channel_ref *ref = e->p;
	const struct rec_signal *s = e->p;

	switch ((enum effect_code)e->head.code) {
	case EFFECT_RING_MAP:
		chan_map(h, e);
		break;
	case EFFECT_RING_UNMAP:
		chan_unmap(h, ref->channel);
		break;
	case EFFECT_RING_SEND:
		chan_send(h, e, redo);
		break;
	case EFFECT_RING_CONSUMED:
		chan_consumed(h, e);
		break;
	case EFFECT_RING_POLL:
		chan_poll(h, e);
		break;
	case EFFECT_SIGNAL:
		chan_want_signal(h, s->channel, s->target_vp);
		break;
	default:
		break;
	}
}

static void perform_other(struct hands *h, const struct effect *e, bool redo)
{
	switch ((enum effect_code)e->head.code) {
	case EFFECT_MAILBOX_ANSWER:
		mailbox_answer(h, e);
		break;
	case EFFECT_DECLARE_VP:
		declare_vp(h, e);
		break;
	case EFFECT_DECLARE_DOOR:
		declare_door(h, e);
		break;
	case EFFECT_COMMAND:
		command(h, e, redo);
		break;
	case EFFECT_GUEST_LOAD:
		guest_load(h, e);
		break;
	case EFFECT_MESSAGE:
		message(h, e, redo);
		break;
	case EFFECT_DISK_SUBMIT:
		request_submit(h, e, redo);
		break;
	case EFFECT_GUEST_WRITE:
		guest_write(h, e, redo);
		break;
	case EFFECT_GUEST_READ:
		guest_read(h, e);
		break;
	case EFFECT_CONSOLE_OUT:
		console_out(h, e);
		break;
	case EFFECT_IRQ:
		irq(h, e);
		break;
	case EFFECT_REPORT:
		report(h, e, redo);
		break;
	default:
		break;
	}
}

void hands_perform(struct hands *h, const struct effect *e, bool redo)
{
	fact(h->epoch != 0);
	if (e->head.code >= EFFECT_RING_MAP && e->head.code <= EFFECT_SIGNAL)
		perform_ring(h, e, redo);
	else
		perform_other(h, e, redo);
}

void hands_flush(struct hands *h)
{
	chan_publish_all(h);
	/* The disk first: a guest that is woken may take this processor at once. */
	uring_enter(&h->uring);
	chan_signal_all(h, false);
	if (declared_commit(&h->declared, h->c->declared))
		h->kick_part = true;
	if (h->kick_part)
		hands_ring(h->part_fd);
	h->kick_part = false;
}
