/* inject PID NAME [ARGUMENT]...: makes process PID call NAME, as a hijacked one
 * would, and prints what came back: a number, or the name of the error.
 *
 * The process is stopped, `syscall; int3` put where it stands, run, and all put
 * back. An argument is a number, or @TEXT: a string, placed below its stack. */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS = 6, RED_ZONE = 4096, ERRORS = 4096 };

static const unsigned char CALL[8] = { 0x0f, 0x05, 0xcc, 0x90, 0x90, 0x90, 0x90, 0x90 };

static int failed(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	return 2;
}

static int put(pid_t pid, unsigned long long at, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i += sizeof(long)) {
		size_t part = n - i < sizeof(long) ? n - i : sizeof(long);
		long word = 0;

		memcpy(&word, (const char *)bytes + i, part);
		if (ptrace(PTRACE_POKEDATA, pid, (void *)(at + i), (void *)word))
			return -1;
	}
	return 0;
}

static int await_stop(pid_t pid)
{
	int status;

	return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) ? 0 : -1;
}

static int arguments(pid_t pid, int n, char **text, unsigned long long stack,
		     unsigned long long ret[ARGUMENTS])
{
	for (int i = 0; i < n; i++) {
		if (text[i][0] != '@') {
			ret[i] = strtoull(text[i], NULL, 0);
			continue;
		}
		stack -= (strlen(text[i]) + sizeof(long)) & ~(sizeof(long) - 1);
		ret[i] = stack;
		if (put(pid, stack, text[i] + 1, strlen(text[i])))
			return -1;
	}
	return 0;
}

static int inject(pid_t pid, int number, int n, char **text, long long *ret)
{
	unsigned long long a[ARGUMENTS] = { 0 };
	struct user_regs_struct before, now;
	long code;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &before))
		return failed("registers");
	now = before;
	code = ptrace(PTRACE_PEEKDATA, pid, (void *)before.rip, NULL);
	if (arguments(pid, n, text, (before.rsp - RED_ZONE) & ~0xfull, a) ||
	    put(pid, before.rip, CALL, sizeof(CALL)))
		return failed("memory");
	now.rax = (unsigned long long)number;
	now.orig_rax = ~0ull;
	now.rdi = a[0];
	now.rsi = a[1];
	now.rdx = a[2];
	now.r10 = a[3];
	now.r8 = a[4];
	now.r9 = a[5];
	if (ptrace(PTRACE_SETREGS, pid, NULL, &now) || ptrace(PTRACE_CONT, pid, NULL, NULL) ||
	    await_stop(pid) || ptrace(PTRACE_GETREGS, pid, NULL, &now))
		return failed("the call");
	*ret = (long long)now.rax;
	if (ptrace(PTRACE_POKEDATA, pid, (void *)before.rip, (void *)code) ||
	    ptrace(PTRACE_SETREGS, pid, NULL, &before))
		return failed("putting back");
	return 0;
}

int main(int argc, char **argv)
{
	pid_t pid = argc > 2 ? (pid_t)atoi(argv[1]) : 0;
	int number = argc > 2 ? seccomp_syscall_resolve_name(argv[2]) : -1, r;
	long long got = 0;

	if (pid <= 0 || number < 0 || argc > 3 + ARGUMENTS) {
		fprintf(stderr, "usage: inject PID SYSCALL [NUMBER|@TEXT]...\n");
		return 2;
	}
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) ||
	    await_stop(pid))
		return failed("stopping it");
	r = inject(pid, number, argc - 3, argv + 3, &got);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	if (r)
		return r;
	if (got < 0 && got > -ERRORS)
		printf("%s\n", strerrorname_np((int)-got));
	else
		printf("%lld\n", got);
	return 0;
}
