/* tests/soft/many.c - as many channels as there can be, on as many processors: each
 * carries data, is turned to another processor, carries data again; for some
 * seconds all controllers at once, while somebody outside disturbs the server;
 * then all are closed, and some opened again. And page lists of the sizes that
 * messages are cut at. */
#include "tests/soft/scsikit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	CONTROLLERS = 16, CHANNELS = 16, RING = 32768, TURN = 5, SECTOR = 512,
	ROUND_BLOCKS = 100, ROUNDS = 64, /* blocks of a round; rounds until they are used again */
	FIRST_ROUND = 4, RELEASE_MS = 20000, STEP_US = 10000,
};

struct probe {
	struct guestscsi_request request;
	uint64_t pfn;
	uint32_t *data;
};

static struct probe probes[CONTROLLERS][CHANNELS];

static bool transfer(struct guestscsi *scsi, struct probe *p, uint32_t block, bool write)
{
	p->request.bytes = SECTOR;
	p->request.pfns = &p->pfn;
	guestscsi_transfer_cdb(&p->request, write, block, 1, false);
	return guestscsi_execute(scsi, &p->request) == 0;
}

/* A number of its own for each channel and round is written and comes back. */
static bool carries(struct guestscsi *scsi, uint32_t c, uint32_t i, uint32_t round)
{
	struct probe *p = &probes[c][i];
	const uint32_t number = round << 16 | c << 8 | i;
	const uint32_t block = ROUND_BLOCKS * (round % ROUNDS) + i;

	p->data[0] = number;
	if (!transfer(scsi, p, block, true))
		return false;
	p->data[0] = 0;
	return transfer(scsi, p, block, false) && p->data[0] == number;
}

static bool prepare(struct guestbus *bus, struct guestscsi *scsi, uint32_t c, uint32_t i)
{
	struct probe *p = &probes[c][i];

	if (!p->data) {
		if (softvm_pages(guestbus_vm(bus), 1, &p->pfn))
			return false;
		p->data = softvm_view(guestbus_vm(bus), &p->pfn, 1);
	}
	memset(&p->request, 0, sizeof(p->request));
	return p->data && guestscsi_register(scsi, i, &p->request) == 0;
}

/* Opens a controller and sends something through each of its channels. */
static struct guestscsi *open_one(struct guestbus *bus, struct scsikit *kit, uint32_t c,
				  uint32_t round)
{
	struct guestscsi *scsi = NULL;
	bool good = guestscsi_open(bus, c, CHANNELS, RING, &scsi) == 0 &&
		    guestscsi_channels(scsi) == CHANNELS;

	for (uint32_t i = 0; good && i < CHANNELS; i++)
		good = prepare(bus, scsi, c, i) && carries(scsi, c, i, round);
	scsikit_check(kit, good, "a controller with 16 channels, each carries data");
	return good ? scsi : NULL;
}

/* ---- all at once ------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	struct guestbus *bus;
	struct guestscsi *scsi;
	uint32_t controller, rounds;
	bool good;
};

static atomic_bool enough;

static void *work(void *context)
{
	struct worker *w = context;
	const uint32_t vps = softvm_vps(guestbus_vm(w->bus));

	w->good = true;
	for (uint32_t round = FIRST_ROUND; w->good && !atomic_load(&enough); round++) {
		for (uint32_t i = 0; w->good && i < CHANNELS; i++) {
			struct guestbus_channel *channel = guestscsi_bus_channel(w->scsi, i);

			w->good = carries(w->scsi, w->controller, i, round);
			if (w->good && (round + i) % TURN == 0)
				w->good = guestbus_modify(channel, (channel->vp + 1) % vps) == 0;
		}
		w->rounds++;
	}
	return NULL;
}

static void wait_until(unsigned seconds, const char *until)
{
	const uint64_t end = softvm_now_ns() + seconds * UINT64_C(1000000000);

	while (softvm_now_ns() < end && !(until && access(until, F_OK) == 0))
		usleep(STEP_US);
}

/* Each controller in a thread of its own, so long as many() says. */
static void together(struct guestbus *bus, struct scsikit *kit, struct guestscsi **scsi,
		     unsigned seconds, const char *until)
{
	static struct worker workers[CONTROLLERS];
	uint32_t rounds = UINT32_MAX;
	bool good = true;

	for (uint32_t c = 0; c < CONTROLLERS; c++) {
		workers[c] = (struct worker){ .bus = bus, .scsi = scsi[c], .controller = c };
		if (pthread_create(&workers[c].thread, NULL, work, &workers[c]))
			abort();
	}
	wait_until(seconds, until);
	atomic_store(&enough, true);
	for (uint32_t c = 0; c < CONTROLLERS; c++) {
		pthread_join(workers[c].thread, NULL);
		good = good && workers[c].good;
		if (workers[c].rounds < rounds)
			rounds = workers[c].rounds;
	}
	fprintf(kit->report, "each of %u channels carried data %u times or more\n",
		CONTROLLERS * CHANNELS, rounds);
	scsikit_check(kit, good && rounds > 0, "all at once");
}

