/* Registers of KVM's VPs: as after power on, and as a 64-bit kernel wants them.
 *
 * The reset state is what KVM itself made of each VP, taken once before the
 * first run and put back at a reset, interrupt controllers included. The TSC
 * is left out: guest time goes on. A VP that was stopped in the middle of an
 * exit is first run with immediate_exit, or the kernel would complete that
 * exit on top of the new registers (protocol.md I.5). */
#include "engine/partition/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
	MSR_TSC = 0x10, MSR_TSC_ADJUST = 0x3b, MSR_MTRR_DEF_TYPE = 0x2ff,
	MTRR_WRITE_BACK = 0xc06,
	MSR_HV_FIRST = 0x40000000, MSR_HV_LAST = 0x400001ff,
	MSR_KVM_FIRST = 0x4b564d00, MSR_KVM_LAST = 0x4b564dff,
	SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, GDT_LIMIT = 0x1f,
	TYPE_CODE = 0xb, TYPE_DATA = 0x3, TYPE_TSS = 0xb,
	CR0_BOOT_LOW = 0x31,          /* PE, ET, NE */
	CR4_PAE = 0x20, EFER_LONG = 0x500,
	RFLAGS_NONE = 2,
};

#define CR0_PAGING (UINT64_C(1) << 31)

bool kvm_msr_get(int vp_fd, uint32_t index, uint64_t *ret_value)
{
	union kvm_one_msr m = { .list = { .nmsrs = 1 } };

	m.list.entries[0] = (struct kvm_msr_entry){ .index = index };
	if (ioctl(vp_fd, KVM_GET_MSRS, &m.list) != 1)
		return false;
	*ret_value = m.list.entries[0].data;
	return true;
}

/* What this CPU refuses stays as it is: it was never changed either. */
static bool set_msr(int fd, uint32_t index, uint64_t value)
{
	union kvm_one_msr m = { .list = { .nmsrs = 1 } };

	m.list.entries[0] = (struct kvm_msr_entry){ .index = index, .data = value };
	return ioctl(fd, KVM_SET_MSRS, &m.list) == 1;
}

static bool skipped(uint32_t index)
{
	return index == MSR_TSC || index == MSR_TSC_ADJUST ||
	       (index >= MSR_HV_FIRST && index <= MSR_HV_LAST) ||
	       (index >= MSR_KVM_FIRST && index <= MSR_KVM_LAST);
}

static int save_msrs(const struct kvm *k, struct kvm_vp *v)
{
	union {
		struct kvm_msr_list list;
		uint8_t room[sizeof(struct kvm_msr_list) + KVM_MSRS_MAX * sizeof(uint32_t)];
	} all = { .list = { .nmsrs = KVM_MSRS_MAX } };
	uint64_t value;

	if (ioctl(k->dev, KVM_GET_MSR_INDEX_LIST, &all.list))
		return -errno;
	v->reset.n_msrs = 0;
	for (uint32_t i = 0; i < all.list.nmsrs; i++) {
		uint32_t index = all.list.indices[i];

		if (!skipped(index) && kvm_msr_get(v->fd, index, &value))
			v->reset.msr[v->reset.n_msrs++] =
				(struct kvm_msr_entry){ .index = index, .data = value };
	}
	return 0;
}

static int save_vp(const struct kvm *k, struct kvm_vp *v)
{
	struct kvm_reset *r = &v->reset;

	if (ioctl(v->fd, KVM_GET_MP_STATE, &r->mp) || ioctl(v->fd, KVM_GET_REGS, &r->regs) ||
	    ioctl(v->fd, KVM_GET_SREGS, &r->sregs) || ioctl(v->fd, KVM_GET_LAPIC, &r->lapic) ||
	    ioctl(v->fd, KVM_GET_VCPU_EVENTS, &r->events) ||
	    ioctl(v->fd, KVM_GET_DEBUGREGS, &r->debug) || ioctl(v->fd, KVM_GET_XSAVE, r->xsave) ||
	    ioctl(v->fd, KVM_GET_XCRS, &r->xcrs))
		return -errno;
	r->events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			  KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
	return save_msrs(k, v);
}

