/* Fault handler. Async-signal-safe: a few atomic stores and a raise. A signal
 * that another process sent is no fault of this one. */
#include "servicing/fault.h"

#include "engine/fact.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct custody *custody;
static const struct fault_point *point;

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code > 0 || info->si_pid == getpid())
		faults_note(custody, point);
	raise(signal_number);
}

void fault_install(struct custody *c, const struct fault_point *p)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	static char stack[64 << 10];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND) };

	custody = c;
	point = p;
	sigaltstack(&ss, NULL);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &sa, NULL);
}
