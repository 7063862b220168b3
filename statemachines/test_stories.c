/* The stories. Each is a life that the machines must bear, told as text. */
#include "statemachines/bytes.h"
#include "statemachines/operator.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>

static void write_msr(struct story *s, uint32_t msr, uint64_t value)
{
	struct rec_exit_msr m = { .value = value, .generation = (uint32_t)story_seq(s) + 1,
				  .msr = msr };

	RAISE(s, vp, 0, MSR_WRITE, m, NULL, 0);
}

static void read_msr(struct story *s, uint32_t msr)
{
	struct rec_exit_msr m = { .generation = (uint32_t)story_seq(s) + 1, .msr = msr,
				  .reference_time = 4711 };

	RAISE(s, vp, 0, MSR_READ, m, NULL, 0);
}

static void port(struct story *s, uint16_t number, bool is_in, uint32_t value)
{
	struct rec_exit_pio p = { .generation = (uint32_t)story_seq(s) + 1, .port = number,
				  .size = 1, .is_in = is_in, .value = value };

	RAISE(s, vp, 0, PIO, p, NULL, 0);
}

static void serving(struct story *s, uint32_t reason, uint32_t slot)
{
	struct rec_serving r = { .reason = reason, .slot = slot, .epoch = 2, .level = 1 };

	RAISE(s, servicing, 0, SERVING, r, "0.1.0-b", 7);
}

static void inquiry(struct story *s, uint64_t transaction, uint8_t lun, uint8_t page)
{
	uint8_t cdb[6] = { 0x12, page != 0, page, 0, 64, 0 };

	guest_srb(s, 1, transaction, lun, cdb, sizeof(cdb), 0x2000, 64);
}

/* ---- bring-up --------------------------------------------------------- */

static void bring_up(struct story *s)
{
	static const uint8_t capacity[10] = { 0x25 };

	story_say(s, "the operator says what there is");
	guest_config(s, 1);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	story_say(s, "the guest finds Hyper-V");
	write_msr(s, MSR_GUEST_OS_ID, 0x8100060010000000u);
	write_msr(s, MSR_HYPERCALL, 0x5001);
	read_msr(s, MSR_HYPERCALL);
	read_msr(s, MSR_VP_INDEX);
	read_msr(s, MSR_TIME_REF_COUNT);
	write_msr(s, MSR_REFERENCE_TSC, 0x6001);
	read_msr(s, MSR_APIC_FREQUENCY);
	read_msr(s, 0x400000b0);
	story_say(s, "its SynIC: a write is answered when it is in force");
	write_msr(s, MSR_SIMP, 0x7001);
	guest_in_force(s);
	write_msr(s, MSR_SINT0 + 2, 0xf3);
	guest_in_force(s);
	story_say(s, "contact: a version we do not know, then 5.3");
	guest_contact(s, 6 << 16);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	story_say(s, "the driver opens the channel");
	guest_open(s, 1, 0xe1e10);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 1);
	story_say(s, "handshake");
	guest_vstor(s, 1, VSTOR_BEGIN, 0);
	guest_vstor(s, 1, VSTOR_QUERY_VERSION, 0x0700);
	guest_vstor(s, 1, VSTOR_QUERY_VERSION, 0x0602);
	guest_vstor(s, 1, VSTOR_QUERY_PROPERTIES, 0);
	guest_vstor(s, 1, VSTOR_END, 0);
	story_say(s, "scan: a disk, and the absence of another");
	inquiry(s, 1, 0, 0);
	inquiry(s, 2, 1, 0);
	inquiry(s, 3, 0, 0x83);
	guest_srb(s, 1, 4, 0, capacity, sizeof(capacity), 0x2000, 8);
	story_say(s, "a read, a short count, the rest of it");
	guest_read(s, 5, 16, 16);
	disk_done(s, 0, 4096);
	disk_done(s, 0, 4096);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SRB_STATUS], SRB_SUCCESS);
	cr_assert_eq(get_le32(guest_answer(s) + VSTOR_AT_TRANSFER), 8192);
}

/* ---- leaving ---------------------------------------------------------- */

