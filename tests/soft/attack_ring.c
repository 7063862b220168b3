/* tests/soft/attack_ring.c - a sub-channel with rings that are not what they
 * should be.
 *
 * Requests are whole and wild by turns: every opcode, every LUN but the good
 * client's for what writes, page lists that are too long, too short, outside
 * RAM, overlapping. Then packets that do not hold together, indices that jump,
 * and bytes that change while they are read. A READ moves data into the pool or
 * nowhere; only packets whose pages are merely read offer bytes to be flipped. */
#include "tests/soft/attack.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	RING_PAGES = ATTACK_RING_PAGES / 2,
	ROUND_MAX = 3000,
	PAUSE_US = 2000,
	LIST_PAGES = 140,
	FLOOD = 48,
	VSTOR_CDB = 28,
};

struct hit {
	struct attack *attack;
	struct dice *dice;
	struct guestbus_channel *channel;
	uint64_t id;
};

/* ---- requests ----------------------------------------------------------------------- */

static bool changes_disk(uint8_t opcode)
{
	switch (opcode) {
	case 0x00: case 0x03: case 0x12: case 0x1a: case 0x25: case 0x28: case 0x08: case 0x88:
	case 0xa8: case 0x5a: case 0x9e: case 0xa0: case 0x35: case 0x91: case 0x1b:
		return false;
	default:
		return true;
	}
}

static bool fills_memory(uint8_t opcode)
{
	return !changes_disk(opcode);
}

static uint8_t some_opcode(struct dice *dice)
{
	static const uint8_t known[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x1b, 0x25, 0x28,
					0x2a, 0x2f, 0x35, 0x41, 0x42, 0x5a, 0x88, 0x8a, 0x8f,
					0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0x2a, 0x28};

	return dice_once_in(dice, 4) ? (uint8_t)dice_next(dice)
				     : known[dice_below(dice, sizeof(known))];
}

static void fill_cdb(struct dice *dice, uint8_t *cdb)
{
	cdb[0] = some_opcode(dice);
	for (unsigned i = 1; i < 16; i++)
		cdb[i] = dice_once_in(dice, 2) ? 0 : (uint8_t)dice_number(dice);
	if (dice_once_in(dice, 2))
		memset(cdb + 1, 0, 7); /* low addresses */
	if (dice_once_in(dice, 2))
		cdb[7] = 0;
}

static void fill_srb(struct hit *hit, struct vstor_srb *srb)
{
	struct dice *dice = hit->dice;

	*srb = (struct vstor_srb){.length = 52, .cdb_length = 16, .sense_length = 20};
	fill_cdb(dice, srb->cdb_or_sense);
	srb->lun = hit->attack->victim;
	if (dice_once_in(dice, 4))
		srb->lun = (uint8_t)dice_next(dice);
	if (srb->lun == 0 && changes_disk(srb->cdb_or_sense[0]))
		srb->lun = hit->attack->victim ? hit->attack->victim : 77;
	if (dice_once_in(dice, 16))
		srb->target = (uint8_t)dice_next(dice);
	if (dice_once_in(dice, 16))
		srb->cdb_length = (uint8_t)dice_next(dice);
	srb->data_in = (uint8_t)dice_below(dice, 4);
	srb->transfer = dice_once_in(dice, 4) ? (uint32_t)dice_number(dice)
					      : dice_below(dice, 33) * 512;
}

struct list {
	uint32_t reserved, ranges;
	uint32_t word[2 + 2 * LIST_PAGES];
};

/* A range; returns its bytes in the list. */
static uint32_t fill_range(struct hit *hit, uint32_t transfer, bool fills, uint32_t *word,
			   uint32_t room)
{
	struct dice *dice = hit->dice;
	uint32_t len = dice_once_in(dice, 8) ? (uint32_t)dice_number(dice) : transfer;
	uint32_t offset = dice_once_in(dice, 4) ? dice_below(dice, 5000) : 0;
	uint64_t pages = ((uint64_t)len + offset + SOFTVM_PAGE - 1) / SOFTVM_PAGE;

	if (dice_once_in(dice, 16))
		pages = dice_below(dice, 8);
	if (8 + pages * 8 > room)
		pages = (room - 8) / 8;
	word[0] = len;
	word[1] = offset;
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t pfn = attack_page(hit->attack, dice);

		if (!fills && dice_once_in(dice, 2))
			pfn = dice_below(dice, 16384);
		memcpy(&word[2 + 2 * i], &pfn, sizeof(pfn));
	}
	return (uint32_t)(8 + pages * 8);
}

