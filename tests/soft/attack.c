/* tests/soft/attack.c - the attackers' threads and their common dice. */
#include "tests/soft/attack.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { FLIP_PAUSE_US = 20 };

static const char *const NAMES[ATTACK_KINDS] = {
	[ATTACK_MESSAGE] = "message",	  [ATTACK_BAD_MESSAGE] = "bad_message",
	[ATTACK_BAD_POST] = "bad_post",	  [ATTACK_HYPERCALL] = "hypercall",
	[ATTACK_MSR_READ] = "rdmsr",	  [ATTACK_MSR_WRITE] = "wrmsr",
	[ATTACK_IN] = "in",		  [ATTACK_OUT] = "out",
	[ATTACK_MMIO] = "mmio",		  [ATTACK_BAD_CALL] = "bad_call",
	[ATTACK_SRB] = "srb",		  [ATTACK_VSTOR] = "vstor",
	[ATTACK_BAD_PACKET] = "bad_packet", [ATTACK_BAD_INDEX] = "bad_index",
	[ATTACK_FLIP] = "flip",		  [ATTACK_OPEN] = "open",
	[ATTACK_REVOKED] = "revoked",	  [ATTACK_CONTACT] = "contact",
	[ATTACK_DIRECTED] = "directed",
};

const char *attack_kind_name(enum attack_kind kind)
{
	return NAMES[kind];
}

/* ---- dice ---------------------------------------------------------------------------- */

uint64_t dice_next(struct dice *dice)
{
	uint64_t z = dice->state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

uint32_t dice_below(struct dice *dice, uint32_t n)
{
	return (uint32_t)((dice_next(dice) >> 32) * n >> 32);
}

bool dice_once_in(struct dice *dice, uint32_t n)
{
	return dice_below(dice, n) == 0;
}

uint64_t dice_number(struct dice *dice)
{
	switch (dice_below(dice, 6)) {
	case 0:
		return 0;
	case 1:
		return dice_below(dice, 16);
	case 2:
		return (UINT64_C(1) << dice_below(dice, 64)) - dice_below(dice, 2);
	case 3:
		return UINT64_MAX - dice_below(dice, 4096);
	case 4:
		return dice_below(dice, 65536);
	default:
		return dice_next(dice);
	}
}

/* ---- what is shared --------------------------------------------------------------------- */

void attack_count(struct attack *attack, enum attack_kind kind)
{
	atomic_fetch_add_explicit(&attack->n[kind], 1, memory_order_relaxed);
}

uint64_t attack_total(struct attack *attack)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < ATTACK_KINDS; i++)
		total += atomic_load_explicit(&attack->n[i], memory_order_relaxed);
	return total;
}

uint32_t attack_good(struct attack *attack)
{
	return guestscsi_bus_channel(attack->scsi, 0)->relid;
}

uint32_t attack_vp(struct attack *attack, struct dice *dice)
{
	const uint32_t vps = softvm_vps(attack->vm);

	return vps > 1 ? 1 + dice_below(dice, vps - 1) : 0;
}

uint64_t attack_page(struct attack *attack, struct dice *dice)
{
	const uint64_t end = softvm_ram_bytes(attack->vm) / SOFTVM_PAGE;

	switch (dice_below(dice, 4)) {
	case 0:
		return end + dice_below(dice, 4096);
	case 1:
		return end + (dice_next(dice) >> dice_below(dice, 52)) % (UINT64_MAX - end);
	default:
		return attack->pfn[dice_below(dice, ATTACK_POOL_PAGES)];
	}
}

/* ---- threads ------------------------------------------------------------------------------- */

static struct dice dice_of(const struct attack *attack, uint64_t thread)
{
	return (struct dice){attack->seed * 1000003 + thread};
}

static void *post_messages(void *argument)
{
	struct attack *attack = argument;
	struct dice dice = dice_of(attack, 1);

	while (!atomic_load(&attack->stop))
		attack_message(attack, &dice);
	return NULL;
}

static void *leave_guest(void *argument)
{
	struct attack *attack = argument;
	struct dice dice = dice_of(attack, 2);

	while (!atomic_load(&attack->stop))
		attack_exit(attack, &dice);
	return NULL;
}

static void *break_rings(void *argument)
{
	struct attack *attack = argument;
	struct dice dice = dice_of(attack, 3);

	while (!atomic_load(&attack->stop))
		attack_ring(attack, &dice);
	return NULL;
}

/* Fences for which a flipped bit stays; the simulation has one thread at a time
 * and lets the others run in between anyway. */
#ifndef FLIP_HOLD
#define FLIP_HOLD 256
#endif

/* Each flip is taken back, so that nothing is left for another use of the byte. */
static void *flip_bytes(void *argument)
{
	struct attack *attack = argument;
	struct dice dice = dice_of(attack, 4);

	while (!atomic_load(&attack->stop)) {
		uint8_t *at = atomic_load(&attack->spot[dice_below(&dice, ATTACK_SPOTS)]);
		const uint8_t bit = (uint8_t)(1u << dice_below(&dice, 8));

		if (!at) {
			usleep(FLIP_PAUSE_US);
			continue;
		}
		atomic_fetch_xor((_Atomic uint8_t *)at, bit);
		for (uint32_t i = dice_below(&dice, FLIP_HOLD); i > 0; i--)
			atomic_thread_fence(memory_order_seq_cst);
		sched_yield();
		atomic_fetch_xor((_Atomic uint8_t *)at, bit);
		attack_count(attack, ATTACK_FLIP);
	}
	return NULL;
}

static int start_thread(struct attack *attack, void *(*run)(void *))
{
	const int error = pthread_create(&attack->thread[attack->n_threads], NULL, run, attack);

	attack->n_threads += error == 0;
	return -error;
}

int attack_start(struct attack *attack)
{
	int error = 0;

	atomic_store(&attack->stop, false);
	attack->n_threads = 0;
	if (!attack->pool) {
		error = softvm_pages(attack->vm, ATTACK_POOL_PAGES, attack->pfn);
		if (error)
			return error;
		attack->pool = softvm_view(attack->vm, attack->pfn, ATTACK_POOL_PAGES);
		if (!attack->pool)
			return -ENOMEM;
	}
	if (attack->attackers & ATTACKER_MESSAGES)
		error = start_thread(attack, post_messages);
	if (!error && (attack->attackers & ATTACKER_EXITS))
		error = start_thread(attack, leave_guest);
	if (!error && (attack->attackers & ATTACKER_RINGS))
		error = start_thread(attack, break_rings);
	if (!error && (attack->attackers & ATTACKER_RINGS))
		error = start_thread(attack, flip_bytes);
	return error;
}

void attack_stop(struct attack *attack)
{
	atomic_store(&attack->stop, true);
	for (unsigned i = 0; i < attack->n_threads; i++)
		pthread_join(attack->thread[i], NULL);
	attack->n_threads = 0;
}
