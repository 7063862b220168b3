/* tests/soft/attack_state.c - every state of the bus, a channel, a GPADL and a
 * controller, and in each of them whatever a guest can send.
 *
 * A cycle has the VM for itself, without a client: it connects, climbs to a
 * state that the dice choose, sends a volley while the state lasts, and leaves by
 * closing, unloading, or connecting once more. Nothing is waited for but what a
 * climb needs, so that the volley meets the states in which the server itself
 * waits. The rings lie in the pool; only READs touch a disk. */
#include "tests/soft/attack_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	POOL = 32,          /* pages; the first are the rings */
	DATA_PAGES = 16,    /* of a READ */
	BLOCK = 512,
	SUB_PAGE = 8,       /* a sub-channel's rings begin there */
	HANDLE = 0x5001,
	OTHER_HANDLE = 0x5002,
	CONNECTION = 4,
	PATIENCE_S = 60,
	POST_NS = 8000000,
	SOME_NS = 50000000,
	BUSY_READS = 96,
	LISTS = 4,
	VOLLEY = 40,
};

/* How far a cycle climbs before its volley; each is on the way to the next up to READY. */
enum height {
	LINKED,             /* a version, no offers */
	OFFERED,
	HALF_GPADL,
	MAPPING,            /* OPEN posted, not waited for */
	OPENED,
	BEGUN, VERSIONED, PROPERTIED,
	READY,
	BUSY,               /* READs in flight */
	CLOSING,            /* closed while they are */
	REVOKING,           /* its ring broken while they are */
	REVOKED,
	RESETTING,
	DEAF,               /* answers wait for room */
	FETCHING,           /* requests whose lists are read from memory */
	LAST_SUB,           /* a sub-channel is open as well; its primary is closed first */
};

/* What does not last, or needs luck, more often. */
static const uint8_t heights[] = {
	LINKED, OFFERED, HALF_GPADL, MAPPING, MAPPING, MAPPING, MAPPING, MAPPING, OPENED, BEGUN,
	VERSIONED, PROPERTIED, READY, BUSY, CLOSING, CLOSING, REVOKING, REVOKING, REVOKED, RESETTING,
	RESETTING, DEAF, DEAF, FETCHING, LAST_SUB, LAST_SUB, LAST_SUB, LAST_SUB, LAST_SUB,
};

struct cycle {
	struct attack *attack;
	struct dice *dice;
	struct guestring ring;
	uint32_t half, relid, first_page; /* of the rings, in the pool */
	uint64_t id;
};

/* ---- messages --------------------------------------------------------------------- */

static _Atomic uint32_t seen[ATTACK_TYPES], primary_relid, sub_relid;

static void on_message(void *context, const uint8_t *payload, uint32_t bytes)
{
	struct bus_offer offer;
	uint32_t type = 0;

	(void)context;
	if (bytes >= sizeof(type))
		memcpy(&type, payload, sizeof(type));
	if (type == BUS_OFFER && bytes >= 188) {
		memset(&offer, 0, sizeof(offer));
		memcpy(&offer, payload, bytes < sizeof(offer) ? bytes : sizeof(offer));
		if (memcmp(offer.type, GUESTBUS_SCSI, sizeof(offer.type)) == 0)
			atomic_store(offer.index ? &sub_relid : &primary_relid, offer.relid);
	}
	atomic_fetch_add(&seen[type % ATTACK_TYPES], 1);
}

static void on_flag(void *context, uint32_t vp, uint32_t relid)
{
	(void)context;
	(void)vp;
	(void)relid;
}

/* What may stay out: the offer of a sub-channel, a rescind. */
static bool await_some(uint32_t type, uint32_t before)
{
	const uint64_t since = softvm_now_ns();

	while (atomic_load(&seen[type]) == before) {
		if (softvm_now_ns() - since > SOME_NS)
			return false;
		usleep(20);
	}
	return true;
}

