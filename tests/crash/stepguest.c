/* tests/crash/stepguest.c - a soft guest that does one operation when told to.
 *
 * It connects, opens the SCSI controller, stamps the blocks it will read, then
 * serves a SOCK_SEQPACKET connection to the path sock=PATH of its command line:
 * one letter, one line back, "ok" or what is wrong.
 *
 *   r  reads 4 KiB and compares      w  writes 4 KiB, of a generation of its own
 *   m  makes a GPADL: one message to the server, one answer
 *   v  looks whether all that was done before was done exactly once: the block
 *      written last reads as written, the GPADL goes away, nothing was
 *      completed or answered that was not asked for, nothing came twice
 *
 * The server's answers are checked by guestbus and guestscsi, which count what
 * must not be; `v` wants all of those counters to be 0. */
#include "tests/guest/stamp.h"
#include "tests/soft/guestscsi.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 300, RING_BYTES = 64 << 10, BLOCKS = 8, GPADL_PAGES = 16, LINE = 200,
       POISON = 0x5a };

struct guest {
	struct softvm *vm;
	struct guestbus *bus;
	struct guestscsi *scsi;
	struct guestscsi_disk disk;
	struct guestscsi_request request;
	uint64_t pfn, gpadl_pfns[GPADL_PAGES];
	uint64_t *data;
	uint64_t generation[2 * BLOCKS]; /* of each block: read first, then written ones */
	uint64_t reads, writes;
	unsigned last;                   /* block of the last operation */
	uint32_t gpadl;
	char why[LINE];
};

static int __attribute__((format(printf, 2, 3))) bad(struct guest *g, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(g->why, sizeof(g->why), format, ap);
	va_end(ap);
	return 1;
}

static struct stamp stamp_of(const struct guest *g, unsigned block)
{
	return (struct stamp){
		.magic = STAMP_MAGIC,
		.run = 1,
		.block = block,
		.generation = g->generation[block],
		.sequence = g->generation[block],
		.size = SOFTVM_PAGE,
		.kind = STAMP_DATA,
	};
}

static int transfer(struct guest *g, unsigned block, bool write)
{
	int error;

	guestscsi_transfer_cdb(&g->request, write, block * SOFTVM_PAGE / g->disk.block_bytes,
			       SOFTVM_PAGE / g->disk.block_bytes, false);
	error = guestscsi_execute(g->scsi, &g->request);
	if (error)
		return bad(g, "%s of block %u: %s", write ? "write" : "read", block,
			   error < 0 ? strerror(-error) : "refused");
	return 0;
}

static int write_block(struct guest *g, unsigned block)
{
	struct stamp stamp;

	g->generation[block]++;
	stamp = stamp_of(g, block);
	stamp_fill(g->data, &stamp);
	return transfer(g, block, true);
}

static int read_block(struct guest *g, unsigned block)
{
	const struct stamp want = stamp_of(g, block);
	struct stamp got;
	enum stamp_fault fault;

	memset(g->data, POISON, SOFTVM_PAGE);
	if (transfer(g, block, false))
		return 1;
	fault = stamp_check(g->data, &want, &got);
	return fault == STAMP_GOOD ? 0 : bad(g, "block %u reads as %s: generation %" PRIu64
					     ", written %" PRIu64, block, stamp_fault_name(fault),
					     got.generation, want.generation);
}

static int make_gpadl(struct guest *g)
{
	int error = guestbus_gpadl_create(guestscsi_bus_channel(g->scsi, 0), g->gpadl_pfns,
					  GPADL_PAGES, &g->gpadl);

	return error ? bad(g, "GPADL: %s", error < 0 ? strerror(-error) : "refused") : 0;
}

static int drop_gpadl(struct guest *g)
{
	int error = 0;

	if (g->gpadl)
		error = guestbus_gpadl_teardown(guestscsi_bus_channel(g->scsi, 0), g->gpadl);
	g->gpadl = 0;
	return error ? bad(g, "teardown: %s", error < 0 ? strerror(-error) : "refused") : 0;
}

static int check_counters(struct guest *g)
{
	struct guestscsi_faults *s = guestscsi_faults(g->scsi);
	struct guestbus_faults *b = guestbus_faults(g->bus);
	struct { const char *what; uint64_t n; } counter[] = {
		{ "completed twice or never asked for", atomic_load(&s->doubles) },
		{ "malformed completions", atomic_load(&s->malformed) },
		{ "failed requests", atomic_load(&s->errors) },
		{ "requests that were BUSY", atomic_load(&s->busy) },
		{ "requests that met UNIT ATTENTION", atomic_load(&s->attention) },
		{ "answers nobody waits for", atomic_load(&b->unexpected) },
		{ "malformed messages", atomic_load(&b->malformed) },
		{ "stray interrupts", atomic_load(&softvm_counters(g->vm)->strays) },
	};

	for (size_t i = 0; i < sizeof(counter) / sizeof(counter[0]); i++)
		if (counter[i].n)
			return bad(g, "%" PRIu64 " %s", counter[i].n, counter[i].what);
	return 0;
}

static int verify(struct guest *g)
{
	if (read_block(g, g->last) || drop_gpadl(g))
		return 1;
	return check_counters(g);
}

static int obey(struct guest *g, char command)
{
	switch (command) {
	case 'r':
		g->last = (unsigned)(g->reads++ % BLOCKS);
		return read_block(g, g->last);
	case 'w':
		g->last = BLOCKS + (unsigned)(g->writes++ % BLOCKS);
		return write_block(g, g->last);
	case 'm':
		return make_gpadl(g);
	case 'v':
		return verify(g);
	default:
		return bad(g, "no command '%c'", command);
	}
}

static int prepare(struct guest *g)
{
	int error = guestbus_connect(g->vm, PATIENCE_S, &g->bus);

	if (!error)
		error = guestscsi_open(g->bus, 0, 1, RING_BYTES, &g->scsi);
	if (!error)
		error = guestscsi_probe(g->scsi, 0, &g->disk);
	if (!error)
		error = softvm_pages(g->vm, 1, &g->pfn);
	if (!error)
		error = softvm_pages(g->vm, GPADL_PAGES, g->gpadl_pfns);
	if (error)
		return error;
	g->data = softvm_view(g->vm, &g->pfn, 1);
	g->request.pfns = &g->pfn;
	g->request.bytes = SOFTVM_PAGE;
	error = g->data ? guestscsi_register(g->scsi, 0, &g->request) : -ENOMEM;
	for (unsigned block = 0; !error && block < 2 * BLOCKS; block++)
		error = write_block(g, block);
	return error;
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path));
	return s >= 0 && connect(s, (struct sockaddr *)&a, sizeof(a)) == 0 ? s : -errno;
}

static void serve(struct guest *g, int sock)
{
	char command;

	while (recv(sock, &command, 1, 0) == 1) {
		const char *line = obey(g, command) ? g->why : "ok";

		if (send(sock, line, strlen(line), MSG_NOSIGNAL) < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	static struct guest g;
	int sock = -EINVAL, error;

	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], "sock=", 5) == 0)
			sock = connect_to(argv[i] + 5);
	if (sock < 0) {
		fprintf(stderr, "stepguest: sock=PATH: %s\n", strerror(-sock));
		return 2;
	}
	error = softvm_attach(&SOFTVM_FDS, &g.vm);
	if (!error)
		error = prepare(&g);
	if (error) {
		fprintf(stderr, "stepguest: %s %s\n", error < 0 ? strerror(-error) : "refused", g.why);
		return 1;
	}
	if (send(sock, "ready", 5, MSG_NOSIGNAL) == 5)
		serve(&g, sock);
	return 0;
}
