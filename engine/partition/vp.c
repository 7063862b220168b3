/* Virtual processors: one thread each, and the table of exits.
 *
 * A VP thread is parked until VP_START, runs its VP, and takes each exit to the
 * handler that WIRE_EXITS names. In its mailbox it waits for the owner, however
 * long that takes: a paravisor that dies meanwhile is followed by one that finds
 * the mailbox POSTED. Only a reset takes a posted exit back. */
#include "engine/partition/partition.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum handler { WIRE_ALONE, WIRE_MAILBOX, WIRE_LOOP };

static const enum handler HANDLER[] = {
#define X(name, code, handler, doc) [name] = (handler),
	WIRE_EXITS(X)
#undef X
};

enum {
	MSR_EOM = 0x40000084,
	CALL_POST_MESSAGE = 0x5C,
};

/* A parked or mailbox-waiting VP looks up again after this long, should a
 * wake-up have come between its look and its sleep. */
#define LOOK_UP_NS UINT64_C(1000000000)

static void ignore(int number)
{
	(void)number;
}

/* Until the hub lets VPs go. */
static void park(struct partition *p)
{
	pthread_mutex_lock(&p->run_lock);
	p->parked++;
	pthread_cond_broadcast(&p->run_changed);
	while (!atomic_load(&p->go))
		pthread_cond_wait(&p->run_changed, &p->run_lock);
	p->parked--;
	pthread_mutex_unlock(&p->run_lock);
}

static void note_wait(struct partition *p, uint64_t waited)
{
	uint64_t longest = atomic_load_explicit(&p->c.h->vp_wait_ns_max, memory_order_relaxed);

	while (waited > longest &&
	       !atomic_compare_exchange_weak(&p->c.h->vp_wait_ns_max, &longest, waited))
		;
}

/* Posts the exit; returns the state word that says so. */
static uint32_t mailbox_post(struct wire_mailbox *m, const struct vp_exit *e)
{
	uint32_t before = atomic_load(&m->state);
	uint32_t posted;

	m->exit = e->exit;
	m->address = e->address;
	m->value = e->value;
	m->value2 = e->value2;
	m->size = e->size;
	m->is_read = e->is_read;
	m->posted_ns = mono_now_ns();
	do
		posted = ((before >> 2) + 1) << 2 | MAILBOX_POSTED;
	while (!atomic_compare_exchange_weak(&m->state, &before, posted));
	return posted;
}

/* False: a reset came instead of the answer. */
static bool mailbox_exchange(struct vp *vp, const struct vp_exit *e, uint64_t *ret_answer,
			     bool *ret_fault)
{
	struct partition *p = vp->p;
	struct wire_mailbox *m = &p->c.mailbox[vp->index];
	uint32_t posted = mailbox_post(m, e);
	const uint32_t idle = (posted & ~UINT32_C(3)) | MAILBOX_IDLE;
	const uint32_t answered = (posted & ~UINT32_C(3)) | MAILBOX_ANSWERED;
	uint32_t state;

	signal_eventfd(p->kick_fd);
	while ((state = atomic_load(&m->state)) != answered) {
		if (!atomic_load(&p->go) && atomic_compare_exchange_strong(&m->state, &state, idle))
			return false;
		futex_wait(&m->state, state, LOOK_UP_NS);
	}
	note_wait(p, mono_now_ns() - m->posted_ns);
	*ret_answer = m->answer;
	*ret_fault = m->fault != 0;
	atomic_compare_exchange_strong(&m->state, &state, idle);
	return true;
}

/* What the partition handles alone is told from its kind by its address. */
static enum wire_exit classify(const struct vp_exit *e)
{
	bool is_msr = e->exit == EXIT_RDMSR || e->exit == EXIT_WRMSR;

	if (is_msr && e->address == MSR_EOM)
		return EXIT_EOM;
	if (e->exit == EXIT_HYPERCALL && (e->address & 0xffff) == CALL_POST_MESSAGE)
		return EXIT_POST_MESSAGE;
	return e->exit;
}

