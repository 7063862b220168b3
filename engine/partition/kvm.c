/* The `kvm` back end: any Linux /dev/kvm, with or without in-kernel Hyper-V.
 *
 * Interrupt controllers and TSC are the kernel's. The MSR filter sends the
 * whole Hyper-V range here, whatever the kernel itself can do. Hypercalls
 * arrive as IN from KVM_PORT_HYPERCALL, doorbells as OUT to KVM_PORT_DOORBELL,
 * which an ioeventfd with the connection id as datamatch absorbs in the
 * kernel (prototype.md §3). String I/O is handed on element by element.
 *
 * All descriptors work in this process only (protocol.md I.1). */
#include "engine/partition/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

__extension__ typedef unsigned __int128 u128;

enum {
	API_VERSION = 12,
	MSR_TSC = 0x10, MSR_HV_FIRST = 0x40000000, MSR_HV_COUNT = 0x200,
	APIC_HZ = 1000000000,
	CPL_MASK = 3,
	STATUS_ACCESS_DENIED = 6,
	PIC_PINS = 8, IOAPIC_PINS = 24,
	ROUTES = 2 * PIC_PINS + IOAPIC_PINS + LIMIT_VPS,
	CPUINFO = 8 << 10,
};

#define GIB UINT64_C(1073741824)
#define MSI_ADDRESS UINT32_C(0xfee00000)
#define UNKNOWN_EXIT (UINT64_C(1) << 32) /* else the detail is KVM's suberror or an errno */
#define IDENTITY_MAP UINT64_C(0xfffbc000)
#define TSS_ADDRESS 0xfffbd000ul

/* ---- creation ------------------------------------------------------------------ */

static int fail(const char *what)
{
	int error = errno;

	partition_log("kvm: %s: %s", what, strerror(error));
	return -error;
}

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + n, word)) {
		if (at[-1] == ' ' && (at[n] == ' ' || at[n] == '\n' || at[n] == '\0'))
			return true;
	}
	return false;
}

/* A /dev/kvm on a CPU without svm or vmx interprets guest kernel code. */
static bool interprets(void)
{
	char text[CPUINFO + 1];
	int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, CPUINFO);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return !has_word(text, "svm") && !has_word(text, "vmx");
}

static int open_device(const struct partition *p, struct kvm *k)
{
	k->dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (k->dev < 0)
		return fail(errno == EACCES || errno == EPERM ?
			    "no permission for /dev/kvm; join the group it belongs to, or use "
			    "--backend soft" :
			    "no /dev/kvm; load the module kvm_intel or kvm_amd, or use --backend soft");
	if (ioctl(k->dev, KVM_GET_API_VERSION, 0) != API_VERSION) {
		partition_log("kvm: /dev/kvm is none, or speaks another version of the interface; "
			      "use --backend soft");
		return -EPROTO;
	}
	if (interprets() && !p->o.force_kvm) {
		partition_log("kvm: this CPU has neither svm nor vmx: its /dev/kvm interprets "
			      "guest kernels and runs only tiny ones; use --backend soft, or "
			      "--force-kvm to try");
		return -ENODEV;
	}
	return 0;
}

static int filter_msrs(const struct kvm *k)
{
	uint8_t none[MSR_HV_COUNT / 8] = { 0 };
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = { KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN },
	};
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = { { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			      .base = MSR_HV_FIRST, .nmsrs = MSR_HV_COUNT, .bitmap = none } },
	};

	if (ioctl(k->vm, KVM_ENABLE_CAP, &cap))
		return fail("KVM_CAP_X86_USER_SPACE_MSR");
	if (ioctl(k->vm, KVM_X86_SET_MSR_FILTER, &filter))
		return fail("KVM_X86_SET_MSR_FILTER");
	return 0;
}

static int map_ram(const struct partition *p, const struct kvm *k)
{
	struct kvm_userspace_memory_region low = {
		.slot = 0, .guest_phys_addr = 0, .memory_size = p->ram_low_bytes,
		.userspace_addr = (uint64_t)(uintptr_t)p->ram,
	};
	struct kvm_userspace_memory_region high = {
		.slot = 1, .guest_phys_addr = 4 * GIB,
		.memory_size = p->ram_bytes - p->ram_low_bytes,
		.userspace_addr = (uint64_t)(uintptr_t)(p->ram + p->ram_low_bytes),
	};

	if (ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &low) ||
	    (high.memory_size && ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &high)))
		return fail("KVM_SET_USER_MEMORY_REGION");
	return 0;
}

