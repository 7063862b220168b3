/* tests/soft/guestscsi.c - requests in flight, told apart by ids of which none
 * is used twice.
 *
 * id = serial << 24 | channel << 12 | tag. A completion is accepted when the
 * request of that tag is in flight with exactly this id; anything else is a
 * double, whatever the reason, and names its reason on stderr. Every accepted
 * completion is checked: completion packet, 64 bytes, operation, status, and
 * that a transfer which succeeded moved every byte.
 *
 * A request the ring has no room for is queued behind its channel; the ring's
 * pending_send_sz makes the server signal, and the signal sends the queue.
 * All of a channel's state is under its lock. */
#include "tests/soft/guestscsi.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTROL_ID UINT64_C(0xFFFFFFFFFFFFFFFD) /* C.2 */

enum {
	VERSION_WIN10 = 0x0602,
	VERSION_WIN81 = 0x0600,
	VERSION_WIN8 = 0x0501,
	SRB_LENGTH = 52,
	SRB_SUCCESS = 1,
	SRB_STATUS_MASK = 0x3f,
	SCSI_CHECK_CONDITION = 2,
	SCSI_BUSY = 8,
	SENSE_UNIT_ATTENTION = 6,
	FLAG_DATA_IN = 0x40,
	FLAG_DATA_OUT = 0x80,
	FLAG_QUEUE_ACTION = 0x02,
	FLAG_NO_SYNC = 0x08,
	FLAG_NO_FREEZE = 0x100,
	ACTION_SIMPLE = 0x20,
	TAG_NONE = 0xff,
	TIMEOUT_S = 60,
	PROPERTY_MULTI_CHANNEL = 1,
	SENSE_FIXED = 0x70,
	AGAIN_MAX = 64,
	TELL_MAX = 8,
	TELL_EVERY_S = 5,
};

_Static_assert(sizeof(struct vstor_packet) == 64, "protocol.md C.1");
_Static_assert(sizeof(struct vstor_srb) == SRB_LENGTH, "protocol.md C.1");

struct guestscsi_channel {
	struct guestscsi *scsi;
	struct guestbus_channel *bus;
	uint32_t index, n_tags;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t serial;				      /* of the newest id */
	struct guestscsi_request *by_tag[GUESTSCSI_TAGS + 1]; /* tags from 1 */
	struct guestscsi_request *queue, **queue_end;
	bool deaf; /* answers are not taken */
	bool dead; /* the ring is broken: nothing is taken from it any more */
	bool control_done;
	struct vstor_packet control;
	struct guestring_received packet; /* under the lock; too large for a stack */
};

struct guestscsi {
	struct guestbus *bus;
	uint32_t n_channels, max_transfer;
	struct guestscsi_faults faults;
	struct guestscsi_channel channel[GUESTSCSI_CHANNELS];
};

uint32_t guestscsi_channels(const struct guestscsi *scsi)
{
	return scsi->n_channels;
}

uint32_t guestscsi_max_transfer(const struct guestscsi *scsi)
{
	return scsi->max_transfer;
}

struct guestbus_channel *guestscsi_bus_channel(struct guestscsi *scsi, uint32_t channel)
{
	return scsi->channel[channel].bus;
}

struct guestscsi_faults *guestscsi_faults(struct guestscsi *scsi)
{
	return &scsi->faults;
}

void guestscsi_lock(struct guestscsi *scsi, uint32_t channel)
{
	pthread_mutex_lock(&scsi->channel[channel].lock);
}

void guestscsi_unlock(struct guestscsi *scsi, uint32_t channel)
{
	pthread_mutex_unlock(&scsi->channel[channel].lock);
}

