/* One packet on its way back to the guest.
 *
 * Invariants: in SUBMITTED exactly one request of this instance is with the
 * kernel, and only the completion of that generation moves it; `packet` is the
 * guest's until the request is over, and the answer from then on; its channel
 * gets exactly one SEND or ENDED that ends the request. What touched the disk
 * is told to the controller when the guest is answered, not before: until then
 * the guest may not rely on any order. */
#include "statemachines/scsi.h"

#include "engine/world.h"
#include "statemachines/channel.h"
#include "statemachines/device.h"
#include "statemachines/disk.h"
#include "statemachines/gpa_list.h"
#include "statemachines/lun.h"
#include "statemachines/machines.h"
#include "statemachines/ring_packet.h"
#include "statemachines/scsi_mode.h"
#include "statemachines/scsi_optical.h"
#include "statemachines/scsi_plan.h"
#include "statemachines/storvsp.h"

_Static_assert((int)scsi_EV_SENT == SENDER_SENT && (int)scsi_EV_BLOCKED == SENDER_BLOCKED &&
	       (int)scsi_EV_RETRY == SENDER_RETRY, "codes that channels use");

enum { DATA_PAIRS = 64, OPCODE_MODE_SELECT_6 = 0x15 };
/* errno values of completions of requests that never ran: the ABI of Linux */
enum { IO_INTERRUPTED = 4, IO_AGAIN = 11, IO_FAULT = 14, IO_CANCELED = 125 };

static bool holds_fresh(const void *self)
{
	const struct scsi *s = self;

	return s->channel_generation == 0 && s->op == 0;
}

static bool holds_channel(const void *self)
{
	return ((const struct scsi *)self)->channel_generation != 0;
}

static bool holds_list(const void *self)
{
	const struct scsi *s = self;

	return holds_channel(s) && s->bytes > 0 && s->block_bytes != 0;
}

static bool holds_submitted(const void *self)
{
	const struct scsi *s = self;

	return holds_channel(s) && s->op != 0 && (s->bytes == 0 || s->done < s->bytes) &&
	       s->reissues <= LIMIT_REISSUES;
}

/* ---- what the request is ---------------------------------------------- */

static const uint8_t *packet_of(const struct sm_cx *cx)
{
	return cx->tail + ((const struct rec_srb *)cx->p)->gpa_bytes;
}

static struct scsi_plan plan_of(const struct sm_cx *cx)
{
	return scsi_plan(cx->p, cx->tail, packet_of(cx));
}

/* Its page list must be kept until the disk is done. */
static bool list_fits(const struct sm_cx *cx)
{
	uint32_t bytes = ((const struct rec_srb *)cx->p)->gpa_bytes;

	return world_blob_room(cx->world) >= bytes / LIMIT_BLOB_CHUNK + 1;
}

static bool moves_data(const struct sm_cx *cx)
{
	return plan_of(cx).way == SCSI_WAY_TRANSFER && list_fits(cx);
}

static bool acts_on_disk(const struct sm_cx *cx)
{
	return plan_of(cx).way == SCSI_WAY_ACT;
}

static bool needs_list(const struct sm_cx *cx)
{
	return plan_of(cx).way == SCSI_WAY_FETCH && list_fits(cx);
}

static void keep_request(struct sm_cx *cx, const struct scsi_plan *plan)
{
	const struct rec_srb *p = cx->p;
	struct scsi *s = cx->self;

	s->transaction = p->transaction;
	s->channel = p->channel;
	s->channel_generation = p->channel_generation;
	s->controller = p->controller;
	s->type = RING_COMPLETION;
	s->ends_request = true;
	s->wanted = p->completion_wanted != 0;
	s->is_request = true;
	memcpy(s->packet, packet_of(cx), VSTOR_BYTES);
	s->fd = p->fd;
	s->disk = p->disk;
	s->block_bytes = p->block_bytes;
	s->blocks = p->blocks;
	s->lun = p->lun;
	s->lun_flags = p->lun_flags;
	if (plan->way == SCSI_WAY_ANSWER)
		return;
	s->op = (uint16_t)plan->op;
	s->lba = plan->lba;
	s->count = plan->count;
	s->bytes = plan->bytes;
	s->fua = plan->c.fua;
}

