/* Tables (test_story.h) of the integration components: every state is asked
 * everything that a guest, its operator or the clock can say. */
#include "statemachines/bytes.h"
#include "statemachines/operator.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>
#include <string.h>

/* Without a disk they are the first channels, in this order. */
enum { SHUTDOWN_RELID = 1, HEARTBEAT_RELID = 2, TIMESYNC_RELID = 3 };
enum { VERSION = 3 << 16, AT_TYPE = 12, AT_TRANSACTION = 24, AT_FLAGS = 25 };

/* The component a table is about: its channel, its messages, what it waits for. */
static struct {
	uint16_t kind;
	uint32_t relid, version;
	enum ic_type type;
} of;

static void offered(struct story *s)
{
	guest_config(s, 1);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
}

static void opened(struct story *s)
{
	offered(s);
	guest_open(s, of.relid, 0xe1e10 + of.relid);
}

static void mute(struct story *s)
{
	offered(s);
	guest_agree_ic(s, of.relid, 0);
}

static void agreed(struct story *s)
{
	offered(s);
	guest_agree_ic(s, of.relid, of.version);
}

static uint8_t transaction(const struct story *s)
{
	const void *self = world_at(story_world(s), of.kind, 0);

	switch (of.kind) {
	case KIND_shutdown_ic:
		return ((const struct shutdown_ic *)self)->transaction;
	case KIND_heartbeat_ic:
		return ((const struct heartbeat_ic *)self)->transaction;
	default:
		return ((const struct timesync_ic *)self)->transaction;
	}
}

static uint64_t deadline(const struct story *s)
{
	const void *self = world_at(story_world(s), of.kind, 0);

	switch (of.kind) {
	case KIND_shutdown_ic:
		return ((const struct shutdown_ic *)self)->deadline_ns;
	case KIND_heartbeat_ic:
		return ((const struct heartbeat_ic *)self)->deadline_ns;
	default:
		return ((const struct timesync_ic *)self)->deadline_ns;
	}
}

static uint64_t sequence(const struct story *s)
{
	const struct heartbeat_ic *h = world_at(story_world(s), KIND_heartbeat_ic, 0);

	return h->sequence;
}

static bool channel_flows(const struct story *s)
{
	const struct channel *c = world_at(story_world(s), KIND_channel, (uint16_t)of.relid);

	return c && c->sm.state == channel_OPEN;
}

/* An answer of @bytes behind the pipe header; nothing without a ring. */
static void say(struct story *s, enum ic_type type, int off, uint8_t flags, uint32_t bytes,
		uint32_t status)
{
	uint8_t m[64] = { 1 };

	if (!channel_flows(s))
		return;
	put_le32(m + 4, bytes);
	m[AT_TYPE] = (uint8_t)type;
	put_le32(m + 20, status);
	m[AT_TRANSACTION] = (uint8_t)(transaction(s) + off);
	m[AT_FLAGS] = flags;
	put_le64(m + IC_HEADER, sequence(s) + 1);
	guest_packet(s, of.relid, 0, m, sizeof(m), 0, 0);
}

static void right(struct story *s)
{
	say(s, of.type, 0, 5, 28, 0);
}

static void refused(struct story *s)
{
	say(s, of.type, 0, 5, 28, 0x80004005);
}

static void other_transaction(struct story *s)
{
	say(s, of.type, 1, 5, 28, 0);
}

static void other_type(struct story *s)
{
	say(s, (enum ic_type)9, 0, 5, 28, 0);
}

static void a_request(struct story *s)
{
	say(s, of.type, 0, 3, 28, 0);
}

static void without_body(struct story *s)
{
	say(s, of.type, 0, 5, 20, 0);
}

static void without_header(struct story *s)
{
	say(s, of.type, 0, 5, 19, 0);
}

static void longer_than_it_is(struct story *s)
{
	say(s, of.type, 0, 5, 57, 0);
}