void guestscsi_ring_counts(struct guestscsi *scsi, uint64_t ret_counts[3])
{
	ret_counts[0] = ret_counts[1] = ret_counts[2] = 0;
	for (uint32_t i = 0; i < scsi->n_channels; i++) {
		guestscsi_lock(scsi, i);
		ret_counts[0] += scsi->channel[i].bus->ring.sent;
		ret_counts[1] += scsi->channel[i].bus->ring.received;
		ret_counts[2] += scsi->channel[i].bus->ring.full;
		guestscsi_unlock(scsi, i);
	}
}

static void fault(struct guestscsi_channel *channel, _Atomic uint64_t *counter, const char *what,
		  uint64_t id, uint64_t detail)
{
	if (atomic_fetch_add(counter, 1) < TELL_MAX)
		fprintf(stderr,
			"guest: channel %u: %s: id %#" PRIx64 ", %#" PRIx64 " at %" PRIu64 " ns\n",
			channel->bus->relid, what, id, detail, softvm_now_ns());
}

/* ---- out ---------------------------------------------------------------------- */

static void fill_srb(const struct guestscsi_request *request, struct vstor_srb *srb)
{
	static const uint32_t direction[] = {FLAG_DATA_OUT, FLAG_DATA_IN, 0};

	*srb = (struct vstor_srb){
		.length = SRB_LENGTH,
		.path = request->path,
		.target = request->target,
		.lun = request->lun,
		.cdb_length = request->cdb_bytes,
		.sense_length = GUESTSCSI_SENSE,
		.data_in = (uint8_t)request->direction,
		.transfer = request->bytes,
		.srb_flags = FLAG_NO_SYNC | direction[request->direction],
		.timeout = TIMEOUT_S,
	};
	if (!request->untagged) {
		srb->queue_tag = TAG_NONE;
		srb->queue_action = ACTION_SIMPLE;
		srb->srb_flags |= FLAG_QUEUE_ACTION | FLAG_NO_FREEZE;
	}
	memcpy(srb->cdb_or_sense, request->cdb, request->cdb_bytes);
}

void guestscsi_encode(const struct guestscsi_request *request, struct guestscsi_wire *ret_wire)
{
	struct vstor_packet vstor = {.operation = VSTOR_EXECUTE, .flags = 1};

	fill_srb(request, &vstor.u.srb);
	memcpy(ret_wire->vstor, &vstor, sizeof(vstor));
	ret_wire->packet = (struct guestring_packet){
		.type = GUESTRING_INBAND,
		.flags = GUESTRING_WANTS_COMPLETION,
		.id = request->id,
		.payload = ret_wire->vstor,
		.payload_bytes = sizeof(vstor),
	};
	if (request->bytes > 0) {
		const uint32_t pages =
			(request->offset + request->bytes + SOFTVM_PAGE - 1) / SOFTVM_PAGE;

		ret_wire->reserved = 0;
		ret_wire->ranges = 1;
		ret_wire->bytes = request->bytes;
		ret_wire->offset = request->offset;
		memcpy(ret_wire->pfn, request->pfns, pages * sizeof(*request->pfns));
		ret_wire->packet.type = GUESTRING_GPA_DIRECT;
		ret_wire->packet.extra = &ret_wire->reserved;
		ret_wire->packet.extra_bytes = 16 + pages * (uint32_t)sizeof(*request->pfns);
	}
}

static int send_request(struct guestscsi_channel *channel, const struct guestscsi_request *request)
{
	struct guestscsi_wire wire;
	bool signal;
	int error;

	guestscsi_encode(request, &wire);
	error = guestring_send(&channel->bus->ring, &wire.packet, &signal);
	if (!error && signal)
		guestbus_signal(channel->bus);
	return error;
}

static void send_queue(struct guestscsi_channel *channel)
{
	if (!channel->queue)
		return;
	guestring_stop_waiting(&channel->bus->ring);
	while (channel->queue && send_request(channel, channel->queue) == 0) {
		channel->queue = channel->queue->next;
		if (!channel->queue)
			channel->queue_end = &channel->queue;
	}
}

