/* tests/soft/guestring.c - producer of one ring, consumer of the other.
 *
 * Invariants. A ring never fills up: a packet of n bytes needs more than n free
 * ones, so equal indices mean empty. The producer stores data before
 * write_index; the consumer copies data before it stores read_index. Each side
 * looks at what the other may have changed only behind a full barrier, so that
 * of two crossing sides at least one sees the other: the producer its
 * consumer's mask and read_index after write_index, the consumer write_index
 * after the mask is cleared and pending_send_sz after read_index.
 *
 * What the server writes is checked: indices inside the ring and aligned, the
 * packet inside what is there, the trailer naming the packet's start. */
#include "tests/soft/guestring.h"

#include <stddef.h>
#include <string.h>

struct descriptor {
	uint16_t type, offset8, len8, flags;
	uint64_t id;
};
_Static_assert(sizeof(struct descriptor) == 16, "protocol.md B.10");
_Static_assert(offsetof(struct guestring_header, features) == 0x40, "protocol.md B.10");

enum { TRAILER = 8 };

static void half_init(struct guestring_half *half, uint8_t *base, uint32_t pages)
{
	half->header = (struct guestring_header *)(void *)base;
	half->data = base + GUESTRING_PAGE;
	half->size = (pages - 1) * GUESTRING_PAGE;
	memset(base, 0, GUESTRING_PAGE);
	atomic_store(&half->header->features, 1);
}

void guestring_init(struct guestring *ring, void *base, uint32_t out_pages, uint32_t in_pages)
{
	memset(ring, 0, sizeof(*ring));
	half_init(&ring->out, base, out_pages);
	half_init(&ring->in, (uint8_t *)base + (size_t)out_pages * GUESTRING_PAGE, in_pages);
}

const char *guestring_fault(const struct guestring *ring)
{
	return ring->fault ? ring->fault : "none";
}

static uint32_t bytes_used(const struct guestring_half *half, uint32_t write, uint32_t read)
{
	return write >= read ? write - read : half->size - (read - write);
}

static uint32_t put(const struct guestring_half *half, uint32_t at, const void *from,
		    uint32_t bytes)
{
	const uint32_t first = bytes < half->size - at ? bytes : half->size - at;

	if (bytes == 0)
		return at;
	memcpy(half->data + at, from, first);
	memcpy(half->data, (const uint8_t *)from + first, bytes - first);
	return (at + bytes) % half->size;
}

static uint32_t get(const struct guestring_half *half, uint32_t at, void *to, uint32_t bytes)
{
	const uint32_t first = bytes < half->size - at ? bytes : half->size - at;

	memcpy(to, half->data + at, first);
	memcpy((uint8_t *)to + first, half->data, bytes - first);
	return (at + bytes) % half->size;
}

static bool has_room(const struct guestring_half *half, uint32_t write, uint32_t need)
{
	const uint32_t read = atomic_load_explicit(&half->header->read_index, memory_order_acquire);

	return read < half->size && half->size - bytes_used(half, write, read) > need;
}

