/* CPUID of a VP: what KVM supports, less KVM's own leaves, plus Hyper-V's.
 *
 * Values: prototype.md §2 as tried with stock Linux; their meaning is in
 * protocol.md A.2 to A.4. Each VP is a package of its own. */
#include "engine/partition/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BIT(n) (UINT32_C(1) << (n))

enum {
	HV_BASE = 0x40000000,
	HV_LAST = 0x4fffffff,
	LEAF1_HTT = 28,
	LEAF1_FMA = 12, LEAF1_TSC_DEADLINE = 24, LEAF1_XSAVE = 26, LEAF1_OSXSAVE = 27,
	LEAF1_AVX = 28, LEAF1_F16C = 29, LEAF1_HYPERVISOR = 31,
	LEAF7_AVX2 = 5,
	AMD_XOP = 11, AMD_FMA4 = 16,
};

static const struct kvm_cpuid_entry2 HYPERV[] = {
	{ .function = 0x40000000, .eax = 0x40000006, .ebx = 0x7263694d, .ecx = 0x666f736f,
	  .edx = 0x76482074 },
	{ .function = 0x40000001, .eax = 0x31237648 },
	{ .function = 0x40000002, .eax = 20348, .ebx = 0x000a0000 },
	{ .function = 0x40000003, .eax = 0x00008ae6, .ebx = 0x00000030, .edx = 0x00000500 },
	{ .function = 0x40000004, .eax = 0x00000220, .ebx = 0xffffffff },
	{ .function = 0x40000005, .eax = LIMIT_VPS, .ebx = LIMIT_VPS },
	{ .function = 0x40000006 },
};

union leaves {
	struct kvm_cpuid2 list;
	uint8_t room[sizeof(struct kvm_cpuid2) + KVM_CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
};

bool kvm_cpuid_is_tcg(void)
{
	uint32_t eax, text[3];

	__cpuid(HV_BASE, eax, text[0], text[1], text[2]);
	return eax >= HV_BASE && memcmp(text, "TCGTCGTCGTCG", sizeof(text)) == 0;
}

bool kvm_clock_is_tsc(void)
{
	char text[32];
	int fd = open(KVM_CLOCK_SOURCE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	return n < 0 || (n == 4 && memcmp(text, "tsc\n", 4) == 0);
}

/* QEMU's TCG does not intercept XSETBV, so that a nested KVM's leaf D goes
 * stale and Linux finds it inconsistent (prototype.md 4.10). */
static void mask_xsave(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 1)
		e->ecx &= ~(BIT(LEAF1_FMA) | BIT(LEAF1_XSAVE) | BIT(LEAF1_OSXSAVE) |
			    BIT(LEAF1_AVX) | BIT(LEAF1_F16C));
	else if (e->function == 7 && e->index == 0)
		e->ebx &= ~BIT(LEAF7_AVX2);
	else if (e->function == 0x80000001)
		e->ecx &= ~(BIT(AMD_XOP) | BIT(AMD_FMA4));
}

/* Topology: APIC id = VP index, one thread, one core. */
static void place(const struct kvm *k, struct kvm_cpuid_entry2 *e, uint32_t vp)
{
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | vp << 24 | UINT32_C(1) << 16;
		e->ecx |= BIT(LEAF1_HYPERVISOR);
		if (ioctl(k->dev, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			e->ecx |= BIT(LEAF1_TSC_DEADLINE);
		e->edx &= ~BIT(LEAF1_HTT);
		break;
	case 4:
		e->eax &= 0x3fff;
		break;
	case 0xb:
	case 0x1f:
		e->edx = vp;
		break;
	case 0x80000008:
		e->ecx = 0;
		break;
	case 0x8000001e:
		e->eax = vp;
		e->ebx = vp;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

static bool dropped(const struct kvm *k, const struct kvm_cpuid_entry2 *e)
{
	return (e->function >= HV_BASE && e->function <= HV_LAST) || (k->tcg && e->function == 0xd);
}

static void fill(const struct kvm *k, union leaves *l, uint32_t vp)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->list.nent; i++) {
		struct kvm_cpuid_entry2 e = l->list.entries[i];

		if (dropped(k, &e))
			continue;
		place(k, &e, vp);
		if (k->tcg)
			mask_xsave(&e);
		l->list.entries[n++] = e;
	}
	for (uint32_t i = 0; i < ARRAY_LEN(HYPERV); i++)
		l->list.entries[n++] = HYPERV[i];
	l->list.nent = n;
}

int kvm_cpuid_set(struct kvm *k, uint32_t vp, uint32_t vps)
{
	union leaves *l = calloc(1, sizeof(*l));
	int error = 0;

	if (!l)
		return -ENOMEM;
	fact(vp < vps);
	l->list.nent = KVM_CPUID_MAX - ARRAY_LEN(HYPERV);
	if (ioctl(k->dev, KVM_GET_SUPPORTED_CPUID, &l->list))
		error = -errno;
	if (!error) {
		fill(k, l, vp);
		if (ioctl(k->vp[vp].fd, KVM_SET_CPUID2, &l->list))
			error = -errno;
	}
	free(l);
	return error;
}
