/* Privileges by libcap-ng, filters by libseccomp, from the table sandbox.def.
 *
 * Filters only ever add up: the child of a partition has the partition's and
 * its own. A filter cannot look into memory, so clone3 is answered with ENOSYS
 * and clone's flags are looked at instead. */
#include "engine/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
	__has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef HOLDFAST_COVERAGE
#define HOLDFAST_COVERAGE 0
#endif

#define NEW_NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | \
			CLONE_NEWUTS | CLONE_NEWCGROUP)

struct allowed { enum sandbox_set set; int call; };

static const int forbidden[] = {
#define FORBID(name) SCMP_SYS(name),
#define ALLOW(set, name)
#include "engine/sandbox.def"
#undef FORBID
#undef ALLOW
};

static const struct allowed allowed[] = {
#define FORBID(name)
#define ALLOW(set, name) { SANDBOX_##set, SCMP_SYS(name) },
#include "engine/sandbox.def"
#undef FORBID
#undef ALLOW
};

static int set_limit(int which, rlim_t most)
{
	struct rlimit l;

	if (getrlimit((__rlimit_resource_t)which, &l))
		return -errno;
	if (l.rlim_max > most)
		l.rlim_max = most;
	if (l.rlim_cur > l.rlim_max)
		l.rlim_cur = l.rlim_max;
	return setrlimit((__rlimit_resource_t)which, &l) ? -errno : 0;
}

int sandbox_limits(unsigned files)
{
	int r = set_limit(RLIMIT_CORE, 0);

	return r ? r : set_limit(RLIMIT_NOFILE, files);
}

int sandbox_privileges(void)
{
	bool bounds;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_ALL);
	return capng_apply(bounds ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

int sandbox_namespaces(bool read_only)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };

	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (read_only ? CLONE_NEWNS : 0)))
		return -errno;
	if (!read_only)
		return 0;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)))
		return -errno;
	return 0;
}

/* A filter that is made: the first error stays, and nothing is added behind it. */
struct filter {
	scmp_filter_ctx rules;
	int error;
};

static struct filter filter_new(uint32_t otherwise)
{
	struct filter f = { .rules = seccomp_init(otherwise) };

	if (!f.rules)
		f.error = -ENOMEM;
	return f;
}

/* @if_arg: of one argument; NULL: whatever they are. */
static void add(struct filter *f, uint32_t action, int call, const struct scmp_arg_cmp *if_arg)
{
	if (!f->error)
		f->error = seccomp_rule_add_array(f->rules, action, call, if_arg ? 1 : 0, if_arg);
}

/* Loads it and lets go of it. */
static int load(struct filter *f)
{
	if (!f->error)
		f->error = seccomp_attr_set(f->rules, SCMP_FLTATR_CTL_NNP, 1);
	if (!f->error)
		f->error = seccomp_load(f->rules);
	seccomp_release(f->rules);
	return f->error;
}

int sandbox_forbid(void)
{
	struct filter f = filter_new(SCMP_ACT_ALLOW);

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		add(&f, SCMP_ACT_ERRNO(EPERM), forbidden[i], NULL);
	add(&f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), &SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
	add(&f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), NULL);
	for (unsigned bit = 0; bit < 32; bit++) {
		uint64_t flag = UINT64_C(1) << bit;

		if (NEW_NAMESPACES & flag)
			add(&f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone),
			    &SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
	}
	return load(&f);
}

int sandbox_allow_only(enum sandbox_set set)
{
	struct filter f;

#ifdef SANDBOX_SANITIZED
	return 0;
#endif
	if (HOLDFAST_COVERAGE)
		return 0;
	f = filter_new(SCMP_ACT_ERRNO(EPERM));
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (allowed[i].set == set)
			add(&f, SCMP_ACT_ALLOW, allowed[i].call, NULL);
	/* mmap and mprotect without PROT_EXEC; signals to this process only. */
	add(&f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), &SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	add(&f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), &SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	add(&f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill),
	    &SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	/* The slice of the calling thread (engine/slice.h), nobody else's. */
	add(&f, SCMP_ACT_ALLOW, SCMP_SYS(sched_getattr), &SCMP_A0(SCMP_CMP_EQ, 0, 0));
	add(&f, SCMP_ACT_ALLOW, SCMP_SYS(sched_setattr), &SCMP_A0(SCMP_CMP_EQ, 0, 0));
	return load(&f);
}
