/* tests/soft/guestscsi.h - a SCSI controller over VMBus, seen by the guest
 * (protocol.md C.1 to C.4).
 *
 * A controller is a primary channel and its sub-channels, each with a table of
 * requests of its own. A request belongs to one channel; its memory is the
 * caller's and lives until the controller is closed. Transaction ids are never
 * used again, so that each completion is told apart from every earlier one.
 *
 * Threads: `done` is called on a VP thread with the channel's lock held; it may
 * call guestscsi_submit_locked() for requests of the same channel and must not
 * block. All else is for other threads. */
#ifndef TESTS_SOFT_GUESTSCSI_H
#define TESTS_SOFT_GUESTSCSI_H

#include "tests/soft/guestbus.h"

enum {
	GUESTSCSI_CHANNELS = 64,
	GUESTSCSI_TAGS = 1024, /* requests of one channel */
	GUESTSCSI_PAGES = 257, /* of one request */
	GUESTSCSI_SENSE = 20,
	GUESTSCSI_VSTOR = 64, /* bytes of a storage packet */
};

enum guestscsi_condition {
	GUESTSCSI_ABSENT = 32,	  /* no such controller or disk */
	GUESTSCSI_BAD_REPLY = 33, /* told on stderr */
};

enum guestscsi_direction { GUESTSCSI_OUT = 0, GUESTSCSI_IN = 1, GUESTSCSI_NO_DATA = 2 };

enum guestscsi_outcome {
	GUESTSCSI_GOOD = 0,
	GUESTSCSI_AGAIN = 1, /* BUSY or UNIT ATTENTION: the caller submits it again */
	GUESTSCSI_FAILED = 2,
};

struct guestscsi_channel;
struct guestscsi;

struct guestscsi_request {
	/* The caller's. */
	uint8_t cdb[16], cdb_bytes, path, target, lun;
	enum guestscsi_direction direction;
	bool untagged; /* no queue action, as Linux sends before it knows the unit */
	uint32_t bytes, offset; /* of the data; offset in the first page */
	const uint64_t *pfns;	/* as many as bytes and offset need */
	bool raw;		/* the caller judges: not tried again, no failure told or counted */
	void (*done)(struct guestscsi_request *request);
	void *context;
	/* guestscsi's. */
	struct guestscsi_channel *channel;
	struct guestscsi_request *next;
	uint64_t id, issued_ns;
	uint32_t tag;
	bool in_flight;
	/* The result. */
	enum guestscsi_outcome outcome;
	uint32_t transferred;
	uint8_t srb_status, scsi_status, sense_bytes, sense[GUESTSCSI_SENSE];
};

/* A request as it goes into a ring; `packet` points into the other members. */
struct guestscsi_wire {
	struct guestring_packet packet;
	uint32_t reserved, ranges, bytes, offset; /* one range, as it lies in the ring */
	uint64_t pfn[GUESTSCSI_PAGES];
	uint8_t vstor[GUESTSCSI_VSTOR];
};

/* Pure: no channel is touched. decode fills the request's result and returns its
 * outcome; the reply is a whole storage packet. */
void guestscsi_encode(const struct guestscsi_request *request, struct guestscsi_wire *ret_wire);
enum guestscsi_outcome guestscsi_decode(const uint8_t reply[GUESTSCSI_VSTOR],
					struct guestscsi_request *request);

/* Rules a server must keep. Each breach is told on stderr, the first ones in full. */
struct guestscsi_faults {
	_Atomic uint64_t doubles;   /* completion of an unknown, finished or another channel's id */
	_Atomic uint64_t malformed; /* a broken ring, a wrong type, size, operation or length */
	_Atomic uint64_t errors;    /* FAILED */
	_Atomic uint64_t busy, attention; /* AGAIN: allowed, counted */
	_Atomic uint64_t unsolicited;	  /* bus enumeration and the like: allowed, counted */
};

struct guestscsi_disk {
	uint64_t blocks;
	uint32_t block_bytes;
};

/* Handshake on the n-th controller, then sub-channels up to `channels` in all
 * as far as the server allows. Channel i interrupts VP i modulo VPs. A primary
 * channel that is open already is taken as it is. */
int guestscsi_open(struct guestbus *bus, uint32_t controller, uint32_t channels,
		   uint32_t ring_bytes, struct guestscsi **ret_scsi);

