/* Parsing by recursive descent into a pool of nodes, then evaluation over them.
 *
 * Nodes point at the tables, never at a world, so one expression serves any
 * number of worlds. A name is resolved where it is read, except for a state's,
 * whose machine is known only when both sides of a relation are. Depth and
 * number of nodes are bounded (limits.h), so evaluation needs no stack guard. */
#include "servicing/expr.h"

#include "engine/fact.h"
#include "persist/codec.h"
#include "servicing/expr_lex.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum node_type {
	NODE_OR, NODE_AND, NODE_NOT,
	NODE_EQ, NODE_NE, NODE_LT, NODE_LE, NODE_GT, NODE_GE,
	NODE_ADD, NODE_SUB, NODE_MASK,
	NODE_NUMBER, NODE_STATE_NAME, NODE_PATH, NODE_LANE, NODE_COUNT,
};

enum lane_word { LANE_SEQ, LANE_TIME, LANE_EPOCH, LANE_LEVEL, LANE_IGNORED, LANE_REJECTED };
static const char *const lane_words[] = { "seq", "time_ns", "epoch", "level", "ignored",
					  "rejected" };

struct node {
	enum node_type type;
	unsigned column;
	uint8_t left, right;
	bool any;                        /* PATH: [*] */
	uint64_t number;                 /* NUMBER, STATE_NAME resolved; LANE: enum lane_word */
	char name[EXPR_WORD];            /* STATE_NAME */
	struct expr_path path;
};

struct expr {
	struct node node[LIMIT_EXPR_NODES];
	unsigned n, root;
};

struct parser {
	struct lexer lex;
	const struct registry *registry;
	struct expr *e;
	struct expr_error *why;
	unsigned depth;
	bool failed;
};

/* The first defect is the one that is told. */
__attribute__((format(printf, 3, 4)))
static unsigned fail(struct parser *p, unsigned column, const char *format, ...)
{
	va_list args;

	if (p->failed)
		return 0;
	p->failed = true;
	p->why->column = column;
	va_start(args, format);
	vsnprintf(p->why->text, sizeof(p->why->text), format, args);
	va_end(args);
	return 0;
}

static unsigned node(struct parser *p, enum node_type type, unsigned left, unsigned right)
{
	struct expr *e = p->e;

	if (e->n == LIMIT_EXPR_NODES)
		return fail(p, p->lex.column, "the expression has more than %d parts",
			    LIMIT_EXPR_NODES);
	e->node[e->n] = (struct node){ .type = type, .column = p->lex.column,
				       .left = (uint8_t)left, .right = (uint8_t)right };
	return e->n++;
}

static bool at(const struct parser *p, enum expr_token token)
{
	return !p->failed && p->lex.token == token;
}

static bool take(struct parser *p, enum expr_token token)
{
	if (!at(p, token))
		return false;
	lexer_next(&p->lex);
	return true;
}

static void expect(struct parser *p, enum expr_token token, const char *what)
{
	char found[EXPR_WORD + 8];

	if (!take(p, token))
		fail(p, p->lex.column, "%s was expected, not %s", what,
		     lexer_found(&p->lex, found));
}

/* ---- names ---------------------------------------------------------------------- */

static const struct sm_desc *find_machine(const struct registry *r, const char *name)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (r->machines[k] && strcmp(r->machines[k]->name, name) == 0)
			return r->machines[k];
	}
	return NULL;
}

static void unknown_machine(struct parser *p, unsigned column, const char *name)
{
	struct nearest n = nearest_begin(name);

	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		if (p->registry->machines[k])
			nearest_add(&n, p->registry->machines[k]->name);
	}
	for (unsigned i = 0; i < ARRAY_LEN(lane_words); i++)
		nearest_add(&n, lane_words[i]);
	fail(p, column, "there is no machine '%s'%s%s", name,
	     n.best ? "; did you mean " : "; `holdfast machines` lists them", n.best ? n.best : "");
}