static void versions(struct story *s)
{
	static const struct { uint32_t version; bool known; } table[] = {
		{ 0 << 16 | 13, false }, { 1 << 16 | 1, false }, { 2 << 16 | 4, false },
		{ 3 << 16, false },      { 4 << 16, true },      { 4 << 16 | 1, true },
		{ 5 << 16, true },       { 5 << 16 | 1, true },  { 5 << 16 | 2, true },
		{ 5 << 16 | 3, true },   { 5 << 16 | 4, false },
	};

	guest_config(s, 1);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		const struct vmbus *b;

		guest_contact(s, table[i].version);
		cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 1);
		cr_assert_eq(story_effect(s, EFFECT_MESSAGE, 0).tail[8], table[i].known);
		b = world_at(story_world(s), KIND_vmbus, 0);
		cr_assert_eq(b->version, table[i].known ? table[i].version : 0);
	}
	story_say(s, "MODIFYCHANNEL is answered from 5.3 on");
	for (uint32_t minor = 2; minor <= 3; minor++) {
		guest_contact(s, 5 << 16 | minor);
		guest_offers(s);
		guest_open(s, 1, 0xe1e10);
		guest_words(s, VMBUS_MODIFY, 1, 0, 0);
		cr_assert_eq(story_effects(s, EFFECT_MESSAGE), minor == 3);
		cr_assert_eq(story_effects(s, EFFECT_SIGNAL), 1);
	}
}

static void unload(struct story *s)
{
	guest_ready(s);
	story_say(s, "a read is in flight when the guest closes the channel and unloads");
	guest_read(s, 1, 0, 8);
	guest_words(s, VMBUS_CLOSE, 1, 0, 0);
	guest_words(s, VMBUS_GPADL_TEARDOWN, 1, 0xe1e10, 0);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 0, "the pages are still in use");
	guest_words(s, VMBUS_UNLOAD, 0, 0, 0);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 0, "the read may still write to memory");
	story_say(s, "only its completion ends all that");
	disk_done(s, 0, 4096);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 1);
	story_say(s, "and the driver may come back");
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e11);
	guest_handshake(s, 1);
}

static void reopen(struct story *s)
{
	guest_ready(s);
	story_say(s, "closed with a request in flight, opened again at once: the open waits");
	guest_write(s, 1, 0, 8);
	guest_words(s, VMBUS_CLOSE, 1, 0, 0);
	guest_open(s, 1, 0xe1e11);
	disk_done(s, 0, 4096);
	story_say(s, "kexec: a new contact on top of the old connection");
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
}

static void reset(struct story *s)
{
	struct rec_command_done done = { .op = 2 };
	struct rec_guest_loaded loaded = { .rip = 0x1000200 };

	guest_ready(s);
	guest_read(s, 1, 0, 8);
	story_say(s, "reset by the guest: not before the disk is done with its memory");
	port(s, 0x604, false, 1);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 0);
	disk_done(s, 0, 4096);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 1);
	RAISE(s, vtl, 0, COMMAND_DONE, done, NULL, 0);
	RAISE(s, vtl, 0, LOADED, loaded, NULL, 0);
	done.op = 1;
	RAISE(s, vtl, 0, COMMAND_DONE, done, NULL, 0);
	story_say(s, "power off by ACPI, with a read in flight");
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e10);
	guest_handshake(s, 1);
	guest_read(s, 1, 0, 8);
	port(s, 0x600, false, 0x34);
	disk_done(s, 0, 4096);
	cr_assert_eq(story_effects(s, EFFECT_COMMAND), 1);
}

/* ---- rings ------------------------------------------------------------ */

static void full_ring(struct story *s)
{
	struct rec_ring_space space = { .read_index = 0 };
	unsigned n = 0;

	guest_ready(s);
	story_mute(s, true);
	while (world_live(story_world(s), KIND_scsi) == 0) {
		static const uint8_t ready[6];

		guest_srb(s, 1, ++n, 0, ready, sizeof(ready), 0, 0);
		cr_assert_lt(n, 200);
	}
	story_mute(s, false);
	story_say(s, "%u answers later the ring is full; the request waits and asks for room", n);
	cr_assert_eq(story_effects(s, EFFECT_RING_POLL), 1);
	guest_read(s, 1000, 0, 8);
	disk_done(s, 1, 4096);
	cr_assert_eq(story_effects(s, EFFECT_RING_POLL), 0, "asked already");
	story_say(s, "the guest reads on");
	space.read_index = 88 * 4;
	RAISE(s, channel, 1, SPACE, space, NULL, 0);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 2);
	story_say(s, "a read index that moves backwards ends the channel");
	space.read_index = 128;
	RAISE(s, channel, 1, SPACE, space, NULL, 0);
}

