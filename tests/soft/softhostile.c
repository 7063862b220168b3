/* tests/soft/softhostile.c - one honest client and many attackers in one guest.
 *
 *   softhostile [seed=N] [count=N] [seconds=N] [phases=N] [victim=LUN] [depth=N]
 *               [region=BYTES] [patience=S] [attackers=BITS] [report=FILE] [synic]
 *               [states=N] [busy=N] [end]
 *
 * Calm: the client does verified I/O on the primary channel for `seconds`. Busy, for
 * `busy` seconds: the same beside as many threads as there will be attackers, which
 * only compute: what is slower then is the guest's own doing. Then it goes on until
 * the attackers (attack.h) have struck `count` times. Then, `phases` times: CONTACT,
 * UNLOAD and everything else in the midst of its I/O, the connection is made anew, and
 * the client verifies again; in between `states` cycles of attack_state.h, while nobody
 * else has the connection. `victim` is a LUN that attackers may write (0: none).
 * `synic`: SynIC registers of processors but the first, so that these read no
 * messages; `end`: ports that end the VM.
 *
 * One line of JSON; exit status 0 only if the client saw nothing wrong, every
 * question was answered, and this program was started once (a reset of the VM
 * would start it again: FILE.started tells). */
#include "tests/soft/attack_state.h"
#include "tests/soft/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	RING_BYTES = 64 << 10,
	BLOCK_BYTES = 4096,
	POLL_US = 5000,
	CHAOS_US = 300000,
	SETTLE_US = 200000,
	NOBODY = 0x7ffffff0, /* a GPADL handle that nobody uses */
	LOST_AFTER_CHAOS_S = 1,
	LOST_S = 30,
	RUNS = 3,
	FOR_EVER = 1 << 20,
	ATTACKERS = 4,
};

struct hostile {
	uint64_t seed, count, seconds, phases, victim, depth, region, patience, attackers,
		states, busy_seconds;
	bool end, synic;
	const char *report;
	struct attack attack;
	struct guestscsi_disk disk;
	/* Sums over all workloads that had to go well. */
	uint64_t ops, verified, mismatches, failed, lost, doubles, malformed, errors;
	struct tally_histogram calm, busy, attacked;
	uint64_t gap_calm_ns, gap_attacked_ns;
	uint32_t reconnected;
	bool restarted, chaos;
	int error;
	const char *step;
};

static struct hostile hostile = {
	.seed = 1, .count = 100000, .seconds = 3, .phases = 2, .depth = 16,
	.states = 40, .region = 8 << 20, .patience = 60, .attackers = ATTACKER_ALL,
};

static bool failed(int error, const char *step)
{
	if (error == 0 || hostile.error != 0)
		return hostile.error != 0;
	hostile.error = error;
	hostile.step = step;
	fprintf(stderr, "softhostile: %s: %d (%s)\n", step, error,
		error < 0 ? strerror(-error) : "see above");
	return true;
}

static double us(uint64_t ns)
{
	return (double)ns / 1e3;
}

/* ---- the honest client ------------------------------------------------------------------ */

struct client {
	struct workload *workload;
	pthread_t thread;
	_Atomic bool over;
	int error;
};

static void *run_client(void *argument)
{
	struct client *client = argument;

	client->error = workload_run(client->workload);
	atomic_store(&client->over, true);
	return NULL;
}

static int start_client(struct client *client, uint32_t seconds, uint32_t lost_s)
{
	const struct workload_options options = {
		.stamped = true,
		.read_back = lost_s == LOST_S,
		.depth = (uint32_t)hostile.depth,
		.block_bytes = BLOCK_BYTES,
		.seconds = seconds,
		.region = hostile.region,
		.flush_every = 64,
		.lost_s = lost_s,
	};
	int error;

	*client = (struct client){.error = 0};
	error = workload_make(hostile.attack.scsi, &hostile.disk, &options, &client->workload);
	return error ? error : -pthread_create(&client->thread, NULL, run_client, client);
}

static void join_client(struct client *client, struct tally_histogram *histogram,
			uint64_t *ret_gap)
{
	const struct workload_result *result;

	pthread_join(client->thread, NULL);
	failed(client->error, "the client's I/O");
	result = workload_result(client->workload);
	hostile.ops += result->latency.count;
	hostile.verified += result->verified;
	hostile.mismatches += result->mismatches;
	hostile.failed += result->failed;
	hostile.lost += result->lost + result->stalled;
	if (histogram)
		tally_merge(histogram, &result->latency);
	for (uint32_t i = 0; i < result->gaps.kept && i < 4; i++)
		fprintf(stderr, "softhostile: gap of %.1f ms, ended at %.3f s\n",
			us(result->gaps.gap[i].length) / 1e3, us(result->gaps.gap[i].end) / 1e6);
	if (ret_gap && result->gaps.kept && result->gaps.gap[0].length > *ret_gap)
		*ret_gap = result->gaps.gap[0].length;
}

