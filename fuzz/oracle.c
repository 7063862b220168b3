/* See oracle.h. The checks of effects repeat what the machines' guards are there
 * for, from the machines' own fields and independently of the parsers. */
#include "fuzz/oracle.h"

#include "persist/codec.h"
#include "statemachines/channel.h"
#include "statemachines/disk.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/scsi.h"
#include "statemachines/vtl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILL = 0xA5, PAIR = 16 };

static uint8_t packed[2][LIMIT_SLOT_BYTES];

_Noreturn void oracle_failed(const char *what, uint64_t seq, uint64_t value)
{
	fprintf(stderr, "fuzz: turn %" PRIu64 ": %s (%" PRIu64 ")\n", seq, what, value);
	abort();
}

/* ---- effects ----------------------------------------------------------------------- */

static uint64_t sum_of_pairs(const struct effect *e, uint32_t bytes)
{
	uint64_t sum = 0;

	for (uint32_t at = 8; at + 8 <= bytes; at += PAIR) {
		uint64_t len;

		memcpy(&len, e->tail + at, sizeof(len));
		sum += len;
	}
	return sum;
}

static void check_submit(const struct world *w, const struct effect *e)
{
	const struct rec_disk_submit *p = e->p;
	const struct scsi *s = world_at(w, KIND_scsi, p->request);
	const struct disk *d;

	if (!s || s->block_bytes == 0)
		oracle_failed("DISK_SUBMIT of nobody", e->seq, p->request);
	d = world_at(w, KIND_disk, s->disk);
	if (!d || d->blocks == 0)
		oracle_failed("DISK_SUBMIT for a disk that is not there", e->seq, s->disk);
	if (p->offset % s->block_bytes || p->bytes % s->block_bytes)
		oracle_failed("DISK_SUBMIT is not in blocks", e->seq, p->offset);
	if (p->offset / s->block_bytes > s->blocks ||
	    p->bytes / s->block_bytes > s->blocks - p->offset / s->block_bytes)
		oracle_failed("DISK_SUBMIT behind the disk's end", e->seq, p->offset);
	if (p->op != DISK_READ && p->op != DISK_FLUSH && (d->flags & DISK_READ_ONLY))
		oracle_failed("DISK_SUBMIT changes a read-only disk", e->seq, p->op);
	if (p->op == DISK_READ || p->op == DISK_WRITE) {
		if (p->bytes == 0 || p->bytes > LIMIT_TRANSFER || e->tail_len % PAIR ||
		    e->tail_len / PAIR > LIMIT_SEGMENTS ||
		    sum_of_pairs(e, e->tail_len) != p->bytes)
			oracle_failed("DISK_SUBMIT's segments are not its bytes", e->seq, p->bytes);
	} else if (e->tail_len) {
		oracle_failed("DISK_SUBMIT with segments it cannot have", e->seq, p->op);
	}
}

static void check_guest_write(const struct effect *e)
{
	const struct rec_guest_write *p = e->p;
	uint64_t head = (uint64_t)p->n_segments * PAIR;

	if (head > e->tail_len || sum_of_pairs(e, (uint32_t)head) != e->tail_len - head)
		oracle_failed("GUEST_WRITE's segments are not its data", e->seq, p->n_segments);
}

static void check_vp(const struct effect *e, uint32_t vp, uint32_t vps)
{
	if (vp >= vps)
		oracle_failed("effect for a processor that is not there", e->seq, vp);
}

static void check_ring(const struct world *w, const struct effect *e, uint32_t vps)
{
	const struct rec_ring_send *p = e->p;
	const struct channel *c = world_at(w, KIND_channel, (uint16_t)p->channel);

	check_vp(e, p->target_vp, vps);
	if (!c)
		oracle_failed("RING_SEND of nobody", e->seq, p->channel);
	if (e->tail_len % 8 || e->tail_len > LIMIT_PACKET)
		oracle_failed("RING_SEND of a bad length", e->seq, e->tail_len);
	if (c->out_size && p->position + e->tail_len + 8 > c->out_position)
		oracle_failed("RING_SEND behind the channel's cursor", e->seq, p->position);
}

static void check_map(const struct effect *e)
{
	const struct rec_ring_map *p = e->p;

	if (p->in_pages < 2 || p->out_pages < 2 ||
	    (uint64_t)p->in_pages + p->out_pages != e->tail_len / 8 ||
	    e->tail_len / 8 > LIMIT_RING_PAGES)
		oracle_failed("RING_MAP's pages are not its rings", e->seq, p->in_pages);
}

static void check_effect(const struct world *w, const struct effect *e)
{
	const struct vtl *v = world_at(w, KIND_vtl, 0);
	uint32_t vps = v && v->vps ? v->vps : 1;

	switch (e->head.code) {
	case EFFECT_DISK_SUBMIT:
		check_submit(w, e);
		break;
	case EFFECT_GUEST_WRITE:
		check_guest_write(e);
		break;
	case EFFECT_GUEST_READ:
		if (e->tail_len % PAIR)
			oracle_failed("GUEST_READ of half a segment", e->seq, e->tail_len);
		break;
	case EFFECT_MESSAGE:
		check_vp(e, ((const struct rec_message *)e->p)->vp, vps);
		if (e->tail_len == 0 || e->tail_len > LIMIT_MESSAGE)
			oracle_failed("MESSAGE of a bad length", e->seq, e->tail_len);
		break;
	case EFFECT_RING_SEND:
		check_ring(w, e, vps);
		break;
	case EFFECT_RING_MAP:
		check_map(e);
		break;
	case EFFECT_SIGNAL:
		check_vp(e, ((const struct rec_signal *)e->p)->target_vp, vps);
		break;
	default:
		break;
	}
}

