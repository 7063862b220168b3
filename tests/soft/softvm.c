/* tests/soft/softvm.c - one VP is one shared call slot, one interrupt eventfd
 * and one thread.
 *
 * A call: fill the slot, state := POSTED, wake, wait until IDLE. The slot's
 * mutex makes that one call at a time, as one processor does.
 *
 * The VP thread owns its SIMP and SIEFP pages: it alone frees the message slot
 * and clears event flags. A message is copied before its slot is freed, and
 * handled in the order of arrival, since only this thread takes the next one.
 * Nothing polls: an interrupt that is not raised is a hang, and is meant to be
 * seen as one.
 *
 * RAM pages are handed out in a scattered order, so that whoever takes a page
 * list for a contiguous range is found out. */
#include "tests/soft/softvm.h"

#include "engine/partition/soft_abi.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum {
	MSR_GUEST_OS_ID = 0x40000000,
	MSR_HYPERCALL = 0x40000001,
	MSR_VP_INDEX = 0x40000002,
	MSR_VP_ASSIST = 0x40000073,
	MSR_SCONTROL = 0x40000080,
	MSR_SIEFP = 0x40000082,
	MSR_SIMP = 0x40000083,
	MSR_EOM = 0x40000084,
	MSR_SINT0 = 0x40000090,
	CALL_POST_MESSAGE = 0x5C,
	CALL_SIGNAL_EVENT_FAST = 0x1005D,
	CONNECTION_DOORS = 0x2000, /* soft_abi.h: connection 0x2000 + relid */
	DOORS = 272,
	SLOT_BYTES = 256,	/* B.1, B.2: one SINT's part of a page */
	FIRST_PFN = 256,	/* the first MiB is left alone */
	SCATTER = 64,		/* pages mixed with each other */
	RAM_USED_MAX = 1 << 30, /* GPA = offset holds well below any hole */
};

/* A Linux guest's id: open source, type Linux, version 6.1.0. */
#define GUEST_OS_ID UINT64_C(0x8100060100000000)
#define SINT_MASKED (UINT64_C(1) << 16)

const struct softvm_fds SOFTVM_FDS = {
	.vps = SOFT_FD_VPS,
	.ram = SOFT_FD_RAM,
	.irq = SOFT_FD_IRQ,
	.door = SOFT_FD_DOOR,
};

struct message_slot {
	_Atomic uint32_t type;
	uint8_t bytes;
	_Atomic uint8_t flags; /* bit 0: more are queued */
	uint16_t reserved;
	uint64_t sender;
	uint8_t payload[SOFTVM_MESSAGE];
};
_Static_assert(sizeof(struct message_slot) == SLOT_BYTES, "protocol.md B.1");

struct post_input {
	uint32_t connection, reserved, type, bytes;
	uint8_t payload[SOFTVM_MESSAGE];
};
_Static_assert(sizeof(struct post_input) == 256, "protocol.md A.8, HvPostMessage");

struct vp {
	struct softvm *vm;
	uint32_t index;
	struct soft_vp *slot;
	pthread_mutex_t lock; /* of the slot and of the input page */
	pthread_t thread;
	bool running;
	uint64_t simp, siefp, assist, input; /* PFNs */
	struct message_slot *message;
	_Atomic uint64_t *flags;
	struct post_input *post;
	int error;
};

struct softvm {
	struct softvm_fds fds;
	uint8_t *ram;
	uint64_t ram_bytes;
	bool scattered; /* false: hugetlb, which has no 4 KiB views */
	struct soft_vp *slots;
	size_t slots_bytes;
	uint32_t n_vps;
	struct vp vp[SOFTVM_VPS];
	struct softvm_handlers handlers;
	struct softvm_counters counters;
	_Atomic bool stop;
	pthread_mutex_t lock; /* of the members below */
	pthread_cond_t changed;
	uint32_t n_ready;
	uint64_t pages_given;
	uint64_t hypercall; /* PFN */
};

uint64_t softvm_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

uint32_t softvm_vps(const struct softvm *vm)
{
	return vm->n_vps;
}

uint64_t softvm_ram_bytes(const struct softvm *vm)
{
	return vm->ram_bytes;
}

struct softvm_counters *softvm_counters(struct softvm *vm)
{
	return &vm->counters;
}

/* ---- calls ------------------------------------------------------------------ */

