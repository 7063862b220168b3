/* tests/soft/arguments.c - NAME=VALUE words and flags. Each mode sets its own
 * defaults before the words are read; a word that is not known is an error. */
#include "tests/soft/arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20 };

static const char *const MODES[] = {
	[MODE_LOAD] = "load",		[MODE_BENCH] = "bench",
	[MODE_IDLE] = "idle",		[MODE_ONE_READ] = "one-read",
	[MODE_ONE_WRITE] = "one-write", [MODE_ONE_MESSAGE] = "one-message",
	[MODE_IC] = "ic",
};
enum { N_MODES = sizeof(MODES) / sizeof(MODES[0]) };

void arguments_usage(FILE *file)
{
	fputs("usage: softload MODE [NAME=VALUE]... [FLAG]...\n"
	      "  load         stamped blocks, every read checked; bench: figures only\n"
	      "  idle         connect, open, wait `seconds` (0: for ever)\n"
	      "  ic           answer shutdown, heartbeat, timesync until asked to shut down; no disk\n"
	      "  one-read, one-write, one-message: one operation between two OUTs to port 0x500\n"
	      "  disk=0 controller=0 controllers=1 channels=1 (or threads=; of each) depth=32\n"
	      "  bs=4096 offset=0 ring=128K\n"
	      "  seconds=10 or ops=N; until=FILE: or that FILE is there; region=64M (bench: the disk) mix=rw|read|write flush=256 "
	      "(bench: 0)\n"
	      "  churn=MS     a channel message that often; lost=30 s; patience=120 s\n"
	      "  poison=MS    so long after the start a command of operation code 0xDE on the last\n"
	      "               channel, which may be rescinded for it; poisons=1: on so many channels;\n"
	      "               poison_from=FILE: counted from when that FILE is there;\n"
	      "               poison_how=0: its second byte (0 dies in the action, 1 loops there, 2 is answered)\n"
	      "  spoil        poison is a write index outside the ring: the channel is rescinded\n"
	      "  reset=MS     so long after the load began the VM is reset, once\n"
	      "  kind=gpadl|teardown|modify|open (one-message)\n"
	      "  report=FILE  the JSON line, and FILE.generations for softchk\n"
	      "  verify       read everything back at the end (load: always); serial: line to COM1 "
	      "too\n",
	      file);
}

static int parse_number(const char *text, uint64_t *ret_value)
{
	char *end;
	uint32_t shift = 0;

	errno = 0;
	*ret_value = strtoull(text, &end, 0);
	if (errno != 0 || end == text || *text == '-')
		return -EINVAL;
	if (*end == 'K' || *end == 'k')
		shift = 10;
	else if (*end == 'M' || *end == 'm')
		shift = 20;
	else if (*end == 'G' || *end == 'g')
		shift = 30;
	if (end[shift != 0] != '\0' || *ret_value > UINT64_MAX >> shift)
		return -EINVAL;
	*ret_value <<= shift;
	return 0;
}

struct number {
	const char *name;
	uint64_t low, high;
	uint32_t *small; /* one of the three */
	uint64_t *large;
	uint8_t *byte;
};

/* 0: done; 1: no such name; -EINVAL. */
static int set_number(struct arguments *a, const char *name, size_t length, const char *value)
{
	const struct number numbers[] = {
		{"disk", 0, 63, NULL, NULL, &a->load.lun},
		{"controller", 0, 63, &a->controller, NULL, NULL},
		{"controllers", 1, GUESTSCSI_CHANNELS, &a->controllers, NULL, NULL},
		{"channels", 1, GUESTSCSI_CHANNELS, &a->channels, NULL, NULL},
		{"threads", 1, GUESTSCSI_CHANNELS, &a->channels, NULL, NULL},
		{"depth", 1, GUESTSCSI_TAGS - 8, &a->load.depth, NULL, NULL},
		{"bs", 512, 65536, &a->load.block_bytes, NULL, NULL},
		{"offset", 0, 3584, &a->load.offset, NULL, NULL},
		{"ring", 4096, 2 * MIB, &a->ring_bytes, NULL, NULL},
		{"seconds", 0, 1000000, &a->load.seconds, NULL, NULL},
		{"ops", 1, UINT64_MAX, NULL, &a->load.ops, NULL},
		{"region", 4096, UINT64_MAX, NULL, &a->load.region, NULL},
		{"flush", 0, UINT32_MAX, &a->load.flush_every, NULL, NULL},
		{"churn", 0, 1000000, &a->load.churn_ms, NULL, NULL},
		{"poison", 0, 1000000, &a->load.poison_ms, NULL, NULL},
		{"poison_how", 0, 255, &a->load.poison_how, NULL, NULL},
		{"poisons", 1, 8, &a->load.poisons, NULL, NULL},
		{"lost", 1, 3600, &a->load.lost_s, NULL, NULL},
		{"reset", 0, 1000000, &a->reset_ms, NULL, NULL},
		{"patience", 5, 36000, &a->patience_s, NULL, NULL},
	};
	uint64_t number;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strncmp(numbers[i].name, name, length) != 0 || numbers[i].name[length] != '\0')
			continue;
		if (parse_number(value, &number) < 0 || number < numbers[i].low ||
		    number > numbers[i].high)
			return -EINVAL;
		if (numbers[i].small)
			*numbers[i].small = (uint32_t)number;
		else if (numbers[i].large)
			*numbers[i].large = number;
		else
			*numbers[i].byte = (uint8_t)number;
		return 0;
	}
	return 1;
}

