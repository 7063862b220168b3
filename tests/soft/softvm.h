/* tests/soft/softvm.h - the virtual machine as a native guest of the `soft`
 * back end sees it: RAM, VPs, MSRs, hypercalls, SynIC pages and interrupts.
 *
 * One struct softvm for the process. Threads: softvm_start() makes one thread
 * for each VP, which sets its SynIC up the way Linux does (protocol.md A.5) and
 * then waits for interrupts; both handlers are called on these threads and must
 * not block. The other functions may be called from any thread; a VP makes one
 * call at a time, a second caller waits. A call that the paravisor answers
 * waits without limit while there is none. Errors: negative errno, or a
 * positive enum softvm_condition. */
#ifndef TESTS_SOFT_SOFTVM_H
#define TESTS_SOFT_SOFTVM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SOFTVM_PAGE = 4096,
	SOFTVM_VPS = 16,
	SOFTVM_MESSAGE = 240, /* protocol.md B.1: payload of a message */
	SOFTVM_RELIDS = 2048, /* B.2: bits of the event flags of one SINT */
	SOFTVM_SINT = 2,      /* VMBus */
	SOFTVM_VECTOR = 0xF3, /* A.5: Linux's vector for it */
};

enum softvm_condition {
	SOFTVM_GP = 1,		  /* the MSR access faulted */
	SOFTVM_REFUSED = 2,	  /* the hypercall's status is not success; see *ret_status */
	SOFTVM_CONTRADICTION = 3, /* a register did not read back as it was written */
};

/* Descriptors the guest was started with; SOFTVM_FDS are those of soft_abi.h. */
struct softvm_fds {
	int vps, ram, irq, door;
};
extern const struct softvm_fds SOFTVM_FDS;

struct softvm_handlers {
	void *context;
	void (*message)(void *context, const uint8_t *payload, uint32_t bytes);
	void (*flag)(void *context, uint32_t vp, uint32_t relid);
};

/* What happened; any thread may read it. */
struct softvm_counters {
	_Atomic uint64_t calls, interrupts, messages, flags, doors;
	_Atomic uint64_t strays; /* interrupts with another vector, malformed messages */
};

struct softvm;

/* Maps the descriptors; nothing is written yet. The caller owns *ret_vm until
 * softvm_detach(). */
int softvm_attach(const struct softvm_fds *fds, struct softvm **ret_vm);
void softvm_detach(struct softvm *vm);

/* GUEST_OS_ID and HYPERCALL on VP 0, then the SynIC of every VP. Returns when
 * all of them can take messages. softvm_stop() undoes it. */
int softvm_start(struct softvm *vm, const struct softvm_handlers *handlers);
int softvm_stop(struct softvm *vm);

uint32_t softvm_vps(const struct softvm *vm);
uint64_t softvm_ram_bytes(const struct softvm *vm);
struct softvm_counters *softvm_counters(struct softvm *vm);

int softvm_rdmsr(struct softvm *vm, uint32_t vp, uint32_t msr, uint64_t *ret_value);
int softvm_wrmsr(struct softvm *vm, uint32_t vp, uint32_t msr, uint64_t value);
uint64_t softvm_hypercall(struct softvm *vm, uint32_t vp, uint64_t control, uint64_t rdx,
			  uint64_t r8);
void softvm_out(struct softvm *vm, uint32_t vp, uint16_t port, uint32_t size, uint64_t value);

/* Any call of soft_abi.h with any arguments; true: it faulted. */
struct softvm_access {
	uint32_t call, size;
	uint64_t address, value, value2;
};
bool softvm_call(struct softvm *vm, uint32_t vp, const struct softvm_access *access,
		 uint64_t *ret_result);

/* HvPostMessage, one try (A.8). bytes <= SOFTVM_MESSAGE. */
int softvm_post(struct softvm *vm, uint32_t vp, uint32_t connection, const void *payload,
		uint32_t bytes, uint16_t *ret_status);

/* HvSignalEvent: the door of connection 0x2000 + relid if there is one, else
 * the hypercall. Never waits when there is a door. */
void softvm_signal(struct softvm *vm, uint32_t vp, uint32_t connection);

/* Zeroed pages of guest RAM, scattered on purpose; they are never given back.
 * -ENOMEM when RAM is used up. */
int softvm_pages(struct softvm *vm, uint32_t count, uint64_t *ret_pfns);

/* A contiguous view of these pages; lives as long as the process. NULL: no
 * address space. */
void *softvm_view(struct softvm *vm, const uint64_t *pfns, uint32_t count);

/* CLOCK_MONOTONIC. */
uint64_t softvm_now_ns(void);

#endif
