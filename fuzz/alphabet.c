/* See alphabet.h. What the host says about itself (processor numbers, lengths of
 * messages, positions of packets) is true here: machines may rely on it. */
#include "fuzz/alphabet.h"

#include "engine/fact.h"
#include "fuzz/shapes.h"
#include "statemachines/channel.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/ring_packet.h"
#include "statemachines/records.h"
#include "statemachines/vtl.h"

enum { LETTERS = 128, WEIGHTS = 4096 };

static struct {
	uint16_t kind;
	const struct sm_event_desc *event;
} letter[LETTERS];
static unsigned n_letters;
static uint8_t weighted[WEIGHTS];
static unsigned n_weighted;

static unsigned weight_of(uint16_t kind, const struct sm_event_desc *e)
{
	static const unsigned by_origin[] = { [SM_GUEST] = 6, [SM_HOST] = 3, [SM_OPERATOR] = 2 };

	if (e->origin == SM_SELF)
		return 0;
	/* Little goes on behind these. */
	if ((kind == KIND_vtl && e->code == vtl_EV_POWER_OFF) || e->rec == &rec_desc_exit_fatal ||
	    (kind == KIND_channel && e->rec != &rec_desc_packet))
		return 1;
	if (e->rec == &rec_desc_posted || e->rec == &rec_desc_packet)
		return 40;
	return by_origin[e->origin];
}

void alphabet_init(const struct registry *r)
{
	for (uint16_t k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = r->machines[k];

		for (unsigned i = 0; d && i < d->n_events; i++) {
			unsigned weight = weight_of(k, &d->events[i]);

			if (weight == 0)
				continue;
			fact(n_letters < LETTERS);
			letter[n_letters].kind = k;
			letter[n_letters].event = &d->events[i];
			while (weight--) {
				fact(n_weighted < WEIGHTS);
				weighted[n_weighted++] = (uint8_t)n_letters;
			}
			n_letters++;
		}
	}
}

/* ---- values -------------------------------------------------------------------- */

static uint64_t field_of(const struct sm_desc *d, const void *self, uint32_t pick)
{
	const struct sm_field *f = &d->fields[pick % d->n_fields];
	const uint8_t *p = (const uint8_t *)self + f->offset;
	uint64_t value = 0;

	switch (f->type) {
	case SM_T_bool:
	case SM_T_u8:
		return *p;
	case SM_T_u16:
		memcpy(&value, p, 2);
		return value;
	case SM_T_u32:
		memcpy(&value, p, 4);
		return value;
	case SM_T_u64:
		memcpy(&value, p, 8);
		return value;
	case SM_T_blob:
		break;
	}
	return 0;
}

static uint64_t draw(struct feed *f, const struct sm_desc *d, const void *self,
		     const struct alphabet_memory *m)
{
	static const uint64_t interesting[] = {
		1, 2, 4, 7, 8, 16, 64, 255, 256, 512, 4095, 4096, 4097, 0x7fff, 0x8000, 0xffff,
		0x10000, 1u << 20, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff,
		UINT64_C(1) << 32, UINT64_C(1) << 51, UINT64_C(1) << 52, INT64_MAX,
		UINT64_C(1) << 63, UINT64_MAX - 4095, UINT64_MAX,
	};

	switch (feed_below(f, 8)) {
	case 0:
		return 0;
	case 1:
		return feed_u8(f);
	case 2:
		return interesting[feed_below(f, ARRAY_LEN(interesting))];
	case 3:
		return feed_u64(f);
	case 4:
	case 5:
		return self && d->n_fields ? field_of(d, self, feed_u8(f)) : 0;
	default:
		return m->seen[feed_below(f, ALPHABET_SEEN)];
	}
}

static unsigned width_of(enum rec_type t)
{
	static const unsigned width[] = { [REC_U8] = 1, [REC_U16] = 2, [REC_U32] = 4,
					  [REC_U64] = 8 };

	return width[t];
}

static void put(uint8_t *payload, const struct rec_field *f, unsigned n, uint64_t value)
{
	unsigned width = width_of(f->type);

	memcpy(payload + f->offset + (size_t)n * width, &value, width);
}

