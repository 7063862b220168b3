/* VTL0 as a whole: configuration, start, partition-wide MSRs, crash, reset,
 * power off.
 *
 * Invariants: a GUEST_LOAD is out exactly in LOADING; processors run only in
 * STARTING, RUNNING, QUIESCING, RESETTING and STOPPING. A processor that asked
 * for the reset or the sleep gets no answer: it is stopped where it stands.
 * Whoever else exits while the guest is being stopped waits for the same. */
#include "statemachines/vtl.h"

#include "statemachines/channel.h"
#include "statemachines/cmos.h"
#include "statemachines/effects.h"
#include "statemachines/heartbeat_ic.h"
#include "statemachines/hypercall_page.h"
#include "statemachines/machines.h"
#include "statemachines/operator.h"
#include "statemachines/ports.h"
#include "statemachines/shutdown_ic.h"
#include "statemachines/storvsp.h"
#include "statemachines/synthetic_msr.h"
#include "statemachines/timesync_ic.h"
#include "statemachines/uart.h"
#include "statemachines/vmbus.h"
#include "statemachines/vp.h"

#include <string.h>

enum {
	HYPERCALL_ENABLE = 1 << 0,
	HYPERCALL_LOCKED = 1 << 1,
	EXIT_FAILED = 1,
	CRASH_TEXT_MAX = 4096,
	CMDLINE_MAX = 2048,          /* COMMAND_LINE_SIZE of x86 Linux */
};
static const uint64_t page_mask = ~(uint64_t)4095;
static const uint64_t crash_notify = (uint64_t)1 << 63;
static const uint64_t crash_message = (uint64_t)1 << 62;

static bool sound(uint64_t memory, uint64_t low, uint32_t vps, uint32_t backend)
{
	return memory && low && low <= memory && vps >= 1 && vps <= LIMIT_VPS &&
	       (backend == 1 || backend == 2);
}

static bool holds_config(const void *self)
{
	const struct vtl *v = self;

	return sound(v->memory_bytes, v->low_bytes, v->vps, v->backend);
}

static bool holds_nothing(const void *self)
{
	return ((const struct vtl *)self)->vps == 0;
}

static void say(struct sm_cx *cx, const char *text, size_t len)
{
	struct rec_bytes b = { 0 };

	sm_post(cx, ref_of(KIND_uart, 0), uart_EV_TEXT, &b, text, len);
}

/* ---- configuration and start ------------------------------------------ */

static bool config_sound(const struct sm_cx *cx)
{
	const struct rec_config *p = cx->p;

	return sound(p->memory_bytes, p->low_bytes, p->vps, p->backend);
}

static void keep_config(struct sm_cx *cx)
{
	const struct rec_config *p = cx->p;
	struct vtl *v = cx->self;

	v->memory_bytes = p->memory_bytes;
	v->low_bytes = p->low_bytes;
	v->wall_ns = p->wall_ns;
	v->tsc_hz = p->tsc_hz;
	v->apic_hz = p->apic_hz;
	v->vps = p->vps;
	v->backend = p->backend;
	sm_blob_set(cx, &v->cmdline, cx->tail, cx->tail_len);
	sm_post_all(cx, KIND_vp, vp_EV_CONFIG, p, NULL, 0);
	sm_post(cx, ref_of(KIND_cmos, 0), cmos_EV_CONFIG, p, NULL, 0);
	sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_CONFIG, p, NULL, 0);
	sm_post_all(cx, KIND_storvsp, storvsp_EV_CONFIG, p, NULL, 0);
	sm_post(cx, ref_of(KIND_timesync_ic, 0), timesync_ic_EV_CONFIG, p, NULL, 0);
}

static void load(struct sm_cx *cx)
{
	struct vtl *v = cx->self;
	struct rec_guest_load g = { .memory_bytes = v->memory_bytes, .low_bytes = v->low_bytes,
				    .vps = v->vps, .backend = v->backend };
	uint8_t cmdline[CMDLINE_MAX];
	size_t len = sm_blob_read(cx, v->cmdline, 0, cmdline, sizeof(cmdline));

	sm_effect(cx, EFFECT_GUEST_LOAD, &g, cmdline, len);
}