static uint32_t fill_list(struct hit *hit, const struct vstor_srb *srb, struct list *list)
{
	const uint32_t ranges = dice_once_in(hit->dice, 8) ? dice_below(hit->dice, 5) : 1;
	const bool fills = fills_memory(srb->cdb_or_sense[0]);
	uint32_t bytes = 0;

	for (list->ranges = 0; list->ranges < ranges && bytes + 16 < sizeof(list->word);
	     list->ranges++)
		bytes += fill_range(hit, srb->transfer, fills, list->word + bytes / 4,
				    (uint32_t)sizeof(list->word) - bytes);
	if (dice_once_in(hit->dice, 32))
		list->ranges = (uint32_t)dice_number(hit->dice);
	list->reserved = (uint32_t)dice_next(hit->dice);
	return 8 + bytes;
}

/* ---- the ring ------------------------------------------------------------------------- */

static void offer_spot(struct hit *hit, uint32_t at)
{
	const struct guestring_half *out = &hit->channel->ring.out;

	atomic_store(&hit->attack->spot[dice_below(hit->dice, ATTACK_SPOTS)],
		     out->data + at % out->size);
}

static void forget_spots(struct attack *attack)
{
	for (unsigned i = 0; i < ATTACK_SPOTS; i++)
		atomic_store(&attack->spot[i], NULL);
}

/* Bytes of the packet at ring index @write that may change under way. */
static void offer_spots(struct hit *hit, uint32_t write, uint32_t list)
{
	offer_spot(hit, write + dice_below(hit->dice, 8)); /* descriptor */
	offer_spot(hit, write + 16 + dice_below(hit->dice, list));
	offer_spot(hit, write + 16 + list + VSTOR_CDB + 1 + dice_below(hit->dice, 15));
	offer_spot(hit, write + 16 + list + 24 + dice_below(hit->dice, 4)); /* transfer */
}

/* The server may have stopped reading, or the indices may be nonsense. */
static void drain(struct hit *hit)
{
	struct guestring_half *in = &hit->channel->ring.in;

	atomic_store(&in->header->read_index, atomic_load(&in->header->write_index));
	if (atomic_load(&in->header->pending_send_sz) != 0)
		guestbus_signal(hit->channel);
}

/* An index that this side can go on with; the server had time to see the other. */
static uint32_t mend_index(struct hit *hit)
{
	struct guestring_half *out = &hit->channel->ring.out;
	const uint32_t write = atomic_load(&out->header->write_index) % out->size & ~7u;

	atomic_store(&out->header->write_index, write);
	return write;
}

static void send(struct hit *hit, uint16_t type, const void *extra, uint32_t extra_bytes,
		 const struct vstor_packet *vstor)
{
	struct guestring_packet packet = {
		.type = type,
		.flags = dice_once_in(hit->dice, 8) ? (uint16_t)dice_next(hit->dice)
						    : GUESTRING_WANTS_COMPLETION,
		.id = dice_once_in(hit->dice, 16) ? dice_number(hit->dice) : ++hit->id,
		.extra = extra,
		.extra_bytes = extra_bytes,
		.payload = vstor,
		.payload_bytes = sizeof(*vstor),
	};
	bool signal;

	mend_index(hit);
	if (dice_once_in(hit->dice, 32))
		packet.payload_bytes = dice_below(hit->dice, sizeof(*vstor));
	guestring_send(&hit->channel->ring, &packet, &signal);
	if (!dice_once_in(hit->dice, 8))
		guestbus_signal(hit->channel);
}

static void send_srb(struct hit *hit)
{
	const uint32_t write = mend_index(hit);
	struct vstor_packet vstor = {.operation = VSTOR_EXECUTE, .flags = 1};
	struct list list;
	uint32_t bytes;

	fill_srb(hit, &vstor.u.srb);
	bytes = fill_list(hit, &vstor.u.srb, &list);
	attack_count(hit->attack, ATTACK_SRB);
	if (dice_once_in(hit->dice, 8)) {
		send(hit, GUESTRING_INBAND, NULL, 0, &vstor);
		return;
	}
	send(hit, GUESTRING_GPA_DIRECT, &list, bytes, &vstor);
	if (!fills_memory(vstor.u.srb.cdb_or_sense[0]) && vstor.u.srb.lun != 0)
		offer_spots(hit, write, bytes);
}

static void send_vstor(struct hit *hit)
{
	struct vstor_packet vstor = {.operation = dice_below(hit->dice, 16)};

	if (vstor.operation == VSTOR_EXECUTE || dice_once_in(hit->dice, 4))
		vstor.operation = 16 + (uint32_t)(dice_next(hit->dice) >> 33);
	for (unsigned i = 0; i < sizeof(vstor.u.raw); i++)
		vstor.u.raw[i] = (uint8_t)dice_number(hit->dice);
	attack_count(hit->attack, ATTACK_VSTOR);
	send(hit, GUESTRING_INBAND, NULL, 0, &vstor);
}

