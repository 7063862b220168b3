/* tests/soft/guestbus.h - a VMBus client (protocol.md B.3 to B.9).
 *
 * One bus on one softvm. Every function that waits for an answer says every
 * five seconds on stderr who waits for what, and gives up with -ETIMEDOUT when
 * the bus's patience is over: a paravisor that is away for less is not
 * noticed. Any thread but the VP threads may call them, several at once for
 * different channels. Channels are made by offers and live as long as the bus. */
#ifndef TESTS_SOFT_GUESTBUS_H
#define TESTS_SOFT_GUESTBUS_H

#include "tests/soft/guestring.h"
#include "tests/soft/softvm.h"

enum {
	GUESTBUS_CHANNELS = 8192, /* offers of a whole run */
	GUESTBUS_GPADL_PAGES = 8190, /* range_buflen is 16 bits */
};

enum guestbus_condition {
	GUESTBUS_DENIED = 16,	 /* the server's status is not 0; it was told on stderr */
	GUESTBUS_RESCINDED = 17, /* the channel was taken away while waiting */
};

enum guestbus_state { GUESTBUS_OFFERED = 0, GUESTBUS_OPEN = 1, GUESTBUS_CLOSED = 2 };

struct guestbus;

struct guestbus_channel {
	struct guestbus *bus;
	uint32_t relid, connection;
	uint8_t type[16], instance[16];
	uint16_t index;	     /* 0: primary */
	_Atomic uint32_t vp; /* interrupts go there */
	_Atomic bool rescinded, released;
	_Atomic enum guestbus_state state;
	uint32_t gpadl; /* of the rings */
	struct guestring ring;
	/* Called on a VP thread for each event flag, also after the channel was
	 * closed; `context` is set first, both before the channel is opened. */
	void (*_Atomic on_signal)(void *context);
	void *context;
};

/* Things a server must not do; each is told on stderr when it happens. */
struct guestbus_faults {
	_Atomic uint64_t unexpected; /* an answer nobody waits for, an offer twice */
	_Atomic uint64_t malformed;  /* too short, wrong contents */
	_Atomic uint64_t
		stray_flags; /* event flag of a channel that is not open: allowed, counted */
};

extern const uint8_t GUESTBUS_SCSI[16]; /* interface type, as it is in an offer */

/* INITIATE_CONTACT 5.3, REQUESTOFFERS. On success the VP threads run. */
int guestbus_connect(struct softvm *vm, uint32_t patience_s, struct guestbus **ret_bus);

/* UNLOAD, SynIC off. Channels must be closed. `bus` is gone afterwards. */
int guestbus_disconnect(struct guestbus *bus);

struct guestbus_faults *guestbus_faults(struct guestbus *bus);
struct softvm *guestbus_vm(struct guestbus *bus);
uint32_t guestbus_patience(const struct guestbus *bus);

/* The n-th primary offer of a type, in the order of arrival. NULL: none. */
struct guestbus_channel *guestbus_primary(struct guestbus *bus, const uint8_t *type, uint32_t n);

/* Sub-channel `index` of a primary; waits for its offer. */
int guestbus_sub_channel(struct guestbus *bus, const struct guestbus_channel *primary,
			 uint16_t index, struct guestbus_channel **ret_channel);

/* The same without waiting. NULL: it is not offered. */
struct guestbus_channel *guestbus_offered_sub(struct guestbus *bus,
					      const struct guestbus_channel *primary,
					      uint16_t index);

/* One range over whole pages. *ret_gpadl is the handle the server accepted. */
int guestbus_gpadl_create(struct guestbus_channel *channel, const uint64_t *pfns, uint32_t pages,
			  uint32_t *ret_gpadl);
int guestbus_gpadl_teardown(struct guestbus_channel *channel, uint32_t gpadl);

/* Rings of `bytes` data each way: memory and GPADL, then OPENCHANNEL. */
int guestbus_prepare(struct guestbus_channel *channel, uint32_t bytes);
int guestbus_open(struct guestbus_channel *channel, uint32_t vp);

/* CLOSECHANNEL and the teardown of the ring's GPADL. */
int guestbus_close(struct guestbus_channel *channel);
int guestbus_modify(struct guestbus_channel *channel, uint32_t vp);

/* RELID_RELEASED for each channel that was rescinded and is closed. Waits at
 * most `milliseconds` for the sub-channels of a closed primary to be rescinded;
 * *ret_kept: how many were not. */
int guestbus_release(struct guestbus *bus, uint32_t milliseconds, uint32_t *ret_kept);

/* HvSignalEvent. */
void guestbus_signal(struct guestbus_channel *channel);

/* ---- channel messages (B.5), here for the test of their layout ------------------ */
enum guestbus_message {
	BUS_OFFER = 1,
	BUS_RESCIND = 2,
	BUS_REQUEST_OFFERS = 3,
	BUS_ALL_OFFERS = 4,
	BUS_OPEN = 5,
	BUS_OPEN_RESULT = 6,
	BUS_CLOSE = 7,
	BUS_GPADL_HEADER = 8,
	BUS_GPADL_BODY = 9,
	BUS_GPADL_CREATED = 10,
	BUS_GPADL_TEARDOWN = 11,
	BUS_GPADL_TORNDOWN = 12,
	BUS_RELEASED = 13,
	BUS_INITIATE = 14,
	BUS_VERSION = 15,
	BUS_UNLOAD = 16,
	BUS_UNLOADED = 17,
	BUS_MODIFY = 22,
	BUS_MODIFIED = 24,
};

struct bus_header {
	uint32_t type, padding;
};
struct bus_initiate {
	struct bus_header header;
	uint32_t version, target_vp;
	uint8_t sint, vtl;
	uint16_t reserved;
	uint32_t features;
	uint64_t monitor_to_child, monitor_to_parent;
};
struct bus_version {
	struct bus_header header;
	uint8_t supported, state;
	uint16_t reserved;
	uint32_t connection;
};
struct bus_offer {
	struct bus_header header;
	uint8_t type[16], instance[16], reserved[16];
	uint16_t flags, mmio;
	uint8_t user[120];
	uint16_t index, mmio_optional;
	uint32_t relid;
	uint8_t monitor, monitor_allocated;
	uint16_t dedicated;
	uint32_t connection;
};
struct bus_relid {
	struct bus_header header;
	uint32_t relid;
};
struct bus_open {
	struct bus_header header;
	uint32_t relid, openid, gpadl, target_vp, downstream_page;
	uint8_t user[120];
};
struct bus_open_result {
	struct bus_header header;
	uint32_t relid, openid, status;
};
struct bus_gpadl_header {
	struct bus_header header;
	uint32_t relid, gpadl;
	uint16_t range_bytes, ranges;
	uint32_t byte_count, byte_offset;
	uint64_t pfn[26];
} __attribute__((packed));
struct bus_gpadl_body {
	struct bus_header header;
	uint32_t number, gpadl;
	uint64_t pfn[28];
};
struct bus_gpadl_created {
	struct bus_header header;
	uint32_t relid, gpadl, status;
};
struct bus_gpadl_teardown {
	struct bus_header header;
	uint32_t relid, gpadl;
};
struct bus_gpadl_torndown {
	struct bus_header header;
	uint32_t gpadl;
};
struct bus_modify {
	struct bus_header header;
	uint32_t relid, target_vp;
};
struct bus_modified {
	struct bus_header header;
	uint32_t relid, status;
};

#endif
