/* tests/soft/workload.c - lanes of slots. A lane is a channel; a slot is one
 * request with memory of its own.
 *
 * All of a lane is under its channel's lock: completions come with it held, the
 * main thread takes it to start a phase and to look for lost requests. The
 * arrays by block need no lock of their own: block b belongs to lane b modulo
 * lanes. generation[b] counts writes; it is raised when a write is issued, and
 * `known` says whether the block's content is certain: not while no write
 * succeeded, not after one that failed.
 *
 * A phase ends when nothing is in flight any more. One whose requests do not
 * come back is given up after lost_s without any completion; then the memory is
 * left alone, since the other side may still write to it. */
#include "tests/soft/workload.h"

#include "tests/guest/stamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	HOT_BLOCKS = 16, /* of each lane; half of all stamped requests go there */
	TRIES = 8,
	STEP_US = 2000,
	LOST_SCAN_NS = 250000000,
	TELL_MAX = 8,
	CHURN_PAGES = 40, /* more than one message's worth */
	WIDE_EVERY = 8,	  /* commands with 16 bytes among those with 10 */
};

enum phase { PHASE_FILL, PHASE_LOAD, PHASE_READ_BACK };
enum kind { KIND_READ, KIND_WRITE, KIND_FLUSH };

struct lane;

struct slot {
	struct guestscsi_request request;
	struct lane *lane;
	uint64_t *pfns;
	uint64_t *data;
	uint32_t block;
	enum kind kind;
	bool busy, lost;
};

struct lane {
	struct workload *workload;
	uint32_t index, blocks, cursor, in_flight;
	struct slot *slot;
	uint64_t random, issued, sequence, last;
	bool poisoned, gone; /* gone: its channel was rescinded */
	struct guestscsi_request poison;
	uint64_t reads, writes, flushes, bytes, again, verified, mismatches, failed, late, gap;
	struct tally_histogram latency;
};

struct workload {
	struct guestscsi *scsi;
	struct guestscsi_disk disk;
	struct workload_options options;
	uint32_t lanes, sectors; /* sectors: disk blocks of one block */
	struct lane *lane;
	uint32_t *generation;
	bool *known, *block_busy;
	enum phase phase;
	_Atomic bool stop;
	_Atomic uint64_t issued, completed;
	uint64_t churn_pfn[CHURN_PAGES];
	uint32_t told;
	struct workload_result result;
};

const struct workload_result *workload_result(const struct workload *workload)
{
	return &workload->result;
}

void workload_stop(struct workload *workload)
{
	atomic_store(&workload->stop, true);
}

static uint64_t draw(struct lane *lane)
{
	lane->random += UINT64_C(0x9e3779b97f4a7c15);
	return stamp_mix(lane->random);
}

static uint32_t nth_block(const struct lane *lane, uint32_t n)
{
	return n * lane->workload->lanes + lane->index;
}

/* ---- choosing what to do ----------------------------------------------------- */

static bool pick_free(struct lane *lane, uint32_t *ret_block)
{
	const uint32_t hot = lane->blocks < HOT_BLOCKS ? lane->blocks : HOT_BLOCKS;

	for (uint32_t i = 0; i < TRIES; i++) {
		const uint64_t random = draw(lane);
		const bool warm = lane->workload->options.stamped && random >> 63;
		const uint32_t range = warm ? hot : lane->blocks;

		*ret_block = nth_block(lane, (uint32_t)(random & 0x7fffffff) % range);
		if (!lane->workload->block_busy[*ret_block])
			return true;
	}
	for (uint32_t i = 0; i < lane->blocks; i++) {
		*ret_block = nth_block(lane, i);
		if (!lane->workload->block_busy[*ret_block])
			return true;
	}
	return false;
}