static void take_faults(void)
{
	struct guestscsi_faults *faults = guestscsi_faults(hostile.attack.scsi);

	hostile.doubles += atomic_load(&faults->doubles);
	hostile.malformed += atomic_load(&faults->malformed);
	hostile.errors += atomic_load(&faults->errors);
}

static bool connect_client(void)
{
	struct attack *attack = &hostile.attack;

	if (failed(softvm_attach(&SOFTVM_FDS, &attack->vm), "attach") ||
	    failed(guestbus_connect(attack->vm, (uint32_t)hostile.patience, &attack->bus),
		   "connect") ||
	    failed(guestscsi_open(attack->bus, 0, 1, RING_BYTES, &attack->scsi), "open"))
		return false;
	attack->pool = NULL;
	attack->shielded = 0;
	return !failed(guestscsi_probe(attack->scsi, 0, &hostile.disk), "find the disk");
}

/* ---- phases ------------------------------------------------------------------------------- */

static void calm(uint32_t seconds)
{
	struct client client;

	if (failed(start_client(&client, seconds, LOST_S), "start the client"))
		return;
	join_client(&client, &hostile.calm, &hostile.gap_calm_ns);
}

static void *compute(void *argument)
{
	_Atomic bool *over = argument;

	while (!atomic_load(over))
		;
	return NULL;
}

static void busy(uint32_t seconds)
{
	_Atomic bool over = false;
	pthread_t thread[ATTACKERS];
	unsigned n = 0;
	struct client client;

	if (failed(start_client(&client, seconds, LOST_S), "start the client"))
		return;
	while (n < ATTACKERS && pthread_create(&thread[n], NULL, compute, &over) == 0)
		n++;
	failed(n < ATTACKERS ? -EAGAIN : 0, "start threads that compute");
	join_client(&client, &hostile.busy, NULL);
	atomic_store(&over, true);
	while (n > 0)
		pthread_join(thread[--n], NULL);
}

static void under_attack(void)
{
	struct attack *attack = &hostile.attack;
	struct client client;

	attack->contacts = false;
	attack->attackers = (uint32_t)hostile.attackers;
	if (softvm_vps(attack->vm) == 1)
		attack->attackers &= ~(uint32_t)ATTACKER_RINGS; /* no sub-channels */
	if (failed(start_client(&client, FOR_EVER, LOST_S), "start the client") ||
	    failed(attack_start(attack), "start the attackers"))
		return;
	while (attack_total(attack) < hostile.count && !atomic_load(&client.over))
		usleep(POLL_US);
	attack_stop(attack);
	workload_stop(client.workload);
	join_client(&client, &hostile.attacked, &hostile.gap_attacked_ns);
}

static int post(const void *message, uint32_t bytes)
{
	const uint64_t since = softvm_now_ns();
	uint16_t status = 0;
	int error;

	do {
		error = softvm_post(hostile.attack.vm, 0, 4, message, bytes, &status);
		if (error > 0)
			usleep(1000);
		if (softvm_now_ns() - since > hostile.patience * UINT64_C(1000000000))
			return -ETIMEDOUT;
	} while (error > 0 && (status == 0x0B || status == 0x12 || status == 0x13));
	return error;
}

/* After the chaos nobody knows where the connection is. Messages are answered in
 * order: when an answer has come that names a handle of our own, all before it
 * has. */
static int settle(void)
{
	const struct bus_initiate initiate = {.header.type = BUS_INITIATE, .version = 5 << 16 | 3};
	const struct bus_header offers = {.type = BUS_REQUEST_OFFERS};
	int error;

	error = post(&initiate, sizeof(initiate));
	usleep(SETTLE_US);
	if (!error)
		error = post(&offers, sizeof(offers));
	usleep(SETTLE_US);
	return error ? error
		     : guestbus_gpadl_teardown(guestscsi_bus_channel(hostile.attack.scsi, 0), NOBODY);
}

static void take_down(void)
{
	struct attack *attack = &hostile.attack;
	struct client client;

	take_faults();
	if (failed(start_client(&client, FOR_EVER, LOST_AFTER_CHAOS_S), "start the client"))
		return;
	usleep(SETTLE_US);
	attack->contacts = true;
	attack->attackers = ATTACKER_MESSAGES | ATTACKER_EXITS;
	if (failed(attack_start(attack), "start the attackers"))
		return;
	usleep(CHAOS_US);
	attack_stop(attack);
	workload_stop(client.workload);
	pthread_join(client.thread, NULL); /* its channel went: it could not end well */
	if (failed(settle(), "find the connection again") ||
	    failed(guestbus_disconnect(attack->bus), "unload"))
		return;
	softvm_detach(attack->vm);
	if (hostile.states && failed(attack_states(attack, hostile.states), "every state"))
		return;
	hostile.reconnected++;
	if (connect_client())
		calm(1);
}

/* ---- report ---------------------------------------------------------------------------------- */

static bool is_good(void)
{
	return hostile.error == 0 && hostile.mismatches + hostile.failed + hostile.lost +
						     hostile.doubles + hostile.malformed +
						     hostile.errors ==
					     0 &&
	       atomic_load(&hostile.attack.unanswered) == 0 && !hostile.restarted;
}