/* What is owed. A channel that is taken back is not opened any more. */
static bool await(struct cycle *c, uint32_t type, uint32_t before)
{
	const uint32_t rescinded = atomic_load(&seen[BUS_RESCIND]);
	const uint64_t since = softvm_now_ns();

	while (atomic_load(&seen[type]) == before) {
		if (type == BUS_OPEN_RESULT && atomic_load(&seen[BUS_RESCIND]) != rescinded)
			return false;
		if (softvm_now_ns() - since > PATIENCE_S * UINT64_C(1000000000)) {
			fprintf(stderr, "attack: relid %u: no message of type %u\n", c->relid, type);
			atomic_fetch_add(&c->attack->unanswered, 1);
			return false;
		}
		usleep(20);
	}
	return true;
}

static void post(struct cycle *c, const void *message, uint32_t bytes)
{
	const uint64_t since = softvm_now_ns();
	uint16_t status = 0;
	uint32_t type;

	memcpy(&type, message, sizeof(type));
	attack_count(c->attack, ATTACK_DIRECTED);
	atomic_fetch_add(&c->attack->by_type[type % ATTACK_TYPES], 1);
	while (softvm_post(c->attack->vm, 0, CONNECTION, message, bytes, &status) > 0 &&
	       softvm_now_ns() - since < PATIENCE_S * UINT64_C(1000000000))
		usleep(10);
}

static void post_words(struct cycle *c, uint32_t type, uint32_t a, uint32_t b)
{
	const uint32_t words[4] = {type, 0, a, b};

	post(c, words, sizeof(words));
}

static void initiate(struct cycle *c)
{
	const struct bus_initiate m = {.header.type = BUS_INITIATE, .version = 5 << 16 | 3,
				       .sint = SOFTVM_SINT};

	post(c, &m, sizeof(m));
}

/* @pages of the pool; of these only the first @sent, the rest is a body's. */
static void gpadl(struct cycle *c, uint32_t relid, uint32_t handle, uint32_t pages, uint32_t sent)
{
	struct bus_gpadl_header m = {.header.type = BUS_GPADL_HEADER, .relid = relid,
				     .gpadl = handle, .ranges = 1,
				     .range_bytes = (uint16_t)(8 + 8 * pages),
				     .byte_count = pages * SOFTVM_PAGE};

	memcpy(m.pfn, &c->attack->pfn[sent < POOL - c->first_page ? c->first_page : 0],
	       sent * sizeof(m.pfn[0]));
	post(c, &m, (uint32_t)sizeof(m) - (26 - sent) * 8);
}

static void body(struct cycle *c, uint32_t handle, uint32_t n)
{
	struct bus_gpadl_body m = {.header.type = BUS_GPADL_BODY, .gpadl = handle};

	memcpy(m.pfn, c->attack->pfn, n * sizeof(m.pfn[0]));
	post(c, &m, 16 + n * 8);
}

static void open_channel(struct cycle *c, uint32_t relid, uint32_t handle)
{
	const struct bus_open m = {.header.type = BUS_OPEN, .relid = relid, .openid = relid,
				   .gpadl = handle, .downstream_page = c->half};

	post(c, &m, sizeof(m));
}

/* ---- packets ---------------------------------------------------------------------- */

static void signal_door(struct cycle *c)
{
	softvm_signal(c->attack->vm, 0, 0x2000 + c->relid);
}

static bool send(struct cycle *c, const void *list, uint32_t bytes,
		 const struct vstor_packet *vstor)
{
	const struct guestring_packet packet = {
		.type = bytes ? GUESTRING_GPA_DIRECT : GUESTRING_INBAND,
		.flags = GUESTRING_WANTS_COMPLETION, .id = ++c->id,
		.extra = list, .extra_bytes = bytes,
		.payload = vstor, .payload_bytes = sizeof(*vstor),
	};
	_Atomic uint32_t *write = &c->ring.out.header->write_index;
	bool signal;

	atomic_store(write, atomic_load(write) % c->ring.out.size & ~7u);
	if (guestring_send(&c->ring, &packet, &signal) != 0)
		return false;
	attack_count(c->attack, ATTACK_DIRECTED);
	return true;
}

static void handshake(struct cycle *c, uint32_t steps)
{
	static const uint32_t order[] = {VSTOR_BEGIN, VSTOR_VERSION, VSTOR_PROPERTIES, VSTOR_END};

	for (uint32_t i = 0; i < steps; i++) {
		struct vstor_packet p = {.operation = order[i], .flags = 1};

		if (order[i] == VSTOR_VERSION)
			p.u.protocol.version = 0x0602;
		send(c, NULL, 0, &p);
	}
	signal_door(c);
}