/* The integration components come behind the disks, which a guest boots from. */
static void load_first(struct sm_cx *cx)
{
	((struct vtl *)cx->self)->token = ((const struct rec_operator *)cx->p)->token;
	sm_post(cx, ref_of(KIND_shutdown_ic, 0), shutdown_ic_EV_OFFER, NULL, NULL, 0);
	sm_post(cx, ref_of(KIND_heartbeat_ic, 0), heartbeat_ic_EV_OFFER, NULL, NULL, 0);
	sm_post(cx, ref_of(KIND_timesync_ic, 0), timesync_ic_EV_OFFER, NULL, NULL, 0);
	load(cx);
}

static bool load_succeeded(const struct sm_cx *cx)
{
	return ((const struct rec_guest_loaded *)cx->p)->status == 0;
}

static void command(struct sm_cx *cx, uint32_t op, const uint64_t arg[4])
{
	struct rec_command c = { .op = op };

	if (arg)
		memcpy(c.arg, arg, sizeof(c.arg));
	sm_effect(cx, EFFECT_COMMAND, &c, NULL, 0);
}

static void start_vps(struct sm_cx *cx)
{
	const struct rec_guest_loaded *p = cx->p;

	command(cx, COMMAND_VP_START, (const uint64_t[4]){ p->rip, p->rsi, p->cr3, p->gdt });
}

static bool command_was(const struct sm_cx *cx, uint32_t op, bool succeeded)
{
	const struct rec_command_done *p = cx->p;

	return p->op == op && (p->status == 0) == succeeded;
}

static bool vps_started(const struct sm_cx *cx)
{
	return command_was(cx, COMMAND_VP_START, true);
}

static bool start_failed(const struct sm_cx *cx)
{
	return command_was(cx, COMMAND_VP_START, false);
}

static void report_started(struct sm_cx *cx)
{
	struct vtl *v = cx->self;

	operator_report(cx, OPERATOR_START, v->token, OPERATOR_OK, "the guest runs");
	v->token = 0;
}

static void end_vm(struct sm_cx *cx)
{
	struct vtl *v = cx->self;

	command(cx, COMMAND_POWER_OFF, (const uint64_t[4]){ v->exit_status });
}

/* The guest cannot be started, or cannot be reset. */
static void give_up(struct sm_cx *cx)
{
	static const char text[] = "holdfast: the guest cannot be started\r\n";
	struct vtl *v = cx->self;

	say(cx, text, sizeof(text) - 1);
	operator_report(cx, OPERATOR_START, v->token, OPERATOR_E_INVALID,
			"the guest cannot be started");
	v->token = 0;
	v->exit_status = EXIT_FAILED;
	end_vm(cx);
}

/* ---- what goes on while the guest runs -------------------------------- */

static void pass_in_force(struct sm_cx *cx)
{
	sm_post_all(cx, KIND_vp, vp_EV_IN_FORCE, cx->p, NULL, 0);
	sm_post_all(cx, KIND_channel, channel_EV_IN_FORCE, cx->p, NULL, 0);
}

static void answer(struct sm_cx *cx, uint16_t vp, uint32_t generation, uint64_t value, bool fault)
{
	struct rec_mailbox_answer a = { .value = value, .generation = generation, .vp = vp,
					.fault = fault };

	sm_effect(cx, EFFECT_MAILBOX_ANSWER, &a, NULL, 0);
}

static bool port_resets(const struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;

	return !p->is_in && p->port == PORT_RESET && (p->value & 0xff) == RESET_VALUE;
}

static bool port_sleeps(const struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;

	return !p->is_in && p->port == PORT_SLEEP_CONTROL && (p->value & SLEEP_ENABLE);
}

/* Sleep control, sleep status and reset register read as 0. */
static void answer_port(struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;

	answer(cx, p->vp, p->generation, 0, false);
}

static bool msr_resets(const struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;

	return p->msr == MSR_RESET && (p->value & 1);
}