void guestscsi_submit_locked(struct guestscsi_request *request)
{
	struct guestscsi_channel *channel = request->channel;

	request->id = ++channel->serial << 24 | (uint64_t)channel->index << 12 | request->tag;
	request->issued_ns = softvm_now_ns();
	request->in_flight = true;
	request->next = NULL;
	if (!channel->queue && send_request(channel, request) == 0)
		return;
	*channel->queue_end = request;
	channel->queue_end = &request->next;
}

/* ---- in ----------------------------------------------------------------------- */

static struct guestscsi_request *request_of(struct guestscsi_channel *channel, uint64_t id)
{
	const uint32_t tag = (uint32_t)(id & 0xfff), index = (uint32_t)(id >> 12 & 0xfff);
	struct guestscsi_request *request = tag <= GUESTSCSI_TAGS ? channel->by_tag[tag] : NULL;
	const char *why = "completion of an id that was never used";

	if (request && request->in_flight && request->id == id)
		return request;
	if (index != channel->index && index < channel->scsi->n_channels)
		why = "completion on another channel than the request's";
	else if (request && id >> 24 != 0 && id >> 24 <= channel->serial)
		why = "completed twice";
	fault(channel, &channel->scsi->faults.doubles, why, id, request ? request->id : 0);
	return NULL;
}

enum guestscsi_outcome guestscsi_decode(const uint8_t reply[GUESTSCSI_VSTOR],
					struct guestscsi_request *request)
{
	struct vstor_packet vstor;
	const struct vstor_srb *srb = &vstor.u.srb;

	memcpy(&vstor, reply, sizeof(vstor));
	request->srb_status = srb->srb_status;
	request->scsi_status = srb->scsi_status;
	request->transferred = srb->transfer;
	request->sense_bytes =
		srb->sense_length < GUESTSCSI_SENSE ? srb->sense_length : GUESTSCSI_SENSE;
	memcpy(request->sense, srb->cdb_or_sense, GUESTSCSI_SENSE);
	if (vstor.status == 0 && (srb->srb_status & SRB_STATUS_MASK) == SRB_SUCCESS) {
		if (srb->scsi_status == 0)
			return GUESTSCSI_GOOD;
		if (srb->scsi_status == SCSI_BUSY)
			return GUESTSCSI_AGAIN;
	}
	if (srb->scsi_status == SCSI_CHECK_CONDITION && srb->srb_status & 0x80 &&
	    srb->sense_length >= 14 && (srb->cdb_or_sense[0] & 0x7f) == SENSE_FIXED &&
	    (srb->cdb_or_sense[2] & 0xf) == SENSE_UNIT_ATTENTION)
		return GUESTSCSI_AGAIN;
	return GUESTSCSI_FAILED;
}

static void judge(struct guestscsi_channel *channel, struct guestscsi_request *request,
		  const struct vstor_packet *reply)
{
	struct guestscsi_faults *faults = &channel->scsi->faults;

	request->outcome = guestscsi_decode((const uint8_t *)reply, request);
	if (request->raw)
		request->outcome = GUESTSCSI_GOOD;
	else if (request->outcome == GUESTSCSI_AGAIN)
		atomic_fetch_add(request->scsi_status == SCSI_BUSY ? &faults->busy
								   : &faults->attention,
				 1);
	else if (request->outcome == GUESTSCSI_FAILED)
		fault(channel, &faults->errors, "request failed (status, srb, scsi, key)",
		      request->id,
		      (uint64_t)reply->status << 32 | (uint64_t)request->srb_status << 16 |
			      (uint64_t)request->scsi_status << 8 | request->sense[2]);
}

static bool is_transfer(const struct guestscsi_request *request)
{
	return request->cdb[0] == 0x28 || request->cdb[0] == 0x2A || request->cdb[0] == 0x88 ||
	       request->cdb[0] == 0x8A;
}

