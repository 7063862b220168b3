/* engine/world.h - all machines of a lane, and one turn over them.
 *
 * The world is arenas of instances, a blob arena, and the saved lane state
 * (sequence, source positions). It is private memory of one process; custody
 * never points into it. Allocated whole by world_new(), nothing later. Not
 * thread-safe: one lane, one thread. */
#ifndef ENGINE_WORLD_H
#define ENGINE_WORLD_H

#include "engine/effect.h"
#include "engine/limits.h"
#include "engine/sm.h"

/* The program's tables, given by the composition root (engine names no machine). */
struct registry {
	const struct sm_desc *const *machines;  /* LIMIT_KINDS entries, gaps NULL */
	const struct effect_desc *effects;      /* by code */
	unsigned n_effects;
	unsigned max_level;                     /* this build can serve */
};

/* Where an input comes from. The position last taken is saved lane state, so
 * that the next owner neither loses nor repeats one. On disk: append. */
enum source {
	SOURCE_NONE = 0,       /* answers of the hands; ring packets (cursor in the machine) */
	SOURCE_POSTED = 1,     /* queue of posted messages */
	SOURCE_CQ = 2,         /* completion queue of the lane's io_uring */
	SOURCE_CONSOLE = 3,    /* operator's keystrokes */
	SOURCE_INBOX = 4,      /* the partition's and the operator's notices */
	SOURCE_IN_FORCE = 5,   /* generation of declared state */
	SOURCE_REPLIES = 6,    /* command replies */
	SOURCE_MAILBOX = 16,   /* + VP: generation of its mailbox */
	SOURCES = 16 + LIMIT_VPS,
};

/* Saved with the arenas. */
struct lane_state {
	uint64_t seq;                        /* of the last turn stepped */
	uint64_t time_ns;                    /* of the last event */
	uint64_t source_pos[SOURCES];
	uint64_t ignored;                    /* events to dead generations */
	uint64_t rejected;
	uint32_t epoch;
	uint32_t level;                      /* in force */
};

/* An outside event as the lane takes it (from the log or from the hands). */
struct event {
	uint64_t seq;
	uint64_t time_ns;
	uint32_t epoch;
	uint16_t kind, index;
	uint32_t generation;                 /* 0: whoever lives there */
	uint16_t code;
	uint8_t source;                      /* enum source */
	uint64_t source_pos;
	const void *payload;                 /* fixed part and tail */
	uint32_t len;
};

/* A message between machines; also an event that was put off, as it lies in
 * sm_head.deferred: payload behind it, padded to 8 bytes. Saved, so the layout
 * is on disk; checked by world_loaded() before anybody walks it. One to @many
 * names their kind, and who they are stands behind the payload; put off, it is 0. */
struct sm_message {
	struct sm_ref to, from;
	uint16_t event, many;
	uint32_t len;                        /* of the payload */
};

/* What a turn asked for; memory of the world, valid until the next turn. */
struct turn {
	const uint8_t *effects;              /* canonical bytes */
	uint32_t bytes;
	uint32_t n_effects;
};

/* Told about each step, for traces, coverage and replay; may be NULL. */
typedef void world_watch(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
			 const struct sm_row *row);

struct world *world_new(const struct registry *r);
struct world *world_free(struct world *w);   /* returns NULL */
/* As after world_new(); every arena byte is filled with @fill first, so that
 * a test can show that nothing unsaved is read. Spawns nothing. */
void world_reset(struct world *w, uint8_t fill);

/* The singletons that exist before the first event. */
void world_spawn_fixed(struct world *w, uint16_t kind, uint16_t count);

/* Runs one turn to its end. The event must be the next one: seq == last + 1,
 * time not before the last (facts). A payload shorter than its record is
 * completed with zeros. */
struct turn world_turn(struct world *w, const struct event *ev);

/* Walks canonical bytes: *@at starts at 0; false at the end, or when the bytes
 * do not hold together (then *@ret_bad is set; they may come from a damaged log). */
bool effect_next(const struct registry *r, const uint8_t *bytes, uint32_t len, uint64_t seq,
		 uint32_t *at, uint32_t *n, struct effect *ret, bool *ret_bad);

/* A level was committed that this build does not serve: from that turn on the
 * world is not to be trusted, until it is reset. */
bool world_beyond(const struct world *w);

struct lane_state *world_lane(struct world *w);
const struct lane_state *world_lane_const(const struct world *w);
const struct registry *world_registry(const struct world *w);

/* Reading, for hands, inspection and codec. NULL: nobody lives there. */
const void *world_at(const struct world *w, uint16_t kind, uint16_t index);
unsigned world_live(const struct world *w, uint16_t kind);
unsigned world_room(const struct world *w, uint16_t kind);
size_t world_blob_len(const struct world *w, sm_blob b);
size_t world_blob_read(const struct world *w, sm_blob b, size_t offset, void *dst, size_t len);
unsigned world_blob_room(const struct world *w);   /* free chunks */

/* For the codec: make the instance at @index live with @generation, fields
 * zero, not in any state yet; blobs from bytes. NULL / 0: no such place, in
 * use, or no room. */
void *world_place(struct world *w, uint16_t kind, uint16_t index, uint32_t generation);
sm_blob world_blob_new(struct world *w, const void *bytes, size_t len);
/* Highest generation ever given to an index, live or not. */
uint32_t world_generation(const struct world *w, uint16_t kind, uint16_t index);
void world_set_generation(struct world *w, uint16_t kind, uint16_t index, uint32_t generation);
/* After a load: rebuild the free lists; check every predicate, O(1) and full.
 * False: *@ret_why names the machine and state. */
bool world_loaded(struct world *w, const char **ret_why);

void world_watch_set(struct world *w, world_watch *fn, void *user);

/* Lookups in the tables; NULL when there is none. */
const struct sm_state *sm_state_find(const struct sm_desc *d, uint16_t code);
const struct sm_event_desc *sm_event_find(const struct sm_desc *d, uint16_t code);
/* Element @n of @f in the instance @self, cut to its width; a blob: the handle. */
void sm_field_set(const struct sm_field *f, void *self, unsigned n, uint64_t value);
/* Highest `since` in the description. */
unsigned sm_desc_level(const struct sm_desc *d);

#endif
