/* tests/soft/softload.c - the native guest: connects, opens a SCSI controller,
 * does what its mode says, takes everything down again, and tells what it saw.
 *
 * It ends with one line of JSON, on standard output and in report=FILE. "ok" is
 * true, and the exit status 0, only if nothing was lost, doubled, different from
 * what was written, refused or malformed, and every step up to UNLOAD was
 * answered. Exit status 2: wrong usage. A run that was given up leaves its
 * channels as they are: the server may still write to their memory. */
#include "tests/soft/arguments.h"
#include "tests/soft/guestic.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MSR_RESET = 0x40000003, SERIAL_PORT = 0x3f8, RELEASE_MS = 2000, PATH_MAX_BYTES = 4096 };
enum { IC_BEATS = 3, IC_OFF_NS = 2000000000 }; /* what a good run of `ic` has seen */

struct run {
	struct arguments arguments;
	struct softvm *vm;
	struct guestbus *bus;
	struct guestscsi *scsi;
	struct guestscsi_disk disk;
	struct workload *workload;
	struct single_result single;
	struct guestic *ic;
	struct guestic_result components;
	/* Copied before the bus goes. */
	uint64_t unexpected, malformed, stray_flags, ring[3];
	uint32_t channels, kept;
	int error;
	const char *step; /* that failed */
};

static bool failed(struct run *run, int error, const char *step)
{
	if (error == 0 || run->error != 0)
		return run->error != 0;
	run->error = error;
	run->step = step;
	fprintf(stderr, "softload: %s: %s\n", step,
		error < 0		      ? strerror(-error)
		: error == GUESTBUS_RESCINDED ? "a channel was rescinded"
					      : "refused, see above");
	return true;
}

/* ---- what is told ----------------------------------------------------------------- */

static bool components_good(const struct run *run)
{
	const struct guestic_result *r = &run->components;

	return r->shutdown && r->shutdown_version && r->heartbeat_version && r->timesync_version &&
	       r->beats >= IC_BEATS && r->syncs > 0 && r->worst_ns < IC_OFF_NS && r->malformed == 0;
}

static bool is_good(const struct run *run)
{
	const struct workload_result *load = run->workload ? workload_result(run->workload) : NULL;
	struct guestscsi_faults *scsi = run->scsi ? guestscsi_faults(run->scsi) : NULL;
	uint64_t faults = run->unexpected + run->malformed + run->single.mismatches;

	if (load)
		faults += load->mismatches + load->failed + load->lost + load->stalled;
	if (scsi)
		faults += atomic_load(&scsi->doubles) + atomic_load(&scsi->malformed) +
			  atomic_load(&scsi->errors) - (load ? load->refused : 0);
	return run->error == 0 && faults == 0 && (!run->ic || components_good(run));
}

static void tell_gaps(FILE *out, const struct workload_result *load)
{
	fputs(",\"gaps\":[", out);
	for (uint32_t i = 0; i < load->gaps.kept; i++)
		fprintf(out, "%s{\"end_ns\":%" PRIu64 ",\"us\":%" PRIu64 "}", i ? "," : "",
			load->gaps.gap[i].end, load->gaps.gap[i].length / 1000);
	fputc(']', out);
}

static void tell_load(FILE *out, const struct workload_result *load)
{
	const uint64_t ops = load->latency.count;
	const uint64_t ms = load->load_ns / 1000000;

	fprintf(out,
		",\"run\":\"%016" PRIx64 "\",\"ms\":%" PRIu64 ",\"ops\":%" PRIu64
		",\"iops\":%" PRIu64,
		load->run, ms, ops, ms ? ops * 1000 / ms : 0);
	fprintf(out,
		",\"reads\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"flushes\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"again\":%" PRIu64,
		load->reads, load->writes, load->flushes, load->bytes, load->again);
	fprintf(out,
		",\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%."
		"1f}",
		(double)tally_quantile(&load->latency, 500) / 1e3,
		(double)tally_quantile(&load->latency, 900) / 1e3,
		(double)tally_quantile(&load->latency, 990) / 1e3,
		(double)tally_quantile(&load->latency, 999) / 1e3, (double)load->latency.max / 1e3);
	fprintf(out,
		",\"verified\":%" PRIu64 ",\"mismatches\":%" PRIu64 ",\"failed\":%" PRIu64
		",\"lost\":%" PRIu64 ",\"late\":%" PRIu64 ",\"stalled\":%s,\"churned\":%" PRIu64,
		load->verified, load->mismatches, load->failed, load->lost, load->late,
		load->stalled ? "true" : "false", load->churned);
	fprintf(out, ",\"poisoned\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"rescinded\":%" PRIu64,
		load->poisoned, load->refused, load->rescinded);
	fprintf(out, ",\"gap_max_us\":%" PRIu64 ",\"gap_channel_max_us\":%" PRIu64,
		load->gaps.kept ? load->gaps.gap[0].length / 1000 : 0, load->gap_channel_ns / 1000);
	tell_gaps(out, load);
}