static void tell(FILE *out)
{
	fprintf(out,
		"{\"mode\":\"hostile\",\"ok\":%s,\"step\":\"%s\",\"error\":%d,\"seed\":%" PRIu64
		",\"attacks\":%" PRIu64 ",\"by_kind\":{",
		is_good() ? "true" : "false", hostile.step ? hostile.step : "", hostile.error,
		hostile.seed, attack_total(&hostile.attack));
	for (unsigned i = 0; i < ATTACK_KINDS; i++)
		fprintf(out, "%s\"%s\":%" PRIu64, i ? "," : "", attack_kind_name(i),
			atomic_load(&hostile.attack.n[i]));
	fputs("},\"by_type\":[", out);
	for (unsigned i = 0; i < ATTACK_TYPES; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : "", atomic_load(&hostile.attack.by_type[i]));
	fprintf(out,
		"],\"good\":{\"ops\":%" PRIu64 ",\"verified\":%" PRIu64 ",\"mismatches\":%" PRIu64
		",\"failed\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"doubles\":%" PRIu64
		",\"malformed\":%" PRIu64 ",\"errors\":%" PRIu64,
		hostile.ops, hostile.verified, hostile.mismatches, hostile.failed, hostile.lost,
		hostile.doubles, hostile.malformed, hostile.errors);
	fprintf(out,
		",\"p50_calm_us\":%.1f,\"p99_calm_us\":%.1f,\"p50_busy_us\":%.1f"
		",\"p99_busy_us\":%.1f,\"p50_attacked_us\":%.1f"
		",\"p99_attacked_us\":%.1f,\"gap_calm_us\":%.1f,\"gap_attacked_us\":%.1f}",
		us(tally_quantile(&hostile.calm, 500)), us(tally_quantile(&hostile.calm, 990)),
		us(tally_quantile(&hostile.busy, 500)), us(tally_quantile(&hostile.busy, 990)),
		us(tally_quantile(&hostile.attacked, 500)),
		us(tally_quantile(&hostile.attacked, 990)), us(hostile.gap_calm_ns),
		us(hostile.gap_attacked_ns));
	fprintf(out, ",\"unanswered\":%" PRIu64 ",\"reconnected\":%u,\"resets\":%u}\n",
		atomic_load(&hostile.attack.unanswered), hostile.reconnected, hostile.restarted);
}

static int save(void)
{
	FILE *file;

	tell(stdout);
	fflush(stdout);
	if (!hostile.report)
		return 0;
	file = fopen(hostile.report, "we");
	if (!file)
		return -errno;
	tell(file);
	return fclose(file) == 0 ? 0 : -EIO;
}

/* ---- arguments ----------------------------------------------------------------------------------- */

static int take_word(const char *word)
{
	static const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{"seed=", &hostile.seed},	{"count=", &hostile.count},
		{"seconds=", &hostile.seconds}, {"phases=", &hostile.phases},
		{"victim=", &hostile.victim},	{"depth=", &hostile.depth},
		{"region=", &hostile.region},	{"patience=", &hostile.patience},
		{"attackers=", &hostile.attackers}, {"states=", &hostile.states},
		{"busy=", &hostile.busy_seconds},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const size_t n = strlen(numbers[i].name);
		char *end;

		if (strncmp(word, numbers[i].name, n) != 0)
			continue;
		*numbers[i].value = strtoull(word + n, &end, 0);
		return end != word + n && *end == '\0' ? 0 : -EINVAL;
	}
	if (strncmp(word, "report=", 7) == 0)
		hostile.report = word + 7;
	else if (strcmp(word, "synic") == 0)
		hostile.synic = true;
	else if (strcmp(word, "end") == 0)
		hostile.end = true;
	else if (strcmp(word, "hostile") != 0)
		return -EINVAL;
	return 0;
}

/* True when the VM was reset: this file is there already. */
static bool was_started_before(void)
{
	char path[4096];
	int fd;

	if (!hostile.report)
		return false;
	snprintf(path, sizeof(path), "%s.started", hostile.report);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST;
	close(fd);
	return false;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (take_word(argv[i]) == 0 || i == 0)
			continue;
		fprintf(stderr, "softhostile: %s: not understood\n", argv[i]);
		return 2;
	}
	hostile.attack.seed = hostile.seed;
	hostile.attack.victim = (uint8_t)hostile.victim;
	hostile.attack.synic = hostile.synic;
	hostile.attack.ports_that_end = hostile.end;
	hostile.restarted = was_started_before();
	if (!hostile.restarted && connect_client()) {
		calm((uint32_t)hostile.seconds);
		if (!hostile.error && hostile.busy_seconds)
			busy((uint32_t)hostile.busy_seconds);
		if (!hostile.error)
			under_attack();
		for (uint64_t i = 0; i < hostile.phases && !hostile.error; i++)
			take_down();
		if (hostile.attack.scsi)
			take_faults();
	}
	failed(save(), "write the report");
	_exit(is_good() ? 0 : 1);
}