static void bad_guest(struct story *s)
{
	static const uint8_t nonsense[64] = { 0x63 };
	struct rec_packet p = { 0 };

	guest_ready(s);
	story_say(s, "nobody waits for ever, whatever is asked");
	guest_words(s, VMBUS_OPEN, 77, 5, 6);
	guest_gpadl(s, 77, 0x10, 4);
	guest_gpadl(s, 1, 0xe1e10, 4);
	guest_words(s, VMBUS_GPADL_TEARDOWN, 1, 0x10, 0);
	guest_words(s, VMBUS_MODIFY, 77, 0, 0);
	guest_words(s, VMBUS_MODIFY, 1, 9, 0);
	guest_words(s, VMBUS_RELID_RELEASED, 1, 0, 0);
	guest_words(s, 99, 0, 0, 0);
	guest_post(s, nonsense, 3);
	story_say(s, "operations that a controller does not know");
	guest_vstor(s, 1, 77, 0);
	guest_vstor(s, 1, VSTOR_BEGIN, 0);
	guest_vstor(s, 1, VSTOR_CREATE_SUBCHANNELS, 4);
	story_say(s, "a packet twice, then one that does not hold together, with a read in flight");
	guest_read(s, 1, 0, 8);
	RAISE(s, channel, 1, PACKET, p, nonsense, sizeof(nonsense));
	p.position =
		((const struct channel *)world_at(story_world(s), KIND_channel, 1))->in_position;
	p.next = p.position + sizeof(nonsense) + 8;
	RAISE(s, channel, 1, PACKET, p, nonsense, sizeof(nonsense));
	guest_words(s, VMBUS_CLOSE, 1, 0, 0);
	guest_words(s, VMBUS_GPADL_TEARDOWN, 1, 0xe1e10, 0);
	guest_words(s, VMBUS_RELID_RELEASED, 1, 0, 0);
	disk_done(s, 0, 4096);
	story_say(s, "its next connection has the channel again");
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
}

/* ---- take-over -------------------------------------------------------- */

static void take_over(struct story *s)
{
	guest_ready(s);
	story_say(s, "three writes and a read are in flight when the owner dies");
	guest_write(s, 1, 0, 8);
	guest_write(s, 2, 100, 8);
	guest_read(s, 3, 4, 8);
	guest_write(s, 4, 200, 8);
	serving(s, 3, 1);
	story_say(s, "the first was never run (EINTR): issued again");
	disk_done(s, 0, -4);
	cr_assert_eq(story_effects(s, EFFECT_DISK_SUBMIT), 1);
	disk_done(s, 0, 4096);
	story_say(s, "a newer write over the second is answered");
	guest_write(s, 5, 104, 1);
	disk_done(s, 0, 512);
	story_say(s, "now the second turns out not to have run: only the guest knows what it wants");
	disk_done(s, 1, -125);
	cr_assert_eq(story_effects(s, EFFECT_DISK_SUBMIT), 0);
	cr_assert_eq(guest_answer(s)[VSTOR_AT_SENSE + 12], 0x29);
	story_say(s, "a read that never ran may run at any time; the last was done all along");
	disk_done(s, 2, -125);
	cr_assert_eq(story_effects(s, EFFECT_DISK_SUBMIT), 1);
	disk_done(s, 2, 4096);
	disk_done(s, 3, 4096);
	cr_assert_eq(
		((const struct storvsp *)world_at(story_world(s), KIND_storvsp, 0))->orphans, 0);
	cr_assert_eq(world_live(story_world(s), KIND_scsi), 0);
}

/* The reply to the SPAWN of the turn @seq. */
static void spawned_as(struct story *s, uint64_t seq, uint32_t slot)
{
	struct rec_command_done done = { .id = seq << 12, .op = 4, .value = slot };

	RAISE(s, servicing, 0, COMMAND_DONE, done, NULL, 0);
}

