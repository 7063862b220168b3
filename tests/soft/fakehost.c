/* tests/soft/fakehost.c - one thread for each VP takes its calls; one thread
 * serves all doors. All state is under one mutex. Completions go out at once,
 * or wait in a list until the guest's ring has room.
 *
 * It keeps the rules of protocol.md B.10 and B.11 to the letter: it signals only
 * where it must, so that a guest which relies on more hangs. */
#include "tests/soft/fakehost.h"

#include "engine/partition/soft_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	VPS = 16,
	CHANNELS = 9,
	GPADLS = 4096,
	PAGE = 4096,
	QUEUE = 512,
	FLIGHT = 16384,
	RAM_BYTES = 256 << 20,
	MARK_PORT = 0x500,
	LIFE_MS = 60000,
	ABSENT_MS = 3000,
	END_LOOKS = 2000, END_LOOK_US = 10000, /* from the end of the guest's output to its own */
	RELID_BASE = 5, /* relids are not indices */
};

struct gpadl {
	uint32_t id, relid, want, got;
	uint64_t pfn[8192];
};

struct reply {
	uint64_t id;
	uint8_t packet[64];
	uint64_t trailer_off;
};

struct channel {
	bool open, offered;
	struct gpadl *gpadl;
	uint32_t out_pages, in_pages, vp, relid;
	struct reply *waiting;
	uint32_t n_waiting;
};

struct message {
	uint32_t bytes;
	uint8_t payload[240];
};

struct host {
	struct fakehost_options options;
	struct fakehost_result *result;
	int ram_fd, vps_fd, irq[VPS], door[CHANNELS];
	uint8_t *ram, *disk;
	struct soft_vp *vp;
	uint64_t msr[VPS][0x200];
	pthread_mutex_t lock;
	_Atomic bool stop;
	struct gpadl *gpadl[GPADLS];
	uint32_t n_gpadls;
	struct channel channel[CHANNELS];
	struct message queue[QUEUE];
	uint32_t head, tail, sub_channels, connection_vp, posts;
	bool inside;
	pid_t guest;
};

struct vp_thread {
	struct host *host;
	uint32_t index;
	pthread_t thread;
};

static uint32_t u32(const uint8_t *at)
{
	uint32_t v;
	memcpy(&v, at, 4);
	return v;
}
static uint64_t u64(const uint8_t *at)
{
	uint64_t v;
	memcpy(&v, at, 8);
	return v;
}
static uint16_t u16(const uint8_t *at)
{
	uint16_t v;
	memcpy(&v, at, 2);
	return v;
}
static void set32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, 4);
}
static void set16(uint8_t *at, uint16_t v)
{
	memcpy(at, &v, 2);
}

static uint64_t be(const uint8_t *at, uint32_t bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | *at++;
	return v;
}

/* ---- to the guest's VPs ------------------------------------------------------------ */

static bool synic_on(const struct host *host, uint32_t vp)
{
	const uint64_t *msr = host->msr[vp];

	return (msr[0x80] & 1) && (msr[0x83] & 1) && (msr[0x82] & 1) && !(msr[0x92] & 0x10000);
}

static void interrupt(struct host *host, uint32_t vp)
{
	const uint64_t one = 1;

	atomic_store(&host->vp[vp].vector, (uint32_t)(host->msr[vp][0x92] & 0xff));
	if (write(host->irq[vp], &one, sizeof(one)) != (ssize_t)sizeof(one))
		abort();
}

static void deliver(struct host *host)
{
	const uint32_t vp = host->connection_vp;
	uint8_t *slot = host->ram + (host->msr[vp][0x83] & ~UINT64_C(0xfff)) + 0x200;
	_Atomic uint32_t *type = (_Atomic uint32_t *)(void *)slot;
	const struct message *message = &host->queue[host->tail % QUEUE];

	if (host->head == host->tail || !synic_on(host, vp))
		return;
	if (atomic_load(type) != 0) {
		atomic_fetch_or((_Atomic uint8_t *)(slot + 5), 1);
		if (atomic_load(type) != 0)
			return;
	}
	memcpy(slot + 16, message->payload, sizeof(message->payload));
	slot[4] = (uint8_t)message->bytes;
	atomic_store((_Atomic uint8_t *)(slot + 5), host->head - host->tail > 1);
	atomic_store(type, 1);
	host->tail++;
	interrupt(host, vp);
}

