/* Steps of a directed run.
 *
 * Invariants: steps are taken in the order of the command line, one at a time; a
 * moment is judged by the world of the process that the ownership word names, at
 * a boundary of turns. Nothing here draws from the seed's generators. */
#include "sim/moment.h"

#include "engine/fact.h"
#include "servicing/expr.h"
#include "sim/oracle.h"
#include "sim/plan.h"
#include "sim/programs.h"
#include "sim/run.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 16, DEEDS_OF_STEP = 6, STEP_NS = 200000, POLL_NS = 20000,
       FOLLOWED = 1500 /* events before a flip, for cuts */ };

enum deed {
#define DEED(name, word, doc) DEED_##name,
#include "sim/deeds.def"
#undef DEED
	DEEDS
};

static const char *const deed_words[DEEDS] = {
#define DEED(name, word, doc) [DEED_##name] = word,
#include "sim/deeds.def"
#undef DEED
};

enum seen { SEEN_MAILBOX, SEEN_SLOT, SEEN_NOTICE, SEEN_POSTED, SEENS };
static const char *const seen_words[SEENS] = { "@mailbox", "@slot", "@notice", "@posted" };

struct step {
	const char *text;
	unsigned seen;                /* set of enum seen */
	struct expr *expr[2];         /* as build A and B read it; NULL: none was given */
	enum deed deed[DEEDS_OF_STEP];
	unsigned n;
};

static struct {
	struct step step[STEPS];
	unsigned n, next;
	struct custody *c;
} moments;

/* ---- reading -------------------------------------------------------------------- */

static int wrong(const char *text, const char *why, const char *what)
{
	fprintf(stderr, "holdfast: sim: --when '%s': %s%s\n", text, why, what);
	return 2;
}

static int read_deeds(struct step *s, const char *at)
{
	while (at += strspn(at, " ,"), *at) {
		size_t n = strcspn(at, " ,");
		int d = 0;

		while (d < DEEDS && (strlen(deed_words[d]) != n || strncmp(deed_words[d], at, n) != 0))
			d++;
		if (d == DEEDS || s->n == DEEDS_OF_STEP)
			return wrong(s->text, "no such deed, or too many, at: ", at);
		s->deed[s->n++] = (enum deed)d;
		at += n;
	}
	return 0;
}

static bool read_seen(struct step *s, const char **at)
{
	*at += strspn(*at, " ");
	for (int i = 0; i < SEENS; i++) {
		size_t n = strlen(seen_words[i]);

		if (strncmp(*at, seen_words[i], n) != 0)
			continue;
		s->seen |= 1u << i;
		*at += n;
		return true;
	}
	return false;
}

static int read_moment(struct step *s, const char *from, size_t n)
{
	char text[400];
	const char *at = text;

	if (n >= sizeof(text))
		return wrong(s->text, "too long", "");
	memcpy(text, from, n);
	text[n] = '\0';
	while (read_seen(s, &at))
		;
	if (!*at)
		return s->seen ? 0 : wrong(s->text, "no moment before the colon", "");
	for (enum program p = PROGRAM_A; p <= PROGRAM_B; p++) {
		struct expr_error why;

		s->expr[p] = expr_parse(program_tables(p)->registry, at, &why);
		if (!s->expr[p])
			return wrong(s->text, "", why.text);
	}
	return 0;
}

int moment_add(const char *text)
{
	struct step *s = &moments.step[moments.n];
	const char *colon = strchr(text, ':');
	int r;

	if (moments.n == STEPS || !colon)
		return wrong(text, "give 'MOMENT: DEEDS', 16 times at most", "");
	s->text = text;
	r = read_moment(s, text, (size_t)(colon - text));
	if (!r)
		r = read_deeds(s, colon + 1);
	moments.n += !r;
	return r;
}

bool moment_any(void)
{
	return moments.n != 0;
}

const char *moment_text(unsigned n)
{
	return n < moments.n ? moments.step[n].text : NULL;
}

void moment_start(struct custody *c)
{
	moments.c = c;
}

struct rec_service_ask moment_ask(void)
{
	return (struct rec_service_ask){ .follow_events = options.n_cuts ? FOLLOWED : 0, .voting = 16,
					 .probation_ns = UINT64_C(10000000000) };
}

/* ---- what is so ------------------------------------------------------------------ */

static struct process *owner(void)
{
	uint64_t word = atomic_load(&moments.c->h->owner);

	for (int i = 0; i < kernel.n_processes; i++) {
		struct process *p = kernel.process[i];

		if (p->alive && p->role == PROCESS_PARAVISOR && p->slot == OWNER_SLOT(word) &&
		    p->serves &&
		    (OWNER_STATE(word) == OWNER_OWNED || OWNER_STATE(word) == OWNER_FLIPPING))
			return p;
	}
	return NULL;
}

static bool any_mailbox(const struct custody *c)
{
	bool any = false;

	for (uint32_t i = 0; i < c->h->vps; i++)
		any |= (atomic_load(&c->mailbox[i].state) & 3) == MAILBOX_POSTED;
	return any;
}

