/* Messages of the integration components: bytes to figures and back, and the
 * few calls by which a component uses its channel.
 *
 * An answer comes from the guest: lengths first, then kind and flags, then what
 * it says. Every pointer of a parsed answer has its bytes. */
#include "statemachines/ic.h"

#include "statemachines/bytes.h"
#include "statemachines/channel.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"
#include "statemachines/ring_packet.h"

enum {
	PIPE_DATA = 1,            /* type in the pipe header */
	PIPE_HEADER = 8,
	PIPE_MESSAGE_MODE = 4,    /* first user-defined word of the offer */
	OFFER_NAMED_PIPE = 0x10,  /* VMBUS_CHANNEL_NAMED_PIPE_MODE */
	/* Offsets in a message. */
	AT_PIPE_BYTES = 4, AT_FRAMEWORK = 8, AT_TYPE = 12, AT_VERSION = 14, AT_SIZE = 18,
	AT_STATUS = 20, AT_TRANSACTION = 24, AT_FLAGS = 25,
	/* ICMSGHDRFLAG_* */
	FLAG_TRANSACTION = 1, FLAG_REQUEST = 2, FLAG_RESPONSE = 4,
	NEGOTIATE_HEADER = 8,     /* two counts, a reserved word */
};

static const struct ic_versions frameworks = { { 3u << 16, 1u << 16 }, 2 };

static void put_version(uint8_t *p, uint32_t version)
{
	put_le16(p, (uint16_t)(version >> 16));
	put_le16(p + 2, (uint16_t)version);
}

static uint32_t get_version(const uint8_t *p)
{
	return (uint32_t)get_le16(p) << 16 | get_le16(p + 2);
}

size_t ic_put(uint8_t *m, enum ic_type type, struct ic_agreement a, uint8_t transaction,
	      size_t body_bytes)
{
	memset(m, 0, IC_HEADER);
	put_le32(m, PIPE_DATA);
	put_le32(m + AT_PIPE_BYTES, (uint32_t)(IC_HEADER - PIPE_HEADER + body_bytes));
	put_version(m + AT_FRAMEWORK, a.framework);
	put_le16(m + AT_TYPE, (uint16_t)type);
	put_version(m + AT_VERSION, a.version);
	put_le16(m + AT_SIZE, (uint16_t)body_bytes);
	m[AT_TRANSACTION] = transaction;
	m[AT_FLAGS] = FLAG_TRANSACTION | FLAG_REQUEST;
	return IC_HEADER + body_bytes;
}

static uint8_t *put_versions(uint8_t *p, const struct ic_versions *v)
{
	for (uint16_t i = 0; i < v->n; i++, p += 4)
		put_version(p, v->version[i]);
	return p;
}

size_t ic_put_negotiate(uint8_t m[IC_MAX], const struct ic_versions *v, uint8_t transaction)
{
	uint8_t *body = m + IC_HEADER, *end = body + NEGOTIATE_HEADER;

	put_le16(body, frameworks.n);
	put_le16(body + 2, v->n);
	put_le32(body + 4, 0);
	end = put_versions(put_versions(end, &frameworks), v);
	return ic_put(m, IC_NEGOTIATE, (struct ic_agreement){ 0 }, transaction,
		      (size_t)(end - body));
}

/* The packet is padded to 8 bytes; the pipe header says where it ends. */
bool ic_parse(const uint8_t *p, size_t len, struct ic_answer *ret)
{
	if (len < IC_HEADER || get_le32(p) != PIPE_DATA ||
	    get_le32(p + AT_PIPE_BYTES) < IC_HEADER - PIPE_HEADER ||
	    get_le32(p + AT_PIPE_BYTES) > len - PIPE_HEADER || !(p[AT_FLAGS] & FLAG_RESPONSE))
		return false;
	*ret = (struct ic_answer){
		.type = (enum ic_type)get_le16(p + AT_TYPE), .status = get_le32(p + AT_STATUS),
		.transaction = p[AT_TRANSACTION], .body = p + IC_HEADER,
		.body_bytes = get_le32(p + AT_PIPE_BYTES) + PIPE_HEADER - IC_HEADER,
	};
	return true;
}

static bool offers(const struct ic_versions *v, uint32_t version)
{
	for (uint16_t i = 0; i < v->n; i++)
		if (v->version[i] == version)
			return true;
	return false;
}

bool ic_chosen(const struct ic_answer *answer, const struct ic_versions *v,
	       struct ic_agreement *ret)
{
	const uint8_t *body = answer->body;

	if (answer->body_bytes < NEGOTIATE_HEADER + 8 || get_le16(body) != 1 ||
	    get_le16(body + 2) != 1)
		return false;
	ret->framework = get_version(body + NEGOTIATE_HEADER);
	ret->version = get_version(body + NEGOTIATE_HEADER + 4);
	return offers(&frameworks, ret->framework) && offers(v, ret->version);
}

struct sm_ref ic_offer(struct sm_cx *cx, const uint64_t type[2], const uint64_t instance[2])
{
	struct sm_ref to = sm_spawn(cx, KIND_channel);
	struct rec_offer o = {
		.type = { type[0], type[1] }, .instance = { instance[0], instance[1] },
		.relid = to.index, .flags = OFFER_NAMED_PIPE, .device_kind = cx->ref.kind,
		.device_index = cx->ref.index, .device_generation = cx->ref.generation,
		.pipe_mode = PIPE_MESSAGE_MODE,
	};

	sm_post(cx, to, channel_EV_IDENTITY, &o, NULL, 0);
	return to;
}

void ic_send(struct sm_cx *cx, struct sm_ref channel, const uint8_t *m, size_t len)
{
	struct rec_channel_send s = { .type = RING_INBAND };

	sm_post(cx, channel, channel_EV_SEND, &s, m, len);
}

void ic_end_packet(struct sm_cx *cx)
{
	sm_post(cx, cx->from, channel_EV_ENDED, NULL, NULL, 0);
}

bool ic_answers(const struct sm_cx *cx, enum ic_type type, uint8_t transaction,
		struct ic_answer *ret)
{
	const struct rec_channel_packet *p = cx->p;

	return ic_parse(cx->tail + p->gpa_bytes, cx->tail_len - p->gpa_bytes, ret) &&
	       ret->type == type && ret->transaction == transaction;
}
