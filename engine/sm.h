/* engine/sm.h - a state machine as plain data, and what its actions may call.
 *
 * One machine is three files: x.def (the one description), x.h (sm_declare.h:
 * enums and the struct), x.c (guards and actions, then sm_define.h: tables).
 * step(machine, event) -> machine', effects is pure: no clock, no allocation,
 * no descriptor, no pointer kept. All that a guard or action may touch is
 * reached through struct sm_cx. Only the engine moves a state.
 *
 * Threads: everything here runs on the one thread that owns the lane. */
#ifndef ENGINE_SM_H
#define ENGINE_SM_H

#include "engine/rec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sm_cx;
struct world;

/* Who may raise an event. A guest's event must never end in SM_BUG (lint). */
enum sm_origin {
	SM_GUEST,    /* bytes or timing chosen by VTL0 */
	SM_HOST,     /* the partition, a disk, the clock */
	SM_OPERATOR, /* the command line */
	SM_SELF,     /* another machine, in the same turn; not logged */
};

/* Answer to an event that has no row whose guard is true. */
enum sm_policy {
	SM_IGNORE,
	SM_REJECT,   /* the machine's `reject` action answers with an error */
	SM_DEFER,    /* kept (LIMIT_DEFERRED) and delivered again after the state has changed */
	SM_BUG,      /* our own mistake: fact() fails */
};

enum sm_type { SM_T_bool, SM_T_u8, SM_T_u16, SM_T_u32, SM_T_u64, SM_T_blob };

/* An instance: kind, index and generation. Generation 0 is never alive, so a
 * zeroed reference is "none". */
struct sm_ref {
	uint16_t kind;
	uint16_t index;
	uint32_t generation;
};

/* A blob: immutable bytes in the world's arena, owned by the field that holds
 * the handle. 0 is "none". Handles never appear in effects. */
typedef uint32_t sm_blob;

/* First member of every machine. Saved by the codec. */
struct sm_head {
	uint16_t state;
	uint16_t flags;        /* engine's own */
	uint32_t generation;   /* 0: this index is free */
	sm_blob deferred;      /* events put off */
	sm_blob unknown;       /* packed fields of a newer writer */
};

typedef bool sm_guard(const struct sm_cx *cx);
typedef void sm_action(struct sm_cx *cx);

struct sm_state {
	uint16_t code, since;
	enum sm_policy otherwise;
	bool (*holds)(const void *self);   /* O(1); true while in this state */
	const char *name, *doc;
};
struct sm_event_desc {
	uint16_t code, since;
	enum sm_origin origin;
	const struct rec_desc *rec;        /* its payload */
	const char *name, *doc;
};
struct sm_field {
	uint16_t id, since;
	enum sm_type type;
	uint16_t count;                    /* > 1: an array */
	uint32_t offset;
	uint64_t absent;                   /* value when an older writer lacked it, and
					    * at the raise to its level */
	const char *name, *doc;
};
struct sm_row {
	uint16_t from, on, to, since;
	sm_guard *guard;
	sm_action *act;
	const char *guard_name, *act_name;
};

struct sm_desc {
	const char *name, *doc;
	uint16_t kind;                     /* from machines.def; on disk */
	uint16_t capacity;
	uint16_t n_states, n_events, n_fields, n_rows;
	uint32_t size;
	int32_t key_offset;                /* u64 field by which sm_find() looks up; -1: none */
	sm_action *reject;                 /* answers SM_REJECT; NULL: dropped and counted */
	uint16_t quarantine;               /* event that replaces one that killed two owners; 0: none,
					    * that one is dropped and counted */
	bool (*holds_full)(const void *self); /* expensive predicate; may be NULL */
	const struct sm_state *states;     /* [0] is the initial one */
	const struct sm_event_desc *events;
	const struct sm_field *fields;
	const struct sm_row *rows;
	const uint16_t *retired;           /* ids of fields of former builds: never used again */
	uint16_t n_retired;
};

/* What a guard or an action sees. `self` is const in a guard by contract. */
struct sm_cx {
	struct world *world;
	const struct sm_desc *desc;
	void *self;
	struct sm_ref ref;                 /* of self */
	struct sm_ref from;                /* sender of an internal message, else zero */
	const struct sm_event_desc *event;
	const void *p;                     /* the record's fixed part */
	const uint8_t *tail;               /* what follows it */
	uint32_t tail_len;
	uint32_t epoch;                    /* of the owner that logged the event */
	uint64_t time_ns;                  /* the partition's clock at the append */
	uint64_t seq;                      /* of the turn: unique, grows, same in every replay */
};

/* Guards and predicates that are always true; an action that does nothing. */
bool sm_always(const struct sm_cx *cx);
bool sm_holds_always(const void *self);
void sm_nothing(struct sm_cx *cx);

/* --- what an action may do ------------------------------------------------ */

/* Ask the hands for @code (an EFFECT_* of effects.def). @fixed is its record,
 * @tail/@len what follows. Copied. More than the turn's bounds: fact(). */
void sm_effect(struct sm_cx *cx, uint16_t code, const void *fixed, const void *tail, size_t len);

/* Send @event of machine @to.kind to @to, delivered FIFO in the same turn.
 * A dead generation is ignored and counted. @to.generation 0 means "whoever
 * lives at that index now". */
void sm_post(struct sm_cx *cx, struct sm_ref to, uint16_t event, const void *fixed,
	     const void *tail, size_t len);

/* The same to every live instance of @kind, in the order of their indices. */
void sm_post_all(struct sm_cx *cx, uint16_t kind, uint16_t event, const void *fixed,
		 const void *tail, size_t len);

/* A new instance at the lowest free index, in its initial state, fields zero.
 * Generation 0 in the result: no room (a guard can ask sm_room() first). */
struct sm_ref sm_spawn(struct sm_cx *cx, uint16_t kind);

/* Retire self when this step has ended. */
void sm_retire(struct sm_cx *cx);

/* Free instances of @kind. */
unsigned sm_room(const struct sm_cx *cx, uint16_t kind);

/* The live instance of @kind whose key field equals @key; generation 0: none. */
struct sm_ref sm_find(const struct sm_cx *cx, uint16_t kind, uint64_t key);

/* Blobs. set: frees what *@slot held, stores @len bytes; false when the quota
 * is used up (then *@slot is unchanged). append makes old+new. */
bool sm_blob_set(struct sm_cx *cx, sm_blob *slot, const void *bytes, size_t len);
bool sm_blob_append(struct sm_cx *cx, sm_blob *slot, const void *bytes, size_t len);
void sm_blob_clear(struct sm_cx *cx, sm_blob *slot);
size_t sm_blob_len(const struct sm_cx *cx, sm_blob b);
/* Copies up to @len bytes from @offset; returns how many. */
size_t sm_blob_read(const struct sm_cx *cx, sm_blob b, size_t offset, void *dst, size_t len);

/* The level in force: what is above it may be written but decides nothing. */
unsigned sm_level(const struct sm_cx *cx);
/* Raises it, from the next turn on; fields of the new levels begin then. Never
 * lowers: fact(). In a build that does not serve @level it stays, and a follower
 * stops there (world_beyond()). */
void sm_raise_level(struct sm_cx *cx, unsigned level);

#endif