/* The slot is shared with another process: no FUTEX_PRIVATE_FLAG. */
static void call(struct vp *vp)
{
	_Atomic uint32_t *state = &vp->slot->state;

	count(&vp->vm->counters.calls);
	vp->slot->fault = 0;
	vp->slot->result = 0;
	atomic_store_explicit(state, SOFT_POSTED, memory_order_release);
	syscall(SYS_futex, state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	while (atomic_load_explicit(state, memory_order_acquire) != SOFT_IDLE)
		syscall(SYS_futex, state, FUTEX_WAIT, SOFT_POSTED, NULL, NULL, 0);
}

int softvm_rdmsr(struct softvm *vm, uint32_t index, uint32_t msr, uint64_t *ret_value)
{
	struct vp *vp = &vm->vp[index];
	uint32_t fault;

	pthread_mutex_lock(&vp->lock);
	vp->slot->call = SOFT_RDMSR;
	vp->slot->address = msr;
	call(vp);
	fault = vp->slot->fault;
	*ret_value = vp->slot->result;
	pthread_mutex_unlock(&vp->lock);
	return fault ? SOFTVM_GP : 0;
}

int softvm_wrmsr(struct softvm *vm, uint32_t index, uint32_t msr, uint64_t value)
{
	struct vp *vp = &vm->vp[index];
	uint32_t fault;

	pthread_mutex_lock(&vp->lock);
	vp->slot->call = SOFT_WRMSR;
	vp->slot->address = msr;
	vp->slot->value = value;
	call(vp);
	fault = vp->slot->fault;
	pthread_mutex_unlock(&vp->lock);
	return fault ? SOFTVM_GP : 0;
}

static uint64_t hypercall_locked(struct vp *vp, uint64_t control, uint64_t rdx, uint64_t r8)
{
	vp->slot->call = SOFT_HYPERCALL;
	vp->slot->address = control;
	vp->slot->value = rdx;
	vp->slot->value2 = r8;
	call(vp);
	return vp->slot->result;
}

uint64_t softvm_hypercall(struct softvm *vm, uint32_t index, uint64_t control, uint64_t rdx,
			  uint64_t r8)
{
	struct vp *vp = &vm->vp[index];
	uint64_t result;

	pthread_mutex_lock(&vp->lock);
	result = hypercall_locked(vp, control, rdx, r8);
	pthread_mutex_unlock(&vp->lock);
	return result;
}

void softvm_out(struct softvm *vm, uint32_t index, uint16_t port, uint32_t size, uint64_t value)
{
	struct vp *vp = &vm->vp[index];

	pthread_mutex_lock(&vp->lock);
	vp->slot->call = SOFT_OUT;
	vp->slot->address = port;
	vp->slot->size = size;
	vp->slot->value = value;
	call(vp);
	pthread_mutex_unlock(&vp->lock);
}

bool softvm_call(struct softvm *vm, uint32_t index, const struct softvm_access *access,
		 uint64_t *ret_result)
{
	struct vp *vp = &vm->vp[index];
	bool fault;

	pthread_mutex_lock(&vp->lock);
	vp->slot->call = access->call;
	vp->slot->size = access->size;
	vp->slot->address = access->address;
	vp->slot->value = access->value;
	vp->slot->value2 = access->value2;
	call(vp);
	fault = vp->slot->fault != 0;
	*ret_result = vp->slot->result;
	pthread_mutex_unlock(&vp->lock);
	return fault;
}

int softvm_post(struct softvm *vm, uint32_t index, uint32_t connection, const void *payload,
		uint32_t bytes, uint16_t *ret_status)
{
	struct vp *vp = &vm->vp[index];

	if (bytes > SOFTVM_MESSAGE)
		return -EMSGSIZE;
	pthread_mutex_lock(&vp->lock);
	*vp->post = (struct post_input){.connection = connection, .type = 1, .bytes = bytes};
	memcpy(vp->post->payload, payload, bytes);
	*ret_status = (uint16_t)hypercall_locked(vp, CALL_POST_MESSAGE, vp->input * SOFTVM_PAGE, 0);
	pthread_mutex_unlock(&vp->lock);
	return *ret_status == 0 ? 0 : SOFTVM_REFUSED;
}

void softvm_signal(struct softvm *vm, uint32_t vp, uint32_t connection)
{
	const uint64_t one = 1;
	const uint32_t relid = (connection & 0xffffff) - CONNECTION_DOORS;

	count(&vm->counters.doors);
	if (relid > 0 && relid < DOORS &&
	    write(vm->fds.door + (int)relid, &one, sizeof(one)) == (ssize_t)sizeof(one))
		return;
	softvm_hypercall(vm, vp, CALL_SIGNAL_EVENT_FAST, connection & 0xffffff, 0);
}

/* ---- RAM ---------------------------------------------------------------------- */

static uint64_t page_number(const struct softvm *vm, uint64_t n)
{
	uint64_t low = n % SCATTER, mixed = 0;

	if (!vm->scattered)
		return FIRST_PFN + n;
	for (uint32_t bit = 1; bit < SCATTER; bit <<= 1) {
		mixed = mixed << 1 | (low & 1);
		low >>= 1;
	}
	return FIRST_PFN + n / SCATTER * SCATTER + mixed;
}

int softvm_pages(struct softvm *vm, uint32_t n, uint64_t *ret_pfns)
{
	uint64_t top = vm->ram_bytes < RAM_USED_MAX ? vm->ram_bytes : RAM_USED_MAX;
	const uint64_t pages = top / SOFTVM_PAGE / SCATTER * SCATTER;
	int error = 0;

	pthread_mutex_lock(&vm->lock);
	if (pages < FIRST_PFN || n > pages - FIRST_PFN - vm->pages_given)
		error = -ENOMEM;
	for (uint32_t i = 0; i < n && !error; i++) {
		ret_pfns[i] = page_number(vm, vm->pages_given++);
		memset(vm->ram + ret_pfns[i] * SOFTVM_PAGE, 0, SOFTVM_PAGE);
	}
	pthread_mutex_unlock(&vm->lock);
	return error;
}

void *softvm_view(struct softvm *vm, const uint64_t *pfns, uint32_t n)
{
	bool adjacent = true;
	uint8_t *view;

	for (uint32_t i = 1; i < n; i++)
		adjacent = adjacent && pfns[i] == pfns[i - 1] + 1;
	if (adjacent)
		return vm->ram + pfns[0] * SOFTVM_PAGE;
	view = mmap(NULL, (size_t)n * SOFTVM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (view == MAP_FAILED)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		void *page =
			mmap(view + (size_t)i * SOFTVM_PAGE, SOFTVM_PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, vm->fds.ram, (off_t)(pfns[i] * SOFTVM_PAGE));

		if (page == MAP_FAILED)
			return NULL;
	}
	return view;
}

/* ---- interrupts ------------------------------------------------------------- */

static void take_message(struct vp *vp)
{
	struct softvm *vm = vp->vm;
	uint32_t type = atomic_load_explicit(&vp->message->type, memory_order_acquire);
	uint8_t payload[SOFTVM_MESSAGE];
	uint32_t bytes;

	if (type == 0)
		return;
	bytes = vp->message->bytes;
	memcpy(payload, vp->message->payload, sizeof(payload));
	if (!atomic_compare_exchange_strong(&vp->message->type, &type, 0))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&vp->message->flags) & 1)
		softvm_wrmsr(vm, vp->index, MSR_EOM, 0);
	if (type != 1 || bytes > SOFTVM_MESSAGE) {
		count(&vm->counters.strays);
		return;
	}
	count(&vm->counters.messages);
	vm->handlers.message(vm->handlers.context, payload, bytes);
}