int kvm_state_save(struct kvm *k, uint32_t vps)
{
	for (uint32_t i = 0; i < vps; i++) {
		int error = save_vp(k, &k->vp[i]);

		if (error)
			return error;
	}
	for (uint32_t i = 0; i < KVM_CHIPS; i++) {
		k->chip[i].chip_id = i;
		if (ioctl(k->vm, KVM_GET_IRQCHIP, &k->chip[i]))
			return -errno;
	}
	return 0;
}

/* Completes what the last exit left undone. */
static void settle(struct kvm_vp *v)
{
	v->run->immediate_exit = 1;
	ioctl(v->fd, KVM_RUN, 0);
	v->at = 0;
	v->count = 0;
}

static int reset_vp(struct kvm_vp *v)
{
	struct kvm_reset *r = &v->reset;

	settle(v);
	if (ioctl(v->fd, KVM_SET_SREGS, &r->sregs) || ioctl(v->fd, KVM_SET_REGS, &r->regs))
		return -errno;
	/* A CPU without XSAVE has neither of these; FPU state is then reset by the guest. */
	ioctl(v->fd, KVM_SET_XCRS, &r->xcrs);
	ioctl(v->fd, KVM_SET_XSAVE, r->xsave);
	for (uint32_t i = 0; i < r->n_msrs; i++)
		set_msr(v->fd, r->msr[i].index, r->msr[i].data);
	if (ioctl(v->fd, KVM_SET_LAPIC, &r->lapic) ||
	    ioctl(v->fd, KVM_SET_VCPU_EVENTS, &r->events) ||
	    ioctl(v->fd, KVM_SET_DEBUGREGS, &r->debug) || ioctl(v->fd, KVM_SET_MP_STATE, &r->mp))
		return -errno;
	return 0;
}

int kvm_state_reset(struct kvm *k, uint32_t vps)
{
	for (uint32_t i = 0; i < vps; i++) {
		int error = reset_vp(&k->vp[i]);

		if (error)
			return error;
	}
	for (uint32_t i = 0; i < KVM_CHIPS; i++) {
		if (ioctl(k->vm, KVM_SET_IRQCHIP, &k->chip[i]))
			return -errno;
	}
	return 0;
}

static void set_segments(struct kvm_sregs *s, uint64_t gdt)
{
	const struct kvm_segment data = { .limit = 0xffffffff, .selector = SELECTOR_DATA,
					  .type = TYPE_DATA, .present = 1, .db = 1, .s = 1,
					  .g = 1 };

	s->cs = (struct kvm_segment){ .limit = 0xffffffff, .selector = SELECTOR_CODE,
				      .type = TYPE_CODE, .present = 1, .l = 1, .s = 1, .g = 1 };
	s->ds = data;
	s->es = data;
	s->ss = data;
	s->tr = (struct kvm_segment){ .limit = 0xffff, .type = TYPE_TSS, .present = 1 };
	s->gdt.base = gdt;
	s->gdt.limit = GDT_LIMIT;
}

int kvm_state_boot(struct kvm *k, uint32_t vps, const uint64_t arg[4])
{
	struct kvm_regs regs = { .rip = arg[0], .rsi = arg[1], .rflags = RFLAGS_NONE };
	struct kvm_sregs s;

	for (uint32_t i = 0; i < vps; i++)
		set_msr(k->vp[i].fd, MSR_MTRR_DEF_TYPE, MTRR_WRITE_BACK);
	if (ioctl(k->vp[0].fd, KVM_GET_SREGS, &s))
		return -errno;
	set_segments(&s, arg[3]);
	s.cr0 = CR0_PAGING | CR0_BOOT_LOW;
	s.cr3 = arg[2];
	s.cr4 = CR4_PAE;
	s.efer = EFER_LONG;
	if (ioctl(k->vp[0].fd, KVM_SET_SREGS, &s) || ioctl(k->vp[0].fd, KVM_SET_REGS, &regs))
		return -errno;
	for (uint32_t i = 0; i < vps; i++)
		k->vp[i].run->immediate_exit = 0;
	return 0;
}
