/* `holdfast service`: hand a new executable to the partition by descriptor and
 * wait for the servicing machine's report. Whatever the file can have wrong is
 * refused here, before anything changes. */
#include "servicing/commands.h"
#include "servicing/options.h"

#include "engine/fact.h"
#include "servicing/control_client.h"

#include <cjson/cJSON.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct arguments {
	const char *state, *to;
	char expected[900];           /* names, NUL-terminated each */
	size_t expected_bytes;
	bool json;
};

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

static int parse(struct arguments *a, int argc, char **argv)
{
	int option, r;

	*a = (struct arguments){ 0 };
	while ((option = command_option(argc, argv)) != -1) {
		switch (option) {
		case 's':
			a->state = optarg;
			break;
		case 't':
			a->to = optarg;
			break;
		case 'e':
			r = expect(a, optarg);
			if (r)
				return r;
			break;
		case 'j':
			a->json = true;
			break;
		default:
			return 2;
		}
	}
	return optind == argc ? 0 : command_usage("service");
}

/* The executable is run by descriptor; who could change it under us is refused. */
static int open_executable(const char *path)
{
	Elf64_Ehdr eh;
	struct stat st;
	const char *why = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		why = strerror(errno);
	else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		why = "not a regular file";
	else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		why = "no execute permission; chmod +x it";
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		why = "others can write it; chmod go-w it";
	else if (pread(fd, &eh, sizeof(eh), 0) != (ssize_t)sizeof(eh) ||
		 memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		why = "not an ELF executable";
	else if (eh.e_machine != EM_X86_64)
		why = "made for another architecture";
	if (!why)
		return fd;
	fprintf(stderr, "holdfast: --to %s: %s\n", path, why);
	if (fd >= 0)
		close(fd);
	return -EINVAL;
}

/* What custody says of the take-over that this servicing was. */
struct outcome {
	bool known;
	char build[32];
	uint32_t epoch;
	uint64_t gap_ns, inflight;
};

static struct outcome outcome_of(const char *state)
{
	struct outcome o = { 0 };
	struct custody c;
	uint64_t n;

	if (control_custody(state, &c) < 0)
		return o;
	n = atomic_load(&c.stats->n_gaps);
	if (n) {
		uint64_t last = (n - 1) % ARRAY_LEN(c.stats->gap);

		o.known = true;
		snprintf(o.build, sizeof(o.build), "%.31s", c.stats->gap[last].build);
		o.epoch = c.stats->gap[last].epoch;
		o.gap_ns = c.stats->gap[last].gap_ns;
		o.inflight = c.stats->gap[last].inflight;
	}
	custody_detach(&c);
	return o;
}

static void print_json(const struct control_reply *reply, const struct outcome *out)
{
	cJSON *o = cJSON_CreateObject();
	char *text;

	cJSON_AddNumberToObject(o, "status", reply->status);
	cJSON_AddStringToObject(o, "text", reply->text);
	if (out->known) {
		cJSON_AddStringToObject(o, "build", out->build);
		cJSON_AddNumberToObject(o, "epoch", out->epoch);
		cJSON_AddNumberToObject(o, "ring_service_gap_ms", (double)out->gap_ns / 1e6);
		cJSON_AddNumberToObject(o, "inflight", (double)out->inflight);
	}
	text = cJSON_PrintUnformatted(o);
	printf("%s\n", text);
	free(text);
	cJSON_Delete(o);
}

static void print_result(const struct arguments *a, const struct control_reply *reply)
{
	struct outcome o = { 0 };

	if (reply->status == 0)
		o = outcome_of(a->state);
	if (a->json)
		print_json(reply, &o);
	else if (reply->status == 0 && o.known)
		printf("replaced build=%s epoch=%u gap_ms=%.3f inflight=%llu\n", o.build, o.epoch,
		       (double)o.gap_ns / 1e6, (unsigned long long)o.inflight);
	if (reply->status)
		fprintf(stderr, "holdfast: not replaced, the old one goes on: %s\n",
			reply->text[0] ? reply->text : strerror((int)reply->status));
}

int cmd_service(int argc, char **argv)
{
	struct control_request rq;
	struct control_reply reply;
	struct arguments a;
	int fd, s, r = parse(&a, argc, argv);

	if (r)
		return r;
	fd = open_executable(a.to);
	if (fd < 0)
		return 1;
	s = control_connect(a.state);
	if (s < 0)
		return 1;
	control_request_init(&rq, CONTROL_SERVICE);
	rq.notice.op = OP_SERVICE;
	rq.notice.bytes = (uint32_t)a.expected_bytes;
	memcpy(rq.notice.data, a.expected, a.expected_bytes);
	r = control_call(s, &rq, fd, &reply, NULL);
	close(s);
	close(fd);
	if (r < 0) {
		fprintf(stderr, "holdfast: %s: the partition did not answer (%s)\n", a.state,
			strerror(-r));
		return 1;
	}
	print_result(&a, &reply);
	return reply.status ? 1 : 0;
}
