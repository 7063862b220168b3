/* See answers.h. */
#include "fuzz/answers.h"

#include "engine/fact.h"
#include "fuzz/alphabet.h"
#include "statemachines/channel.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/scsi.h"
#include "statemachines/servicing.h"
#include "statemachines/vtl.h"

enum { PAGE = 4096, TAKEOVER_PLANNED = 2 };

static struct answer *add(struct answers *a, uint16_t effect, uint16_t kind, uint16_t index,
			  uint16_t code)
{
	struct answer *at;

	if (a->n == ANSWERS) {
		a->lost = true;
		return NULL;
	}
	at = &a->at[a->n++];
	*at = (struct answer){ .effect = effect, .kind = kind, .index = index, .code = code };
	return at;
}

static void set(struct answer *at, const void *fixed, uint32_t len)
{
	if (!at)
		return;
	fact(len <= ANSWER_FIXED);
	memcpy(at->fixed, fixed, len);
	at->len = len;
}

static void command_done(struct answers *a, const struct registry *r, const struct effect *e)
{
	const struct rec_command *p = e->p;
	struct rec_command_done d = { .id = effect_id(e), .op = p->op, .value = 1 };
	const struct sm_desc *m = r->machines[e->head.kind];

	for (unsigned i = 0; i < m->n_events; i++)
		if (m->events[i].rec == &rec_desc_command_done)
			set(add(a, e->head.code, e->head.kind, e->head.index, m->events[i].code),
			    &d, sizeof(d));
}

static void mapped(struct answers *a, const struct effect *e)
{
	const struct rec_ring_map *p = e->p;
	struct rec_ring_mapped m = { .generation = p->generation,
				     .in_size = (p->in_pages - 1) * PAGE,
				     .out_size = (p->out_pages - 1) * PAGE };

	set(add(a, e->head.code, KIND_channel, (uint16_t)p->channel, channel_EV_MAPPED), &m,
	    sizeof(m));
}

static void disk_done(struct answers *a, const struct effect *e)
{
	const struct rec_disk_submit *p = e->p;
	bool moves = p->op == DISK_READ || p->op == DISK_WRITE;
	struct rec_disk_done d = { .generation = p->generation,
				   .result = moves ? (uint32_t)p->bytes : 0 };

	set(add(a, e->head.code, KIND_scsi, p->request, scsi_EV_DISK_DONE), &d, sizeof(d));
}

static void fetched(struct answers *a, const struct effect *e)
{
	const struct rec_guest_read *p = e->p;
	struct rec_fetched d = { 0 };
	struct answer *at = add(a, e->head.code, p->kind, p->index, p->event);
	uint64_t bytes = 0;

	set(at, &d, sizeof(d));
	for (uint32_t n = 8; n + 8 <= e->tail_len; n += 16) {
		uint64_t len;

		memcpy(&len, e->tail + n, sizeof(len));
		bytes += len;
	}
	fact(bytes <= LIMIT_PAYLOAD - sizeof(d));
	if (at) {
		at->generation = p->generation;
		at->list = (uint32_t)bytes;
	}
}

static void flipped(struct answers *a, const struct effect *e)
{
	const struct rec_successor *p = e->p;
	struct rec_serving s = { .epoch = 2, .reason = TAKEOVER_PLANNED, .level = 1,
				 .slot = p->slot };

	set(add(a, e->head.code, KIND_servicing, 0, servicing_EV_SERVING), &s, sizeof(s));
}

void answers_take(struct answers *a, const struct registry *r, const struct effect *e)
{
	struct rec_in_force in_force = { .generation = e->seq };
	struct rec_guest_loaded loaded = { .rip = 0x1000 };
	const struct rec_channel_ref *ref = e->p;

	switch (e->head.code) {
	case EFFECT_DECLARE_VP:
	case EFFECT_DECLARE_DOOR:
		set(add(a, e->head.code, KIND_vtl, 0, vtl_EV_IN_FORCE), &in_force,
		    sizeof(in_force));
		break;
	case EFFECT_COMMAND:
		command_done(a, r, e);
		break;
	case EFFECT_GUEST_LOAD:
		set(add(a, e->head.code, KIND_vtl, 0, vtl_EV_LOADED), &loaded, sizeof(loaded));
		break;
	case EFFECT_RING_MAP:
		mapped(a, e);
		break;
	case EFFECT_RING_POLL:
		add(a, e->head.code, KIND_channel, (uint16_t)ref->channel, channel_EV_SPACE);
		break;
	case EFFECT_DISK_SUBMIT:
		disk_done(a, e);
		break;
	case EFFECT_GUEST_READ:
		fetched(a, e);
		break;
	case EFFECT_FLIP:
		flipped(a, e);
		break;
	default:
		break;
	}
}

struct turn answers_turn(struct answers *a, const struct registry *r, struct world *w,
			 struct event *ev)
{
	const struct lane_state *l = world_lane_const(w);
	uint32_t at = 0, n = 0;
	struct effect e;
	struct turn t;
	bool bad;

	ev->seq = l->seq + 1;
	ev->time_ns += l->time_ns;
	ev->epoch = 1;
	t = world_turn(w, ev);
	while (effect_next(r, t.effects, t.bytes, ev->seq, &at, &n, &e, &bad))
		answers_take(a, r, &e);
	return t;
}

/* The guest has read all that was sent to it. */
static uint32_t space(const struct world *w, uint16_t index, uint8_t *payload)
{
	const struct channel *c = world_at(w, KIND_channel, index);
	struct rec_ring_space s = { 0 };

	if (c && c->out_size)
		s.read_index = (uint32_t)(c->out_position % c->out_size);
	memcpy(payload, &s, sizeof(s));
	return (uint32_t)sizeof(s);
}

void answers_event(const struct answers *a, unsigned n, const struct world *w, struct feed *f,
		   struct event *ev, uint8_t *payload)
{
	const struct answer *at = &a->at[n];

	ev->kind = at->kind;
	ev->index = at->index;
	ev->code = at->code;
	ev->generation = at->generation;
	ev->payload = payload;
	if (at->effect == EFFECT_RING_POLL) {
		ev->len = space(w, at->index, payload);
		return;
	}
	memcpy(payload, at->fixed, at->len);
	if (f)
		alphabet_list(f, payload + at->len, at->list);
	else
		memset(payload + at->len, 0, at->list);
	ev->len = at->len + at->list;
}

void answers_drop(struct answers *a, unsigned n)
{
	memmove(&a->at[n], &a->at[n + 1], (a->n - n - 1) * sizeof(a->at[0]));
	a->n--;
}
