/* Shutting the guest down from inside.
 *
 * Invariant: an operator is owed a REPORT exactly in ASKING; what ends ASKING
 * sends it. A request that the guest's full ring held back past its deadline is
 * never sent. */
#include "statemachines/shutdown_ic.h"

#include "statemachines/bytes.h"
#include "statemachines/ic.h"
#include "statemachines/operator.h"
#include "statemachines/records.h"

enum {
	BODY = IC_BODY_MAX,          /* struct shutdown_msg_data; Linux takes no less */
	AT_REASON = IC_HEADER, AT_TIMEOUT = IC_HEADER + 4, AT_TEXT = IC_HEADER + 12,
	GUEST_TIMEOUT_S = 60,
};
#define REASON_PLANNED 0x80000000u       /* SHTDN_REASON_FLAG_PLANNED */
/* Linux answers before it begins to shut down. */
static const uint64_t answer_ns = 10ull * 1000000000;

/* 0e0b6031-5213-4934-818b-38d90ced39db (HV_SHUTDOWN_GUID), as on the wire */
static const uint64_t type[2] = { 0x493452130e0b6031u, 0xdb39ed0cd9388b81u };
/* b6650ff7-33bc-4840-8048-e0676786f393 */
static const uint64_t instance[2] = { 0x484033bcb6650ff7u, 0x93f3866767e04880u };
static const struct ic_versions versions = {
	{ 3u << 16 | 2, 3u << 16 | 1, 3u << 16, 1u << 16 }, 4
};

#define IC_SELF shutdown_ic
#include "statemachines/ic_component.h"

static bool holds_agreement(const void *self)
{
	return agreed(self);
}

static void forget(struct sm_cx *cx)
{
	struct shutdown_ic *s = cx->self;

	s->framework = s->version = 0;
	s->deadline_ns = 0;
}

/* ---- the operator's request ---------------------------------------------- */

static void report(struct sm_cx *cx, uint32_t status, const char *text)
{
	struct shutdown_ic *s = cx->self;

	operator_report(cx, OPERATOR_SHUTDOWN, s->token, status, text);
	s->token = 0;
	s->deadline_ns = 0;
}

static void refuse(struct sm_cx *cx, uint32_t status, const char *text)
{
	operator_report(cx, OPERATOR_SHUTDOWN, ((const struct rec_operator *)cx->p)->token, status,
			text);
}

static void refuse_closed(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_UNSUPPORTED,
	       "the guest does not serve its shutdown channel: "
	       "shut it down from inside, or power it off");
}

static void refuse_mute(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_UNSUPPORTED,
	       "the guest knows no version of the shutdown channel that we know: "
	       "shut it down from inside, or power it off");
}

static void refuse_busy(struct sm_cx *cx)
{
	refuse(cx, OPERATOR_E_BUSY, "the guest was asked before and has not answered");
}

/* Flags 0: power off, and let the guest refuse. */
static void ask_again(struct sm_cx *cx)
{
	static const char text[] = "The operator shuts this machine down.";
	struct shutdown_ic *s = cx->self;
	struct ic_agreement a = { s->framework, s->version };
	uint8_t m[IC_MAX] = { 0 };

	put_le32(m + AT_REASON, REASON_PLANNED);
	put_le32(m + AT_TIMEOUT, GUEST_TIMEOUT_S);
	memcpy(m + AT_TEXT, text, sizeof(text));
	ic_send(cx, channel(s), m, ic_put(m, IC_SHUTDOWN, a, s->transaction, BODY));
}

static void ask(struct sm_cx *cx)
{
	struct shutdown_ic *s = cx->self;

	s->token = ((const struct rec_operator *)cx->p)->token;
	s->transaction++;
	s->deadline_ns = cx->time_ns + answer_ns;
	ask_again(cx);
}

static bool answers(const struct sm_cx *cx)
{
	const struct shutdown_ic *s = cx->self;
	struct ic_answer a;

	return ic_answers(cx, IC_SHUTDOWN, s->transaction, &a);
}

static void report_answer(struct sm_cx *cx)
{
	const struct shutdown_ic *s = cx->self;
	struct ic_answer a;

	ic_answers(cx, IC_SHUTDOWN, s->transaction, &a);
	ic_end_packet(cx);
	if (a.status == 0)
		report(cx, OPERATOR_OK, "the guest shuts down");
	else
		report(cx, OPERATOR_E_CANCELLED, "the guest refuses to shut down");
}

static void report_late(struct sm_cx *cx)
{
	report(cx, OPERATOR_E_TIME, "the guest does not answer; it may shut down yet");
}

/* CLOSECHANNEL comes by another way than the ring and may overtake the answer
 * that lies in it; a guest that was asked and closes goes down. */
static void report_closed(struct sm_cx *cx)
{
	report(cx, OPERATOR_OK, "the guest closed its shutdown channel: it goes down");
	forget(cx);
}

#define SM_DEF "statemachines/shutdown_ic.def"
#define SM_PREFIX shutdown_ic
#define SM_KIND KIND_shutdown_ic
#define SM_CAPACITY CAPACITY_shutdown_ic
#define SM_DOC \
	"The integration component that asks the guest to shut itself down " \
	"(protocol J; drivers/hv/hv_util.c)."
#include "engine/sm_define.h"
