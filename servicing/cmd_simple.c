/* Commands that are one request: console, shutdown, kill. */
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/console_client.h"
#include "servicing/control_client.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* More than the partition takes to end its children. */
enum { POWER_OFF_SECONDS = 10 };

/* A guest that does I/O has a request in flight long before the first; looking
 * that often finds requests of a tenth of a millisecond. */
enum { INFLIGHT_SECONDS = 10, INFLIGHT_LOOK_NS = 50000 };

/* --state and one flag. 0, or an exit status. */
static int arguments(int argc, char **argv, const char **ret_state, bool *ret_flag)
{
	int option;

	*ret_state = NULL;
	*ret_flag = false;
	while ((option = command_option(argc, argv)) != -1) {
		if (option == 's')
			*ret_state = optarg;
		else if (option == 'f')
			*ret_flag = true;
		else
			return 2;
	}
	return optind == argc ? 0 : command_usage(argv[0]);
}

/* 0, or 1 after saying why. */
static int judge(const char *state, int r, const struct control_reply *reply)
{
	if (r == 0 && reply->status == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: %s\n", state,
		r < 0 ? strerror(-r) : reply->text[0] ? reply->text : strerror((int)reply->status));
	return 1;
}

static int request(const char *state, const struct control_request *rq, struct control_reply *reply)
{
	int s = control_connect(state), r;

	if (s < 0)
		return 1;
	r = control_call(s, rq, -1, reply, NULL);
	close(s);
	return judge(state, r, reply);
}

int cmd_console(int argc, char **argv)
{
	const char *state;
	bool unused;
	int r = arguments(argc, argv, &state, &unused);

	return r ? r : console_run(state, false, &unused);
}

/* Cuts the power and returns when everything the VM held is free. */
static int power_off_and_wait(const char *state)
{
	const struct timeval most = { .tv_sec = POWER_OFF_SECONDS };
	struct control_request rq;
	struct control_reply reply;
	int s = control_connect(state), r;

	if (s < 0)
		return 1;
	control_request_init(&rq, CONTROL_WAIT);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	r = send(s, &rq, sizeof(rq), MSG_NOSIGNAL) < 0;
	control_request_init(&rq, CONTROL_END);
	r |= request(state, &rq, &reply);
	if (r == 0 && recv(s, &reply, sizeof(reply), 0) < 0 && errno == EAGAIN) {
		fprintf(stderr, "holdfast: %s: the VM does not end; see partition.log there\n", state);
		r = 1;
	}
	close(s);
	return r;
}

int cmd_shutdown(int argc, char **argv)
{
	struct control_request rq;
	struct control_reply reply;
	const char *state;
	bool power_off;
	int r = arguments(argc, argv, &state, &power_off);

	if (r)
		return r;
	if (power_off)
		return power_off_and_wait(state);
	control_request_init(&rq, CONTROL_NOTICE);
	rq.notice.op = OP_SHUTDOWN;
	r = request(state, &rq, &reply);
	if (r == 0 && reply.text[0])
		printf("%s\n", reply.text);
	return r;
}

/* Asks again until a request is in flight, for INFLIGHT_SECONDS at most. */
static int kill_busy(const char *state, const struct control_request *rq,
		     struct control_reply *reply)
{
	const struct timespec pause = { .tv_nsec = INFLIGHT_LOOK_NS };
	struct timespec now;
	int s = control_connect(state), r;
	time_t end;

	if (s < 0)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + INFLIGHT_SECONDS;
	for (;;) {
		r = control_call(s, rq, -1, reply, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (r || reply->status != EAGAIN || now.tv_sec >= end)
			break;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	close(s);
	return judge(state, r, reply);
}

int cmd_kill(int argc, char **argv)
{
	struct control_request rq;
	struct control_reply reply;
	const char *state;
	bool inflight;
	int r = arguments(argc, argv, &state, &inflight);

	if (r)
		return r;
	control_request_init(&rq, CONTROL_KILL);
	rq.arg = inflight;
	r = inflight ? kill_busy(state, &rq, &reply) : request(state, &rq, &reply);
	if (r == 0)
		printf("killed pid=%u inflight=%llu\n", reply.pid, (unsigned long long)reply.value);
	return r;
}
