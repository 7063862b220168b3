/* tests/soft/single.c - one operation at a time. All that it needs is prepared
 * before the first touch of the port; all checks come after the second. */
#include "tests/soft/single.h"

#include "tests/guest/stamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GPADL_PAGES = 16 };

static uint64_t begin(struct softvm *vm)
{
	softvm_out(vm, 0, SINGLE_PORT, 4, SINGLE_BEGIN);
	return softvm_now_ns();
}

static void end(struct softvm *vm, uint64_t since, struct single_result *result)
{
	result->latency_ns = softvm_now_ns() - since;
	softvm_out(vm, 0, SINGLE_PORT, 4, SINGLE_END);
}

struct buffer {
	struct guestscsi_request request;
	uint64_t pfn;
	uint64_t *data;
};

static int make_buffer(struct guestscsi *scsi, uint8_t lun, struct buffer **ret_buffer)
{
	struct softvm *vm = guestbus_vm(guestscsi_bus_channel(scsi, 0)->bus);
	struct buffer *buffer = calloc(1, sizeof(*buffer));
	int error;

	if (!buffer)
		return -ENOMEM;
	error = softvm_pages(vm, 1, &buffer->pfn);
	if (error)
		return error;
	buffer->data = softvm_view(vm, &buffer->pfn, 1);
	buffer->request.pfns = &buffer->pfn;
	buffer->request.lun = lun;
	buffer->request.bytes = SOFTVM_PAGE;
	*ret_buffer = buffer;
	return guestscsi_register(scsi, 0, &buffer->request);
}

static int transfer(struct guestscsi *scsi, const struct guestscsi_disk *disk,
		    struct buffer *buffer, uint64_t byte, bool write)
{
	guestscsi_transfer_cdb(&buffer->request, write, byte / disk->block_bytes,
			       SOFTVM_PAGE / disk->block_bytes, false);
	return guestscsi_execute(scsi, &buffer->request);
}

static void compare(const struct buffer *buffer, const struct stamp *want,
		    struct single_result *result)
{
	struct stamp got;
	const enum stamp_fault fault = stamp_check(buffer->data, want, &got);

	if (fault == STAMP_GOOD)
		return;
	result->mismatches++;
	fprintf(stderr, "guest: the block is %s\n", stamp_fault_name(fault));
}

int single_transfer(struct guestscsi *scsi, const struct guestscsi_disk *disk, uint8_t lun,
		    uint64_t byte, bool write, struct single_result *ret_result)
{
	struct softvm *vm = guestbus_vm(guestscsi_bus_channel(scsi, 0)->bus);
	const struct stamp stamp = {
		.magic = STAMP_MAGIC,
		.run = softvm_now_ns(),
		.block = byte / SOFTVM_PAGE,
		.generation = 1,
		.sequence = 1,
		.size = SOFTVM_PAGE,
		.kind = STAMP_DATA,
	};
	struct buffer *buffer;
	uint64_t since;
	int error = make_buffer(scsi, lun, &buffer);

	if (error)
		return error;
	stamp_fill(buffer->data, &stamp);
	if (!write) {
		error = transfer(scsi, disk, buffer, byte, true);
		memset(buffer->data, 0, SOFTVM_PAGE);
	}
	if (error)
		return error;
	since = begin(vm);
	error = transfer(scsi, disk, buffer, byte, write);
	end(vm, since, ret_result);
	if (!error && write) {
		memset(buffer->data, 0, SOFTVM_PAGE);
		error = transfer(scsi, disk, buffer, byte, false);
	}
	if (!error)
		compare(buffer, &stamp, ret_result);
	return error;
}

static int message_window(struct guestbus_channel *channel, enum single_message message,
			  const uint64_t *pfns, uint32_t *gpadl)
{
	switch (message) {
	case SINGLE_MODIFY:
		return guestbus_modify(channel,
				       (channel->vp + 1) % softvm_vps(guestbus_vm(channel->bus)));
	case SINGLE_GPADL:
		return guestbus_gpadl_create(channel, pfns, GPADL_PAGES, gpadl);
	case SINGLE_TEARDOWN:
		return guestbus_gpadl_teardown(channel, *gpadl);
	}
	return -EINVAL;
}

int single_message(struct guestscsi *scsi, enum single_message message,
		   struct single_result *ret_result)
{
	struct guestbus_channel *channel = guestscsi_bus_channel(scsi, 0);
	struct softvm *vm = guestbus_vm(channel->bus);
	uint64_t pfns[GPADL_PAGES], since;
	uint32_t gpadl = 0;
	int error = softvm_pages(vm, GPADL_PAGES, pfns);

	if (!error && message == SINGLE_TEARDOWN)
		error = guestbus_gpadl_create(channel, pfns, GPADL_PAGES, &gpadl);
	if (error)
		return error;
	since = begin(vm);
	error = message_window(channel, message, pfns, &gpadl);
	end(vm, since, ret_result);
	if (!error && message == SINGLE_GPADL)
		error = guestbus_gpadl_teardown(channel, gpadl);
	return error;
}

int single_open(struct guestbus *bus, uint32_t controller, uint32_t ring_bytes,
		struct single_result *ret_result)
{
	struct guestbus_channel *channel = guestbus_primary(bus, GUESTBUS_SCSI, controller);
	uint64_t since;
	int error = channel ? guestbus_prepare(channel, ring_bytes) : GUESTSCSI_ABSENT;

	if (error)
		return error;
	since = begin(guestbus_vm(bus));
	error = guestbus_open(channel, 0);
	end(guestbus_vm(bus), since, ret_result);
	return error;
}
