/* Lint finds what it is there for, each by its own sentence. */
#include "engine/sm_tools.h"
#include "engine/test_toy.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char *text;
static size_t text_len;

static unsigned lint(const struct sm_desc *d)
{
	FILE *f = open_memstream(&text, &text_len);
	unsigned n = sm_lint(d, f);

	fclose(f);
	return n;
}

Test(lint, the_toy_is_clean)
{
	cr_assert_eq(lint(&toy_sm), 0, "%s", text);
}

Test(lint, a_guest_that_can_end_us_is_named)
{
	struct sm_state states[4];
	struct sm_desc d = toy_sm;

	memcpy(states, toy_sm.states, sizeof(states));
	states[2].otherwise = SM_BUG;
	d.states = states;
	cr_assert_gt(lint(&d), 0);
	cr_assert_not_null(strstr(text, "a guest can end us: ADD in state BUSY"));
}

Test(lint, an_unreachable_state_is_named)
{
	struct sm_desc d = toy_sm;

	d.n_rows--;
	d.rows++;
	cr_assert_gt(lint(&d), 0);
	cr_assert_not_null(strstr(text, "state OPEN cannot be reached"));
}

Test(lint, a_shadowed_row_is_named)
{
	struct sm_row rows[16];
	struct sm_desc d = toy_sm;

	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	rows[toy_sm.n_rows] = rows[0];
	d.rows = rows;
	d.n_rows++;
	cr_assert_eq(lint(&d), 1);
	cr_assert_not_null(strstr(text, "can never be taken"));
}

Test(lint, a_row_older_than_what_it_names_is_named)
{
	struct sm_row rows[16];
	struct sm_desc d = toy_sm;

	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	for (unsigned i = 0; i < d.n_rows; i++)
		rows[i].since = 1;
	d.rows = rows;
	cr_assert_eq(lint(&d), 1);
	cr_assert_not_null(strstr(text, "uses something newer"));
}

Test(lint, pages_and_pictures_hold_every_name)
{
	FILE *f = open_memstream(&text, &text_len);

	sm_page(&toy_sm, f);
	sm_dot(&toy_sm, f);
	fclose(f);
	for (unsigned i = 0; i < toy_sm.n_states; i++)
		cr_assert_not_null(strstr(text, toy_sm.states[i].name));
	for (unsigned i = 0; i < toy_sm.n_events; i++)
		cr_assert_not_null(strstr(text, toy_sm.events[i].name));
	cr_assert_not_null(strstr(text, "CLOSED -> OPEN [label=\"TURN_ON"));
}
