/* persist/cursor.h - reading msgpack where it lies, believing nothing.
 *
 * No allocation, no recursion. What is read is bounded by the bytes that are
 * there: a length or count beyond them is refused before it is used. Integers
 * and lengths must have their smallest form, so that what was accepted packs
 * to the same bytes again. Format: msgpack specification, "Formats". */
#ifndef PERSIST_CURSOR_H
#define PERSIST_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CURSOR_DEPTH = 8 };      /* nesting of what is passed over unread */

struct cursor {
	const uint8_t *p, *end;
};

enum token_type {
	TOKEN_UINT, TOKEN_NEGATIVE, TOKEN_NIL, TOKEN_BOOL, TOKEN_FLOAT,
	TOKEN_STR, TOKEN_BIN, TOKEN_EXT, TOKEN_ARRAY, TOKEN_MAP,
};

struct token {
	enum token_type type;
	uint64_t n;             /* value; bytes of the body; elements, pairs */
	const uint8_t *body;    /* STR, BIN, EXT, FLOAT: inside the input */
};

/* The next head, and the body of a string. False: the input is cut short, not
 * in its smallest form, or no msgpack; the cursor then stays where it was. */
bool cursor_take(struct cursor *c, struct token *ret);

/* Passes over one whole value, at most CURSOR_DEPTH deep. */
bool cursor_skip(struct cursor *c);

/* "an array", "a string"...: for messages. */
const char *token_type_name(enum token_type t);

#endif
