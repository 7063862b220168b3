/* Custody as a tree of names and numbers.
 *
 * Its writers are at work meanwhile: each word is read once and may be a
 * little older or newer than its neighbour. */
#include "servicing/inspect_custody.h"

#include "engine/fact.h"
#include "servicing/decode.h"

#include <stdio.h>
#include <string.h>

enum { SINT_MASKED = 1 << 16 };

static void add_text(cJSON *to, const char *name, const char *text, size_t size)
{
	char copy[256];

	snprintf(copy, sizeof(copy), "%.*s", (int)strnlen(text, size), text);
	cJSON_AddStringToObject(to, name, copy);
}

static const char *name_of(const char *const *names, size_t n, unsigned i)
{
	return i < n && names[i] ? names[i] : "?";
}

static void add_partition(cJSON *tree, const struct custody *c)
{
	cJSON *o = cJSON_AddObjectToObject(tree, "partition");

	add_text(o, "name", c->h->name, sizeof(c->h->name));
	cJSON_AddStringToObject(o, "backend", c->h->backend == 1 ? "kvm" : "soft");
	decode_number(o, "vps", c->h->vps);
	decode_number(o, "wire_version", c->h->version);
	decode_number(o, "ram_bytes", c->h->ram_bytes);
	decode_number(o, "ram_low_bytes", c->h->ram_low_bytes);
	decode_number(o, "tsc_hz", c->h->tsc_hz);
	decode_number(o, "apic_hz", c->h->apic_hz);
	decode_number(o, "wall_ns", c->h->wall_ns);
	decode_number(o, "custody_bytes", c->bytes);
	decode_number(o, "log_bytes", c->lane_words[0].bytes);
	decode_number(o, "now_ns", custody_now_ns(c));
}

static void add_ownership(cJSON *tree, const struct custody *c)
{
	static const char *const states[] = { "none", "owned", "flipping", "taking", "paused" };
	cJSON *o = cJSON_AddObjectToObject(tree, "ownership");
	uint64_t word = atomic_load(&c->h->owner);

	decode_number(o, "epoch", OWNER_EPOCH(word));
	decode_number(o, "slot", OWNER_SLOT(word));
	cJSON_AddStringToObject(o, "state", name_of(states, ARRAY_LEN(states), OWNER_STATE(word)));
	decode_number(o, "level", atomic_load(&c->h->level));
	decode_number(o, "takeovers", atomic_load(&c->h->takeovers));
	decode_number(o, "kills", atomic_load(&c->h->kills));
	decode_number(o, "spawns", atomic_load(&c->h->spawns));
	decode_number(o, "faults", atomic_load(&c->h->faults));
	decode_number(o, "fault_seq", atomic_load(&c->h->fault_seq));
	decode_number(o, "fault_seq_before", atomic_load(&c->h->fault_seq_before));
	decode_number(o, "quarantines", atomic_load(&c->h->quarantines));
	decode_number(o, "vp_stopped", atomic_load(&c->h->vp_stopped));
	decode_number(o, "vp_wait_ns_max", atomic_load(&c->h->vp_wait_ns_max));
	decode_number(o, "death_ns", atomic_load(&c->h->death_ns));
	decode_number(o, "decided_ns", atomic_load(&c->h->decided_ns));
	decode_number(o, "served_ns", atomic_load(&c->h->served_ns));
}

static void add_procs(cJSON *tree, const struct custody *c)
{
	static const char *const states[] = { "free", "spawned", "loading", "following", "ready",
					      "owner", "retired", "failed", "probation" };
	static const char *const roles[] = { NULL, "first", "successor", "taker", "standby" };
	cJSON *all = cJSON_AddObjectToObject(tree, "procs");

	for (unsigned i = 0; i < LIMIT_PROCS; i++) {
		const struct wire_proc *p = &c->proc[i];
		unsigned state = atomic_load(&p->state);
		char key[8];
		cJSON *o;

		if (state == PROC_FREE)
			continue;
		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(all, key);
		cJSON_AddStringToObject(o, "state", name_of(states, ARRAY_LEN(states), state));
		cJSON_AddStringToObject(o, "role", name_of(roles, ARRAY_LEN(roles), p->role));
		decode_number(o, "pid", (uint64_t)atomic_load(&p->pid));
		add_text(o, "build", p->build, sizeof(p->build));
		decode_number(o, "followed_seq", atomic_load(&p->followed_seq));
		if (p->why[0])
			add_text(o, "why", p->why, sizeof(p->why));
	}
}

