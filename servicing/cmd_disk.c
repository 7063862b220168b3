/* `holdfast disk`: disks and media of a running guest come, go and grow.
 *
 * The file is opened and checked here; its descriptor goes to the partition, so
 * that nothing is opened by path by anybody who serves the guest. The answer
 * comes from the paravisor, after the guest's last request on what was taken. */
#include "servicing/commands.h"
#include "servicing/control_client.h"
#include "servicing/disk_option.h"
#include "servicing/options.h"
#include "servicing/run_config.h"
#include "statemachines/disk.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 3 }; /* what to do; where; with what */

struct arguments {
	const char *state;
	bool force;
	char *word[WORDS_MAX];
	int n;
};

static int parse(int argc, char **argv, struct arguments *a)
{
	int option;

	while ((option = command_option(argc, argv)) != -1) {
		if (option == 's')
			a->state = optarg;
		else if (option == 'f')
			a->force = true;
		else
			return 2;
	}
	for (; optind < argc && a->n < WORDS_MAX; optind++)
		a->word[a->n++] = argv[optind];
	return a->n && optind == argc ? 0 : command_usage("disk");
}

static int call(const struct arguments *a, struct control_request *rq, int fd)
{
	struct control_reply reply;
	int s = control_connect(a->state), r;

	if (s < 0)
		return 1;
	r = control_call(s, rq, fd, &reply, NULL);
	close(s);
	if (r == 0 && reply.status == 0) {
		printf("%s\n", reply.text);
		return 0;
	}
	fprintf(stderr, "holdfast: disk: %s: %s\n", a->state,
		r < 0 ? strerror(-r) : reply.text[0] ? reply.text : strerror((int)reply.status));
	return 1;
}

static int notice(const struct arguments *a, uint32_t op, uint32_t arg, uint64_t value)
{
	struct control_request rq;

	control_request_init(&rq, CONTROL_NOTICE);
	rq.notice.op = op;
	rq.notice.arg = arg;
	rq.notice.value = value;
	return call(a, &rq, -1);
}

/* ---- with a file ---------------------------------------------------------- */

static int send_file(const struct arguments *a, const struct disk_option *o, uint32_t op)
{
	const char *name = o->path ? o->path : "-";
	struct control_request rq;
	struct rec_disk_config dc;
	int fd, r;

	if (disk_option_open("disk", o, &dc, &fd) < 0)
		return 1;
	control_request_init(&rq, CONTROL_DISK);
	rq.notice.op = op;
	memcpy(rq.notice.data, &dc, sizeof(dc));
	snprintf((char *)rq.notice.data + sizeof(dc), LIMIT_PATH, "%s", name);
	rq.notice.bytes = (uint32_t)(sizeof(dc) + strnlen(name, LIMIT_PATH - 1));
	r = call(a, &rq, fd);
	if (fd >= 0)
		close(fd);
	return r;
}

static int add(const struct arguments *a)
{
	struct disk_option o;
	int r;

	if (a->n != 2)
		return command_usage("disk");
	r = disk_option_parse("disk add", a->word[1], &o);
	return r ? r : send_file(a, &o, OP_DISK_ADD);
}

static int insert(const struct arguments *a)
{
	struct disk_option o = { .read_only = true, .optical = true,
				 .block_bytes = DISK_OPTICAL_BLOCK };
	int r;

	if (a->n != 3)
		return command_usage("disk");
	o.path = a->word[2];
	r = disk_option_place("disk insert", a->word[1], &o.controller, &o.lun);
	return r ? r : send_file(a, &o, OP_DISK_INSERT);
}

/* ---- without -------------------------------------------------------------- */

static int place(const char *what, const char *text, uint32_t *ret)
{
	unsigned controller, lun;
	int r = disk_option_place(what, text, &controller, &lun);

	*ret = r ? 0 : controller << 16 | lun;
	return r;
}

/* CONTROLLER:LUN, or CONTROLLER and all that is behind it. */
static int take_away(const struct arguments *a)
{
	const char *text = a->word[1];
	unsigned controller;
	uint32_t at;
	int r;

	if (a->n != 2)
		return command_usage("disk");
	if (disk_option_controller(text, &controller))
		return notice(a, OP_CONTROLLER_REMOVE, controller, 0);
	r = place("disk remove", text, &at);
	return r ? r : notice(a, OP_DISK_REMOVE, at, 0);
}

static int eject(const struct arguments *a)
{
	uint32_t at;
	int r;

	if (a->n != 2)
		return command_usage("disk");
	r = place("disk eject", a->word[1], &at);
	return r ? r : notice(a, OP_DISK_EJECT, at, a->force);
}

/* A figure, or a file that has the size. */
static int size_of(const char *text, uint64_t *ret)
{
	int fd, r;

	if (run_config_size(text, ret) == 0)
		return 0;
	fd = open(text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	r = fd < 0 ? -errno : disk_option_size(fd, ret);
	if (fd >= 0)
		close(fd);
	if (r < 0)
		fprintf(stderr, "holdfast: disk resize %s: neither a size (20G) nor a file that has "
				"it\n", text);
	return r < 0;
}

static int resize(const struct arguments *a)
{
	uint64_t bytes;
	uint32_t at;
	int r;

	if (a->n != 3)
		return command_usage("disk");
	r = place("disk resize", a->word[1], &at);
	if (r)
		return r;
	return size_of(a->word[2], &bytes) ? 2 : notice(a, OP_RESIZE, at, bytes);
}

int cmd_disk(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct arguments *a);
	} verbs[] = {
		{ "add", add }, { "remove", take_away }, { "resize", resize }, { "eject", eject },
		{ "insert", insert },
	};
	struct arguments a = { .state = NULL };
	int r = parse(argc, argv, &a);

	if (r)
		return r;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(a.word[0], verbs[i].name) == 0)
			return verbs[i].run(&a);
	return command_usage("disk");
}
