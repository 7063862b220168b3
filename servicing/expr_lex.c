/* Words and signs; and which known name a misspelt one may have meant. */
#include "servicing/expr_lex.h"

#include "engine/fact.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *text; enum expr_token token; } signs[] = {
	{ "||", TOKEN_OR }, { "&&", TOKEN_AND }, { "==", TOKEN_EQ }, { "!=", TOKEN_NE },
	{ "<=", TOKEN_LE }, { ">=", TOKEN_GE }, { "<", TOKEN_LT }, { ">", TOKEN_GT },
	{ "!", TOKEN_NOT }, { "=", TOKEN_ASSIGN }, { "+", TOKEN_PLUS }, { "-", TOKEN_MINUS },
	{ "&", TOKEN_MASK }, { "*", TOKEN_STAR }, { "(", TOKEN_OPEN }, { ")", TOKEN_CLOSE },
	{ "[", TOKEN_OPEN_INDEX }, { "]", TOKEN_CLOSE_INDEX }, { ".", TOKEN_DOT },
};
static const struct { const char *text; enum expr_token token; } words[] = {
	{ "or", TOKEN_OR }, { "and", TOKEN_AND }, { "not", TOKEN_NOT },
};

static void keep_text(struct lexer *l, size_t n)
{
	size_t kept = n < sizeof(l->word) ? n : sizeof(l->word) - 1;

	memcpy(l->word, l->at, kept);
	l->word[kept] = '\0';
	l->at += n;
}

static size_t word_length(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

/* "12ab" is no number, and neither is what does not fit 64 bits. */
static void take_number(struct lexer *l)
{
	size_t n = word_length(l->at);
	char *end;

	errno = 0;
	l->number = strtoull(l->at, &end, l->at[0] == '0' && (l->at[1] | 32) == 'x' ? 16 : 10);
	l->token = end == l->at + n && errno == 0 ? TOKEN_NUMBER : TOKEN_BAD;
	keep_text(l, n);
}

static void take_word(struct lexer *l)
{
	keep_text(l, word_length(l->at));
	l->token = TOKEN_WORD;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(l->word, words[i].text) == 0)
			l->token = words[i].token;
	}
}

static void take_sign(struct lexer *l)
{
	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		size_t n = strlen(signs[i].text);

		if (strncmp(l->at, signs[i].text, n) == 0) {
			l->token = signs[i].token;
			keep_text(l, n);
			return;
		}
	}
	l->token = TOKEN_BAD;
	keep_text(l, 1);
}

void lexer_next(struct lexer *l)
{
	while (isspace((unsigned char)*l->at))
		l->at++;
	l->column = (unsigned)(l->at - l->text) + 1;
	l->word[0] = '\0';
	if (*l->at == '\0')
		l->token = TOKEN_END;
	else if (isdigit((unsigned char)*l->at))
		take_number(l);
	else if (isalpha((unsigned char)*l->at) || *l->at == '_')
		take_word(l);
	else
		take_sign(l);
}

void lexer_begin(struct lexer *l, const char *text)
{
	*l = (struct lexer){ .text = text, .at = text };
	lexer_next(l);
}

const char *lexer_found(const struct lexer *l, char *ret)
{
	if (l->token == TOKEN_END)
		snprintf(ret, EXPR_WORD + 8, "the end");
	else
		snprintf(ret, EXPR_WORD + 8, "'%s'", l->word);
	return ret;
}

/* Levenshtein's distance, for names shorter than EXPR_WORD. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[EXPR_WORD + 1], la = (unsigned)strlen(a), lb = (unsigned)strlen(b);

	if (la >= EXPR_WORD || lb >= EXPR_WORD)
		return EXPR_WORD;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned best = diagonal + (tolower((unsigned char)a[i - 1]) !=
						    tolower((unsigned char)b[j - 1]));

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

struct nearest nearest_begin(const char *wanted)
{
	return (struct nearest){ .wanted = wanted, .distance = (unsigned)strlen(wanted) / 2 + 1 };
}

void nearest_add(struct nearest *n, const char *name)
{
	unsigned d = distance(n->wanted, name);

	if (d < n->distance) {
		n->distance = d;
		n->best = name;
	}
}