static int choice(const char *value, const char *const *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(value, names[i]) == 0)
			return (int)i;
	return -EINVAL;
}

static int set_word(struct arguments *a, const char *word)
{
	static const char *const mixes[] = {"rw", "read", "write"};
	static const char *const kinds[] = {"modify", "gpadl", "teardown", "open"};
	const char *value = strchr(word, '=');
	int chosen;

	if (!value) {
		a->serial = a->serial || strcmp(word, "serial") == 0;
		a->load.spoil = a->load.spoil || strcmp(word, "spoil") == 0;
		return strcmp(word, "serial") == 0 || strcmp(word, "verify") == 0 ||
				       strcmp(word, "spoil") == 0
			       ? 0 : -EINVAL;
	}
	value++;
	if (strncmp(word, "report=", 7) == 0) {
		a->report = value;
		return 0;
	}
	if (strncmp(word, "until=", 6) == 0) {
		a->load.until = value;
		return 0;
	}
	if (strncmp(word, "poison_from=", 12) == 0) {
		a->load.poison_from = value;
		return 0;
	}
	if (strncmp(word, "mix=", 4) == 0) {
		chosen = choice(value, mixes, 3);
		a->load.mix = (enum workload_mix)chosen;
		return chosen < 0 ? chosen : 0;
	}
	if (strncmp(word, "kind=", 5) == 0) {
		chosen = choice(value, kinds, 4);
		a->open_message = chosen == 3;
		a->message = (enum single_message)chosen;
		return chosen < 0 ? chosen : 0;
	}
	chosen = set_number(a, word, (size_t)(value - 1 - word), value);
	return chosen == 1 ? -EINVAL : chosen;
}

static void set_defaults(struct arguments *a, enum mode mode)
{
	*a = (struct arguments){
		.mode = mode,
		.mode_name = MODES[mode],
		.channels = 1,
		.controllers = 1,
		.ring_bytes = 128 << 10,
		.patience_s = 120,
		.message = SINGLE_GPADL,
		.load =
			{
				.depth = 32,
				.block_bytes = 4096,
				.lost_s = 30,
				.poisons = 1,
				.stamped = mode == MODE_LOAD,
				.read_back = mode == MODE_LOAD,
				.region = mode == MODE_LOAD ? 64 * MIB : 0,
				.flush_every = mode == MODE_LOAD ? 256 : 0,
			},
	};
}

static int finish(struct arguments *a, bool seconds_given)
{
	const char *why = NULL;

	if (!seconds_given && a->load.ops == 0 && a->mode != MODE_IDLE)
		a->load.seconds = a->mode == MODE_IC ? 60 : 10;
	if (a->load.offset % 512 != 0)
		why = "offset: a multiple of 512 expected";
	else if (a->load.block_bytes % 512 != 0)
		why = "bs: a multiple of 512 expected";
	else if (a->ring_bytes % 4096 != 0)
		why = "ring: a multiple of 4096 expected";
	else if ((a->mode == MODE_LOAD || a->mode == MODE_BENCH) && a->load.seconds == 0 &&
		 a->load.ops == 0)
		why = "seconds=0 needs ops=N";
	if (!why)
		return 0;
	fprintf(stderr, "softload: %s\n", why);
	return -EINVAL;
}

int arguments_parse(int argc, char **argv, struct arguments *ret_arguments)
{
	bool seconds_given = false;
	int mode = -EINVAL, at = 0;

	for (; at < argc && at < 2 && mode < 0; at++)
		mode = choice(argv[at], MODES, N_MODES);
	if (mode < 0) {
		fputs("softload: a mode is missing\n", stderr);
		return -EINVAL;
	}
	set_defaults(ret_arguments, (enum mode)mode);
	for (; at < argc; at++) {
		if (set_word(ret_arguments, argv[at]) < 0) {
			fprintf(stderr, "softload: '%s': not known, or its value is out of range\n",
				argv[at]);
			return -EINVAL;
		}
		seconds_given = seconds_given || strncmp(argv[at], "seconds=", 8) == 0;
	}
	return finish(ret_arguments, seconds_given);
}
