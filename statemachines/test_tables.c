/* Tables as golden files (test_story.h): every state of a machine is asked every
 * event that matters to it, each time in a world of its own, and what follows is
 * told: the row that is taken or the state's own answer, effects, and the fields. */
#include "statemachines/bytes.h"
#include "statemachines/operator.h"
#include "statemachines/test_story.h"

#include <criterion/criterion.h>
#include <string.h>

/* ---- VTL0 --------------------------------------------------------------------- */

static void command_done(struct story *s, uint32_t op, uint32_t status)
{
	struct rec_command_done done = { .op = op, .status = status };

	RAISE(s, vtl, 0, COMMAND_DONE, done, NULL, 0);
}

static void port_write(struct story *s, uint16_t port, uint32_t value)
{
	struct rec_exit_pio p = { .generation = 5, .port = port, .size = 1, .value = value };

	RAISE(s, vp, 0, PIO, p, NULL, 0);
}

static void msr_write(struct story *s, uint32_t msr, uint64_t value)
{
	struct rec_exit_msr m = { .generation = 6, .msr = msr, .value = value };

	RAISE(s, vp, 0, MSR_WRITE, m, NULL, 0);
}

static void fatal(struct story *s, uint32_t reason, uint64_t detail)
{
	struct rec_exit_fatal f = { .generation = 7, .reason = reason, .detail = detail };

	RAISE(s, vp, 0, FATAL, f, NULL, 0);
}

static void operator_asks(struct story *s, uint16_t code, uint32_t op)
{
	struct rec_operator o = { .op = op, .token = 8 };

	story_raise(s, KIND_vtl, 0, code, &o, sizeof(o), NULL, 0);
}

static void start(struct story *s)
{
	operator_asks(s, vtl_EV_START, OPERATOR_START);
}

static void shut_down(struct story *s)
{
	operator_asks(s, vtl_EV_SHUTDOWN, OPERATOR_SHUTDOWN);
}

static void power_off(struct story *s)
{
	operator_asks(s, vtl_EV_POWER_OFF, OPERATOR_POWER_OFF);
}

static void loaded(struct story *s)
{
	struct rec_guest_loaded g = { .rip = 1, .rsi = 2, .cr3 = 3, .gdt = 4 };

	RAISE(s, vtl, 0, LOADED, g, NULL, 0);
}

static void not_loaded(struct story *s)
{
	struct rec_guest_loaded g = { .status = 2 };

	RAISE(s, vtl, 0, LOADED, g, NULL, 0);
}

static void configured(struct story *s)
{
	guest_config(s, 1);
}

static void unsound_config(struct story *s, struct rec_config c)
{
	RAISE(s, vtl, 0, CONFIG, c, NULL, 0);
}

static void unsound_configs(struct story *s)
{
	unsound_config(s, (struct rec_config){ .low_bytes = 1, .vps = 1, .backend = 1 });
	unsound_config(s, (struct rec_config){ .memory_bytes = 1, .vps = 1, .backend = 1 });
	unsound_config(s, (struct rec_config){ 1, 2, .vps = 1, .backend = 1 });
	unsound_config(s, (struct rec_config){ 2, 1, .backend = 1 });
	unsound_config(s, (struct rec_config){ 2, 1, .vps = LIMIT_VPS + 1, .backend = 1 });
	unsound_config(s, (struct rec_config){ 2, 1, .vps = 1 });
	unsound_config(s, (struct rec_config){ 2, 1, .vps = 1, .backend = 3 });
}

static void go_loading(struct story *s)
{
	configured(s);
	start(s);
}

static void go_starting(struct story *s)
{
	go_loading(s);
	loaded(s);
}

static void go_running(struct story *s)
{
	go_starting(s);
	command_done(s, COMMAND_VP_START, 0);
}

static void go_quiescing(struct story *s)
{
	guest_ready(s);
	story_mute(s, true);
	guest_read(s, 1, 0, 8);
	port_write(s, 0x604, 1);
}

static void go_resetting(struct story *s)
{
	go_running(s);
	port_write(s, 0x604, 1);
}

