/* Oracles. The world of each process is read in place: its tables say what it
 * is, so one reader serves both builds. */
#include "sim/oracle.h"

#include "engine/fact.h"
#include "persist/codec.h"
#include "sim/programs.h"
#include "sim/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PREDICATES_EVERY = 64,    /* batches */
	RESTORE_EVERY = 4000,
	DEATHS_EVERY = 4,         /* deaths whose state is kept and compared */
};
#define LIFE_NS UINT64_C(7200000000000)

static struct {
	struct custody *c;
	uint64_t last_effect;     /* id of the newest performed for the first time */
	uint64_t batches;
	/* The state of an owner that died, if it is to be compared. */
	bool kept;
	uint64_t kept_seq, kept_hash;
	struct world *other[2];   /* of build A and B, for save and restore */
	struct cut { uint64_t hash; bool by_owner, by_follower; } cut[RUN_CUTS];
	uint64_t events;
} oracle;
static uint8_t packed[2][LIMIT_SLOT_BYTES];

void oracle_start(struct custody *c)
{
	oracle.c = c;
}

uint64_t oracle_events(void)
{
	return oracle.c ? atomic_load_explicit(&oracle.c->stats->turns, memory_order_relaxed) : 0;
}

void oracle_time(void)
{
	uint64_t most = LIFE_NS + options.events * options.disk_ms * 1000000;

	run_expect(kernel.now - kernel.start < most, "two hours have passed and the guest is not done");
}

/* ---- processes -------------------------------------------------------------------- */

void oracle_process_has(struct world *w)
{
	process_current()->world = w;
}

void oracle_begins(void)
{
	if (process_current()->begins++)
		result.fault[FAULT_LAPPED]++;
}

static uint64_t hash_of(const struct world *w)
{
	uint64_t hash = 0;

	run_expect(codec_state_hash(w, packed[0], sizeof(packed[0]), &hash) == 0,
		   "a state has no room in a slot");
	return hash;
}

void oracle_follows(const struct follower *f)
{
	struct process *p = process_current();

	p->from_seq = world_lane_const(f->world)->seq;
	p->from_events = f->events;
}

/* Of an event counted twice, or not at all, the state need not tell. */
static void check_count(const struct follower *f)
{
	const struct process *p = process_current();
	uint64_t seq = world_lane_const(f->world)->seq;

	if (f->events - p->from_events != seq - p->from_seq)
		run_failed("turn %llu: a follower counts %llu events from turn %llu on",
			   (unsigned long long)seq,
			   (unsigned long long)(f->events - p->from_events),
			   (unsigned long long)p->from_seq);
	result.counted++;
}

static bool owns(const struct process *p)
{
	uint64_t word = atomic_load(&oracle.c->h->owner);

	return p->serves && OWNER_SLOT(word) == p->slot && OWNER_STATE(word) == OWNER_OWNED;
}

static void compare_at(struct cut *cut, uint64_t seq, const struct world *w)
{
	bool by_owner = owns(process_current());
	uint64_t hash = hash_of(w);

	if ((cut->by_owner || cut->by_follower) && hash != cut->hash)
		run_failed("cut %llu: slot %u has another state", (unsigned long long)seq,
			   process_current()->slot);
	cut->hash = hash;
	*(by_owner ? &cut->by_owner : &cut->by_follower) = true;
}

void oracle_stepped(const struct world *w)
{
	for (unsigned i = 0; i < options.n_cuts; i++)
		if (world_lane_const(w)->seq == options.cut[i])
			compare_at(&oracle.cut[i], options.cut[i], w);
}

void oracle_cuts(void)
{
	for (unsigned i = 0; i < options.n_cuts; i++) {
		if (!oracle.cut[i].by_owner || !oracle.cut[i].by_follower)
			run_failed("cut %llu: no %s has stepped it", (unsigned long long)options.cut[i],
				   oracle.cut[i].by_owner ? "follower" : "owner");
		result.cuts++;
	}
}

/* The one that has handed over is there, and has stepped the same turns. */
static void compare_with_predecessor(const struct lane *l)
{
	uint32_t before = atomic_load(&oracle.c->h->predecessor);

	for (int i = 0; i < kernel.n_processes; i++) {
		const struct process *p = kernel.process[i];

		if (!p->alive || p->role != PROCESS_PARAVISOR || p->slot + 1 != before ||
		    !p->lane || p == process_current())
			continue;
		if (world_lane_const(p->lane->world)->seq != world_lane_const(l->world)->seq)
			return;
		result.compared++;
		if (hash_of(p->lane->world) != hash_of(l->world))
			run_failed("turn %llu: the successor's state is another one",
				   (unsigned long long)world_lane_const(l->world)->seq);
	}
}

