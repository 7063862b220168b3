/* A storage controller: handshake, sub-channels, reset, and the start of each
 * request.
 *
 * Invariants: every PACKET becomes exactly one machine of kind scsi, so that
 * exactly one answer ends it; when there is no place for one, the answer is owed
 * by the controller itself. `outstanding` counts the SRBs among them. */
#include "statemachines/storvsp.h"

#include "statemachines/channel.h"
#include "statemachines/device.h"
#include "statemachines/disk.h"
#include "statemachines/effects.h"
#include "statemachines/lun.h"
#include "statemachines/machines.h"
#include "statemachines/operator.h"
#include "statemachines/ring_packet.h"
#include "statemachines/scsi.h"
#include "statemachines/vstor.h"

_Static_assert((int)storvsp_EV_OPENED == DEVICE_OPENED && (int)storvsp_EV_CLOSED == DEVICE_CLOSED &&
	       (int)storvsp_EV_PACKET == DEVICE_PACKET && (int)storvsp_EV_GONE == DEVICE_GONE &&
	       (int)storvsp_EV_SENT == DEVICE_SENT && (int)storvsp_EV_BLOCKED == DEVICE_BLOCKED &&
	       (int)storvsp_EV_RETRY == DEVICE_RETRY,
	       "codes that channels use");

enum { SUBS = 16, LUNS = 64, OFFER_FLAGS = 1 /* VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE */ };
enum { REVOKE_FOR_GOOD = 2 }; /* value of channel REVOKE */

/* ba6163d9-04a1-4d29-b605-72e2ffb1dc7f (HV_SCSI_GUID), as on the wire */
static const uint64_t scsi_type[2] = { 0x4d2904a1ba6163d9u, 0x7fdcb1ffe27205b6u };
/* 686f6c64-6661-7374-8000-0000000000nn: nn is the controller */
static const uint64_t scsi_instance[2] = { 0x73746661686f6c64u, 0x0000000000000080u };

static bool holds_unoffered(const void *self)
{
	const struct storvsp *s = self;

	return s->channel_generation == 0 && s->luns == 0;
}

static bool holds_channel(const void *self)
{
	return ((const struct storvsp *)self)->channel_generation != 0;
}

static bool holds_version(const void *self)
{
	return holds_channel(self) && ((const struct storvsp *)self)->version != 0;
}

static bool holds_reset(const void *self)
{
	const struct storvsp *s = self;

	return holds_version(s) && s->reset_held && s->outstanding > 0;
}

static void configure(struct sm_cx *cx)
{
	((struct storvsp *)cx->self)->vps = ((const struct rec_config *)cx->p)->vps;
}

/* ---- packets ---------------------------------------------------------- */

/* Copy of the vstor packet, completed with zeros; returns how long it was. */
static uint32_t packet_of(const struct sm_cx *cx, uint8_t ret[VSTOR_BYTES])
{
	const struct rec_channel_packet *p = cx->p;
	uint32_t len = cx->tail_len - p->gpa_bytes;

	memset(ret, 0, VSTOR_BYTES);
	memcpy(ret, cx->tail + p->gpa_bytes, len < VSTOR_BYTES ? len : VSTOR_BYTES);
	return len;
}

/* Operation of a packet that is long enough to have one; 0: none. */
static uint32_t op_of(const struct sm_cx *cx, uint8_t ret[VSTOR_BYTES])
{
	return packet_of(cx, ret) >= VSTOR_BYTES ? get_le32(ret) : 0;
}

static bool on_primary(const struct sm_cx *cx)
{
	return ((const struct storvsp *)cx->self)->channel == cx->from.index;
}

static bool asks(const struct sm_cx *cx, enum vstor_op op)
{
	uint8_t packet[VSTOR_BYTES];

	return on_primary(cx) && op_of(cx, packet) == op;
}

static void count_packet(struct sm_cx *cx)
{
#if HOLDFAST_VARIANT_B
	((struct storvsp *)cx->self)->packets++;
#else
	(void)cx;
#endif
}

/* Answers that no machine of kind scsi can take wait here, in their order. The
 * channel answers each SEND in the same turn, and one packet is taken in a turn,
 * so SENT is about the oldest one that is owed on the channel it comes from. */