static int make_vm(const struct partition *p, struct kvm *k)
{
	uint64_t identity = IDENTITY_MAP;
	int error;

	k->vm = ioctl(k->dev, KVM_CREATE_VM, 0);
	if (k->vm < 0)
		return fail("KVM_CREATE_VM");
	/* Only some Intel CPUs need these two; others may not know them. */
	ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(k->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	if (ioctl(k->vm, KVM_CREATE_IRQCHIP, 0))
		return fail("KVM_CREATE_IRQCHIP");
	error = filter_msrs(k);
	return error ? error : map_ram(p, k);
}

static int make_vps(const struct partition *p, struct kvm *k)
{
	int bytes = ioctl(k->dev, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (bytes < 0)
		return fail("KVM_GET_VCPU_MMAP_SIZE");
	k->run_bytes = (size_t)bytes;
	for (uint32_t i = 0; i < p->o.vps; i++) {
		struct kvm_vp *v = &k->vp[i];
		void *at;
		int error;

		v->fd = ioctl(k->vm, KVM_CREATE_VCPU, i);
		if (v->fd < 0)
			return fail("KVM_CREATE_VCPU");
		at = mmap(NULL, k->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
		if (at == MAP_FAILED)
			return fail("mapping a VP");
		v->run = at;
		error = kvm_cpuid_set(k, i, p->o.vps);
		if (error) {
			errno = -error;
			return fail("KVM_SET_CPUID2");
		}
	}
	return 0;
}

static int add_irqfd(const struct kvm *k, int fd, uint32_t gsi)
{
	struct kvm_irqfd i = { .fd = (uint32_t)fd, .gsi = gsi };

	return ioctl(k->vm, KVM_IRQFD, &i) ? fail("KVM_IRQFD") : 0;
}

static void add_route(struct kvm_irq_routing_entry *e, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	*e = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP };
	e->u.irqchip.irqchip = chip;
	e->u.irqchip.pin = pin;
}

/* The whole table is replaced, so it repeats the legacy entries (I.4). */
static int set_vectors(struct partition *p, const uint8_t vector[LIMIT_VPS])
{
	struct kvm *k = p->machine;
	union {
		struct kvm_irq_routing list;
		uint8_t room[sizeof(struct kvm_irq_routing) +
			     ROUTES * sizeof(struct kvm_irq_routing_entry)];
	} t = { .room = { 0 } };
	struct kvm_irq_routing_entry *e = t.list.entries;
	uint32_t n = 0;

	for (uint32_t i = 0; i < 2 * PIC_PINS; i++, n++)
		add_route(&e[n], i, i < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			  i % PIC_PINS);
	for (uint32_t i = 0; i < IOAPIC_PINS; i++, n++)
		add_route(&e[n], i, KVM_IRQCHIP_IOAPIC, i);
	for (uint32_t i = 0; i < p->o.vps; i++) {
		if (vector[i] == 0)
			continue;
		e[n].gsi = KVM_GSI_VP + i;
		e[n].type = KVM_IRQ_ROUTING_MSI;
		e[n].u.msi.address_lo = MSI_ADDRESS | i << 12;
		e[n++].u.msi.data = vector[i];
	}
	t.list.nr = n;
	return ioctl(k->vm, KVM_SET_GSI_ROUTING, &t.list) ? -errno : 0;
}

static int wire_interrupts(struct partition *p, const struct kvm *k)
{
	const uint8_t none[LIMIT_VPS] = { 0 };
	int error = set_vectors(p, none);

	if (error) {
		errno = -error;
		return fail("KVM_SET_GSI_ROUTING");
	}
	error = add_irqfd(k, p->com1_fd, KVM_GSI_COM1);
	for (uint32_t i = 0; i < p->o.vps && !error; i++)
		error = add_irqfd(k, p->irq_fd[i], KVM_GSI_VP + i);
	return error;
}

static int set_clock(struct partition *p, struct kvm *k)
{
	int khz = ioctl(k->vp[0].fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0)
		return fail("KVM_GET_TSC_KHZ");
	p->c.h->tsc_hz = (uint64_t)khz * 1000;
	p->c.h->apic_hz = APIC_HZ;
	k->scale = (uint64_t)(((u128)10000000 << 64) / p->c.h->tsc_hz);
	return 0;
}

static int create(struct partition *p)
{
	struct kvm *k = calloc(1, sizeof(*k));
	int error;

	if (!k)
		return -ENOMEM;
	p->machine = k;
	k->tcg = kvm_cpuid_is_tcg();
	if (!kvm_clock_is_tsc())
		partition_log("kvm: this host's clock source is not the TSC: KVM may move the VPs' "
			      "TSCs apart, and the guest's clocks with them; see %s", KVM_CLOCK_SOURCE);
	error = open_device(p, k);
	if (!error)
		error = make_vm(p, k);
	if (!error)
		error = make_vps(p, k);
	if (!error)
		error = wire_interrupts(p, k);
	if (!error)
		error = set_clock(p, k);
	if (!error && (error = kvm_state_save(k, p->o.vps))) {
		errno = -error;
		error = fail("reading the reset state");
	}
	return error;
}

/* ---- exits --------------------------------------------------------------------- */

static uint64_t reference_time(const struct kvm *k, uint32_t vp)
{
	uint64_t tsc;

	if (!kvm_msr_get(k->vp[vp].fd, MSR_TSC, &tsc))
		return 0;
	return (uint64_t)((u128)tsc * k->scale >> 64);
}

static uint8_t *element(const struct kvm_vp *v)
{
	return (uint8_t *)v->run + v->run->io.data_offset + (size_t)v->at * v->run->io.size;
}

static int fatal(const struct kvm_vp *v, enum wire_exit_fatal why, uint64_t detail,
		 struct vp_exit *e)
{
	struct kvm_regs regs = { 0 };

	if (ioctl(v->fd, KVM_GET_REGS, &regs))
		regs.rip = 0;
	partition_log("a VP cannot go on: reason %d, detail %llx, rip %llx", (int)why,
		      (unsigned long long)detail, (unsigned long long)regs.rip);
	*e = (struct vp_exit){ .exit = EXIT_FATAL, .address = why, .value = detail,
			       .value2 = regs.rip };
	return 0;
}

/* Guest user space may reach the port with an I/O permission map; it is not
 * the one that makes hypercalls. */
static int hypercall(struct kvm_vp *v, struct vp_exit *e)
{
	const uint32_t denied = STATUS_ACCESS_DENIED;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs) || ioctl(v->fd, KVM_GET_REGS, &regs))
		return fatal(v, FATAL_INTERNAL_ERROR, (uint64_t)errno, e);
	if (sregs.cs.selector & CPL_MASK) {
		memcpy(element(v), &denied, sizeof(denied));
		v->count = 0;
		return -EAGAIN;
	}
	*e = (struct vp_exit){ .exit = EXIT_HYPERCALL, .address = regs.rcx, .value = regs.rdx,
			       .value2 = regs.r8 };
	return 0;
}

