/* The hands without a lane: effects performed once and again, inputs gathered
 * once, and both after everything was thrown away. lane_offer() is the test's. */
#include "devices/hands_state.h"

#include "devices/console.h"
#include "devices/test_bed.h"
#include "statemachines/channel.h"
#include "statemachines/gpadl.h"
#include "statemachines/heartbeat_ic.h"
#include "statemachines/scsi.h"
#include "statemachines/vmbus.h"
#include "statemachines/vmbus_msg.h"
#include "statemachines/vp.h"

#include <time.h>

enum { CH = 5, RING_PAGES = 4, GPADL_PFN = 64, SIEFP = 0x20000, DATA_GPA = 0x100000 };

static const struct registry registry = { .machines = machines, .effects = effects,
					  .n_effects = EFFECT_CODES, .max_level = 1 };
static struct custody c;
static struct world *w;
static struct hands *h;
static int disk_row;

/* ---- the lane's part ---------------------------------------------------- */

static struct lane_event got[256];
static uint8_t got_bytes[256][512];
static unsigned n_got;

bool lane_offer(struct lane *l, const struct lane_event *e)
{
	uint32_t len = e->fixed_len + e->tail_len;

	(void)l;
	if (n_got == ARRAY_LEN(got) || len > sizeof(got_bytes[0]))
		return false;
	got[n_got] = *e;
	memcpy(got_bytes[n_got], e->fixed, e->fixed_len);
	if (e->tail_len)
		memcpy(got_bytes[n_got] + e->fixed_len, e->tail, e->tail_len);
	got[n_got].fixed = got_bytes[n_got];
	n_got++;
	return true;
}

static unsigned collect(void)
{
	n_got = 0;
	return hands_collect(h, w, NULL, LIMIT_BATCH);
}

/* What a turn does with the event's position. */
static void take(void)
{
	for (unsigned i = 0; i < n_got; i++)
		world_lane(w)->source_pos[got[i].source] = got[i].source_pos;
	hands_taken(h);
}

static void answers(void)
{
	n_got = 0;
	hands_answers(h, NULL);
}

static void perform(uint16_t code, uint64_t seq, const void *fixed, const void *tail, size_t len,
		    bool redo)
{
	struct effect e = { .head = { .code = code }, .p = fixed, .tail = tail,
			    .tail_len = (uint32_t)len, .seq = seq };

	hands_perform(h, &e, redo);
}

/* ---- a guest ------------------------------------------------------------ */

static void pfns(uint64_t list[2 * RING_PAGES])
{
	for (unsigned i = 0; i < 2 * RING_PAGES; i++)
		list[i] = GPADL_PFN + 3 * i;
}

static struct ring_header *header(unsigned page)
{
	return (struct ring_header *)(void *)(uintptr_t)guestmem_at(
		&h->mem, (uint64_t)(GPADL_PFN + 3 * page) * GUESTMEM_PAGE, GUESTMEM_PAGE);
}

static void open_channel(void)
{
	struct channel *m = world_place(w, KIND_channel, CH, 1);
	struct gpadl *g = world_place(w, KIND_gpadl, 0, 1);
	uint64_t list[2 * RING_PAGES];

	pfns(list);
	m->sm.state = channel_OPEN;
	m->relid = CH;
	m->gpadl_generation = 1;
	m->in_size = m->out_size = (RING_PAGES - 1) * GUESTMEM_PAGE;
	m->door_seq = 1;
	m->target_vp = 1;
	g->pfns = world_blob_new(w, list, sizeof(list));
}

static void guest_sends(unsigned n)
{
	uint16_t d[8] = { 6, 2, 8, 1 };
	struct ring in = h->chan[CH].in;
	uint8_t packet[64] = { 0 };

	memcpy(packet, d, sizeof(d));
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = atomic_load(&in.header->write_index);

		packet[16] = (uint8_t)i;
		ring_publish(&in, at, ring_put(&in, at, packet, sizeof(packet)));
	}
}