struct owed {
	uint32_t channel, generation;
	uint64_t transaction;
	uint8_t packet[VSTOR_BYTES];
};
_Static_assert(sizeof(struct owed) == 80, "as in storvsp.def");
enum { OWED_MAX = 64 };

/* Those that are owed; *@ret_first: the oldest on @channel, the number: none. */
static unsigned read_owed(const struct sm_cx *cx, uint32_t channel, struct owed list[OWED_MAX],
			  unsigned *ret_first)
{
	size_t bytes = sm_blob_read(cx, ((const struct storvsp *)cx->self)->owed, 0, list,
				    OWED_MAX * sizeof(*list));
	unsigned n = (unsigned)(bytes / sizeof(*list)), first = 0;

	while (first < n && list[first].channel != channel)
		first++;
	*ret_first = first;
	return n;
}

static void pay(struct sm_cx *cx, uint32_t channel)
{
	struct rec_channel_send s = { .type = RING_COMPLETION, .ends_request = 1 };
	struct owed list[OWED_MAX];
	unsigned first, n = read_owed(cx, channel, list, &first);
	struct sm_ref to;

	if (first == n)
		return;
	to = (struct sm_ref){ KIND_channel, (uint16_t)channel, list[first].generation };
	s.transaction = list[first].transaction;
	sm_post(cx, to, channel_EV_SEND, &s, list[first].packet, VSTOR_BYTES);
}

static void pay_again(struct sm_cx *cx)
{
	pay(cx, ((const struct rec_relid *)cx->p)->relid);
}

static void pay_next(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	struct owed list[OWED_MAX];
	unsigned first, n = read_owed(cx, cx->from.index, list, &first);

	if (first == n)
		return;
	memmove(&list[first], &list[first + 1], (n - first - 1) * sizeof(*list));
	sm_blob_set(cx, &s->owed, list, (n - 1) * sizeof(*list));
	pay(cx, cx->from.index);
}

/* Without a machine that waits for room. More than can be owed is lost: the guest
 * has more packets out than there are places in the whole VM. */
static void send_straight(struct sm_cx *cx, const uint8_t packet[VSTOR_BYTES])
{
	const struct rec_channel_packet *p = cx->p;
	struct storvsp *s = cx->self;
	struct owed o = { .channel = cx->from.index, .generation = cx->from.generation,
			  .transaction = p->transaction };

	memcpy(o.packet, packet, VSTOR_BYTES);
	if ((p->flags & RING_WANTS_COMPLETION) &&
	    sm_blob_len(cx, s->owed) < OWED_MAX * sizeof(o) &&
	    sm_blob_append(cx, &s->owed, &o, sizeof(o))) {
		pay(cx, o.channel);
		return;
	}
	s->lost += (p->flags & RING_WANTS_COMPLETION) != 0;
	sm_post(cx, cx->from, channel_EV_ENDED, NULL, NULL, 0);
}

/* Answers the packet by a machine that waits for room. */
static struct sm_ref reply(struct sm_cx *cx, const uint8_t packet[VSTOR_BYTES], bool held)
{
	const struct rec_channel_packet *p = cx->p;
	struct rec_reply r = {
		.transaction = p->transaction, .channel = cx->from.index,
		.channel_generation = cx->from.generation, .controller = cx->ref.index,
		.type = RING_COMPLETION, .held = held, .ends_request = 1,
		.completion_wanted = p->flags & RING_WANTS_COMPLETION,
	};
	struct sm_ref to = sm_spawn(cx, KIND_scsi);

	if (to.generation == 0)
		send_straight(cx, packet);
	else
		sm_post(cx, to, scsi_EV_REPLY, &r, packet, VSTOR_BYTES);
	return to;
}

static void complete(struct sm_cx *cx, uint32_t status)
{
	uint8_t packet[VSTOR_BYTES];

	count_packet(cx);
	packet_of(cx, packet);
	vstor_complete(packet, status);
	reply(cx, packet, false);
}

static void refuse(struct sm_cx *cx)
{
	complete(cx, VSTOR_E_STATE);
}

static void accept(struct sm_cx *cx)
{
	complete(cx, VSTOR_OK);
}

/* ---- handshake -------------------------------------------------------- */

