/* The guest's clock.
 *
 * The time told is that of the event that sends it. Version 4.0 is not offered:
 * it pairs the time with the partition's reference counter, which follows the
 * TSC, while time here follows CLOCK_MONOTONIC; the pair would part by some
 * seconds a day. In 3.0 the guest takes its own counter when the message comes. */
#include "statemachines/timesync_ic.h"

#include "statemachines/bytes.h"
#include "statemachines/ic.h"
#include "statemachines/records.h"

enum {
	BODY = 25,                   /* struct ictimesync_data */
	AT_PARENT = IC_HEADER, AT_FLAGS = IC_HEADER + 24,
	FLAG_SYNC = 1, FLAG_SAMPLE = 2, /* ICTIMESYNCFLAG_* */
};
static const uint64_t period_ns = 5ull * 1000000000;
/* From 1601-01-01 to 1970-01-01, 100 ns (WLTIMEDELTA). */
static const uint64_t epoch_1601 = 116444736000000000ull;

/* 9527e630-d0ae-497b-adce-e80ab0175caf (HV_TS_GUID), as on the wire */
static const uint64_t type[2] = { 0x497bd0ae9527e630u, 0xaf5c17b00ae8ceadu };
/* 2dd1ce17-079e-403c-b352-a1921ee207ee */
static const uint64_t instance[2] = { 0x403c079e2dd1ce17u, 0xee07e21e92a152b3u };
static const struct ic_versions versions = { { 3u << 16, 1u << 16 }, 2 };

#define IC_SELF timesync_ic
#include "statemachines/ic_component.h"

static bool holds_agreement(const void *self)
{
	return agreed(self);
}

static bool holds_telling(const void *self)
{
	return holds_agreement(self) && ((const struct timesync_ic *)self)->deadline_ns == 0;
}

static void configure(struct sm_cx *cx)
{
	((struct timesync_ic *)cx->self)->wall_ns = ((const struct rec_config *)cx->p)->wall_ns;
}

static void forget(struct sm_cx *cx)
{
	struct timesync_ic *s = cx->self;

	s->framework = s->version = 0;
	s->deadline_ns = 0;
	s->sync = s->sync_again = false;
}

/* ---- telling the time ---------------------------------------------------- */

/* Also what a full ring held back: with the time of now. */
static void tell(struct sm_cx *cx)
{
	struct timesync_ic *s = cx->self;
	struct ic_agreement a = { s->framework, s->version };
	uint8_t m[IC_MAX] = { 0 };

	put_le64(m + AT_PARENT, (s->wall_ns + cx->time_ns) / 100 + epoch_1601);
	m[AT_FLAGS] = s->sync ? FLAG_SYNC : FLAG_SAMPLE;
	ic_send(cx, channel(s), m, ic_put(m, IC_TIMESYNC, a, s->transaction, BODY));
}

static void begin(struct sm_cx *cx, bool sync)
{
	struct timesync_ic *s = cx->self;

	s->transaction++;
	s->told++;
	s->sync = sync;
	s->sync_again = false;
	s->deadline_ns = 0;
	tell(cx);
}

static void sample(struct sm_cx *cx)
{
	begin(cx, false);
}

static void synchronise(struct sm_cx *cx)
{
	begin(cx, true);
}

static void agree_sync(struct sm_cx *cx)
{
	agree(cx);
	begin(cx, true);
}

static void note_sync(struct sm_cx *cx)
{
	((struct timesync_ic *)cx->self)->sync_again = true;
}

static bool answers(const struct sm_cx *cx)
{
	const struct timesync_ic *s = cx->self;
	struct ic_answer a;

	return ic_answers(cx, IC_TIMESYNC, s->transaction, &a);
}

static bool answers_due(const struct sm_cx *cx)
{
	return answers(cx) && ((const struct timesync_ic *)cx->self)->sync_again;
}

static void tell_again(struct sm_cx *cx)
{
	ic_end_packet(cx);
	begin(cx, true);
}

static void take_answer(struct sm_cx *cx)
{
	struct timesync_ic *s = cx->self;

	s->sync = false;
	s->deadline_ns = cx->time_ns + period_ns;
	ic_end_packet(cx);
}

#define SM_DEF "statemachines/timesync_ic.def"
#define SM_PREFIX timesync_ic
#define SM_KIND KIND_timesync_ic
#define SM_CAPACITY CAPACITY_timesync_ic
#define SM_DOC \
	"The integration component that tells the guest the time " \
	"(protocol J; drivers/hv/hv_util.c)."
#include "engine/sm_define.h"