static void complete(struct guestscsi_channel *channel, uint64_t id,
		     const struct vstor_packet *reply)
{
	struct guestscsi_request *request = request_of(channel, id);
	const struct vstor_srb *srb = &reply->u.srb;

	if (!request)
		return;
	request->in_flight = false;
	judge(channel, request, reply);
	if (request->outcome == GUESTSCSI_GOOD && !request->raw &&
	    (srb->transfer > request->bytes ||
	     (is_transfer(request) && srb->transfer != request->bytes)))
		fault(channel, &channel->scsi->faults.malformed, "transferred length is wrong", id,
		      srb->transfer);
	request->done(request);
}

static void take_packet(struct guestscsi_channel *channel)
{
	const struct guestring_received *packet = &channel->packet;
	struct guestscsi_faults *faults = &channel->scsi->faults;
	struct vstor_packet reply;

	if (packet->type == GUESTRING_INBAND && packet->id == 0) {
		atomic_fetch_add(&faults->unsolicited, 1);
		return;
	}
	if (packet->type != GUESTRING_COMPLETION || packet->bytes != sizeof(reply)) {
		fault(channel, &faults->malformed, "not a completion of 64 bytes", packet->id,
		      (uint64_t)packet->type << 32 | packet->bytes);
		return;
	}
	memcpy(&reply, packet->payload, sizeof(reply));
	if (reply.operation != VSTOR_COMPLETE)
		fault(channel, &faults->malformed, "operation is not COMPLETE_IO", packet->id,
		      reply.operation);
	if (packet->id != CONTROL_ID) {
		complete(channel, packet->id, &reply);
		return;
	}
	if (channel->control_done)
		fault(channel, &faults->doubles, "control request completed twice", packet->id, 0);
	channel->control = reply;
	channel->control_done = true;
	pthread_cond_broadcast(&channel->changed);
}

static void drain(struct guestscsi_channel *channel)
{
	struct guestring *ring = &channel->bus->ring;
	int error;

	do {
		guestring_mask(ring);
		while ((error = guestring_receive(ring, &channel->packet)) == 0)
			take_packet(channel);
		if (guestring_publish(ring))
			guestbus_signal(channel->bus);
		if (error == GUESTRING_BROKEN) {
			channel->dead = true;
			fault(channel, &channel->scsi->faults.malformed, guestring_fault(ring), 0,
			      ring->read);
			return;
		}
	} while (guestring_unmask(ring));
}

static void on_signal(void *context)
{
	struct guestscsi_channel *channel = context;

	pthread_mutex_lock(&channel->lock);
	if (!channel->dead && channel->bus->state == GUESTBUS_OPEN) {
		if (!channel->deaf)
			drain(channel);
		send_queue(channel);
	}
	pthread_mutex_unlock(&channel->lock);
}

void guestscsi_set_deaf(struct guestscsi *scsi, uint32_t index, bool deaf)
{
	struct guestscsi_channel *channel = &scsi->channel[index];

	pthread_mutex_lock(&channel->lock);
	channel->deaf = deaf;
	pthread_mutex_unlock(&channel->lock);
	on_signal(channel);
}

/* ---- waiting ------------------------------------------------------------------ */

/* Under the channel's lock, until *done. */
static int wait_done(struct guestscsi_channel *channel, const bool *done, const char *what)
{
	const uint64_t since = softvm_now_ns();

	while (!*done) {
		struct timespec until;
		uint64_t waited;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TELL_EVERY_S;
		if (pthread_cond_timedwait(&channel->changed, &channel->lock, &until) != ETIMEDOUT)
			continue;
		waited = (softvm_now_ns() - since) / UINT64_C(1000000000);
		fprintf(stderr, "guest: channel %u waits for %s since %" PRIu64 " s\n",
			channel->bus->relid, what, waited);
		if (waited >= guestbus_patience(channel->scsi->bus))
			return -ETIMEDOUT;
	}
	return 0;
}

struct sync {
	bool done;
};

static void on_sync_done(struct guestscsi_request *request)
{
	struct sync *sync = request->context;

	sync->done = true;
	pthread_cond_broadcast(&request->channel->changed);
}

