/* Console rings: bytes first, then the head. */
#include "devices/console.h"

#include <string.h>

static void copy_in(struct wire_console *c, uint64_t position, const uint8_t *bytes, uint32_t len)
{
	uint32_t at = (uint32_t)(position % LIMIT_CONSOLE_BYTES);
	uint32_t first = LIMIT_CONSOLE_BYTES - at < len ? LIMIT_CONSOLE_BYTES - at : len;

	memcpy(c->bytes + at, bytes, first);
	memcpy(c->bytes, bytes + first, len - first);
}

void console_put(struct wire_console *c, const uint8_t *bytes, uint32_t len)
{
	uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed);

	if (len > LIMIT_CONSOLE_BYTES) {
		bytes += len - LIMIT_CONSOLE_BYTES;
		head += len - LIMIT_CONSOLE_BYTES;
		len = LIMIT_CONSOLE_BYTES;
	}
	copy_in(c, head, bytes, len);
	atomic_store_explicit(&c->head, head + len, memory_order_release);
}

uint32_t console_peek(const struct wire_console *c, uint64_t *position, uint8_t *bytes,
		      uint32_t max)
{
	uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire);
	uint64_t n = head - *position;
	uint32_t at, first;

	if (n > LIMIT_CONSOLE_BYTES) {
		*position = head - LIMIT_CONSOLE_BYTES;
		n = LIMIT_CONSOLE_BYTES;
	}
	if (n > max)
		n = max;
	at = (uint32_t)(*position % LIMIT_CONSOLE_BYTES);
	first = LIMIT_CONSOLE_BYTES - at < n ? LIMIT_CONSOLE_BYTES - at : (uint32_t)n;
	memcpy(bytes, c->bytes + at, first);
	memcpy(bytes + first, c->bytes, (size_t)n - first);
	return (uint32_t)n;
}