static bool is_primary(const struct sm_cx *cx)
{
	return ((const struct rec_channel_open *)cx->p)->subchannel == 0;
}

static bool asks_begin(const struct sm_cx *cx)
{
	return asks(cx, VSTOR_BEGIN);
}

static bool asks_version(const struct sm_cx *cx)
{
	return asks(cx, VSTOR_QUERY_VERSION);
}

static uint16_t version_of(const struct sm_cx *cx)
{
	uint8_t packet[VSTOR_BYTES];

	packet_of(cx, packet);
	return get_le16(packet + VSTOR_AT_UNION);
}

/* Windows 10, 8.1, 8 (VMSTOR_PROTO_VERSION_*). */
static bool version_known(const struct sm_cx *cx)
{
	uint16_t v = version_of(cx);

	return asks_version(cx) && (v == 0x0602 || v == 0x0600 || v == 0x0501);
}

static void accept_version(struct sm_cx *cx)
{
	((struct storvsp *)cx->self)->version = version_of(cx);
	complete(cx, VSTOR_OK);
}

static void refuse_version(struct sm_cx *cx)
{
	complete(cx, VSTOR_E_REVISION);
}

static bool asks_properties(const struct sm_cx *cx)
{
	return asks(cx, VSTOR_QUERY_PROPERTIES);
}

/* One channel for each processor, the primary among them. */
static uint16_t subs_of(const struct storvsp *s)
{
	if (s->vps == 0)
		return 0;
	return (uint16_t)(s->vps - 1 < SUBS ? s->vps - 1 : SUBS);
}

static void tell_properties(struct sm_cx *cx)
{
	const struct storvsp *s = cx->self;
	uint8_t packet[VSTOR_BYTES];

	count_packet(cx);
	packet_of(cx, packet);
	vstor_complete(packet, VSTOR_OK);
	memset(packet + VSTOR_AT_UNION, 0, VSTOR_BYTES - VSTOR_AT_UNION);
	put_le16(packet + VSTOR_AT_UNION + 4, subs_of(s));
	/* STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL */
	put_le32(packet + VSTOR_AT_UNION + 8, subs_of(s) > 0);
	put_le32(packet + VSTOR_AT_UNION + 12, VSTOR_TRANSFER);
	reply(cx, packet, false);
}

static bool asks_end(const struct sm_cx *cx)
{
	return asks(cx, VSTOR_END);
}

/* ---- channels --------------------------------------------------------- */

static struct sm_ref make_channel(struct sm_cx *cx, uint16_t subchannel)
{
	struct sm_ref to = sm_spawn(cx, KIND_channel);
	struct rec_offer o = {
		.type = { scsi_type[0], scsi_type[1] },
		.instance = { scsi_instance[0],
			      scsi_instance[1] | (uint64_t)cx->ref.index << 56 },
		.relid = to.index, .subchannel = subchannel, .flags = OFFER_FLAGS,
		.device_kind = KIND_storvsp, .device_index = cx->ref.index,
		.device_generation = cx->ref.generation,
	};

	sm_post(cx, to, channel_EV_IDENTITY, &o, NULL, 0);
	return to;
}

static unsigned free_subs(const struct storvsp *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SUBS; i++)
		n += s->sub_generation[i] == 0;
	return n;
}

static uint16_t subs_asked(const struct sm_cx *cx)
{
	uint8_t packet[VSTOR_BYTES];

	packet_of(cx, packet);
	return get_le16(packet + VSTOR_AT_UNION);
}

static bool subs_allowed(const struct sm_cx *cx)
{
	const struct storvsp *s = cx->self;
	unsigned have = SUBS - free_subs(s), n = subs_asked(cx);

	return asks(cx, VSTOR_CREATE_SUBCHANNELS) && n + have <= subs_of(s) &&
	       n <= sm_room(cx, KIND_channel);
}

static void grant_subs(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	unsigned n = subs_asked(cx);

	for (uint16_t i = 0; n && i < SUBS; i++) {
		struct sm_ref c;

		if (s->sub_generation[i])
			continue;
		c = make_channel(cx, (uint16_t)(i + 1));
		s->sub[i] = c.index;
		s->sub_generation[i] = c.generation;
		n--;
	}
	complete(cx, VSTOR_OK);
}