/* ---- the answer ------------------------------------------------------- */

static struct sm_ref controller_of(const struct scsi *s)
{
	return ref_of(KIND_storvsp, s->controller);
}

static bool changes_disk(const struct scsi *s)
{
	return s->op == DISK_WRITE || s->op == DISK_UNMAP || s->op == DISK_ZERO;
}

static void end(struct sm_cx *cx)
{
	const struct scsi *s = cx->self;
	struct rec_ended e = { .disk = s->disk, .is_request = s->is_request, .lun = s->lun };

	if (changes_disk(s)) {
		e.lba = s->lba;
		e.count = s->count;
	}
	sm_post(cx, controller_of(s), storvsp_EV_ENDED, &e, NULL, 0);
	sm_retire(cx);
}

static void send(struct sm_cx *cx)
{
	const struct scsi *s = cx->self;
	struct sm_ref to = { KIND_channel, (uint16_t)s->channel, s->channel_generation };
	struct rec_channel_send r = { .transaction = s->transaction, .type = s->type,
				      .ends_request = s->ends_request };

	if (s->wanted) {
		sm_post(cx, to, channel_EV_SEND, &r, s->packet, VSTOR_BYTES);
		return;
	}
	if (s->ends_request)
		sm_post(cx, to, channel_EV_ENDED, NULL, NULL, 0);
	end(cx);
}

static void end_well(struct sm_cx *cx, uint64_t transferred)
{
	struct scsi *s = cx->self;

	vstor_end_srb(s->packet, SRB_SUCCESS, SCSI_GOOD, (uint32_t)transferred);
	send(cx);
}

static void end_busy(struct sm_cx *cx)
{
	vstor_end_srb(((struct scsi *)cx->self)->packet, SRB_SUCCESS, SCSI_BUSY, 0);
	send(cx);
}

static void end_with_sense(struct sm_cx *cx, uint32_t sense)
{
	struct scsi *s = cx->self;

	vstor_end_srb(s->packet, SRB_ERROR | SRB_AUTOSENSE, SCSI_CHECK_CONDITION, 0);
	scsi_put_sense(s->packet + VSTOR_AT_SENSE, sense);
	s->packet[VSTOR_AT_SENSE_LENGTH] = SCSI_SENSE_BYTES;
	send(cx);
}

/* ---- commands that are answered at once ------------------------------- */

/* Writes @n bytes into the guest's pages, as far as it brought any; returns how
 * many went there. */
static uint64_t write_data(struct sm_cx *cx, const uint8_t *data, uint64_t n)
{
	const struct rec_srb *p = cx->p;
	uint64_t pairs[2 * DATA_PAIRS], got;
	struct rec_guest_write w = { 0 };
	uint8_t tail[sizeof(pairs) + SCSI_DATA_MAX];
	size_t head;

	if (n > get_le32(packet_of(cx) + VSTOR_AT_TRANSFER))
		n = get_le32(packet_of(cx) + VSTOR_AT_TRANSFER);
	w.n_segments = gpa_list_pairs(cx->tail, p->gpa_ranges, 0, n, pairs, DATA_PAIRS, &got);
	if (got == 0)
		return 0;
	head = (size_t)w.n_segments * 16;
	memcpy(tail, pairs, head);
	memcpy(tail + head, data, (size_t)got);
	sm_effect(cx, EFFECT_GUEST_WRITE, &w, tail, head + (size_t)got);
	return got;
}

static struct scsi_disk disk_of(const struct rec_srb *p)
{
	return (struct scsi_disk){ .blocks = p->blocks,
				   .identity = { p->identity[0], p->identity[1] },
				   .block_bytes = p->block_bytes,
				   .read_only = p->lun_flags & DISK_READ_ONLY,
				   .write_through = p->lun_flags & LUN_WRITE_THROUGH,
				   .optical = p->lun_flags & DISK_OPTICAL,
				   .tray_open = p->lun_flags & LUN_TRAY_OPEN,
				   .locked = p->lun_flags & LUN_LOCKED };
}