static void handle_alone(struct vp *vp, const struct vp_exit *e)
{
	struct partition *p = vp->p;
	uint64_t answer = 0;

	if (e->exit == EXIT_POST_MESSAGE)
		answer = posted_put(p, vp->index, e->address, e->value);
	else if (e->exit == EXIT_EOM && !e->is_read)
		synic_deliver(p, vp->index);
	p->backend->complete(p, vp->index, answer, e->exit == EXIT_OTHER_MSR);
}

/* A VP that has ended its life has nothing to run until a reset. */
static void wait_for_reset(struct partition *p)
{
	pthread_mutex_lock(&p->run_lock);
	while (atomic_load(&p->go))
		pthread_cond_wait(&p->run_changed, &p->run_lock);
	pthread_mutex_unlock(&p->run_lock);
}

static void handle_mailbox(struct vp *vp, const struct vp_exit *e)
{
	uint64_t answer;
	bool fault;

	if (!mailbox_exchange(vp, e, &answer, &fault))
		return;
	if (e->exit == EXIT_FATAL)
		wait_for_reset(vp->p);
	else
		vp->p->backend->complete(vp->p, vp->index, answer, fault);
}

static void run_once(struct vp *vp)
{
	struct partition *p = vp->p;
	struct vp_exit e = { .exit = EXIT_AGAIN };

	if (p->backend->run(p, vp->index, &e))
		e.exit = EXIT_AGAIN;
	e.exit = classify(&e);
	atomic_fetch_add_explicit(&p->c.stats->exits[e.exit], 1, memory_order_relaxed);
	switch (HANDLER[e.exit]) {
	case WIRE_ALONE:
		handle_alone(vp, &e);
		break;
	case WIRE_MAILBOX:
		handle_mailbox(vp, &e);
		break;
	case WIRE_LOOP:
		break;
	}
}

static void *run(void *arg)
{
	struct vp *vp = arg;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	for (;;) {
		park(vp->p);
		while (atomic_load(&vp->p->go))
			run_once(vp);
	}
	return NULL;
}

/* All but the kick is for the hub's thread. */
void vp_prepare(struct partition *p)
{
	pthread_mutex_init(&p->run_lock, NULL);
	pthread_cond_init(&p->run_changed, NULL);
	pthread_mutex_init(&p->posted_lock, NULL);
	pthread_mutex_init(&p->children_lock, NULL);
	for (uint32_t i = 0; i < LIMIT_VPS; i++) {
		pthread_mutex_init(&p->synic[i].lock, NULL);
		p->synic[i].declared.sint[2] = UINT64_C(1) << 16;
	}
}

int vp_create(struct partition *p)
{
	const struct sigaction sa = { .sa_handler = ignore };
	sigset_t all, before;
	int error = 0;

	sigaction(SIGUSR1, &sa, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (uint32_t i = 0; i < p->o.vps && !error; i++) {
		p->vp[i] = (struct vp){ .p = p, .index = i };
		error = pthread_create(&p->vp[i].thread, NULL, run, &p->vp[i]);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

static void kick_all(struct partition *p)
{
	for (uint32_t i = 0; i < p->o.vps; i++) {
		p->backend->kick(p, i);
		pthread_kill(p->vp[i].thread, SIGUSR1);
		futex_wake(&p->c.mailbox[i].state);
	}
}

void vp_stop(struct partition *p)
{
	bool all;

	pthread_mutex_lock(&p->run_lock);
	atomic_store(&p->go, false);
	pthread_cond_broadcast(&p->run_changed);
	pthread_mutex_unlock(&p->run_lock);
	do {
		struct timespec until;

		kick_all(p);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 5000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_mutex_lock(&p->run_lock);
		if (p->parked < p->o.vps)
			pthread_cond_timedwait(&p->run_changed, &p->run_lock, &until);
		all = p->parked == p->o.vps;
		pthread_mutex_unlock(&p->run_lock);
	} while (!all);
}

void vp_go(struct partition *p)
{
	pthread_mutex_lock(&p->run_lock);
	atomic_store(&p->go, true);
	pthread_cond_broadcast(&p->run_changed);
	pthread_mutex_unlock(&p->run_lock);
}
