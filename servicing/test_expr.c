/* Expressions over the toys: values, precedence, and what is told of a typo. */
#include "servicing/expr.h"

#include "engine/fact.h"
#include "persist/toys.h"

#include <criterion/criterion.h>
#include <string.h>

static struct world *w;
static struct expr_error why;

static void setup(void)
{
	struct lamp *l;

	w = world_new(&toys);
	world_spawn_fixed(w, KIND_LAMP, 3);
	l = (struct lamp *)(uintptr_t)world_at(w, KIND_LAMP, 1);
	l->sm.state = lamp_LIT;
	l->watt = 75;
	l->hue = 0x1f;
	l->seen[2] = 9;
	l->label = world_blob_new(w, "kitchen", 7);
	world_lane(w)->seq = 41;
	world_lane(w)->epoch = 2;
}

static void teardown(void)
{
	world_free(w);
}

TestSuite(expr, .init = setup, .fini = teardown);

static bool is(const char *text)
{
	struct expr *e = expr_parse(&toys, text, &why);
	bool r;

	cr_assert_not_null(e, "%s: column %u: %s", text, why.column, why.text);
	r = expr_true(e, w);
	expr_free(e);
	return r;
}

Test(expr, what_is_true)
{
	static const char *const right[] = {
		"lamp[1].state == LIT", "LIT == lamp[1].state", "lamp[0].state != LIT",
		"lamp[1].watt == 75", "lamp[1].watt >= 75 and lamp[1].watt <= 0x4b",
		"not lamp[1].watt < 75", "! (lamp[1].watt != 75)", "lamp[1].seen[2] == 9",
		"lamp[1].label == 7", "lamp[1]", "not lamp[3]", "lamp", "not box", "true",
		"false or true", "false and true or true", "not false and true",
		"lamp[*].state == LIT", "lamp[*].watt > 74 and not lamp[*].watt > 75",
		"count(lamp) == 3", "seq == 41 && epoch == 2 || false", "lamp[1].hue & 0x10",
		"lamp[1].watt + 5 - 1 == 79", "0 - 1 == 0xffffffffffffffff",
		"lamp[1].generation == 1", "(((lamp[1].watt))) == (70 + 5)",
		"lamp[1].state == 1", "count(lamp)", "time_ns == 0 and level == 1",
	};

	for (size_t i = 0; i < ARRAY_LEN(right); i++)
		cr_assert(is(right[i]), "%s", right[i]);
}

