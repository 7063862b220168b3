/* tests/soft/attack_message.c - channel messages: whole, damaged, cut, in any
 * order, of every type; and HvPostMessage that is none.
 *
 * What would take the good client's channel away is aimed at another relid.
 * GPADLs are given back now and then: a guest that uses its quota up harms
 * nobody but itself, and would only stand still. */
#include "tests/soft/attack.h"

#include <string.h>

enum {
	HANDLES = 24,
	RELIDS = 8,
	TYPES = 30,
	GIVE_BACK_EVERY = 256,
	CALL_POST_MESSAGE = 0x5C,
	CONNECTION = 4,
	FIRST_GOOD_HANDLE = 0xE1E10,
};

struct message {
	uint32_t word[SOFTVM_MESSAGE / 4];
	uint32_t bytes;
};

static bool is_aimed(uint32_t type)
{
	return type == BUS_OPEN || type == BUS_CLOSE || type == BUS_GPADL_HEADER ||
	       type == BUS_GPADL_TEARDOWN || type == BUS_RELEASED || type == BUS_MODIFY;
}

/* Relids of the good client and of the attacker who owns a ring are no aim. */
static void aim(struct attack *attack, struct message *message)
{
	const uint32_t good = attack_good(attack), shielded = atomic_load(&attack->shielded);
	uint32_t *relid = &message->word[2], *handle = &message->word[3];

	while (is_aimed(message->word[0]) && (*relid == good || *relid == shielded))
		*relid += 1;
	if (message->word[0] == BUS_GPADL_TEARDOWN && *handle >= FIRST_GOOD_HANDLE &&
	    *handle < FIRST_GOOD_HANDLE + 0x10000)
		*handle = 1;
	if (!attack->contacts &&
	    (message->word[0] == BUS_INITIATE || message->word[0] == BUS_UNLOAD))
		message->word[0] = BUS_REQUEST_OFFERS;
}

static void post(struct attack *attack, struct dice *dice, struct message *message)
{
	uint32_t connection = CONNECTION;
	uint16_t status;

	aim(attack, message);
	if (dice_once_in(dice, 32))
		connection = (uint32_t)dice_number(dice);
	attack_count(attack, message->word[0] == BUS_INITIATE || message->word[0] == BUS_UNLOAD
				     ? ATTACK_CONTACT
				     : ATTACK_MESSAGE);
	atomic_fetch_add(&attack->by_type[message->word[0] % ATTACK_TYPES], 1);
	softvm_post(attack->vm, attack_vp(attack, dice), connection, message->word, message->bytes,
		    &status);
}

static uint32_t some_relid(struct dice *dice)
{
	return dice_once_in(dice, 16) ? (uint32_t)dice_number(dice) : dice_below(dice, RELIDS);
}

static uint32_t some_handle(struct dice *dice)
{
	return dice_once_in(dice, 16) ? (uint32_t)dice_number(dice) : dice_below(dice, HANDLES);
}

static void put_pfns(struct attack *attack, struct dice *dice, struct message *message,
		     uint32_t at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t pfn = attack_page(attack, dice);

		memcpy(&message->word[at + 2 * i], &pfn, sizeof(pfn));
	}
	message->bytes = (at + 2 * n) * 4;
}

static void gpadl_header(struct attack *attack, struct dice *dice, struct message *message)
{
	static const uint32_t sizes[] = {4, 8, 8, 16, 26, 30, 60, 200, 1024, 8190, 1, 0};
	const uint32_t pages = sizes[dice_below(dice, sizeof(sizes) / sizeof(sizes[0]))];

	message->word[2] = some_relid(dice);
	message->word[3] = some_handle(dice);
	message->word[4] = ((8 + pages * 8) & 0xffff) | 1u << 16;
	message->word[5] = pages * SOFTVM_PAGE;
	message->word[6] = dice_once_in(dice, 16) ? (uint32_t)dice_number(dice) : 0;
	put_pfns(attack, dice, message, 7, pages < 26 ? pages : 26);
	if (dice_once_in(dice, 8))
		message->word[4 + dice_below(dice, 3)] = (uint32_t)dice_number(dice);
}