static size_t put_requested(uint8_t data[SCSI_DATA_MAX], const struct scsi_command *c,
			    uint32_t sense)
{
	if (c->descriptor) {
		scsi_put_sense_descriptor(data, sense);
		return SCSI_SENSE_DESCRIPTOR_BYTES;
	}
	scsi_put_sense(data, sense);
	return SCSI_SENSE_BYTES;
}

/* Parameter data of a command; 0: it has none, or not the page asked for. */
static size_t data_of(const struct rec_srb *p, const struct scsi_plan *plan,
		      uint8_t data[SCSI_DATA_MAX])
{
	struct scsi_disk d = disk_of(p);

	switch (plan->c.kind) {
	case SCSI_INQUIRY:
		return scsi_put_inquiry(data, &plan->c, plan->no_lun ? NULL : &d);
	case SCSI_REPORT_LUNS:
		return scsi_put_luns(data, plan->c.page == SCSI_LUNS_WELL_KNOWN ? 0 : p->luns[0]);
	case SCSI_READ_CAPACITY_10:
	case SCSI_READ_CAPACITY_16:
		return scsi_put_capacity(data, &plan->c, &d);
	case SCSI_MODE_SENSE_6:
	case SCSI_MODE_SENSE_10:
		return scsi_put_mode(data, &plan->c, &d);
	case SCSI_REQUEST_SENSE:
		return put_requested(data, &plan->c, scsi_plan_request_sense(p));
	case SCSI_READ_TOC:
		return scsi_put_toc(data, &plan->c, &d);
	case SCSI_GET_CONFIGURATION:
		return scsi_put_configuration(data, &plan->c, &d);
	case SCSI_GET_EVENT:
		return scsi_put_event(data, &plan->c, &d, p->event);
	case SCSI_READ_DISC_INFORMATION:
		return scsi_put_disc_information(data);
	case SCSI_MECHANISM_STATUS:
		return scsi_put_mechanism(data, &d);
	default:
		return 0;
	}
}

static bool returns_page(const struct scsi_command *c)
{
	return c->kind == SCSI_INQUIRY || c->kind == SCSI_MODE_SENSE_6 ||
	       c->kind == SCSI_MODE_SENSE_10 || c->kind == SCSI_READ_TOC;
}

/* A LUN that went is told as such, so that the guest removes it; one that never
 * was, is not (protocol C.3: the guest would remove another one). */
static void answer_sense(struct sm_cx *cx, const struct scsi_plan *plan)
{
	const struct rec_srb *p = cx->p;

	if (plan->no_lun && (p->lun_flags & LUN_VANISHED)) {
		vstor_end_srb(((struct scsi *)cx->self)->packet, SRB_INVALID_LUN,
			      SCSI_CHECK_CONDITION, 0);
		send(cx);
		return;
	}
	end_with_sense(cx, plan->sense);
}

#if HOLDFAST_SABOTAGE
/* A parser's bug, for the tests: this operation code ends the owner, or, by the
 * byte behind it, never returns; else the hands have one (devices/sabotage.h). */
static void sabotage(const uint8_t *cdb)
{
	if (cdb[0] != 0xde)
		return;
	if (cdb[1] == 0)
		__builtin_trap();
	for (volatile unsigned n = 0; cdb[1] == 1; n++)
		;
}
#endif