/* SERVICE up to the flip and the new owner's first records. */
static void replace(struct story *s, uint32_t slot)
{
	static const char names[] = "scsi.GUEST_WRITE.tail";
	struct rec_operator op = { .op = 6, .arg = 33, .token = 9 };
	struct rec_service_ask ask = { .follow_events = 10, .voting = 256,
				       .probation_ns = 10000000000 };
	struct rec_owner_facts facts = { .followed = 12, .serves = 2, .slot = slot };
	struct rec_successor next = { .slot = slot, .seq = 5 };
	uint8_t tail[sizeof(ask) + sizeof(names)];

	memcpy(tail, &ask, sizeof(ask));
	memcpy(tail + sizeof(ask), names, sizeof(names));
	RAISE(s, servicing, 0, SERVICE, op, tail, sizeof(tail));
	spawned_as(s, story_seq(s), slot);
	RAISE(s, servicing, 0, SUCCESSOR_READY, next, NULL, 0);
	cr_assert_eq(story_effects(s, EFFECT_FLIP), 1);
	serving(s, 2, slot);
	RAISE(s, servicing, 0, OWNER_FACTS, facts, NULL, 0);
}

static void servicing_story(struct story *s)
{
	struct rec_operator op = { .op = 6, .arg = 33, .token = 9 };
	struct rec_successor gone = { .slot = 2, .seq = 5 };
	struct rec_deadline due = { 0 };
	const struct servicing *v;
	uint64_t asked;

	serving(s, 1, 0);
	story_say(s, "a successor that gives up; the reply to another SPAWN is not its own");
	RAISE(s, servicing, 0, SERVICE, op, NULL, 0);
	asked = story_seq(s);
	RAISE(s, servicing, 0, SERVICE, op, NULL, 0);
	RAISE(s, servicing, 0, SUCCESSOR_GONE, gone, "channel.in_position differs", 27);
	spawned_as(s, asked - 1, 3);
	spawned_as(s, asked, 2);
	story_say(s, "one that follows, and gets the guest");
	replace(s, 2);
	story_say(s, "taken back");
	op.op = 9;
	RAISE(s, servicing, 0, ROLLBACK, op, NULL, 0);
	serving(s, 4, 0);
	story_say(s, "one that differs after the flip: the predecessor has the guest again, and says why");
	replace(s, 2);
	serving(s, 4, 0);
	RAISE(s, servicing, 0, RETURNED, gone, "turn 7 differs in scsi.RING_SEND.tail", 37);
	story_say(s, "one whose probation passes");
	replace(s, 4);
	v = world_at(story_world(s), KIND_servicing, 0);
	due.deadline_ns = v->deadline_ns;
	RAISE(s, servicing, 0, TIMER, due, NULL, 0);
	v = world_at(story_world(s), KIND_servicing, 0);
	cr_assert_eq(v->sm.state, servicing_DONE);
	story_say(s, "and one that is committed");
	replace(s, 3);
	op = (struct rec_operator){ .op = 10, .value = 9, .token = 9 };
	RAISE(s, servicing, 0, COMMIT, op, NULL, 0);
	op.value = 0xffff;
	RAISE(s, servicing, 0, COMMIT, op, NULL, 0);
	cr_assert_eq(world_lane_const(story_world(s))->level, 2);
}

/* Who says no more what it is has no page for hypercalls either. */
static void guest_without_name(struct story *s)
{
	guest_config(s, 1);
	guest_start(s);
	write_msr(s, MSR_HYPERCALL, 0x5001);
	read_msr(s, MSR_HYPERCALL);
	write_msr(s, MSR_GUEST_OS_ID, 0x8100060010000000u);
	write_msr(s, MSR_HYPERCALL, 0x5001);
	read_msr(s, MSR_HYPERCALL);
	write_msr(s, MSR_GUEST_OS_ID, 0x8100060010000001u);
	read_msr(s, MSR_HYPERCALL);
	write_msr(s, MSR_GUEST_OS_ID, 0);
	read_msr(s, MSR_HYPERCALL);
	read_msr(s, MSR_GUEST_OS_ID);
}

/* The guest asks for a reset before all of its processors were started. */
static void early_reset(struct story *s)
{
	struct rec_exit_msr reset = { .msr = 0x40000003, .value = 1 };
	struct rec_operator start = { .op = OPERATOR_START, .token = 7 };
	struct rec_guest_loaded loaded = { .rip = 0x1000200 };

	guest_config(s, 1);
	RAISE(s, vtl, 0, START, start, NULL, 0);
	RAISE(s, vtl, 0, LOADED, loaded, NULL, 0);
	RAISE(s, vp, 0, MSR_WRITE, reset, NULL, 0);
}