static bool choose_load(struct slot *slot)
{
	struct lane *lane = slot->lane;
	const struct workload *workload = lane->workload;
	const struct workload_options *options = &workload->options;

	if (atomic_load(&workload->stop))
		return false;
	if (options->ops != 0 && atomic_fetch_add(&lane->workload->issued, 1) >= options->ops)
		return false;
	lane->issued++;
	if (options->flush_every != 0 && lane->issued % options->flush_every == 0) {
		slot->kind = KIND_FLUSH;
		return true;
	}
	if (!pick_free(lane, &slot->block))
		return false;
	slot->kind = options->mix == WORKLOAD_WRITE ? KIND_WRITE : KIND_READ;
	if (options->mix == WORKLOAD_RW)
		slot->kind = draw(lane) & 1 ? KIND_WRITE : KIND_READ;
	/* A block nobody wrote proves nothing: write it. */
	if (options->stamped && !workload->known[slot->block])
		slot->kind = KIND_WRITE;
	return true;
}

static bool choose_next(struct slot *slot, enum kind kind)
{
	struct lane *lane = slot->lane;
	const struct workload *workload = lane->workload;

	while (lane->cursor < lane->blocks) {
		slot->block = nth_block(lane, lane->cursor++);
		slot->kind = kind;
		if (kind == KIND_WRITE || workload->known[slot->block])
			return true;
	}
	return false;
}

static bool choose(struct slot *slot)
{
	switch (slot->lane->workload->phase) {
	case PHASE_FILL:
		return choose_next(slot, KIND_WRITE);
	case PHASE_LOAD:
		return choose_load(slot);
	case PHASE_READ_BACK:
		return choose_next(slot, KIND_READ);
	}
	return false;
}

/* ---- issuing ------------------------------------------------------------------ */

static struct stamp stamp_of(const struct slot *slot)
{
	const struct workload *workload = slot->lane->workload;

	return (struct stamp){
		.magic = STAMP_MAGIC,
		.run = workload->result.run,
		.block = slot->block,
		.generation = workload->generation[slot->block],
		.size = workload->options.block_bytes,
		.kind = STAMP_DATA,
	};
}

static void prepare_data(struct slot *slot)
{
	struct workload *workload = slot->lane->workload;
	struct stamp stamp;

	if (slot->kind == KIND_READ) {
		/* So that a read which completes without its data is seen. */
		slot->data[0] = 0;
		return;
	}
	workload->generation[slot->block]++;
	stamp = stamp_of(slot);
	stamp.writer = slot->lane->index;
	stamp.sequence = ++slot->lane->sequence;
	if (workload->options.stamped)
		stamp_fill(slot->data, &stamp);
}

static void issue(struct slot *slot)
{
	struct lane *lane = slot->lane;
	struct workload *workload = lane->workload;
	struct guestscsi_request *request = &slot->request;

	slot->busy = !lane->gone && choose(slot);
	if (!slot->busy)
		return;
	if (slot->kind == KIND_FLUSH) {
		guestscsi_flush_cdb(request);
		request->bytes = 0;
	} else {
		workload->block_busy[slot->block] = true;
		prepare_data(slot);
		request->bytes = workload->options.block_bytes;
		guestscsi_transfer_cdb(request, slot->kind == KIND_WRITE,
				       (uint64_t)slot->block * workload->sectors, workload->sectors,
				       lane->issued % WIDE_EVERY == 0);
	}
	slot->lost = false;
	lane->in_flight++;
	guestscsi_submit_locked(request);
}

/* ---- completions -------------------------------------------------------------- */

static void check_read(struct slot *slot)
{
	struct lane *lane = slot->lane;
	struct workload *workload = lane->workload;
	const struct stamp want = stamp_of(slot);
	struct stamp got;
	enum stamp_fault fault;

	if (!workload->options.stamped)
		return;
	fault = stamp_check(slot->data, &want, &got);
	if (fault == STAMP_GOOD) {
		lane->verified++;
		return;
	}
	lane->mismatches++;
	if (lane->mismatches <= TELL_MAX)
		fprintf(stderr,
			"guest: block %u: %s, generation %" PRIu64 " wanted, %" PRIu64
			" found, at %" PRIu64 " ns\n",
			slot->block, stamp_fault_name(fault), want.generation, got.generation,
			softvm_now_ns());
}

static void account_time(struct slot *slot, uint64_t now)
{
	struct lane *lane = slot->lane;

	if (lane->workload->phase != PHASE_LOAD)
		return;
	tally_add(&lane->latency, now - slot->request.issued_ns);
	tally_gaps_completion(&lane->workload->result.gaps, now);
	if (now - lane->last > lane->gap)
		lane->gap = now - lane->last;
	lane->last = now;
}

