/* tests/proof/stdatomic.h - atomics as plain reads and writes, for the prover: one
 * process, and what others write meanwhile is said by the proofs themselves. */
#ifndef PROOF_STDATOMIC_H
#define PROOF_STDATOMIC_H

#include <stdint.h>

#define _Atomic
#define _Static_assert(...) struct proof_checked_by_the_compiler

typedef enum {
	memory_order_relaxed, memory_order_acquire, memory_order_release, memory_order_seq_cst,
} memory_order;

#define atomic_load(p) (*(p))
#define atomic_load_explicit(p, order) (*(p))
#define atomic_store(p, v) (void)(*(p) = (v))
#define atomic_store_explicit(p, v, order) (void)(*(p) = (v))
#define atomic_thread_fence(order) (void)0

#endif
