/* tests/crash/insn.h - what one x86-64 instruction does to memory that others see.
 *
 * An instruction is decoded once for each address and kept; text is taken as
 * constant for the life of the decoder. Which addresses it writes follows from
 * the registers before it executes. Not thread-safe. */
#ifndef TESTS_CRASH_INSN_H
#define TESTS_CRASH_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

enum { INSN_BYTES = 15, INSN_OPERANDS = 3 };

struct insn_memory {
	uint16_t base, index, segment; /* capstone's register numbers, 0 none */
	int32_t scale;
	int64_t displacement;
	uint32_t bytes;
};

struct insn {
	uint64_t at;
	uint8_t bytes;    /* 0: does not decode */
	bool syscall, call;
	bool repeated;    /* a string instruction with a prefix: one step is one iteration */
	uint8_t n_stores;
	struct insn_memory store[INSN_OPERANDS];
};

struct insn_range {
	uint64_t from, bytes;
};

struct decoder;

/* NULL: no memory, or capstone is not what it was compiled for. */
struct decoder *decoder_new(void);
struct decoder *decoder_free(struct decoder *d);

/* The instruction at @at, of which @text holds INSN_BYTES (fewer at the end of
 * a mapping). Lives as long as the decoder. NULL: not known yet and @text is NULL. */
const struct insn *decoder_at(struct decoder *d, uint64_t at, const uint8_t *text, size_t bytes);

/* What store @n of the instruction would write, given the registers before it.
 * A repeated instruction: all its iterations. */
struct insn_range insn_store(const struct insn *in, unsigned n,
			     const struct user_regs_struct *regs);

#endif