struct pages {
	uint32_t reserved, ranges, bytes, offset;
	uint64_t pfn[DATA_PAGES];
};

static bool srb(struct cycle *c, const uint8_t cdb[16], uint32_t bytes, bool in)
{
	struct vstor_packet p = {.operation = VSTOR_EXECUTE, .flags = 1};
	struct pages list = {.ranges = 1, .bytes = bytes};

	p.u.srb = (struct vstor_srb){.length = 52, .cdb_length = 16, .sense_length = 20,
				     .data_in = in, .transfer = bytes};
	memcpy(p.u.srb.cdb_or_sense, cdb, 16);
	memcpy(list.pfn, &c->attack->pfn[POOL - DATA_PAGES], sizeof(list.pfn));
	return send(c, bytes ? &list : NULL,
		    bytes ? 16 + 8 * ((bytes + SOFTVM_PAGE - 1) / SOFTVM_PAGE) : 0, &p);
}

/* Until the ring is full; it is emptied meanwhile, and some more go in. */
static void reads(struct cycle *c, uint32_t n)
{
	const uint32_t blocks = DATA_PAGES * SOFTVM_PAGE / BLOCK;
	const uint8_t cdb[16] = {0x28, [7] = (uint8_t)(blocks >> 8), [8] = (uint8_t)blocks};
	const uint64_t since = softvm_now_ns();

	while (n > 0 && softvm_now_ns() - since < POST_NS) {
		if (srb(c, cdb, DATA_PAGES * SOFTVM_PAGE, true)) {
			n--;
			continue;
		}
		signal_door(c);
		usleep(20);
	}
	signal_door(c);
}

static void not_ready(struct cycle *c, uint32_t n)
{
	static const uint8_t test_unit_ready[16];

	while (n-- > 0 && srb(c, test_unit_ready, 0, false))
		;
	signal_door(c);
}

/* MODE SELECT (10) of the caching page as it is, UNMAP of nothing: both lists lie in
 * the first page of the data. */
static void lists(struct cycle *c)
{
	static const uint8_t mode[16] = {0x55, 0x10, [8] = 28}, unmap[16] = {0x42, [8] = 8};
	uint8_t *page = c->attack->pool + (POOL - DATA_PAGES) * SOFTVM_PAGE;
	const bool select = dice_once_in(c->dice, 2);

	memset(page, 0, 64);
	if (select) {
		page[8] = 0x08;
		page[9] = 0x12;
		page[10] = 0x04;
	} else {
		page[1] = 6;
	}
	for (unsigned i = 0; i < LISTS; i++)
		srb(c, select ? mode : unmap, select ? 28 : 8, false);
	signal_door(c);
}

static void operation(struct cycle *c, uint32_t what, uint16_t n)
{
	struct vstor_packet p = {.operation = what, .flags = 1, .u.sub_channels = n};

	send(c, NULL, 0, &p);
	signal_door(c);
}

static void break_ring(struct cycle *c)
{
	atomic_store(&c->ring.out.header->write_index, dice_once_in(c->dice, 2) ? 4 : 0x7ffffff8);
	signal_door(c);
}

static void make_room(struct cycle *c)
{
	struct guestring_half *in = &c->ring.in;

	atomic_store(&in->header->read_index, atomic_load(&in->header->write_index));
	signal_door(c);
}

/* ---- climbing --------------------------------------------------------------------- */

static bool link_up(struct cycle *c, bool offers)
{
	const uint32_t version = atomic_load(&seen[BUS_VERSION]),
		       all = atomic_load(&seen[BUS_ALL_OFFERS]);

	initiate(c);
	if (!await(c, BUS_VERSION, version))
		return false;
	if (!offers)
		return true;
	post_words(c, BUS_REQUEST_OFFERS, 0, 0);
	if (!await(c, BUS_ALL_OFFERS, all))
		return false;
	c->relid = atomic_load(&primary_relid);
	return true;
}