/* The same for another controller, whose channels come behind those that are
 * open. Its LUNs are its own. */
int guestscsi_join(struct guestscsi *scsi, uint32_t controller, uint32_t channels,
		   uint32_t ring_bytes);

/* No request may be in flight. The memory stays, VP threads may still look at it. */
int guestscsi_close(struct guestscsi *scsi);

/* CREATE_SUB_CHANNELS on the open controller; *ret_status: the server's. */
int guestscsi_ask_sub_channels(struct guestscsi *scsi, uint16_t count, uint32_t *ret_status);

uint32_t guestscsi_channels(const struct guestscsi *scsi);
uint32_t guestscsi_max_transfer(const struct guestscsi *scsi);
struct guestbus_channel *guestscsi_bus_channel(struct guestscsi *scsi, uint32_t channel);
struct guestscsi_faults *guestscsi_faults(struct guestscsi *scsi);
/* Packets sent, received; sends refused by a full ring. */
void guestscsi_ring_counts(struct guestscsi *scsi, uint64_t ret_counts[3]);

/* Gives the request a tag of this channel for good. -ENOSPC: none is free. */
int guestscsi_register(struct guestscsi *scsi, uint32_t channel, struct guestscsi_request *request);

/* While deaf a channel sends, and takes nothing of what comes. */
void guestscsi_set_deaf(struct guestscsi *scsi, uint32_t channel, bool deaf);

void guestscsi_lock(struct guestscsi *scsi, uint32_t channel);
void guestscsi_unlock(struct guestscsi *scsi, uint32_t channel);

/* Sends it, or keeps it until the ring has room. */
void guestscsi_submit_locked(struct guestscsi_request *request);

/* The channel was rescinded: its requests never end, nothing is taken from it. */
void guestscsi_abandon_locked(struct guestscsi *scsi, uint32_t channel);

/* Submits and waits; AGAIN is tried again. -ETIMEDOUT after the bus's patience. */
int guestscsi_execute(struct guestscsi *scsi, struct guestscsi_request *request);

/* TEST UNIT READY, INQUIRY, READ CAPACITY (16) on channel 0. */
int guestscsi_probe(struct guestscsi *scsi, uint8_t lun, struct guestscsi_disk *ret_disk);

/* READ/WRITE (10), or (16) where `wide` or the address needs it. */
void guestscsi_transfer_cdb(struct guestscsi_request *request, bool write, uint64_t block,
			    uint32_t blocks, bool wide);
/* RESET_LUN, RESET_ADAPTER, RESET_BUS; waits. *ret_status: the server's. */
int guestscsi_reset(struct guestscsi *scsi, uint32_t operation, uint8_t lun, uint32_t *ret_status);
void guestscsi_flush_cdb(struct guestscsi_request *request);

/* ---- packets (C.1), here for the test of their layout --------------------------- */
enum vstor_operation {
	VSTOR_COMPLETE = 1,
	VSTOR_REMOVE_DEVICE = 2,
	VSTOR_EXECUTE = 3,
	VSTOR_RESET_LUN = 4,
	VSTOR_RESET_ADAPTER = 5,
	VSTOR_RESET_BUS = 6,
	VSTOR_BEGIN = 7,
	VSTOR_END = 8,
	VSTOR_VERSION = 9,
	VSTOR_PROPERTIES = 10,
	VSTOR_ENUMERATE = 11,
	VSTOR_SUB_CHANNELS = 13,
};

struct vstor_srb {
	uint16_t length;
	uint8_t srb_status, scsi_status, port, path, target, lun, cdb_length, sense_length, data_in;
	uint8_t reserved;
	uint32_t transfer;
	uint8_t cdb_or_sense[GUESTSCSI_SENSE];
	uint16_t reserve;
	uint8_t queue_tag, queue_action;
	uint32_t srb_flags, timeout, sort_key;
};

struct vstor_properties {
	uint32_t reserved0;
	uint16_t max_channels, reserved1;
	uint32_t flags, max_transfer, reserved2[2];
};

struct vstor_packet {
	uint32_t operation, flags, status;
	union {
		struct vstor_srb srb;
		struct {
			uint16_t version, revision;
		} protocol;
		struct vstor_properties properties;
		uint16_t sub_channels;
		uint8_t raw[52];
	} u;
};

#endif
