/* What a process gives up, each in a child of its own: afterwards it must be refused. What
 * whole processes may do is asked by tests/e2e/soft-sandbox.sh. */
#include "engine/sandbox.h"
#include "engine/test_kit.h"
#include "tests/child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

/* A child that is content with what @asks finds. */
static void in_child(bool (*asks)(void))
{
	pid_t child = child_fork();
	int status;

	cr_assert_geq(child, 0);
	if (child == 0)
		toy_exit(asks() ? 0 : 1);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
}

static bool limits_hold(void)
{
	struct rlimit core, files;

	if (sandbox_limits(64) || getrlimit(RLIMIT_CORE, &core) || getrlimit(RLIMIT_NOFILE, &files))
		return false;
	if (core.rlim_max != 0 || files.rlim_cur > 64 || files.rlim_max != 64)
		return false;
	if (fcntl(0, F_DUPFD, 64) >= 0 || errno != EINVAL)
		return false;
	/* They only go down. */
	return sandbox_limits(4096) == 0 && getrlimit(RLIMIT_NOFILE, &files) == 0 &&
	       files.rlim_max == 64;
}

Test(sandbox, limits)
{
	in_child(limits_hold);
}

static bool nothing_is_left(void)
{
	struct utsname u;

	if (sandbox_privileges() || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return false;
	if (sandbox_privileges())
		return false;
	if (uname(&u) || sethostname(u.nodename, strlen(u.nodename)) == 0 || errno != EPERM)
		return false;
	return sandbox_namespaces(false) == -EPERM && sandbox_namespaces(true) == -EPERM;
}

Test(sandbox, privileges)
{
	in_child(nothing_is_left);
}

/* Root may; who is not root is told. */
static bool names_are_its_own(void)
{
	struct utsname u;
	int r = sandbox_namespaces(false);

	if (r)
		return r == -EPERM && geteuid() != 0;
	return sethostname("elsewhere", 9) == 0 && uname(&u) == 0 &&
	       strcmp(u.nodename, "elsewhere") == 0;
}

static char before[65];

Test(sandbox, namespaces)
{
	struct utsname u;

	cr_assert_eq(uname(&u), 0);
	memcpy(before, u.nodename, sizeof(before));
	in_child(names_are_its_own);
	cr_assert_eq(uname(&u), 0);
	cr_assert_str_eq(u.nodename, before, "only the child's was changed");
}

static bool calls_are_forbidden(void)
{
	if (sandbox_privileges() || sandbox_forbid())
		return false;
	/* Without the filter, these need no privilege. ptrace is left to sanitizers. */
	if (process_vm_readv(getpid(), NULL, 0, NULL, 0, 0) == 0 || errno != EPERM)
		return false;
	if (unshare(CLONE_FS) == 0 || errno != EPERM)
		return false;
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return false;
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

Test(sandbox, forbidden_calls)
{
	in_child(calls_are_forbidden);
}