static void say(struct host *host, const uint8_t *payload, uint32_t bytes)
{
	struct message *message = &host->queue[host->head % QUEUE];

	message->bytes = bytes;
	memset(message->payload, 0, sizeof(message->payload));
	memcpy(message->payload, payload, bytes);
	host->head++;
	deliver(host);
}

static void flag(struct host *host, struct channel *channel)
{
	uint8_t *page = host->ram + (host->msr[channel->vp][0x82] & ~UINT64_C(0xfff)) + 0x200;
	_Atomic uint8_t *byte = (_Atomic uint8_t *)(page + channel->relid / 8);
	const uint8_t bit = (uint8_t)(1u << channel->relid % 8);

	if (!(atomic_fetch_or(byte, bit) & bit) || host->options.fault == FAKE_SIGNAL_MORE)
		interrupt(host, channel->vp);
}

static void rescind(struct host *host, const struct channel *channel)
{
	uint8_t message[12] = {2};

	set32(message + 8, channel->relid);
	say(host, message, sizeof(message));
}

/* ---- rings: byte i of a ring lies in page i / 4096 of its GPADL ---------------------- */

static uint8_t *ring_at(struct host *host, const struct channel *channel, uint32_t page,
			uint32_t at)
{
	return host->ram + channel->gpadl->pfn[page + at / PAGE] * PAGE + at % PAGE;
}

static _Atomic uint32_t *ring_word(struct host *host, const struct channel *channel, uint32_t page,
				   uint32_t at)
{
	return (_Atomic uint32_t *)(void *)ring_at(host, channel, page, at);
}

static void ring_get(struct host *host, const struct channel *channel, uint32_t at, uint8_t *to,
		     uint32_t bytes)
{
	const uint32_t size = (channel->out_pages - 1) * PAGE;

	for (uint32_t i = 0; i < bytes; i++)
		to[i] = *ring_at(host, channel, 1, (at + i) % size);
}

static bool ring_put(struct host *host, struct channel *channel, const struct reply *reply)
{
	const uint32_t first = channel->out_pages, size = (channel->in_pages - 1) * PAGE, need = 88;
	const uint32_t write = atomic_load(ring_word(host, channel, first, 0));
	uint32_t read = atomic_load(ring_word(host, channel, first, 4));
	uint8_t bytes[88] = {11, 0, 2, 0, 10, 0, 0, 0};

	if ((read > write ? read - write : size - (write - read)) <= need) {
		atomic_store(ring_word(host, channel, first, 12), need);
		atomic_thread_fence(memory_order_seq_cst);
		read = atomic_load(ring_word(host, channel, first, 4));
		if ((read > write ? read - write : size - (write - read)) <= need)
			return false;
		atomic_store(ring_word(host, channel, first, 12), 0);
	}
	memcpy(bytes + 8, &reply->id, 8);
	memcpy(bytes + 16, reply->packet, 64);
	set32(bytes + 84, write + (uint32_t)reply->trailer_off);
	for (uint32_t i = 0; i < need; i++)
		*ring_at(host, channel, first + 1, (write + i) % size) = bytes[i];
	atomic_store(ring_word(host, channel, first, 0), (write + need) % size);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(ring_word(host, channel, first, 8)) == 0 &&
	    atomic_load(ring_word(host, channel, first, 4)) == write)
		flag(host, channel);
	return true;
}

static void send_waiting(struct host *host, struct channel *channel)
{
	uint32_t sent = 0;

	if (channel->n_waiting == 0)
		return;
	atomic_store(ring_word(host, channel, channel->out_pages, 12), 0);
	while (sent < channel->n_waiting && ring_put(host, channel, &channel->waiting[sent]))
		sent++;
	memmove(channel->waiting, channel->waiting + sent,
		(channel->n_waiting - sent) * sizeof(*channel->waiting));
	channel->n_waiting -= sent;
}

static void reply_later(struct host *host, struct channel *channel, const struct reply *reply)
{
	(void)host;
	if (channel->n_waiting == FLIGHT)
		abort();
	channel->waiting[channel->n_waiting++] = *reply;
}

/* ---- the disk -------------------------------------------------------------------------- */