static void answer(struct sm_cx *cx)
{
	struct scsi_plan plan = plan_of(cx);
	uint8_t data[SCSI_DATA_MAX];
	size_t n;

#if HOLDFAST_SABOTAGE
	sabotage(packet_of(cx) + VSTOR_AT_CDB);
#endif
	if (plan.way != SCSI_WAY_ANSWER) { /* no room for its page list */
		plan.way = SCSI_WAY_ANSWER;
		keep_request(cx, &plan);
		end_busy(cx);
		return;
	}
	keep_request(cx, &plan);
	if (plan.sense) {
		answer_sense(cx, &plan);
		return;
	}
	n = data_of(cx->p, &plan, data);
	if (n == 0 && returns_page(&plan.c)) {
		end_with_sense(cx, SENSE_FIELD);
		return;
	}
	if (n > plan.c.allocation)
		n = plan.c.allocation;
	end_well(cx, write_data(cx, data, n));
}

/* ---- disk requests ---------------------------------------------------- */

/* Range of the disk that the next submission is about. */
static void current_range(const struct sm_cx *cx, uint64_t *ret_lba, uint64_t *ret_count)
{
	const struct scsi *s = cx->self;
	uint64_t pair[2] = { s->lba, s->count };

	if (s->extents)
		sm_blob_read(cx, s->extents, (size_t)s->extent * sizeof(pair), pair, sizeof(pair));
	*ret_lba = pair[0];
	*ret_count = pair[1];
}

static uint16_t flags_of(const struct scsi *s)
{
	return (uint16_t)((s->fua ? DISK_FLAG_FUA : 0) |
			  (s->lun_flags & DISK_BLOCK_DEVICE ? DISK_FLAG_BLOCK_DEVICE : 0));
}

static void submit(struct sm_cx *cx)
{
	struct scsi *s = cx->self;
	uint64_t pairs[2 * LIMIT_SEGMENTS], lba, count, bytes = 0;
	uint8_t gpas[LIMIT_PACKET];
	struct rec_disk_submit d = { .generation = (uint32_t)cx->seq, .request = cx->ref.index,
				     .fd = s->fd, .op = s->op, .flags = flags_of(s) };
	uint32_t n = 0;

	current_range(cx, &lba, &count);
	d.offset = lba * s->block_bytes + s->done;
	d.bytes = s->op == DISK_FLUSH ? 0 : count * s->block_bytes;
	if (s->op == DISK_READ || s->op == DISK_WRITE) {
		sm_blob_read(cx, s->gpas, 0, gpas, sizeof(gpas));
		n = s->same ? gpa_list_repeat(gpas, s->gpa_ranges, s->block_bytes,
					      s->bytes - s->done, pairs, LIMIT_SEGMENTS, &bytes)
			    : gpa_list_pairs(gpas, s->gpa_ranges, s->done, s->bytes - s->done,
					     pairs, LIMIT_SEGMENTS, &bytes);
		d.bytes = bytes;
	}
	s->generation = d.generation;
	sm_effect(cx, EFFECT_DISK_SUBMIT, &d, pairs, (size_t)n * 16);
}

static void begin_transfer(struct sm_cx *cx)
{
	const struct rec_srb *p = cx->p;
	struct scsi_plan plan = plan_of(cx);
	struct scsi *s = cx->self;

	keep_request(cx, &plan);
	s->gpa_ranges = p->gpa_ranges;
	sm_blob_set(cx, &s->gpas, cx->tail, p->gpa_bytes);
	submit(cx);
}

static void begin_action(struct sm_cx *cx)
{
	struct scsi_plan plan = plan_of(cx);

	keep_request(cx, &plan);
	submit(cx);
}

static void fetch_list(struct sm_cx *cx)
{
	const struct rec_srb *p = cx->p;
	struct scsi_plan plan = plan_of(cx);
	struct scsi *s = cx->self;
	uint64_t pairs[2 * LIMIT_SEGMENTS], got;
	struct rec_guest_read r = { .kind = KIND_scsi, .index = cx->ref.index,
				    .generation = cx->ref.generation, .event = scsi_EV_FETCHED };
	uint32_t n = gpa_list_pairs(cx->tail, p->gpa_ranges, 0, plan.bytes, pairs, LIMIT_SEGMENTS,
				    &got);

	keep_request(cx, &plan);
	if (plan.op == DISK_ZERO) {
		s->gpa_ranges = p->gpa_ranges;
		sm_blob_set(cx, &s->gpas, cx->tail, p->gpa_bytes);
	}
	sm_effect(cx, EFFECT_GUEST_READ, &r, pairs, (size_t)n * 16);
}