/* ---- what is not a packet ----------------------------------------------------------------- */

static void bad_packet(struct hit *hit)
{
	struct guestring_half *out = &hit->channel->ring.out;
	const uint32_t write = mend_index(hit);
	uint16_t word[4] = {9, 2, 12, 1};

	for (unsigned n = 1 + dice_below(hit->dice, 3); n > 0; n--)
		word[dice_below(hit->dice, 4)] = (uint16_t)dice_number(hit->dice);
	memcpy(out->data + write, word, sizeof(word));
	atomic_store(&out->header->write_index, (write + 8 * dice_below(hit->dice, 64)) % out->size);
	attack_count(hit->attack, ATTACK_BAD_PACKET);
	guestbus_signal(hit->channel);
}

static void bad_index(struct hit *hit)
{
	struct guestring *ring = &hit->channel->ring;
	struct guestring_header *header = dice_once_in(hit->dice, 3) ? ring->in.header
								     : ring->out.header;
	_Atomic uint32_t *const words[] = {&header->write_index, &header->read_index,
					   &header->interrupt_mask, &header->pending_send_sz,
					   &header->features};
	_Atomic uint32_t *word = words[dice_below(hit->dice, 5)];
	const uint32_t old = atomic_load(word);

	switch (dice_below(hit->dice, 3)) {
	case 0:
		atomic_store(word, old - 8 * dice_below(hit->dice, 64)); /* backwards */
		break;
	case 1:
		atomic_store(word, (old + 8 * dice_below(hit->dice, 64)) % ring->out.size);
		break;
	default:
		atomic_store(word, (uint32_t)dice_number(hit->dice));
	}
	attack_count(hit->attack, ATTACK_BAD_INDEX);
	guestbus_signal(hit->channel);
}

static void flood(struct hit *hit)
{
	for (unsigned i = 0; i < FLOOD; i++)
		send_srb(hit);
}

static void one_blow(struct hit *hit)
{
	const uint32_t what = dice_below(hit->dice, 256);

	if (what < 200)
		send_srb(hit);
	else if (what < 240)
		send_vstor(hit);
	else if (what < 250)
		flood(hit);
	else if (what < 253)
		bad_packet(hit);
	else
		bad_index(hit);
	if (!dice_once_in(hit->dice, 64))
		drain(hit);
}

/* ---- a sub-channel's life ---------------------------------------------------------------- */

static struct guestbus_channel *find(struct attack *attack)
{
	struct guestbus_channel *primary = guestscsi_bus_channel(attack->scsi, 0);
	struct guestbus_channel *channel;
	uint32_t status, kept;

	guestbus_release(attack->bus, 0, &kept);
	channel = guestbus_offered_sub(attack->bus, primary, 1);
	if (channel)
		return channel;
	if (guestscsi_ask_sub_channels(attack->scsi, 1, &status))
		attack->unanswered++;
	usleep(PAUSE_US);
	return guestbus_offered_sub(attack->bus, primary, 1);
}

/* Answers are owed whatever the other attackers do. */
static bool answered(struct attack *attack, int error)
{
	if (error == -ETIMEDOUT)
		attack->unanswered++;
	return error == 0;
}

static bool open_channel(struct attack *attack, struct guestbus_channel *channel)
{
	uint32_t gpadl;

	if (!answered(attack, guestbus_gpadl_create(channel, attack->pfn, ATTACK_RING_PAGES,
						     &gpadl)))
		return false;
	channel->gpadl = gpadl;
	guestring_init(&channel->ring, attack->pool, RING_PAGES, RING_PAGES);
	if (answered(attack, guestbus_open(channel, softvm_vps(attack->vm) - 1)))
		return true;
	answered(attack, guestbus_gpadl_teardown(channel, gpadl));
	return false;
}

void attack_ring(struct attack *attack, struct dice *dice)
{
	struct hit hit = {.attack = attack, .dice = dice, .channel = find(attack)};
	uint32_t blows = dice_below(dice, ROUND_MAX);

	if (!hit.channel) {
		usleep(PAUSE_US);
		return;
	}
	atomic_store(&attack->shielded, hit.channel->relid);
	if (!open_channel(attack, hit.channel))
		return;
	attack_count(attack, ATTACK_OPEN);
	while (blows-- > 0 && !atomic_load(&hit.channel->rescinded) && !atomic_load(&attack->stop))
		one_blow(&hit);
	if (atomic_load(&hit.channel->rescinded))
		attack_count(attack, ATTACK_REVOKED);
	forget_spots(attack);
	if (guestbus_close(hit.channel) == -ETIMEDOUT)
		attack->unanswered++;
}