int guestscsi_execute(struct guestscsi *scsi, struct guestscsi_request *request)
{
	struct guestscsi_channel *channel = request->channel;
	struct sync sync;
	int error = 0;

	(void)scsi;
	request->done = on_sync_done;
	request->context = &sync;
	pthread_mutex_lock(&channel->lock);
	for (uint32_t tries = 0; tries < AGAIN_MAX; tries++) {
		sync.done = false;
		guestscsi_submit_locked(request);
		error = wait_done(channel, &sync.done, "a SCSI request");
		if (error || request->outcome != GUESTSCSI_AGAIN)
			break;
	}
	pthread_mutex_unlock(&channel->lock);
	if (error)
		return error;
	return request->outcome == GUESTSCSI_GOOD ? 0 : GUESTSCSI_BAD_REPLY;
}

static int control(struct guestscsi_channel *channel, struct vstor_packet *vstor, const char *what)
{
	const struct guestring_packet packet = {
		.type = GUESTRING_INBAND,
		.flags = GUESTRING_WANTS_COMPLETION,
		.id = CONTROL_ID,
		.payload = vstor,
		.payload_bytes = sizeof(*vstor),
	};
	bool signal;
	int error;

	vstor->flags = 1;
	pthread_mutex_lock(&channel->lock);
	channel->control_done = false;
	error = guestring_send(&channel->bus->ring, &packet, &signal);
	if (!error && signal)
		guestbus_signal(channel->bus);
	if (!error)
		error = wait_done(channel, &channel->control_done, what);
	*vstor = channel->control;
	pthread_mutex_unlock(&channel->lock);
	return error;
}

/* ---- handshake (C.2) ------------------------------------------------------------- */

static int simple_control(struct guestscsi_channel *channel, uint32_t operation, const char *what)
{
	struct vstor_packet packet = {.operation = operation};
	const int error = control(channel, &packet, what);

	if (error || packet.status == 0)
		return error;
	fprintf(stderr, "guest: %s: status %#x\n", what, packet.status);
	return GUESTSCSI_BAD_REPLY;
}

static int negotiate_version(struct guestscsi_channel *channel)
{
	static const uint16_t versions[] = {VERSION_WIN10, VERSION_WIN81, VERSION_WIN8};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct vstor_packet packet = {
			.operation = VSTOR_VERSION,
			.u.protocol.version = versions[i],
		};
		const int error = control(channel, &packet, "QUERY_PROTOCOL_VERSION");

		if (error || packet.status == 0)
			return error;
	}
	return GUESTSCSI_BAD_REPLY;
}

int guestscsi_reset(struct guestscsi *scsi, uint32_t operation, uint8_t lun, uint32_t *ret_status)
{
	struct vstor_packet packet = {
		.operation = operation,
		.u.srb = {.length = SRB_LENGTH, .lun = lun},
	};
	const int error = control(&scsi->channel[0], &packet, "a reset");

	*ret_status = packet.status;
	return error;
}

int guestscsi_ask_sub_channels(struct guestscsi *scsi, uint16_t count, uint32_t *ret_status)
{
	struct vstor_packet packet = {
		.operation = VSTOR_SUB_CHANNELS,
		.u.sub_channels = count,
	};
	const int error = control(&scsi->channel[0], &packet, "CREATE_SUB_CHANNELS");

	*ret_status = packet.status;
	return error;
}