static void make(void)
{
	bed_make(&c);
	disk_row = bed_disk(&c, 1 << 20);
	w = world_new(&registry);
	world_reset(w, 0xA5);
	world_spawn_fixed(w, KIND_vp, CAPACITY_vp);
	h = hands_new(&c, &registry);
	cr_assert_not_null(h);
	hands_arm(h, 1);
	((struct vp *)(uintptr_t)world_at(w, KIND_vp, 1))->siefp = SIEFP | 1;
	open_channel();
	cr_assert_eq(hands_rebuild(h, w), 0);
	cr_assert_eq(hands_take_over(h, w), 0);
}

TestSuite(hands, .init = make, .timeout = 60);

/* ---- rings -------------------------------------------------------------- */

Test(hands, packets_come_once_and_the_ring_is_released_later)
{
	struct rec_ring_consumed done = { .channel = CH, .target_vp = 1 };

	guest_sends(3);
	cr_assert_eq(collect(), 3);
	cr_assert_eq(got[0].kind, KIND_channel);
	cr_assert_eq(got[0].code, channel_EV_PACKET);
	cr_assert_eq(got[0].tail_len, 64);
	cr_assert_eq(got_bytes[2][sizeof(struct rec_packet) + 16], 2);
	cr_assert_eq(atomic_load(&header(0)->read_index), 0);
	cr_assert_eq(atomic_load(&header(0)->interrupt_mask), 1);
	take();
	done.position = 3 * 72;
	perform(EFFECT_RING_CONSUMED, 2, &done, NULL, 0, false);
	cr_assert_eq(atomic_load(&header(0)->read_index), 0);
	hands_flush(h);
	cr_assert_eq(atomic_load(&header(0)->read_index), 3 * 72);
	cr_assert_eq(collect(), 0);
	cr_assert_eq(atomic_load(&header(0)->interrupt_mask), 0);
	guest_sends(1);
	cr_assert_eq(collect(), 0, "nobody rang");
	hands_readable(h, h->door_fd[CH]);
	cr_assert_eq(collect(), 1);
}

/* The guest signals only when it finds the ring empty: by the published index. */
Test(hands, a_packet_sent_before_the_index_is_published_is_not_lost)
{
	struct rec_ring_consumed done = { .channel = CH, .position = 72, .target_vp = 1 };

	guest_sends(1);
	cr_assert_eq(collect(), 1);
	take();
	cr_assert_eq(atomic_load(&header(0)->interrupt_mask), 1);
	guest_sends(1);
	perform(EFFECT_RING_CONSUMED, 2, &done, NULL, 0, false);
	hands_flush(h);
	cr_assert_eq(collect(), 1);
}

Test(hands, a_bad_ring_is_told_once)
{
	atomic_store(&header(0)->write_index, 3);
	cr_assert_eq(collect(), 1);
	cr_assert_eq(got[0].code, channel_EV_RING_BAD);
	hands_readable(h, h->door_fd[CH]);
	cr_assert_eq(collect(), 0);
}

Test(hands, a_channel_that_is_not_open_keeps_its_packets)
{
	struct channel *m = (struct channel *)(uintptr_t)world_at(w, KIND_channel, CH);

	m->sm.state = channel_ARMING;
	guest_sends(1);
	cr_assert_eq(collect(), 0);
	m->sm.state = channel_OPEN;
	cr_assert_eq(collect(), 1);
}

static void send_packet(uint64_t position, uint64_t seq, bool redo)
{
	struct rec_ring_send s = { .position = position, .channel = CH, .target_vp = 1 };
	uint16_t d[8] = { 11, 2, 2, 0 };

	perform(EFFECT_RING_SEND, seq, &s, d, sizeof(d), redo);
}

