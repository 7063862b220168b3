/* The life of the hands: made, derived from machine state, put in the place of
 * a former owner's.
 *
 * Invariant: hands_rebuild() leaves nothing of what was there before but the
 * mappings and descriptors of hands_new(), which are the process's own. */
#include "devices/hands_state.h"

#include "engine/fact.h"
#include "statemachines/channel.h"
#include "statemachines/vp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DOOR_BASE = 0x2000 };
#define SINT_RESET UINT64_C(0x10000) /* vp.def keeps SINTs XOR this */

/* ---- making ------------------------------------------------------------- */

static bool numbered(const char *name, const char *prefix, unsigned limit, unsigned *ret)
{
	size_t n = strlen(prefix);
	char *end;

	if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9')
		return false;
	*ret = (unsigned)strtoul(name + n, &end, 10);
	return *end == '\0' && *ret < limit;
}

/* Rows exist before the first paravisor and stay (engine/partition/resource.c);
 * those added later are executables. */
static void read_rows(struct hands *h)
{
	const struct wire_header *w = h->c->h;

	for (unsigned i = 0; i < LIMIT_CHANNELS; i++)
		h->door_fd[i] = -1;
	for (unsigned i = 0; i < LIMIT_VPS; i++)
		h->irq_fd[i] = -1;
	for (unsigned row = 0; row < w->n_fds; row++) {
		char name[sizeof(w->fds[row].name) + 1] = "";
		unsigned n;

		if (w->fds[row].fd < 0)
			continue;
		memcpy(name, w->fds[row].name, sizeof(w->fds[row].name));
		if (numbered(name, "door.", LIMIT_CHANNELS, &n)) {
			h->door_fd[n] = WIRE_FD_BASE + (int)row;
			h->row_is_door[row] = true;
			h->row_door[row] = (uint16_t)n;
		} else if (numbered(name, "irq.", LIMIT_VPS, &n)) {
			h->irq_fd[n] = WIRE_FD_BASE + (int)row;
		}
	}
}

static bool open_all(struct hands *h)
{
	const struct wire_header *w = h->c->h;
	int ram = custody_fd(h->c, "ram");

	h->kick_fd = custody_fd(h->c, "kick");
	h->part_fd = custody_fd(h->c, "part");
	h->cq_fd = custody_fd(h->c, "cq.0");
	h->com1_fd = custody_fd(h->c, "com1");
	if (ram < 0 || h->kick_fd < 0 || h->part_fd < 0 || h->cq_fd < 0)
		return false;
	return guestmem_map(&h->mem, ram, w->ram_bytes, w->ram_low_bytes) == 0 &&
	       uring_map(&h->uring, h->c) == 0;
}

struct hands *hands_new(struct custody *c, const struct registry *r)
{
	struct hands *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->c = c;
	h->registry = r;
	h->bytes = malloc((size_t)ANSWERS_MAX * LIMIT_PAYLOAD);
	h->iov = malloc(sizeof(*h->iov) * LIMIT_REQUESTS * LIMIT_SEGMENTS);
	if (!h->bytes || !h->iov || !open_all(h))
		return hands_free(h);
	read_rows(h);
	timers_find(h);
	h->fds_changed = true;
	return h;
}

struct hands *hands_free(struct hands *h)
{
	if (!h)
		return NULL;
	uring_unmap(&h->uring);
	guestmem_unmap(&h->mem);
	free(h->bytes);
	free(h->iov);
	free(h);
	return NULL;
}

void hands_arm(struct hands *h, uint32_t epoch)
{
	fact(guestmem_arm(&h->mem, epoch) == 0);
	h->epoch = epoch;
}

void hands_disarm(struct hands *h)
{
	guestmem_disarm(&h->mem);
	h->epoch = 0;
}

/* ---- deriving ----------------------------------------------------------- */

static void declare_vps(struct wire_declared_copy *d, const struct world *w, uint32_t vps)
{
	for (uint16_t i = 0; i < vps; i++) {
		const struct vp *vp = world_at(w, KIND_vp, i);

		if (!vp)
			continue;
		d->vp[i] = (struct wire_declared_vp){ .scontrol = vp->scontrol, .simp = vp->simp,
						      .siefp = vp->siefp };
		for (unsigned n = 0; n < ARRAY_LEN(vp->sint); n++)
			d->vp[i].sint[n] = vp->sint[n] ^ SINT_RESET;
	}
}