struct request {
	uint8_t packet[4096];
	uint32_t bytes, data_bytes, offset;
	const uint8_t *pfns, *vstor;
	uint64_t id;
};

static void move(struct host *host, const struct request *request, uint8_t *disk, uint32_t bytes,
		 bool write)
{
	for (uint32_t i = 0; i < bytes; i++) {
		const uint32_t at = request->offset + i;
		uint8_t *byte = host->ram + u64(request->pfns + at / PAGE * 8) * PAGE + at % PAGE;

		if (write)
			disk[i] = *byte;
		else
			*byte = disk[i];
	}
}

static void sense(uint8_t *vstor, uint8_t key)
{
	vstor[14] = 0x84;
	vstor[15] = 2;
	vstor[21] = 18;
	memset(vstor + 28, 0, 20);
	vstor[28] = 0x70;
	vstor[30] = key;
	set32(vstor + 24, 0);
}

static void inquire(struct host *host, const struct request *request, uint8_t *vstor)
{
	uint8_t data[36] = {vstor[19] == 0 ? 0 : 0x7F, 0, 6, 2, 31};

	move(host, request, data, sizeof(data), false);
	set32(vstor + 24, sizeof(data));
}

static void capacity(struct host *host, const struct request *request, uint8_t *vstor)
{
	const uint64_t last = host->options.disk_bytes / 512 - 1;
	uint8_t data[32] = {0};

	for (uint32_t i = 0; i < 8; i++)
		data[i] = (uint8_t)(last >> (56 - 8 * i));
	data[10] = 2;
	move(host, request, data, sizeof(data), false);
	set32(vstor + 24, sizeof(data));
}

/* The fault that hits this request, or FAKE_GOOD. */
static enum fakehost_fault hit(const struct host *host)
{
	const uint64_t n = host->result->requests;
	const enum fakehost_fault fault = host->options.fault;

	if (fault == FAKE_ATTENTION || fault == FAKE_BUSY)
		return n % 100 == 0 ? fault : FAKE_GOOD;
	if (fault == FAKE_LOSE_WRITE)
		return n >= host->options.fault_at && n < host->options.fault_at + 100 ? fault
										       : FAKE_GOOD;
	return n == host->options.fault_at ? fault : FAKE_GOOD;
}

static void transfer(struct host *host, const struct request *request, uint8_t *vstor,
		     enum fakehost_fault fault)
{
	const uint8_t *cdb = request->vstor + 28;
	const bool write = cdb[0] == 0x2A || cdb[0] == 0x8A, wide = cdb[0] >= 0x88;
	const uint64_t lba = wide ? be(cdb + 2, 8) : be(cdb + 2, 4);
	const uint64_t bytes = (wide ? be(cdb + 10, 4) : be(cdb + 7, 2)) * 512;

	if (bytes != request->data_bytes || lba * 512 + bytes > host->options.disk_bytes) {
		sense(vstor, 5);
		return;
	}
	if (!(write && fault == FAKE_LOSE_WRITE))
		move(host, request, host->disk + lba * 512, (uint32_t)bytes, write);
	if (!write && fault == FAKE_FLIP)
		host->ram[u64(request->pfns) * PAGE + request->offset + 100] ^= 4;
}

static void execute(struct host *host, const struct request *request, uint8_t *vstor,
		    enum fakehost_fault fault)
{
	vstor[14] = 1;
	switch (request->vstor[28]) {
	case 0x12:
		inquire(host, request, vstor);
		break;
	case 0x9E:
		capacity(host, request, vstor);
		break;
	case 0x28:
	case 0x2A:
	case 0x88:
	case 0x8A:
		transfer(host, request, vstor, fault);
		break;
	case 0x00:
	case 0x35:
		break;
	default:
		sense(vstor, 5);
	}
	if (fault == FAKE_FAIL)
		sense(vstor, 3);
	else if (fault == FAKE_ATTENTION)
		sense(vstor, 6);
	else if (fault == FAKE_BUSY)
		vstor[15] = 8;
	else if (fault == FAKE_SHORT)
		set32(vstor + 24, request->data_bytes - 512);
}

static void offer(struct host *host, uint32_t index);