static bool is_triple_fault(const struct sm_cx *cx)
{
	return ((const struct rec_exit_fatal *)cx->p)->reason == FATAL_TRIPLE;
}

static uint64_t *stored_msr(struct vtl *v, uint32_t msr)
{
	switch (msr) {
	case MSR_GUEST_OS_ID:
		return &v->guest_os_id;
	case MSR_HYPERCALL:
		return &v->hypercall;
	case MSR_REFERENCE_TSC:
		return &v->reference_tsc;
	case MSR_TSC_INVARIANT:
		return &v->tsc_invariant;
	default:
		if (msr >= MSR_CRASH_P0 && msr < MSR_CRASH_P0 + 5)
			return &v->crash[msr - MSR_CRASH_P0];
		return NULL;
	}
}

static void read_msr(struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;
	const uint64_t *stored = stored_msr(cx->self, p->msr);
	uint64_t value = 0;

	if (stored)
		value = *stored;
	else if (p->msr == MSR_CRASH_CTL)
		value = crash_notify | crash_message;
	answer(cx, cx->from.index, p->generation, value, false);
}

static void write_guest(struct sm_cx *cx, uint64_t gpa, const uint8_t *bytes, size_t len)
{
	struct rec_guest_write w = { .n_segments = 1 };
	uint64_t pair[2] = { gpa, len };
	uint8_t tail[sizeof(pair) + HYPERCALL_PAGE_BYTES];

	memcpy(tail, pair, sizeof(pair));
	memcpy(tail + sizeof(pair), bytes, len);
	sm_effect(cx, EFFECT_GUEST_WRITE, &w, tail, sizeof(pair) + len);
}

static void set_guest_os_id(struct vtl *v, uint64_t value)
{
	v->guest_os_id = value;
	if (value == 0)
		v->hypercall &= ~(uint64_t)HYPERCALL_ENABLE;
}

static void set_hypercall(struct sm_cx *cx, uint64_t value)
{
	uint8_t page[HYPERCALL_PAGE_BYTES];
	struct vtl *v = cx->self;

	if (v->hypercall & HYPERCALL_LOCKED)
		return;
	if (v->guest_os_id == 0)
		value &= ~(uint64_t)HYPERCALL_ENABLE;
	v->hypercall = value;
	if (!(value & HYPERCALL_ENABLE))
		return;
	hypercall_page_fill(page);
	write_guest(cx, value & page_mask, page, sizeof(page));
}

static void set_reference_tsc(struct sm_cx *cx, uint64_t value)
{
	uint8_t page[REFERENCE_TSC_BYTES];
	struct vtl *v = cx->self;

	v->reference_tsc = value;
	if (!(value & 1))
		return;
	reference_tsc_fill(page, v->tsc_hz);
	write_guest(cx, value & page_mask, page, sizeof(page));
}

/* TLFS "Partition Crash Enlightenment": P3 and P4 are address and length of a text. */
static void note_crash(struct sm_cx *cx, uint64_t value)
{
	struct vtl *v = cx->self;
	struct rec_guest_read r = { .kind = KIND_vtl, .index = cx->ref.index,
				    .generation = cx->ref.generation,
				    .event = vtl_EV_CRASH_TEXT };
	uint64_t pair[2] = { v->crash[3], v->crash[4] };

	if (!(value & crash_notify))
		return;
	v->crashes++;
	if ((value & crash_message) && pair[1] && pair[1] <= CRASH_TEXT_MAX)
		sm_effect(cx, EFFECT_GUEST_READ, &r, pair, sizeof(pair));
}

static void write_msr(struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;
	struct vtl *v = cx->self;

	switch (p->msr) {
	case MSR_GUEST_OS_ID:
		set_guest_os_id(v, p->value);
		break;
	case MSR_HYPERCALL:
		set_hypercall(cx, p->value);
		break;
	case MSR_REFERENCE_TSC:
		set_reference_tsc(cx, p->value);
		break;
	case MSR_CRASH_CTL:
		note_crash(cx, p->value);
		break;
	case MSR_RESET:
		break;
	default:
		*stored_msr(v, p->msr) = p->value;
		break;
	}
	answer(cx, cx->from.index, p->generation, 0, false);
}

