/* tests/soft/guestic.c - one answer for each message, in the same packet, as
 * drivers/hv/hv_util.c gives it. Whatever is not as protocol.md J has it is
 * malformed; a sequence that does not grow and a message before the versions
 * are agreed are, too. */
#include "tests/soft/guestic.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COMPONENTS = 3, VERSIONS = 4, RING_BYTES = 3 * 4096, TELL_MAX = 8 };
enum { NEGOTIATE = 0, HEARTBEAT = 1, SHUTDOWN = 3, TIMESYNC = 4 };
enum { PIPE_DATA = 1, REQUEST = 3, RESPONSE = 5, SYNC = 1, SAMPLE = 2, V4 = 4 << 16 };
#define EPOCH_1601 UINT64_C(116444736000000000) /* 100 ns, up to 1970 */

struct ic_message {
	uint32_t pipe_type, pipe_bytes;
	uint16_t framework[2], type, version[2], bytes;
	uint32_t status;
	uint8_t transaction, flags;
	uint16_t reserved;
};
_Static_assert(sizeof(struct ic_message) == 28, "protocol.md J");

struct ic_negotiate {
	uint16_t frameworks, versions;
	uint32_t reserved;
	uint16_t version[2 + VERSIONS][2];
};

static const struct kind {
	const char *name;
	uint16_t type;
	uint32_t body;
	uint8_t guid[16];
	uint32_t version[VERSIONS]; /* newest first; 0: no more */
} KINDS[COMPONENTS] = {
	{"shutdown",
	 SHUTDOWN,
	 2060,
	 {0x31, 0x60, 0x0b, 0x0e, 0x13, 0x52, 0x34, 0x49, 0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39,
	  0xdb},
	 {3 << 16 | 2, 3 << 16 | 1, 3 << 16, 1 << 16}},
	{"heartbeat",
	 HEARTBEAT,
	 8,
	 {0x39, 0x4f, 0x16, 0x57, 0x15, 0x91, 0x78, 0x4e, 0xab, 0x55, 0x38, 0x2f, 0x3b, 0xd5, 0x42,
	  0x2d},
	 {3 << 16, 1 << 16, 0, 0}},
	{"timesync",
	 TIMESYNC,
	 22,
	 {0x30, 0xe6, 0x27, 0x95, 0xae, 0xd0, 0x7b, 0x49, 0xad, 0xce, 0xe8, 0x0a, 0xb0, 0x17, 0x5c,
	  0xaf},
	 {4 << 16, 3 << 16, 1 << 16, 0}},
};

struct component {
	struct guestic *ic;
	const struct kind *kind;
	struct guestbus_channel *channel;
	uint32_t version;
	bool dead; /* its ring is broken */
};

struct guestic {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct component component[COMPONENTS];
	struct guestic_result result;
	uint64_t sequence;
	struct guestring_received packet;
};

static bool malformed(struct component *c, const char *what, uint64_t detail)
{
	if (c->ic->result.malformed++ < TELL_MAX)
		fprintf(stderr, "guest: %s: %s: %#" PRIx64 "\n", c->kind->name, what, detail);
	return false;
}

/* ---- what a message says --------------------------------------------------- */

static uint32_t choose(const struct ic_negotiate *n, uint32_t first, uint32_t count,
		       const uint32_t *known)
{
	for (uint32_t k = 0; k < VERSIONS && known[k] != 0; k++)
		for (uint32_t i = first; i < first + count; i++)
			if (((uint32_t)n->version[i][0] << 16 | n->version[i][1]) == known[k])
				return known[k];
	return 0;
}

static void put_version(uint16_t at[2], uint32_t version)
{
	at[0] = (uint16_t)(version >> 16);
	at[1] = (uint16_t)version;
}

static bool negotiate(struct component *c, uint8_t *body, uint32_t bytes)
{
	static const uint32_t frameworks[VERSIONS] = {3 << 16, 1 << 16, 0, 0};
	struct ic_negotiate n;
	uint32_t framework;

	memset(&n, 0, sizeof(n));
	memcpy(&n, body, bytes < sizeof(n) ? bytes : sizeof(n));
	if (bytes < 8 || n.frameworks > 2 || n.versions > VERSIONS ||
	    bytes < 8 + 4u * (n.frameworks + n.versions))
		return malformed(c, "negotiation of this length", bytes);
	framework = choose(&n, 0, n.frameworks, frameworks);
	c->version = choose(&n, n.frameworks, n.versions, c->kind->version);
	if (framework == 0 || c->version == 0)
		return malformed(c, "no version in common", 0);
	n.frameworks = n.versions = 1;
	put_version(n.version[0], framework);
	put_version(n.version[1], c->version);
	memcpy(body, &n, 16);
	return true;
}

static bool beat(struct component *c, uint8_t *body)
{
	uint64_t sequence;

	memcpy(&sequence, body, sizeof(sequence));
	if (sequence <= c->ic->sequence)
		return malformed(c, "a sequence that does not grow", sequence);
	c->ic->sequence = ++sequence;
	memcpy(body, &sequence, sizeof(sequence));
	c->ic->result.beats++;
	return true;
}

static bool take_time(struct component *c, const uint8_t *body, uint32_t bytes)
{
	struct guestic_result *result = &c->ic->result;
	const uint32_t at = c->version >= V4 ? 16 : 24;
	struct timespec now;
	uint64_t time;
	int64_t off;

	clock_gettime(CLOCK_REALTIME, &now);
	if (bytes <= at || (body[at] != SYNC && body[at] != SAMPLE))
		return malformed(c, "flags, or no flags", bytes > at ? body[at] : 0);
	memcpy(&time, body, sizeof(time));
	off = (int64_t)((time - EPOCH_1601) * 100) - now.tv_sec * INT64_C(1000000000) - now.tv_nsec;
	if (llabs(off) > result->worst_ns)
		result->worst_ns = llabs(off);
	result->syncs += body[at] == SYNC;
	result->samples += body[at] == SAMPLE;
	return true;
}