static void account(struct slot *slot)
{
	struct lane *lane = slot->lane;
	struct workload *workload = lane->workload;
	const bool good = slot->request.outcome == GUESTSCSI_GOOD;

	lane->failed += !good;
	lane->late += slot->lost;
	switch (slot->kind) {
	case KIND_FLUSH:
		lane->flushes++;
		return;
	case KIND_READ:
		lane->reads++;
		if (good)
			check_read(slot);
		break;
	case KIND_WRITE:
		lane->writes++;
		workload->known[slot->block] = good;
		break;
	}
	lane->bytes += good ? slot->request.transferred : 0;
	workload->block_busy[slot->block] = false;
}

static void on_done(struct guestscsi_request *request)
{
	struct slot *slot = request->context;
	struct lane *lane = slot->lane;

	atomic_fetch_add_explicit(&lane->workload->completed, 1, memory_order_relaxed);
	if (request->outcome == GUESTSCSI_AGAIN) {
		lane->again++;
		guestscsi_submit_locked(request);
		return;
	}
	account_time(slot, softvm_now_ns());
	account(slot);
	lane->in_flight--;
	issue(slot);
}

/* ---- phases ------------------------------------------------------------------- */

static void start_phase(struct workload *workload, enum phase phase)
{
	for (uint32_t i = 0; i < workload->lanes; i++)
		guestscsi_lock(workload->scsi, i);
	workload->phase = phase;
	if (phase == PHASE_LOAD)
		tally_gaps_begin(&workload->result.gaps, softvm_now_ns());
	for (uint32_t i = 0; i < workload->lanes; i++) {
		workload->lane[i].cursor = 0;
		workload->lane[i].last = softvm_now_ns();
	}
	for (uint32_t i = 0; i < workload->lanes; i++) {
		for (uint32_t n = 0; n < workload->options.depth; n++)
			issue(&workload->lane[i].slot[n]);
		guestscsi_unlock(workload->scsi, i);
	}
}

static uint32_t in_flight(struct workload *workload)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < workload->lanes; i++) {
		guestscsi_lock(workload->scsi, i);
		n += workload->lane[i].in_flight;
		guestscsi_unlock(workload->scsi, i);
	}
	return n;
}

static void scan_for_lost(struct workload *workload)
{
	const uint64_t limit = workload->options.lost_s * UINT64_C(1000000000);

	for (uint32_t i = 0; i < workload->lanes; i++) {
		guestscsi_lock(workload->scsi, i);
		for (uint32_t n = 0; n < workload->options.depth; n++) {
			struct slot *slot = &workload->lane[i].slot[n];

			if (!slot->busy || slot->lost ||
			    softvm_now_ns() - slot->request.issued_ns < limit)
				continue;
			slot->lost = true;
			workload->result.lost++;
			if (workload->told++ < TELL_MAX)
				fprintf(stderr,
					"guest: lost: channel %u, id %#" PRIx64
					", issued at %" PRIu64 " ns\n",
					guestscsi_bus_channel(workload->scsi, i)->relid,
					slot->request.id, slot->request.issued_ns);
		}
		guestscsi_unlock(workload->scsi, i);
	}
}

/* One channel message while the load runs: an interrupt's new target, or a list
 * of pages made known and forgotten. */
static int churn(struct workload *workload)
{
	struct guestbus_channel *channel;
	uint32_t lane = (uint32_t)(workload->result.churned % workload->lanes), gpadl;
	int error;

	/* One that is being rescinded answers with a refusal; the first one stays. */
	channel = guestscsi_bus_channel(workload->scsi, workload->lane[lane].poisoned ? 0 : lane);
	if (workload->result.churned++ & 1)
		return guestbus_modify(channel,
				       (channel->vp + 1) % softvm_vps(guestbus_vm(channel->bus)));
	error = guestbus_gpadl_create(channel, workload->churn_pfn, CHURN_PAGES, &gpadl);
	return error ? error : guestbus_gpadl_teardown(channel, gpadl);
}

static void on_poison_done(struct guestscsi_request *request)
{
	struct workload *workload = request->context;

	if (request->outcome == GUESTSCSI_AGAIN)
		guestscsi_submit_locked(request);
	else
		workload->result.refused++;
}