static void fill(struct attack *attack, struct dice *dice, struct message *message)
{
	switch (message->word[0]) {
	case BUS_GPADL_HEADER:
		gpadl_header(attack, dice, message);
		break;
	case BUS_GPADL_BODY:
		message->word[2] = dice_below(dice, 8);
		message->word[3] = some_handle(dice);
		put_pfns(attack, dice, message, 4, dice_below(dice, 29));
		break;
	case BUS_GPADL_TEARDOWN:
		message->word[2] = some_relid(dice);
		message->word[3] = some_handle(dice);
		message->bytes = 16;
		break;
	case BUS_OPEN:
		message->word[2] = some_relid(dice);
		message->word[3] = dice_below(dice, 256);
		message->word[4] = some_handle(dice);
		message->word[5] = dice_once_in(dice, 8) ? (uint32_t)dice_number(dice)
							 : attack_vp(attack, dice);
		message->word[6] = dice_once_in(dice, 8) ? (uint32_t)dice_number(dice)
							 : 1 + dice_below(dice, 12);
		message->bytes = 148;
		break;
	case BUS_INITIATE:
		message->word[2] = (4 + dice_below(dice, 3)) << 16 | dice_below(dice, 5);
		message->word[3] = dice_once_in(dice, 4) ? (uint32_t)dice_number(dice) : 0;
		/* A processor that reads no messages would be the end of the connection. */
		if (attack->synic && message->word[3] < softvm_vps(attack->vm))
			message->word[3] = 0;
		message->bytes = 40;
		break;
	default:
		message->word[2] = some_relid(dice);
		message->word[3] = dice_once_in(dice, 8) ? (uint32_t)dice_number(dice)
							 : attack_vp(attack, dice);
		message->bytes = 16;
	}
}

static uint32_t some_type(struct attack *attack, struct dice *dice)
{
	static const uint8_t common[] = {BUS_OPEN,	     BUS_CLOSE,	       BUS_GPADL_HEADER,
					 BUS_GPADL_BODY,     BUS_GPADL_TEARDOWN, BUS_MODIFY,
					 BUS_RELEASED,	     BUS_GPADL_HEADER, BUS_OPEN};

	if (attack->contacts && dice_once_in(dice, 4))
		return dice_once_in(dice, 2) ? BUS_INITIATE : BUS_UNLOAD;
	if (dice_once_in(dice, 4))
		return 1 + dice_below(dice, TYPES);
	return common[dice_below(dice, sizeof(common))];
}

static void post_damaged(struct attack *attack, struct dice *dice, struct message *message)
{
	attack_count(attack, ATTACK_BAD_MESSAGE);
	switch (dice_below(dice, 3)) {
	case 0:
		message->bytes = dice_below(dice, SOFTVM_MESSAGE + 1);
		break;
	case 1:
		message->word[1 + dice_below(dice, SOFTVM_MESSAGE / 4 - 1)] =
			(uint32_t)dice_number(dice);
		break;
	default:
		for (uint32_t i = 1; i < SOFTVM_MESSAGE / 4; i++)
			message->word[i] = (uint32_t)dice_next(dice);
		message->bytes = SOFTVM_MESSAGE;
	}
	post(attack, dice, message);
}

/* Input outside RAM, unaligned, or across a page's end: nothing is posted. */
static void bad_post(struct attack *attack, struct dice *dice)
{
	const uint64_t end = softvm_ram_bytes(attack->vm);
	const uint64_t addresses[] = {end, end - 8, end + dice_next(dice) % (UINT64_MAX - end),
				      attack->pfn[0] * SOFTVM_PAGE + 4, UINT64_MAX - 255,
				      attack->pfn[0] * SOFTVM_PAGE + 3904};

	attack_count(attack, ATTACK_BAD_POST);
	softvm_hypercall(attack->vm, attack_vp(attack, dice),
			 CALL_POST_MESSAGE | (dice_once_in(dice, 4) ? dice_next(dice) << 16 : 0),
			 addresses[dice_below(dice, sizeof(addresses) / sizeof(addresses[0]))],
			 dice_number(dice));
}

static void give_back(struct attack *attack, struct dice *dice)
{
	for (uint32_t handle = 0; handle < HANDLES; handle++) {
		struct message message = {.word = {BUS_GPADL_TEARDOWN, 0, 0, handle}, .bytes = 16};

		post(attack, dice, &message);
	}
}

void attack_message(struct attack *attack, struct dice *dice)
{
	struct message message = {.bytes = 8};

	if (dice_once_in(dice, GIVE_BACK_EVERY)) {
		give_back(attack, dice);
		return;
	}
	if (dice_once_in(dice, 32)) {
		bad_post(attack, dice);
		return;
	}
	message.word[0] = some_type(attack, dice);
	fill(attack, dice, &message);
	if (dice_once_in(dice, 4))
		post_damaged(attack, dice, &message);
	else
		post(attack, dice, &message);
}