Test(hands, a_packet_out_is_written_once)
{
	const uint8_t *flags = guestmem_at(&h->mem, SIEFP + 0x200, 32);

	send_packet(0, 2, false);
	send_packet(24, 3, false);
	cr_assert_eq(atomic_load(&header(RING_PAGES)->write_index), 0);
	hands_flush(h);
	cr_assert_eq(atomic_load(&header(RING_PAGES)->write_index), 48);
	cr_assert_eq(flags[0], 1 << CH);
	cr_assert_eq(bed_count(&c, "irq.1"), 1);
	cr_assert_eq(bed_count(&c, "irq.0"), 0);
	/* Thrown away and performed again: the bytes the guest may have changed stay. */
	atomic_store(&header(RING_PAGES)->read_index, 48);
	memset(h->chan[CH].out.page[0], 0x77, 48);
	hands_rebuild(h, w);
	hands_take_over(h, w);
	send_packet(0, 2, true);
	send_packet(24, 3, true);
	send_packet(48, 4, true);
	hands_flush(h);
	cr_assert_eq(h->chan[CH].out.page[0][0], 0x77);
	cr_assert_eq(h->chan[CH].out.page[0][47], 0x77);
	cr_assert_eq(h->chan[CH].out.page[0][48], 11);
	cr_assert_eq(atomic_load(&header(RING_PAGES)->write_index), 72);
	cr_assert_eq(bed_count(&c, "irq.1"), 0, "the flag was set already");
	hands_kick_all(h);
	cr_assert_eq(bed_count(&c, "irq.1"), 1, "but a take-over signals whatever the flag says");
}

Test(hands, space_is_told_at_once_or_when_the_guest_has_made_it)
{
	struct rec_channel_ref want = { .channel = CH, .value = 48 };
	const uint32_t size = (RING_PAGES - 1) * GUESTMEM_PAGE;

	perform(EFFECT_RING_POLL, 2, &want, NULL, 0, false);
	answers();
	cr_assert_eq(n_got, 1);
	cr_assert_eq(got[0].code, channel_EV_SPACE);
	h->chan[CH].out_position = size - 24;
	perform(EFFECT_RING_POLL, 3, &want, NULL, 0, false);
	answers();
	cr_assert_eq(n_got, 0);
	cr_assert_eq(atomic_load(&header(RING_PAGES)->pending_send_sz), 48);
	hands_readable(h, h->door_fd[CH]);
	cr_assert_eq(collect(), 0);
	atomic_store(&header(RING_PAGES)->read_index, 240);
	hands_readable(h, h->door_fd[CH]);
	cr_assert_eq(collect(), 1);
	cr_assert_eq(got[0].code, channel_EV_SPACE);
	cr_assert_eq(((const struct rec_ring_space *)got[0].fixed)->read_index, 240);
	cr_assert_eq(atomic_load(&header(RING_PAGES)->pending_send_sz), 0);
}

Test(hands, mapping_answers_with_the_headers)
{
	struct rec_ring_map map = { .channel = 9, .generation = 77, .in_pages = 2, .out_pages = 2 };
	uint64_t list[2 * RING_PAGES];
	const struct rec_ring_mapped *m;

	pfns(list);
	atomic_store(&header(2)->write_index, 40);
	perform(EFFECT_RING_MAP, 2, &map, list, sizeof(list), false);
	answers();
	m = got[0].fixed;
	cr_assert_eq(got[0].index, 9);
	cr_assert_eq(m->status, 0);
	cr_assert_eq(m->generation, 77);
	cr_assert_eq(m->in_size, GUESTMEM_PAGE);
	cr_assert_eq(m->out_write, 40);
	cr_assert_eq(atomic_load(&header(2)->features), 1);
	list[1] = BED_RAM / GUESTMEM_PAGE;
	perform(EFFECT_RING_MAP, 3, &map, list, sizeof(list), false);
	answers();
	cr_assert_eq(((const struct rec_ring_mapped *)got[0].fixed)->status, EFAULT);
	cr_assert_not(channels_has(&h->mapped, 9));
}

/* ---- processors --------------------------------------------------------- */

Test(hands, an_exit_is_taken_once_and_answered_once)
{
	struct wire_mailbox *m = &c.mailbox[1];
	struct rec_mailbox_answer a = { .value = 99, .generation = 4, .vp = 1 };

	m->exit = EXIT_PIO;
	m->address = 0x3F8;
	m->size = 1;
	m->value = 'x';
	atomic_store(&m->state, 4 << 2 | MAILBOX_POSTED);
	cr_assert_eq(collect(), 1);
	cr_assert_eq(got[0].kind, KIND_vp);
	cr_assert_eq(got[0].index, 1);
	cr_assert_eq(got[0].code, vp_EV_PIO);
	cr_assert_eq(((const struct rec_exit_pio *)got[0].fixed)->port, 0x3F8);
	take();
	cr_assert_eq(collect(), 0);
	perform(EFFECT_MAILBOX_ANSWER, 2, &a, NULL, 0, false);
	cr_assert_eq(atomic_load(&m->state), 4 << 2 | MAILBOX_ANSWERED);
	cr_assert_eq(m->answer, 99);
	atomic_store(&m->state, 5 << 2 | MAILBOX_POSTED);
	a.value = 11;
	perform(EFFECT_MAILBOX_ANSWER, 2, &a, NULL, 0, true);
	cr_assert_eq(atomic_load(&m->state), 5 << 2 | MAILBOX_POSTED);
	cr_assert_eq(m->answer, 99);
}