/* Rows that carry a file; doors and interrupts go by their numbers. */
static void add_rows(cJSON *tree, const struct custody *c)
{
	cJSON *all = cJSON_AddObjectToObject(tree, "rows");

	for (uint32_t i = 0; i < c->h->n_fds && i < LIMIT_FDS; i++) {
		const struct wire_fd *f = &c->h->fds[i];
		char key[8];
		cJSON *o;

		if (f->fd < 0 || strncmp(f->name, "door.", 5) == 0 || strncmp(f->name, "irq.", 4) == 0)
			continue;
		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(all, key);
		add_text(o, "name", f->name, sizeof(f->name));
	}
}

/* What the owner has declared, and whether it is in force. */
static void add_declared(cJSON *tree, const struct custody *c)
{
	uint64_t commit = atomic_load(&c->declared->commit);
	const struct wire_declared_copy *d = &c->declared->copy[commit & 1];
	cJSON *o = cJSON_AddObjectToObject(tree, "declared");
	cJSON *synic = cJSON_AddObjectToObject(tree, "synic");
	cJSON *doors = cJSON_AddObjectToObject(tree, "doors");
	char key[24];

	decode_number(o, "generation", commit >> 1);
	decode_number(o, "in_force", atomic_load(&c->declared->in_force));
	for (unsigned i = 0; i < c->h->vps && i < LIMIT_VPS; i++) {
		const struct wire_message_queue *q = &c->message[i];

		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(synic, key);
		decode_number(o, "scontrol", d->vp[i].scontrol);
		decode_number(o, "simp", d->vp[i].simp);
		decode_number(o, "siefp", d->vp[i].siefp);
		for (unsigned s = 0; s < ARRAY_LEN(d->vp[i].sint); s++) {
			snprintf(key, sizeof(key), "sint%u", s);
			if (d->vp[i].sint[s] && d->vp[i].sint[s] != SINT_MASKED)
				decode_number(o, key, d->vp[i].sint[s]);
		}
		decode_number(o, "messages_queued", atomic_load(&q->head) - atomic_load(&q->tail));
		decode_number(o, "last_id", atomic_load(&q->last_id));
	}
	for (unsigned i = 0; i < LIMIT_CHANNELS; i++) {
		if (!d->door[i])
			continue;
		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(doors, key);
		decode_number(o, "connection", d->door[i]);
		decode_number(o, "out_published", atomic_load(&c->ring_pos[i].out_position));
	}
}

static void add_queue(cJSON *all, const char *name, const _Atomic uint64_t *head,
		      const _Atomic uint64_t *tail)
{
	cJSON *o = cJSON_AddObjectToObject(all, name);
	uint64_t taken = atomic_load(tail), put = atomic_load(head);

	decode_number(o, "waiting", put > taken ? put - taken : 0);
	decode_number(o, "head", put);
}

static void add_queues(cJSON *tree, const struct custody *c)
{
	cJSON *all = cJSON_AddObjectToObject(tree, "queues");

	add_queue(all, "posted", &c->posted->head, &c->posted->tail);
	add_queue(all, "inbox", &c->inbox->head, &c->inbox->tail);
	add_queue(all, "reports", &c->inbox->report_head, &c->inbox->report_tail);
	add_queue(all, "commands", &c->command->head, &c->command->tail);
	add_queue(all, "replies", &c->reply->head, &c->reply->tail);
	add_queue(all, "console_out", &c->console_out->head, &c->console_out->tail);
	add_queue(all, "console_in", &c->console_in->head, &c->console_in->tail);
}

/* Submissions whose place in the ring is stated, by the number of their scsi machine. */
static void add_placed(cJSON *tree, const struct custody *c)
{
	cJSON *all = cJSON_AddObjectToObject(tree, "placed");

	for (unsigned i = 0; i < LIMIT_REQUESTS; i++) {
		uint64_t placed = atomic_load(&c->disk->slot[i].placed);
		char key[8];
		cJSON *o;

		if (!placed)
			continue;
		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(all, key);
		decode_number(o, "generation", placed >> 32);
		decode_number(o, "sq_position", placed & UINT32_MAX);
		decode_number(o, "epoch", atomic_load(&c->disk->slot[i].epoch));
	}
}

