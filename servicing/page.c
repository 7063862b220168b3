/* Collecting a page's bars and arrows in one run over the tape, then writing
 * them as JSON between the two halves of page.html.
 *
 * When the arrows are full, every second one goes and from then on only every
 * second one is taken, and so on; when the bars are full, those go that are
 * shorter than a bound that doubles. */
#include "servicing/page.h"

#include "servicing/decode.h"
#include "servicing/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct bar {
	uint32_t lane;
	uint16_t state;
	uint64_t from_ns, to_ns, from_seq, to_seq;
};

struct arrow {
	uint32_t from, to;               /* lanes; equal: an outside event */
	uint16_t kind, code;
	uint64_t time_ns, seq;
};

struct mark {
	uint64_t time_ns, seq;
	uint32_t epoch, reason;
	char build[64];
};

struct lane_now {
	uint32_t generation;
	uint16_t state;
	uint64_t since_ns, since_seq;
	bool used;
};

struct page {
	struct tape *t;
	struct lane_now *now;            /* by lane: kind's first lane + index */
	uint32_t first_lane[LIMIT_KINDS], lanes;
	struct bar *bar;
	uint32_t n_bars;
	uint64_t shortest, bars_left_out;
	struct arrow *arrow;
	uint32_t n_arrows;
	uint64_t stride, offered;
	struct mark mark[LIMIT_PAGE_MARKS];
	unsigned n_marks;
	uint64_t time_ns, seq;           /* of the event being stepped */
	uint64_t begin_ns;
};

/* ---- collecting ----------------------------------------------------------------- */

static uint32_t lane_of(const struct page *p, uint16_t kind, uint16_t index)
{
	return p->first_lane[kind] + index;
}

static void drop_short_bars(struct page *p)
{
	uint32_t kept = 0;

	p->shortest = p->shortest ? 2 * p->shortest : 1000;
	for (uint32_t i = 0; i < p->n_bars; i++) {
		if (p->bar[i].to_ns - p->bar[i].from_ns >= p->shortest)
			p->bar[kept++] = p->bar[i];
	}
	p->bars_left_out += p->n_bars - kept;
	p->n_bars = kept;
}

static void close_bar(struct page *p, uint32_t lane)
{
	struct lane_now *l = &p->now[lane];

	if (l->generation == 0)
		return;
	if (p->time_ns - l->since_ns < p->shortest) {
		p->bars_left_out++;
		return;
	}
	while (p->n_bars == LIMIT_PAGE_BARS)
		drop_short_bars(p);
	p->bar[p->n_bars++] = (struct bar){ lane, l->state, l->since_ns, p->time_ns, l->since_seq,
					    p->seq };
}

/* The machine's present state; a new bar when it is another one. */
static void note_state(struct page *p, uint16_t kind, uint16_t index)
{
	const struct sm_head *h = world_at(tape_world(p->t), kind, index);
	uint32_t lane = lane_of(p, kind, index), generation = h ? h->generation : 0;
	struct lane_now *l = &p->now[lane];

	if (l->generation == generation && (!h || l->state == h->state))
		return;
	close_bar(p, lane);
	*l = (struct lane_now){ generation, h ? h->state : 0, p->time_ns, p->seq, true };
}

static void halve_arrows(struct page *p)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < p->n_arrows; i += 2)
		p->arrow[kept++] = p->arrow[i];
	p->n_arrows = kept;
	p->stride *= 2;
}

static void note_arrow(struct page *p, const struct sm_cx *cx)
{
	uint32_t to = lane_of(p, cx->ref.kind, cx->ref.index);

	if (p->offered++ % p->stride)
		return;
	if (p->n_arrows == LIMIT_PAGE_ARROWS)
		halve_arrows(p);
	p->arrow[p->n_arrows++] = (struct arrow){
		cx->from.generation ? lane_of(p, cx->from.kind, cx->from.index) : to, to,
		cx->ref.kind, cx->event->code, p->time_ns, p->seq };
}

static void on_step(void *user, const struct sm_cx *cx, uint16_t from, uint16_t to,
		    const struct sm_row *row)
{
	(void)from;
	(void)to;
	(void)row;
	note_arrow(user, cx);
	note_state(user, cx->ref.kind, cx->ref.index);
}

static uint64_t value_of(const struct rec_desc *d, const uint8_t *payload, const char *name)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		if (strcmp(d->fields[i].name, name) == 0)
			return rec_value(&d->fields[i], payload, 0);
	}
	return 0;
}

