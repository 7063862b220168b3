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
#include <unistd.h>

/* More than the partition takes to end its children. */
enum { POWER_OFF_SECONDS = 10 };

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

static int request(const char *state, const struct control_request *rq, struct control_reply *reply)
{
	int s = control_connect(state), r;

	if (s < 0)
		return 1;
	r = control_call(s, rq, -1, reply, NULL);
	close(s);
	if (r == 0 && reply->status == 0)
		return 0;
	fprintf(stderr, "holdfast: %s: %s\n", state,
		r < 0 ? strerror(-r) : reply->text[0] ? reply->text : strerror((int)reply->status));
	return 1;
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
	r = request(state, &rq, &reply);
	if (r == 0)
		printf("killed pid=%u inflight=%llu\n", reply.pid, (unsigned long long)reply.value);
	return r;
}