/* The whole page, as the machines have it. */
void hands_declare(struct hands *h, const struct world *w)
{
	struct wire_declared_copy *d = &h->declared.now;

	*d = (struct wire_declared_copy){ .generation = world_lane_const(w)->seq };
	declare_vps(d, w, LIMIT_VPS);
	for (uint16_t i = 0; i < LIMIT_CHANNELS; i++) {
		const struct channel *m = world_at(w, KIND_channel, i);

		if (m && m->door_seq)
			d->door[i] = DOOR_BASE | m->relid;
	}
	h->declared.dirty = false;
}

int hands_rebuild(struct hands *h, const struct world *w)
{
	h->world = w;
	h->mapped = h->ready = (struct channels){ 0 };
	h->to_consume = h->to_publish = h->to_signal = (struct channels){ 0 };
	h->next_channel = 0;
	h->any_posted = h->any_replies = h->any_inbox = h->any_console = h->any_cq = false;
	h->held = h->kick_part = false;
	h->n_answers = 0;
	h->answer_bytes = 0;
	timers_forget(h);
	h->fds_changed = true;
	hands_declare(h, w);
	for (uint32_t i = 0; i < LIMIT_CHANNELS; i++)
		chan_derive(h, i);
	return 0;
}

/* ---- taking over -------------------------------------------------------- */

static void raise_to(_Atomic uint64_t *word, uint64_t to)
{
	if (atomic_load(word) < to)
		atomic_store(word, to);
}

/* An entry whose id was noted but whose head was not stored is published. The
 * place behind the head held an older id before. */
static void finish_queues(struct custody *c)
{
	for (unsigned vp = 0; vp < LIMIT_VPS; vp++) {
		struct wire_message_queue *q = &c->message[vp];
		uint64_t head = atomic_load(&q->head), last = atomic_load(&q->last_id);

		if (last && q->entry[head % LIMIT_MESSAGE_QUEUE].id == last)
			atomic_store(&q->head, head + 1);
	}
	if (atomic_load(&c->command->last_id) &&
	    c->command->entry[atomic_load(&c->command->head) % LIMIT_COMMAND_QUEUE].id ==
		    atomic_load(&c->command->last_id))
		atomic_fetch_add(&c->command->head, 1);
}

static void publish_headers(struct hands *h)
{
	for (uint32_t i = channels_next(&h->mapped, 0); i < LIMIT_CHANNELS;
	     i = channels_next(&h->mapped, i + 1)) {
		struct chan *ch = &h->chan[i];

		ring_restore(&ch->in, ch->in_position, &ch->out, ch->out_position);
	}
}

int hands_take_over(struct hands *h, const struct world *w)
{
	const struct lane_state *s = world_lane_const(w);
	struct custody *c = h->c;

	fact(h->epoch != 0 && h->world == w);
	finish_queues(c);
	raise_to(&c->posted->tail, s->source_pos[SOURCE_POSTED]);
	raise_to(&c->reply->tail, s->source_pos[SOURCE_REPLIES]);
	raise_to(&c->inbox->tail, s->source_pos[SOURCE_INBOX]);
	raise_to(&c->console_in->tail, s->source_pos[SOURCE_CONSOLE]);
	uring_take_over(&h->uring, h->epoch, s->source_pos[SOURCE_CQ], request_again, h);
	publish_headers(h);
	h->declared.dirty = true;
	if (declared_commit(&h->declared, c->declared))
		h->kick_part = true;
	return 0;
}

#if HOLDFAST_SABOTAGE
/* Notifications are swallowed, no ring is looked at again. */
static bool kick_sabotaged(struct hands *h)
{
	sabotage_deafen();
	if (!sabotage_deaf())
		return false;
	h->ready = (struct channels){ 0 };
	return true;
}
#endif

void hands_look_everywhere(struct hands *h)
{
#if HOLDFAST_SABOTAGE
	if (atomic_load(&h->c->h->takeovers) > 1 && kick_sabotaged(h))
		return;
#endif
	h->ready = h->mapped;
}

void hands_kick_all(struct hands *h)
{
#if HOLDFAST_SABOTAGE
	if (atomic_load(&h->c->h->takeovers) > 1 && sabotage_deaf())
		return;
#endif
	for (uint32_t i = channels_next(&h->mapped, 0); i < LIMIT_CHANNELS;
	     i = channels_next(&h->mapped, i + 1))
		channels_add(&h->to_signal, i);
	chan_signal_all(h, true);
	hands_ring(h->part_fd);
}

unsigned hands_requests_of(const struct hands *h, uint32_t epoch)
{
	return uring_requests_of(&h->uring, epoch);
}

void hands_kick_owner(const struct hands *h)
{
	hands_ring(h->kick_fd);
}

void hands_kick_partition(const struct hands *h)
{
	if (h)
		hands_ring(h->part_fd);
}