Test(hands, messages_are_queued_once)
{
	struct rec_message m = { .vp = 1, .sint = 2 };

	perform(EFFECT_MESSAGE, 7, &m, "offer", 5, false);
	perform(EFFECT_MESSAGE, 7, &m, "offer", 5, true);
	perform(EFFECT_MESSAGE, 8, &m, "next", 4, true);
	cr_assert_eq(atomic_load(&c.message[1].head), 2);
	cr_assert_eq(c.message[1].entry[1].bytes, 4);
	/* Killed between the id and the head. */
	atomic_store(&c.message[1].head, 1);
	hands_take_over(h, w);
	cr_assert_eq(atomic_load(&c.message[1].head), 2);
	hands_take_over(h, w);
	cr_assert_eq(atomic_load(&c.message[1].head), 2);
}

Test(hands, posted_messages_wait_while_answers_have_no_room)
{
	c.posted->entry[0] = (struct wire_posted){ .connection_id = 1, .message_type = 1,
						   .bytes = 8 };
	atomic_store(&c.posted->head, 1);
	atomic_store(&c.message[0].head, LIMIT_MESSAGE_QUEUE);
	cr_assert_eq(collect(), 0);
	cr_assert_lt(hands_patience(h), 0.01);
	/* The spare places are not for them. */
	atomic_store(&c.message[0].tail, LIMIT_MESSAGE_SPARE);
	cr_assert_eq(collect(), 0);
	atomic_store(&c.message[0].tail, LIMIT_MESSAGE_SPARE + 1);
	c.posted->entry[0].payload[0] = VMBUS_REQUEST_OFFERS;
	cr_assert_eq(collect(), 0);
	c.posted->entry[0].payload[0] = VMBUS_UNLOAD;
	cr_assert_eq(collect(), 1);
	cr_assert_eq(got[0].code, vmbus_EV_POSTED);
	cr_assert_eq(atomic_load(&c.posted->tail), 0);
	take();
	cr_assert_eq(atomic_load(&c.posted->tail), 1);
	cr_assert_eq(collect(), 0);
}

/* A processor that reads none of its messages keeps nobody else from theirs. */
Test(hands, posted_messages_wait_for_no_processor_but_the_one_that_is_answered)
{
	c.posted->entry[0] = (struct wire_posted){ .connection_id = 1, .message_type = 1,
						   .bytes = 8 };
	atomic_store(&c.posted->head, 1);
	atomic_store(&c.message[1].head, LIMIT_MESSAGE_QUEUE);
	cr_assert_eq(collect(), 1);
	cr_assert_eq(got[0].code, vmbus_EV_POSTED);
}

/* A guest that posts without end takes a share of each batch from its own rings. */
Test(hands, posted_messages_take_a_share_while_a_ring_waits)
{
	for (unsigned i = 0; i < LIMIT_MESSAGE_QUEUE; i++)
		c.posted->entry[i] = (struct wire_posted){ .connection_id = 1, .message_type = 1,
							   .bytes = 8 };
	atomic_store(&c.posted->head, LIMIT_MESSAGE_QUEUE);
	channels_remove(&h->ready, CH);
	cr_assert_eq(collect(), LIMIT_BATCH);
	channels_add(&h->ready, CH);
	cr_assert_eq(collect(), LIMIT_BATCH / 4);
	cr_assert_eq(hands_patience(h), 1e-3);
	channels_remove(&h->ready, CH);
	++*h->uring.ring.cq.ktail;
	cr_assert_eq(collect(), LIMIT_BATCH / 4 + 1, "a completion waits, and is seen unrung");
}