void oracle_takes_over(struct lane *l, const struct follower *f)
{
	struct process *p = process_current();
	uint64_t seq = world_lane_const(l->world)->seq;

	result.recoveries++;
	result.fault[FAULT_TAKE_OVER] += p->standby;
	oracle_owns();
	check_count(f);
	compare_with_predecessor(l);
	if (oracle.kept && oracle.kept_seq == seq) {
		result.compared++;
		if (hash_of(l->world) != oracle.kept_hash)
			run_failed("turn %llu: the recovered state is another one",
				   (unsigned long long)seq);
	}
	oracle.kept = false;
	p->lane = l;
}

void oracle_serves(void)
{
	process_current()->serves = true;
}

void oracle_ends(const struct process *p)
{
	if (!p->lane || !p->serves || !chance_once_in(&kernel.data, DEATHS_EVERY))
		return;
	oracle.kept = true;
	oracle.kept_seq = world_lane_const(p->lane->world)->seq;
	oracle.kept_hash = hash_of(p->lane->world);
}

void oracle_tell_lane(void)
{
	const struct process *p = process_current();
	const struct lane *l = p ? p->lane : NULL;

	if (!l)
		return;
	fprintf(stderr, "slot %u: lane at turn %llu, staged %u, log %llu to %llu, checkpoint at %llu, "
		"keeps %llu\n", p->slot, (unsigned long long)l->seq, l->n,
		(unsigned long long)atomic_load(&l->log.words->oldest),
		(unsigned long long)l->log.end, (unsigned long long)l->checkpointed,
		(unsigned long long)l->log.keep);
	for (unsigned i = 0; i < 2; i++)
		fprintf(stderr, "checkpoint slot %u: generation %llu, at %llu, turn %llu\n", i,
			(unsigned long long)atomic_load(&oracle.c->slot_head[i].generation),
			(unsigned long long)oracle.c->slot_head[i].position,
			(unsigned long long)oracle.c->slot_head[i].seq);
	fprintf(stderr, "checkpoints %llu, input stopped %d, refused %d\n",
		(unsigned long long)atomic_load(&oracle.c->stats->checkpoints), l->input_stopped,
		l->refused);
}

/* ---- ownership and effects ---------------------------------------------------------- */

void oracle_owns(void)
{
	const struct process *p = process_current();
	uint64_t word = atomic_load(&oracle.c->h->owner);

	if (OWNER_SLOT(word) == p->slot &&
	    (OWNER_STATE(word) == OWNER_OWNED || OWNER_STATE(word) == OWNER_FLIPPING))
		return;
	run_failed("slot %u acts as the owner, the word says %#llx", p->slot,
		   (unsigned long long)word);
}

void oracle_effect(const struct effect *e, bool redo)
{
	oracle_owns();
	if (redo)
		return;
	if (effect_id(e) <= oracle.last_effect)
		run_failed("effect %llu.%u is performed twice", (unsigned long long)e->seq, e->n);
	oracle.last_effect = effect_id(e);
}

/* ---- states -------------------------------------------------------------------------- */

static void check_kind(const struct world *w, const struct sm_desc *d)
{
	unsigned left = world_live(w, d->kind);

	for (uint16_t i = 0; left && i < d->capacity; i++) {
		const struct sm_head *h = world_at(w, d->kind, i);
		const struct sm_state *s = h ? sm_state_find(d, h->state) : NULL;

		if (!h)
			continue;
		left--;
		if (!s || !s->holds(h) || (d->holds_full && !d->holds_full(h)))
			run_failed("turn %llu: %s[%u]: the predicate of %s does not hold",
				   (unsigned long long)world_lane_const(w)->seq, d->name, i,
				   s ? s->name : "no state");
		result.checked++;
	}
}

static void check_predicates(const struct world *w)
{
	const struct registry *r = world_registry(w);

	for (unsigned k = 0; k < LIMIT_KINDS; k++)
		if (r->machines[k])
			check_kind(w, r->machines[k]);
}

/* Each build's world is always full of the same byte, so that a reset writes no more than was
 * used. */