/* ---- parameter lists -------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* Extents of a fetched list: > 0, or 0 nothing to do, < 0 as scsi_parse_unmap(). */
static int extents_of(const struct sm_cx *cx, uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS])
{
	const struct rec_fetched *p = cx->p;
	const struct scsi *s = cx->self;

	if (p->status || cx->tail_len < s->bytes)
		return UNMAP_E_LIST;
	if (s->op == DISK_UNMAP)
		return scsi_parse_unmap(cx->tail, (size_t)s->bytes, s->blocks, s->block_bytes,
					pairs);
	pairs[0] = s->lba;
	pairs[1] = s->count;
	return all_zero(cx->tail, (size_t)s->bytes) ? 1 : UNMAP_E_LIST;
}

static bool list_sound(const struct sm_cx *cx)
{
	uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS];

	if (((const struct scsi *)cx->self)->op == DISK_FLUSH)
		return false;
	return extents_of(cx, pairs) > 0 &&
	       world_blob_room(cx->world) > sizeof(pairs) / LIMIT_BLOB_CHUNK;
}

/* `lba` and `count` become what spans all extents: that is what overlaps. */
static void begin_list(struct sm_cx *cx)
{
	uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS], end_lba = 0;
	int n = extents_of(cx, pairs);
	struct scsi *s = cx->self;

	s->lba = pairs[0];
	for (int i = 0; i < n; i++) {
		if (pairs[2 * i] < s->lba)
			s->lba = pairs[2 * i];
		if (pairs[2 * i] + pairs[2 * i + 1] > end_lba)
			end_lba = pairs[2 * i] + pairs[2 * i + 1];
	}
	s->count = end_lba - s->lba;
	s->bytes = 0;
	sm_blob_set(cx, &s->extents, pairs, (size_t)n * 16);
	submit(cx);
}

/* WRITE SAME of a block that is not all zeros, which lies in few enough pieces. */
static bool repeats_block(const struct sm_cx *cx)
{
	const struct scsi *s = cx->self;
	uint64_t pairs[2 * LIMIT_SEGMENTS], got;
	uint8_t gpas[LIMIT_PACKET];

	if (s->op != DISK_ZERO || ((const struct rec_fetched *)cx->p)->status ||
	    cx->tail_len < s->bytes || all_zero(cx->tail, (size_t)s->bytes))
		return false;
	sm_blob_read(cx, s->gpas, 0, gpas, sizeof(gpas));
	return gpa_list_repeat(gpas, s->gpa_ranges, s->block_bytes, s->block_bytes, pairs,
			       LIMIT_SEGMENTS, &got) != 0;
}

/* The disk takes the guest's block from its own page, for every block anew. */
static void begin_same(struct sm_cx *cx)
{
	struct scsi *s = cx->self;

	s->same = true;
	s->op = DISK_WRITE;
	s->bytes = s->count * s->block_bytes;
	s->fua = s->lun_flags & LUN_WRITE_THROUGH;
	submit(cx);
}

/* A sense, or 0 and what the guest sets. */
static uint32_t mode_of(const struct sm_cx *cx, bool *ret_write_through)
{
	const struct scsi *s = cx->self;
	struct scsi_disk d = { .block_bytes = s->block_bytes,
			       .write_through = s->lun_flags & LUN_WRITE_THROUGH };

	if (((const struct rec_fetched *)cx->p)->status || cx->tail_len < s->bytes)
		return SENSE_LIST;
	return scsi_parse_mode_select(cx->tail, (size_t)s->bytes,
				      s->packet[VSTOR_AT_CDB] == OPCODE_MODE_SELECT_6, &d,
				      ret_write_through);
}

static bool mode_sound(const struct sm_cx *cx)
{
	bool unused;

	return ((const struct scsi *)cx->self)->op == DISK_FLUSH && mode_of(cx, &unused) == 0;
}