/* ---- declared state ----------------------------------------------------- */

Test(hands, the_declared_page_is_whole_before_its_word_moves)
{
	struct rec_declare_vp d = { .vp = 0, .simp = 0x5001, .sint = { [2] = 0xF3 } };
	struct rec_declare_door door = { .channel = 7, .connection_id = 0x2007 };
	uint64_t before = atomic_load(&c.declared->commit), after;
	const struct wire_declared_copy *copy;

	cr_assert_eq(c.declared->copy[before & 1].door[CH], 0x2000 | CH);
	cr_assert_eq(c.declared->copy[before & 1].vp[1].sint[3], 0x10000);
	perform(EFFECT_DECLARE_VP, 20, &d, NULL, 0, false);
	perform(EFFECT_DECLARE_DOOR, 21, &door, NULL, 0, false);
	cr_assert_eq(atomic_load(&c.declared->commit), before);
	bed_count(&c, "part");
	hands_flush(h);
	after = atomic_load(&c.declared->commit);
	cr_assert_eq(after >> 1, 21);
	cr_assert_neq(after & 1, before & 1);
	cr_assert_eq(bed_count(&c, "part"), 1);
	copy = &c.declared->copy[after & 1];
	cr_assert_eq(copy->vp[0].simp, 0x5001);
	cr_assert_eq(copy->vp[1].siefp, SIEFP | 1);
	cr_assert_eq(copy->door[7], 0x2007);
	cr_assert_eq(c.declared->copy[before & 1].door[7], 0);
	hands_flush(h);
	cr_assert_eq(atomic_load(&c.declared->commit), after, "nothing changed");
}

/* ---- guest memory and disk ---------------------------------------------- */

static void write_guest(uint64_t seq, uint64_t gpa, const char *text, bool redo)
{
	struct rec_guest_write p = { .n_segments = 1 };
	uint8_t tail[32] = { 0 };
	uint64_t pair[2] = { gpa, strlen(text) };

	memcpy(tail, pair, sizeof(pair));
	memcpy(tail + sizeof(pair), text, strlen(text));
	perform(EFFECT_GUEST_WRITE, seq, &p, tail, sizeof(pair) + strlen(text), redo);
}

Test(hands, guest_memory_is_not_written_again_behind_the_guests_back)
{
	write_guest(5, DATA_GPA, "inquiry", false);
	write_guest(6, (uint64_t)1 << 40, "nowhere", false);
	guestmem_write(&h->mem, DATA_GPA, "reused!", 7);
	write_guest(5, DATA_GPA, "inquiry", true);
	cr_assert_eq(memcmp(guestmem_at(&h->mem, DATA_GPA, 7), "reused!", 7), 0);
	write_guest(7, DATA_GPA, "new one", true);
	cr_assert_eq(memcmp(guestmem_at(&h->mem, DATA_GPA, 7), "new one", 7), 0);
}

Test(hands, guest_memory_is_fetched_or_refused)
{
	struct rec_guest_read r = { .kind = KIND_scsi, .index = 3, .generation = 8, .event = 9 };
	uint64_t pairs[] = { DATA_GPA, 3, DATA_GPA + 100, 2, UINT64_MAX - 7, 4 };

	guestmem_write(&h->mem, DATA_GPA, "abc", 3);
	guestmem_write(&h->mem, DATA_GPA + 100, "de", 2);
	perform(EFFECT_GUEST_READ, 5, &r, pairs, 4 * sizeof(*pairs), false);
	perform(EFFECT_GUEST_READ, 6, &r, pairs, sizeof(pairs), false);
	answers();
	cr_assert_eq(n_got, 2);
	cr_assert_eq(got[0].generation, 8);
	cr_assert_eq(got[0].tail_len, 5);
	cr_assert_eq(memcmp(got_bytes[0] + sizeof(struct rec_fetched), "abcde", 5), 0);
	cr_assert_eq(((const struct rec_fetched *)got[1].fixed)->status, EFAULT);
	cr_assert_eq(got[1].tail_len, 0);
}

