/* `holdfast service`, `holdfast rollback`: hand a new executable to the
 * partition by descriptor, and wait for the servicing machine's report; or tell
 * that machine to take the last one back, or to commit it. Whatever the file can
 * have wrong is refused here, before anything changes. */
#include "servicing/commands.h"
#include "servicing/options.h"

#include "engine/fact.h"
#include "servicing/control_client.h"
#include "servicing/identity.h"
#include "servicing/service_report.h"
#include "statemachines/records.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VOTING_TURNS = 256, PROBATION_S = 10 };

struct arguments {
	const char *state, *to;
	struct rec_service_ask ask;
	char expected[900];           /* names, NUL-terminated each */
	size_t expected_bytes;
	uint64_t level;               /* of --commit */
	bool json, rollback, commit;
};

/* ---- arguments ---------------------------------------------------------------------- */

static int expect(struct arguments *a, const char *name)
{
	size_t n = strlen(name) + 1;

	if (a->expected_bytes + n > sizeof(a->expected)) {
		fprintf(stderr, "holdfast: service: too many --expect-difference\n");
		return 2;
	}
	memcpy(a->expected + a->expected_bytes, name, n);
	a->expected_bytes += n;
	return 0;
}

static int seconds(const char *option, const char *text, uint64_t *ret_ns)
{
	char *end;
	double s = strtod(text, &end);

	if (end != text && *end == '\0' && s >= 0 && s * 1e9 <= (double)LIMIT_SERVICE_NS) {
		*ret_ns = (uint64_t)(s * 1e9);
		return 0;
	}
	fprintf(stderr, "holdfast: service: --%s %s: give seconds, up to a day\n", option, text);
	return 2;
}

static int number(const char *option, const char *text, uint64_t *ret)
{
	unsigned long long n;
	int r = command_number("service", option, text, INT64_MAX, &n);

	*ret = n;
	return r;
}

static int take_option(struct arguments *a, int option, const char *value)
{
	switch (option) {
	case 's':
		a->state = value;
		return 0;
	case 't':
		a->to = value;
		return 0;
	case 'e':
		return expect(a, value);
	case 'n':
		return number("follow-events", value, &a->ask.follow_events);
	case 'f':
		return seconds("follow-seconds", value, &a->ask.follow_ns);
	case 'v':
		return number("voting", value, &a->ask.voting);
	case 'p':
		return seconds("probation", value, &a->ask.probation_ns);
	case 'r':
		a->rollback = true;
		return 0;
	case 'c':
		a->commit = true;
		return 0;
	case 'l':
		return number("level", value, &a->level);
	case 'j':
		a->json = true;
		return 0;
	default:
		return 2;
	}
}

static int parse(struct arguments *a, int argc, char **argv)
{
	int option, r;

	*a = (struct arguments){ .ask = { .voting = VOTING_TURNS,
					  .probation_ns = PROBATION_S * 1000000000ull },
				  .level = WIRE_LEVEL_HIGHEST };
	while ((option = command_option(argc, argv)) != -1) {
		r = take_option(a, option, optarg);
		if (r)
			return r;
	}
	if (a->ask.probation_ns == 0)
		a->ask.voting = 0;
	if (optind == argc && !(a->to && a->rollback) && (a->to || a->rollback != a->commit))
		return 0;
	fprintf(stderr, "holdfast: service: give --to FILE, --rollback or --commit\n");
	return 2;
}

/* ---- the executable ------------------------------------------------------------------- */

static const char *wrong_file(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return "not a regular file";
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return "no execute permission; chmod +x it";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others can write it; chmod go-w it";
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "it belongs to another user, who can write it; copy it";
	return NULL;
}

static const char *wrong_program(int fd, struct identity *ret)
{
	switch (identity_read(fd, ret)) {
	case 0:
		return NULL;
	case IDENTITY_E_MACHINE:
		return "made for another architecture than this one";
	case IDENTITY_E_ELF:
		return "not an ELF executable, so not a holdfast";
	default:
		return "not a holdfast: it has no note that says so";
	}
}