static void tell_crash(struct sm_cx *cx)
{
	static const char head[] = "\r\nholdfast: the guest crashed; its last words:\r\n";
	const struct rec_fetched *p = cx->p;
	struct vtl *v = cx->self;
	uint32_t len = cx->tail_len < CRASH_TEXT_MAX ? cx->tail_len : CRASH_TEXT_MAX;

	if (p->status)
		return;
	while (len && cx->tail[len - 1] == 0)
		len--;
	sm_blob_set(cx, &v->crash_text, cx->tail, len);
	say(cx, head, sizeof(head) - 1);
	say(cx, (const char *)cx->tail, len);
}

/* ---- reset and end ---------------------------------------------------- */

static void quiesce(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_RESET, NULL, NULL, 0);
}

static void reset_vps(struct sm_cx *cx)
{
	command(cx, COMMAND_RESET, NULL);
}

static bool vps_reset(const struct sm_cx *cx)
{
	return command_was(cx, COMMAND_RESET, true);
}

static bool reset_failed(const struct sm_cx *cx)
{
	return command_was(cx, COMMAND_RESET, false);
}

static void clear_bus(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_vmbus, 0), vmbus_EV_RESET, NULL, NULL, 0);
}

static void load_again(struct sm_cx *cx)
{
	struct vtl *v = cx->self;

	v->guest_os_id = v->hypercall = v->reference_tsc = v->tsc_invariant = 0;
	memset(v->crash, 0, sizeof(v->crash));
	v->resets++;
	sm_post_all(cx, KIND_vp, vp_EV_RESET, NULL, NULL, 0);
	sm_post(cx, ref_of(KIND_uart, 0), uart_EV_RESET, NULL, NULL, 0);
	load(cx);
}

static void keep_token(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	operator_report(cx, OPERATOR_POWER_OFF, p->token, OPERATOR_OK,
			"the guest ends when its disks are idle");
}

/* By the guest's own wish or the operator's. */
static void begin_stop(struct sm_cx *cx)
{
	if (cx->event->code == vtl_EV_POWER_OFF)
		keep_token(cx);
	quiesce(cx);
}

static void cut_power(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;

	if (cx->event->code == vtl_EV_POWER_OFF)
		operator_report(cx, OPERATOR_POWER_OFF, p->token, OPERATOR_OK, "powered off");
	end_vm(cx);
}

static void note_fatal(struct sm_cx *cx)
{
	static const char text[] = "holdfast: a virtual processor cannot go on\r\n";
	const struct rec_exit_fatal *p = cx->p;
	struct vtl *v = cx->self;

	v->exit_status = EXIT_FAILED;
	if (p->reason == FATAL_GUEST_ENDED)
		v->exit_status = (uint32_t)(p->detail & 0xff);
	else
		say(cx, text, sizeof(text) - 1);
	quiesce(cx);
}

static void pass_shutdown(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_shutdown_ic, 0), shutdown_ic_EV_SHUTDOWN, cx->p, NULL, 0);
}

/* An operator's command out of its time is answered; all else is dropped. */
static void reject(struct sm_cx *cx)
{
	const struct rec_operator *p = cx->p;
	uint16_t e = cx->event->code;

	if (e == vtl_EV_START || e == vtl_EV_SHUTDOWN || e == vtl_EV_POWER_OFF)
		operator_report(cx, e == vtl_EV_START ? OPERATOR_START :
				e == vtl_EV_SHUTDOWN ? OPERATOR_SHUTDOWN : OPERATOR_POWER_OFF,
				p->token, OPERATOR_E_INVALID,
				"the guest is not in a state for this");
}

#define SM_DEF "statemachines/vtl.def"
#define SM_PREFIX vtl
#define SM_KIND KIND_vtl
#define SM_CAPACITY CAPACITY_vtl
#define SM_REJECT_WITH reject
#define SM_DOC \
	"VTL0, the guest as a whole: configuration, start, reset, crash, power off " \
	"(Hyper-V TLFS; ACPI 6.4, 4.8.3)."
#include "engine/sm_define.h"
