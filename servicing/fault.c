/* Fault handler. Async-signal-safe: two atomic stores and a raise. */
#include "servicing/fault.h"

#include "engine/fact.h"

#include <signal.h>
#include <stdlib.h>

static struct custody *custody;
static const struct lane_state *lane_state;

static void on_fault(int signal_number)
{
	struct wire_header *h = custody->h;

	atomic_store(&h->fault_seq_before, atomic_load(&h->fault_seq));
	atomic_store(&h->fault_seq, lane_state->seq);
	atomic_fetch_add(&h->faults, 1);
	raise(signal_number);
}

void fault_install(struct custody *c, const struct lane_state *lane)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	static char stack[64 << 10];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = on_fault,
				.sa_flags = (int)(SA_ONSTACK | SA_RESETHAND) };

	custody = c;
	lane_state = lane;
	sigaltstack(&ss, NULL);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &sa, NULL);
}