void oracle_effects(const struct world *w, const struct turn *t, uint64_t seq)
{
	const struct registry *r = world_registry(w);
	uint32_t at = 0, n = 0;
	struct effect e;
	bool bad;

	while (effect_next(r, t->effects, t->bytes, seq, &at, &n, &e, &bad))
		check_effect(w, &e);
	if (bad || n != t->n_effects)
		oracle_failed("effects do not hold together", seq, at);
}

/* ---- predicates ---------------------------------------------------------------------- */

static void check_instance(const struct world *w, const struct sm_desc *d, const void *self)
{
	const struct sm_head *h = self;
	const struct sm_state *s = sm_state_find(d, h->state);

	if (s && s->holds(self) && (!d->holds_full || d->holds_full(self)))
		return;
	fprintf(stderr, "fuzz: %s in %s\n", d->name, s ? s->name : "no state");
	oracle_failed("a predicate does not hold", world_lane_const(w)->seq, h->generation);
}

void oracle_predicates(const struct world *w, uint16_t kind)
{
	const struct registry *r = world_registry(w);

	for (uint16_t k = 1; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = r->machines[k];
		unsigned left;

		if (!d || (kind && k != kind))
			continue;
		left = world_live(w, k);
		for (uint16_t i = 0; left && i < d->capacity; i++) {
			const void *self = world_at(w, k, i);

			if (!self)
				continue;
			left--;
			check_instance(w, d, self);
		}
	}
}

/* ---- save and restore ------------------------------------------------------------------ */

static size_t pack(const struct world *w, unsigned which)
{
	size_t len;

	if (codec_pack(w, packed[which], sizeof(packed[which]), &len))
		oracle_failed("a state has no room in a slot", world_lane_const(w)->seq, 0);
	return len;
}

void oracle_equal(const struct world *a, const struct world *b)
{
	uint64_t seq = world_lane_const(a)->seq;
	size_t n = pack(a, 0), m = pack(b, 1), at = 0;

	while (at < n && at < m && packed[0][at] == packed[1][at])
		at++;
	if (n != m || at != n)
		oracle_failed("a restored world has become another one", seq, at);
	if (world_blob_room(a) != world_blob_room(b))
		oracle_failed("a blob is lost, or kept by nobody", seq,
			      world_blob_room(b) - world_blob_room(a));
}

void oracle_restore(const struct world *a, struct world *b)
{
	char why[CODEC_WHY] = "";
	size_t n = pack(a, 0);

	world_reset(b, FILL);
	if (codec_unpack(b, packed[0], n, why)) {
		fprintf(stderr, "fuzz: %s\n", why);
		oracle_failed("a packed state cannot be loaded", world_lane_const(a)->seq, n);
	}
	oracle_equal(a, b);
}

/* Tables of a build that knows less. Its predicates would be about what it knows. */
static struct {
	struct registry registry;
	const struct sm_desc *machines[LIMIT_KINDS];
	struct sm_desc desc[LIMIT_KINDS];
	struct sm_state states[LIMIT_KINDS][LIMIT_STATES];
	struct world *world;
} older[3];

static void make_older(const struct registry *r, unsigned quarters)
{
	unsigned n = quarters - 1;

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = r->machines[k];

		if (!d)
			continue;
		older[n].desc[k] = *d;
		memcpy(older[n].states[k], d->states, d->n_states * sizeof(*d->states));
		for (unsigned i = 0; i < d->n_states; i++)
			older[n].states[k][i].holds = sm_holds_always;
		older[n].desc[k].states = older[n].states[k];
		older[n].desc[k].holds_full = NULL;
		older[n].desc[k].n_fields = (uint16_t)(d->n_fields * quarters / 4);
		older[n].machines[k] = &older[n].desc[k];
	}
	older[n].registry = *r;
	older[n].registry.machines = older[n].machines;
	older[n].world = world_new(&older[n].registry);
	if (!older[n].world)
		oracle_failed("no memory", 0, 0);
}

bool oracle_shift(const struct world *a, struct world *b, unsigned quarters)
{
	uint64_t seq = world_lane_const(a)->seq;
	char why[CODEC_WHY] = "";
	struct world *w;
	size_t n = pack(a, 0);

	if (!older[quarters - 1].world)
		make_older(world_registry(a), quarters);
	w = older[quarters - 1].world;
	world_reset(w, FILL);
	if (codec_unpack(w, packed[0], n, why)) {
		if (why[0] == '\0')
			oracle_failed("an older build refuses without a sentence", seq, n);
		return false;
	}
	n = pack(w, 0);
	world_reset(b, FILL);
	if (codec_unpack(b, packed[0], n, why)) {
		fprintf(stderr, "fuzz: %s\n", why);
		oracle_failed("what an older build has kept cannot be loaded", seq, n);
	}
	oracle_equal(a, b);
	return true;
}

/* ---- the end ----------------------------------------------------------------------------- */

void oracle_idle(const struct world *w)
{
	uint64_t seq = world_lane_const(w)->seq;

	if (world_live(w, KIND_scsi))
		oracle_failed("requests are left when everything was answered", seq,
			      world_live(w, KIND_scsi));
	for (uint16_t i = 0; i < CAPACITY_channel; i++) {
		const struct channel *c = world_at(w, KIND_channel, i);

		if (c && c->inflight)
			oracle_failed("a channel waits for an answer that nobody owes", seq, i);
	}
}