static bool open_up(struct cycle *c, bool waits)
{
	const uint32_t opened = atomic_load(&seen[BUS_OPEN_RESULT]);

	guestring_init(&c->ring, c->attack->pool, c->half, c->half);
	gpadl(c, c->relid, HANDLE, 2 * c->half, 2 * c->half);
	open_channel(c, c->relid, HANDLE);
	return !waits || await(c, BUS_OPEN_RESULT, opened);
}

/* From now on the cycle is about a sub-channel, whose primary is closed: half of the
 * times while it is being opened, half while it has requests in flight. The primary
 * may be opened again before they end and before the sub-channel is released. */
static void lose_primary(struct cycle *c)
{
	const uint32_t offers = atomic_load(&seen[BUS_OFFER]), primary = c->relid;
	struct cycle again = *c;
	uint32_t opened;

	operation(c, VSTOR_SUB_CHANNELS, 1);
	if (!await_some(BUS_OFFER, offers))
		return;
	c->relid = atomic_load(&sub_relid);
	c->first_page = SUB_PAGE;
	opened = atomic_load(&seen[BUS_OPEN_RESULT]);
	guestring_init(&c->ring, c->attack->pool + SUB_PAGE * SOFTVM_PAGE, c->half, c->half);
	gpadl(c, c->relid, OTHER_HANDLE, 2 * c->half, 2 * c->half);
	open_channel(c, c->relid, OTHER_HANDLE);
	if (dice_once_in(c->dice, 2) && await(c, BUS_OPEN_RESULT, opened))
		reads(c, 1 + dice_below(c->dice, BUSY_READS));
	if (dice_once_in(c->dice, 4))
		post_words(c, BUS_CLOSE, c->relid, 0);
	else if (dice_once_in(c->dice, 4))
		break_ring(c);
	else if (dice_once_in(c->dice, 4))
		operation(c, VSTOR_RESET_ADAPTER, 0);
	post_words(c, BUS_CLOSE, primary, 0);
	if (dice_once_in(c->dice, 3))
		return;
	guestring_init(&again.ring, c->attack->pool, c->half, c->half);
	open_channel(c, primary, HANDLE);
	usleep(dice_below(c->dice, 500));
	handshake(&again, dice_below(c->dice, 5));
	post_words(c, BUS_RELEASED, c->relid, 0);
}

static void above_ready(struct cycle *c, enum height height)
{
	const uint32_t rescinded = atomic_load(&seen[BUS_RESCIND]);

	if (height == BUSY || height == CLOSING || height == REVOKING || height == RESETTING)
		reads(c, 1 + dice_below(c->dice, BUSY_READS));
	if (height == CLOSING)
		post_words(c, BUS_CLOSE, c->relid, 0);
	if (height == REVOKING || height == REVOKED)
		break_ring(c);
	if (height == REVOKED)
		await_some(BUS_RESCIND, rescinded);
	if (height == RESETTING && dice_once_in(c->dice, 2))
		lists(c);
	if (height == RESETTING)
		operation(c, VSTOR_RESET_BUS, 0);
	if (height == DEAF)
		not_ready(c, 400);
	if (height == FETCHING)
		lists(c);
	if (height == REVOKED && dice_once_in(c->dice, 2))
		gpadl(c, c->relid, OTHER_HANDLE, 60, 26);
	if (height == LAST_SUB)
		lose_primary(c);
}

static bool climb(struct cycle *c, enum height height)
{
	if (!link_up(c, height >= OFFERED))
		return false;
	if (height < HALF_GPADL)
		return true;
	if (height == HALF_GPADL) {
		gpadl(c, c->relid, HANDLE, 60, 26);
		return true;
	}
	if (!open_up(c, height >= OPENED))
		return false;
	if (height >= BEGUN)
		handshake(c, height >= READY ? 4 : height - OPENED);
	if (height > READY)
		above_ready(c, height);
	return true;
}

/* ---- the volley, and the way out --------------------------------------------------- */