static const struct sm_field *find_field(const struct sm_desc *d, const char *name)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		if (strcmp(d->fields[i].name, name) == 0)
			return &d->fields[i];
	}
	return NULL;
}

static void unknown_field(struct parser *p, unsigned column, const struct sm_desc *d,
			  const char *name)
{
	struct nearest n = nearest_begin(name);

	for (unsigned i = 0; i < d->n_fields; i++)
		nearest_add(&n, d->fields[i].name);
	nearest_add(&n, "state");
	nearest_add(&n, "generation");
	fail(p, column, "%s has no field '%s'%s%s%s", d->name, name,
	     n.best ? "; did you mean " : "; `holdfast machines ", n.best ? n.best : d->name,
	     n.best ? "" : "` lists them");
}

/* ---- paths ---------------------------------------------------------------------- */

static void parse_index(struct parser *p, struct node *n)
{
	const struct sm_desc *d = n->path.desc;

	if (take(p, TOKEN_STAR)) {
		n->any = true;
	} else if (at(p, TOKEN_NUMBER)) {
		if (p->lex.number >= d->capacity)
			fail(p, p->lex.column, "%s has indices 0 to %u", d->name,
			     d->capacity - 1u);
		n->path.index = (uint16_t)p->lex.number;
		lexer_next(&p->lex);
	} else {
		expect(p, TOKEN_NUMBER, "a number or * in the brackets");
	}
	expect(p, TOKEN_CLOSE_INDEX, "]");
}

static void parse_element(struct parser *p, struct expr_path *path)
{
	if (!take(p, TOKEN_OPEN_INDEX))
		return;
	if (!at(p, TOKEN_NUMBER)) {
		expect(p, TOKEN_NUMBER, "a number in the brackets");
		return;
	}
	if (path->field->count == 1)
		fail(p, p->lex.column, "%s.%s is one value, no array", path->desc->name,
		     path->field->name);
	else if (p->lex.number >= path->field->count)
		fail(p, p->lex.column, "%s.%s has elements 0 to %u", path->desc->name,
		     path->field->name, path->field->count - 1u);
	path->element = (uint16_t)p->lex.number;
	path->element_given = true;
	lexer_next(&p->lex);
	expect(p, TOKEN_CLOSE_INDEX, "]");
}

static void parse_field(struct parser *p, struct expr_path *path)
{
	if (p->lex.token != TOKEN_WORD) {
		expect(p, TOKEN_WORD, "a field's name behind the dot");
		return;
	}
	if (strcmp(p->lex.word, "state") == 0) {
		path->what = PATH_STATE;
	} else if (strcmp(p->lex.word, "generation") == 0) {
		path->what = PATH_GENERATION;
	} else {
		path->what = PATH_FIELD;
		path->field = find_field(path->desc, p->lex.word);
		if (!path->field)
			unknown_field(p, p->lex.column, path->desc, p->lex.word);
	}
	lexer_next(&p->lex);
	if (!p->failed && path->field)
		parse_element(p, path);
}

/* Behind the machine's name. */
static void parse_path(struct parser *p, struct node *n)
{
	const struct sm_desc *d = n->path.desc;
	bool indexed = take(p, TOKEN_OPEN_INDEX);

	n->path.what = indexed ? PATH_INSTANCE : PATH_MACHINE;
	if (indexed)
		parse_index(p, n);
	if (take(p, TOKEN_DOT)) {
		if (!indexed && d->capacity > 1)
			fail(p, n->column, "there are up to %u of %s: write %s[N] or %s[*]",
			     d->capacity, d->name, d->name, d->name);
		parse_field(p, &n->path);
	}
}

/* ---- values --------------------------------------------------------------------- */

static unsigned parse_or(struct parser *p);

