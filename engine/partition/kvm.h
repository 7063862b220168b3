/* engine/partition/kvm.h - private memory of the `kvm` back end. */
#ifndef ENGINE_PARTITION_KVM_H
#define ENGINE_PARTITION_KVM_H

#include "engine/partition/partition.h"

#include <linux/kvm.h>

enum {
	KVM_PORT_HYPERCALL = 0xE6,    /* prototype.md §2: the hypercall page's IN */
	KVM_PORT_DOORBELL = 0xE7,     /* and its OUT of a connection id */
	KVM_PORT_BYTES = 4,
	KVM_GSI_COM1 = 4,
	KVM_GSI_VP = 32,              /* + vp: MSI with the vector of SINT 2 */
	KVM_CPUID_MAX = 256,
	KVM_MSRS_MAX = 512,
	KVM_CHIPS = 3,                /* two PICs, the IOAPIC */
};

/* Reset state: what the kernel made of a VP before it first ran. */
struct kvm_reset {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	_Alignas(8) uint8_t xsave[sizeof(struct kvm_xsave)];
	struct kvm_xcrs xcrs;
	uint32_t n_msrs;
	struct kvm_msr_entry msr[KVM_MSRS_MAX];
};

struct kvm_vp {
	int fd;
	struct kvm_run *run;
	uint32_t at, count;           /* elements of the string I/O under way */
	enum wire_exit exit;          /* the one to complete */
	struct kvm_reset reset;
};

struct kvm {
	int dev, vm;
	size_t run_bytes;
	bool tcg;                     /* this machine's CPU is QEMU's TCG */
	uint64_t scale;               /* reference time = high64(tsc * scale), A.6 */
	struct kvm_irqchip chip[KVM_CHIPS];
	struct kvm_vp vp[LIMIT_VPS];
};

/* One MSR as the kernel's interface wants it. */
union kvm_one_msr {
	struct kvm_msrs list;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

/* kvm_state.c: false: this CPU does not have it. */
bool kvm_msr_get(int vp_fd, uint32_t index, uint64_t *ret_value);

/* kvm_cpuid.c: gives VP @vp its CPUID leaves; 0 or -errno. */
int kvm_cpuid_set(struct kvm *k, uint32_t vp, uint32_t vps);
/* Whether the CPU under this kernel is emulated by QEMU's TCG. */
bool kvm_cpuid_is_tcg(void);
#define KVM_CLOCK_SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"
/* Whether this kernel's clock source is the TSC: if not, KVM holds it for unstable and
 * moves the VPs' TSCs apart. True when the kernel does not say. */
bool kvm_clock_is_tsc(void);

/* kvm_state.c: registers. All return 0 or -errno; VPs do not run. */
int kvm_state_save(struct kvm *k, uint32_t vps);
int kvm_state_reset(struct kvm *k, uint32_t vps);
/* Long mode at @arg: rip, rsi, cr3, gdt (protocol.md I.7). */
int kvm_state_boot(struct kvm *k, uint32_t vps, const uint64_t arg[4]);

#endif