/* As above, but it goes to sleep (ACPI: sleep control, type 5). */
static void early_sleep(struct story *s)
{
	struct rec_exit_pio sleep = { .port = 0x600, .size = 1, .value = 5 << 2 | 1 << 5 };
	struct rec_exit_pio status = { .port = 0x601, .size = 1, .is_in = 1 };
	struct rec_operator start = { .op = OPERATOR_START, .token = 7 };
	struct rec_guest_loaded loaded = { .rip = 0x1000200 };

	guest_config(s, 1);
	RAISE(s, vtl, 0, START, start, NULL, 0);
	RAISE(s, vtl, 0, LOADED, loaded, NULL, 0);
	RAISE(s, vp, 0, PIO, status, NULL, 0);
	RAISE(s, vp, 0, PIO, sleep, NULL, 0);
}

/* Answers to what was asked before, or was not asked; and relid 0, which is nobody. */
static void old_answers(struct story *s)
{
	struct rec_ring_mapped mapped = { .in_size = 3 * 4096, .out_size = 3 * 4096 };
	const struct channel *c;
	struct rec_in_force force = { 0 };
	uint8_t m[148] = { VMBUS_OPEN };

	story_mute(s, true);
	guest_config(s, 1);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_gpadl(s, 1, 0xe1e10, 8);
	story_mute(s, false);
	put_le32(m + 8, 1);
	put_le32(m + 16, 0xe1e10);
	put_le32(m + 24, 4);
	guest_post(s, m, sizeof(m));
	story_say(s, "maps of before, and of nobody");
	mapped.generation = (uint32_t)story_seq(s) - 1;
	RAISE(s, channel, 1, MAPPED, mapped, NULL, 0);
	mapped.generation += 2;
	RAISE(s, channel, 1, MAPPED, mapped, NULL, 0);
	mapped.generation--;
	RAISE(s, channel, 1, MAPPED, mapped, NULL, 0);
	story_say(s, "a doorbell that is not in force yet");
	force.generation = story_seq(s) - 1;
	RAISE(s, vtl, 0, IN_FORCE, force, NULL, 0);
	c = world_at(story_world(s), KIND_channel, 1);
	cr_assert_eq(c->sm.state, channel_ARMING);
	force.generation++;
	RAISE(s, vtl, 0, IN_FORCE, force, NULL, 0);
	story_say(s, "relid 0");
	put_le32(m + 8, 0);
	guest_post(s, m, sizeof(m));
	guest_words(s, VMBUS_CLOSE, 0, 0, 0);
	guest_words(s, VMBUS_MODIFY, 0, 0, 0);
	guest_words(s, VMBUS_RELID_RELEASED, 0, 0, 0);
	guest_gpadl(s, 0, 0xe1e20, 8);
}

/* ---- sub-channels, reset, disks --------------------------------------- */

static void sub_channels(struct story *s)
{
	guest_config(s, 3);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e10);
	guest_handshake(s, 1);
	story_say(s, "two sub-channels: offered, opened, used");
	guest_vstor(s, 1, VSTOR_CREATE_SUBCHANNELS, 2);
	guest_open(s, 5, 0xe1e11);
	guest_vstor(s, 5, VSTOR_BEGIN, 0);
	guest_words(s, VMBUS_MODIFY, 5, 2, 0);
	story_say(s, "the primary is closed: the others are taken back");
	guest_words(s, VMBUS_CLOSE, 5, 0, 0);
	guest_words(s, VMBUS_GPADL_TEARDOWN, 5, 0xe1e11, 0);
	guest_words(s, VMBUS_CLOSE, 1, 0, 0);
	guest_words(s, VMBUS_RELID_RELEASED, 5, 0, 0);
	guest_words(s, VMBUS_RELID_RELEASED, 6, 0, 0);
	cr_assert_eq(world_live(story_world(s), KIND_channel), 5,
		     "relid 0, the primary, three components");
}

static void guest_read_on(struct story *s, uint32_t relid, uint64_t transaction)
{
	static const uint8_t read[10] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0 };

	guest_srb(s, relid, transaction, 0, read, sizeof(read), 0x2000, 8 * 512);
}

/* A READ whose answer the guest does not want. */
static void guest_read_silent(struct story *s, uint32_t relid)
{
	uint8_t p[VSTOR_BYTES] = { VSTOR_EXECUTE_SRB };

	put_le16(p + 12, VSTOR_SRB_BYTES);
	p[VSTOR_AT_CDB_LENGTH] = 10;
	put_le32(p + VSTOR_AT_TRANSFER, 8 * 512);
	p[VSTOR_AT_CDB] = 0x28;
	p[VSTOR_AT_CDB + 8] = 8;
	guest_unanswered(s, relid, p, sizeof(p), 0x2000, 8 * 512);
}