/* What the guest does between its last request and the stop of its processors. */
static void go_clearing(struct story *s)
{
	guest_ready(s);
	story_mute(s, true);
	port_write(s, 0x604, 1);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e10);
	guest_handshake(s, 1);
	guest_read(s, 1, 0, 8);
	command_done(s, COMMAND_RESET, 0);
}

static void go_stopping(struct story *s)
{
	guest_ready(s);
	story_mute(s, true);
	guest_read(s, 1, 0, 8);
	port_write(s, 0x600, 0x34);
}

static void go_off(struct story *s)
{
	configured(s);
	power_off(s);
}

static const struct story_reach vtl_states[] = {
	{ vtl_CREATED, NULL },            { vtl_CONFIGURED, configured },
	{ vtl_LOADING, go_loading },      { vtl_STARTING, go_starting },
	{ vtl_RUNNING, go_running },      { vtl_QUIESCING, go_quiescing },
	{ vtl_RESETTING, go_resetting },  { vtl_CLEARING, go_clearing },
	{ vtl_STOPPING, go_stopping },    { vtl_POWERED_OFF, go_off },
};

static void vps_started(struct story *s)
{
	command_done(s, COMMAND_VP_START, 0);
}

static void vps_not_started(struct story *s)
{
	command_done(s, COMMAND_VP_START, 22);
}

static void vps_reset(struct story *s)
{
	command_done(s, COMMAND_RESET, 0);
}

static void vps_not_reset(struct story *s)
{
	command_done(s, COMMAND_RESET, 22);
}

static void resets_by_port(struct story *s)
{
	port_write(s, 0x604, 0x101);
}

static void other_ports(struct story *s)
{
	port_write(s, 0x604, 2);
	port_write(s, 0x601, 1);
	port_write(s, 0x600, 0x14);
}

static void sleeps(struct story *s)
{
	port_write(s, 0x600, 0x34);
}

static void resets_by_msr(struct story *s)
{
	msr_write(s, MSR_RESET, 1);
}

static void other_msrs(struct story *s)
{
	struct rec_exit_msr read = { .generation = 6, .msr = MSR_CRASH_P0 + 1 };

	msr_write(s, MSR_RESET, 2);
	msr_write(s, MSR_CRASH_P0 + 1, 3);
	RAISE(s, vp, 0, MSR_READ, read, NULL, 0);
}

static void triple_fault(struct story *s)
{
	fatal(s, FATAL_TRIPLE, 0);
}

static void cannot_go_on(struct story *s)
{
	fatal(s, 2, 0);
}

static void ends_with_a_status(struct story *s)
{
	fatal(s, FATAL_GUEST_ENDED, 0x103);
}

static void last_words(struct story *s)
{
	struct rec_fetched f = { 0 };

	RAISE(s, vtl, 0, CRASH_TEXT, f, "Oops\0\0", 6);
}

static void no_last_words(struct story *s)
{
	struct rec_fetched f = { .status = 14 };

	RAISE(s, vtl, 0, CRASH_TEXT, f, "Oops", 4);
}

static void requests_over(struct story *s)
{
	const struct scsi *q = world_at(story_world(s), KIND_scsi, 0);

	if (q)
		disk_done(s, 0, 4096);
	else
		guest_in_force(s);
}

static const struct story_happening vtl_events[] = {
	{ "a configuration", configured },
	{ "configurations that cannot be", unsound_configs },
	{ "START", start },
	{ "SHUTDOWN", shut_down },
	{ "POWER_OFF", power_off },
	{ "the image is placed", loaded },
	{ "the image cannot be placed", not_loaded },
	{ "processors started", vps_started },
	{ "processors not started", vps_not_started },
	{ "processors reset", vps_reset },
	{ "processors not reset", vps_not_reset },
	{ "reset by the port", resets_by_port },
	{ "ports that do nothing", other_ports },
	{ "sleep", sleeps },
	{ "reset by the MSR", resets_by_msr },
	{ "other MSRs", other_msrs },
	{ "a triple fault", triple_fault },
	{ "a processor that cannot go on", cannot_go_on },
	{ "the guest ends with a status", ends_with_a_status },
	{ "last words", last_words },
	{ "last words that are not there", no_last_words },
	{ "requests over, or declared state in force", requests_over },
};