static void forget_channel(struct sm_cx *cx)
{
	const struct rec_channel_open *p = cx->p;
	struct storvsp *s = cx->self;

	if (s->channel == p->channel && s->channel_generation == cx->from.generation) {
		s->channel = 0;
		s->channel_generation = 0;
	}
	for (unsigned i = 0; i < SUBS; i++) {
		if (s->sub[i] == p->channel && s->sub_generation[i] == cx->from.generation) {
			s->sub[i] = 0;
			s->sub_generation[i] = 0;
		}
	}
}

/* The primary was closed: its sub-channels are taken back (protocol B.9). */
static void forget_guest(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	struct rec_relid r = { 0 };

	s->version = 0;
	s->news = false;
	lun_forget_guest(s);
	for (unsigned i = 0; i < SUBS; i++) {
		struct sm_ref to = { KIND_channel, s->sub[i], s->sub_generation[i] };

		if (to.generation)
			sm_post(cx, to, channel_EV_REVOKE, &r, NULL, 0);
	}
}

/* ---- disks ------------------------------------------------------------ */

static void answer_disk(struct sm_cx *cx, enum lun_answer answer, uint32_t lun)
{
	struct rec_relid r = { .relid = lun, .value = (uint32_t)answer };

	sm_post(cx, cx->from, disk_EV_ANSWER, &r, NULL, 0);
}

static void release_disk(struct sm_cx *cx, uint16_t disk)
{
	sm_post(cx, ref_of(KIND_disk, disk), disk_EV_RELEASED, NULL, NULL, 0);
}

static void take_lun(struct sm_cx *cx)
{
	struct rec_lun l = *(const struct rec_lun *)cx->p;
	enum lun_answer answer = LUN_OCCUPIED;

	if (l.lun == LUN_ANY)
		l.lun = (uint16_t)lun_choose(cx->self);
	if (l.lun < LUNS)
		answer = lun_change(cx->self, &l);
	answer_disk(cx, answer, l.lun);
	if (answer == LUN_GONE)
		release_disk(cx, cx->from.index);
}

static bool can_offer(const struct sm_cx *cx)
{
	return ((const struct rec_lun *)cx->p)->block_bytes && sm_room(cx, KIND_channel);
}

static void offer(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	struct sm_ref c = make_channel(cx, 0);

	s->channel = c.index;
	s->channel_generation = c.generation;
	take_lun(cx);
}

static void refuse_lun(struct sm_cx *cx)
{
	answer_disk(cx, sm_room(cx, KIND_channel) ? LUN_OCCUPIED : LUN_NO_ROOM, 0);
}

/* ENUMERATE_BUS: the guest looks for LUNs again, and asks those it knows (protocol
 * C.5), which may have something to tell. */
static void tell_news(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	struct rec_reply r = {
		.channel = s->channel, .channel_generation = s->channel_generation,
		.controller = cx->ref.index, .type = RING_INBAND, .completion_wanted = 1,
	};
	uint8_t packet[VSTOR_BYTES] = { VSTOR_ENUMERATE_BUS };
	struct sm_ref to = sm_spawn(cx, KIND_scsi);

	s->news = to.generation == 0;
	if (to.generation)
		sm_post(cx, to, scsi_EV_REPLY, &r, packet, sizeof(packet));
}

static void take_lun_tell(struct sm_cx *cx)
{
	const struct storvsp *s = cx->self;
	uint64_t luns = s->luns, changed = s->changed;

	take_lun(cx);
	if (s->luns != luns || s->changed != changed)
		tell_news(cx);
}

/* ---- requests --------------------------------------------------------- */

static bool asks_srb(const struct sm_cx *cx)
{
	uint8_t packet[VSTOR_BYTES];

	return op_of(cx, packet) == VSTOR_EXECUTE_SRB;
}

static void tell_busy(struct sm_cx *cx)
{
	uint8_t packet[VSTOR_BYTES];

	count_packet(cx);
	packet_of(cx, packet);
	vstor_end_srb(packet, SRB_SUCCESS, SCSI_BUSY, 0);
	reply(cx, packet, false);
}

