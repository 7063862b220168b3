/* statemachines/vmbus_msg.h - VMBus channel messages: bytes to figures and back.
 *
 * Pure functions (protocol B.5, B.6, B.8; include/linux/hyperv.h, struct
 * vmbus_channel_message_header and its users). Nothing is kept; what a parsed
 * message points at lies in the caller's bytes. */
#ifndef STATEMACHINES_VMBUS_MSG_H
#define STATEMACHINES_VMBUS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vmbus_type {
	VMBUS_OFFER = 1,
	VMBUS_RESCIND = 2,
	VMBUS_REQUEST_OFFERS = 3,
	VMBUS_ALL_OFFERS = 4,
	VMBUS_OPEN = 5,
	VMBUS_OPEN_RESULT = 6,
	VMBUS_CLOSE = 7,
	VMBUS_GPADL_HEADER = 8,
	VMBUS_GPADL_BODY = 9,
	VMBUS_GPADL_CREATED = 10,
	VMBUS_GPADL_TEARDOWN = 11,
	VMBUS_GPADL_TORNDOWN = 12,
	VMBUS_RELID_RELEASED = 13,
	VMBUS_CONTACT = 14,
	VMBUS_VERSION = 15,
	VMBUS_UNLOAD = 16,
	VMBUS_UNLOADED = 17,
	VMBUS_MODIFY = 22,
	VMBUS_MODIFY_RESULT = 24,
};

enum {
	VMBUS_SINT = 2,                  /* VMBUS_MESSAGE_SINT */
	VMBUS_CONNECTION_OLD = 1,        /* VMBUS_MESSAGE_CONNECTION_ID */
	VMBUS_CONNECTION_NEW = 4,        /* VMBUS_MESSAGE_CONNECTION_ID_4 */
	VMBUS_MESSAGE_TYPE = 1,          /* HvMessageType of a channel message */
	VMBUS_DOOR_BASE = 0x2000,        /* connection id of a channel's doorbell: base | relid */
	VMBUS_V5_3 = 5 << 16 | 3,        /* from here on MODIFYCHANNEL is answered */
};
#define VMBUS_FAILED 0x80004005u         /* E_FAIL: what a refused request is answered with */

/* One message of the guest. Members that its type does not have are 0. */
struct vmbus_msg {
	uint32_t type;
	uint32_t relid, gpadl;
	uint32_t version, target_vp;     /* CONTACT, OPEN, MODIFY */
	uint32_t open_id, downstream;    /* OPEN */
	uint32_t byte_count, byte_offset, pages; /* GPADL_HEADER; pages 0: its range is not legal */
	uint32_t number;                 /* GPADL_BODY */
	const uint8_t *pfns;             /* so many 64-bit page numbers that it carries */
	uint32_t n_pfns;
};

enum vmbus_error {
	VMBUS_E_SHORT = 1,  /* shorter than its type must be */
	VMBUS_E_TYPE = 2,   /* not a message of the guest that we know */
};

/* 0, or a vmbus_error. @max_pages: a GPADL of more is not legal. */
int vmbus_msg_parse(const uint8_t *p, size_t len, uint32_t max_pages, struct vmbus_msg *ret);

/* 4.0, 4.1, 5.0, 5.1, 5.2, 5.3. */
bool vmbus_version_known(uint32_t version);

/* What an offer says. GUIDs as two words, as on the wire. */
struct vmbus_offer {
	const uint64_t *type, *instance;
	uint32_t relid, pipe_mode;
	uint16_t flags, subchannel;
};

/* Builders: fill @m and return the length. */
enum { VMBUS_MAX = 240 };
size_t vmbus_put_offer(uint8_t m[VMBUS_MAX], const struct vmbus_offer *o);
size_t vmbus_put_bare(uint8_t m[VMBUS_MAX], enum vmbus_type type);      /* header only */
size_t vmbus_put_word(uint8_t m[VMBUS_MAX], enum vmbus_type type, uint32_t a);
/* OPEN_RESULT, GPADL_CREATED: relid, id, status. MODIFY_RESULT: relid, status in @b. */
size_t vmbus_put_words(uint8_t m[VMBUS_MAX], enum vmbus_type type, uint32_t a, uint32_t b,
		       uint32_t c);
size_t vmbus_put_version(uint8_t m[VMBUS_MAX], bool supported);

#endif