/* A guest that unloads while its sub-channels have requests in flight. */
static void leaving_sub(struct story *s)
{
	story_mute(s, true);
	guest_config(s, 3);
	guest_disk(s, 0, 8192, 0);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e10);
	guest_vstor(s, 1, VSTOR_BEGIN, 0);
	story_mute(s, false);
	story_say(s, "a version that nobody speaks, then one that is");
	guest_vstor(s, 1, VSTOR_QUERY_VERSION, 0x0700);
	guest_vstor(s, 1, VSTOR_QUERY_VERSION, 0x0602);
	story_mute(s, true);
	guest_vstor(s, 1, VSTOR_QUERY_PROPERTIES, 0);
	guest_vstor(s, 1, VSTOR_END, 0);
	guest_vstor(s, 1, VSTOR_CREATE_SUBCHANNELS, 2);
	guest_open(s, 5, 0xe1e11);
	guest_open(s, 6, 0xe1e12);
	story_mute(s, false);
	story_say(s, "two requests each on two sub-channels, and UNLOAD: answered when all are over");
	guest_read_on(s, 5, 1);
	guest_read_on(s, 5, 2);
	guest_read_silent(s, 6);
	guest_read_silent(s, 6);
	guest_words(s, VMBUS_UNLOAD, 0, 0, 0);
	for (uint16_t slot = 0; slot < 4; slot++) {
		const struct vmbus *b = world_at(story_world(s), KIND_vmbus, 0);

		cr_assert_eq(b->sm.state, vmbus_DISCONNECTING, "not before the last is over");
		disk_done(s, slot, 4096);
	}
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 1);
	cr_assert_eq(world_live(story_world(s), KIND_channel), 5);
}

static void bus_reset(struct story *s)
{
	guest_ready(s);
	story_say(s, "RESET_BUS waits for the requests before it; later ones are told BUSY");
	guest_read(s, 1, 0, 8);
	guest_vstor(s, 1, VSTOR_RESET_BUS, 0);
	guest_read(s, 2, 0, 8);
	disk_done(s, 0, 4096);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 2);
	guest_vstor(s, 1, VSTOR_RESET_BUS, 0);
}

/* ---- platform --------------------------------------------------------- */

static void platform(struct story *s)
{
	struct rec_bytes keys = { 0 };
	struct rec_fetched text = { 0 };
	struct rec_exit_mmio mmio = { .gpa = 0xfed00000, .size = 4, .is_read = 1, .generation = 1 };
	struct rec_exit_hypercall call = { .control = 0x46, .generation = 2 };
	struct rec_operator shutdown = { .op = 4, .token = 3 };

	guest_config(s, 1);
	guest_start(s);
	story_say(s, "Linux looks for the UART: loopback, then scratch");
	port(s, 0x3fc, false, 0x1a);
	port(s, 0x3fe, true, 0);
	port(s, 0x3fc, false, 0x0b);
	port(s, 0x3ff, false, 0x5a);
	port(s, 0x3ff, true, 0);
	story_say(s, "output and its interrupt");
	port(s, 0x3fa, false, 0x01);
	port(s, 0x3f9, false, 0x03);
	port(s, 0x3f8, false, 'H');
	port(s, 0x3fa, true, 0);
	port(s, 0x3f8, false, 'i');
	port(s, 0x3fa, true, 0);
	story_say(s, "input");
	RAISE(s, uart, 0, CONSOLE_IN, keys, "ls", 2);
	port(s, 0x3fa, true, 0);
	port(s, 0x3f8, true, 0);
	port(s, 0x3f8, true, 0);
	port(s, 0x3fd, true, 0);
	story_say(s, "the clock says 2023-11-14 22:13:20");
	port(s, 0x70, false, 0x09);
	port(s, 0x71, true, 0);
	port(s, 0x70, false, 0x04);
	port(s, 0x71, true, 0);
	port(s, 0x70, false, 0x32);
	port(s, 0x71, true, 0);
	story_say(s, "what is not there");
	port(s, 0xcf8, true, 0);
	port(s, 0x61, true, 0);
	RAISE(s, vp, 0, MMIO, mmio, NULL, 0);
	RAISE(s, vp, 0, HYPERCALL, call, NULL, 0);
	RAISE(s, vtl, 0, SHUTDOWN, shutdown, NULL, 0);
	story_say(s, "a panic");
	read_msr(s, MSR_CRASH_CTL);
	write_msr(s, MSR_CRASH_P0 + 3, 0x9000);
	write_msr(s, MSR_CRASH_P0 + 4, 6);
	write_msr(s, MSR_CRASH_CTL, 3ull << 62);
	RAISE(s, vtl, 0, CRASH_TEXT, text, "Oops\r\n", 6);
	story_say(s, "cut off by the operator");
	shutdown.op = 5;
	RAISE(s, vtl, 0, POWER_OFF, shutdown, NULL, 0);
}

