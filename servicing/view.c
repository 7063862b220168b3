/* The read-only follower behind `inspect`. A difference between what the owner
 * did and what this build computes is no reason to stop looking. */
#include "servicing/view.h"

#include "servicing/control_client.h"
#include "servicing/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ATTEMPTS = 5 };

static bool look_on(void *user, const struct divergence *d)
{
	(void)user;
	(void)d;
	return true;
}

/* Starts at the newest checkpoint. */
static int begin(struct view *v)
{
	char why[160] = "";
	int r = follow_begin(&v->f, &v->c, &program_codec, program_fresh, 0, why);

	if (r < 0)
		fprintf(stderr, "holdfast: cannot load the VM's newest checkpoint: %s; "
			"use the holdfast that serves it\n", why);
	else if (v->f.cut.refused[0] || v->f.cut.refused[1])
		fprintf(stderr, "holdfast: %s; it was changed behind the owner's back: passed over\n",
			why);
	return r;
}

int view_update(struct view *v)
{
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		int r = follow_run(&v->f, UINT64_MAX);

		if (r == FOLLOW_OK)
			return 0;
		if (r == FOLLOW_E_DAMAGED) {
			fprintf(stderr, "holdfast: the log does not hold together at position %llu; "
				"keep the VM and report this\n",
				(unsigned long long)v->f.reader.position);
			return -EBADMSG;
		}
		r = begin(v);
		if (r < 0)
			return r;
	}
	fprintf(stderr, "holdfast: the VM writes its log faster than it can be read here; "
		"try again\n");
	return -EAGAIN;
}

int view_open(const char *state_dir, struct view *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = control_custody(state_dir, &ret->c);
	if (r < 0)
		return r;
	ret->world = world_new(&program);
	r = ret->world ? follow_init(&ret->f, ret->world) : -ENOMEM;
	ret->f.differs = look_on;
	if (r == 0)
		r = begin(ret);
	if (r == 0)
		r = view_update(ret);
	if (r < 0)
		view_close(ret);
	return r;
}

void view_close(struct view *v)
{
	if (v->f.pending)
		follow_deinit(&v->f);
	v->world = world_free(v->world);
	custody_detach(&v->c);
}

bool view_exists(const char *dir, const char *name)
{
	char path[4096];

	return (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) < sizeof(path) &&
	       access(path, F_OK) == 0;
}

bool view_alive(const char *state_dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", state_dir);
	bool alive = false;
	int s;

	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return false;
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s < 0)
		return false;
	alive = connect(s, (struct sockaddr *)&a, sizeof(a)) == 0;
	close(s);
	return alive;
}
