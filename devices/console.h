/* devices/console.h - byte streams between guest and operator, in custody.
 *
 * Positions are free-running. Output drops the oldest bytes when nobody reads:
 * the producer runs ahead of the reader, who finds head - tail above the size. */
#ifndef DEVICES_CONSOLE_H
#define DEVICES_CONSOLE_H

#include "engine/partition/wire.h"

/* Owner: appends @len bytes. */
void console_put(struct wire_console *c, const uint8_t *bytes, uint32_t len);

/* Owner: copies up to @max bytes from @position on; returns how many. Bytes the
 * producer has overwritten meanwhile are skipped: *@position moves on. */
uint32_t console_peek(const struct wire_console *c, uint64_t *position, uint8_t *bytes,
		      uint32_t max);

#endif