static void vtl_table(struct story *s)
{
	story_table(s, KIND_vtl, vtl_states, ARRAY_LEN(vtl_states), vtl_events,
		   ARRAY_LEN(vtl_events));
}

/* ---- a processor ------------------------------------------------------------------ */

/* Its write to SIMP waits until it is in force. */
static void go_waiting(struct story *s)
{
	go_running(s);
	msr_write(s, MSR_SIMP, 0x7001);
}

static const struct story_reach vp_states[] = {
	{ vp_RUNNING, go_running }, { vp_WAIT_IN_FORCE, go_waiting },
};

static void in_force(struct story *s, uint64_t generation)
{
	struct rec_in_force f = { .generation = generation };

	RAISE(s, vtl, 0, IN_FORCE, f, NULL, 0);
}

static void in_force_now(struct story *s)
{
	in_force(s, story_seq(s));
}

static void in_force_before(struct story *s)
{
	in_force(s, story_seq(s) - 1);
}

static void vp_reset(struct story *s)
{
	story_raise(s, KIND_vp, 0, vp_EV_RESET, "", 0, NULL, 0);
}

static void vp_config(struct story *s)
{
	struct rec_config c = { .tsc_hz = 3, .apic_hz = 4 };

	RAISE(s, vp, 0, CONFIG, c, NULL, 0);
}

static void exits_and_answers(struct story *s)
{
	struct rec_exit_mmio mmio = { .generation = 9, .size = 4, .is_read = 1 };
	struct rec_exit_hypercall call = { .generation = 9, .control = 0x5d };
	struct rec_exit_msr read = { .generation = 9, .msr = MSR_SIMP };

	RAISE(s, vp, 0, MMIO, mmio, NULL, 0);
	RAISE(s, vp, 0, HYPERCALL, call, NULL, 0);
	RAISE(s, vp, 0, MSR_READ, read, NULL, 0);
	port_write(s, 0x3ff, 7);
	in_force(s, story_seq(s));
}

static void vp_quarantine(struct story *s)
{
	struct rec_quarantine q = { .source_pos = 77, .code = vp_EV_PIO };

	RAISE(s, vp, 0, QUARANTINE, q, NULL, 0);
	q.code = 0;
	RAISE(s, vp, 0, QUARANTINE, q, NULL, 0);
}

static const struct story_happening vp_events[] = {
	{ "in force", in_force_now },
	{ "something older is in force", in_force_before },
	{ "the guest is reset", vp_reset },
	{ "frequencies", vp_config },
	{ "exits, and then all is in force", exits_and_answers },
	{ "a triple fault", triple_fault },
	{ "quarantine", vp_quarantine },
};

static void vp_table(struct story *s)
{
	story_table(s, KIND_vp, vp_states, ARRAY_LEN(vp_states), vp_events, ARRAY_LEN(vp_events));
}

/* ---- who serves ----------------------------------------------------------------- */

enum { OLD = 0, NEW = 2, OTHER = 3, EXECUTABLE = 33, SPAWN_ID_SHIFT = 12 };

static const struct servicing *who(const struct story *s)
{
	return world_at(story_world(s), KIND_servicing, 0);
}

static void serves(struct story *s, uint32_t reason, uint32_t slot)
{
	struct rec_serving r = { .reason = reason, .slot = slot, .epoch = 2, .level = 1,
				 .stop_ns = 500 };

	RAISE(s, servicing, 0, SERVING, r, "0.1.0-b", 7);
}

static void ask(struct story *s, uint16_t code, uint64_t value)
{
	struct rec_service_ask a = { .follow_events = 10, .follow_ns = 20, .voting = 30,
				     .probation_ns = 40 };
	struct rec_operator o = { .op = 6, .arg = EXECUTABLE, .value = value, .token = 9 };

	story_raise(s, KIND_servicing, 0, code, &o, sizeof(o), &a, sizeof(a));
}