Test(expr, what_is_false)
{
	static const char *const wrong[] = {
		"lamp[0].state == LIT", "lamp[1].watt > 75", "lamp[3].watt == 0",
		"lamp[3].watt != 0", "lamp[3].state == DARK", "box[*].a == 0", "box[*].a != 1",
		"false", "0", "not true", "lamp[*].watt == 76", "count(box) > 0",
		"true and not true or false", "lamp[3].watt + 1 > 0", "ignored",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		cr_assert_not(is(wrong[i]), "%s", wrong[i]);
}

static const struct { const char *text; unsigned column; const char *says; } typos[] = {
	{ "lamp[1].state == LIGHT", 18, "no state 'LIGHT'; did you mean LIT" },
	{ "lamp[1].state = LIT", 15, "write ==" },
	{ "lmap[1].state == LIT", 1, "no machine 'lmap'; did you mean lamp" },
	{ "lamp[1].wat == 3", 9, "no field 'wat'; did you mean watt" },
	{ "lamp.watt == 3", 1, "write lamp[N] or lamp[*]" },
	{ "lamp[64].watt == 3", 6, "indices 0 to 63" },
	{ "lamp[1].seen[3] == 3", 14, "elements 0 to 2" },
	{ "lamp[1].watt[0] == 3", 14, "one value, no array" },
	{ "lamp[x].watt", 6, "a number or * in the brackets was expected, not 'x'" },
	{ "lamp[1", 7, "] was expected, not the end" },
	{ "", 1, "was expected, not the end" },
	{ "(lamp[1].watt == 3", 19, ") was expected" },
	{ "lamp[1].watt == 3)", 18, "complete before ')'" },
	{ "lamp[1].watt == 3 lamp[2]", 19, "complete before 'lamp'" },
	{ "lamp[1].watt == LIT", 17, "can only be compared with" },
	{ "LIT + 1 == 3", 1, "can only be compared with" },
	{ "LIT", 1, "can only be compared with" },
	{ "lamp[1].watt == 12ab", 17, "not '12ab'" },
	{ "lamp[1].watt == 99999999999999999999", 17, "was expected" },
	{ "lamp[1].watt == 3 # 4", 19, "before '#'" },
	{ "lamp[*].watt == box[*].a", 0, "cannot run over both" },
	{ "count(3)", 7, "a machine's name was expected" },
	{ "lamp[1].", 9, "a field's name" },
	{ "not", 4, "was expected, not the end" },
};

Test(expr, a_typo_is_told_with_its_place)
{
	for (size_t i = 0; i < ARRAY_LEN(typos); i++) {
		struct expr *e = expr_parse(&toys, typos[i].text, &why);

		cr_assert_null(e, "%s", typos[i].text);
		cr_assert_not_null(strstr(why.text, typos[i].says), "%s: %s", typos[i].text,
				   why.text);
		cr_assert(typos[i].column == 0 || why.column == typos[i].column,
			  "%s: column %u, not %u", typos[i].text, why.column, typos[i].column);
		cr_assert_null(strchr(why.text, '\n'));
	}
}

Test(expr, size_and_depth_are_bounded)
{
	char deep[4096], wide[4096] = "1";

	memset(deep, '(', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	cr_assert_null(expr_parse(&toys, deep, &why));
	cr_assert_not_null(strstr(why.text, "nested too deeply"));
	for (size_t i = 0; i < sizeof(deep) - 1; i++)
		deep[i] = '!';
	cr_assert_null(expr_parse(&toys, deep, &why));
	cr_assert_not_null(strstr(why.text, "nested too deeply"));
	for (unsigned i = 0; i < 600; i++)
		strcat(wide, "+1");
	cr_assert_null(expr_parse(&toys, wide, &why));
	cr_assert_not_null(strstr(why.text, "more than"));
}

/* Any bytes: refused or parsed, never more. */
Test(expr, garbage_is_survived)
{
	static const char *const pieces[] = { "lamp", "[", "]", "*", ".", "state", "==", "LIT", "(",
					      ")", "not ", "and ", "1", "0x", "&", "-", "count", "=",
					      "\x80", " ", "box", "!", "seen", "or " };
	uint64_t seed = 5;

	for (unsigned i = 0; i < 20000; i++) {
		char text[256] = "";
		struct expr *e;

		for (unsigned n = 0; n < 1 + toy_random(&seed) % 12; n++)
			strcat(text, pieces[toy_random(&seed) % ARRAY_LEN(pieces)]);
		why.text[0] = '\0';
		e = expr_parse(&toys, text, &why);
		cr_assert(e || why.text[0], "'%s' is refused without a word", text);
		if (e)
			(void)expr_true(e, w);
		expr_free(e);
	}
}

Test(expr, paths)
{
	struct expr_path p;
	uint64_t before, after;

	cr_assert(expr_path(&toys, "lamp", &p, &why) && p.what == PATH_MACHINE);
	cr_assert(expr_path(&toys, "lamp[1]", &p, &why) && p.what == PATH_INSTANCE);
	cr_assert(expr_path(&toys, "lamp[1].state", &p, &why) && p.what == PATH_STATE);
	cr_assert(expr_path(&toys, "lamp[1].seen[2]", &p, &why) && p.element == 2);
	cr_assert(expr_path_value(&p, w, &before) && before == 9);
	cr_assert(expr_path(&toys, "lamp[1].label", &p, &why));
	cr_assert(expr_path_value(&p, w, &before));
	((struct lamp *)(uintptr_t)world_at(w, KIND_LAMP, 1))->label =
		world_blob_new(w, "kitchem", 7);
	cr_assert(expr_path_value(&p, w, &after) && after != before, "content, not length");
	cr_assert_not(expr_path(&toys, "lamp[*]", &p, &why));
	cr_assert_not(expr_path(&toys, "lamp[1].state == LIT", &p, &why));
	cr_assert_eq(why.column, 15);
	cr_assert_not(expr_path(&toys, "12", &p, &why));
}