static int handshake(struct guestscsi_channel *channel, uint32_t wanted,
		     uint16_t *ret_sub_channels)
{
	struct vstor_packet packet = {.operation = VSTOR_PROPERTIES};
	uint32_t allowed;
	int error = simple_control(channel, VSTOR_BEGIN, "BEGIN_INITIALIZATION");

	if (!error)
		error = negotiate_version(channel);
	if (!error)
		error = control(channel, &packet, "QUERY_PROPERTIES");
	if (!error && (packet.status != 0 || packet.u.properties.max_transfer < SOFTVM_PAGE))
		error = GUESTSCSI_BAD_REPLY;
	if (!error)
		error = simple_control(channel, VSTOR_END, "END_INITIALIZATION");
	if (error)
		return error;
	channel->scsi->max_transfer = packet.u.properties.max_transfer;
	allowed = packet.u.properties.flags & PROPERTY_MULTI_CHANNEL
			  ? packet.u.properties.max_channels
			  : 0;
	*ret_sub_channels = (uint16_t)(wanted - 1 < allowed ? wanted - 1 : allowed);
	if (*ret_sub_channels == 0)
		return 0;
	packet = (struct vstor_packet){
		.operation = VSTOR_SUB_CHANNELS,
		.u.sub_channels = *ret_sub_channels,
	};
	error = control(channel, &packet, "CREATE_SUB_CHANNELS");
	if (packet.status != 0)
		*ret_sub_channels = 0;
	return error;
}

