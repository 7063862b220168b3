/* abort() runs the handler before it ends the process, and a handler may leave
 * by a jump (POSIX, abort(): "unless SIGABRT is being caught and the handler
 * does not return"). Nothing that was allocated inside is lost but what the
 * stepped function allocates, and a turn allocates nothing. */
#include "servicing/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static sigjmp_buf back;

static void on_abort(int n)
{
	(void)n;
	siglongjmp(back, 1);
}

int guard_run(int (*fn)(void *user), void *user)
{
	struct sigaction sa = { .sa_handler = on_abort }, before;
	int r = GUARD_E_FACT;

	sigaction(SIGABRT, &sa, &before);
	if (sigsetjmp(back, 1) == 0) {
		int got = fn(user);

		sigaction(SIGABRT, &before, NULL);
		return got;
	}
	sigaction(SIGABRT, &before, NULL);
	return r;
}
