/* Bounds of the decoder (persist/cursor.c): any bytes, any length up to BYTES. */
#include "persist/cursor.c"

size_t any_size(void);

enum { BYTES = 12, VALUES = 2 };

void prove_take(void)
{
	uint8_t bytes[BYTES]; /* anything */
	size_t len = any_size();
	struct cursor c = { bytes, bytes }, before = c;
	struct token t;

	__CPROVER_assume(len <= BYTES);
	c.end = bytes + len;
	if (!cursor_take(&c, &t)) {
		__CPROVER_assert(c.p == before.p, "refused, it stays where it was");
		return;
	}
	__CPROVER_assert(c.p > before.p && c.p <= c.end, "forward, and not over the end");
	if (t.type == TOKEN_STR || t.type == TOKEN_BIN || t.type == TOKEN_EXT ||
	    t.type == TOKEN_FLOAT)
		__CPROVER_assert(t.body > bytes && t.n <= len && t.body + t.n <= bytes + len,
				 "the body lies in the input");
	if (t.type == TOKEN_BOOL)
		__CPROVER_assert(t.n <= 1, "true or false");
}

void prove_skip(void)
{
	uint8_t bytes[VALUES];
	struct cursor c = { bytes, bytes + VALUES };

	if (cursor_skip(&c))
		__CPROVER_assert(c.p > bytes && c.p <= bytes + VALUES, "one value, inside");
	else
		__CPROVER_assert(c.p >= bytes && c.p <= bytes + VALUES, "inside");
}