static void blow(struct cycle *c, uint32_t what)
{
	switch (what) {
	case 0:
		open_channel(c, c->relid, HANDLE);
		break;
	case 1:
		post_words(c, BUS_MODIFY, c->relid, dice_below(c->dice, 2));
		break;
	case 2:
		body(c, HANDLE, 1 + dice_below(c->dice, 4));
		break;
	case 3:
		post_words(c, BUS_GPADL_TEARDOWN, c->relid, HANDLE);
		break;
	case 4:
		gpadl(c, c->relid, HANDLE, 4, 4);
		break;
	case 5:
		open_channel(c, 1 + dice_below(c->dice, 4), HANDLE);
		break;
	case 6:
		post_words(c, BUS_CLOSE, c->relid, 0);
		break;
	case 7:
		post_words(c, BUS_RELEASED, c->relid, 0);
		break;
	case 8:
		make_room(c);
		break;
	default:
		not_ready(c, 8);
	}
}

/* What keeps the state comes first and often; what ends it comes late. */
static void volley(struct cycle *c, enum height height)
{
	uint32_t n = dice_below(c->dice, VOLLEY), what = dice_below(c->dice, 10);
	const bool mixed = dice_once_in(c->dice, 2);
	const bool lasts = height == CLOSING || height == REVOKING || height == REVOKED ||
			   height < HALF_GPADL;

	for (; n > 0; n--) {
		if (mixed)
			what = dice_below(c->dice, 10);
		if (what == 6 && !lasts && n > 1)
			what = 1;
		if (what >= 8 && height < OPENED)
			what = 0;
		if (what >= 8 && (height == REVOKING || height == REVOKED))
			break_ring(c);
		else
			blow(c, what);
	}
}

/* What the ring tells meets the message before it in one batch. */
static void at_once(struct cycle *c, enum height height)
{
	if (height < OPENED)
		return;
	switch (height == DEAF ? 1 : dice_below(c->dice, 4)) {
	case 0:
		break_ring(c);
		break;
	case 1:
		make_room(c);
		break;
	case 2:
		signal_door(c);
		break;
	default:
		break;
	}
}

static void leave(struct cycle *c, enum height height)
{
	const uint32_t unloaded = atomic_load(&seen[BUS_UNLOADED]);

	if (height >= OPENED && dice_once_in(c->dice, 2))
		not_ready(c, 24);
	switch (dice_below(c->dice, 5)) {
	case 0:
		post_words(c, BUS_CLOSE, c->relid, 0);
		at_once(c, height);
		post_words(c, BUS_GPADL_TEARDOWN, c->relid, HANDLE);
		break;
	case 1:
		post_words(c, BUS_CLOSE, c->relid, 0);
		at_once(c, height);
		open_channel(c, c->relid, HANDLE);
		break;
	case 2:
		for (uint32_t n = 1 + dice_below(c->dice, 6); n > 0; n--)
			initiate(c);
		break;
	case 3:
		post_words(c, BUS_GPADL_TEARDOWN, c->relid, HANDLE);
		break;
	default:
		break;
	}
	post_words(c, BUS_UNLOAD, 0, 0);
	at_once(c, height);
	for (uint32_t n = dice_below(c->dice, 16); n > 0; n--)
		blow(c, dice_below(c->dice, 8));
	await(c, BUS_UNLOADED, unloaded);
}

/* ---- all -------------------------------------------------------------------------- */

static int begin(struct attack *attack)
{
	const struct softvm_handlers handlers = {.message = on_message, .flag = on_flag};
	int error = softvm_attach(&SOFTVM_FDS, &attack->vm);

	if (!error)
		error = softvm_start(attack->vm, &handlers);
	if (!error)
		error = softvm_pages(attack->vm, POOL, attack->pfn);
	if (error)
		return error;
	attack->pool = softvm_view(attack->vm, attack->pfn, POOL);
	return attack->pool ? 0 : -ENOMEM;
}

int attack_states(struct attack *attack, uint64_t cycles)
{
	struct dice dice = {attack->seed * 1000003 + 7 + attack_total(attack)};
	int error = begin(attack);

	for (uint64_t i = 0; i < cycles && !error; i++) {
		struct cycle c = {.attack = attack, .dice = &dice,
				  .half = dice_once_in(&dice, 2) ? 2 : 4};
		const enum height height = heights[dice_below(&dice, sizeof(heights))];

		if (climb(&c, height))
			volley(&c, height);
		leave(&c, height);
		if (atomic_load(&attack->unanswered))
			error = -ETIMEDOUT;
	}
	if (!error)
		error = softvm_stop(attack->vm);
	softvm_detach(attack->vm);
	attack->pool = NULL;
	return error;
}
