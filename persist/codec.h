/* persist/codec.h - a whole world as msgpack, and back.
 *
 * Driven by the descriptors alone; knows no machine. Canonical: equal states
 * are equal bytes. Layout (all arrays unless said):
 *   [CODEC_FORMAT, level, schema hash, lane, kinds]
 *   lane:     [seq, time_ns, epoch, ignored, rejected, {source: position}]
 *   kind:     [kind, [generation, run length, ...], [instance, ...]]
 *   instance: [index, state, engine's flags, events put off, {field id: value}]
 * kinds, indices, sources, ids ascend; integers have their smallest form; an
 * empty blob is nil; a kind that never had an instance is left out.
 *
 * Levels: fields above the level in force are written too. Fields only a newer
 * writer knows are kept byte for byte with their instance and written again.
 *
 * codec_pack and codec_unpack are what struct slot_codec (engine/slot.h) wants.
 * Threads: none of its own; one world, one thread. */
#ifndef PERSIST_CODEC_H
#define PERSIST_CODEC_H

#include "engine/world.h"

enum { CODEC_FORMAT = 1, CODEC_WHY = 160 };

/* Packs @w into the caller's @buffer. 0, or -ENOSPC when it does not fit. */
int codec_pack(const struct world *w, uint8_t *buffer, size_t capacity, size_t *ret_len);

/* Unpacks into @w, which the caller has just reset. Input is hostile: nothing
 * is allocated, nothing outside @bytes is read. 0 when every predicate holds;
 * else -EBADMSG, one sentence in @why (CODEC_WHY bytes), and the caller resets
 * the world again before it uses it. */
int codec_unpack(struct world *w, const uint8_t *bytes, size_t len, char *why);

/* What the headers say, without a world: for messages before a load. */
struct codec_header {
	uint64_t format, level, schema_hash, seq;
};
bool codec_header(const uint8_t *bytes, size_t len, struct codec_header *ret);

/* XXH3-64 of packed bytes. */
uint64_t codec_hash(const uint8_t *bytes, size_t len);

/* State hash that two builds agree on while they serve the same level: without
 * schema, fields above the level, and fields of newer writers. Gathers in
 * @scratch. 0 or -ENOSPC. */
int codec_state_hash(const struct world *w, uint8_t *scratch, size_t capacity, uint64_t *ret);

/* Element @n of field @f in the instance @self; blobs: the handle. */
uint64_t codec_field(const struct sm_field *f, const void *self, unsigned n);

#endif
