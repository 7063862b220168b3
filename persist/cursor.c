/* The cursor: one head at a time, from the table of msgpack's first bytes. */
#include "persist/cursor.h"

/* Big-endian number of @n bytes behind the first one. */
static bool number(const struct cursor *c, unsigned n, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(c->end - c->p) < 1 + (size_t)n)
		return false;
	for (unsigned i = 1; i <= n; i++)
		v = v << 8 | c->p[i];
	*ret = v;
	return true;
}

/* Smallest value that needs @n bytes, when what is less than @below needs none
 * and the shortest number has @first bytes. */
static uint64_t least(unsigned n, unsigned first, uint64_t below)
{
	return n == first ? below : 1ull << (n * 4);
}

static bool take_sized(struct cursor *c, enum token_type type, unsigned n, uint64_t below,
		       bool body, struct token *ret)
{
	uint64_t v;

	if (!number(c, n, &v) || v < least(n, 1, below))
		return false;
	if (body && (uint64_t)(c->end - c->p) - 1 - n < v)
		return false;
	*ret = (struct token){ .type = type, .n = v, .body = body ? c->p + 1 + n : NULL };
	c->p += 1 + n + (body ? v : 0);
	return true;
}

static bool take_count(struct cursor *c, enum token_type type, unsigned n, struct token *ret)
{
	uint64_t v;

	if (!number(c, n, &v) || v < least(n, 2, 16))
		return false;
	*ret = (struct token){ .type = type, .n = v };
	c->p += 1 + n;
	return true;
}

static bool take_body(struct cursor *c, enum token_type type, size_t skip, uint64_t len,
		      struct token *ret)
{
	if ((uint64_t)(c->end - c->p) < 1 + skip + len)
		return false;
	*ret = (struct token){ .type = type, .n = len, .body = c->p + 1 + skip };
	c->p += 1 + skip + len;
	return true;
}

static bool take_simple(struct cursor *c, enum token_type type, uint64_t n, struct token *ret)
{
	*ret = (struct token){ .type = type, .n = n };
	c->p++;
	return true;
}

/* A negative integer: only what needs its size; its value is of no use here. */
static bool take_negative(struct cursor *c, unsigned n, struct token *ret)
{
	uint64_t v, sign = 1ull << (n * 8 - 1);
	uint64_t magnitude;

	if (!number(c, n, &v) || !(v & sign))
		return false;
	magnitude = (n == 8 ? 0 : 1ull << (n * 8)) - v;
	if (magnitude <= (n == 1 ? 32 : 1ull << (n * 4 - 1)))
		return false;
	*ret = (struct token){ .type = TOKEN_NEGATIVE, .n = v };
	c->p += 1 + n;
	return true;
}

/* An extension: a type byte lies between length and body. */
static bool take_ext(struct cursor *c, unsigned n, struct token *ret)
{
	uint64_t v;

	return number(c, n, &v) && take_body(c, TOKEN_EXT, n + 1, v, ret);
}

bool cursor_take(struct cursor *c, struct token *ret)
{
	uint8_t b;

	if (c->p >= c->end)
		return false;
	b = *c->p;
	if (b < 0x80)
		return take_simple(c, TOKEN_UINT, b, ret);
	if (b < 0x90)
		return take_simple(c, TOKEN_MAP, b & 0xf, ret);
	if (b < 0xa0)
		return take_simple(c, TOKEN_ARRAY, b & 0xf, ret);
	if (b < 0xc0)
		return take_body(c, TOKEN_STR, 0, b & 0x1f, ret);
	if (b >= 0xe0)
		return take_simple(c, TOKEN_NEGATIVE, b, ret);
	switch (b) {
	case 0xc0:
		return take_simple(c, TOKEN_NIL, 0, ret);
	case 0xc2: case 0xc3:
		return take_simple(c, TOKEN_BOOL, b & 1, ret);
	case 0xc4: case 0xc5: case 0xc6:
		return take_sized(c, TOKEN_BIN, 1u << (b - 0xc4), 0, true, ret);
	case 0xc7: case 0xc8: case 0xc9:
		return take_ext(c, 1u << (b - 0xc7), ret);
	case 0xca: case 0xcb:
		return take_body(c, TOKEN_FLOAT, 0, 4u << (b - 0xca), ret);
	case 0xcc: case 0xcd: case 0xce: case 0xcf:
		return take_sized(c, TOKEN_UINT, 1u << (b - 0xcc), 0x80, false, ret);
	case 0xd0: case 0xd1: case 0xd2: case 0xd3:
		return take_negative(c, 1u << (b - 0xd0), ret);
	case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8:
		return take_body(c, TOKEN_EXT, 1, 1u << (b - 0xd4), ret);
	case 0xd9: case 0xda: case 0xdb:
		return take_sized(c, TOKEN_STR, 1u << (b - 0xd9), 32, true, ret);
	case 0xdc: case 0xdd:
		return take_count(c, TOKEN_ARRAY, 2u << (b - 0xdc), ret);
	case 0xde: case 0xdf:
		return take_count(c, TOKEN_MAP, 2u << (b - 0xde), ret);
	default:
		return false;   /* 0xc1: never used */
	}
}

bool cursor_skip(struct cursor *c)
{
	uint64_t left[CURSOR_DEPTH + 1] = { 1 };
	unsigned depth = 0;

	for (;;) {
		struct token t;
		uint64_t n;

		while (left[depth] == 0) {
			if (depth == 0)
				return true;
			depth--;
		}
		left[depth]--;
		if (!cursor_take(c, &t))
			return false;
		if (t.type != TOKEN_ARRAY && t.type != TOKEN_MAP)
			continue;
		n = t.type == TOKEN_MAP ? t.n * 2 : t.n;
		if (n > (uint64_t)(c->end - c->p) || depth == CURSOR_DEPTH)
			return false;
		left[++depth] = n;
	}
}

const char *token_type_name(enum token_type t)
{
	static const char *const names[] = {
		[TOKEN_UINT] = "a number", [TOKEN_NEGATIVE] = "a negative number",
		[TOKEN_NIL] = "nil", [TOKEN_BOOL] = "a boolean", [TOKEN_FLOAT] = "a float",
		[TOKEN_STR] = "a string", [TOKEN_BIN] = "bytes", [TOKEN_EXT] = "an extension",
		[TOKEN_ARRAY] = "an array", [TOKEN_MAP] = "a map",
	};

	return names[t];
}
