/* tests/mutate/mutate.c - one byte of custody changed, and a new owner's load.
 *
 *   mutate --state DIR [--count 100] [--seed 1]
 * The log ring, the slots and the words that lead to them are copied while the
 * owner stands still (it is stopped for that long at most); then, again and again, one byte is
 * changed, every second time with all checksums made to fit, and what a taker
 * does is done: newest checkpoint, log behind it, effects compared.
 *
 * It must end as one of: refused (with a sentence); the same state at the same
 * turn as the untouched log; or, where the ring's chain was repaired, the state of
 * another legal log: every predicate holds and all effects are as recorded. A
 * slot must never lead to another state: the log tells what was packed. Anything
 * else, and any crash, fails. */
#include "persist/codec.h"
#include "servicing/control_client.h"
#include "servicing/guard.h"
#include "servicing/registry.h"

#include "engine/fact.h"
#include "engine/follow.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum target { IN_RING, IN_SLOT, IN_HEAD, IN_WORDS, TARGETS };

static const char *const target_names[] = { "ring", "slot", "slot head", "words" };

struct outcome {
	uint64_t refused, same, shorter, legal, facts;
};

static struct custody live, kept, c;
static struct follower f;
static struct world *world;
static uint8_t *packed;
static uint64_t *hash_at;          /* state hash behind each turn from first_seq on */
static uint64_t first_seq, last_seq;
static uint64_t random_state;

static uint64_t draw(void)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15);
	return XXH64(&random_state, sizeof(random_state), 0);
}

static uint64_t below(uint64_t n)
{
	return n ? draw() % n : 0;
}

/* ---- the untouched log --------------------------------------------------------- */

static uint64_t state_hash(void)
{
	uint64_t hash = 0;

	fact(codec_state_hash(world, packed, LIMIT_SLOT_BYTES, &hash) == 0);
	return hash;
}

/* From the older cut on: what lies before it is not read. */
static void copy(struct custody *to, const struct custody *from, bool whole_ring)
{
	uint64_t size = from->lane_words[0].bytes, at = slot_keep(from) & (size - 1);
	uint64_t end = from->lane_words[0].tail & (size - 1);

	memcpy(to->lane_words, from->lane_words, sizeof(*to->lane_words));
	if (whole_ring || end < at)
		memcpy(to->lane_ring, from->lane_ring, size);
	else
		memcpy(to->lane_ring + at, from->lane_ring + at, end - at);
	memcpy(to->slot_head, from->slot_head, 2 * sizeof(*to->slot_head));
	for (unsigned s = 0; s < 2; s++)
		memcpy(to->slot[s], from->slot[s], from->slot_head[s].bytes);
}

static void restore(void)
{
	copy(&c, &kept, false);
}

static pid_t owner(void)
{
	return atomic_load(&live.proc[OWNER_SLOT(atomic_load(&live.h->owner))].pid);
}

/* A copy in which nothing moved while it was made. */
static bool snapshot(void)
{
	for (unsigned i = 0; i < 20; i++) {
		pid_t pid = owner();
		bool still;

		if (pid <= 0 || kill(pid, SIGSTOP) < 0)
			continue;
		usleep(2000);
		copy(&kept, &live, true);
		still = owner() == pid && kept.lane_words[0].tail == live.lane_words[0].tail &&
			memcmp(kept.slot_head, live.slot_head, 2 * sizeof(*kept.slot_head)) == 0;
		kill(pid, SIGCONT);
		if (still && kept.slot_head[0].generation && kept.slot_head[1].generation)
			return true;
		usleep(100000);
	}
	fprintf(stderr, "mutate: no two checkpoints yet, or the owner does not stand still\n");
	return false;
}

static void note(void *user, const struct log_record *event, const void *payload,
		 const struct turn *turn)
{
	(void)user;
	(void)payload;
	(void)turn;
	hash_at[event->seq - first_seq] = state_hash();
	last_seq = event->seq;
}

/* Steps from the older slot, so that every turn a load can end at is known. */
static bool learn(void)
{
	char why[CODEC_WHY] = "";
	unsigned newer = c.slot_head[0].generation > c.slot_head[1].generation ? 0 : 1;
	uint64_t generation = c.slot_head[newer].generation;
	int r;

	c.slot_head[newer].generation = 0;
	r = follow_begin(&f, &c, &program_codec, program_fresh, 0xA5, why);
	if (r < 0) {
		fprintf(stderr, "mutate: the untouched checkpoint: %s\n", why);
		return false;
	}
	first_seq = world_lane_const(world)->seq;
	last_seq = first_seq;
	hash_at = calloc(1 << 20, sizeof(*hash_at));
	if (!hash_at)
		return false;
	hash_at[0] = state_hash();
	f.on_turn = note;
	r = follow_run(&f, UINT64_MAX);
	f.on_turn = NULL;
	c.slot_head[newer].generation = generation;
	if (r != FOLLOW_OK || last_seq == first_seq)
		fprintf(stderr, "mutate: the untouched log does not hold (%d) or is empty\n", r);
	return r == FOLLOW_OK && last_seq > first_seq;
}

/* ---- changing a byte -------------------------------------------------------------- */

static unsigned newest(void)
{
	return c.slot_head[0].generation > c.slot_head[1].generation ? 0 : 1;
}