static void tell_components(FILE *out, const struct guestic_result *r)
{
	fprintf(out,
		",\"shutdown_version\":\"%u.%u\",\"heartbeat_version\":\"%u.%u\""
		",\"timesync_version\":\"%u.%u\"",
		r->shutdown_version >> 16, r->shutdown_version & 0xffff,
		r->heartbeat_version >> 16, r->heartbeat_version & 0xffff,
		r->timesync_version >> 16, r->timesync_version & 0xffff);
	fprintf(out,
		",\"beats\":%" PRIu64 ",\"syncs\":%" PRIu64 ",\"samples\":%" PRIu64
		",\"worst_us\":%" PRId64 ",\"shutdown\":%s,\"ic_malformed\":%" PRIu64,
		r->beats, r->syncs, r->samples, r->worst_ns / 1000, r->shutdown ? "true" : "false",
		r->malformed);
}

static void tell_counters(FILE *out, struct run *run)
{
	struct softvm_counters *vm = softvm_counters(run->vm);

	fprintf(out,
		",\"unexpected\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"stray_flags\":%" PRIu64
		",\"unreleased\":%u",
		run->unexpected, run->malformed, run->stray_flags, run->kept);
	fprintf(out,
		",\"vp_calls\":%" PRIu64 ",\"interrupts\":%" PRIu64 ",\"messages\":%" PRIu64
		",\"signals\":%" PRIu64 ",\"strays\":%" PRIu64,
		atomic_load(&vm->calls), atomic_load(&vm->interrupts), atomic_load(&vm->messages),
		atomic_load(&vm->doors), atomic_load(&vm->strays));
	if (run->scsi) {
		struct guestscsi_faults *scsi = guestscsi_faults(run->scsi);

		fprintf(out,
			",\"doubles\":%" PRIu64 ",\"bad_replies\":%" PRIu64 ",\"errors\":%" PRIu64
			",\"busy\":%" PRIu64 ",\"attention\":%" PRIu64 ",\"unsolicited\":%" PRIu64,
			atomic_load(&scsi->doubles), atomic_load(&scsi->malformed),
			atomic_load(&scsi->errors), atomic_load(&scsi->busy),
			atomic_load(&scsi->attention), atomic_load(&scsi->unsolicited));
	}
	fprintf(out, ",\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"ring_full\":%" PRIu64,
		run->ring[0], run->ring[1], run->ring[2]);
}

static char *tell(struct run *run)
{
	const struct arguments *a = &run->arguments;
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	fprintf(out,
		"{\"mode\":\"%s\",\"ok\":%s,\"step\":\"%s\",\"error\":%d,\"disk\":%u,\"vps\":%u"
		",\"channels\":%u,\"depth\":%u,\"bs\":%u",
		a->mode_name, is_good(run) ? "true" : "false", run->step ? run->step : "",
		run->error, a->load.lun, softvm_vps(run->vm), run->channels, a->load.depth,
		a->load.block_bytes);
	if (run->workload)
		tell_load(out, workload_result(run->workload));
	else if (run->ic)
		tell_components(out, &run->components);
	else
		fprintf(out, ",\"mismatches\":%" PRIu64 ",\"single_us\":%.1f",
			run->single.mismatches, (double)run->single.latency_ns / 1e3);
	tell_counters(out, run);
	fputs("}\n", out);
	return fclose(out) == 0 ? text : NULL;
}

static int save(const struct run *run, const char *line)
{
	const char *path = run->arguments.report;
	char other[PATH_MAX_BYTES];
	FILE *file;
	bool good;
	int error = 0;

	if (run->workload && run->arguments.load.stamped) {
		snprintf(other, sizeof(other), "%s.generations", path);
		error = workload_save(run->workload, other);
	}
	if (error)
		return error;
	snprintf(other, sizeof(other), "%s.new", path);
	file = fopen(other, "we");
	if (!file)
		return -errno;
	good = fputs(line, file) >= 0;
	if (fclose(file) != 0 || !good)
		return -EIO;
	return rename(other, path) < 0 ? -errno : 0;
}

static int report(struct run *run)
{
	char *line = tell(run);
	int status = is_good(run) ? 0 : 1;

	if (!line)
		return 1;
	if (run->arguments.report) {
		const int error = save(run, line);

		if (error) {
			fprintf(stderr, "softload: %s: %s\n", run->arguments.report,
				strerror(-error));
			status = 1;
		}
	}
	fputs(line, stdout);
	fflush(stdout);
	for (const char *c = line; run->arguments.serial && *c != '\0'; c++)
		softvm_out(run->vm, 0, SERIAL_PORT, 1, (uint8_t)*c);
	free(line);
	return status;
}