static void start_srb(struct sm_cx *cx)
{
	const struct rec_channel_packet *p = cx->p;
	struct storvsp *s = cx->self;
	struct rec_srb r = {
		.transaction = p->transaction, .channel = cx->from.index,
		.channel_generation = cx->from.generation, .gpa_bytes = p->gpa_bytes,
		.gpa_ranges = p->gpa_ranges, .controller = cx->ref.index,
		.completion_wanted = p->flags & RING_WANTS_COMPLETION,
	};
	uint8_t packet[VSTOR_BYTES];
	struct sm_ref to;

	if (sm_room(cx, KIND_scsi) == 0) {
		tell_busy(cx);
		return;
	}
	count_packet(cx);
	packet_of(cx, packet);
	lun_describe(s, packet, &r);
	to = sm_spawn(cx, KIND_scsi);
	s->outstanding++;
	s->requests++;
	sm_post(cx, to, scsi_EV_SRB, &r, cx->tail, p->gpa_bytes + VSTOR_BYTES);
}

/* One turn may answer every write there is (a ring gets room, or is closed), and
 * each is to be told to every orphan: all of a turn are told at once, by what
 * spans them. Who is stale without need ends in UNIT ATTENTION, and is sent
 * again. */
static void note_overlap(struct sm_cx *cx, const struct rec_ended *p)
{
	struct storvsp *s = cx->self;
	uint64_t end = p->lba + p->count;

	if (s->answered_end == 0) {
		s->answered_lba = p->lba;
		s->answered_end = end;
		s->answered_disk = p->disk;
		sm_post(cx, cx->ref, storvsp_EV_OVERLAPS, NULL, NULL, 0);
		return;
	}
	if (p->lba < s->answered_lba)
		s->answered_lba = p->lba;
	if (end > s->answered_end)
		s->answered_end = end;
	if (p->disk != s->answered_disk)
		s->answered_disk = OVERLAP_ANY;
}

static void count_ended(struct sm_cx *cx)
{
	const struct rec_ended *p = cx->p;
	struct storvsp *s = cx->self;

	if (p->is_request && s->outstanding)
		s->outstanding--;
	if (lun_ended(s, p->lun))
		release_disk(cx, s->disk[p->lun - 1]);
	if (p->count && s->orphans)
		note_overlap(cx, p);
}

static void tell_overlaps(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	struct rec_overlap o = { .lba = s->answered_lba, .disk = s->answered_disk,
				 .count = s->answered_end - s->answered_lba };

	s->answered_lba = s->answered_end = 0;
	s->answered_disk = 0;
	sm_post_all(cx, KIND_scsi, scsi_EV_OVERLAP, &o, NULL, 0);
}

static void count_ended_tell(struct sm_cx *cx)
{
	count_ended(cx);
	if (((const struct storvsp *)cx->self)->news)
		tell_news(cx);
}

static void set_mode(struct sm_cx *cx)
{
	const struct rec_relid *p = cx->p;
	struct storvsp *s = cx->self;
	uint64_t bit = (uint64_t)1 << p->relid;

	s->write_through = p->value ? s->write_through | bit : s->write_through & ~bit;
}

static void count_orphan(struct sm_cx *cx)
{
	((struct storvsp *)cx->self)->orphans++;
}

static void uncount_orphan(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;

	if (s->orphans)
		s->orphans--;
}

/* ---- reset ------------------------------------------------------------ */

static bool is_reset(const struct sm_cx *cx)
{
	return asks(cx, VSTOR_RESET_LUN) || asks(cx, VSTOR_RESET_ADAPTER) ||
	       asks(cx, VSTOR_RESET_BUS);
}

static bool resets_idle(const struct sm_cx *cx)
{
	return is_reset(cx) && ((const struct storvsp *)cx->self)->outstanding == 0;
}

/* RESET_LUN is about one of them. */
static void reset_luns(struct sm_cx *cx)
{
	uint8_t packet[VSTOR_BYTES];
	bool one = op_of(cx, packet) == VSTOR_RESET_LUN;

	if (!one)
		lun_reset(cx->self, UINT64_MAX);
	else if (packet[VSTOR_AT_LUN] < LUNS)
		lun_reset(cx->self, (uint64_t)1 << packet[VSTOR_AT_LUN]);
}

