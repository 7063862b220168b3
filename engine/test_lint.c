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

/* Which of the three a row names does not matter. */
Test(lint, a_row_older_than_its_state_or_event_is_named)
{
	struct sm_event_desc events[16];
	struct sm_state states[4];
	struct sm_desc d = toy_sm;

	memcpy(states, toy_sm.states, sizeof(states));
	memcpy(events, toy_sm.events, toy_sm.n_events * sizeof(events[0]));
	d.states = states;
	d.events = events;
	states[2].since = 2;
	cr_assert_eq(lint(&d), 2, "BUSY: one row to it, one from it: %s", text);
	states[2].since = 1;
	events[4].since = 2;
	cr_assert_eq(lint(&d), 1, "SPLIT: %s", text);
	cr_assert_not_null(strstr(text, "OPEN --SPLIT--> OPEN"));
}

Test(lint, a_state_that_an_older_level_reaches_is_named)
{
	struct sm_row rows[16];
	struct sm_desc d = toy_sm;

	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	for (unsigned i = 0; i < d.n_rows; i++)
		rows[i].since = 1;
	rows[d.n_rows++] = (struct sm_row){ .since = 2, .from = toy_OPEN, .to = toy_OPEN,
					    .on = toy_EV_GILD, .guard = sm_always,
					    .guard_name = "sm_always", .act_name = "sm_nothing" };
	d.rows = rows;
	cr_assert_geq(lint(&d), 1);
	cr_assert_not_null(strstr(text, "uses something newer"), "%s", text);
}

Test(lint, a_newer_row_without_a_guard_shadows_no_older_one)
{
	struct sm_row rows[16];
	struct sm_desc d = toy_sm;

	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	memmove(rows + 1, rows, toy_sm.n_rows * sizeof(rows[0]));
	rows[0] = rows[1];
	rows[0].since = 2;
	d.rows = rows;
	d.n_rows++;
	cr_assert_eq(lint(&d), 0, "%s", text);
}

/* A state that ends us is sound where a row without a guard answers the guest. */
Test(lint, a_guest_that_is_always_answered_cannot_end_us)
{
	struct sm_state states[4];
	struct sm_row rows[16];
	struct sm_desc d = toy_sm;

	memcpy(states, toy_sm.states, sizeof(states));
	memcpy(rows, toy_sm.rows, toy_sm.n_rows * sizeof(rows[0]));
	states[2].otherwise = SM_BUG;
	d.states = states;
	d.rows = rows;
	for (unsigned code = toy_EV_TURN_ON; code <= toy_EV_ADD; code++) {
		struct sm_row *r = &rows[d.n_rows++];

		*r = rows[0];
		r->from = r->to = toy_BUSY;
		r->on = (uint16_t)code;
	}
	cr_assert_eq(lint(&d), 0, "%s", text);
	rows[d.n_rows - 1].guard = is_small;
	cr_assert_eq(lint(&d), 1);
	rows[d.n_rows - 1].guard = sm_always;
	rows[d.n_rows - 1].since = 2;
	cr_assert_eq(lint(&d), 1, "not at level 1");
	cr_assert_not_null(strstr(text, "a guest can end us: ADD in state BUSY"));
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
