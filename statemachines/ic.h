/* statemachines/ic.h - what the integration components have in common: the
 * frame of their messages, the agreement on versions, their channels.
 *
 * Protocol J; include/linux/hyperv.h, struct vmbuspipe_hdr, icmsg_hdr and
 * icmsg_negotiate. The host asks, the guest answers with the same packet; one
 * message is out at a time. Nothing is kept here: what a component knows is in
 * its own fields. Versions are major << 16 | minor. */
#ifndef STATEMACHINES_IC_H
#define STATEMACHINES_IC_H

#include "engine/sm.h"

enum ic_type { IC_NEGOTIATE = 0, IC_HEARTBEAT = 1, IC_SHUTDOWN = 3, IC_TIMESYNC = 4 };

enum {
	IC_HEADER = 28,           /* pipe header and IC header */
	IC_BODY_MAX = 2060,       /* struct shutdown_msg_data */
	IC_MAX = IC_HEADER + IC_BODY_MAX,
	IC_VERSIONS_MAX = 4,
};

/* What a component offers the guest to agree on, newest first. */
struct ic_versions {
	uint32_t version[IC_VERSIONS_MAX];
	uint16_t n;
};

/* What was agreed, and with it the first words of each message. */
struct ic_agreement {
	uint32_t framework, version;
};

/* One answer of the guest; @body lies in the packet. */
struct ic_answer {
	enum ic_type type;
	uint32_t status;
	uint8_t transaction;
	const uint8_t *body;
	uint32_t body_bytes;
};

/* Fills the header in front of a body of @body_bytes at @m + IC_HEADER; returns
 * the length of the whole. */
size_t ic_put(uint8_t *m, enum ic_type type, struct ic_agreement a, uint8_t transaction,
	      size_t body_bytes);
/* The first message: which versions there are. */
size_t ic_put_negotiate(uint8_t m[IC_MAX], const struct ic_versions *v, uint8_t transaction);

/* False: not an answer, or it does not hold together. */
bool ic_parse(const uint8_t *p, size_t len, struct ic_answer *ret);
/* What the answer to a negotiation chose; false: nothing that was offered. */
bool ic_chosen(const struct ic_answer *answer, const struct ic_versions *v,
	       struct ic_agreement *ret);

/* ---- for actions and guards of a component ------------------------------ */

/* A new channel for the calling component, one instance of each type. */
struct sm_ref ic_offer(struct sm_cx *cx, const uint64_t type[2], const uint64_t instance[2]);
/* Sends @m on @channel; the component gets DEVICE_SENT or DEVICE_BLOCKED. */
void ic_send(struct sm_cx *cx, struct sm_ref channel, const uint8_t *m, size_t len);
/* The packet of this event is dealt with; none of them gets a completion. */
void ic_end_packet(struct sm_cx *cx);
/* The packet of this event answers the message @type with @transaction. */
bool ic_answers(const struct sm_cx *cx, enum ic_type type, uint8_t transaction,
		struct ic_answer *ret);

#endif