static void control(struct host *host, const struct request *request, uint8_t *vstor)
{
	switch (u32(request->vstor)) {
	case 9:
		set32(vstor + 8, u16(request->vstor + 12) == 0x0600 ? 0 : 0xC0000059);
		break;
	case 10:
		memset(vstor + 12, 0, 52);
		set16(vstor + 16, (uint16_t)host->options.sub_channels);
		set32(vstor + 20, host->options.sub_channels ? 1 : 0);
		set32(vstor + 24, 0x40000);
		break;
	case 13:
		host->sub_channels = u16(request->vstor + 12);
		for (uint32_t i = 1; i <= host->sub_channels; i++)
			offer(host, i);
		break;
	default:
		break;
	}
}

static void serve(struct host *host, struct channel *channel, const struct request *request)
{
	struct reply reply = {.id = request->id};
	const bool data = request->pfns && request->data_bytes >= 512;
	enum fakehost_fault fault = FAKE_GOOD;

	memcpy(reply.packet, request->vstor, 64);
	set32(reply.packet, 1);
	set32(reply.packet + 8, 0);
	if (data) {
		host->result->requests++;
		host->result->inside += host->inside;
		fault = hit(host);
	}
	if (u32(request->vstor) == 3)
		execute(host, request, reply.packet, fault);
	else
		control(host, request, reply.packet);
	if (fault == FAKE_RESCIND)
		rescind(host, host->channel);
	if (fault == FAKE_DROP)
		return;
	if (fault == FAKE_WRONG_CHANNEL)
		reply.id ^= 1 << 12;
	reply.trailer_off = fault == FAKE_TRAILER ? 8 : 0;
	reply_later(host, channel, &reply);
	if (fault == FAKE_DOUBLE)
		reply_later(host, channel, &reply);
}

static bool take_packet(struct host *host, struct channel *channel)
{
	static struct request request;
	const uint32_t size = (channel->out_pages - 1) * PAGE;
	const uint32_t write = atomic_load(ring_word(host, channel, 0, 0));
	const uint32_t read = atomic_load(ring_word(host, channel, 0, 4));
	uint32_t payload, pending, before, now;

	if (write == read)
		return false;
	ring_get(host, channel, read, request.packet, 16);
	request.bytes = u16(request.packet + 4) * 8u;
	ring_get(host, channel, read, request.packet, request.bytes + 8);
	if (u32(request.packet + request.bytes + 4) != read)
		abort();
	payload = u16(request.packet + 2) * 8u;
	request.id = u64(request.packet + 8);
	request.vstor = request.packet + payload;
	request.pfns = u16(request.packet) == 9 ? request.packet + 32 : NULL;
	request.data_bytes = request.pfns ? u32(request.packet + 24) : 0;
	request.offset = request.pfns ? u32(request.packet + 28) : 0;
	if (request.bytes - payload != 64 || !(u16(request.packet + 6) & 1))
		abort();
	serve(host, channel, &request);
	atomic_store(ring_word(host, channel, 0, 4), (read + request.bytes + 8) % size);
	atomic_thread_fence(memory_order_seq_cst);
	pending = atomic_load(ring_word(host, channel, 0, 12));
	before = read > write ? read - write : size - (write - read);
	now = before + request.bytes + 8;
	if (pending != 0 && before <= pending && now > pending) {
		host->result->waited_for_room++;
		flag(host, channel);
	}
	return true;
}

static void reverse(struct channel *channel, uint32_t from)
{
	for (uint32_t a = from, b = channel->n_waiting; a + 1 < b; a++) {
		const struct reply first = channel->waiting[a];

		channel->waiting[a] = channel->waiting[--b];
		channel->waiting[b] = first;
	}
}

static void serve_channel(struct host *host, struct channel *channel)
{
	if (!channel->open)
		return;
	send_waiting(host, channel);
	do {
		const uint32_t from = channel->n_waiting;

		atomic_store(ring_word(host, channel, 0, 8), 1);
		while (take_packet(host, channel))
			;
		if (host->options.fault == FAKE_REVERSE)
			reverse(channel, from);
		send_waiting(host, channel);
		atomic_store(ring_word(host, channel, 0, 8), 0);
		atomic_thread_fence(memory_order_seq_cst);
	} while (atomic_load(ring_word(host, channel, 0, 0)) !=
		 atomic_load(ring_word(host, channel, 0, 4)));
	if (host->options.fault == FAKE_SIGNAL_MORE)
		flag(host, channel);
}