int guestring_send(struct guestring *ring, const struct guestring_packet *packet, bool *ret_signal)
{
	static const uint8_t zeros[8];
	struct guestring_half *out = &ring->out;
	const uint32_t write =
		atomic_load_explicit(&out->header->write_index, memory_order_relaxed);
	const uint32_t pad = (8 - packet->payload_bytes % 8) % 8;
	const uint32_t front = (uint32_t)sizeof(struct descriptor) + packet->extra_bytes;
	const uint32_t bytes = front + packet->payload_bytes + pad;
	const struct descriptor descriptor = {
		.type = packet->type,
		.offset8 = (uint16_t)(front / 8),
		.len8 = (uint16_t)(bytes / 8),
		.flags = packet->flags,
		.id = packet->id,
	};
	const uint64_t trailer = (uint64_t)write << 32;
	uint32_t at;

	*ret_signal = false;
	if (!has_room(out, write, bytes + TRAILER)) {
		atomic_store(&out->header->pending_send_sz, bytes + TRAILER);
		atomic_thread_fence(memory_order_seq_cst);
		if (!has_room(out, write, bytes + TRAILER)) {
			ring->full++;
			return GUESTRING_FULL;
		}
		atomic_store(&out->header->pending_send_sz, 0);
	}
	at = put(out, write, &descriptor, sizeof(descriptor));
	at = put(out, at, packet->extra, packet->extra_bytes);
	at = put(out, at, packet->payload, packet->payload_bytes);
	at = put(out, at, zeros, pad);
	at = put(out, at, &trailer, TRAILER);
	atomic_store_explicit(&out->header->write_index, at, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	ring->sent++;
	if (atomic_load(&out->header->interrupt_mask) != 0)
		ring->masked++;
	else
		*ret_signal = atomic_load(&out->header->read_index) == write;
	return 0;
}

void guestring_stop_waiting(struct guestring *ring)
{
	atomic_store(&ring->out.header->pending_send_sz, 0);
}

void guestring_mask(struct guestring *ring)
{
	atomic_store(&ring->in.header->interrupt_mask, 1);
	atomic_thread_fence(memory_order_seq_cst);
}

static int broken(struct guestring *ring, const char *fault)
{
	ring->fault = fault;
	return GUESTRING_BROKEN;
}

int guestring_receive(struct guestring *ring, struct guestring_received *ret_packet)
{
	const struct guestring_half *in = &ring->in;
	const uint32_t write = atomic_load_explicit(&in->header->write_index, memory_order_acquire);
	struct descriptor descriptor;
	uint32_t there, front, at;
	uint64_t trailer;

	if (write >= in->size || write % 8 != 0)
		return broken(ring, "write_index outside the ring or not aligned");
	there = bytes_used(in, write, ring->read);
	if (there == 0)
		return GUESTRING_EMPTY;
	if (there < sizeof(descriptor) + TRAILER)
		return broken(ring, "less than a descriptor is published");
	at = get(in, ring->read, &descriptor, sizeof(descriptor));
	front = descriptor.offset8 * 8u;
	if (front < sizeof(descriptor) || descriptor.len8 < descriptor.offset8)
		return broken(ring, "the payload starts outside the packet");
	if (descriptor.len8 * 8u > GUESTRING_PACKET || descriptor.len8 * 8u + TRAILER > there)
		return broken(ring, "the packet is longer than what is published");
	ret_packet->type = descriptor.type;
	ret_packet->flags = descriptor.flags;
	ret_packet->id = descriptor.id;
	ret_packet->bytes = descriptor.len8 * 8u - front;
	at = (ring->read + front) % in->size;
	at = get(in, at, ret_packet->payload, ret_packet->bytes);
	at = get(in, at, &trailer, TRAILER);
	if (trailer >> 32 != ring->read)
		return broken(ring, "the trailer does not name the packet's start");
	ring->read = at;
	ring->received++;
	return 0;
}

bool guestring_publish(struct guestring *ring)
{
	const struct guestring_half *in = &ring->in;
	const uint32_t before = atomic_load_explicit(&in->header->read_index, memory_order_relaxed);
	uint32_t pending, write, free_before, free_now;

	if (before == ring->read)
		return false;
	atomic_store_explicit(&in->header->read_index, ring->read, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	pending = atomic_load(&in->header->pending_send_sz);
	if (pending == 0)
		return false;
	write = atomic_load(&in->header->write_index) % in->size;
	free_now = in->size - bytes_used(in, write, ring->read);
	free_before = free_now - bytes_used(in, ring->read, before);
	return free_now > pending && free_before <= pending;
}

bool guestring_unmask(struct guestring *ring)
{
	const struct guestring_half *in = &ring->in;

	atomic_store(&in->header->interrupt_mask, 0);
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load(&in->header->write_index) != ring->read;
}