/* No server goes on with such a ring: it takes the channel away. */
static void spoil(struct workload *workload, uint32_t index)
{
	struct guestbus_channel *channel = guestscsi_bus_channel(workload->scsi, index);
	struct guestring_half *out = &channel->ring.out;

	guestscsi_lock(workload->scsi, index);
	workload->lane[index].poisoned = true;
	atomic_store(&out->header->write_index, out->size + 8);
	guestbus_signal(channel);
	guestscsi_unlock(workload->scsi, index);
}

/* A command that no disk knows: in a sabotaged server it ends who executes it. */
static int poison(struct workload *workload)
{
	const uint32_t index = workload->lanes - 1 - (uint32_t)workload->result.poisoned;
	struct lane *lane = &workload->lane[index];
	struct guestscsi_request *request = &lane->poison;
	int error;

	if (workload->options.spoil) {
		workload->result.poisoned++;
		spoil(workload, index);
		return 0;
	}
	*request = (struct guestscsi_request){.cdb = {0xDE, (uint8_t)workload->options.poison_how},
					      .cdb_bytes = 16,
					      .lun = workload->options.lun,
					      .direction = GUESTSCSI_NO_DATA,
					      .done = on_poison_done, .context = workload};
	error = guestscsi_register(workload->scsi, index, request);
	if (error)
		return error;
	workload->result.poisoned++;
	guestscsi_lock(workload->scsi, index);
	lane->poisoned = true;
	guestscsi_submit_locked(request);
	guestscsi_unlock(workload->scsi, index);
	return 0;
}

/* Its requests never end; what its writes left is not known. */
static void abandon(struct workload *workload, struct lane *lane)
{
	guestscsi_lock(workload->scsi, lane->index);
	lane->gone = true;
	workload->result.rescinded++;
	guestscsi_abandon_locked(workload->scsi, lane->index);
	for (uint32_t n = 0; n < workload->options.depth; n++) {
		struct slot *slot = &lane->slot[n];

		if (slot->busy && slot->kind == KIND_WRITE)
			workload->known[slot->block] = false;
		slot->busy = false;
	}
	lane->in_flight = 0;
	guestscsi_unlock(workload->scsi, lane->index);
}

/* A channel that was poisoned may be rescinded; its lane then stands still. */
static bool is_rescinded(struct workload *workload)
{
	for (uint32_t i = 0; i < workload->lanes; i++) {
		struct lane *lane = &workload->lane[i];

		if (lane->gone || !atomic_load(&guestscsi_bus_channel(workload->scsi, i)->rescinded))
			continue;
		if (!lane->poisoned)
			return true;
		abandon(workload, lane);
	}
	return false;
}

struct watch {
	uint64_t begin, completed, progress, scanned, churned;
	uint64_t poison; /* the first one is counted from then; 0: not yet known */
};

static bool is_poison_due(const struct workload *workload, struct watch *watch, uint64_t now)
{
	const struct workload_options *options = &workload->options;
	const uint64_t nth = workload->result.poisoned + 1;

	if (options->poison_ms == 0 || nth > options->poisons)
		return false;
	if (watch->poison == 0 && !options->poison_from)
		watch->poison = watch->begin;
	else if (watch->poison == 0 && access(options->poison_from, F_OK) == 0)
		watch->poison = now;
	return watch->poison != 0 &&
	       now - watch->poison >= nth * options->poison_ms * UINT64_C(1000000);
}