/* ---- channel messages ------------------------------------------------------------------- */

static void offer(struct host *host, uint32_t index)
{
	static const uint8_t scsi[16] = {0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d,
					 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f};
	struct channel *channel = &host->channel[index];
	uint8_t message[196] = {1};

	channel->relid = RELID_BASE + index;
	channel->offered = true;
	memcpy(message + 8, scsi, 16);
	memset(message + 24, 0x11, 16);
	set16(message + 180, (uint16_t)index);
	set32(message + 184, channel->relid);
	set16(message + 190, 1);
	set32(message + 192, 0x2000 + channel->relid);
	say(host, message, sizeof(message));
	if (host->options.fault == FAKE_OFFER_TWICE && index == 0 && host->head < 4)
		say(host, message, sizeof(message));
}

static struct gpadl *gpadl_of(struct host *host, uint32_t id)
{
	for (uint32_t i = 0; i < host->n_gpadls; i++)
		if (host->gpadl[i]->id == id)
			return host->gpadl[i];
	abort();
}

static void gpadl_pages(struct host *host, struct gpadl *gpadl, const uint8_t *pfns, uint32_t bytes)
{
	uint8_t created[20] = {10};

	for (; bytes >= 8 && gpadl->got < gpadl->want; bytes -= 8, pfns += 8)
		gpadl->pfn[gpadl->got++] = u64(pfns);
	if (gpadl->got < gpadl->want)
		return;
	set32(created + 8, gpadl->relid);
	set32(created + 12, gpadl->id);
	say(host, created, sizeof(created));
	if (host->options.fault == FAKE_ANSWER_TWICE)
		say(host, created, sizeof(created));
}

static void gpadl_begin(struct host *host, const uint8_t *message, uint32_t bytes)
{
	struct gpadl *gpadl = calloc(1, sizeof(*gpadl));

	if (!gpadl || host->n_gpadls == GPADLS ||
	    u16(message + 16) != 8 + u32(message + 20) / PAGE * 8)
		abort();
	host->gpadl[host->n_gpadls++] = gpadl;
	gpadl->relid = u32(message + 8);
	gpadl->id = u32(message + 12);
	gpadl->want = u32(message + 20) / PAGE;
	gpadl_pages(host, gpadl, message + 28, bytes - 28);
}

static void gpadl_end(struct host *host, uint32_t id)
{
	uint8_t torndown[12] = {12};

	gpadl_of(host, id)->id = 0;
	set32(torndown + 8, id);
	say(host, torndown, sizeof(torndown));
}

static struct channel *channel_of(struct host *host, uint32_t relid)
{
	if (relid < RELID_BASE || relid >= RELID_BASE + CHANNELS ||
	    !host->channel[relid - RELID_BASE].offered)
		abort();
	return &host->channel[relid - RELID_BASE];
}

static void open_channel(struct host *host, const uint8_t *message)
{
	struct channel *channel = channel_of(host, u32(message + 8));
	uint8_t result[20] = {6};

	channel->gpadl = gpadl_of(host, u32(message + 16));
	channel->vp = u32(message + 20);
	channel->out_pages = u32(message + 24);
	channel->in_pages = channel->gpadl->want - channel->out_pages;
	channel->waiting = calloc(FLIGHT, sizeof(*channel->waiting));
	channel->open =
		channel->waiting && *ring_word(host, channel, channel->out_pages, 0x40) == 1;
	set32(result + 8, channel->relid);
	set32(result + 12, u32(message + 12));
	set32(result + 16, channel->open ? 0 : 1);
	say(host, result, sizeof(result));
}

static void close_channel(struct host *host, struct channel *channel)
{
	channel->open = false;
	for (uint32_t i = 1; i <= host->sub_channels && channel == host->channel; i++)
		rescind(host, &host->channel[i]);
}

