/* servicing/expr_lex.h - words and signs of an expression; of expr.c only. */
#ifndef SERVICING_EXPR_LEX_H
#define SERVICING_EXPR_LEX_H

#include <stdbool.h>
#include <stdint.h>

enum { EXPR_WORD = 48 };     /* a name and its NUL; longer ones are cut and match nothing */

enum expr_token {
	TOKEN_END, TOKEN_BAD, TOKEN_WORD, TOKEN_NUMBER,
	TOKEN_OR, TOKEN_AND, TOKEN_NOT,
	TOKEN_EQ, TOKEN_NE, TOKEN_LE, TOKEN_GE, TOKEN_LT, TOKEN_GT, TOKEN_ASSIGN,
	TOKEN_PLUS, TOKEN_MINUS, TOKEN_MASK, TOKEN_STAR,
	TOKEN_OPEN, TOKEN_CLOSE, TOKEN_OPEN_INDEX, TOKEN_CLOSE_INDEX, TOKEN_DOT,
};

struct lexer {
	const char *text, *at;
	enum expr_token token;
	unsigned column;         /* of the token, from 1 */
	char word[EXPR_WORD];    /* the token as it was written */
	uint64_t number;
};

void lexer_begin(struct lexer *l, const char *text);
void lexer_next(struct lexer *l);

/* What stands there, for a message, into @ret (EXPR_WORD + 8); returns it. */
const char *lexer_found(const struct lexer *l, char *ret);

/* The name that is most like a misspelt one; none when all are far away. */
struct nearest {
	const char *wanted, *best;
	unsigned distance;
};
struct nearest nearest_begin(const char *wanted);
void nearest_add(struct nearest *n, const char *name);

#endif