/* ---- integration components -------------------------------------------- */

/* Without a disk they are the first. */
enum { SHUTDOWN_RELID = 1, HEARTBEAT_RELID = 2, TIMESYNC_RELID = 3 };

#define TIME_PASSES(s, kind)                                                                  \
	do {                                                                                  \
		const struct kind *at_ = world_at(story_world(s), KIND_##kind, 0);            \
		struct rec_deadline d_ = { .deadline_ns = at_->deadline_ns };                 \
		RAISE(s, kind, 0, TIMER, d_, NULL, 0);                                        \
	} while (0)

static void components_begin(struct story *s)
{
	guest_config(s, 1);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	cr_assert_eq(story_effects(s, EFFECT_MESSAGE), 4, "three components, ALLOFFERS");
}

static void heartbeat(struct story *s)
{
	const struct heartbeat_ic *h;
	struct rec_deadline old = { .deadline_ns = 1 };
	uint8_t m[IC_MAX];

	components_begin(s);
	guest_agree_ic(s, HEARTBEAT_RELID, 3 << 16);
	guest_last_ic(s, m);
	cr_assert_eq(get_le64(m + IC_HEADER), 1);
	story_say(s, "an answer that counts wrong is none; the right one is");
	guest_answer_ic(s, HEARTBEAT_RELID, m, 0);
	put_le64(m + IC_HEADER, 2);
	guest_answer_ic(s, HEARTBEAT_RELID, m, 0);
	story_say(s, "two seconds later, and an old timer");
	RAISE(s, heartbeat_ic, 0, TIMER, old, NULL, 0);
	TIME_PASSES(s, heartbeat_ic);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 1);
	guest_last_ic(s, m);
	story_say(s, "no answer for six; another owner; then it comes after all");
	for (unsigned i = 0; i < 3; i++)
		TIME_PASSES(s, heartbeat_ic);
	cr_assert_eq(story_effects(s, EFFECT_RING_SEND), 0, "one is out");
	serving(s, 3, 1);
	h = world_at(story_world(s), KIND_heartbeat_ic, 0);
	cr_assert(h->missed == 3 && h->missed_now == 3);
	put_le64(m + IC_HEADER, get_le64(m + IC_HEADER) + 1);
	guest_answer_ic(s, HEARTBEAT_RELID, m, 0);
	h = world_at(story_world(s), KIND_heartbeat_ic, 0);
	cr_assert(h->missed == 3 && h->missed_now == 0 && h->answered == 2 && h->strays == 1);
	story_say(s, "the driver goes");
	guest_words(s, VMBUS_CLOSE, HEARTBEAT_RELID, 0, 0);
}

static void timesync(struct story *s)
{
	const uint64_t day = 1700000000ull * 10000000 + 116444736000000000ull;
	uint8_t m[IC_MAX];

	components_begin(s);
	guest_agree_ic(s, TIMESYNC_RELID, 3 << 16);
	guest_last_ic(s, m);
	cr_assert(m[IC_HEADER + 24] == 1 && get_le64(m + IC_HEADER) - day < 1000);
	guest_answer_ic(s, TIMESYNC_RELID, m, 0);
	story_say(s, "a sample; another owner before its answer: the clock is set again after it");
	TIME_PASSES(s, timesync_ic);
	guest_last_ic(s, m);
	cr_assert_eq(m[IC_HEADER + 24], 2);
	serving(s, 2, 1);
	guest_answer_ic(s, TIMESYNC_RELID, m, 0);
	guest_last_ic(s, m);
	cr_assert_eq(m[IC_HEADER + 24], 1);
	guest_answer_ic(s, TIMESYNC_RELID, m, 0);
	story_say(s, "and at once when nothing is out");
	serving(s, 2, 2);
	guest_last_ic(s, m);
	cr_assert_eq(m[IC_HEADER + 24], 1);
	story_say(s, "the same answer twice");
	guest_answer_ic(s, TIMESYNC_RELID, m, 0);
	guest_answer_ic(s, TIMESYNC_RELID, m, 0);
}