static void as_long_as_it_is(struct story *s)
{
	say(s, of.type, 0, 5, 56, 0);
}

/* Counts, then framework and version. */
static void negotiate(struct story *s, uint16_t frameworks, uint16_t versions, uint32_t framework,
		      uint32_t version)
{
	uint8_t m[48] = { 1, [4] = 36, [AT_FLAGS] = 5 };

	if (!channel_flows(s))
		return;
	m[AT_TRANSACTION] = transaction(s);
	put_le16(m + 28, frameworks);
	put_le16(m + 30, versions);
	put_le16(m + 36, (uint16_t)(framework >> 16));
	put_le16(m + 38, (uint16_t)framework);
	put_le16(m + 40, (uint16_t)(version >> 16));
	put_le16(m + 42, (uint16_t)version);
	guest_packet(s, of.relid, 0, m, sizeof(m), 0, 0);
}

static void agrees(struct story *s)
{
	negotiate(s, 1, 1, 3 << 16, of.version);
}

static void agrees_on_the_oldest(struct story *s)
{
	negotiate(s, 1, 1, 1 << 16, 1 << 16);
}

static void no_framework(struct story *s)
{
	negotiate(s, 0, 1, 3 << 16, of.version);
}

static void two_versions(struct story *s)
{
	negotiate(s, 1, 2, 3 << 16, of.version);
}

static void unknown_framework(struct story *s)
{
	negotiate(s, 1, 1, 2 << 16, of.version);
}

static void unknown_version(struct story *s)
{
	negotiate(s, 1, 1, 3 << 16, 9 << 16);
}

static void timer(struct story *s, uint64_t off)
{
	struct rec_deadline d = { .deadline_ns = deadline(s) + off };
	const struct sm_desc *machine = machines[of.kind];

	for (unsigned i = 0; i < machine->n_events; i++)
		if (strcmp(machine->events[i].name, "TIMER") == 0)
			story_raise(s, of.kind, 0, machine->events[i].code, &d, sizeof(d), NULL, 0);
}

static void time_passes(struct story *s)
{
	timer(s, 0);
}

static void old_timer(struct story *s)
{
	timer(s, 1);
}

static void another_owner(struct story *s)
{
	struct rec_serving r = { .reason = SERVING_DEATH, .slot = 1, .epoch = 2, .level = 1 };

	RAISE(s, servicing, 0, SERVING, r, "0.1.0-b", 7);
}

static void operator_asks(struct story *s)
{
	struct rec_operator o = { .op = OPERATOR_SHUTDOWN, .token = 3 };
	const struct vtl *v = world_at(story_world(s), KIND_vtl, 0);

	if (v->sm.state == vtl_RUNNING)
		RAISE(s, vtl, 0, SHUTDOWN, o, NULL, 0);
	else
		RAISE(s, shutdown_ic, 0, SHUTDOWN, o, NULL, 0);
}

static void closed(struct story *s)
{
	guest_words(s, VMBUS_CLOSE, of.relid, 0, 0);
}

static void device_event(struct story *s, uint16_t code)
{
	struct rec_relid r = { .relid = of.relid };
	const struct sm_event_desc *e = sm_event_find(machines[of.kind], code);

	story_raise(s, of.kind, 0, code, &r, e->rec->size, NULL, 0);
}

static void sent(struct story *s)
{
	device_event(s, heartbeat_ic_EV_SENT);
}

static void blocked(struct story *s)
{
	device_event(s, heartbeat_ic_EV_BLOCKED);
}

static void room_again(struct story *s)
{
	device_event(s, heartbeat_ic_EV_RETRY);
}

_Static_assert((int)heartbeat_ic_EV_SENT == (int)shutdown_ic_EV_SENT &&
	       (int)heartbeat_ic_EV_SENT == (int)timesync_ic_EV_SENT, "one code");
_Static_assert((int)heartbeat_ic_EV_RETRY == (int)shutdown_ic_EV_RETRY &&
	       (int)heartbeat_ic_EV_RETRY == (int)timesync_ic_EV_RETRY, "one code");