static void hear(struct host *host, const uint8_t *message, uint32_t bytes)
{
	uint8_t answer[16] = {0};

	switch (u32(message)) {
	case 14:
		memcpy(answer, (const uint8_t[16]){15, [8] = u32(message + 8) == 0x50003, [12] = 1},
		       16);
		host->connection_vp = u32(message + 12);
		say(host, answer, 16);
		break;
	case 3:
		offer(host, 0);
		answer[0] = 4;
		say(host, answer, 8);
		break;
	case 8:
		gpadl_begin(host, message, bytes);
		break;
	case 9:
		gpadl_pages(host, gpadl_of(host, u32(message + 12)), message + 16, bytes - 16);
		break;
	case 5:
		open_channel(host, message);
		break;
	case 7:
		close_channel(host, channel_of(host, u32(message + 8)));
		break;
	case 11:
		gpadl_end(host, u32(message + 12));
		break;
	case 13:
		channel_of(host, u32(message + 8))->offered = false;
		break;
	case 16:
		host->result->unloaded = true;
		answer[0] = 17;
		say(host, answer, 8);
		break;
	case 22:
		channel_of(host, u32(message + 8))->vp = u32(message + 12);
		answer[0] = 24;
		set32(answer + 8, u32(message + 8));
		say(host, answer, 16);
		break;
	default:
		abort();
	}
}

/* ---- VP calls ----------------------------------------------------------------------------- */

static uint64_t post(struct host *host, const uint8_t *input)
{
	if (host->options.fault == FAKE_BUSY && ++host->posts % 3 == 0)
		return 0x13;
	if (u32(input + 8) != 1 || u32(input + 12) > 240 || (u32(input) != 4 && u32(input) != 1))
		return 5;
	host->result->messages++;
	host->result->inside += host->inside;
	hear(host, input + 16, u32(input + 12));
	return 0;
}

static void answer_call(struct host *host, uint32_t index, struct soft_vp *vp)
{
	const uint64_t msr = vp->address - 0x40000000;

	switch (vp->call) {
	case SOFT_RDMSR:
		vp->result = msr == 2 ? index : msr < 0x200 ? host->msr[index][msr] : 0;
		break;
	case SOFT_WRMSR:
		vp->fault = msr >= 0x200;
		if (msr < 0x200)
			host->msr[index][msr] = vp->value;
		deliver(host);
		break;
	case SOFT_HYPERCALL:
		vp->result = vp->address == 0x5C ? post(host, host->ram + vp->value) : 2;
		break;
	case SOFT_OUT:
		if (vp->address == MARK_PORT)
			host->inside = vp->value == 1;
		break;
	default:
		abort();
	}
}

static void *run_vp(void *argument)
{
	struct vp_thread *me = argument;
	struct soft_vp *vp = &me->host->vp[me->index];
	const struct timespec step = {.tv_nsec = 20000000};

	while (!atomic_load(&me->host->stop)) {
		if (atomic_load(&vp->state) == SOFT_IDLE) {
			syscall(SYS_futex, &vp->state, FUTEX_WAIT, SOFT_IDLE, &step, NULL, 0);
			continue;
		}
		pthread_mutex_lock(&me->host->lock);
		answer_call(me->host, me->index, vp);
		pthread_mutex_unlock(&me->host->lock);
		atomic_store(&vp->state, SOFT_IDLE);
		syscall(SYS_futex, &vp->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void absent(struct host *host, uint64_t *last)
{
	if (host->options.fault != FAKE_ABSENT ||
	    host->result->requests < *last + host->options.fault_at ||
	    *last >= 2 * host->options.fault_at)
		return;
	*last += host->options.fault_at;
	pthread_mutex_lock(&host->lock);
	usleep(ABSENT_MS * 1000);
	pthread_mutex_unlock(&host->lock);
}

static void *run_doors(void *argument)
{
	struct host *host = argument;
	struct pollfd fds[CHANNELS];
	uint64_t rung, last = 0;

	while (!atomic_load(&host->stop)) {
		for (uint32_t i = 0; i < CHANNELS; i++)
			fds[i] = (struct pollfd){.fd = host->door[i], .events = POLLIN};
		poll(fds, CHANNELS, 20);
		absent(host, &last);
		pthread_mutex_lock(&host->lock);
		for (uint32_t i = 0; i < CHANNELS; i++)
			if (read(host->door[i], &rung, sizeof(rung)) == (ssize_t)sizeof(rung))
				serve_channel(host, &host->channel[i]);
		pthread_mutex_unlock(&host->lock);
	}
	return NULL;
}

/* In the child: the descriptors go to their numbers. All but `out`, which is first,
 * are above the numbers used, so that none is overwritten before it is copied. */
static void become_guest(const struct host *host, char *const argv[], int out)
{
	dup2(out, STDOUT_FILENO);
	dup2(host->vps_fd, SOFT_FD_VPS);
	dup2(host->ram_fd, SOFT_FD_RAM);
	for (uint32_t i = 0; i < host->options.vps; i++)
		dup2(host->irq[i], SOFT_FD_IRQ + (int)i);
	for (uint32_t i = 0; i < CHANNELS; i++)
		dup2(host->door[i], SOFT_FD_DOOR + RELID_BASE + (int)i);
	execv(argv[0], argv);
	_exit(127);
}

static int high(int fd)
{
	const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 400);

	if (fd < 0 || copy < 0)
		abort();
	close(fd);
	return copy;
}

static struct host *make_host(const struct fakehost_options *options,
			      struct fakehost_result *result)
{
	struct host *host = calloc(1, sizeof(*host));

	if (!host)
		abort();
	host->options = *options;
	host->result = result;
	pthread_mutex_init(&host->lock, NULL);
	host->ram_fd = high(memfd_create("ram", MFD_CLOEXEC));
	host->vps_fd = high(memfd_create("vps", MFD_CLOEXEC));
	if (ftruncate(host->ram_fd, RAM_BYTES) < 0 || ftruncate(host->vps_fd, PAGE) < 0)
		abort();
	host->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, host->ram_fd, 0);
	host->vp = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, host->vps_fd, 0);
	host->disk = calloc(1, options->disk_bytes);
	for (uint32_t i = 0; i < options->vps; i++) {
		host->irq[i] = high(eventfd(0, EFD_CLOEXEC));
		host->vp[i].vps = options->vps;
		host->vp[i].ram_bytes = RAM_BYTES;
		for (uint32_t n = 0; n < 16; n++)
			host->msr[i][0x90 + n] = 0x10000;
	}
	for (uint32_t i = 0; i < CHANNELS; i++)
		host->door[i] = high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	return host;
}