static uint8_t fill_of(const struct world *w)
{
	return w == oracle.other[PROGRAM_A] ? 0xa5 : 0x5a;
}

void oracle_prepare(void)
{
	for (enum program build = PROGRAM_A; build <= PROGRAM_B; build++) {
		oracle.other[build] = world_new(program_tables(build)->registry);
		fact(oracle.other[build]);
		world_reset(oracle.other[build], fill_of(oracle.other[build]));
	}
}

static void restore(struct world *to, const uint8_t *bytes, size_t len)
{
	char why[CODEC_WHY] = "";

	world_reset(to, fill_of(to));
	if (codec_unpack(to, bytes, len, why))
		run_failed("a saved state cannot be loaded: %s", why);
}

/* Saved, loaded by the other build, saved, loaded by the first: the same. What
 * build B adds to a state of A stays with it, so A is asked for what both mean. */
static bool same(const struct world *w, const struct world *again, enum program build, size_t n)
{
	size_t m;

	if (build == PROGRAM_A)
		return hash_of(w) == hash_of(again);
	return codec_pack(again, packed[1], sizeof(packed[1]), &m) == 0 && m == n &&
	       memcmp(packed[0], packed[1], n) == 0;
}

/* Behind a commit there is no way back to the build that knows less. */
static void must_refuse(struct world *to, const uint8_t *bytes, size_t len)
{
	char why[CODEC_WHY] = "";

	world_reset(to, 0);
	run_expect(codec_unpack(to, bytes, len, why) < 0 && why[0],
		   "a state above its level is taken by the older build");
	world_reset(to, 0);
}

static void check_restore(const struct world *w, enum program build)
{
	struct world *other = oracle.other[build == PROGRAM_A ? PROGRAM_B : PROGRAM_A];
	struct world *again = oracle.other[build];
	size_t n, m;

	if (codec_pack(w, packed[0], sizeof(packed[0]), &n))
		run_failed("a state has no room in a slot");
	if (world_lane_const(w)->level > world_registry(other)->max_level) {
		must_refuse(other, packed[0], n);
		return;
	}
	restore(other, packed[0], n);
	if (codec_pack(other, packed[1], sizeof(packed[1]), &m))
		run_failed("a state of the other build has no room in a slot");
	restore(again, packed[1], m);
	if (!same(w, again, build, n))
		run_failed("turn %llu: a state is another one after the other build had it",
			   (unsigned long long)world_lane_const(w)->seq);
	result.compared++;
}

void oracle_batch(void)
{
	const struct process *p = process_current();

	if (!p->lane || !p->serves)
		return;
	oracle.batches++;
	if (oracle.batches % PREDICATES_EVERY == 0)
		check_predicates(p->lane->world);
	if (oracle.batches % RESTORE_EVERY == 0)
		check_restore(p->lane->world, p->program);
}

/* ---- the guest ------------------------------------------------------------------------- */

static uint64_t number_of(const char *line, const char *name)
{
	char key[48];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(line, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* The guest's last line, from what it wrote to standard output. */
static const char *last_words(void)
{
	static char text[1 << 16];
	ssize_t n;

	fflush(stdout);
	n = pread(STDOUT_FILENO, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

void oracle_guest(int status)
{
	static const char *const never[] = { "mismatches", "lost", "doubles", "malformed",
					     "unexpected", "bad_replies", "unreleased" };
	const char *line = last_words();
	uint64_t excused = result.fault[FAULT_DISK_ERROR] + result.fault[FAULT_DISK_TORN];

	if (!strchr(line, '{'))
		run_failed("the VM has ended with status %d and the guest has told nothing", status);
	if (options.hostile && !strstr(line, "\"ok\":true"))
		run_failed("guest: %.200s", line);
	if (options.hostile)
		return;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (number_of(line, never[i]))
			run_failed("guest: %s=%llu", never[i],
				   (unsigned long long)number_of(line, never[i]));
	if (number_of(line, "failed") > excused)
		run_failed("guest: %llu requests failed, %llu errors were given",
			   (unsigned long long)number_of(line, "failed"),
			   (unsigned long long)excused);
	/* The flush behind the load has one try: an error given to it ends the guest
	 * there. Everything was read back before; bad replies have their own counters. */
	if (excused && strstr(line, "\"step\":\"load\",\"error\":33,"))
		return;
	if (number_of(line, "error") || strstr(line, "\"error\":-"))
		run_failed("guest: gave up: %.160s", line);
	result.verified = number_of(line, "verified");
}