/* One look at a running phase: true while it goes on. */
static bool watch_step(struct workload *workload, struct watch *watch, int *ret_error)
{
	const struct workload_options *options = &workload->options;
	const uint64_t now = softvm_now_ns();
	const uint64_t completed = atomic_load(&workload->completed);

	if (completed != watch->completed) {
		watch->completed = completed;
		watch->progress = now;
	}
	if (workload->phase == PHASE_LOAD && options->seconds != 0 &&
	    now - watch->begin >= options->seconds * UINT64_C(1000000000))
		atomic_store(&workload->stop, true);
	if (workload->phase == PHASE_LOAD && options->until && access(options->until, F_OK) == 0)
		atomic_store(&workload->stop, true);
	if (now - watch->scanned >= LOST_SCAN_NS) {
		scan_for_lost(workload);
		watch->scanned = now;
	}
	if (workload->phase == PHASE_LOAD && options->churn_ms != 0 &&
	    !atomic_load(&workload->stop) &&
	    now - watch->churned >= options->churn_ms * UINT64_C(1000000)) {
		watch->churned = now;
		*ret_error = churn(workload);
	}
	if (workload->phase == PHASE_LOAD && is_poison_due(workload, watch, now))
		*ret_error = poison(workload);
	if (!*ret_error && is_rescinded(workload))
		*ret_error = GUESTBUS_RESCINDED;
	if (now - watch->progress > (options->lost_s + 1) * UINT64_C(1000000000))
		workload->result.stalled = true;
	return !*ret_error && !workload->result.stalled && in_flight(workload) > 0;
}

static int run_phase(struct workload *workload, enum phase phase)
{
	const uint64_t now = softvm_now_ns();
	struct watch watch = {.begin = now, .progress = now, .scanned = now, .churned = now};
	int error = 0;

	start_phase(workload, phase);
	while (watch_step(workload, &watch, &error))
		usleep(STEP_US);
	if (phase == PHASE_LOAD) {
		workload->result.load_ns = softvm_now_ns() - watch.begin;
		if (workload->result.stalled)
			tally_gaps_completion(&workload->result.gaps, softvm_now_ns());
	}
	return error ? error : workload->result.stalled ? -ETIMEDOUT : 0;
}

static void sum_up(struct workload *workload)
{
	struct workload_result *result = &workload->result;

	for (uint32_t i = 0; i < workload->lanes; i++) {
		const struct lane *lane = &workload->lane[i];

		guestscsi_lock(workload->scsi, i);
		result->reads += lane->reads;
		result->writes += lane->writes;
		result->flushes += lane->flushes;
		result->bytes += lane->bytes;
		result->again += lane->again;
		result->verified += lane->verified;
		result->mismatches += lane->mismatches;
		result->failed += lane->failed;
		result->late += lane->late;
		tally_merge(&result->latency, &lane->latency);
		if (lane->gap > result->gap_channel_ns)
			result->gap_channel_ns = lane->gap;
		guestscsi_unlock(workload->scsi, i);
	}
}

static int flush(struct workload *workload)
{
	struct guestscsi_request *request = calloc(1, sizeof(*request));
	int error;

	if (!request)
		return -ENOMEM;
	request->lun = workload->options.lun;
	guestscsi_flush_cdb(request);
	error = guestscsi_register(workload->scsi, 0, request);
	return error ? error : guestscsi_execute(workload->scsi, request);
}

int workload_run(struct workload *workload)
{
	const struct workload_options *options = &workload->options;
	int error = 0;

	if (options->stamped && options->mix == WORKLOAD_READ)
		error = run_phase(workload, PHASE_FILL);
	if (!error)
		error = run_phase(workload, PHASE_LOAD);
	if (!error && options->stamped && options->read_back)
		error = run_phase(workload, PHASE_READ_BACK);
	if (!error && options->mix != WORKLOAD_READ)
		error = flush(workload);
	sum_up(workload);
	return error;
}

/* ---- making ------------------------------------------------------------------- */

static int make_slot(struct lane *lane, struct slot *slot)
{
	struct workload *workload = lane->workload;
	const struct workload_options *options = &workload->options;
	const uint32_t pages =
		(options->offset + options->block_bytes + SOFTVM_PAGE - 1) / SOFTVM_PAGE;
	struct softvm *vm = guestbus_vm(guestscsi_bus_channel(workload->scsi, 0)->bus);
	uint8_t *view;
	int error;

	slot->lane = lane;
	slot->pfns = calloc(pages, sizeof(*slot->pfns));
	if (!slot->pfns)
		return -ENOMEM;
	error = softvm_pages(vm, pages, slot->pfns);
	if (error)
		return error;
	view = softvm_view(vm, slot->pfns, pages);
	if (!view)
		return -ENOMEM;
	slot->data = (uint64_t *)(void *)(view + options->offset);
	slot->request.pfns = slot->pfns;
	slot->request.offset = options->offset;
	slot->request.lun = options->lun;
	slot->request.done = on_done;
	slot->request.context = slot;
	return guestscsi_register(workload->scsi, lane->index, &slot->request);
}

