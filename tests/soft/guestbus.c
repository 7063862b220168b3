/* tests/soft/guestbus.c - requests go out from the caller's thread, answers
 * come in on the VP thread that takes the connection's messages.
 *
 * An answer is matched with a struct wait, which its caller keeps on its stack
 * and links into the bus while it waits: (type, key) names it, where the key is
 * what the protocol echoes (GPADL handle, relid). A wait is linked before its
 * request is posted. So each answer must find exactly one wait; one that finds
 * none was sent twice or never asked for, and is counted. A rescind ends the
 * waits for OPEN and MODIFY of its channel; GPADLs are answered all the same (B.8).
 *
 * Posting: statuses 0x0B, 0x12 and 0x13 mean "not now" (A.8) and are tried
 * again; a paravisor that is away is nothing else. */
#include "tests/soft/guestbus.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	VERSION_5_3 = 5 << 16 | 3,
	CONNECT_CONNECTION = 4, /* B.3: INITIATE_CONTACT of version 5.0 and later */
	FIRST_GPADL = 0xE1E10,	/* B.8: what Linux starts with */
	TELL_EVERY_S = 5,
	HEADER_PFNS = 26,
	BODY_PFNS = 28,
	RELEASE_STEP_MS = 10,
};

/* ba6163d9-04a1-4d29-b605-72e2ffb1dc7f */
const uint8_t GUESTBUS_SCSI[16] = {
	0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d,
	0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f,
};

struct wait {
	struct wait *next;
	uint32_t type, key, relid;
	const char *what;
	bool done;
	int error;
	uint32_t status, extra;
};

struct guestbus {
	struct softvm *vm;
	uint32_t patience_s, connection;
	_Atomic uint32_t next_gpadl, next_vp;
	struct guestbus_faults faults;
	pthread_mutex_t lock; /* of the members below */
	pthread_cond_t changed;
	struct wait *waits;
	uint32_t n_channels;
	struct guestbus_channel *channel[GUESTBUS_CHANNELS];
	/* Looked up by VP threads without the lock; set once. */
	struct guestbus_channel *_Atomic by_relid[SOFTVM_RELIDS];
};

struct guestbus_faults *guestbus_faults(struct guestbus *bus)
{
	return &bus->faults;
}

struct softvm *guestbus_vm(struct guestbus *bus)
{
	return bus->vm;
}

uint32_t guestbus_patience(const struct guestbus *bus)
{
	return bus->patience_s;
}

static void fault(_Atomic uint64_t *counter, const char *what, uint32_t type, uint32_t key)
{
	if (atomic_fetch_add(counter, 1) < 8)
		fprintf(stderr, "guest: %s: channel message %u, key %#x\n", what, type, key);
}

/* ---- waiting ------------------------------------------------------------------ */

static void wait_link(struct guestbus *bus, struct wait *wait)
{
	pthread_mutex_lock(&bus->lock);
	wait->next = bus->waits;
	bus->waits = wait;
	pthread_mutex_unlock(&bus->lock);
}

static void wait_unlink(struct guestbus *bus, struct wait *wait)
{
	struct wait **at = &bus->waits;

	while (*at != wait)
		at = &(*at)->next;
	*at = wait->next;
}

/* One step of waiting under the bus's lock; false: patience is over. */
static bool wait_step(struct guestbus *bus, const char *what, uint32_t relid, uint64_t since)
{
	struct timespec until;
	uint64_t waited;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += TELL_EVERY_S;
	if (pthread_cond_timedwait(&bus->changed, &bus->lock, &until) != ETIMEDOUT)
		return true;
	waited = (softvm_now_ns() - since) / UINT64_C(1000000000);
	fprintf(stderr, "guest: channel %u waits for %s since %" PRIu64 " s\n", relid, what,
		waited);
	return waited < bus->patience_s;
}

