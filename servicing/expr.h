/* servicing/expr.h - a small language over the fields of machines.
 *
 *   expr    = both { "or" both }
 *   both    = inverse { "and" inverse }
 *   inverse = [ "not" ] relation
 *   relation= sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ]
 *   sum     = value { ( "+" | "-" | "&" ) value }
 *   value   = number | "true" | "false" | STATE | path | lane | "count" "(" machine ")"
 *           | "(" expr ")"
 *   path    = machine [ "[" ( number | "*" ) "]" ] [ "." field [ "[" number "]" ] ]
 *   lane    = "seq" | "time_ns" | "epoch" | "level" | "ignored" | "rejected"
 *
 * "||", "&&" and "!" may be written too. Numbers are unsigned, 64 bits, decimal
 * or 0x; sums wrap. A path without a field is true while somebody lives there;
 * `.state` and `.generation` are fields of every machine; a blob is its length.
 * The index may be left out where a machine has one instance only. With [*] a
 * relation is true when it is for any live instance. A relation over a machine
 * that does not live is false, whatever it asks. STATE is a name of the machine
 * that the other side's path names.
 *
 * An expression is private to one thread; its text is not kept. */
#ifndef SERVICING_EXPR_H
#define SERVICING_EXPR_H

#include "engine/world.h"

struct expr;

/* What is wrong, and at which character of the text, from 1. */
struct expr_error {
	unsigned column;
	char text[240];
};

/* NULL: *@ret_why says what was found and what was expected. */
struct expr *expr_parse(const struct registry *r, const char *text, struct expr_error *ret_why);
struct expr *expr_free(struct expr *e);   /* returns NULL */

bool expr_true(const struct expr *e, const struct world *w);

/* The value of a sum. False: it names a machine that does not live. @ret_state:
 * the machine whose state it is, NULL for a number. */
bool expr_value(const struct expr *e, const struct world *w, uint64_t *ret,
		const struct sm_desc **ret_state);

/* Where a path leads; for print, breakpoints and why. */
struct expr_path {
	const struct sm_desc *desc;
	const struct sm_field *field;    /* NULL: the machine, its state or its generation */
	enum { PATH_MACHINE, PATH_INSTANCE, PATH_STATE, PATH_GENERATION, PATH_FIELD } what;
	uint16_t index;                  /* of the instance; with PATH_MACHINE unused */
	uint16_t element;                /* of an array */
	bool element_given;
};

/* @text must be one path and nothing else; "channel" alone is PATH_MACHINE.
 * False: *@ret_why tells. */
bool expr_path(const struct registry *r, const char *text, struct expr_path *ret,
	       struct expr_error *ret_why);

/* The value a path of one instance has now: blobs by a hash of their content.
 * False: nobody lives there. */
bool expr_path_value(const struct expr_path *p, const struct world *w, uint64_t *ret);

#endif
