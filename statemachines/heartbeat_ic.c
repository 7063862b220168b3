/* Heartbeats of the guest.
 *
 * Invariant: in READY and ASKING a deadline is set; it moves by whole periods
 * from the moment it was met, so a time without an owner makes no burst. */
#include "statemachines/heartbeat_ic.h"

#include "statemachines/bytes.h"
#include "statemachines/ic.h"
#include "statemachines/records.h"

enum { BODY = 40 /* struct heartbeat_msg_data */ };
static const uint64_t period_ns = 2ull * 1000000000;

/* 57164f39-9115-4e78-ab55-382f3bd5422d (HV_HEART_BEAT_GUID), as on the wire */
static const uint64_t type[2] = { 0x4e78911557164f39u, 0x2d42d53b2f3855abu };
/* 686f6c64-6661-7374-8000-000000000100: of our own choice */
static const uint64_t instance[2] = { 0x73746661686f6c64u, 0x0001000000000080u };
static const struct ic_versions versions = { { 3u << 16, 1u << 16 }, 2 };

#define IC_SELF heartbeat_ic
#include "statemachines/ic_component.h"

static bool holds_agreement(const void *self)
{
	const struct heartbeat_ic *s = self;

	return agreed(s) && s->deadline_ns != 0;
}

static void forget(struct sm_cx *cx)
{
	struct heartbeat_ic *s = cx->self;

	s->framework = s->version = 0;
	s->deadline_ns = 0;
	s->missed_now = 0;
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