/* The first record of an owner. */
static void note_mark(struct page *p, const struct tape_event *e)
{
	const struct sm_desc *d = e->h->kind < LIMIT_KINDS ? program.machines[e->h->kind] : NULL;
	const struct sm_event_desc *event = d ? sm_event_find(d, e->h->code) : NULL;
	struct mark *m = &p->mark[p->n_marks];

	if (!event || strcmp(event->rec->name, "serving") != 0 || e->h->len < event->rec->size ||
	    p->n_marks == LIMIT_PAGE_MARKS)
		return;
	*m = (struct mark){ .time_ns = e->h->time_ns, .seq = e->h->seq, .epoch = e->h->epoch };
	m->reason = (uint32_t)value_of(event->rec, e->payload, "reason");
	snprintf(m->build, sizeof(m->build), "%.*s", (int)(e->h->len - event->rec->size),
		 (const char *)e->payload + event->rec->size);
	p->n_marks++;
}

static void note_all(struct page *p)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		for (unsigned i = 0; program.machines[k] && i < program.machines[k]->capacity; i++)
			note_state(p, (uint16_t)k, (uint16_t)i);
	}
}

static void collect(struct page *p, uint64_t first, uint64_t last)
{
	tape_go(p->t, first);
	p->begin_ns = p->time_ns = first < last ? tape_event(p->t, first).h->time_ns : 0;
	p->seq = tape_seq(p->t, first);
	note_all(p);
	world_watch_set(tape_world(p->t), on_step, p);
	while (tape_place(p->t) < last) {
		struct tape_event e = tape_event(p->t, tape_place(p->t));

		p->time_ns = e.h->time_ns;
		p->seq = e.h->seq;
		if (tape_pass_hole(p->t))
			note_all(p);
		note_mark(p, &e);
		tape_step(p->t);
	}
	world_watch_set(tape_world(p->t), NULL, NULL);
	for (uint32_t i = 0; i < p->lanes; i++)
		close_bar(p, i);
}

/* ---- writing -------------------------------------------------------------------- */

/* Text inside a script element: nothing in it may end the element. */
static void put_text(FILE *out, const char *text)
{
	fputc('"', out);
	for (const char *c = text; *c; c++) {
		unsigned char u = (unsigned char)*c;

		if (u < 0x20 || u > 0x7e || strchr("\"\\<>&", u))
			fprintf(out, "\\u%04x", u);
		else
			fputc(u, out);
	}
	fputc('"', out);
}

static void put_kinds(FILE *out)
{
	fprintf(out, "\"kinds\":{");
	for (unsigned k = 0, any = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = program.machines[k];

		if (!d)
			continue;
		fprintf(out, "%s\n\"%u\":{\"name\":", any++ ? "," : "", k);
		put_text(out, d->name);
		fprintf(out, ",\"states\":{");
		for (unsigned i = 0; i < d->n_states; i++) {
			fprintf(out, "%s\"%u\":", i ? "," : "", d->states[i].code);
			put_text(out, d->states[i].name);
		}
		fprintf(out, "},\"events\":{");
		for (unsigned i = 0; i < d->n_events; i++) {
			fprintf(out, "%s\"%u\":", i ? "," : "", d->events[i].code);
			put_text(out, d->events[i].name);
		}
		fprintf(out, "}}");
	}
	fprintf(out, "},\n");
}

/* Lanes that were ever used get the numbers by which the rest names them. */
static void put_lanes(const struct page *p, uint32_t *number, FILE *out)
{
	uint32_t n = 0;

	fprintf(out, "\"lanes\":[");
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		const struct sm_desc *d = program.machines[k];

		for (unsigned i = 0; d && i < d->capacity; i++) {
			uint32_t lane = lane_of(p, (uint16_t)k, (uint16_t)i);

			if (!p->now[lane].used)
				continue;
			fprintf(out, "%s[%u,%u]", n ? "," : "", k, i);
			number[lane] = n++;
		}
	}
	fprintf(out, "],\n");
}

static void put_bars(const struct page *p, const uint32_t *number, FILE *out)
{
	fprintf(out, "\"bars\":[");
	for (uint32_t i = 0; i < p->n_bars; i++) {
		const struct bar *b = &p->bar[i];

		fprintf(out, "%s[%u,%" PRIu64 ",%" PRIu64 ",%u,%" PRIu64 ",%" PRIu64 "]",
			i ? ",\n" : "\n", number[b->lane], b->from_ns - p->begin_ns,
			b->to_ns - p->begin_ns, b->state, b->from_seq, b->to_seq);
	}
	fprintf(out, "],\n");
}

static void put_arrows(const struct page *p, const uint32_t *number, FILE *out)
{
	fprintf(out, "\"arrows\":[");
	for (uint32_t i = 0; i < p->n_arrows; i++) {
		const struct arrow *a = &p->arrow[i];

		fprintf(out, "%s[%u,%u,%" PRIu64 ",%" PRIu64 ",%u,%u]", i ? ",\n" : "\n",
			number[a->from], number[a->to], a->time_ns - p->begin_ns, a->seq, a->kind,
			a->code);
	}
	fprintf(out, "],\n");
}