static void service(struct story *s)
{
	ask(s, servicing_EV_SERVICE, 0);
}

static void spawn_done(struct story *s, uint32_t status, uint64_t slot, uint64_t turns_before)
{
	struct rec_command_done done = { .op = COMMAND_SPAWN, .status = status, .value = slot,
					 .id = (who(s)->spawn_seq - turns_before)
					       << SPAWN_ID_SHIFT };

	RAISE(s, servicing, 0, COMMAND_DONE, done, NULL, 0);
}

static void news(struct story *s, uint16_t code, uint32_t slot, const char *text)
{
	struct rec_successor n = { .slot = slot, .seq = 5 };

	story_raise(s, KIND_servicing, 0, code, &n, sizeof(n), text, strlen(text));
}

static void time_passes(struct story *s)
{
	struct rec_deadline d = { .deadline_ns = who(s)->deadline_ns };

	RAISE(s, servicing, 0, TIMER, d, NULL, 0);
}

static void old_timer(struct story *s)
{
	struct rec_deadline d = { .deadline_ns = who(s)->deadline_ns + 1 };

	RAISE(s, servicing, 0, TIMER, d, NULL, 0);
}

static void facts_of(struct story *s, uint32_t slot)
{
	struct rec_owner_facts f = { .followed = 12, .differences = 1, .serves = 2, .slot = slot };

	RAISE(s, servicing, 0, OWNER_FACTS, f, NULL, 0);
}

static void facts(struct story *s)
{
	facts_of(s, who(s)->owner - 1);
}

static void facts_of_another(struct story *s)
{
	facts_of(s, OTHER);
}

static void first_owner(struct story *s)
{
	serves(s, SERVING_FIRST, OLD);
}

static void go_spawning(struct story *s)
{
	first_owner(s);
	service(s);
}

static void go_following(struct story *s)
{
	go_spawning(s);
	spawn_done(s, 0, NEW, 0);
}

static void go_flipping(struct story *s)
{
	go_following(s);
	news(s, servicing_EV_SUCCESSOR_READY, NEW, "");
}

static void go_probation(struct story *s)
{
	go_flipping(s);
	serves(s, SERVING_PLANNED, NEW);
	facts(s);
}

static void rollback(struct story *s)
{
	ask(s, servicing_EV_ROLLBACK, 0);
}

static void commit(struct story *s)
{
	ask(s, servicing_EV_COMMIT, 0);
}

static void go_returning(struct story *s)
{
	go_probation(s);
	rollback(s);
}

static void go_done(struct story *s)
{
	go_probation(s);
	commit(s);
}

static void go_rolled_back(struct story *s)
{
	go_returning(s);
	serves(s, SERVING_ROLLBACK, OLD);
}

static const struct story_reach servicing_states[] = {
	{ servicing_IDLE, first_owner },       { servicing_SPAWNING, go_spawning },
	{ servicing_FOLLOWING, go_following }, { servicing_FLIPPING, go_flipping },
	{ servicing_PROBATION, go_probation }, { servicing_RETURNING, go_returning },
	{ servicing_DONE, go_done },           { servicing_ROLLED_BACK, go_rolled_back },
};

static void spawned(struct story *s)
{
	spawn_done(s, 0, NEW, 0);
}

static void spawned_nowhere(struct story *s)
{
	spawn_done(s, 0, LIMIT_PROCS, 0);
}

static void not_spawned(struct story *s)
{
	spawn_done(s, 2, 0, 0);
}

static void spawned_before(struct story *s)
{
	spawn_done(s, 0, NEW, 1);
}

static void killed(struct story *s)
{
	struct rec_command_done done = { .op = COMMAND_KILL,
					 .id = who(s)->spawn_seq << SPAWN_ID_SHIFT };

	RAISE(s, servicing, 0, COMMAND_DONE, done, NULL, 0);
}

static void ready(struct story *s)
{
	news(s, servicing_EV_SUCCESSOR_READY, NEW, "");
}

static void another_ready(struct story *s)
{
	news(s, servicing_EV_SUCCESSOR_READY, OTHER, "");
}

