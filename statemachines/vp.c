/* A virtual processor answers its own exits, or hands them to who owns the
 * port or the MSR. Invariants: every exit gets exactly one MAILBOX_ANSWER, by
 * this machine or by the one it was handed to; the only exception is a
 * processor that will be reset. While one write waits to be in force, no other
 * exit can be answered (the processor is stopped), so events are put off. */
#include "statemachines/vp.h"

#include "statemachines/cmos.h"
#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/ports.h"
#include "statemachines/synthetic_msr.h"
#include "statemachines/uart.h"
#include "statemachines/vtl.h"

#include <string.h>

enum {
	CALL_POST_MESSAGE = 0x5c,
	CALL_SIGNAL_EVENT = 0x5d,
	HV_INVALID_CODE = 2,          /* HV_STATUS_INVALID_HYPERCALL_CODE */
	HV_INVALID_CONNECTION = 0x12, /* HV_STATUS_INVALID_CONNECTION_ID */
	SINT_VECTOR = 0xff,
	SINT_MASKED = 0x10000,
	LEAST_VECTOR = 16,
	PAGE = 4096,
};

static bool holds_no_wait(const void *self)
{
	return ((const struct vp *)self)->wait_seq == 0;
}

static bool holds_wait(const void *self)
{
	return ((const struct vp *)self)->wait_seq != 0;
}

static void answer(struct sm_cx *cx, uint32_t generation, uint64_t value, bool fault)
{
	struct rec_mailbox_answer a = { .value = value, .generation = generation,
					.vp = cx->ref.index, .fault = fault };

	sm_effect(cx, EFFECT_MAILBOX_ANSWER, &a, NULL, 0);
}

static uint64_t all_ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : ((uint64_t)1 << size * 8) - 1;
}

/* ---- ports and memory ------------------------------------------------- */

static void hand_port(struct sm_cx *cx, uint16_t kind, uint16_t event,
		      const struct rec_exit_pio *p)
{
	struct rec_vp_pio v = { .generation = p->generation, .vp = cx->ref.index,
				.port = p->port, .size = p->size, .is_in = p->is_in,
				.value = p->value };

	sm_post(cx, ref_of(kind, 0), event, &v, NULL, 0);
}

static void route_port(struct sm_cx *cx)
{
	const struct rec_exit_pio *p = cx->p;

	if (p->port >= PORT_UART && p->port < PORT_UART + 8)
		hand_port(cx, KIND_uart, uart_EV_PIO, p);
	else if (p->port == PORT_CMOS_INDEX || p->port == PORT_CMOS_DATA)
		hand_port(cx, KIND_cmos, cmos_EV_PIO, p);
	else if (p->port == PORT_SLEEP_CONTROL || p->port == PORT_SLEEP_STATUS ||
		 p->port == PORT_RESET)
		hand_port(cx, KIND_vtl, vtl_EV_PORT, p);
	else if (!p->is_in || p->port == PORT_SYSTEM_B)
		answer(cx, p->generation, 0, false);
	else
		answer(cx, p->generation, all_ones(p->size > 4 ? 4 : p->size), false);
}

static void answer_mmio(struct sm_cx *cx)
{
	const struct rec_exit_mmio *p = cx->p;

	answer(cx, p->generation, p->is_read ? all_ones(p->size) : 0, false);
}

/* ---- synthetic MSRs --------------------------------------------------- */

static bool of_partition(uint32_t msr)
{
	return msr == MSR_GUEST_OS_ID || msr == MSR_HYPERCALL || msr == MSR_RESET ||
	       msr == MSR_REFERENCE_TSC || msr == MSR_TSC_INVARIANT ||
	       (msr >= MSR_CRASH_P0 && msr <= MSR_CRASH_CTL);
}

static bool is_sint(uint32_t msr)
{
	return msr >= MSR_SINT0 && msr < MSR_SINT0 + 16;
}

/* Value of an MSR of this processor; false: there is none to read. */
static bool own_value(const struct vp *v, const struct rec_exit_msr *p, uint16_t index,
		      uint64_t *ret)
{
	switch (p->msr) {
	case MSR_VP_INDEX:
		*ret = index;
		return true;
	case MSR_TIME_REF_COUNT:
		*ret = p->reference_time;
		return true;
	case MSR_TSC_FREQUENCY:
		*ret = v->tsc_hz;
		return true;
	case MSR_APIC_FREQUENCY:
		*ret = v->apic_hz;
		return true;
	case MSR_VP_ASSIST:
		*ret = v->vp_assist;
		return true;
	case MSR_SCONTROL:
		*ret = v->scontrol;
		return true;
	case MSR_SVERSION:
		*ret = 1;
		return true;
	case MSR_SIEFP:
		*ret = v->siefp;
		return true;
	case MSR_SIMP:
		*ret = v->simp;
		return true;
	case MSR_EOM:
		*ret = 0;
		return true;
	default:
		*ret = is_sint(p->msr) ? v->sint[p->msr - MSR_SINT0] ^ SINT_MASKED : 0;
		return is_sint(p->msr);
	}
}

static void read_msr(struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;
	uint64_t value;
	bool known;

	if (of_partition(p->msr)) {
		sm_post(cx, ref_of(KIND_vtl, 0), vtl_EV_MSR_READ, p, NULL, 0);
		return;
	}
	known = own_value(cx->self, p, cx->ref.index, &value);
	answer(cx, p->generation, known ? value : 0, !known);
}

