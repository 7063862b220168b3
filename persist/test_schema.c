/* The schema text, and each rule of its check broken once. */
#include "persist/schema.h"
#include "persist/toys.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char why[SCHEMA_WHY];

static char *text(void)
{
	char *t = NULL;
	size_t len;
	FILE *f = open_memstream(&t, &len);

	cr_assert_eq(schema_text(&toys, f), 0);
	fclose(f);
	return t;
}

/* What was published: today's text with one piece of it replaced. */
static int check(const char *now, const char *then)
{
	char *t = text(), *at = strstr(t, now), *golden;
	int r;

	cr_assert_not_null(at, "no \"%s\" in the text", now);
	cr_assert(asprintf(&golden, "%.*s%s%s", (int)(at - t), t, then, at + strlen(now)) > 0);
	why[0] = '\0';
	r = schema_check(golden, &toys, why);
	free(golden);
	free(t);
	return r;
}

Test(schema, text_is_complete_and_stable)
{
	char *t = text();

	cr_assert_not_null(strstr(t, "level 2\n"));
	cr_assert_not_null(strstr(t, "record toy 16 bytes\nword toy 0 u64[1] number\n"));
	cr_assert_not_null(strstr(t, "machine 3 lamp 64\n"));
	cr_assert_not_null(strstr(t, "state lamp 2 FLICKERS 2 ignore\n"));
	cr_assert_not_null(strstr(t, "event lamp 2 BREAK 2 host toy\n"));
	cr_assert_not_null(strstr(t, "field lamp 3 seen 1 u16[3] 7\n"));
	cr_assert_not_null(strstr(t, "retired lamp 5\n"));
	cr_assert_not_null(strstr(t, "row lamp 2 LIT BREAK sm_always sm_nothing FLICKERS\n"));
	cr_assert_not_null(strstr(t, "effect 1 SHINE 1 swallow toy\n"));
	cr_assert_eq(schema_hash(&toys), schema_hash(&toys));
	cr_assert_eq(schema_hash_once(&toys), schema_hash(&toys));
	cr_assert_eq(schema_hash_once(&toys), schema_hash(&toys));
	free(t);
}

Test(schema, the_present_one_passes)
{
	cr_assert_eq(check("level 2\n", "level 2\n"), 0, "%s", why);
}

Test(schema, legal_changes_pass)
{
	/* New at level 2, published at level 1. */
	cr_assert_eq(check("level 2\n", "level 1\n"), 0, "%s", why);
	/* A field was retired since; a record has grown. */
	cr_assert_eq(check("retired lamp 5\n", "field lamp 5 shape 1 u8[1] 0\n"), 0, "%s", why);
	cr_assert_eq(check("record toy 16 bytes\nword toy 0 u64[1] number\nword toy 8 u32[2] pair\n",
			   "record toy 8 bytes\nword toy 0 u64[1] number\n"), 0, "%s", why);
}

Test(schema, broken_rules_are_named)
{
	cr_assert_eq(check("field lamp 4 hue 1 u8[1] 0\n",
			   "field lamp 4 hue 1 u8[1] 0\nfield lamp 6 gone 1 u8[1] 0\n"),
		     SCHEMA_E_BROKEN);
	cr_assert_str_eq(why, "\"field lamp 6 gone 1 u8[1] 0\" was dropped without SM_RETIRED");
	cr_assert_eq(check("state lamp 1 LIT 1 defer", "state lamp 1 OTHER 1 defer"), SCHEMA_E_BROKEN);
	cr_assert_not_null(strstr(why, "the code of a state was given to something else"));
	cr_assert_eq(check("field lamp 4 hue 1 u8[1] 0", "field lamp 4 hue 1 u16[1] 0"),
		     SCHEMA_E_BROKEN);
	cr_assert_not_null(strstr(why, "the id of a field"));
	cr_assert_eq(check("row lamp 1 LIT PRESS sm_always lamp_off DARK\n", ""), SCHEMA_E_BROKEN);
	cr_assert_not_null(strstr(why, "is new but has level 1"));
	cr_assert_eq(check("field lamp 7 presses 1 u32[1] 0\n", ""), SCHEMA_E_BROKEN);
	cr_assert_not_null(strstr(why, "is new but has level 1; level 2 was published without it"));
	cr_assert_eq(check("retired lamp 5\n", "retired lamp 4\n"), SCHEMA_E_BROKEN);
	cr_assert_not_null(strstr(why, "uses the id of a retired field"));
	cr_assert_eq(check("word toy 8 u32[2] pair", "word toy 8 u64[1] pair"), SCHEMA_E_BROKEN);
	cr_assert_eq(check("machine 3 lamp 64", "machine 3 lamp 65"), SCHEMA_E_BROKEN);
	cr_assert_eq(check("effect 1 SHINE", "effect 2 SHINE"), SCHEMA_E_BROKEN);
	cr_assert_eq(check("level 2\n", ""), SCHEMA_E_BROKEN);
}

Test(schema, rows_keep_their_order)
{
	const char *on = "row lamp 1 DARK PRESS sm_always lamp_on LIT\n";
	const char *off = "row lamp 1 LIT PRESS sm_always lamp_off DARK\n";
	char both[256], turned[256];

	snprintf(both, sizeof(both), "%s%s", on, off);
	snprintf(turned, sizeof(turned), "%s%s", off, on);
	cr_assert_eq(check(both, turned), SCHEMA_E_BROKEN);
	cr_assert_not_null(strstr(why, "was moved"));
}