static void successor_gone(struct story *s)
{
	news(s, servicing_EV_SUCCESSOR_GONE, NEW, "channel.in_position differs");
}

static void gone_silently(struct story *s)
{
	news(s, servicing_EV_SUCCESSOR_GONE, NEW, "");
}

static void old_one_gone(struct story *s)
{
	news(s, servicing_EV_SUCCESSOR_GONE, OLD, "");
}

static void another_gone(struct story *s)
{
	news(s, servicing_EV_SUCCESSOR_GONE, OTHER, "");
}

static void returned(struct story *s)
{
	news(s, servicing_EV_RETURNED, NEW, "turn 7 differs");
}

static void planned(struct story *s)
{
	serves(s, SERVING_PLANNED, NEW);
}

static void planned_by_another(struct story *s)
{
	serves(s, SERVING_PLANNED, OTHER);
}

static void after_a_death(struct story *s)
{
	serves(s, SERVING_DEATH, NEW);
}

static void old_one_serves(struct story *s)
{
	serves(s, SERVING_DEATH, OLD);
}

static void commit_level(struct story *s)
{
	ask(s, servicing_EV_COMMIT, 2);
}

static void commit_highest(struct story *s)
{
	ask(s, servicing_EV_COMMIT, LEVEL_HIGHEST);
}

static void commit_too_much(struct story *s)
{
	ask(s, servicing_EV_COMMIT, 3);
}

static const struct story_happening servicing_events[] = {
	{ "SERVICE", service },
	{ "COMMIT", commit },
	{ "COMMIT of level 2", commit_level },
	{ "COMMIT of the highest level", commit_highest },
	{ "COMMIT of a level that nobody serves", commit_too_much },
	{ "ROLLBACK", rollback },
	{ "spawned", spawned },
	{ "spawned, in a slot that is none", spawned_nowhere },
	{ "not spawned", not_spawned },
	{ "another one was spawned", spawned_before },
	{ "something was killed", killed },
	{ "the successor is ready", ready },
	{ "another one is ready", another_ready },
	{ "the successor is gone", successor_gone },
	{ "the successor is gone without a word", gone_silently },
	{ "the predecessor is gone", old_one_gone },
	{ "another one is gone", another_gone },
	{ "why it was returned", returned },
	{ "the successor serves as planned", planned },
	{ "another one serves as planned", planned_by_another },
	{ "the successor serves after a death", after_a_death },
	{ "the predecessor serves", old_one_serves },
	{ "its time is over", time_passes },
	{ "the time of another phase is over", old_timer },
	{ "facts of the owner", facts },
	{ "facts of another", facts_of_another },
};

static void servicing_table(struct story *s)
{
	story_table(s, KIND_servicing, servicing_states, ARRAY_LEN(servicing_states),
		   servicing_events, ARRAY_LEN(servicing_events));
}

/* SERVICE with the wish to commit: the level goes up when probation ends. */
static void commits_by_itself(struct story *s)
{
	for (uint64_t flags = 0; flags <= SERVICE_COMMIT; flags++) {
		story_anew(s);
		story_mute(s, true);
		first_owner(s);
		ask(s, servicing_EV_SERVICE, flags);
		spawned(s);
		ready(s);
		planned(s);
		facts(s);
		story_mute(s, false);
		story_say(s, "probation ends, %s", flags ? "and commits" : "and does not commit");
		time_passes(s);
		story_fields(s, KIND_servicing, 0);
		cr_assert_eq(world_lane_const(story_world(s))->level, 1 + flags);
	}
}

/* ---- disks ---------------------------------------------------------------------- */

enum { THERE = 0, ELSEWHERE = 1, DRIVE = DISK_OPTICAL | DISK_READ_ONLY };

static void drive_event(struct story *s, uint16_t code, uint16_t lun, uint64_t blocks)
{
	struct rec_disk_config d = { .blocks = blocks, .lun = lun,
				     .block_bytes = DISK_OPTICAL_BLOCK,
				     .flags = DISK_OPTICAL | DISK_READ_ONLY, .fd = 60,
				     .identity = { 7, 8 }, .token = 5 };

	story_raise(s, KIND_disk, 0, code, &d, sizeof(d), "iso", 3);
}