static bool end_guest(struct component *c, const uint8_t *body)
{
	uint32_t flags;

	memcpy(&flags, body + 8, sizeof(flags));
	if (flags > 1)
		return malformed(c, "not a power off", flags);
	if (memchr(body + 12, 0, 2048) == NULL)
		return malformed(c, "a text without an end", 0);
	c->ic->result.shutdown = true;
	return true;
}

static bool obey(struct component *c, const struct ic_message *m, uint8_t *body)
{
	const uint32_t bytes = m->pipe_bytes - 20;

	if (m->type == NEGOTIATE)
		return negotiate(c, body, bytes);
	if (m->type != c->kind->type || c->version == 0)
		return malformed(c, "a message of another kind, or too early", m->type);
	if (bytes < c->kind->body || m->bytes != bytes)
		return malformed(c, "a body of this length", bytes);
	if (m->type == HEARTBEAT)
		return beat(c, body);
	return m->type == TIMESYNC ? take_time(c, body, bytes) : end_guest(c, body);
}

/* ---- packets --------------------------------------------------------------- */

static void take_packet(struct component *c)
{
	struct guestring_received *packet = &c->ic->packet;
	const struct guestring_packet answer = {
		.type = GUESTRING_INBAND,
		.id = packet->id,
		.payload = packet->payload,
		.payload_bytes = packet->bytes,
	};
	struct ic_message m;
	bool signal;

	if (packet->type != GUESTRING_INBAND || packet->flags != 0 || packet->bytes < sizeof(m)) {
		malformed(c, "a packet of this type and length",
			  (uint64_t)packet->type << 32 | packet->bytes);
		return;
	}
	memcpy(&m, packet->payload, sizeof(m));
	if (m.pipe_type != PIPE_DATA || m.pipe_bytes < 20 || m.pipe_bytes > packet->bytes - 8 ||
	    m.flags != REQUEST) {
		malformed(c, "a message with this length and flags",
			  (uint64_t)m.pipe_bytes << 32 | m.flags);
		return;
	}
	if (!obey(c, &m, packet->payload + sizeof(m)))
		return;
	m.flags = RESPONSE;
	m.status = 0;
	memcpy(packet->payload, &m, sizeof(m));
	if (guestring_send(&c->channel->ring, &answer, &signal) != 0)
		malformed(c, "no room for an answer", 0);
	else if (signal)
		guestbus_signal(c->channel);
}

static void on_signal(void *context)
{
	struct component *c = context;
	struct guestring *ring = &c->channel->ring;
	bool more = true;

	pthread_mutex_lock(&c->ic->lock);
	while (more && !c->dead && c->channel->state == GUESTBUS_OPEN) {
		int error;

		guestring_mask(ring);
		while ((error = guestring_receive(ring, &c->ic->packet)) == 0)
			take_packet(c);
		if (guestring_publish(ring))
			guestbus_signal(c->channel);
		c->dead = error == GUESTRING_BROKEN;
		if (c->dead)
			malformed(c, guestring_fault(ring), ring->read);
		more = guestring_unmask(ring);
	}
	pthread_cond_broadcast(&c->ic->changed);
	pthread_mutex_unlock(&c->ic->lock);
}

/* ---- life ------------------------------------------------------------------ */

static int open_component(struct guestic *ic, struct guestbus *bus, uint32_t n)
{
	struct component *c = &ic->component[n];
	int error;

	*c = (struct component){.ic = ic, .kind = &KINDS[n]};
	c->channel = guestbus_primary(bus, c->kind->guid, 0);
	if (!c->channel) {
		fprintf(stderr, "guest: %s is not offered\n", c->kind->name);
		return GUESTBUS_DENIED;
	}
	c->channel->context = c;
	c->channel->on_signal = on_signal;
	error = guestbus_prepare(c->channel, RING_BYTES);
	return error ? error : guestbus_open(c->channel, n % softvm_vps(guestbus_vm(bus)));
}

int guestic_open(struct guestbus *bus, struct guestic **ret_ic)
{
	struct guestic *ic = calloc(1, sizeof(*ic));
	pthread_condattr_t attributes;
	int error = 0;

	if (!ic)
		return -ENOMEM;
	pthread_mutex_init(&ic->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&ic->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	*ret_ic = ic;
	for (uint32_t i = 0; i < COMPONENTS && !error; i++)
		error = open_component(ic, bus, i);
	return error;
}

int guestic_wait(struct guestic *ic, uint32_t seconds)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&ic->lock);
	while (!ic->result.shutdown && error == 0)
		error = pthread_cond_timedwait(&ic->changed, &ic->lock, &until);
	error = ic->result.shutdown ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&ic->lock);
	return error;
}

struct guestic_result guestic_result(struct guestic *ic)
{
	struct guestic_result result;

	pthread_mutex_lock(&ic->lock);
	result = ic->result;
	result.shutdown_version = ic->component[0].version;
	result.heartbeat_version = ic->component[1].version;
	result.timesync_version = ic->component[2].version;
	pthread_mutex_unlock(&ic->lock);
	return result;
}

int guestic_close(struct guestic *ic)
{
	int error = 0;

	for (uint32_t i = 0; i < COMPONENTS && !error; i++)
		error = guestbus_close(ic->component[i].channel);
	return error;
}