static void read_output(struct host *host, int from)
{
	struct pollfd fd = {.fd = from, .events = POLLIN};
	struct fakehost_result *result = host->result;
	size_t have = 0;
	unsigned looks = END_LOOKS;
	int status;

	while (poll(&fd, 1, LIFE_MS) == 1) {
		const ssize_t n = read(from, result->line + have, sizeof(result->line) - 1 - have);

		if (n <= 0) {
			looks = 0;
			break;
		}
		have += (size_t)n;
	}
	result->line[have] = '\0';
	while (waitpid(host->guest, &status, WNOHANG) == 0) {
		if (looks++ >= END_LOOKS)
			kill(host->guest, SIGKILL);
		usleep(END_LOOK_US);
	}
	result->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void end_host(struct host *host)
{
	host->result->disabled = true;
	for (uint32_t i = 0; i < host->options.vps; i++)
		if ((host->msr[i][0x80] & 1) || (host->msr[i][0x83] & 1) ||
		    !(host->msr[i][0x92] & 0x10000))
			host->result->disabled = false;
	if (host->options.backing) {
		FILE *file = fopen(host->options.backing, "we");

		if (!file || fwrite(host->disk, host->options.disk_bytes, 1, file) != 1 ||
		    fclose(file) != 0)
			abort();
	}
}

void fakehost_run(const struct fakehost_options *options, char *const argv[],
		  struct fakehost_result *ret_result)
{
	struct host *host = make_host(options, ret_result);
	struct vp_thread vps[VPS];
	pthread_t doors;
	int out[2];

	memset(ret_result, 0, sizeof(*ret_result));
	if (pipe2(out, O_CLOEXEC) < 0)
		abort();
	host->guest = fork();
	if (host->guest == 0)
		become_guest(host, argv, out[1]);
	close(out[1]);
	for (uint32_t i = 0; i < options->vps; i++) {
		vps[i] = (struct vp_thread){.host = host, .index = i};
		pthread_create(&vps[i].thread, NULL, run_vp, &vps[i]);
	}
	pthread_create(&doors, NULL, run_doors, host);
	read_output(host, out[0]);
	close(out[0]);
	atomic_store(&host->stop, true);
	for (uint32_t i = 0; i < options->vps; i++)
		pthread_join(vps[i].thread, NULL);
	pthread_join(doors, NULL);
	end_host(host);
}