static void at_disk(struct story *s, uint16_t code, uint32_t arg, uint64_t value)
{
	struct rec_operator o = { .op = OPERATOR_DISK, .arg = arg, .value = value, .token = 5 };

	story_raise(s, KIND_disk, 0, code, &o, sizeof(o), NULL, 0);
}

/* A guest with a drive as LUN 0. */
static void go_drive(struct story *s)
{
	guest_config(s, 1);
	drive_event(s, disk_EV_CONFIG, THERE, 512);
	guest_start(s);
	guest_contact(s, VMBUS_V5_3);
	guest_offers(s);
	guest_open(s, 1, 0xe1e10);
	guest_handshake(s, 1);
}

static void read_first(struct story *s)
{
	static const uint8_t cdb[10] = { 0x28, [8] = 1 };

	guest_srb(s, 1, 1, THERE, cdb, sizeof(cdb), 0x2000, 2048);
}

static void go_disk(struct story *s)
{
	guest_ready(s);
	story_mute(s, true);
}

static void go_ejecting(struct story *s)
{
	go_drive(s);
	read_first(s);
	at_disk(s, disk_EV_EJECT, THERE, 1);
}

static void go_leaving(struct story *s)
{
	go_drive(s);
	read_first(s);
	at_disk(s, disk_EV_REMOVE, THERE, 0);
}

static const struct story_reach disk_states[] = {
	{ disk_EMPTY, configured },    { disk_PRESENT, go_disk },     { disk_PRESENT, go_drive },
	{ disk_EJECTING, go_ejecting }, { disk_LEAVING, go_leaving },
};

static void add_file(struct story *s, struct rec_disk_config d)
{
	d.fd = 70;
	d.token = 5;
	RAISE(s, disk, 0, ADD, d, "new", 3);
}

static void add_elsewhere(struct story *s)
{
	add_file(s, (struct rec_disk_config){ .blocks = 8, .block_bytes = 512, .lun = ELSEWHERE });
}

static void add_there(struct story *s)
{
	add_file(s, (struct rec_disk_config){ .blocks = 8, .block_bytes = 4096, .lun = THERE });
}

static void add_anywhere(struct story *s)
{
	add_file(s, (struct rec_disk_config){ .blocks = 8, .block_bytes = 4096, .lun = LUN_ANY });
}

static void configure_unsound(struct story *s)
{
	struct rec_disk_config d = { .blocks = 8, .block_bytes = 513 };

	RAISE(s, disk, 0, CONFIG, d, NULL, 0);
}

static void insert_there(struct story *s)
{
	drive_event(s, disk_EV_INSERT, THERE, 99);
}

static void insert_elsewhere(struct story *s)
{
	drive_event(s, disk_EV_INSERT, ELSEWHERE, 99);
}

static void resize_there(struct story *s)
{
	at_disk(s, disk_EV_RESIZE, THERE, 4096);
}

static void resize_badly(struct story *s)
{
	at_disk(s, disk_EV_RESIZE, THERE, 4095);
	at_disk(s, disk_EV_RESIZE, THERE, 0);
}

static void resize_elsewhere(struct story *s)
{
	at_disk(s, disk_EV_RESIZE, ELSEWHERE, 4096);
	at_disk(s, disk_EV_RESIZE, 1 << 16, 4096);
}

static void remove_there(struct story *s)
{
	at_disk(s, disk_EV_REMOVE, THERE, 0);
}

static void remove_elsewhere(struct story *s)
{
	at_disk(s, disk_EV_REMOVE, ELSEWHERE, 0);
}

static void eject_there(struct story *s)
{
	at_disk(s, disk_EV_EJECT, THERE, 0);
}

static void eject_elsewhere(struct story *s)
{
	at_disk(s, disk_EV_EJECT, ELSEWHERE, 1);
}

static void disk_told(struct story *s, uint16_t code, uint32_t relid, uint32_t value)
{
	struct rec_relid r = { .relid = relid, .value = value };

	story_raise(s, KIND_disk, 0, code, &r, sizeof(r), NULL, 0);
}

