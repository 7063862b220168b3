/* engine/partition/backend.h - what runs VPs: `kvm` or `soft`.
 *
 * The VP threads and the hub see a back end only through struct backend. Its
 * private memory hangs on partition.machine. Unless said otherwise a function
 * returns 0 or a negative errno and may be called by the hub only. */
#ifndef ENGINE_PARTITION_BACKEND_H
#define ENGINE_PARTITION_BACKEND_H

#include "engine/partition/wire.h"

#include <stdbool.h>

struct partition;

/* One exit, in the terms of struct wire_mailbox. `address` of EXIT_FATAL is an
 * enum wire_exit_fatal, `value` the back end's own reason, `value2` the RIP. */
struct vp_exit {
	enum wire_exit exit;
	uint32_t size;
	bool is_read;
	uint64_t address, value, value2;
};

struct backend {
	const char *name;
	uint32_t code;                /* header.backend */
	/* Makes the machine; RAM and all eventfds of the partition exist. Fills
	 * header.tsc_hz and apic_hz. One line for people is logged on failure. */
	int (*create)(struct partition *p);
	/* VP thread: runs until an exit. 0 and @ret_exit, or -EAGAIN: nothing. */
	int (*run)(struct partition *p, uint32_t vp, struct vp_exit *ret_exit);
	/* VP thread: the answer of the exit that run() returned last. */
	void (*complete)(struct partition *p, uint32_t vp, uint64_t answer, bool fault);
	/* Any thread: makes run() of @vp return soon, and at once until start(). */
	void (*kick)(struct partition *p, uint32_t vp);
	/* VPs are parked. @arg: rip, rsi, cr3, gdt of VP 0. */
	int (*start)(struct partition *p, const uint64_t arg[4]);
	/* VPs are parked: registers and interrupt controllers as after power on. */
	int (*reset)(struct partition *p);
	/* Any thread: interrupts @vp with @vector, another than that of SINT 2. */
	void (*interrupt)(struct partition *p, uint32_t vp, uint8_t vector);
	/* Vector that eventfd "irq.N" raises on VP n; 0: none. */
	int (*set_vectors)(struct partition *p, const uint8_t vector[LIMIT_VPS]);
	/* Eventfd "door.N" is rung by connection @after, no longer by @before. */
	int (*set_door)(struct partition *p, uint32_t door, uint32_t before, uint32_t after);
	int (*inject_nmi)(struct partition *p, uint32_t vp);
	/* Ends what would outlive this process. */
	void (*destroy)(struct partition *p);
};

extern const struct backend BACKEND_KVM, BACKEND_SOFT;

#endif