static unsigned parse_count(struct parser *p)
{
	unsigned at_node = node(p, NODE_COUNT, 0, 0);

	expect(p, TOKEN_OPEN, "( behind count");
	if (!at(p, TOKEN_WORD)) {
		expect(p, TOKEN_WORD, "a machine's name");
		return at_node;
	}
	p->e->node[at_node].path.desc = find_machine(p->registry, p->lex.word);
	if (!p->e->node[at_node].path.desc)
		unknown_machine(p, p->lex.column, p->lex.word);
	lexer_next(&p->lex);
	expect(p, TOKEN_CLOSE, ")");
	return at_node;
}

/* States are written in capitals; whose it is, the relation tells. */
static bool looks_like_state(const char *word)
{
	return strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(word);
}

static unsigned parse_word(struct parser *p)
{
	char word[EXPR_WORD];
	unsigned column = p->lex.column, at_node;
	const struct sm_desc *d;

	memcpy(word, p->lex.word, sizeof(word));
	lexer_next(&p->lex);
	if (strcmp(word, "count") == 0 && at(p, TOKEN_OPEN))
		return parse_count(p);
	at_node = node(p, NODE_NUMBER, 0, 0);
	p->e->node[at_node].column = column;
	p->e->node[at_node].number = strcmp(word, "true") == 0;
	if (p->failed || strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
		return at_node;
	for (unsigned i = 0; i < ARRAY_LEN(lane_words); i++) {
		if (strcmp(word, lane_words[i]) == 0) {
			p->e->node[at_node].type = NODE_LANE;
			p->e->node[at_node].number = i;
			return at_node;
		}
	}
	d = find_machine(p->registry, word);
	if (d) {
		p->e->node[at_node].type = NODE_PATH;
		p->e->node[at_node].path.desc = d;
		parse_path(p, &p->e->node[at_node]);
	} else if (looks_like_state(word)) {
		p->e->node[at_node].type = NODE_STATE_NAME;
		memcpy(p->e->node[at_node].name, word, sizeof(word));
	} else {
		unknown_machine(p, column, word);
	}
	return at_node;
}

static unsigned parse_value(struct parser *p)
{
	unsigned value;

	if (at(p, TOKEN_WORD))
		return parse_word(p);
	if (at(p, TOKEN_NUMBER)) {
		value = node(p, NODE_NUMBER, 0, 0);
		p->e->node[value].number = p->lex.number;
		lexer_next(&p->lex);
		return value;
	}
	if (!take(p, TOKEN_OPEN)) {
		expect(p, TOKEN_OPEN, "a machine, a number, a state or (");
		return 0;
	}
	value = parse_or(p);
	expect(p, TOKEN_CLOSE, ")");
	return value;
}

static void refuse_state(struct parser *p, unsigned n)
{
	const struct node *x = &p->e->node[n];

	if (!p->failed && x->type == NODE_STATE_NAME)
		fail(p, x->column, "'%s' is no machine; a state can only be compared with "
		     "MACHINE[N].state", x->name);
}

static unsigned parse_sum(struct parser *p)
{
	unsigned left = parse_value(p), right;

	for (;;) {
		enum node_type type = at(p, TOKEN_PLUS) ? NODE_ADD : at(p, TOKEN_MINUS) ? NODE_SUB
					: NODE_MASK;

		if (type == NODE_MASK && !at(p, TOKEN_MASK))
			return left;
		lexer_next(&p->lex);
		right = parse_value(p);
		refuse_state(p, left);
		refuse_state(p, right);
		left = node(p, type, left, right);
	}
}

/* ---- relations ------------------------------------------------------------------ */

/* The machine whose state @n is, NULL when it is none. */
static const struct sm_desc *state_of(const struct node *n)
{
	return n->type == NODE_PATH && n->path.what == PATH_STATE ? n->path.desc : NULL;
}

static void resolve_state(struct parser *p, struct node *name, const struct node *other)
{
	const struct sm_desc *d = state_of(other);
	struct nearest near = nearest_begin(name->name);

	if (!d) {
		refuse_state(p, (unsigned)(name - p->e->node));
		return;
	}
	for (unsigned i = 0; i < d->n_states; i++) {
		if (strcmp(d->states[i].name, name->name) == 0) {
			name->type = NODE_NUMBER;
			name->number = d->states[i].code;
			return;
		}
		nearest_add(&near, d->states[i].name);
	}
	fail(p, name->column, "%s has no state '%s'%s%s%s", d->name, name->name,
	     near.best ? "; did you mean " : "; `holdfast machines ", near.best ? near.best : d->name,
	     near.best ? "" : "` lists them");
}

static unsigned parse_relation(struct parser *p)
{
	static const struct { enum expr_token token; enum node_type type; } relations[] = {
		{ TOKEN_EQ, NODE_EQ }, { TOKEN_NE, NODE_NE }, { TOKEN_LT, NODE_LT },
		{ TOKEN_LE, NODE_LE }, { TOKEN_GT, NODE_GT }, { TOKEN_GE, NODE_GE },
	};
	unsigned left = parse_sum(p), right;
	struct node *l = &p->e->node[left], *r;

	for (unsigned i = 0; i < ARRAY_LEN(relations); i++) {
		if (!at(p, relations[i].token))
			continue;
		lexer_next(&p->lex);
		right = parse_sum(p);
		r = &p->e->node[right];
		if (!p->failed && l->type == NODE_STATE_NAME)
			resolve_state(p, l, r);
		if (!p->failed && r->type == NODE_STATE_NAME)
			resolve_state(p, r, l);
		return node(p, relations[i].type, left, right);
	}
	if (at(p, TOKEN_ASSIGN))
		fail(p, p->lex.column, "to compare, write ==");
	refuse_state(p, left);
	return left;
}

static unsigned parse_not(struct parser *p)
{
	unsigned value;

	if (!take(p, TOKEN_NOT))
		return parse_relation(p);
	if (++p->depth > LIMIT_EXPR_DEPTH)
		return fail(p, p->lex.column, "the expression is nested too deeply");
	value = parse_not(p);
	p->depth--;
	return node(p, NODE_NOT, value, 0);
}

static unsigned parse_and(struct parser *p)
{
	unsigned left = parse_not(p);

	while (take(p, TOKEN_AND))
		left = node(p, NODE_AND, left, parse_not(p));
	return left;
}

static unsigned parse_or(struct parser *p)
{
	unsigned left;

	if (++p->depth > LIMIT_EXPR_DEPTH)
		return fail(p, p->lex.column, "the expression is nested too deeply");
	left = parse_and(p);
	while (take(p, TOKEN_OR))
		left = node(p, NODE_OR, left, parse_and(p));
	p->depth--;
	return left;
}

/* Machine over which [*] below @n runs; two different ones are refused. */
static const struct sm_desc *check_any(struct parser *p, unsigned n)
{
	const struct node *x = &p->e->node[n];
	const struct sm_desc *left, *right;

	if (x->type == NODE_PATH)
		return x->any ? x->path.desc : NULL;
	if (x->type >= NODE_NUMBER)
		return NULL;
	left = check_any(p, x->left);
	if (x->type == NODE_NOT)
		return NULL;
	right = check_any(p, x->right);
	if (x->type <= NODE_NOT)
		return NULL;
	if (left && right && left != right)
		fail(p, x->column, "one relation cannot run over both %s[*] and %s[*]",
		     left->name, right->name);
	return left ? left : right;
}

static struct parser parser(const struct registry *r, const char *text, struct expr_error *why)
{
	struct parser p = { .registry = r, .why = why, .e = calloc(1, sizeof(struct expr)) };

	lexer_begin(&p.lex, text);
	if (!p.e)
		fail(&p, 1, "no memory");
	return p;
}

struct expr *expr_parse(const struct registry *r, const char *text, struct expr_error *ret_why)
{
	struct parser p = parser(r, text, ret_why);
	char found[EXPR_WORD + 8];

	if (p.failed)
		return NULL;
	p.e->root = parse_or(&p);
	if (!p.failed && p.lex.token != TOKEN_END)
		fail(&p, p.lex.column, "the expression was complete before %s",
		     lexer_found(&p.lex, found));
	if (!p.failed)
		check_any(&p, p.e->root);
	return p.failed ? expr_free(p.e) : p.e;
}

struct expr *expr_free(struct expr *e)
{
	free(e);
	return NULL;
}

bool expr_path(const struct registry *r, const char *text, struct expr_path *ret,
	       struct expr_error *ret_why)
{
	struct parser p = parser(r, text, ret_why);
	char found[EXPR_WORD + 8];
	struct node *n;

	if (p.failed)
		return false;
	if (p.lex.token != TOKEN_WORD)
		expect(&p, TOKEN_WORD, "a machine's name");
	n = &p.e->node[p.failed ? 0 : parse_word(&p)];
	if (!p.failed && n->type != NODE_PATH)
		unknown_machine(&p, 1, n->type == NODE_STATE_NAME ? n->name : text);
	if (!p.failed && p.lex.token != TOKEN_END)
		fail(&p, p.lex.column, "the path was complete before %s",
		     lexer_found(&p.lex, found));
	if (!p.failed && n->any)
		fail(&p, 1, "one instance must be named, not *");
	*ret = n->path;
	expr_free(p.e);
	return !p.failed;
}

/* ---- evaluation ----------------------------------------------------------------- */

struct value {
	bool there;              /* the machine lives */
	uint64_t n;
};

/* Blobs by their length, as a relation sees them. */
static struct value path_value(const struct expr_path *p, const struct world *w, unsigned index)
{
	const struct sm_head *h = world_at(w, p->desc->kind, (uint16_t)index);
	uint64_t v;

	if (p->what == PATH_MACHINE)
		return (struct value){ true, world_live(w, p->desc->kind) };
	if (p->what == PATH_INSTANCE)
		return (struct value){ true, h != NULL };
	if (!h)
		return (struct value){ false, 0 };
	if (p->what == PATH_STATE)
		return (struct value){ true, h->state };
	if (p->what == PATH_GENERATION)
		return (struct value){ true, h->generation };
	v = codec_field(p->field, h, p->element);
	return (struct value){ true, p->field->type == SM_T_blob ? world_blob_len(w, (sm_blob)v)
								 : v };
}

static uint64_t lane_value(const struct world *w, uint64_t word)
{
	const struct lane_state *l = world_lane_const(w);

	switch ((enum lane_word)word) {
	case LANE_SEQ:
		return l->seq;
	case LANE_TIME:
		return l->time_ns;
	case LANE_EPOCH:
		return l->epoch;
	case LANE_LEVEL:
		return l->level;
	case LANE_IGNORED:
		return l->ignored;
	case LANE_REJECTED:
		return l->rejected;
	}
	return 0;
}

static bool truth(const struct expr *e, const struct world *w, unsigned n);

/* @any: the instance that [*] stands for. */
static struct value evaluate(const struct expr *e, const struct world *w, unsigned n, unsigned any)
{
	const struct node *x = &e->node[n];
	struct value a, b;

	switch (x->type) {
	case NODE_NUMBER:
		return (struct value){ true, x->number };
	case NODE_PATH:
		return path_value(&x->path, w, x->any ? any : x->path.index);
	case NODE_LANE:
		return (struct value){ true, lane_value(w, x->number) };
	case NODE_COUNT:
		return (struct value){ true, world_live(w, x->path.desc->kind) };
	case NODE_ADD:
	case NODE_SUB:
	case NODE_MASK:
		a = evaluate(e, w, x->left, any);
		b = evaluate(e, w, x->right, any);
		return (struct value){ a.there && b.there,
				       x->type == NODE_ADD ? a.n + b.n
				       : x->type == NODE_SUB ? a.n - b.n : (a.n & b.n) };
	default:
		return (struct value){ true, truth(e, w, n) };
	}
}

static bool holds(const struct expr *e, const struct world *w, unsigned n, unsigned any)
{
	const struct node *x = &e->node[n];
	struct value a, b;

	if (x->type < NODE_EQ || x->type > NODE_GE) {
		a = evaluate(e, w, n, any);
		return a.there && a.n != 0;
	}
	a = evaluate(e, w, x->left, any);
	b = evaluate(e, w, x->right, any);
	if (!a.there || !b.there)
		return false;
	switch (x->type) {
	case NODE_EQ:
		return a.n == b.n;
	case NODE_NE:
		return a.n != b.n;
	case NODE_LT:
		return a.n < b.n;
	case NODE_LE:
		return a.n <= b.n;
	case NODE_GT:
		return a.n > b.n;
	default:
		return a.n >= b.n;
	}
}

/* The machine that [*] in the relation or sum @n runs over. */
static const struct sm_desc *runs_over(const struct expr *e, unsigned n)
{
	const struct node *x = &e->node[n];
	const struct sm_desc *d;

	if (x->type == NODE_PATH)
		return x->any ? x->path.desc : NULL;
	if (x->type >= NODE_NUMBER || x->type <= NODE_NOT)
		return NULL;
	d = runs_over(e, x->left);
	return d ? d : runs_over(e, x->right);
}

static bool truth(const struct expr *e, const struct world *w, unsigned n)
{
	const struct node *x = &e->node[n];
	const struct sm_desc *d;

	if (x->type == NODE_OR)
		return truth(e, w, x->left) || truth(e, w, x->right);
	if (x->type == NODE_AND)
		return truth(e, w, x->left) && truth(e, w, x->right);
	if (x->type == NODE_NOT)
		return !truth(e, w, x->left);
	d = runs_over(e, n);
	if (!d)
		return holds(e, w, n, 0);
	for (unsigned i = 0, left = world_live(w, d->kind); left && i < d->capacity; i++) {
		if (!world_at(w, d->kind, (uint16_t)i))
			continue;
		left--;
		if (holds(e, w, n, i))
			return true;
	}
	return false;
}

bool expr_true(const struct expr *e, const struct world *w)
{
	return truth(e, w, e->root);
}

bool expr_value(const struct expr *e, const struct world *w, uint64_t *ret,
		const struct sm_desc **ret_state)
{
	struct value v;

	*ret_state = state_of(&e->node[e->root]);
	if (runs_over(e, e->root))
		v = (struct value){ true, truth(e, w, e->root) };
	else if (e->node[e->root].type >= NODE_EQ && e->node[e->root].type <= NODE_GE)
		v = (struct value){ true, holds(e, w, e->root, 0) };
	else
		v = evaluate(e, w, e->root, 0);
	*ret = v.n;
	return v.there;
}

static uint64_t blob_hash(const struct world *w, sm_blob b)
{
	uint64_t hash = 14695981039346656037u;
	size_t len = world_blob_len(w, b);
	uint8_t part[LIMIT_BLOB_CHUNK];

	for (size_t at_byte = 0; at_byte < len;) {
		size_t n = world_blob_read(w, b, at_byte, part, sizeof(part));

		hash ^= codec_hash(part, n) + at_byte;
		hash *= 1099511628211u;
		at_byte += n;
	}
	return hash;
}

bool expr_path_value(const struct expr_path *p, const struct world *w, uint64_t *ret)
{
	const struct sm_head *h = world_at(w, p->desc->kind, p->index);
	struct value v = path_value(p, w, p->index);

	if (p->what == PATH_FIELD && p->field->type == SM_T_blob && h)
		v.n = blob_hash(w, (sm_blob)codec_field(p->field, h, p->element));
	*ret = v.n;
	return v.there;
}
