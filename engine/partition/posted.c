/* Posted messages: HvPostMessage copied into the bounded queue of custody.
 *
 * The partition alone handles it, so that no VP stalls while no paravisor
 * lives. The guest's page is read once, into a local copy; what is checked is
 * what is queued. Status values: protocol.md A.8. */
#include "engine/partition/partition.h"

#include <string.h>

enum {
	STATUS_SUCCESS = 0,
	STATUS_INVALID_INPUT = 3,
	STATUS_INVALID_ALIGNMENT = 4,
	STATUS_INVALID_PARAMETER = 5,
	STATUS_INSUFFICIENT_BUFFERS = 0x13,
};

struct post_input {
	uint32_t connection_id, reserved, message_type, bytes;
	uint8_t payload[LIMIT_MESSAGE];
};
_Static_assert(sizeof(struct post_input) == 256, "A.8");

/* Bits of the control word that a plain slow call has clear: fast, variable
 * header, nested, repetitions. The low 16 are the code. */
#define CONTROL_NOT_PLAIN (~UINT64_C(0xffff))

static uint16_t read_input(struct partition *p, uint64_t control, uint64_t gpa,
			   struct post_input *ret)
{
	const void *at;

	if (control & CONTROL_NOT_PLAIN)
		return STATUS_INVALID_INPUT;
	if (gpa & 7)
		return STATUS_INVALID_ALIGNMENT;
	if ((gpa & (WIRE_PAGE - 1)) + sizeof(*ret) > WIRE_PAGE)
		return STATUS_INVALID_PARAMETER;
	at = resource_ram(p, gpa, sizeof(*ret));
	if (!at)
		return STATUS_INVALID_PARAMETER;
	memcpy(ret, at, sizeof(*ret));
	return ret->bytes > LIMIT_MESSAGE ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}

uint16_t posted_put(struct partition *p, uint32_t vp, uint64_t control, uint64_t gpa)
{
	struct wire_posted_queue *q = p->c.posted;
	struct post_input in;
	uint16_t status = read_input(p, control, gpa, &in);
	uint64_t head;

	if (status != STATUS_SUCCESS)
		return status;
	pthread_mutex_lock(&p->posted_lock);
	head = atomic_load_explicit(&q->head, memory_order_relaxed);
	if (head - atomic_load_explicit(&q->tail, memory_order_acquire) < LIMIT_MESSAGE_QUEUE) {
		struct wire_posted *e = &q->entry[head % LIMIT_MESSAGE_QUEUE];

		*e = (struct wire_posted){ .connection_id = in.connection_id, .vp = vp,
					   .message_type = in.message_type, .bytes = in.bytes };
		memcpy(e->payload, in.payload, in.bytes);
		atomic_store_explicit(&q->head, head + 1, memory_order_release);
	} else {
		status = STATUS_INSUFFICIENT_BUFFERS;
	}
	pthread_mutex_unlock(&p->posted_lock);
	if (status == STATUS_SUCCESS)
		signal_eventfd(p->kick_fd);
	return status;
}