static void take_flags(struct vp *vp)
{
	struct softvm *vm = vp->vm;

	for (uint32_t word = 0; word < SOFTVM_RELIDS / 64; word++) {
		uint64_t set;

		if (atomic_load_explicit(&vp->flags[word], memory_order_relaxed) == 0)
			continue;
		set = atomic_exchange(&vp->flags[word], 0);
		for (; set != 0; set &= set - 1) {
			const uint32_t relid = word * 64 + (uint32_t)__builtin_ctzll(set);

			count(&vm->counters.flags);
			if (relid != 0)
				vm->handlers.flag(vm->handlers.context, vp->index, relid);
		}
	}
}

/* The eventfd may be one that does not block: whoever made it decides. */
static void serve_interrupts(struct vp *vp)
{
	struct softvm *vm = vp->vm;
	struct pollfd irq = {.fd = vm->fds.irq + (int)vp->index, .events = POLLIN};
	uint64_t rung;

	while (!atomic_load(&vm->stop)) {
		const ssize_t n = read(irq.fd, &rung, sizeof(rung));

		if (n < 0 && errno == EAGAIN)
			poll(&irq, 1, -1);
		else if (n < 0 && errno != EINTR)
			return;
		if (n != (ssize_t)sizeof(rung) || atomic_load(&vm->stop))
			continue;
		count(&vm->counters.interrupts);
		if (atomic_load(&vp->slot->vector) != SOFTVM_VECTOR)
			count(&vm->counters.strays);
		take_message(vp);
		take_flags(vp);
	}
}