static void configured(struct story *s)
{
	struct rec_config c = { .wall_ns = 5 };

	RAISE(s, timesync_ic, 0, CONFIG, c, NULL, 0);
}

static const struct story_happening events[] = {
	{ "the right answer", right },
	{ "the right answer, with an error", refused },
	{ "an answer to another message", other_transaction },
	{ "an answer of another kind", other_type },
	{ "what is no answer", a_request },
	{ "an answer that is a header", without_body },
	{ "less than a header", without_header },
	{ "an answer longer than its packet", longer_than_it_is },
	{ "an answer as long as its packet", as_long_as_it_is },
	{ "agreement", agrees },
	{ "agreement on the oldest", agrees_on_the_oldest },
	{ "agreement on no framework", no_framework },
	{ "agreement on two versions", two_versions },
	{ "agreement on a framework nobody offered", unknown_framework },
	{ "agreement on a version nobody offered", unknown_version },
	{ "its time has come", time_passes },
	{ "another time has come", old_timer },
	{ "another owner", another_owner },
	{ "the operator asks for the end", operator_asks },
	{ "its channel is closed", closed },
	{ "the message was taken", sent },
	{ "the ring is full", blocked },
	{ "the ring has room", room_again },
	{ "the wall clock", configured },
};

static void heartbeat_answered(struct story *s)
{
	agreed(s);
	right(s);
}

static void heartbeat_table(struct story *s)
{
	static const struct story_reach states[] = {
		{ heartbeat_ic_EMPTY, NULL },        { heartbeat_ic_CLOSED, offered },
		{ heartbeat_ic_NEGOTIATING, opened }, { heartbeat_ic_MUTE, mute },
		{ heartbeat_ic_READY, heartbeat_answered }, { heartbeat_ic_ASKING, agreed },
	};

	of.kind = KIND_heartbeat_ic;
	of.relid = HEARTBEAT_RELID;
	of.version = VERSION;
	of.type = IC_HEARTBEAT;
	story_table(s, of.kind, states, ARRAY_LEN(states), events, ARRAY_LEN(events));
}

static void timesync_table(struct story *s)
{
	static const struct story_reach states[] = {
		{ timesync_ic_EMPTY, NULL },        { timesync_ic_CLOSED, offered },
		{ timesync_ic_NEGOTIATING, opened }, { timesync_ic_MUTE, mute },
		{ timesync_ic_READY, heartbeat_answered }, { timesync_ic_TELLING, agreed },
	};

	of.kind = KIND_timesync_ic;
	of.relid = TIMESYNC_RELID;
	of.version = VERSION;
	of.type = IC_TIMESYNC;
	story_table(s, of.kind, states, ARRAY_LEN(states), events, ARRAY_LEN(events));
}

static void shutdown_asked(struct story *s)
{
	agreed(s);
	operator_asks(s);
}

static void shutdown_late(struct story *s)
{
	shutdown_asked(s);
	time_passes(s);
}

static void shutdown_table(struct story *s)
{
	static const struct story_reach states[] = {
		{ shutdown_ic_EMPTY, NULL },        { shutdown_ic_CLOSED, offered },
		{ shutdown_ic_NEGOTIATING, opened }, { shutdown_ic_MUTE, mute },
		{ shutdown_ic_READY, agreed },       { shutdown_ic_ASKING, shutdown_asked },
		{ shutdown_ic_LATE, shutdown_late },
	};

	of.kind = KIND_shutdown_ic;
	of.relid = SHUTDOWN_RELID;
	of.version = VERSION;
	of.type = IC_SHUTDOWN;
	story_table(s, of.kind, states, ARRAY_LEN(states), events, ARRAY_LEN(events));
}

STORY(table_heartbeat, heartbeat_table)
STORY(table_timesync, timesync_table)
STORY(table_shutdown, shutdown_table)