/* The read index of its incoming ring reaches what was sent. */
static void guest_reads_all(struct story *s, uint32_t relid)
{
	const struct channel *c = world_at(story_world(s), KIND_channel, (uint16_t)relid);
	struct rec_ring_space space = { .read_index = (uint32_t)(c->out_position % c->out_size) };

	RAISE(s, channel, (uint16_t)relid, SPACE, space, NULL, 0);
}

static uint64_t reported(const struct story *s)
{
	return ((const struct rec_operator *)story_effect(s, EFFECT_REPORT, 0).p)->value;
}

static void shutdown_ic(struct story *s)
{
	struct rec_operator please = { .op = OPERATOR_SHUTDOWN, .token = 3 };
	uint8_t m[IC_MAX];

	components_begin(s);
	story_say(s, "not before its driver is there; not when it knows no version of ours");
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	cr_assert_eq(reported(s), OPERATOR_E_UNSUPPORTED);
	guest_agree_ic(s, SHUTDOWN_RELID, 0);
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	cr_assert_eq(reported(s), OPERATOR_E_UNSUPPORTED);
	guest_words(s, VMBUS_CLOSE, SHUTDOWN_RELID, 0, 0);
	guest_words(s, VMBUS_GPADL_TEARDOWN, SHUTDOWN_RELID, 0xe1e10 + SHUTDOWN_RELID, 0);
	story_say(s, "asked; asked again; refused");
	guest_agree_ic(s, SHUTDOWN_RELID, 3 << 16 | 2);
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	cr_assert_eq(story_effects(s, EFFECT_REPORT), 0, "not before the guest has answered");
	guest_last_ic(s, m);
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	cr_assert_eq(reported(s), OPERATOR_E_BUSY);
	guest_answer_ic(s, SHUTDOWN_RELID, m, 0x80004005);
	cr_assert_eq(reported(s), OPERATOR_E_CANCELLED);
	story_say(s, "asked, and no answer in time; late, it is nobody's");
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	guest_last_ic(s, m);
	TIME_PASSES(s, shutdown_ic);
	cr_assert_eq(reported(s), OPERATOR_E_TIME);
	guest_answer_ic(s, SHUTDOWN_RELID, m, 0);
	cr_assert_eq(story_effects(s, EFFECT_REPORT), 0);
	story_say(s, "the ring is full: asked when there is room, and granted");
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	guest_last_ic(s, m);
	guest_answer_ic(s, SHUTDOWN_RELID, m, 0);
	cr_assert_eq(reported(s), OPERATOR_OK);
	for (unsigned i = 0; story_effects(s, EFFECT_RING_POLL) == 0; i++) {
		cr_assert_lt(i, 8);
		RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
		if (story_effects(s, EFFECT_RING_POLL))
			break;
		guest_last_ic(s, m);
		guest_answer_ic(s, SHUTDOWN_RELID, m, 0);
	}
	guest_reads_all(s, SHUTDOWN_RELID);
	guest_last_ic(s, m);
	guest_answer_ic(s, SHUTDOWN_RELID, m, 0);
	cr_assert_eq(reported(s), OPERATOR_OK);
	story_say(s, "asked, and the channel goes");
	RAISE(s, vtl, 0, SHUTDOWN, please, NULL, 0);
	guest_words(s, VMBUS_CLOSE, SHUTDOWN_RELID, 0, 0);
	cr_assert_eq(reported(s), OPERATOR_OK);
}

STORY(guest_without_name, guest_without_name)
STORY(bring_up, bring_up)
STORY(versions, versions)
STORY(unload, unload)
STORY(reopen, reopen)
STORY(reset, reset)
STORY(early_reset, early_reset)
STORY(early_sleep, early_sleep)
STORY(old_answers, old_answers)
STORY(full_ring, full_ring)
STORY(bad_guest, bad_guest)
STORY(take_over, take_over)
STORY(servicing, servicing_story)
STORY(sub_channels, sub_channels)
STORY(leaving_sub, leaving_sub)
STORY(bus_reset, bus_reset)
STORY(platform, platform)
STORY(heartbeat, heartbeat)
STORY(timesync, timesync)
STORY(shutdown, shutdown_ic)
