/* statemachines/ic_component.h - channel and agreement of one integration
 * component: guards and actions that all of them have. No include guard: a
 * component's .c includes it once, after these definitions:
 *
 *   IC_SELF      prefix of the machine; its fields channel, channel_generation,
 *                framework, version, transaction, strays and deadline_ns are used
 *   type, instance, versions
 *                static const, as ic_offer() and ic_put_negotiate() take them
 *
 * and has its own `forget`, because what is forgotten with a channel differs. */
#include "statemachines/device.h"
#include "statemachines/ic.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"

#define IC_JOIN_(a, b) a##b
#define IC_JOIN(a, b) IC_JOIN_(a, b)
#define IC_EV(name) (int)IC_JOIN(IC_SELF, _EV_##name)

_Static_assert(IC_EV(OPENED) == DEVICE_OPENED && IC_EV(CLOSED) == DEVICE_CLOSED &&
	       IC_EV(PACKET) == DEVICE_PACKET && IC_EV(SENT) == DEVICE_SENT &&
	       IC_EV(BLOCKED) == DEVICE_BLOCKED && IC_EV(RETRY) == DEVICE_RETRY,
	       "codes that channels use");

static bool holds_unoffered(const void *self)
{
	return ((const struct IC_SELF *)self)->channel_generation == 0;
}

static bool holds_channel(const void *self)
{
	const struct IC_SELF *s = self;

	return s->channel_generation != 0 && s->version == 0 && s->deadline_ns == 0;
}

static bool agreed(const struct IC_SELF *s)
{
	return s->channel_generation != 0 && s->framework != 0 && s->version != 0;
}

static bool can_offer(const struct sm_cx *cx)
{
	return sm_room(cx, KIND_channel) != 0;
}

static void offer(struct sm_cx *cx)
{
	struct IC_SELF *s = cx->self;
	struct sm_ref c = ic_offer(cx, type, instance);

	s->channel = c.index;
	s->channel_generation = c.generation;
}

static struct sm_ref channel(const struct IC_SELF *s)
{
	return (struct sm_ref){ KIND_channel, s->channel, s->channel_generation };
}

static void negotiate(struct sm_cx *cx)
{
	struct IC_SELF *s = cx->self;
	uint8_t m[IC_MAX];

	ic_send(cx, channel(s), m, ic_put_negotiate(m, &versions, s->transaction));
}

static bool disagrees(const struct sm_cx *cx)
{
	const struct IC_SELF *s = cx->self;
	struct ic_answer a;

	return ic_answers(cx, IC_NEGOTIATE, s->transaction, &a);
}

static bool agrees(const struct sm_cx *cx)
{
	const struct IC_SELF *s = cx->self;
	struct ic_agreement chosen;
	struct ic_answer a;

	return ic_answers(cx, IC_NEGOTIATE, s->transaction, &a) &&
	       ic_chosen(&a, &versions, &chosen);
}

static void agree(struct sm_cx *cx)
{
	struct IC_SELF *s = cx->self;
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
	((struct IC_SELF *)cx->self)->strays++;
	ic_end_packet(cx);
}

static bool is_due(const struct sm_cx *cx)
{
	const struct rec_deadline *p = cx->p;
	const struct IC_SELF *s = cx->self;

	return s->deadline_ns && p->deadline_ns == s->deadline_ns;
}

#undef IC_EV
#undef IC_JOIN
#undef IC_JOIN_
