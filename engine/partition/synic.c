/* SynIC: outgoing messages into the guest's message slots (protocol.md B.1).
 *
 * One lock a VP makes hub and VP threads take turns. The order of B.1 is kept
 * exactly: a busy slot gets its pending flag, then its type is read again,
 * because the guest looks at the flag only after it has freed the slot. The
 * tail moves after the interrupt; this process outlives every writer of the
 * queue, so nothing is delivered twice. What the queue says comes from a
 * paravisor and is checked; what the slot says comes from the guest and only
 * delays its own messages. */
#include "engine/partition/partition.h"

#include <string.h>

enum { MESSAGE_VMBUS = 1, FLAG_PENDING = 1, SINT_VMBUS = 2, SINTS = 16 };

#define PAGE_ENABLED UINT64_C(1)
#define SINT_MASKED (UINT64_C(1) << 16)

struct message_slot {
	_Atomic uint32_t type;
	_Atomic uint8_t bytes;
	_Atomic uint8_t flags;
	uint16_t reserved;
	uint64_t sender;
	uint8_t payload[LIMIT_MESSAGE];
};
_Static_assert(sizeof(struct message_slot) == 256, "protocol.md B.1");

/* The slot, or NULL while the guest has not enabled all of the path to it. */
static struct message_slot *slot_of(const struct partition *p, const struct synic_vp *s,
				    uint32_t sint)
{
	const struct wire_declared_vp *d = &s->declared;
	uint8_t *page;

	if (!(d->scontrol & PAGE_ENABLED) || !(d->simp & PAGE_ENABLED) ||
	    (d->sint[sint] & SINT_MASKED))
		return NULL;
	page = resource_ram(p, d->simp & ~UINT64_C(0xfff), WIRE_PAGE);
	return page ? (struct message_slot *)(void *)(page + sint * sizeof(struct message_slot))
		    : NULL;
}

/* Whether the slot may be written; else the guest will write EOM. */
static bool slot_free(struct message_slot *slot)
{
	if (atomic_load_explicit(&slot->type, memory_order_acquire) == 0)
		return true;
	atomic_fetch_or(&slot->flags, FLAG_PENDING);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&slot->type) != 0)
		return false;
	atomic_fetch_and(&slot->flags, (uint8_t)~FLAG_PENDING);
	return true;
}

static void write_slot(struct message_slot *slot, const struct wire_message *m, bool more)
{
	memcpy(slot->payload, m->payload, m->bytes);
	atomic_store_explicit(&slot->bytes, (uint8_t)m->bytes, memory_order_relaxed);
	atomic_store_explicit(&slot->flags, more ? FLAG_PENDING : 0, memory_order_relaxed);
	slot->reserved = 0;
	slot->sender = 0;
	atomic_store_explicit(&slot->type, MESSAGE_VMBUS, memory_order_release);
}

static void interrupt(struct partition *p, uint32_t vp, uint32_t sint)
{
	if (sint == SINT_VMBUS)
		signal_eventfd(p->irq_fd[vp]);
	else
		p->backend->interrupt(p, vp, (uint8_t)p->synic[vp].declared.sint[sint]);
}

/* The head of the queue; false: it must wait. */
static bool deliver_one(struct partition *p, uint32_t vp, const struct wire_message *m, bool more)
{
	struct message_slot *slot = slot_of(p, &p->synic[vp], m->sint);

	if (!slot || !slot_free(slot))
		return false;
	write_slot(slot, m, more);
	interrupt(p, vp, m->sint);
	atomic_fetch_add_explicit(&p->c.stats->messages_delivered, 1, memory_order_relaxed);
	return true;
}

static void deliver_all(struct partition *p, uint32_t vp)
{
	struct wire_message_queue *q = &p->c.message[vp];
	struct synic_vp *s = &p->synic[vp];
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	s->waiting = false;
	for (;;) {
		uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);
		struct wire_message m;

		if (head == tail || head - tail > LIMIT_MESSAGE_QUEUE)
			return;
		m = q->entry[tail % LIMIT_MESSAGE_QUEUE];
		if (m.sint >= SINTS || m.bytes > LIMIT_MESSAGE)
			partition_log("message %llx of VP %u is malformed and is dropped",
				      (unsigned long long)m.id, vp);
		else if (!deliver_one(p, vp, &m, head - tail > 1)) {
			s->waiting = true;
			return;
		}
		s->stuck = 0;
		tail++;
		atomic_store_explicit(&q->tail, tail, memory_order_release);
	}
}

void synic_deliver(struct partition *p, uint32_t vp)
{
	pthread_mutex_lock(&p->synic[vp].lock);
	deliver_all(p, vp);
	pthread_mutex_unlock(&p->synic[vp].lock);
}

/* A guest that could not copy the message keeps its slot and looks again at
 * the next interrupt only (B.1). */
static void prod(struct partition *p, uint32_t vp)
{
	struct synic_vp *s = &p->synic[vp];

	if (!s->waiting)
		return;
	s->stuck++;
	if (s->stuck % PARTITION_STUCK_POLLS == 0 && slot_of(p, s, SINT_VMBUS))
		signal_eventfd(p->irq_fd[vp]);
}

bool synic_poll(struct partition *p)
{
	bool waiting = false;

	for (uint32_t vp = 0; vp < p->o.vps; vp++) {
		pthread_mutex_lock(&p->synic[vp].lock);
		deliver_all(p, vp);
		prod(p, vp);
		waiting |= p->synic[vp].waiting;
		pthread_mutex_unlock(&p->synic[vp].lock);
	}
	return waiting;
}

void synic_declare(struct partition *p, uint32_t vp, const struct wire_declared_vp *d)
{
	pthread_mutex_lock(&p->synic[vp].lock);
	p->synic[vp].declared = *d;
	pthread_mutex_unlock(&p->synic[vp].lock);
}