static int port_io(struct partition *p, struct kvm_vp *v, struct vp_exit *e)
{
	const bool in = v->run->io.direction == KVM_EXIT_IO_IN;
	const uint32_t size = v->run->io.size;

	if (v->run->io.port == KVM_PORT_HYPERCALL && in && size == KVM_PORT_BYTES)
		return hypercall(v, e);
	if (v->run->io.port == KVM_PORT_DOORBELL && !in && size == KVM_PORT_BYTES) {
		atomic_fetch_add_explicit(&p->c.stats->doorbells_unmatched, v->count - v->at,
					  memory_order_relaxed);
		v->count = 0;
		return -EAGAIN;
	}
	*e = (struct vp_exit){ .exit = EXIT_PIO, .address = v->run->io.port, .size = size,
			       .is_read = in };
	if (!in)
		memcpy(&e->value, element(v), size);
	return 0;
}

static int mmio(const struct kvm_vp *v, struct vp_exit *e)
{
	*e = (struct vp_exit){ .exit = EXIT_MMIO, .address = v->run->mmio.phys_addr,
			       .size = v->run->mmio.len, .is_read = !v->run->mmio.is_write };
	if (v->run->mmio.is_write)
		memcpy(&e->value, v->run->mmio.data, e->size);
	return 0;
}

static int msr(const struct kvm *k, uint32_t vp, struct vp_exit *e)
{
	const struct kvm_run *r = k->vp[vp].run;
	const bool read = r->exit_reason == KVM_EXIT_X86_RDMSR;
	const bool ours = r->msr.index - MSR_HV_FIRST < MSR_HV_COUNT;

	*e = (struct vp_exit){ .exit = !ours ? EXIT_OTHER_MSR : read ? EXIT_RDMSR : EXIT_WRMSR,
			       .address = r->msr.index, .size = 8, .is_read = read };
	if (!read)
		e->value = r->msr.data;
	if (ours)
		e->value2 = reference_time(k, vp);
	return 0;
}