/* ---- SynIC (A.5: the order in which Linux touches it) --------------------------- */

static int update_page(struct vp *vp, uint32_t msr, uint64_t pfn, bool enable)
{
	const uint64_t wanted = enable ? pfn * SOFTVM_PAGE | 1 : 0;
	uint64_t value;
	int error = softvm_rdmsr(vp->vm, vp->index, msr, &value);

	if (!error)
		error = softvm_wrmsr(vp->vm, vp->index, msr, (value & 0xffe) | wanted);
	if (!error)
		error = softvm_rdmsr(vp->vm, vp->index, msr, &value);
	if (!error && (value & ~UINT64_C(0xffe)) != wanted)
		error = SOFTVM_CONTRADICTION;
	return error;
}

static int update_control(struct vp *vp, uint32_t msr, uint64_t wanted)
{
	uint64_t value;
	int error = softvm_rdmsr(vp->vm, vp->index, msr, &value);

	if (!error)
		error = softvm_wrmsr(vp->vm, vp->index, msr, wanted);
	if (!error)
		error = softvm_rdmsr(vp->vm, vp->index, msr, &value);
	if (!error && value != wanted)
		error = SOFTVM_CONTRADICTION;
	return error;
}

static int synic_enable(struct vp *vp)
{
	uint64_t index = 0;
	int error = softvm_rdmsr(vp->vm, vp->index, MSR_VP_INDEX, &index);

	if (!error && index != vp->index)
		error = SOFTVM_CONTRADICTION;
	if (!error)
		error = softvm_wrmsr(vp->vm, vp->index, MSR_VP_ASSIST,
				     vp->assist * SOFTVM_PAGE | 1);
	if (!error)
		error = update_page(vp, MSR_SIMP, vp->simp, true);
	if (!error)
		error = update_page(vp, MSR_SIEFP, vp->siefp, true);
	if (!error)
		error = update_control(vp, MSR_SINT0 + SOFTVM_SINT, SOFTVM_VECTOR);
	if (!error)
		error = update_control(vp, MSR_SCONTROL, 1);
	return error;
}

static int synic_disable(struct vp *vp)
{
	int error = update_control(vp, MSR_SINT0 + SOFTVM_SINT, SOFTVM_VECTOR | SINT_MASKED);

	if (!error)
		error = update_page(vp, MSR_SIMP, 0, false);
	if (!error)
		error = update_page(vp, MSR_SIEFP, 0, false);
	if (!error)
		error = update_control(vp, MSR_SCONTROL, 0);
	return error;
}