static void begin_mode(struct sm_cx *cx)
{
	struct scsi *s = cx->self;
	struct rec_relid r = { .relid = s->lun - 1u };
	bool write_through;

	mode_of(cx, &write_through);
	r.value = write_through;
	sm_post(cx, controller_of(s), storvsp_EV_MODE, &r, NULL, 0);
	s->bytes = 0;
	submit(cx);
}

static void answer_mode(struct sm_cx *cx)
{
	bool unused;

	((struct scsi *)cx->self)->op = 0;
	end_with_sense(cx, mode_of(cx, &unused));
}

static void answer_list(struct sm_cx *cx)
{
	uint64_t pairs[2 * SCSI_UNMAP_DESCRIPTORS];
	struct scsi *s = cx->self;
	int n;

	if (s->op == DISK_FLUSH) {
		answer_mode(cx);
		return;
	}
	n = extents_of(cx, pairs);
	s->op = 0; /* nothing was changed */
	if (n == 0)
		end_well(cx, get_le32(s->packet + VSTOR_AT_TRANSFER));
	else if (n > 0)
		end_busy(cx);
	else
		end_with_sense(cx, n == UNMAP_E_RANGE	 ? SENSE_RANGE
				   : n == UNMAP_E_LENGTH ? SENSE_LIST_LENGTH
							 : SENSE_LIST);
}

/* ---- completions ------------------------------------------------------ */

static int32_t result_of(const struct sm_cx *cx)
{
	return (int32_t)((const struct rec_disk_done *)cx->p)->result;
}

static bool is_other(const struct sm_cx *cx)
{
	return ((const struct rec_disk_done *)cx->p)->generation !=
	       ((const struct scsi *)cx->self)->generation;
}

static bool moved_part(const struct scsi *s, int32_t result)
{
	return s->bytes && result >= (int32_t)s->block_bytes &&
	       (uint64_t)result < s->bytes - s->done;
}

static bool more_extents(const struct sm_cx *cx, int32_t result)
{
	const struct scsi *s = cx->self;

	return result >= 0 && s->extents && (s->extent + 1u) * 16u < sm_blob_len(cx, s->extents);
}

static bool has_more(const struct sm_cx *cx)
{
	const struct scsi *s = cx->self;
	int32_t result = result_of(cx);

	return !s->stale && (moved_part(s, result) || more_extents(cx, result));
}

static void settle(struct sm_cx *cx)
{
	struct scsi *s = cx->self;

	if (s->orphan)
		sm_post(cx, controller_of(s), storvsp_EV_SETTLED, NULL, NULL, 0);
	s->orphan = false;
}

/* A short count: go on behind the last whole block. */
static void go_on(struct sm_cx *cx)
{
	struct scsi *s = cx->self;
	uint64_t moved = (uint32_t)result_of(cx);

	settle(cx);
	if (s->bytes)
		s->done += moved / s->block_bytes * s->block_bytes;
	else
		s->extent++;
	submit(cx);
}

/* The kernel never ran it, or not a whole block of it. */
static bool not_done(const struct scsi *s, int32_t result)
{
	return result == -IO_INTERRUPTED || result == -IO_AGAIN || result == -IO_FAULT ||
	       result == -IO_CANCELED ||
	       (s->bytes && result > 0 && result < (int32_t)s->block_bytes);
}

static bool may_reissue(const struct sm_cx *cx)
{
	const struct scsi *s = cx->self;

	return not_done(s, result_of(cx)) && !s->stale && s->reissues < LIMIT_REISSUES;
}

static void reissue(struct sm_cx *cx)
{
	settle(cx);
	((struct scsi *)cx->self)->reissues++;
	submit(cx);
}

static bool succeeded(const struct scsi *s, int32_t result)
{
	return result >= 0 && (s->bytes == 0 || (uint64_t)result >= s->bytes - s->done);
}