static int open_channel(struct guestscsi *scsi, struct guestbus_channel *bus_channel,
			uint32_t ring_bytes)
{
	struct guestscsi_channel *channel = &scsi->channel[scsi->n_channels];
	pthread_condattr_t attributes;
	int error;

	channel->scsi = scsi;
	channel->bus = bus_channel;
	channel->index = scsi->n_channels;
	channel->queue_end = &channel->queue;
	pthread_mutex_init(&channel->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&channel->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	scsi->n_channels++;
	bus_channel->context = channel;
	bus_channel->on_signal = on_signal;
	if (bus_channel->state == GUESTBUS_OPEN)
		return 0;
	error = guestbus_prepare(bus_channel, ring_bytes);
	if (!error)
		error = guestbus_open(bus_channel,
				      channel->index % softvm_vps(guestbus_vm(scsi->bus)));
	return error;
}

int guestscsi_join(struct guestscsi *scsi, uint32_t controller, uint32_t channels,
		   uint32_t ring_bytes)
{
	struct guestbus_channel *primary = guestbus_primary(scsi->bus, GUESTBUS_SCSI, controller);
	const uint32_t first = scsi->n_channels, left = GUESTSCSI_CHANNELS - first;
	uint16_t sub_channels = 0;
	int error;

	if (!primary || left == 0) {
		fprintf(stderr, "guest: no SCSI controller %u is offered\n", controller);
		return GUESTSCSI_ABSENT;
	}
	error = open_channel(scsi, primary, ring_bytes);
	if (!error)
		error = handshake(&scsi->channel[first], channels < left ? channels : left,
				  &sub_channels);
	for (uint16_t i = 1; i <= sub_channels && !error; i++) {
		struct guestbus_channel *sub;

		error = guestbus_sub_channel(scsi->bus, primary, i, &sub);
		if (!error)
			error = open_channel(scsi, sub, ring_bytes);
	}
	return error;
}

int guestscsi_open(struct guestbus *bus, uint32_t controller, uint32_t channels,
		   uint32_t ring_bytes, struct guestscsi **ret_scsi)
{
	struct guestscsi *scsi = calloc(1, sizeof(*scsi));

	if (!scsi)
		return -ENOMEM;
	*ret_scsi = scsi;
	scsi->bus = bus;
	return guestscsi_join(scsi, controller, channels, ring_bytes);
}

/* Sub-channels first (B.9). */
int guestscsi_close(struct guestscsi *scsi)
{
	int error = 0;

	for (uint32_t i = scsi->n_channels; i-- > 0 && !error;)
		error = guestbus_close(scsi->channel[i].bus);
	return error;
}

/* ---- requests ----------------------------------------------------------------- */

int guestscsi_register(struct guestscsi *scsi, uint32_t index, struct guestscsi_request *request)
{
	struct guestscsi_channel *channel = &scsi->channel[index];
	int error = 0;

	pthread_mutex_lock(&channel->lock);
	if (channel->n_tags == GUESTSCSI_TAGS) {
		error = -ENOSPC;
	} else {
		request->tag = ++channel->n_tags;
		request->channel = channel;
		channel->by_tag[request->tag] = request;
	}
	pthread_mutex_unlock(&channel->lock);
	return error;
}

void guestscsi_abandon_locked(struct guestscsi *scsi, uint32_t channel)
{
	scsi->channel[channel].dead = true;
}

static void put_be(uint8_t *at, uint64_t value, uint32_t bytes)
{
	while (bytes-- > 0) {
		at[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

static uint64_t get_be(const uint8_t *at, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

void guestscsi_transfer_cdb(struct guestscsi_request *request, bool write, uint64_t block,
			    uint32_t blocks, bool wide)
{
	memset(request->cdb, 0, sizeof(request->cdb));
	request->direction = write ? GUESTSCSI_OUT : GUESTSCSI_IN;
	if (wide || block + blocks > UINT32_MAX || blocks > UINT16_MAX) {
		request->cdb_bytes = 16;
		request->cdb[0] = write ? 0x8A : 0x88;
		put_be(&request->cdb[2], block, 8);
		put_be(&request->cdb[10], blocks, 4);
	} else {
		request->cdb_bytes = 10;
		request->cdb[0] = write ? 0x2A : 0x28;
		put_be(&request->cdb[2], block, 4);
		put_be(&request->cdb[7], blocks, 2);
	}
}

void guestscsi_flush_cdb(struct guestscsi_request *request)
{
	memset(request->cdb, 0, sizeof(request->cdb));
	request->cdb[0] = 0x35;
	request->cdb_bytes = 10;
	request->direction = GUESTSCSI_NO_DATA;
}

static int probe_command(struct guestscsi *scsi, struct guestscsi_request *request, uint8_t code,
			 uint32_t bytes)
{
	memset(request->cdb, 0, sizeof(request->cdb));
	request->cdb[0] = code;
	request->bytes = bytes;
	request->direction = bytes > 0 ? GUESTSCSI_IN : GUESTSCSI_NO_DATA;
	request->cdb_bytes = 6;
	if (code == 0x12)
		request->cdb[4] = (uint8_t)bytes;
	if (code == 0x9E) {
		request->cdb_bytes = 16;
		request->cdb[1] = 0x10;
		put_be(&request->cdb[10], bytes, 4);
	}
	return guestscsi_execute(scsi, request);
}

int guestscsi_probe(struct guestscsi *scsi, uint8_t lun, struct guestscsi_disk *ret_disk)
{
	struct guestscsi_request *request = calloc(1, sizeof(*request));
	uint64_t *pfn = calloc(1, sizeof(*pfn));
	const uint8_t *data;
	int error;

	if (!request || !pfn)
		return -ENOMEM;
	error = softvm_pages(guestbus_vm(scsi->bus), 1, pfn);
	if (error)
		return error;
	request->pfns = pfn;
	request->lun = lun;
	data = softvm_view(guestbus_vm(scsi->bus), pfn, 1);
	error = guestscsi_register(scsi, 0, request);
	if (!error)
		error = probe_command(scsi, request, 0x12, 36);
	if (!error && (data[0] != 0 || request->transferred < 36))
		error = GUESTSCSI_ABSENT;
	if (!error)
		error = probe_command(scsi, request, 0x00, 0);
	if (!error)
		error = probe_command(scsi, request, 0x9E, 32);
	if (error) {
		fprintf(stderr, "guest: disk %u cannot be used\n", lun);
		return error;
	}
	ret_disk->blocks = get_be(data, 8) + 1;
	ret_disk->block_bytes = (uint32_t)get_be(data + 8, 4);
	return ret_disk->block_bytes == 512 || ret_disk->block_bytes == 4096 ? 0
									     : GUESTSCSI_BAD_REPLY;
}