static void *run_vp(void *argument)
{
	struct vp *vp = argument;
	struct softvm *vm = vp->vm;
	int error = synic_enable(vp);

	pthread_mutex_lock(&vm->lock);
	vp->error = error;
	vm->n_ready++;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	if (!error) {
		serve_interrupts(vp);
		vp->error = synic_disable(vp);
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------- */

static int hypercall_page(struct softvm *vm)
{
	uint64_t value = 0;
	int error = softvm_wrmsr(vm, 0, MSR_GUEST_OS_ID, GUEST_OS_ID);

	if (!error)
		error = softvm_rdmsr(vm, 0, MSR_HYPERCALL, &value);
	if (!error)
		error = softvm_wrmsr(vm, 0, MSR_HYPERCALL,
				     (value & 0xffe) | vm->hypercall * SOFTVM_PAGE | 1);
	if (!error)
		error = softvm_rdmsr(vm, 0, MSR_HYPERCALL, &value);
	if (!error && (value & ~UINT64_C(0xffe)) != (vm->hypercall * SOFTVM_PAGE | 1))
		error = SOFTVM_CONTRADICTION;
	return error;
}

static int prepare_vp(struct softvm *vm, uint32_t index)
{
	struct vp *vp = &vm->vp[index];
	uint64_t pfns[4];
	int error = softvm_pages(vm, 4, pfns);

	if (error)
		return error;
	vp->simp = pfns[0];
	vp->siefp = pfns[1];
	vp->assist = pfns[2];
	vp->input = pfns[3];
	vp->message = (struct message_slot *)(void *)(vm->ram + vp->simp * SOFTVM_PAGE +
						      SOFTVM_SINT * SLOT_BYTES);
	vp->flags = (_Atomic uint64_t *)(void *)(vm->ram + vp->siefp * SOFTVM_PAGE +
						 SOFTVM_SINT * SLOT_BYTES);
	vp->post = (struct post_input *)(void *)(vm->ram + vp->input * SOFTVM_PAGE);
	return 0;
}

int softvm_start(struct softvm *vm, const struct softvm_handlers *handlers)
{
	int error = hypercall_page(vm);

	if (error)
		return error;
	vm->handlers = *handlers;
	for (uint32_t i = 0; i < vm->n_vps; i++) {
		error = pthread_create(&vm->vp[i].thread, NULL, run_vp, &vm->vp[i]);
		if (error)
			return -error;
		vm->vp[i].running = true;
	}
	pthread_mutex_lock(&vm->lock);
	while (vm->n_ready < vm->n_vps)
		pthread_cond_wait(&vm->changed, &vm->lock);
	for (uint32_t i = 0; i < vm->n_vps && !error; i++)
		error = vm->vp[i].error;
	pthread_mutex_unlock(&vm->lock);
	return error;
}

int softvm_stop(struct softvm *vm)
{
	const uint64_t one = 1;
	int error = 0;

	atomic_store(&vm->stop, true);
	for (uint32_t i = 0; i < vm->n_vps; i++) {
		if (!vm->vp[i].running)
			continue;
		if (write(vm->fds.irq + (int)i, &one, sizeof(one)) != (ssize_t)sizeof(one))
			return -errno;
		pthread_join(vm->vp[i].thread, NULL);
		vm->vp[i].running = false;
		if (!error)
			error = vm->vp[i].error;
	}
	if (!error)
		error = softvm_wrmsr(vm, 0, MSR_HYPERCALL, 0);
	if (!error)
		error = softvm_wrmsr(vm, 0, MSR_GUEST_OS_ID, 0);
	return error;
}

static int map_slots(struct softvm *vm)
{
	struct stat status;

	if (fstat(vm->fds.vps, &status) < 0)
		return -errno;
	if (status.st_size < (off_t)sizeof(struct soft_vp))
		return -EINVAL;
	vm->slots_bytes = (size_t)status.st_size;
	vm->slots = mmap(NULL, vm->slots_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->fds.vps, 0);
	if (vm->slots == MAP_FAILED)
		return -errno;
	vm->n_vps = vm->slots[0].vps;
	vm->ram_bytes = vm->slots[0].ram_bytes;
	if (vm->n_vps == 0 || vm->n_vps > SOFTVM_VPS ||
	    vm->n_vps * sizeof(struct soft_vp) > vm->slots_bytes)
		return -EINVAL;
	return 0;
}

static int map_ram(struct softvm *vm)
{
	struct stat status;
	struct statfs fs;

	if (fstat(vm->fds.ram, &status) < 0 || fstatfs(vm->fds.ram, &fs) < 0)
		return -errno;
	if (vm->ram_bytes == 0 || (uint64_t)status.st_size < vm->ram_bytes)
		return -EINVAL;
	vm->scattered = fs.f_type != HUGETLBFS_MAGIC;
	vm->ram = mmap(NULL, vm->ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->fds.ram, 0);
	return vm->ram == MAP_FAILED ? -errno : 0;
}

int softvm_attach(const struct softvm_fds *fds, struct softvm **ret_vm)
{
	struct softvm *vm = calloc(1, sizeof(*vm));
	int error;

	if (!vm)
		return -ENOMEM;
	vm->fds = *fds;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	error = map_slots(vm);
	if (!error)
		error = map_ram(vm);
	for (uint32_t i = 0; i < vm->n_vps && !error; i++) {
		vm->vp[i].vm = vm;
		vm->vp[i].index = i;
		vm->vp[i].slot = &vm->slots[i];
		pthread_mutex_init(&vm->vp[i].lock, NULL);
		error = prepare_vp(vm, i);
	}
	if (!error)
		error = softvm_pages(vm, 1, &vm->hypercall);
	if (error) {
		softvm_detach(vm);
		return error;
	}
	*ret_vm = vm;
	return 0;
}

void softvm_detach(struct softvm *vm)
{
	if (vm->ram && vm->ram != MAP_FAILED)
		munmap(vm->ram, vm->ram_bytes);
	if (vm->slots && vm->slots != MAP_FAILED)
		munmap(vm->slots, vm->slots_bytes);
	free(vm);
}