static struct rec_disk_submit submission(uint16_t op, uint32_t generation)
{
	return (struct rec_disk_submit){ .op = op, .generation = generation, .request = 17,
					 .fd = (uint16_t)disk_row, .offset = 4096, .bytes = 4096 };
}

static unsigned wait_collect(void)
{
	unsigned n;

	for (unsigned i = 0; i < 20000; i++) {
		hands_readable(h, h->cq_fd);
		n = collect();
		if (n)
			return n;
		usleep(1000);
	}
	return 0;
}

Test(hands, a_request_runs_once_and_completes_once)
{
	struct rec_disk_submit s = submission(DISK_WRITE, 31);
	uint64_t pair[] = { DATA_GPA, 4096 }, back[] = { DATA_GPA + 0x10000, 4096 };
	uint64_t nowhere[] = { BED_RAM, 4096 };

	guestmem_write(&h->mem, DATA_GPA, "on disk", 7);
	perform(EFFECT_DISK_SUBMIT, 5, &s, pair, sizeof(pair), false);
	perform(EFFECT_DISK_SUBMIT, 5, &s, pair, sizeof(pair), true);
	cr_assert_eq(atomic_load(&c.stats->inflight), 1);
	hands_flush(h);
	cr_assert_eq(wait_collect(), 1);
	cr_assert_eq(got[0].code, scsi_EV_DISK_DONE);
	cr_assert_eq(got[0].index, 17);
	cr_assert_eq(((const struct rec_disk_done *)got[0].fixed)->generation, 31);
	cr_assert_eq(((const struct rec_disk_done *)got[0].fixed)->result, 4096);
	cr_assert_eq(hands_requests_of(h, 1), 1);
	take();
	cr_assert_eq(hands_requests_of(h, 1), 0);
	s = submission(DISK_READ, 32);
	perform(EFFECT_DISK_SUBMIT, 6, &s, back, sizeof(back), false);
	hands_flush(h);
	cr_assert_eq(wait_collect(), 1);
	take();
	cr_assert_eq(memcmp(guestmem_at(&h->mem, back[0], 7), "on disk", 7), 0);
	s = submission(DISK_READ, 33);
	perform(EFFECT_DISK_SUBMIT, 7, &s, nowhere, sizeof(nowhere), false);
	answers();
	cr_assert_eq(n_got, 1, "refused: its completion is an answer");
	cr_assert_eq(((const struct rec_disk_done *)got[0].fixed)->result, (uint32_t)-EFAULT);
	cr_assert_eq(collect(), 0);
}

/* Placed by a dead owner and never taken by the kernel: from the machine. */
Test(hands, a_request_is_placed_again_from_its_machine)
{
	struct scsi *m = world_place(w, KIND_scsi, 17, 1);
	struct { uint32_t len, offset; uint64_t pfn[2]; } gpas = { 4096, 0x200, { 0x100, 0x140 } };

	m->sm.state = scsi_SUBMITTED;
	m->generation = 44;
	m->op = DISK_READ;
	m->fd = (uint16_t)disk_row;
	m->block_bytes = 512;
	m->lba = 8;
	m->bytes = 4096;
	m->gpa_ranges = 1;
	m->gpas = world_blob_new(w, &gpas, sizeof(gpas));
	cr_assert_eq(pwrite(WIRE_FD_BASE + disk_row, guestmem_at(&h->mem, 0x200000, 4096), 4096,
			    4096), 4096);
	guestmem_write(&h->mem, 0x100200, "stale", 5);
	atomic_store(&c.disk->slot[17].placed,
		     (uint64_t)44 << 32 | *h->uring.ring.sq.ktail);
	hands_rebuild(h, w);
	hands_take_over(h, w);
	cr_assert_eq(atomic_load(&c.stats->inflight), 1);
	hands_flush(h);
	cr_assert_eq(wait_collect(), 1);
	cr_assert_eq(((const struct rec_disk_done *)got[0].fixed)->result, 4096);
	cr_assert_eq(*guestmem_at(&h->mem, 0x100200, 1), 0);
}

/* ---- people ------------------------------------------------------------- */

/* ---- deadlines ----------------------------------------------------------- */

