/* Rings of channels in the hands: mapping, packets out, indices, signals.
 *
 * Exactly once: a packet is written at the position its effect names; custody's
 * AREA_RINGS is stored after the bytes and before the write index, so that a
 * redo writes only what lies behind it, and a take-over publishes the index
 * from it. The read index is published from the machine's position. No index
 * moves back. Publishing is merged per batch. */
#include "devices/hands_state.h"

#include "engine/fact.h"
#include "statemachines/channel.h"
#include "statemachines/gpadl.h"

#include <errno.h>
#include <string.h>

uint32_t channels_next(const struct channels *s, uint32_t from)
{
	for (uint32_t i = from / 64; from < LIMIT_CHANNELS && i < CHANNEL_WORDS; i++) {
		uint64_t bits = s->word[i];

		if (i == from / 64)
			bits &= ~UINT64_C(0) << (from % 64);
		if (bits)
			return i * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return LIMIT_CHANNELS;
}

static struct chan *mapped(struct hands *h, uint32_t i)
{
	return i < LIMIT_CHANNELS && channels_has(&h->mapped, i) ? &h->chan[i] : NULL;
}

/* ---- mapping ------------------------------------------------------------ */

/* Positions are the caller's. */
static int map_pages(struct hands *h, uint32_t i, const uint64_t *pfns, uint32_t in_pages,
		     uint32_t out_pages)
{
	struct chan *ch = &h->chan[i];
	int r;

	if (in_pages < 2 || out_pages < 2 || in_pages > LIMIT_RING_PAGES ||
	    out_pages > LIMIT_RING_PAGES - in_pages)
		return -EINVAL;
	r = ring_map(&ch->in, &h->mem, pfns, in_pages, ch->page);
	if (!r)
		r = ring_map(&ch->out, &h->mem, pfns + in_pages, out_pages, ch->page + in_pages);
	return r;
}

/* The channel is usable from now on; whatever lies in its ring is to be read. */
static void map_done(struct hands *h, uint32_t i)
{
	struct chan *ch = &h->chan[i];

	ch->waiting = ch->bad = false;
#if HOLDFAST_SABOTAGE
	ch->skew = 0;
#endif
	channels_add(&h->mapped, i);
	channels_add(&h->ready, i);
	h->fds_changed = true;
}

bool chan_derive(struct hands *h, uint32_t i)
{
	const struct channel *m = world_at(h->world, KIND_channel, (uint16_t)i);
	uint64_t pfns[LIMIT_RING_PAGES];
	struct chan *ch = &h->chan[i];
	const struct gpadl *g;
	uint32_t in_pages, out_pages;
	size_t bytes;

	if (!m || m->in_size == 0 || m->gpadl_generation == 0)
		return false;
	g = world_at(h->world, KIND_gpadl, m->gpadl_index);
	if (!g || g->sm.generation != m->gpadl_generation)
		return false;
	in_pages = m->in_size / GUESTMEM_PAGE + 1;
	out_pages = m->out_size / GUESTMEM_PAGE + 1;
	bytes = ((size_t)in_pages + out_pages) * sizeof(*pfns);
	if (bytes > sizeof(pfns) || world_blob_read(h->world, g->pfns, 0, pfns, bytes) != bytes ||
	    map_pages(h, i, pfns, in_pages, out_pages))
		return false;
	ch->in_next = ch->in_published = ch->in_position = m->in_position;
	ch->out_position = ch->out_published =
		atomic_load_explicit(&h->c->ring_pos[i].out_position, memory_order_relaxed);
	ch->target_vp = m->target_vp;
	map_done(h, i);
	/* What RING_POLL asked for is not kept: its answer is due at once, and
	 * the machine asks again if that is not enough. */
	ch->waiting = m->polling;
	ch->want = 0;
	return true;
}

static int map_new(struct hands *h, const struct effect *e, struct rec_ring_mapped *ret)
{
	const struct rec_ring_map *p = e->p;
	struct chan *ch = &h->chan[p->channel];
	uint64_t pfns[LIMIT_RING_PAGES];
	int r;

	if (e->tail_len > sizeof(pfns) ||
	    e->tail_len / sizeof(*pfns) < (uint64_t)p->in_pages + p->out_pages)
		return -EINVAL;
	memcpy(pfns, e->tail, e->tail_len);
	r = map_pages(h, p->channel, pfns, p->in_pages, p->out_pages);
	if (r)
		return r;
	ret->in_size = ch->in.size;
	ret->out_size = ch->out.size;
	ret->in_read = atomic_load(&ch->in.header->read_index);
	ret->out_write = atomic_load(&ch->out.header->write_index);
	ret->out_read = atomic_load(&ch->out.header->read_index);
	if (!ring_index_legal(&ch->in, ret->in_read) || !ring_index_legal(&ch->out, ret->out_write))
		return -EINVAL;
	return 0;
}

void chan_map(struct hands *h, const struct effect *e)
{
	const struct rec_ring_map *p = e->p;
	struct rec_ring_mapped m = { .generation = p->generation };
	struct chan *ch;
	int r;

	fact(p->channel < LIMIT_CHANNELS);
	chan_unmap(h, p->channel);
	ch = &h->chan[p->channel];
	r = map_new(h, e, &m);
	m.status = (uint32_t)-r;
	if (!r) {
		ch->in_next = ch->in_published = ch->in_position = m.in_read;
		ch->out_position = ch->out_published = m.out_write;
		atomic_store_explicit(&h->c->ring_pos[p->channel].out_position, m.out_write,
				      memory_order_release);
		atomic_fetch_or(&ch->out.header->features, 1);
		map_done(h, p->channel);
	}
	answer_add(h, KIND_channel, (uint16_t)p->channel, 0, channel_EV_MAPPED, &m, sizeof(m), 0);
}

void chan_unmap(struct hands *h, uint32_t i)
{
	if (!mapped(h, i))
		return;
	if (h->epoch)
		chan_publish(h, i);
	channels_remove(&h->mapped, i);
	channels_remove(&h->ready, i);
	channels_remove(&h->to_signal, i);
	h->chan[i].in = h->chan[i].out = (struct ring){ 0 };
	h->fds_changed = true;
}

/* ---- packets out -------------------------------------------------------- */

void chan_want_signal(struct hands *h, uint32_t i, uint32_t vp)
{
	if (!mapped(h, i))
		return;
	h->chan[i].target_vp = vp;
	channels_add(&h->to_signal, i);
}

#if HOLDFAST_SABOTAGE
static void write_twice(struct chan *ch, const struct effect *e)
{
	uint64_t skewed = ch->out_position + ch->skew;

	if (sabotage_now(SABOTAGE_DOUBLE))
		ch->skew += ring_put(&ch->out, skewed, e->tail, e->tail_len) - skewed;
}

/* Sense "invalid command operation code" in the answer of a storage request. */
static void crash_in_hand(const struct effect *e)
{
	enum { KEY = 16 + 28 + 2, CODE = 16 + 28 + 12, ILLEGAL_REQUEST = 5, OPCODE = 0x20 };

	if (sabotage_kind() == SABOTAGE_HAND && e->tail_len > CODE &&
	    (e->tail[KEY] & 0xf) == ILLEGAL_REQUEST && e->tail[CODE] == OPCODE)
		__builtin_trap();
}
#define SKEW(ch) ((ch)->skew)
#else
#define SKEW(ch) 0
#endif

void chan_send(struct hands *h, const struct effect *e, bool redo)
{
	const struct rec_ring_send *p = e->p;
	struct chan *ch = mapped(h, p->channel);

	if (!ch || (redo && p->position < ch->out_position))
		return;
	ch->target_vp = p->target_vp;
#if HOLDFAST_SABOTAGE
	crash_in_hand(e);
#endif
	ch->out_position = ring_put(&ch->out, p->position + SKEW(ch), e->tail, e->tail_len) -
			   SKEW(ch);
#if HOLDFAST_SABOTAGE
	write_twice(ch, e);
#endif
	channels_add(&h->to_publish, p->channel);
}

void chan_consumed(struct hands *h, const struct effect *e)
{
	const struct rec_ring_consumed *p = e->p;
	struct chan *ch = mapped(h, p->channel);

	if (!ch || p->position <= ch->in_position)
		return;
	ch->in_position = p->position;
	ch->target_vp = p->target_vp;
	channels_add(&h->to_consume, p->channel);
}

void chan_publish(struct hands *h, uint32_t i)
{
	struct chan *ch = &h->chan[i];

	if (channels_has(&h->to_publish, i)) {
		channels_remove(&h->to_publish, i);
		atomic_store_explicit(&h->c->ring_pos[i].out_position, ch->out_position,
				      memory_order_release);
		if (ring_publish(&ch->out, ch->out_published + SKEW(ch),
				 ch->out_position + SKEW(ch)))
			channels_add(&h->to_signal, i);
		ch->out_published = ch->out_position;
	}
	if (channels_has(&h->to_consume, i)) {
		channels_remove(&h->to_consume, i);
		if (ring_consumed(&ch->in, ch->in_published, ch->in_position))
			channels_add(&h->to_signal, i);
		ch->in_published = ch->in_position;
		/* Until now the guest saw a ring that was not empty: what it wrote since
		 * then it did not signal. */
		if (ring_has_more(&ch->in, ch->in_position))
			channels_add(&h->ready, i);
	}
}

void chan_publish_all(struct hands *h)
{
	for (uint32_t w = 0; w < CHANNEL_WORDS; w++) {
		uint64_t bits = h->to_publish.word[w] | h->to_consume.word[w];

		for (; bits; bits &= bits - 1)
			chan_publish(h, w * 64 + (uint32_t)__builtin_ctzll(bits));
	}
}

/* ---- signals ------------------------------------------------------------ */

/* Sets the channel's event flag; false: it was set, or the guest has no page. */
static bool set_flag(struct hands *h, uint32_t channel, uint32_t vp)
{
	uint64_t siefp = h->declared.now.vp[vp].siefp;
	uint64_t gpa = (siefp & ~(uint64_t)(GUESTMEM_PAGE - 1)) + EVENT_FLAGS;
	uint64_t bit = UINT64_C(1) << (channel % 64);
	uint8_t *flags;

	if (!(siefp & SYNIC_ENABLED))
		return false;
	flags = guestmem_writable(&h->mem, gpa, LIMIT_CHANNELS / 8);
	if (!flags)
		return false;
	return !(atomic_fetch_or((_Atomic uint64_t *)(void *)flags + channel / 64, bit) & bit);
}

void chan_signal_all(struct hands *h, bool always)
{
	uint32_t vps = h->c->h->vps, vp_bits = 0;

	for (uint32_t i = channels_next(&h->to_signal, 0); i < LIMIT_CHANNELS;
	     i = channels_next(&h->to_signal, i + 1)) {
		uint32_t vp = h->chan[i].target_vp;

		channels_remove(&h->to_signal, i);
		if (vp < vps && (set_flag(h, i, vp) || always))
			vp_bits |= UINT32_C(1) << vp;
	}
	for (; vp_bits; vp_bits &= vp_bits - 1)
		hands_ring(h->irq_fd[__builtin_ctz(vp_bits)]);
}

/* ---- room --------------------------------------------------------------- */

bool chan_has_room(struct hands *h, uint32_t i, uint32_t *ret_read, bool *ret_fault)
{
	struct chan *ch = &h->chan[i];
	int64_t room = ring_room(&ch->out, ch->out_position + SKEW(ch), ret_read);

	*ret_fault = room < 0;
#if HOLDFAST_SABOTAGE
	if (ch->skew)
		*ret_read = (uint32_t)((*ret_read + ch->out.size - ch->skew % ch->out.size) %
				       ch->out.size);
#endif
	return room < 0 || room > (int64_t)ch->want;
}

static void answer_space(struct hands *h, uint32_t i, uint32_t read, bool fault)
{
	struct rec_ring_bad bad = { .reason = RING_FAULT_READ_INDEX, .value = read };
	struct rec_ring_space space = { .read_index = read };

	if (fault)
		answer_add(h, KIND_channel, (uint16_t)i, 0, channel_EV_RING_BAD, &bad,
			   sizeof(bad), 0);
	else
		answer_add(h, KIND_channel, (uint16_t)i, 0, channel_EV_SPACE, &space,
			   sizeof(space), 0);
}

/* The order of B.11: say what is wanted, then look again. */
void chan_poll(struct hands *h, const struct effect *e)
{
	const struct rec_channel_ref *p = e->p;
	struct chan *ch = mapped(h, p->channel);
	uint32_t read;
	bool fault;

	if (!ch)
		return;
	ch->want = p->value;
	ch->waiting = false;
	if (!chan_has_room(h, p->channel, &read, &fault)) {
		ring_want_room(&ch->out, p->value);
		if (!chan_has_room(h, p->channel, &read, &fault)) {
			ch->waiting = true;
			return;
		}
		ring_want_room(&ch->out, 0);
	}
	answer_space(h, p->channel, read, fault);
}