static void answered(struct story *s)
{
	disk_told(s, disk_EV_ANSWER, 0, LUN_TAKEN);
}

static void answered_locked(struct story *s)
{
	disk_told(s, disk_EV_ANSWER, 0, LUN_LOCKED_IN);
}

static void controller_goes(struct story *s)
{
	disk_told(s, disk_EV_WITHDRAW, 0, 0);
}

static void another_controller_goes(struct story *s)
{
	disk_told(s, disk_EV_WITHDRAW, 1, 0);
}

static void request_ends(struct story *s)
{
	if (world_at(story_world(s), KIND_scsi, 0))
		disk_done(s, 0, 2048);
}

static const struct story_happening disk_events[] = {
	{ "a disk that cannot be", configure_unsound },
	{ "ADD of another", add_elsewhere },
	{ "ADD in its place", add_there },
	{ "ADD anywhere", add_anywhere },
	{ "INSERT", insert_there },
	{ "INSERT into another", insert_elsewhere },
	{ "RESIZE", resize_there },
	{ "RESIZE to what cannot be", resize_badly },
	{ "RESIZE of others", resize_elsewhere },
	{ "REMOVE", remove_there },
	{ "REMOVE of another", remove_elsewhere },
	{ "EJECT", eject_there },
	{ "EJECT of another", eject_elsewhere },
	{ "the controller took something", answered },
	{ "the guest holds it", answered_locked },
	{ "its controller goes", controller_goes },
	{ "another controller goes", another_controller_goes },
	{ "its last request ends", request_ends },
};

static void disk_table(struct story *s)
{
	story_table(s, KIND_disk, disk_states, ARRAY_LEN(disk_states), disk_events,
		   ARRAY_LEN(disk_events));
}

/* What a disk may be: the bounds of each figure. */
static void disk_bounds(struct story *s)
{
	static const struct rec_disk_config files[] = {
		{ .blocks = 0, .block_bytes = 512 },
		{ .blocks = 1, .block_bytes = 512 },
		{ .blocks = 1, .block_bytes = 4096 },
		{ .blocks = 1, .block_bytes = 2048 },
		{ .blocks = 1ull << 53, .block_bytes = 512 },
		{ .blocks = (1ull << 53) + 1, .block_bytes = 512 },
		{ .blocks = 1, .block_bytes = 512, .controller = CAPACITY_storvsp - 1 },
		{ .blocks = 1, .block_bytes = 512, .controller = CAPACITY_storvsp },
		{ .blocks = 1, .block_bytes = 512, .target = 1 },
		{ .blocks = 1, .block_bytes = 512, .lun = 63 },
		{ .blocks = 1, .block_bytes = 512, .lun = 64 },
		{ .blocks = 1, .block_bytes = 512, .lun = LUN_ANY },
		{ .blocks = 1, .block_bytes = 512, .lun = 12 },
		{ .blocks = 0, .block_bytes = 2048, .flags = DRIVE },
		{ .blocks = 1, .block_bytes = 2048, .flags = DISK_OPTICAL },
		{ .blocks = 1, .block_bytes = 512, .flags = DRIVE },
		{ .blocks = UINT32_MAX, .block_bytes = 2048, .flags = DRIVE },
		{ .blocks = 1ull << 32, .block_bytes = 2048, .flags = DRIVE },
	};

	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		story_anew(s);
		story_mute(s, true);
		guest_config(s, 1);
		story_mute(s, false);
		story_say(s, "%lu blocks of %u, flags %x, %u:%u:%u", (unsigned long)files[i].blocks,
			  files[i].block_bytes, files[i].flags, files[i].controller,
			  files[i].target, files[i].lun);
		add_file(s, files[i]);
		story_fields(s, KIND_disk, 0);
	}
}

STORY(table_vtl, vtl_table)
STORY(table_vp, vp_table)
STORY(table_disk, disk_table)
STORY(disk_bounds, disk_bounds)
STORY(table_servicing, servicing_table)
STORY(commits_by_itself, commits_by_itself)