static int convert(struct partition *p, uint32_t vp, struct vp_exit *e)
{
	struct kvm *k = p->machine;
	struct kvm_vp *v = &k->vp[vp];

	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		v->at = 0;
		v->count = v->run->io.count;
		return port_io(p, v, e);
	case KVM_EXIT_MMIO:
		return mmio(v, e);
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		return msr(k, vp, e);
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT:
		return -EAGAIN;
	case KVM_EXIT_SHUTDOWN:
		return fatal(v, FATAL_TRIPLE_FAULT, 0, e);
	case KVM_EXIT_FAIL_ENTRY:
		return fatal(v, FATAL_FAIL_ENTRY,
			     v->run->fail_entry.hardware_entry_failure_reason, e);
	case KVM_EXIT_INTERNAL_ERROR:
		return fatal(v, FATAL_INTERNAL_ERROR, v->run->internal.suberror, e);
	default:
		return fatal(v, FATAL_INTERNAL_ERROR, UNKNOWN_EXIT | v->run->exit_reason, e);
	}
}

static int run(struct partition *p, uint32_t vp, struct vp_exit *ret_exit)
{
	struct kvm_vp *v = &((struct kvm *)p->machine)->vp[vp];
	int error = 0;

	if (v->at < v->count) {
		error = port_io(p, v, ret_exit);
	} else if (ioctl(v->fd, KVM_RUN, 0) == 0) {
		error = convert(p, vp, ret_exit);
	} else if (errno == EINTR || errno == EAGAIN) {
		error = -EAGAIN;
	} else {
		error = fatal(v, FATAL_INTERNAL_ERROR, (uint64_t)errno, ret_exit);
	}
	if (!error)
		v->exit = ret_exit->exit;
	return error;
}

static void complete(struct partition *p, uint32_t vp, uint64_t answer, bool fault)
{
	struct kvm_vp *v = &((struct kvm *)p->machine)->vp[vp];
	struct kvm_run *r = v->run;

	switch (v->exit) {
	case EXIT_HYPERCALL:
	case EXIT_PIO:
		if (r->io.direction == KVM_EXIT_IO_IN)
			memcpy(element(v), &answer, r->io.size);
		v->at++;
		break;
	case EXIT_MMIO:
		if (!r->mmio.is_write)
			memcpy(r->mmio.data, &answer, r->mmio.len);
		break;
	case EXIT_RDMSR:
	case EXIT_WRMSR:
	case EXIT_OTHER_MSR:
		r->msr.error = fault;
		if (r->exit_reason == KVM_EXIT_X86_RDMSR)
			r->msr.data = answer;
		break;
	default:
		break;
	}
}

static void kick(struct partition *p, uint32_t vp)
{
	((struct kvm *)p->machine)->vp[vp].run->immediate_exit = 1;
}

/* ---- commands ------------------------------------------------------------------ */

static int start(struct partition *p, const uint64_t arg[4])
{
	return kvm_state_boot(p->machine, p->o.vps, arg);
}

static int reset(struct partition *p)
{
	return kvm_state_reset(p->machine, p->o.vps);
}

static void interrupt(struct partition *p, uint32_t vp, uint8_t vector)
{
	struct kvm *k = p->machine;
	struct kvm_msi msi = { .address_lo = MSI_ADDRESS | vp << 12, .data = vector };

	if (ioctl(k->vm, KVM_SIGNAL_MSI, &msi) < 0)
		partition_log("KVM_SIGNAL_MSI: %s", strerror(errno));
}

static int door_ioctl(const struct partition *p, uint32_t door, uint32_t connection, uint32_t flags)
{
	const struct kvm *k = p->machine;
	struct kvm_ioeventfd i = {
		.datamatch = connection, .addr = KVM_PORT_DOORBELL, .len = KVM_PORT_BYTES,
		.fd = p->door_fd[door],
		.flags = flags | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	return ioctl(k->vm, KVM_IOEVENTFD, &i) ? -errno : 0;
}

static int set_door(struct partition *p, uint32_t door, uint32_t before, uint32_t after)
{
	int error = before ? door_ioctl(p, door, before, KVM_IOEVENTFD_FLAG_DEASSIGN) : 0;

	if (error && error != -ENOENT)
		return error;
	return after ? door_ioctl(p, door, after, 0) : 0;
}

static int inject_nmi(struct partition *p, uint32_t vp)
{
	return ioctl(((struct kvm *)p->machine)->vp[vp].fd, KVM_NMI, 0) ? -errno : 0;
}

/* The machine ends with this process. */
static void destroy(struct partition *p)
{
	(void)p;
}

const struct backend BACKEND_KVM = {
	.name = "kvm",
	.code = 1,
	.create = create,
	.run = run,
	.complete = complete,
	.kick = kick,
	.start = start,
	.reset = reset,
	.interrupt = interrupt,
	.set_vectors = set_vectors,
	.set_door = set_door,
	.inject_nmi = inject_nmi,
	.destroy = destroy,
};
