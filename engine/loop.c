/* libev behind three calls. Watchers live in one table by descriptor. */
#include "engine/loop.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>

enum { FDS_MAX = 1024 };

struct loop {
	struct ev_loop *ev;
	ev_timer timer;
	loop_ready *ready;
	void *user;
	ev_io *watch[FDS_MAX];
};

static void on_readable(struct ev_loop *ev, ev_io *w, int revents)
{
	struct loop *l = w->data;

	(void)ev;
	(void)revents;
	l->ready(l->user, w->fd);
}

static void on_timer(struct ev_loop *ev, ev_timer *t, int revents)
{
	(void)ev;
	(void)t;
	(void)revents;
}

struct loop *loop_new(loop_ready *ready, void *user)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	if (!l->ev) {
		free(l);
		return NULL;
	}
	l->ready = ready;
	l->user = user;
	ev_timer_init(&l->timer, on_timer, 0., 0.);
	return l;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	loop_unwatch_all(l);
	ev_loop_destroy(l->ev);
	free(l);
	return NULL;
}

int loop_watch(struct loop *l, int fd)
{
	ev_io *w;

	if (fd < 0 || fd >= FDS_MAX)
		return -EBADF;
	if (l->watch[fd])
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	ev_io_init(w, on_readable, fd, EV_READ);
	w->data = l;
	ev_io_start(l->ev, w);
	l->watch[fd] = w;
	return 0;
}

void loop_unwatch_all(struct loop *l)
{
	for (int fd = 0; fd < FDS_MAX; fd++) {
		if (!l->watch[fd])
			continue;
		ev_io_stop(l->ev, l->watch[fd]);
		free(l->watch[fd]);
		l->watch[fd] = NULL;
	}
}

void loop_wait(struct loop *l, double timeout_s)
{
	if (timeout_s <= 0) {
		ev_run(l->ev, EVRUN_NOWAIT);
		return;
	}
	ev_now_update(l->ev);
	ev_timer_set(&l->timer, timeout_s, 0.);
	ev_timer_start(l->ev, &l->timer);
	ev_run(l->ev, EVRUN_ONCE);
	ev_timer_stop(l->ev, &l->timer);
}