static int wait_end(struct guestbus *bus, struct wait *wait, int error)
{
	const uint64_t since = softvm_now_ns();

	pthread_mutex_lock(&bus->lock);
	while (!error && !wait->done)
		if (!wait_step(bus, wait->what, wait->relid, since))
			error = -ETIMEDOUT;
	wait_unlink(bus, wait);
	pthread_mutex_unlock(&bus->lock);
	if (error)
		return error;
	if (wait->error)
		return wait->error;
	if (wait->status == 0)
		return 0;
	fprintf(stderr, "guest: channel %u: %s: status %#x\n", wait->relid, wait->what,
		wait->status);
	return GUESTBUS_DENIED;
}

/* Called with the lock held. */
static bool answer(struct guestbus *bus, uint32_t type, uint32_t key, uint32_t status,
		   uint32_t extra)
{
	for (struct wait *wait = bus->waits; wait; wait = wait->next) {
		if (wait->type != type || wait->key != key || wait->done)
			continue;
		wait->done = true;
		wait->status = status;
		wait->extra = extra;
		pthread_cond_broadcast(&bus->changed);
		return true;
	}
	return false;
}

/* ---- messages out --------------------------------------------------------------- */

static int post(struct guestbus *bus, uint32_t connection, const void *message, uint32_t bytes)
{
	const uint32_t vp = atomic_fetch_add(&bus->next_vp, 1) % softvm_vps(bus->vm);
	const uint64_t since = softvm_now_ns();
	useconds_t pause = 1;

	for (;;) {
		uint16_t status;
		const int error = softvm_post(bus->vm, vp, connection, message, bytes, &status);

		if (error <= 0)
			return error;
		if (status != 0x0B && status != 0x12 && status != 0x13) {
			fprintf(stderr, "guest: HvPostMessage: status %#x\n", status);
			return GUESTBUS_DENIED;
		}
		if (softvm_now_ns() - since > bus->patience_s * UINT64_C(1000000000)) {
			fprintf(stderr, "guest: HvPostMessage: status %#x for too long\n", status);
			return -ETIMEDOUT;
		}
		usleep(pause);
		pause = pause < 4096 ? pause * 2 : pause;
	}
}

static int send(struct guestbus *bus, const void *message, uint32_t bytes)
{
	return post(bus, bus->connection, message, bytes);
}

static int ask(struct guestbus *bus, struct wait *wait, const void *message, uint32_t bytes)
{
	wait_link(bus, wait);
	return wait_end(bus, wait, send(bus, message, bytes));
}

/* ---- messages in ---------------------------------------------------------------- */

static struct guestbus_channel *channel_of(struct guestbus *bus, uint32_t relid)
{
	return relid < SOFTVM_RELIDS ? atomic_load(&bus->by_relid[relid]) : NULL;
}

static void take_offer(struct guestbus *bus, const struct bus_offer *offer)
{
	struct guestbus_channel *old = channel_of(bus, offer->relid);
	struct guestbus_channel *channel;

	if (offer->relid == 0 || offer->relid >= SOFTVM_RELIDS ||
	    bus->n_channels == GUESTBUS_CHANNELS) {
		fault(&bus->faults.malformed, "offer refused", BUS_OFFER, offer->relid);
		return;
	}
	if (old && !old->released) {
		fault(&bus->faults.unexpected, "offered twice", BUS_OFFER, offer->relid);
		if (!atomic_load(&old->rescinded))
			return;
		old->released = true; /* not by this bus: somebody else posts too */
	}
	channel = calloc(1, sizeof(*channel));
	if (!channel) {
		fault(&bus->faults.malformed, "no memory for an offer", BUS_OFFER, offer->relid);
		return;
	}
	channel->bus = bus;
	channel->relid = offer->relid;
	channel->connection = offer->connection;
	channel->index = offer->index;
	memcpy(channel->type, offer->type, sizeof(channel->type));
	memcpy(channel->instance, offer->instance, sizeof(channel->instance));
	bus->channel[bus->n_channels++] = channel;
	atomic_store(&bus->by_relid[offer->relid], channel);
	pthread_cond_broadcast(&bus->changed);
}