static void put_marks(const struct page *p, FILE *out)
{
	static const char *const reasons[] = { "?", "first", "planned", "death", "rollback" };

	fprintf(out, "\"marks\":[");
	for (unsigned i = 0; i < p->n_marks; i++) {
		const struct mark *m = &p->mark[i];

		fprintf(out, "%s[%" PRIu64 ",%" PRIu64 ",\"%s\",%u,", i ? ",\n" : "\n",
			m->time_ns - p->begin_ns, m->seq, reasons[m->reason < 5 ? m->reason : 0],
			m->epoch);
		put_text(out, m->build);
		fprintf(out, "]");
	}
	fprintf(out, "],\n");
}

static int put_page(const struct page *p, uint64_t first, uint64_t last, FILE *out)
{
	uint32_t *number = calloc(p->lanes, sizeof(*number));

	if (!number)
		return -ENOMEM;
	fputs(page_head, out);
	fprintf(out, "{");
	put_kinds(out);
	put_lanes(p, number, out);
	put_bars(p, number, out);
	put_arrows(p, number, out);
	put_marks(p, out);
	fprintf(out, "\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"begin_ns\":%" PRIu64
		",\"end_ns\":%" PRIu64 ",\"bars_left_out\":%" PRIu64 ",\"arrows_left_out\":%" PRIu64
		"}\n", tape_seq(p->t, first) + (first < last), tape_seq(p->t, last), p->begin_ns,
		p->time_ns - p->begin_ns, p->bars_left_out, p->offered - p->n_arrows);
	fputs(page_tail, out);
	free(number);
	return ferror(out) ? -EIO : 0;
}

static int write_to(const struct page *p, const char *path, uint64_t first, uint64_t last)
{
	FILE *out = fopen(path, "we");
	int r;

	if (!out) {
		fprintf(stderr, "holdfast: %s: cannot be written (%s)\n", path, strerror(errno));
		return -errno;
	}
	r = put_page(p, first, last, out);
	if (fclose(out) != 0 && r == 0)
		r = -errno;
	if (r < 0)
		fprintf(stderr, "holdfast: %s: not written (%s)\n", path, strerror(-r));
	else
		printf("page events=%" PRIu64 " bars=%u arrows=%u marks=%u bars_left_out=%" PRIu64
		       " arrows_left_out=%" PRIu64 " file=%s\n", last - first, p->n_bars,
		       p->n_arrows, p->n_marks, p->bars_left_out, p->offered - p->n_arrows, path);
	return r;
}

static bool make(struct page *p)
{
	for (unsigned k = 0; k < LIMIT_KINDS; k++) {
		p->first_lane[k] = p->lanes;
		p->lanes += program.machines[k] ? program.machines[k]->capacity : 0;
	}
	p->stride = 1;
	p->now = calloc(p->lanes, sizeof(*p->now));
	p->bar = malloc(LIMIT_PAGE_BARS * sizeof(*p->bar));
	p->arrow = malloc(LIMIT_PAGE_ARROWS * sizeof(*p->arrow));
	return p->now && p->bar && p->arrow;
}

/* Places that hold the events asked for; all that there are of them. */
static int range(const struct tape *t, uint64_t from, uint64_t to, uint64_t *ret_first,
		 uint64_t *ret_last)
{
	char why[160];

	*ret_first = 0;
	*ret_last = tape_events(t);
	if ((from > tape_seq(t, 0) + 1 && !tape_find(t, from - 1, ret_first, why)) ||
	    (to != UINT64_MAX && !tape_find(t, to, ret_last, why))) {
		fprintf(stderr, "holdfast: log: %s\n", why);
		return -ENOENT;
	}
	if (*ret_first < *ret_last)
		return 0;
	fprintf(stderr, "holdfast: log: --from %" PRIu64 " to %" PRIu64 " holds no event\n", from,
		to);
	return -ENOENT;
}

int page_write(struct tape *t, const char *path, uint64_t from, uint64_t to)
{
	struct page *p = calloc(1, sizeof(*p));
	uint64_t first, last;
	int r = range(t, from, to, &first, &last);

	if (r == 0 && p && make(p)) {
		p->t = t;
		collect(p, first, last);
		r = write_to(p, path, first, last);
	} else if (r == 0) {
		fprintf(stderr, "holdfast: %s: not written (no memory)\n", path);
		r = -ENOMEM;
	}
	if (p) {
		free(p->now);
		free(p->bar);
		free(p->arrow);
	}
	free(p);
	return r;
}