static void draw_record(struct feed *f, const struct rec_desc *rec, const struct sm_desc *d,
			const void *self, const struct alphabet_memory *m, uint8_t *payload)
{
	memset(payload, 0, rec->size);
	for (unsigned i = 0; i < rec->n_fields; i++)
		for (unsigned n = 0; n < rec->fields[i].count; n++)
			put(payload, &rec->fields[i], n, draw(f, d, self, m));
}

void alphabet_mutate(struct feed *f, const struct alphabet_memory *m, const struct rec_desc *rec,
		     uint8_t *payload)
{
	const struct rec_field *field;

	if (rec->n_fields == 0)
		return;
	field = &rec->fields[feed_below(f, rec->n_fields)];
	put(payload, field, feed_below(f, field->count), draw(f, NULL, NULL, m));
}

static void learn_packet(struct alphabet_memory *m, const struct effect *e)
{
	const struct rec_ring_send *p = e->p;
	uint32_t len = e->tail_len - RING_DESCRIPTOR;

	if (p->channel >= ALPHABET_ECHOES || len > ALPHABET_ECHO_BYTES)
		return;
	memcpy(m->echo[p->channel].bytes, e->tail + RING_DESCRIPTOR, len);
	m->echo[p->channel].len = len;
}

void alphabet_learn(struct alphabet_memory *m, const struct effect *e,
		    const struct effect_desc *d)
{
	if (e->head.code == EFFECT_RING_SEND)
		learn_packet(m, e);
	for (unsigned i = 0; i < d->rec->n_fields; i++)
		m->seen[m->at++ % ALPHABET_SEEN] = rec_value(&d->rec->fields[i], e->p, 0);
	m->seen[m->at++ % ALPHABET_SEEN] = e->seq;
}

/* ---- instances ------------------------------------------------------------------- */

static uint16_t choose_index(struct feed *f, const struct world *w, const struct sm_desc *d)
{
	unsigned live = world_live(w, d->kind), pick;

	if (live == 0 || feed_once_in(f, 64))
		return (uint16_t)feed_below(f, d->capacity);
	pick = feed_below(f, live < 256 ? live : 256);
	for (uint16_t i = 0; i < d->capacity; i++)
		if (world_at(w, d->kind, i) && pick-- == 0)
			return i;
	return 0;
}

/* ---- payloads with a format ----------------------------------------------------- */

static uint32_t processors(const struct world *w)
{
	const struct vtl *v = world_at(w, KIND_vtl, 0);

	return v && v->vps && v->vps <= LIMIT_VPS ? v->vps : 1;
}

static uint32_t posted(struct feed *f, const struct world *w, uint8_t *payload)
{
	struct rec_posted p = { .connection_id = 4, .message_type = 1 };
	uint32_t len;

	p.vp = feed_below(f, processors(w));
	if (feed_once_in(f, 32))
		p.connection_id = feed_u8(f) % 8;
	if (feed_once_in(f, 64))
		p.message_type = feed_u32(f);
	memcpy(payload, &p, sizeof(p));
	len = shape_message(f, w, payload + sizeof(p));
	return (uint32_t)sizeof(p) + len;
}

/* The hands copy a packet from the channel's cursor and know its length. */
static uint32_t packet(struct feed *f, const struct world *w, const struct alphabet_memory *m,
		       uint16_t index, uint8_t *payload)
{
	const struct channel *c = world_at(w, KIND_channel, index);
	struct rec_packet p = { .position = c ? c->in_position : 0 };
	bool echoes = c && c->device_kind != KIND_storvsp && index < ALPHABET_ECHOES &&
		      m->echo[index].len && !feed_once_in(f, 8);
	uint32_t len = echoes ? shape_echo(f, m->echo[index].bytes, m->echo[index].len,
					   payload + sizeof(p))
			      : shape_packet(f, payload + sizeof(p));

	if (feed_once_in(f, 32))
		p.position += feed_u64(f);
	p.next = p.position + len + 8;
	memcpy(payload, &p, sizeof(p));
	return (uint32_t)sizeof(p) + len;
}

uint32_t alphabet_packet(struct feed *f, const struct world *w, uint16_t index, uint32_t op,
			 uint8_t opcode, uint8_t *payload)
{
	const struct channel *c = world_at(w, KIND_channel, index);
	struct rec_packet p = { .position = c ? c->in_position : 0 };
	uint32_t len = shape_vstor(f, op, opcode, payload + sizeof(p));

	p.next = p.position + len + 8;
	memcpy(payload, &p, sizeof(p));
	return (uint32_t)sizeof(p) + len;
}