static void take_rescind(struct guestbus *bus, uint32_t relid)
{
	struct guestbus_channel *channel = channel_of(bus, relid);

	if (!channel || atomic_exchange(&channel->rescinded, true)) {
		fault(&bus->faults.unexpected, "rescinded, but not offered", BUS_RESCIND, relid);
		return;
	}
	for (struct wait *wait = bus->waits; wait; wait = wait->next) {
		const bool ends = wait->type == BUS_OPEN_RESULT || wait->type == BUS_MODIFIED;

		if (wait->relid == relid && ends && !wait->done) {
			wait->done = true;
			wait->error = GUESTBUS_RESCINDED;
		}
	}
	pthread_cond_broadcast(&bus->changed);
}

/* Answers, each by the shortest length a guest takes (B.5), the place of what
 * names the request, and the place of the status (0: it has none). */
static const struct {
	uint32_t type, bytes, key, status, extra;
} ANSWERS[] = {
	{BUS_ALL_OFFERS, 8, 0, 0, 0},	    {BUS_OPEN_RESULT, 20, 8, 16, 12},
	{BUS_GPADL_CREATED, 20, 12, 16, 8}, {BUS_GPADL_TORNDOWN, 12, 8, 0, 0},
	{BUS_UNLOADED, 8, 0, 0, 0},	    {BUS_MODIFIED, 16, 8, 12, 0},
};

static uint32_t word_at(const uint8_t *payload, uint32_t at)
{
	uint32_t word = 0;

	if (at != 0)
		memcpy(&word, payload + at, sizeof(word));
	return word;
}

static void take_answer(struct guestbus *bus, uint32_t type, const uint8_t *payload, uint32_t bytes)
{
	for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(ANSWERS[0]); i++) {
		if (ANSWERS[i].type != type)
			continue;
		if (bytes < ANSWERS[i].bytes) {
			fault(&bus->faults.malformed, "too short", type, bytes);
			return;
		}
		if (!answer(bus, type, word_at(payload, ANSWERS[i].key),
			    word_at(payload, ANSWERS[i].status),
			    word_at(payload, ANSWERS[i].extra)))
			fault(&bus->faults.unexpected, "nobody waits for it", type,
			      word_at(payload, ANSWERS[i].key));
		return;
	}
	fault(&bus->faults.unexpected, "unknown type", type, 0);
}

static void take_version(struct guestbus *bus, const uint8_t *payload, uint32_t bytes)
{
	struct bus_version version = {.supported = 0};

	if (bytes < sizeof(version)) {
		fault(&bus->faults.malformed, "too short", BUS_VERSION, bytes);
		return;
	}
	memcpy(&version, payload, sizeof(version));
	if (!answer(bus, BUS_VERSION, 0, version.supported == 1 ? version.state : 0xff,
		    version.connection))
		fault(&bus->faults.unexpected, "nobody waits for it", BUS_VERSION, 0);
}

static void on_message(void *context, const uint8_t *payload, uint32_t bytes)
{
	struct guestbus *bus = context;
	struct bus_header header;
	struct bus_offer offer;

	if (bytes < sizeof(struct bus_header)) {
		fault(&bus->faults.malformed, "too short", 0, bytes);
		return;
	}
	memcpy(&header, payload, sizeof(header));
	pthread_mutex_lock(&bus->lock);
	switch (header.type) {
	case BUS_OFFER:
		memset(&offer, 0, sizeof(offer));
		memcpy(&offer, payload, bytes < sizeof(offer) ? bytes : sizeof(offer));
		take_offer(bus, &offer);
		break;
	case BUS_RESCIND:
		take_rescind(bus, bytes < sizeof(struct bus_relid) ? 0 : word_at(payload, 8));
		break;
	case BUS_VERSION:
		take_version(bus, payload, bytes);
		break;
	default:
		take_answer(bus, header.type, payload, bytes);
	}
	pthread_mutex_unlock(&bus->lock);
}

