/* servicing/redact.h - opaque payload, replaced by its length and a salted hash.
 *
 * Bytes become the hash of all of them under a key that is drawn for each
 * export and kept nowhere: the same payload can be recognised within one export
 * and not be guessed from it. Below REDACT_SHORT bytes the event's number is
 * hashed too, so that single keystrokes cannot be told apart by counting. A byte
 * of zero stays zero: texts end where they ended. What counts as opaque: a
 * record's tail that the tables say is (REC_OPAQUE), and opaque.def. */
#ifndef SERVICING_REDACT_H
#define SERVICING_REDACT_H

#include "engine/log.h"
#include "engine/world.h"

enum { REDACT_SHORT = 16, REDACT_KEY = 32 };

struct redact {
	const struct registry *registry;
	uint8_t key[REDACT_KEY];
	uint64_t payloads, bytes;        /* replaced so far */
};

void redact_begin(struct redact *r, const struct registry *registry);
/* Payload of an event, in place. */
void redact_event(struct redact *r, const struct log_record *h, uint8_t *payload);
/* Tail of one effect, in place; @p: its fixed part and tail. */
void redact_effect(struct redact *r, uint16_t code, uint64_t seq, uint8_t *p, uint32_t len);
/* Saved state. Blobs are replaced by new ones: pack and load the world again. */
void redact_world(struct redact *r, struct world *w);

#endif
