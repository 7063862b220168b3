/* Calls into liblmdb that come back.
 *
 * A page beyond the file's end is SIGBUS, an offset that leads out of the map
 * SIGSEGV, a contradiction that liblmdb sees an assertion. All three leave the
 * guarded call by a jump. What liblmdb holds then is in no state to be used or
 * closed; it goes with the process. Outside of a guarded call the signals are
 * whoever's they were, and an assertion ends the process as always. */
#include "persist/archive_store.h"

#include <setjmp.h>
#include <signal.h>

static _Thread_local sigjmp_buf back;
static _Thread_local volatile sig_atomic_t armed;

static void on_signal(int n)
{
	(void)n;
	siglongjmp(back, 1);
}

static void on_assertion(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	if (armed)
		siglongjmp(back, 1);
}

int store_env_create(MDB_env **ret)
{
	int rc = mdb_env_create(ret);

	return rc ? rc : mdb_env_set_assert(*ret, on_assertion);
}

int store_guarded(store_fn *fn, void *user)
{
	struct sigaction sa = { .sa_handler = on_signal }, bus, segv;
	int rc = STORE_FAULT;

	sigaction(SIGBUS, &sa, &bus);
	sigaction(SIGSEGV, &sa, &segv);
	if (sigsetjmp(back, 1) == 0) {
		int got;

		armed = 1;
		got = fn(user);
		armed = 0;
		sigaction(SIGSEGV, &segv, NULL);
		sigaction(SIGBUS, &bus, NULL);
		return got;
	}
	armed = 0;
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return rc;
}