static int make_lane(struct workload *workload, uint32_t index)
{
	struct lane *lane = &workload->lane[index];
	int error = 0;

	lane->workload = workload;
	lane->index = index;
	lane->blocks = (uint32_t)(workload->result.blocks / workload->lanes);
	lane->random = stamp_mix(workload->result.run + index);
	lane->slot = calloc(workload->options.depth, sizeof(*lane->slot));
	if (!lane->slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < workload->options.depth && !error; i++)
		error = make_slot(lane, &lane->slot[i]);
	return error;
}

static int check_options(struct workload *workload)
{
	const struct workload_options *options = &workload->options;
	const uint64_t disk_bytes = workload->disk.blocks * workload->disk.block_bytes;
	uint64_t region = options->region != 0 ? options->region : disk_bytes;
	const char *why = NULL;

	if (region > disk_bytes)
		region = disk_bytes;
	workload->result.blocks = region / options->block_bytes / workload->lanes * workload->lanes;
	workload->sectors = options->block_bytes / workload->disk.block_bytes;
	if (options->block_bytes % workload->disk.block_bytes != 0)
		why = "bs is no multiple of the disk's block";
	else if (options->block_bytes > guestscsi_max_transfer(workload->scsi))
		why = "bs is more than the server transfers at once";
	else if (workload->result.blocks / workload->lanes < 2ull * options->depth)
		why = "region has fewer than two blocks for each request in flight";
	else if (options->poison_ms != 0 && options->poisons >= workload->lanes)
		why = "poison needs a channel that stays";
	else if (workload->result.blocks > UINT32_MAX / 2)
		why = "region has too many blocks";
	if (!why)
		return 0;
	fprintf(stderr, "guest: %s\n", why);
	return -EINVAL;
}

int workload_make(struct guestscsi *scsi, const struct guestscsi_disk *disk,
		  const struct workload_options *options, struct workload **ret_workload)
{
	struct workload *workload = calloc(1, sizeof(*workload));
	int error;

	if (!workload)
		return -ENOMEM;
	workload->scsi = scsi;
	workload->disk = *disk;
	workload->options = *options;
	workload->lanes = guestscsi_channels(scsi);
	if (getrandom(&workload->result.run, sizeof(workload->result.run), 0) < 0)
		return -errno;
	error = check_options(workload);
	if (error)
		return error;
	workload->lane = calloc(workload->lanes, sizeof(*workload->lane));
	workload->generation = calloc(workload->result.blocks, sizeof(*workload->generation));
	workload->known = calloc(workload->result.blocks, sizeof(*workload->known));
	workload->block_busy = calloc(workload->result.blocks, sizeof(*workload->block_busy));
	if (!workload->lane || !workload->generation || !workload->known || !workload->block_busy)
		return -ENOMEM;
	for (uint32_t i = 0; i < workload->lanes && !error; i++)
		error = make_lane(workload, i);
	if (!error && options->churn_ms != 0)
		error = softvm_pages(guestbus_vm(guestscsi_bus_channel(scsi, 0)->bus), CHURN_PAGES,
				     workload->churn_pfn);
	*ret_workload = workload;
	return error;
}

int workload_save(const struct workload *workload, const char *path)
{
	const struct generations_head head = {
		.magic = GENERATIONS_MAGIC,
		.run = workload->result.run,
		.blocks = workload->result.blocks,
		.block_bytes = workload->options.block_bytes,
	};
	FILE *file = fopen(path, "we");
	bool good;

	if (!file)
		return -errno;
	good = fwrite(&head, sizeof(head), 1, file) == 1;
	for (uint64_t i = 0; i < head.blocks && good; i++) {
		const uint32_t written = workload->generation[i];
		const uint32_t value =
			written != 0 && !workload->known[i] ? GENERATION_UNKNOWN : written;

		good = fwrite(&value, sizeof(value), 1, file) == 1;
	}
	return fclose(file) == 0 && good ? 0 : -EIO;
}