void alphabet_list(struct feed *f, uint8_t *dst, size_t n)
{
	shape_list(f, dst, n);
}

/* The machine's own deadline: what a timer would say. */
static void put_deadline(const struct sm_desc *d, const void *self, uint8_t *payload)
{
	for (uint32_t i = 0; i < d->n_fields; i++) {
		uint64_t value;

		if (strcmp(d->fields[i].name, "deadline_ns") != 0)
			continue;
		value = field_of(d, self, i);
		memcpy(payload, &value, sizeof(value));
	}
}

/* Figures that the partition vouches for, and places that somebody owns. */
static void make_true(struct feed *f, const struct rec_desc *rec, const struct sm_desc *d,
		      const void *self, uint8_t *payload)
{
	static const uint16_t ports[] = { 0x3f8, 0x3f9, 0x3fa, 0x3fc, 0x3fd, 0x70, 0x71, 0x600,
					  0x604, 0x608, 0x60c, 0xcf9, 0x64, 0x500, 0x80, 0x3f8 };
	static const uint16_t msrs[] = { 0x00, 0x01, 0x02, 0x03, 0x20, 0x21, 0x22, 0x73, 0x80,
					 0x82, 0x83, 0x84, 0x90, 0x92, 0x9f, 0x100, 0x105, 0x118 };
	struct rec_exit_pio pio;
	struct rec_exit_msr msr;
	struct rec_disk_config disk;

	if (rec == &rec_desc_exit_pio) {
		memcpy(&pio, payload, sizeof(pio));
		pio.size = (uint8_t)(1u << pio.size % 3);
		pio.is_in &= 1;
		if (!feed_once_in(f, 4))
			pio.port = ports[feed_below(f, ARRAY_LEN(ports))];
		memcpy(payload, &pio, sizeof(pio));
	} else if (rec == &rec_desc_exit_msr) {
		memcpy(&msr, payload, sizeof(msr));
		msr.msr = 0x40000000u + (feed_once_in(f, 4) ? msr.msr & 0x1ff
							   : msrs[feed_below(f, ARRAY_LEN(msrs))]);
		memcpy(payload, &msr, sizeof(msr));
	} else if (rec == &rec_desc_deadline && self && !feed_once_in(f, 4)) {
		put_deadline(d, self, payload);
	} else if (rec == &rec_desc_disk_config) {
		memcpy(&disk, payload, sizeof(disk));
		disk.block_bytes = disk.block_bytes & 1 ? 4096 : 512;
		disk.controller %= 2;
		disk.target = 0;
		disk.lun %= 8;
		memcpy(payload, &disk, sizeof(disk));
	}
}

static uint32_t any_tail(struct feed *f, const struct rec_desc *rec, uint8_t *at)
{
	uint32_t n;

	if (rec->tail == REC_NO_TAIL)
		return 0;
	n = feed_u8(f);
	if (rec->tail == REC_U64S)
		n &= ~7u;
	feed_bytes(f, at, n);
	return n;
}

void alphabet_event(struct feed *f, const struct world *w, const struct alphabet_memory *m,
		    struct event *ev, uint8_t *payload)
{
	unsigned pick = weighted[feed_u16(f) % n_weighted];
	const struct sm_event_desc *e = letter[pick].event;
	const struct sm_desc *d = world_registry(w)->machines[letter[pick].kind];
	const void *self;

	ev->kind = d->kind;
	ev->code = e->code;
	ev->index = choose_index(f, w, d);
	self = world_at(w, ev->kind, ev->index);
	ev->generation = feed_once_in(f, 16) && self ? ((const struct sm_head *)self)->generation
						     : 0;
	ev->payload = payload;
	if (e->rec == &rec_desc_posted) {
		ev->len = posted(f, w, payload);
	} else if (e->rec == &rec_desc_packet) {
		ev->len = packet(f, w, m, ev->index, payload);
	} else {
		draw_record(f, e->rec, d, self, m, payload);
		make_true(f, e->rec, d, self, payload);
		ev->len = e->rec->size + any_tail(f, e->rec, payload + e->rec->size);
	}
}
