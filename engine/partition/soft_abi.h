/* engine/partition/soft_abi.h - how a `soft` guest, a native program in a
 * process of its own, reaches its partition.
 *
 * The guest is started with descriptors at fixed numbers: SOFT_FD_RAM (guest
 * RAM, GPA = offset), SOFT_FD_VPS (struct soft_vp [vps]), SOFT_FD_IRQ + vp (an
 * eventfd the partition writes to interrupt that VP; the vector is in
 * soft_vp.vector), SOFT_FD_DOOR + relid (an eventfd: HvSignalEvent of
 * connection 0x2000 + relid). It maps nothing else. argv is what --cmdline
 * said, split at blanks. What a VP exits for is the same as on kvm, and is
 * handled by the same table (WIRE_EXITS in wire.h). */
#ifndef ENGINE_PARTITION_SOFT_ABI_H
#define ENGINE_PARTITION_SOFT_ABI_H

#include <stdatomic.h>
#include <stdint.h>

enum {
	SOFT_FD_VPS = 3,
	SOFT_FD_RAM = 4,
	SOFT_FD_IRQ = 5,             /* + vp, up to 16 */
	SOFT_FD_DOOR = 32,           /* + relid, below 304 */
};

/* Call of a VP to the partition. The guest fills the members, stores POSTED
 * in `state`, wakes it as a futex, waits until it is IDLE again. */
enum soft_call {
	SOFT_RDMSR = 1,              /* address: msr -> result, fault */
	SOFT_WRMSR = 2,              /* address: msr, value */
	SOFT_HYPERCALL = 3,          /* address: control, value: RDX, value2: R8 -> result */
	SOFT_IN = 4,                 /* address: port, size -> result */
	SOFT_OUT = 5,                /* address: port, size, value */
	SOFT_READ = 6,               /* address: gpa, size -> result */
	SOFT_WRITE = 7,
};
enum { SOFT_IDLE = 0, SOFT_POSTED = 1 };

struct soft_vp {
	_Alignas(64) _Atomic uint32_t state;
	uint32_t call;               /* enum soft_call */
	uint64_t address, value, value2;
	uint32_t size;
	uint32_t fault;              /* result: 1 = #GP */
	uint64_t result;
	_Alignas(64) _Atomic uint32_t vector;  /* of the last interrupt, for the guest to look at */
	uint32_t vps;                /* partition writes: number of VPs */
	uint64_t ram_bytes;
};

#endif