static bool any_message(const struct custody *c)
{
	bool any = false;

	for (uint32_t i = 0; i < c->h->vps; i++)
		any |= atomic_load(&c->message[i].head) != atomic_load(&c->message[i].tail);
	return any;
}

static bool any_notice(const struct custody *c)
{
	return atomic_load(&c->inbox->head) != atomic_load(&c->inbox->tail);
}

static bool any_posted(const struct custody *c)
{
	return atomic_load(&c->posted->head) != atomic_load(&c->posted->tail);
}

static bool has_come(const struct step *s, const struct process *p)
{
	bool (*const sees[SEENS])(const struct custody *c) = {
		[SEEN_MAILBOX] = any_mailbox, [SEEN_SLOT] = any_message, [SEEN_NOTICE] = any_notice,
		[SEEN_POSTED] = any_posted,
	};

	for (int i = 0; i < SEENS; i++)
		if ((s->seen >> i & 1) && !sees[i](moments.c))
			return false;
	return !s->expr[p->program] || expr_true(s->expr[p->program], p->world);
}

/* ---- deeds ------------------------------------------------------------------------ */

static void each_other(const struct process *mine, void (*visit)(struct process *p))
{
	for (int i = 0; i < kernel.n_processes; i++) {
		struct process *p = kernel.process[i];

		if (p->alive && p->role == PROCESS_PARAVISOR && p != mine)
			visit(p);
	}
}

static void kill_it(struct process *p)
{
	result.fault[p->serves ? FAULT_KILL_TURN : FAULT_KILL_FOLLOWER]++;
	process_end(p, 0, SIGKILL);
}

static void hold_role(enum process_role role)
{
	for (int i = 0; i < kernel.n_processes; i++)
		if (kernel.process[i]->alive && kernel.process[i]->role == role)
			process_hold(kernel.process[i]);
}

static void operator_asks(enum fault f)
{
	result.fault[f]++;
	plan_ask(f);
}

/* All but the owner's own end. */
static void do_deed(enum deed d, struct process *mine)
{
	switch (d) {
	case DEED_UPGRADE:
		operator_asks(mine->program == PROGRAM_A ? FAULT_UPGRADE : FAULT_DOWNGRADE);
		break;
	case DEED_REPLACE:
		operator_asks(FAULT_REPLACE);
		break;
	case DEED_ROLLBACK:
		operator_asks(FAULT_ROLLBACK);
		break;
	case DEED_COMMIT:
		operator_asks(FAULT_COMMIT);
		break;
	case DEED_STANDBY:
		operator_asks(FAULT_STANDBY);
		break;
	case DEED_KILL_OTHERS:
	case DEED_KILL_ALL:
		each_other(mine, kill_it);
		break;
	case DEED_HOLD_GUEST:
		hold_role(PROCESS_GUEST);
		break;
	case DEED_HOLD_NEW:
		kernel.holds_new = true;
		break;
	case DEED_HOLD_PARTITION:
		hold_role(PROCESS_PARTITION);
		break;
	case DEED_HOLD_OWNER:
		process_hold(mine);
		break;
	case DEED_HOLD_OTHERS:
		each_other(mine, process_hold);
		break;
	case DEED_GO:
		processes_go();
		break;
	case DEED_STICK:
	case DEED_FLOW:
		disk_stick(d == DEED_STICK);
		break;
	case DEED_KILL_OWNER:
	case DEEDS:
		break;
	}
}

/* Does not return when the current process is killed. */
static void take_step(struct process *mine)
{
	const struct step *s = &moments.step[moments.next++];
	bool dies = false;

	fprintf(stderr, "%12.6f moment: turn %llu: %s\n", (double)kernel.now / 1e9,
		(unsigned long long)world_lane_const(mine->world)->seq, s->text);
	for (unsigned i = 0; i < s->n; i++) {
		do_deed(s->deed[i], mine);
		dies |= s->deed[i] == DEED_KILL_OWNER || s->deed[i] == DEED_KILL_ALL;
	}
	if (dies)
		kill_it(mine);
}

static void look(struct process *p)
{
	if (!moments.c || moments.next == moments.n || !p || !p->world ||
	    !has_come(&moments.step[moments.next], p))
		return;
	take_step(p);
}

void moment_turn(void)
{
	struct process *p = process_current();

	if (!moments.n || !p->serves)
		return;
	look(p);
	if (process_is_held(p))
		fiber_yield();
}

void moment_tick(void)
{
	if (moments.c && moments.next < moments.n)
		look(owner());
}

void moment_posted(void)
{
	const struct wire_posted_queue *q;

	if (!moments.n)
		return;
	q = moments.c->posted;
	while (atomic_load(&q->tail) != atomic_load(&q->head))
		fiber_block(NULL, kernel.now + POLL_NS);
	fiber_block(NULL, kernel.now + STEP_NS);
}

void moment_end(void)
{
	if (moments.next < moments.n)
		run_failed("--when '%s': that moment never came", moments.step[moments.next].text);
}