Test(hands, a_deadline_is_told_once_and_again_by_the_next_owner)
{
	struct heartbeat_ic *beat;

	world_spawn_fixed(w, KIND_heartbeat_ic, 1);
	beat = (struct heartbeat_ic *)(uintptr_t)world_at(w, KIND_heartbeat_ic, 0);
	cr_assert_eq(collect(), 0, "no deadline");
	beat->deadline_ns = custody_now_ns(&c) + 50000000;
	cr_assert_eq(collect(), 0, "not yet");
	cr_assert_lt(hands_patience(h), 0.06);
	while (custody_now_ns(&c) < beat->deadline_ns)
		;
	cr_assert_eq(collect(), 1);
	cr_assert(got[0].kind == KIND_heartbeat_ic && got[0].code == heartbeat_ic_EV_TIMER);
	cr_assert_eq(((const struct rec_deadline *)got[0].fixed)->deadline_ns, beat->deadline_ns);
	cr_assert_eq(collect(), 0, "told");
	cr_assert_gt(hands_patience(h), 0.5);
	hands_rebuild(h, w);
	cr_assert_eq(collect(), 1);
	timers_forget(h);
	cr_assert_lt(hands_patience(h), 0.01);
	hands_disarm(h);
	cr_assert_gt(hands_patience(h), 0.5, "a follower waits for nothing");
}

Test(hands, console_keeps_the_newest)
{
	struct rec_bytes b = { 0 };
	static uint8_t text[3000];
	uint64_t from = 0;
	uint8_t out[4];

	for (unsigned i = 0; i < 30; i++) {
		memset(text, 'a' + (int)i % 26, sizeof(text));
		perform(EFFECT_CONSOLE_OUT, 2 + i, &b, text, sizeof(text), false);
	}
	cr_assert_eq(atomic_load(&c.console_out->head), 30 * sizeof(text));
	cr_assert_eq(console_peek(c.console_out, &from, out, 4), 4);
	cr_assert_eq(from, 30 * sizeof(text) - LIMIT_CONSOLE_BYTES);
	cr_assert_eq(out[0], 'a' + from / sizeof(text));
}

/* ---- figures --- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(hands, sixty_four_rings_are_derived_in_well_under_a_millisecond)
{
	double start, best = 1;

	for (uint16_t i = 10; i < 74; i++) {
		struct channel *m = world_place(w, KIND_channel, i, 1);
		struct gpadl *g = world_place(w, KIND_gpadl, i, 1);
		uint64_t list[64];

		for (unsigned n = 0; n < 64; n++)
			list[n] = 200 + n;
		m->sm.state = channel_OPEN;
		m->gpadl_index = i;
		m->gpadl_generation = 1;
		m->in_size = m->out_size = 31 * GUESTMEM_PAGE;
		g->pfns = world_blob_new(w, list, sizeof(list));
	}
	for (unsigned i = 0; i < 20; i++) {
		start = seconds();
		hands_rebuild(h, w);
		if (seconds() - start < best)
			best = seconds() - start;
	}
	cr_assert(channels_has(&h->mapped, 73));
	cr_log_info("64 rings rebuilt in %.0f us", best * 1e6);
	cr_assert_lt(best, 1e-3);
}

Test(hands, what_a_request_costs)
{
	enum { DEPTH = 32, ROUNDS = 4000 };
	struct rec_ring_consumed done = { .channel = CH, .target_vp = 1 };
	uint64_t out = 0;
	double start = seconds();

	for (unsigned i = 0; i < ROUNDS; i++) {
		guest_sends(DEPTH);
		channels_add(&h->ready, CH);
		cr_assert_eq(collect(), DEPTH);
		take();
		done.position += DEPTH * 72;
		perform(EFFECT_RING_CONSUMED, 2, &done, NULL, 0, false);
		for (unsigned n = 0; n < DEPTH; n++, out += 24)
			send_packet(out, 2, false);
		hands_flush(h);
		atomic_store(&header(RING_PAGES)->read_index,
			     (uint32_t)(out % h->chan[CH].out.size));
	}
	cr_log_info("%.0f ns a packet in and out, test guest included",
		    (seconds() - start) / ROUNDS / DEPTH * 1e9);
}