static void add_mailboxes(cJSON *tree, const struct custody *c)
{
	static const char *const states[] = { "idle", "posted", "answered", "?" };
	static const char *const exits[] = {
#define X(name, code, handler, doc) [code] = #name,
		WIRE_EXITS(X)
#undef X
	};
	cJSON *all = cJSON_AddObjectToObject(tree, "mailboxes");

	for (unsigned i = 0; i < c->h->vps && i < LIMIT_VPS; i++) {
		const struct wire_mailbox *m = &c->mailbox[i];
		uint32_t word = atomic_load(&m->state);
		char key[8];
		cJSON *o;

		snprintf(key, sizeof(key), "%u", i);
		o = cJSON_AddObjectToObject(all, key);
		cJSON_AddStringToObject(o, "state", states[word & 3]);
		decode_number(o, "generation", word >> 2);
		cJSON_AddStringToObject(o, "exit", name_of(exits, ARRAY_LEN(exits), m->exit));
		decode_number(o, "address", m->address);
		decode_number(o, "value", m->value);
	}
}

static void add_log(cJSON *tree, const struct custody *c)
{
	const struct log_words *l = &c->lane_words[0];
	cJSON *o = cJSON_AddObjectToObject(tree, "log");
	cJSON *all = cJSON_AddObjectToObject(tree, "checkpoints");

	decode_number(o, "tail", atomic_load(&l->tail));
	decode_number(o, "oldest", atomic_load(&l->oldest));
	decode_number(o, "done_seq", atomic_load(&l->done));
	for (unsigned i = 0; i < 2; i++) {
		const struct wire_slot_head *s = &c->slot_head[i];
		cJSON *slot = cJSON_AddObjectToObject(all, i ? "1" : "0");

		decode_number(slot, "generation", atomic_load(&s->generation));
		decode_number(slot, "seq", s->seq);
		decode_number(slot, "bytes", s->bytes);
		decode_number(slot, "position", s->position);
	}
}

static void add_exits(cJSON *tree, const struct custody *c)
{
	cJSON *o = cJSON_AddObjectToObject(tree, "exits");

#define X(name, code, handler, doc) decode_number(o, #name, atomic_load(&c->stats->exits[code]));
	WIRE_EXITS(X)
#undef X
}

static void add_stats(cJSON *tree, const struct custody *c)
{
	cJSON *o = cJSON_AddObjectToObject(tree, "stats");

	decode_number(o, "turns", atomic_load(&c->stats->turns));
	decode_number(o, "checkpoints", atomic_load(&c->stats->checkpoints));
	decode_number(o, "log_full_waits", atomic_load(&c->stats->log_full_waits));
	decode_number(o, "requests_submitted", atomic_load(&c->stats->requests_submitted));
	decode_number(o, "requests_completed", atomic_load(&c->stats->requests_completed));
	decode_number(o, "requests_reissued", atomic_load(&c->stats->requests_reissued));
	decode_number(o, "inflight", atomic_load(&c->stats->inflight));
	decode_number(o, "messages_delivered", atomic_load(&c->stats->messages_delivered));
	decode_number(o, "doorbells_unmatched", atomic_load(&c->stats->doorbells_unmatched));
}

/* The last take-overs, by the owner's count; those being overwritten are left out. */
static void add_gaps(cJSON *tree, const struct custody *c)
{
	static const char *const reasons[] = { NULL, "first", "planned", "death", "rollback" };
	cJSON *all = cJSON_AddObjectToObject(tree, "gaps");
	uint64_t n = atomic_load(&c->stats->n_gaps);

	for (uint64_t i = n > ARRAY_LEN(c->stats->gap) - 1 ? n - ARRAY_LEN(c->stats->gap) + 1 : 0;
	     i < n; i++) {
		uint64_t at = i % ARRAY_LEN(c->stats->gap);
		char key[24];
		cJSON *o;

		snprintf(key, sizeof(key), "%llu", (unsigned long long)i);
		o = cJSON_AddObjectToObject(all, key);
		cJSON_AddStringToObject(o, "reason", name_of(reasons, ARRAY_LEN(reasons),
							     c->stats->gap[at].reason));
		decode_number(o, "epoch", c->stats->gap[at].epoch);
		decode_number(o, "seq", c->stats->gap[at].seq);
		decode_number(o, "gap_ns", c->stats->gap[at].gap_ns);
		decode_number(o, "inflight", c->stats->gap[at].inflight);
		add_text(o, "build", c->stats->gap[at].build, sizeof(c->stats->gap[at].build));
	}
}

void inspect_custody(cJSON *tree, const struct custody *c)
{
	add_partition(tree, c);
	add_ownership(tree, c);
	add_procs(tree, c);
	add_rows(tree, c);
	add_mailboxes(tree, c);
	add_declared(tree, c);
	add_queues(tree, c);
	add_placed(tree, c);
	add_log(tree, c);
	add_stats(tree, c);
	add_exits(tree, c);
	add_gaps(tree, c);
}