/* Chains all records again from the newest cut to the tail. */
static void repair_ring(void)
{
	uint64_t size = c.lane_words[0].bytes, tail = c.lane_words[0].tail;
	uint64_t at = c.slot_head[newest()].position, chain = c.slot_head[newest()].chain;

	while (at < tail) {
		uint8_t *place = c.lane_ring + (at & (size - 1));
		uint64_t left = size - (at & (size - 1));
		struct log_record h;

		if (left < sizeof(h))
			return;
		memcpy(&h, place, sizeof(h));
		if (h.type == LOG_PAD)
			h.len = 0;
		else if (log_cost(h.len) > left || log_cost(h.len) > tail - at)
			return;
		chain = h.chain = log_chain(&h, place + sizeof(h), chain);
		memcpy(place, &h, sizeof(h));
		at = h.type == LOG_PAD ? (at | (size - 1)) + 1 : at + log_cost(h.len);
	}
}

static void repair_slot(unsigned slot)
{
	XXH128_hash_t hash = XXH3_128bits(c.slot[slot], c.slot_head[slot].bytes);

	c.slot_head[slot].hash[0] = hash.low64;
	c.slot_head[slot].hash[1] = hash.high64;
}

static uint8_t *pick(enum target *ret, unsigned *ret_slot)
{
	uint64_t dice = below(100), at;

	*ret_slot = below(4) ? newest() : 1 - newest();
	if (dice < 55) {
		*ret = IN_RING;
		at = c.slot_head[newest()].position;
		at += below(c.lane_words[0].tail - at);
		return c.lane_ring + (at & (c.lane_words[0].bytes - 1));
	}
	if (dice < 90) {
		*ret = IN_SLOT;
		return c.slot[*ret_slot] + below(c.slot_head[*ret_slot].bytes);
	}
	if (dice < 95) {
		*ret = IN_HEAD;
		return (uint8_t *)&c.slot_head[*ret_slot] + below(8 * sizeof(uint64_t));
	}
	*ret = IN_WORDS;
	return (uint8_t *)&c.lane_words[0] + below(3) * 64 + below(8);
}

/* ---- what a taker does ------------------------------------------------------------- */

static int load(void *user)
{
	char *why = user;
	int r = follow_begin(&f, &c, &program_codec, program_fresh, 0x5A, why);

	if (r == 0)
		r = follow_run(&f, UINT64_MAX);
	return r == FOLLOW_OK && follow_lacks(&f) ? FOLLOW_E_DAMAGED : r;
}

static bool judge(int r, enum target target, bool repaired, struct outcome *o)
{
	uint64_t seq = world_lane_const(world)->seq;

	if (r == GUARD_E_FACT)
		o->facts++;
	if (r != FOLLOW_OK) {
		o->refused++;
		return true;
	}
	if (seq >= first_seq && seq <= last_seq && hash_at[seq - first_seq] == state_hash()) {
		o->same += seq == last_seq;
		o->shorter += seq != last_seq;
		return seq == last_seq || target == IN_WORDS || repaired;
	}
	o->legal++;
	return repaired && target == IN_RING;
}

static bool mutate_once(uint64_t n, struct outcome o[TARGETS])
{
	char why[CODEC_WHY] = "";
	bool repaired = n % 2 == 1;
	enum target target;
	unsigned slot;
	uint8_t *byte = pick(&target, &slot), before = *byte;
	int r;

	*byte ^= (uint8_t)(1 + below(255));
	if (repaired && target == IN_RING)
		repair_ring();
	else if (repaired && target == IN_SLOT)
		repair_slot(slot);
	r = guard_run(load, why);
	if (judge(r, target, repaired && (target == IN_RING || target == IN_SLOT), &o[target])) {
		restore();
		return true;
	}
	printf("mutation %" PRIu64 ": %s, %s: byte at %p was %02x, is %02x: accepted with another "
	       "state at turn %" PRIu64 "\n", n, target_names[target],
	       repaired ? "repaired" : "as it is", (void *)byte, before, *byte,
	       world_lane_const(world)->seq);
	restore();
	return false;
}

static bool set_up(const char *state)
{
	if (control_custody(state, &live) < 0 || custody_create(&c) < 0 ||
	    custody_create(&kept) < 0 || !snapshot())
		return false;
	world = world_new(&program);
	packed = malloc(LIMIT_SLOT_BYTES);
	if (!world || !packed || follow_init(&f, world) < 0)
		return false;
	copy(&c, &kept, true);
	return learn();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' }, { "count", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'r' },  { NULL, 0, NULL, 0 },
	};
	struct outcome o[TARGETS] = { 0 };
	const char *state = NULL;
	uint64_t count = 100, bad = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			state = optarg;
		else if (option == 'n')
			count = strtoull(optarg, NULL, 10);
		else if (option == 'r')
			random_state = strtoull(optarg, NULL, 10) << 32;
		else
			return 2;
	}
	if (!state || !set_up(state))
		return 2;
	for (uint64_t n = 0; n < count; n++)
		bad += !mutate_once(n, o);
	for (unsigned t = 0; t < TARGETS; t++)
		printf("%-9s refused=%" PRIu64 " (%" PRIu64 " by a fact) same=%" PRIu64
		       " shorter=%" PRIu64 " legal=%" PRIu64 "\n", target_names[t], o[t].refused,
		       o[t].facts, o[t].same, o[t].shorter, o[t].legal);
	printf("mutations=%" PRIu64 " turns=%" PRIu64 " bad=%" PRIu64 "\n", count,
	       last_seq - first_seq, bad);
	return bad ? 1 : 0;
}
