/* Heartbeats of the guest.
 *
 * Invariant: in READY and ASKING a deadline is set; it moves by whole periods
 * from the moment it was met, so a time without an owner makes no burst. */
#include "statemachines/heartbeat_ic.h"

#include "statemachines/bytes.h"
#include "statemachines/device.h"
#include "statemachines/ic.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"

_Static_assert((int)heartbeat_ic_EV_OPENED == DEVICE_OPENED &&
	       (int)heartbeat_ic_EV_CLOSED == DEVICE_CLOSED &&
	       (int)heartbeat_ic_EV_PACKET == DEVICE_PACKET &&
	       (int)heartbeat_ic_EV_SENT == DEVICE_SENT &&
	       (int)heartbeat_ic_EV_BLOCKED == DEVICE_BLOCKED &&
	       (int)heartbeat_ic_EV_RETRY == DEVICE_RETRY,
	       "codes that channels use");

enum { BODY = 40 /* struct heartbeat_msg_data */ };
static const uint64_t period_ns = 2ull * 1000000000;

/* 57164f39-9115-4e78-ab55-382f3bd5422d (HV_HEART_BEAT_GUID), as on the wire */
static const uint64_t type[2] = { 0x4e78911557164f39u, 0x2d42d53b2f3855abu };
/* 686f6c64-6661-7374-8000-000000000100: of our own choice */
static const uint64_t instance[2] = { 0x73746661686f6c64u, 0x0001000000000080u };
static const struct ic_versions versions = { { 3u << 16, 1u << 16 }, 2 };

static bool holds_unoffered(const void *self)
{
	return ((const struct heartbeat_ic *)self)->channel_generation == 0;
}

static bool holds_channel(const void *self)
{
	const struct heartbeat_ic *s = self;

	return s->channel_generation != 0 && s->version == 0 && s->deadline_ns == 0;
}

static bool holds_agreement(const void *self)
{
	const struct heartbeat_ic *s = self;

	return s->channel_generation != 0 && s->framework != 0 && s->version != 0 &&
	       s->deadline_ns != 0;
}

/* ---- channel and versions ---------------------------------------------- */

static bool can_offer(const struct sm_cx *cx)
{
	return sm_room(cx, KIND_channel) != 0;
}

static void offer(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;
	struct sm_ref c = ic_offer(cx, type, instance);

	s->channel = c.index;
	s->channel_generation = c.generation;
}

static struct sm_ref channel(const struct heartbeat_ic *s)
{
	return (struct sm_ref){ KIND_channel, s->channel, s->channel_generation };
}

static void negotiate(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;
	uint8_t m[IC_MAX];

	ic_send(cx, channel(s), m, ic_put_negotiate(m, &versions, s->transaction));
}

static bool disagrees(const struct sm_cx *cx)
{
	const struct heartbeat_ic *s = cx->self;
	struct ic_answer a;

	return ic_answers(cx, IC_NEGOTIATE, s->transaction, &a);
}

static bool agrees(const struct sm_cx *cx)
{
	const struct heartbeat_ic *s = cx->self;
	struct ic_agreement chosen;
	struct ic_answer a;

	return ic_answers(cx, IC_NEGOTIATE, s->transaction, &a) &&
	       ic_chosen(&a, &versions, &chosen);
}

static void agree(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;
	struct ic_agreement chosen;
	struct ic_answer a;

	ic_answers(cx, IC_NEGOTIATE, s->transaction, &a);
	ic_chosen(&a, &versions, &chosen);
	s->framework = chosen.framework;
	s->version = chosen.version;
	ic_end_packet(cx);
}

static void drop_packet(struct sm_cx *cx)
{
	ic_end_packet(cx);
}

static void drop_stray(struct sm_cx *cx)
{
	((struct heartbeat_ic *)cx->self)->strays++;
	ic_end_packet(cx);
}

static void forget(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;

	s->framework = s->version = 0;
	s->deadline_ns = 0;
	s->missed_now = 0;
}

static bool is_due(const struct sm_cx *cx)
{
	const struct rec_deadline *p = cx->p;
	const struct heartbeat_ic *s = cx->self;

	return s->deadline_ns && p->deadline_ns == s->deadline_ns;
}

/* ---- questions and answers ---------------------------------------------- */

static void rearm(struct sm_cx *cx)
{
	((struct heartbeat_ic *)cx->self)->deadline_ns = cx->time_ns + period_ns;
}

static void ask_again(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;
	struct ic_agreement a = { s->framework, s->version };
	uint8_t m[IC_MAX] = { 0 };

	put_le64(m + IC_HEADER, s->sequence);
	ic_send(cx, channel(s), m, ic_put(m, IC_HEARTBEAT, a, s->transaction, BODY));
}

static void ask(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;

	s->transaction++;
	s->sequence++;
	rearm(cx);
	ask_again(cx);
}

static void agree_ask(struct sm_cx *cx)
{
	agree(cx);
	ask(cx);
}

static bool answers(const struct sm_cx *cx)
{
	const struct heartbeat_ic *s = cx->self;
	struct ic_answer a;

	return ic_answers(cx, IC_HEARTBEAT, s->transaction, &a) && a.body_bytes >= 8 &&
	       get_le64(a.body) == s->sequence + 1;
}

static void take_answer(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;

	s->sequence++;
	s->answered++;
	s->missed_now = 0;
	ic_end_packet(cx);
}

static void count_missed(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;

	s->missed++;
	s->missed_now++;
	rearm(cx);
}

#define SM_DEF "statemachines/heartbeat_ic.def"
#define SM_PREFIX heartbeat_ic
#define SM_KIND KIND_heartbeat_ic
#define SM_CAPACITY CAPACITY_heartbeat_ic
#define SM_DOC \
	"The integration component that asks the guest whether it lives " \
	"(protocol J; drivers/hv/hv_util.c)."
#include "engine/sm_define.h"