/* What it cannot do for this VM. */
static bool can_serve(const struct identity *i, const struct custody *c, char why[160])
{
	uint32_t level = atomic_load(&c->h->level);

	if (i->wire != c->h->version)
		snprintf(why, 160, "%s speaks wire version %u, the VM's partition %u", i->build,
			 i->wire, c->h->version);
	else if (i->level < level)
		snprintf(why, 160, "%s serves level %u at most, and level %u was committed; "
			 "there is no way back across a commit", i->build, i->level, level);
	else if (i->channels != c->h->channels || i->requests != c->h->requests ||
		 i->vps < c->h->vps)
		snprintf(why, 160, "%s was built for %u channels, %u requests, %u processors; "
			 "the VM has %u, %u, %u", i->build, i->channels, i->requests, i->vps,
			 c->h->channels, c->h->requests, c->h->vps);
	else if (i->codec != identity_own()->codec)
		snprintf(why, 160, "%s reads state format %u, the VM's is %u", i->build, i->codec,
			 identity_own()->codec);
	else
		return true;
	return false;
}

/* The executable is run by descriptor; who could change it under us is refused.
 * -EINVAL: refused, and said. */
static int open_executable(const struct arguments *a)
{
	struct identity identity;
	char text[160] = "";
	struct custody c;
	const char *why;
	int fd = open(a->to, O_RDONLY | O_CLOEXEC);

	why = fd < 0 ? strerror(errno) : wrong_file(fd, a->to);
	if (!why)
		why = wrong_program(fd, &identity);
	if (!why && control_custody(a->state, &c) == 0) {
		if (!can_serve(&identity, &c, text))
			why = text;
		custody_detach(&c);
	} else if (!why) {
		close(fd);
		return -ENOENT;
	}
	if (!why)
		return fd;
	fprintf(stderr, "holdfast: --to %s: %s\n", a->to, why);
	if (fd >= 0)
		close(fd);
	return -EINVAL;
}

/* ---- requests -------------------------------------------------------------------------- */

static int ask(const char *state, const struct control_request *rq, int fd,
	       struct control_reply *reply)
{
	int s = control_connect(state), r;

	if (s < 0)
		return 1;
	r = control_call(s, rq, fd, reply, NULL);
	close(s);
	if (r == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: the partition did not answer (%s); see partition.log there\n",
		state, strerror(-r));
	return 1;
}

static int replace(const struct arguments *a)
{
	struct control_request rq;
	struct control_reply reply;
	int fd = open_executable(a), r;

	if (fd < 0)
		return 1;
	control_request_init(&rq, CONTROL_SERVICE);
	rq.notice.op = OP_SERVICE;
	rq.notice.value = a->commit ? WIRE_SERVICE_COMMIT : 0;
	memcpy(rq.notice.data, &a->ask, sizeof(a->ask));
	memcpy(rq.notice.data + sizeof(a->ask), a->expected, a->expected_bytes);
	rq.notice.bytes = (uint32_t)(sizeof(a->ask) + a->expected_bytes);
	r = ask(a->state, &rq, fd, &reply);
	close(fd);
	if (r)
		return r;
	service_report(a->state, &reply, a->json);
	return reply.status ? 1 : 0;
}

/* An order to the servicing machine, and its answer. */
static int order(const char *state, enum wire_operator op, uint64_t value)
{
	struct control_request rq;
	struct control_reply reply;
	int r;

	control_request_init(&rq, CONTROL_NOTICE);
	rq.notice.op = op;
	rq.notice.value = value;
	r = ask(state, &rq, -1, &reply);
	if (r)
		return r;
	if (reply.status)
		fprintf(stderr, "holdfast: %s: %s\n", state,
			reply.text[0] ? reply.text : strerror((int)reply.status));
	else
		printf("%s\n", reply.text);
	return reply.status ? 1 : 0;
}

int cmd_service(int argc, char **argv)
{
	struct arguments a;
	int r = parse(&a, argc, argv);

	if (r)
		return r;
	if (a.to)
		return replace(&a);
	return a.rollback ? order(a.state, OP_ROLLBACK, 0) : order(a.state, OP_COMMIT, a.level);
}

int cmd_rollback(int argc, char **argv)
{
	const char *state = NULL;
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option != 's')
			return 2;
		state = optarg;
	}
	if (optind != argc)
		return command_usage("rollback");
	return order(state, OP_ROLLBACK, 0);
}