static void turn(struct guestbus *bus, struct scsikit *kit, struct guestscsi *scsi, uint32_t c)
{
	const uint32_t vps = softvm_vps(guestbus_vm(bus));
	bool good = true;

	for (uint32_t i = 0; good && i < CHANNELS; i++) {
		struct guestbus_channel *channel = guestscsi_bus_channel(scsi, i);

		good = guestbus_modify(channel, (channel->vp + TURN) % vps) == 0 &&
		       carries(scsi, c, i, 2);
	}
	scsikit_check(kit, good, "each of its channels goes on at another processor");
}

static void page_lists(struct guestbus *bus, struct scsikit *kit, struct guestscsi *scsi)
{
	static const uint32_t sizes[] = { 1, 2, 26, 27, 54, 55, 1024, GUESTBUS_GPADL_PAGES };
	struct guestbus_channel *channel = guestscsi_bus_channel(scsi, 0);
	uint64_t *pfns = calloc(GUESTBUS_GPADL_PAGES, sizeof(*pfns));
	bool good = pfns && softvm_pages(guestbus_vm(bus), GUESTBUS_GPADL_PAGES, pfns) == 0;

	for (uint32_t i = 0; good && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t gpadl;

		good = guestbus_gpadl_create(channel, pfns, sizes[i], &gpadl) == 0 &&
		       guestbus_gpadl_teardown(channel, gpadl) == 0;
	}
	scsikit_check(kit, good, "page lists of 1 to 8,190 pages");
	free(pfns);
}

int many(struct guestbus *bus, unsigned seconds, const char *until, FILE *report, unsigned *checks,
	 unsigned *bad)
{
	struct scsikit kit = { .report = report, .checks = checks, .bad = bad };
	struct guestscsi *scsi[CONTROLLERS] = { NULL };
	uint32_t kept;
	int error = 0;

	for (uint32_t c = 0; c < CONTROLLERS; c++) {
		scsi[c] = open_one(bus, &kit, c, 1);
		if (!scsi[c])
			return GUESTBUS_DENIED;
	}
	for (uint32_t c = 0; c < CONTROLLERS; c++)
		turn(bus, &kit, scsi[c], c);
	if (seconds)
		together(bus, &kit, scsi, seconds, until);
	page_lists(bus, &kit, scsi[0]);
	for (uint32_t c = 0; c < CONTROLLERS && !error; c++)
		error = guestscsi_close(scsi[c]);
	if (!error)
		error = guestbus_release(bus, RELEASE_MS, &kept);
	scsikit_check(&kit, error == 0 && kept == 0, "all are closed, all sub-channels taken back");
	for (uint32_t c = 0; c < 2 && !error; c++) {
		scsi[c] = open_one(bus, &kit, c, 3);
		error = scsi[c] ? guestscsi_close(scsi[c]) : GUESTBUS_DENIED;
	}
	return error ? error : guestbus_release(bus, RELEASE_MS, &kept);
}