static void on_flag(void *context, uint32_t vp, uint32_t relid)
{
	struct guestbus *bus = context;
	struct guestbus_channel *channel = channel_of(bus, relid);

	(void)vp;
	if (channel && channel->on_signal)
		channel->on_signal(channel->context);
	else
		atomic_fetch_add(&bus->faults.stray_flags, 1);
}

/* ---- connection ------------------------------------------------------------------ */

static int initiate(struct guestbus *bus)
{
	const struct bus_initiate initiate = {
		.header.type = BUS_INITIATE,
		.version = VERSION_5_3,
		.sint = SOFTVM_SINT,
	};
	const struct bus_header request = {.type = BUS_REQUEST_OFFERS};
	struct wait version = {.type = BUS_VERSION, .what = "VERSION_RESPONSE"};
	struct wait offers = {.type = BUS_ALL_OFFERS, .what = "ALLOFFERS_DELIVERED"};
	int error;

	wait_link(bus, &version);
	error = wait_end(bus, &version,
			 post(bus, CONNECT_CONNECTION, &initiate, (uint32_t)sizeof(initiate)));
	bus->connection = version.extra;
	return error ? error : ask(bus, &offers, &request, (uint32_t)sizeof(request));
}

int guestbus_connect(struct softvm *vm, uint32_t patience_s, struct guestbus **ret_bus)
{
	struct guestbus *bus = calloc(1, sizeof(*bus));
	struct softvm_handlers handlers = {.context = bus, .message = on_message, .flag = on_flag};
	pthread_condattr_t attributes;
	int error;

	if (!bus)
		return -ENOMEM;
	bus->vm = vm;
	bus->patience_s = patience_s;
	atomic_store(&bus->next_gpadl, FIRST_GPADL);
	pthread_mutex_init(&bus->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&bus->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	error = softvm_start(vm, &handlers);
	if (!error)
		error = initiate(bus);
	*ret_bus = bus;
	return error;
}

int guestbus_disconnect(struct guestbus *bus)
{
	const struct bus_header unload = {.type = BUS_UNLOAD};
	struct wait wait = {.type = BUS_UNLOADED, .what = "UNLOAD_RESPONSE"};
	int error = ask(bus, &wait, &unload, (uint32_t)sizeof(unload));

	if (!error)
		error = softvm_stop(bus->vm);
	if (error)
		return error;
	for (uint32_t i = 0; i < bus->n_channels; i++)
		free(bus->channel[i]);
	free(bus);
	return 0;
}

/* ---- channels --------------------------------------------------------------------- */

struct guestbus_channel *guestbus_primary(struct guestbus *bus, const uint8_t *type, uint32_t n)
{
	struct guestbus_channel *found = NULL;

	pthread_mutex_lock(&bus->lock);
	for (uint32_t i = 0; i < bus->n_channels && !found; i++) {
		struct guestbus_channel *channel = bus->channel[i];

		if (channel->index == 0 && !channel->released &&
		    memcmp(channel->type, type, 16) == 0 && n-- == 0)
			found = channel;
	}
	pthread_mutex_unlock(&bus->lock);
	return found;
}

static struct guestbus_channel *find_sub(struct guestbus *bus,
					 const struct guestbus_channel *primary, uint16_t index)
{
	for (uint32_t i = 0; i < bus->n_channels; i++) {
		struct guestbus_channel *channel = bus->channel[i];

		if (channel->index == index && !atomic_load(&channel->rescinded) &&
		    memcmp(channel->instance, primary->instance, 16) == 0)
			return channel;
	}
	return NULL;
}

int guestbus_sub_channel(struct guestbus *bus, const struct guestbus_channel *primary,
			 uint16_t index, struct guestbus_channel **ret_channel)
{
	const uint64_t since = softvm_now_ns();
	struct guestbus_channel *channel;
	int error = 0;

	pthread_mutex_lock(&bus->lock);
	while (!(channel = find_sub(bus, primary, index)) && !error)
		if (!wait_step(bus, "a sub-channel's offer", primary->relid, since))
			error = -ETIMEDOUT;
	pthread_mutex_unlock(&bus->lock);
	*ret_channel = channel;
	return error;
}

struct guestbus_channel *guestbus_offered_sub(struct guestbus *bus,
					      const struct guestbus_channel *primary,
					      uint16_t index)
{
	struct guestbus_channel *channel;

	pthread_mutex_lock(&bus->lock);
	channel = find_sub(bus, primary, index);
	pthread_mutex_unlock(&bus->lock);
	return channel;
}

static int send_bodies(struct guestbus *bus, uint32_t gpadl, const uint64_t *pfns, uint32_t pages)
{
	int error = 0;

	for (uint32_t number = 0; pages > 0 && !error; number++) {
		const uint32_t n = pages < BODY_PFNS ? pages : BODY_PFNS;
		struct bus_gpadl_body body = {
			.header.type = BUS_GPADL_BODY,
			.number = number,
			.gpadl = gpadl,
		};

		memcpy(body.pfn, pfns, n * sizeof(*pfns));
		error = send(bus, &body, 16 + n * (uint32_t)sizeof(*pfns));
		pfns += n;
		pages -= n;
	}
	return error;
}

int guestbus_gpadl_create(struct guestbus_channel *channel, const uint64_t *pfns, uint32_t pages,
			  uint32_t *ret_gpadl)
{
	struct guestbus *bus = channel->bus;
	const uint32_t gpadl = atomic_fetch_add(&bus->next_gpadl, 1);
	const uint32_t n = pages < HEADER_PFNS ? pages : HEADER_PFNS;
	struct wait wait = {
		.type = BUS_GPADL_CREATED,
		.key = gpadl,
		.relid = channel->relid,
		.what = "GPADL_CREATED",
	};
	struct bus_gpadl_header header = {
		.header.type = BUS_GPADL_HEADER,
		.relid = channel->relid,
		.gpadl = gpadl,
		.range_bytes = (uint16_t)(8 + pages * sizeof(*pfns)),
		.ranges = 1,
		.byte_count = pages * SOFTVM_PAGE,
	};
	int error;

	if (pages == 0 || pages > GUESTBUS_GPADL_PAGES)
		return -EINVAL;
	memcpy(header.pfn, pfns, n * sizeof(*pfns));
	wait_link(bus, &wait);
	error = send(bus, &header, 28 + n * (uint32_t)sizeof(*pfns));
	if (!error)
		error = send_bodies(bus, gpadl, pfns + n, pages - n);
	error = wait_end(bus, &wait, error);
	if (!error && wait.extra != channel->relid)
		fault(&bus->faults.malformed, "another channel's relid", BUS_GPADL_CREATED,
		      wait.extra);
	*ret_gpadl = gpadl;
	return error;
}

int guestbus_gpadl_teardown(struct guestbus_channel *channel, uint32_t gpadl)
{
	const struct bus_gpadl_teardown teardown = {
		.header.type = BUS_GPADL_TEARDOWN,
		.relid = channel->relid,
		.gpadl = gpadl,
	};
	struct wait wait = {
		.type = BUS_GPADL_TORNDOWN,
		.key = gpadl,
		.relid = channel->relid,
		.what = "GPADL_TORNDOWN",
	};

	return ask(channel->bus, &wait, &teardown, (uint32_t)sizeof(teardown));
}

int guestbus_prepare(struct guestbus_channel *channel, uint32_t bytes)
{
	struct softvm *vm = channel->bus->vm;
	const uint32_t pages = bytes / SOFTVM_PAGE + 1;
	uint64_t *pfns = calloc(pages * 2, sizeof(*pfns));
	void *view;
	int error;

	if (!pfns)
		return -ENOMEM;
	error = softvm_pages(vm, pages * 2, pfns);
	view = error ? NULL : softvm_view(vm, pfns, pages * 2);
	if (!error && !view)
		error = -ENOMEM;
	if (!error)
		error = guestbus_gpadl_create(channel, pfns, pages * 2, &channel->gpadl);
	if (!error)
		guestring_init(&channel->ring, view, pages, pages);
	free(pfns);
	return error;
}

int guestbus_open(struct guestbus_channel *channel, uint32_t vp)
{
	const struct bus_open open = {
		.header.type = BUS_OPEN,
		.relid = channel->relid,
		.openid = channel->relid,
		.gpadl = channel->gpadl,
		.target_vp = vp,
		.downstream_page = channel->ring.out.size / SOFTVM_PAGE + 1,
	};
	struct wait wait = {
		.type = BUS_OPEN_RESULT,
		.key = channel->relid,
		.relid = channel->relid,
		.what = "OPENCHANNEL_RESULT",
	};
	int error;

	channel->vp = vp;
	channel->state = GUESTBUS_OPEN;
	error = ask(channel->bus, &wait, &open, (uint32_t)sizeof(open));
	if (error)
		channel->state = GUESTBUS_CLOSED;
	else if (wait.extra != channel->relid)
		fault(&channel->bus->faults.malformed, "openid not echoed", BUS_OPEN_RESULT,
		      wait.extra);
	return error;
}

int guestbus_close(struct guestbus_channel *channel)
{
	const struct bus_relid close = {.header.type = BUS_CLOSE, .relid = channel->relid};
	int error;

	if (channel->state != GUESTBUS_OPEN)
		return 0;
	channel->state = GUESTBUS_CLOSED;
	error = send(channel->bus, &close, (uint32_t)sizeof(close));
	if (!error)
		error = guestbus_gpadl_teardown(channel, channel->gpadl);
	return error == GUESTBUS_RESCINDED ? 0 : error;
}

int guestbus_modify(struct guestbus_channel *channel, uint32_t vp)
{
	const struct bus_modify modify = {
		.header.type = BUS_MODIFY,
		.relid = channel->relid,
		.target_vp = vp,
	};
	struct wait wait = {
		.type = BUS_MODIFIED,
		.key = channel->relid,
		.relid = channel->relid,
		.what = "MODIFYCHANNEL_RESPONSE",
	};
	const int error = ask(channel->bus, &wait, &modify, (uint32_t)sizeof(modify));

	if (!error)
		channel->vp = vp;
	return error;
}

static uint32_t release_once(struct guestbus *bus, int *ret_error)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < bus->n_channels && !*ret_error; i++) {
		struct guestbus_channel *channel = bus->channel[i];
		const struct bus_relid released = {.header.type = BUS_RELEASED,
						   .relid = channel->relid};

		if (channel->released || channel->state == GUESTBUS_OPEN)
			continue;
		if (!atomic_load(&channel->rescinded)) {
			kept += channel->index != 0;
			continue;
		}
		channel->released = true;
		*ret_error = send(bus, &released, (uint32_t)sizeof(released));
	}
	return kept;
}

int guestbus_release(struct guestbus *bus, uint32_t milliseconds, uint32_t *ret_kept)
{
	const uint64_t since = softvm_now_ns();
	int error = 0;

	for (;;) {
		*ret_kept = release_once(bus, &error);
		if (error || *ret_kept == 0 ||
		    softvm_now_ns() - since > milliseconds * UINT64_C(1000000))
			return error;
		usleep(RELEASE_STEP_MS * 1000);
	}
}

void guestbus_signal(struct guestbus_channel *channel)
{
	softvm_signal(channel->bus->vm, channel->vp, channel->connection);
}
