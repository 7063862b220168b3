/*
 * The smallest proof that /dev/kvm is real: a VM with one VP that adds two numbers in real mode, writes the sum to a
 * port and halts. Prints "kvm-hlt: ok" with what the kernel can do for us; exit status 0 only then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define GUEST_AT 0x1000u
#define GUEST_SIZE 0x1000u
#define CPUID_ENTRIES 128u

static int request(int fd, unsigned long what, const char *name, const void *arg)
{
	const int result = ioctl(fd, what, arg);
	if (result < 0) {
		fprintf(stderr, "kvm-hlt: %s: %s\n", name, strerror(errno));
		exit(1);
	}
	return result;
}

int main(void)
{
	/* mov $0x217,%dx; add %bl,%al; out %al,(%dx); hlt */
	static const unsigned char code[] = { 0xba, 0x17, 0x02, 0x00, 0xd8, 0xee, 0xf4 };

	const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		fprintf(stderr, "kvm-hlt: /dev/kvm: %s\n", strerror(errno));
		return 1;
	}
	const int vm = request(kvm, KVM_CREATE_VM, "KVM_CREATE_VM", NULL);
	unsigned char *memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return perror("kvm-hlt: mmap"), 1;
	memcpy(memory, code, sizeof code);
	const struct kvm_userspace_memory_region region = {
		.guest_phys_addr = GUEST_AT,
		.memory_size = GUEST_SIZE,
		.userspace_addr = (__u64)(size_t)memory,
	};
	request(vm, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region);

	const int vp = request(vm, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", NULL);
	const size_t run_size = (size_t)request(kvm, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", NULL);
	struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vp, 0);
	if (run == MAP_FAILED) {
		perror("kvm-hlt: mmap of kvm_run");
		return 1;
	}
	struct kvm_sregs sregs;
	request(vp, KVM_GET_SREGS, "KVM_GET_SREGS", &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	request(vp, KVM_SET_SREGS, "KVM_SET_SREGS", &sregs);
	const struct kvm_regs regs = { .rip = GUEST_AT, .rax = 2, .rbx = 3, .rflags = 2 };
	request(vp, KVM_SET_REGS, "KVM_SET_REGS", &regs);

	unsigned sum = 0;
	for (;;) {
		request(vp, KVM_RUN, "KVM_RUN", NULL);
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == 0x217) {
			sum = ((unsigned char *)run)[run->io.data_offset];
		} else if (run->exit_reason == KVM_EXIT_HLT) {
			break;
		} else {
			fprintf(stderr, "kvm-hlt: unexpected exit %u\n", run->exit_reason);
			return 1;
		}
	}
	if (sum != 5) {
		fprintf(stderr, "kvm-hlt: 2 + 3 gave %u\n", sum);
		return 1;
	}
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + CPUID_ENTRIES * sizeof cpuid->entries[0]);
	if (cpuid == NULL) {
		perror("kvm-hlt: calloc");
		return 1;
	}
	cpuid->nent = CPUID_ENTRIES;
	request(kvm, KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID", cpuid);
	unsigned xsave = 0;
	for (unsigned i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == 1) {
			xsave = cpuid->entries[i].ecx >> 26 & 1;
		}
	}
	free(cpuid);
	const unsigned long check = KVM_CHECK_EXTENSION;
	printf("kvm-hlt: ok hyperv_synic=%d msr_filter=%d ioeventfd=%d irqfd=%d max_vps=%d xsave=%u\n", ioctl(kvm, check, KVM_CAP_HYPERV_SYNIC2),
	       ioctl(kvm, check, KVM_CAP_X86_MSR_FILTER), ioctl(kvm, check, KVM_CAP_IOEVENTFD), ioctl(kvm, check, KVM_CAP_IRQFD),
	       ioctl(kvm, check, KVM_CAP_MAX_VCPUS), xsave);
	return 0;
}