/* A sense, or 0: busy. */
static uint32_t sense_of(const struct scsi *s, int32_t result)
{
	if (s->stale && (not_done(s, result) || result >= 0))
		return SENSE_RESET;
	return scsi_sense_of_error(result < 0 ? (uint32_t)-result : 0, s->op != DISK_READ);
}

static void finish(struct sm_cx *cx)
{
	struct scsi *s = cx->self;
	int32_t result = result_of(cx);
	bool whole = succeeded(s, result) && !more_extents(cx, result);
	bool moved = s->bytes && !s->same;
	uint32_t sense = whole ? 0 : sense_of(s, result);

	settle(cx);
	if (whole)
		end_well(cx, moved ? s->bytes : get_le32(s->packet + VSTOR_AT_TRANSFER));
	else if (sense)
		end_with_sense(cx, sense);
	else
		end_busy(cx);
}

/* ---- quarantine ------------------------------------------------------- */

/* Not the completion of an older submission: the kernel may still have this one. */
static bool is_own_end(const struct sm_cx *cx)
{
	const struct rec_quarantine *p = cx->p;
	struct rec_disk_done done;

	if (p->code != scsi_EV_DISK_DONE || cx->tail_len < sizeof(done))
		return true;
	memcpy(&done, cx->tail, sizeof(done));
	return done.generation == ((const struct scsi *)cx->self)->generation;
}

static void give_up(struct sm_cx *cx)
{
	struct scsi *s = cx->self;

	settle(cx);
	end_with_sense(cx, s->op == DISK_READ ? SENSE_READ_ERROR : SENSE_WRITE_ERROR);
}

/* ---- another owner ---------------------------------------------------- */

static bool is_settled(const struct sm_cx *cx)
{
	return !((const struct scsi *)cx->self)->orphan;
}

static void become_orphan(struct sm_cx *cx)
{
	struct scsi *s = cx->self;

	s->orphan = true;
	sm_post(cx, controller_of(s), storvsp_EV_ORPHANED, NULL, NULL, 0);
}

/* Only what changes the disk can be overtaken: a read that never ran may run
 * at any time before it is answered. */
static bool is_overtaken(const struct sm_cx *cx)
{
	const struct rec_overlap *p = cx->p;
	const struct scsi *s = cx->self;

	return s->orphan && changes_disk(s) && (s->disk == p->disk || p->disk == OVERLAP_ANY) &&
	       s->lba < p->lba + p->count && p->lba < s->lba + s->count;
}

static void become_stale(struct sm_cx *cx)
{
	((struct scsi *)cx->self)->stale = true;
}

/* ---- finished answers ------------------------------------------------- */

static bool is_held(const struct sm_cx *cx)
{
	return ((const struct rec_reply *)cx->p)->held != 0;
}

static void keep_reply(struct sm_cx *cx)
{
	const struct rec_reply *p = cx->p;
	struct scsi *s = cx->self;

	s->transaction = p->transaction;
	s->channel = p->channel;
	s->channel_generation = p->channel_generation;
	s->controller = p->controller;
	s->type = p->type;
	s->ends_request = p->ends_request != 0;
	s->wanted = p->completion_wanted != 0;
	memcpy(s->packet, cx->tail, cx->tail_len < VSTOR_BYTES ? cx->tail_len : VSTOR_BYTES);
}

static void send_reply(struct sm_cx *cx)
{
	keep_reply(cx);
	send(cx);
}

static bool is_own_channel(const struct sm_cx *cx)
{
	return ((const struct rec_relid *)cx->p)->relid ==
	       ((const struct scsi *)cx->self)->channel;
}

#define SM_DEF "statemachines/scsi.def"
#define SM_PREFIX scsi
#define SM_KIND KIND_scsi
#define SM_CAPACITY CAPACITY_scsi
#define SM_QUARANTINE scsi_EV_QUARANTINE
#define SM_DOC \
	"A storage request, from its packet to its completion (protocol C.3, C.4; SPC-4, SBC-3; DESIGN 4)."
#include "engine/sm_define.h"