static void reset_at_once(struct sm_cx *cx)
{
	reset_luns(cx);
	accept(cx);
}

static bool asks_reset(const struct sm_cx *cx)
{
	return is_reset(cx) && sm_room(cx, KIND_scsi);
}

static void begin_reset(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	uint8_t packet[VSTOR_BYTES];
	struct sm_ref held;

	count_packet(cx);
	reset_luns(cx);
	packet_of(cx, packet);
	vstor_complete(packet, VSTOR_OK);
	held = reply(cx, packet, true);
	s->reset_held = true;
	s->reset_index = held.index;
	s->reset_generation = held.generation;
}

static bool was_last(const struct sm_cx *cx)
{
	const struct rec_ended *p = cx->p;

	return p->is_request && ((const struct storvsp *)cx->self)->outstanding == 1;
}

static void release_reset(struct sm_cx *cx)
{
	struct storvsp *s = cx->self;
	struct sm_ref held = { KIND_scsi, s->reset_index, s->reset_generation };

	sm_post(cx, held, scsi_EV_GO, NULL, NULL, 0);
	s->reset_held = false;
	s->reset_index = 0;
	s->reset_generation = 0;
}

static void end_reset(struct sm_cx *cx)
{
	count_ended_tell(cx);
	release_reset(cx);
}

static void release_forget(struct sm_cx *cx)
{
	release_reset(cx);
	forget_guest(cx);
}

/* ---- taken away ------------------------------------------------------- */

static bool holds_leaving(const void *self)
{
	const struct storvsp *s = self;

	return !s->reset_held && !s->news;
}

static bool is_meant(const struct sm_cx *cx)
{
	return ((const struct rec_operator *)cx->p)->arg == cx->ref.index;
}

static void revoke(struct sm_cx *cx, uint16_t index, uint32_t generation, uint32_t how)
{
	struct rec_relid r = { .value = how };
	struct sm_ref to = { KIND_channel, index, generation };

	if (generation)
		sm_post(cx, to, channel_EV_REVOKE, &r, NULL, 0);
}

/* Its disks go first, then the channels: the guest is told by the rescind. */
static void remove(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	struct storvsp *s = cx->self;
	struct rec_relid r = { .relid = cx->ref.index };

	s->news = false;
	sm_post_all(cx, KIND_disk, disk_EV_WITHDRAW, &r, NULL, 0);
	for (unsigned i = 0; i < SUBS; i++)
		revoke(cx, s->sub[i], s->sub_generation[i], REVOKE_FOR_GOOD);
	revoke(cx, s->channel, s->channel_generation, REVOKE_FOR_GOOD);
	operator_report(cx, p->op, p->token, OPERATOR_OK, "the guest is told that it goes");
}

static void release_remove(struct sm_cx *cx)
{
	release_reset(cx);
	remove(cx);
}

static void refuse_remove(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	operator_report(cx, p->op, p->token, OPERATOR_E_NONE, "there is no such controller");
}

static void check(struct sm_cx *cx)
{
	sm_post(cx, cx->ref, storvsp_EV_CHECK, NULL, NULL, 0);
}

static bool takes_away(const struct sm_cx *cx)
{
	return ((const struct rec_lun *)cx->p)->block_bytes == 0;
}

static void take_lun_check(struct sm_cx *cx)
{
	take_lun(cx);
	check(cx);
}

static void forget_check(struct sm_cx *cx)
{
	forget_channel(cx);
	check(cx);
}

static void count_ended_check(struct sm_cx *cx)
{
	count_ended(cx);
	check(cx);
}

static bool nothing_left(const struct sm_cx *cx)
{
	const struct storvsp *s = cx->self;

	return s->channel_generation == 0 && free_subs(s) == SUBS && s->luns == 0 &&
	       s->leaving == 0 && s->outstanding == 0;
}

#define SM_DEF "statemachines/storvsp.def"
#define SM_PREFIX storvsp
#define SM_KIND KIND_storvsp
#define SM_CAPACITY CAPACITY_storvsp
#define SM_DOC \
	"A synthetic SCSI controller: handshake, sub-channels, requests, reset " \
	"(protocol C; drivers/scsi/storvsc_drv.c)."
#include "engine/sm_define.h"