/* ---- what is done ------------------------------------------------------------------ */

static void run_load(struct run *run)
{
	const int error =
		workload_make(run->scsi, &run->disk, &run->arguments.load, &run->workload);

	if (!failed(run, error, "prepare the load"))
		failed(run, workload_run(run->workload), "load");
}

/* RAM outlives a reset: the first life leaves a word in what no life is given. */
static bool is_first_life(struct run *run)
{
	const uint64_t pfn = 1;
	_Atomic uint64_t *lives = softvm_view(run->vm, &pfn, 1);

	return lives && atomic_fetch_add(lives, 1) == 0;
}

/* It gets no answer: this process ends where it stands. */
static void *reset(void *context)
{
	struct run *run = context;

	usleep(run->arguments.reset_ms * 1000);
	softvm_wrmsr(run->vm, 0, MSR_RESET, 1);
	return NULL;
}

static void reset_later(struct run *run)
{
	pthread_t thread;

	if (run->arguments.reset_ms && is_first_life(run))
		failed(run, -pthread_create(&thread, NULL, reset, run), "begin the reset");
}

static void run_mode(struct run *run)
{
	const struct arguments *a = &run->arguments;

	switch (a->mode) {
	case MODE_LOAD:
	case MODE_BENCH:
		reset_later(run);
		run_load(run);
		break;
	case MODE_IDLE:
		do
			sleep(a->load.seconds ? a->load.seconds : UINT32_MAX);
		while (a->load.seconds == 0);
		break;
	case MODE_ONE_READ:
	case MODE_ONE_WRITE:
		failed(run,
		       single_transfer(run->scsi, &run->disk, a->load.lun, 0,
				       a->mode == MODE_ONE_WRITE, &run->single),
		       a->mode_name);
		break;
	case MODE_ONE_MESSAGE:
		if (!a->open_message)
			failed(run, single_message(run->scsi, a->message, &run->single),
			       a->mode_name);
		break;
	case MODE_IC:
		failed(run, guestic_wait(run->ic, a->load.seconds), "wait for a shutdown");
		break;
	}
}

static void set_up(struct run *run)
{
	const struct arguments *a = &run->arguments;

	if (failed(run, guestbus_connect(run->vm, a->patience_s, &run->bus), "connect"))
		return;
	if (a->mode == MODE_IC) {
		failed(run, guestic_open(run->bus, &run->ic), "open the components");
		return;
	}
	if (a->mode == MODE_ONE_MESSAGE && a->open_message &&
	    failed(run, single_open(run->bus, a->controller, a->ring_bytes, &run->single),
		   "one-message"))
		return;
	if (failed(run,
		   guestscsi_open(run->bus, a->controller, a->channels, a->ring_bytes, &run->scsi),
		   "open the controller"))
		return;
	for (uint32_t i = 1; i < a->controllers; i++)
		if (failed(run,
			   guestscsi_join(run->scsi, a->controller + i, a->channels, a->ring_bytes),
			   "open one more controller"))
			return;
	run->channels = guestscsi_channels(run->scsi);
	failed(run, guestscsi_probe(run->scsi, a->load.lun, &run->disk), "find the disk");
}

static int close_channels(struct run *run)
{
	return run->ic ? guestic_close(run->ic) : guestscsi_close(run->scsi);
}

static void take_down(struct run *run)
{
	struct guestbus_faults *faults = run->bus ? guestbus_faults(run->bus) : NULL;

	if (run->scsi && run->channels)
		guestscsi_ring_counts(run->scsi, run->ring);
	if (run->ic)
		run->components = guestic_result(run->ic);
	if (!run->error && !failed(run, close_channels(run), "close the channels"))
		failed(run, guestbus_release(run->bus, RELEASE_MS, &run->kept),
		       "release the channels");
	if (!faults)
		return;
	run->unexpected = atomic_load(&faults->unexpected);
	run->malformed = atomic_load(&faults->malformed);
	run->stray_flags = atomic_load(&faults->stray_flags);
	if (!run->error)
		failed(run, guestbus_disconnect(run->bus), "unload");
}

int main(int argc, char **argv)
{
	static struct run run;
	int error;

	if (arguments_parse(argc, argv, &run.arguments) < 0) {
		arguments_usage(stderr);
		return 2;
	}
	error = softvm_attach(&SOFTVM_FDS, &run.vm);
	if (error) {
		fprintf(stderr, "softload: not started by a partition: %s\n", strerror(-error));
		return 2;
	}
	set_up(&run);
	if (!run.error)
		run_mode(&run);
	take_down(&run);
	_exit(report(&run));
}