/* The SynIC register that @msr names, NULL: it is none. */
static uint64_t *synic_register(struct vp *v, uint32_t msr)
{
	switch (msr) {
	case MSR_SCONTROL:
		return &v->scontrol;
	case MSR_SIEFP:
		return &v->siefp;
	case MSR_SIMP:
		return &v->simp;
	default:
		return is_sint(msr) ? &v->sint[msr - MSR_SINT0] : NULL;
	}
}

static bool is_legal(const struct rec_exit_msr *p)
{
	return !is_sint(p->msr) || (p->value & SINT_MASKED) ||
	       (p->value & SINT_VECTOR) >= LEAST_VECTOR;
}

/* A legal write that changes what the partition must know. */
static bool declares(const struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;
	uint64_t now;

	if (!synic_register(cx->self, p->msr) || !is_legal(p))
		return false;
	own_value(cx->self, p, cx->ref.index, &now);
	return now != p->value;
}

static void declare_all(struct sm_cx *cx)
{
	const struct vp *v = cx->self;
	struct rec_declare_vp d = { .vp = cx->ref.index, .scontrol = v->scontrol,
				    .simp = v->simp, .siefp = v->siefp };

	for (unsigned i = 0; i < 16; i++)
		d.sint[i] = v->sint[i] ^ SINT_MASKED;
	sm_effect(cx, EFFECT_DECLARE_VP, &d, NULL, 0);
}

static void declare(struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;
	struct vp *v = cx->self;

	*synic_register(v, p->msr) = is_sint(p->msr) ? p->value ^ SINT_MASKED : p->value;
	v->wait_seq = cx->seq;
	v->wait_generation = p->generation;
	declare_all(cx);
}

static bool is_in_force(const struct sm_cx *cx)
{
	const struct rec_in_force *p = cx->p;

	return p->generation >= ((const struct vp *)cx->self)->wait_seq;
}

static void answer_write(struct sm_cx *cx)
{
	struct vp *v = cx->self;

	answer(cx, v->wait_generation, 0, false);
	v->wait_seq = 0;
	v->wait_generation = 0;
}

/* The page begins as zeros whatever the guest left there (TLFS: overlay page). */
static void set_assist_page(struct sm_cx *cx, uint64_t value)
{
	struct rec_guest_write w = { .n_segments = 1 };
	uint8_t tail[16 + PAGE] = { 0 };
	uint64_t pair[2] = { value & ~(uint64_t)(PAGE - 1), PAGE };

	((struct vp *)cx->self)->vp_assist = value;
	if (!(value & 1))
		return;
	memcpy(tail, pair, sizeof(pair));
	sm_effect(cx, EFFECT_GUEST_WRITE, &w, tail, sizeof(tail));
}

static void write_msr(struct sm_cx *cx)
{
	const struct rec_exit_msr *p = cx->p;
	bool known = synic_register(cx->self, p->msr) ? is_legal(p) : p->msr == MSR_EOM;

	if (of_partition(p->msr)) {
		sm_post(cx, ref_of(KIND_vtl, 0), vtl_EV_MSR_WRITE, p, NULL, 0);
		return;
	}
	if (p->msr == MSR_VP_ASSIST) {
		set_assist_page(cx, p->value);
		known = true;
	}
	answer(cx, p->generation, 0, !known);
}

/* ---- the rest --------------------------------------------------------- */

static void refuse_call(struct sm_cx *cx)
{
	const struct rec_exit_hypercall *p = cx->p;
	uint16_t code = (uint16_t)p->control;
	bool connection = code == CALL_POST_MESSAGE || code == CALL_SIGNAL_EVENT;

	answer(cx, p->generation, connection ? HV_INVALID_CONNECTION : HV_INVALID_CODE, false);
}

static void tell_fatal(struct sm_cx *cx)
{
	sm_post(cx, ref_of(KIND_vtl, 0), vtl_EV_FATAL, cx->p, NULL, 0);
}

static bool is_exit(const struct sm_cx *cx)
{
	return ((const struct rec_quarantine *)cx->p)->code != 0;
}

/* The position of a mailbox as a source is its generation. */
static void fail_exit(struct sm_cx *cx)
{
	answer(cx, (uint32_t)((const struct rec_quarantine *)cx->p)->source_pos, 0, true);
}

static bool is_reset(const struct vp *v)
{
	uint64_t any = v->scontrol | v->simp | v->siefp;

	for (unsigned i = 0; i < 16; i++)
		any |= v->sint[i];
	return any == 0;
}

/* Most processors of a small guest were never touched: nothing to declare. */
static void reset(struct sm_cx *cx)
{
	struct vp *v = cx->self;
	bool clean = is_reset(v);

	v->scontrol = v->simp = v->siefp = v->vp_assist = 0;
	memset(v->sint, 0, sizeof(v->sint));
	v->wait_seq = 0;
	v->wait_generation = 0;
	if (!clean)
		declare_all(cx);
}

static void configure(struct sm_cx *cx)
{
	const struct rec_config *p = cx->p;
	struct vp *v = cx->self;

	v->tsc_hz = p->tsc_hz;
	v->apic_hz = p->apic_hz;
}

#define SM_DEF "statemachines/vp.def"
#define SM_PREFIX vp
#define SM_KIND KIND_vp
#define SM_CAPACITY CAPACITY_vp
#define SM_QUARANTINE vp_EV_QUARANTINE
#define SM_DOC "A virtual processor of VTL0: port I/O, synthetic MSRs, hypercalls (Hyper-V TLFS)."
#include "engine/sm_define.h"
