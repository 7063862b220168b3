/* Decoding by capstone.
 *
 * A memory operand counts as a store when capstone says that it is written, and
 * also when it is the first operand of an instruction that is not known to only
 * read there: capstone 4 leaves some vector stores without a mark. So a store
 * is never missed, while a load taken for one costs a superfluous crash point.
 * Pushes and calls write the stack, which is private, and are left out. MOVSD
 * names both a string instruction and a vector one. */
#include "tests/crash/insn.h"

#include <capstone/capstone.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 18, BYTES_UNKNOWN = 64 };

struct decoder {
	csh handle;
	cs_insn *scratch;
	size_t used;
	struct insn table[TABLE];
};

struct decoder *decoder_new(void)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &d->handle) != CS_ERR_OK) {
		free(d);
		return NULL;
	}
	cs_option(d->handle, CS_OPT_DETAIL, CS_OPT_ON);
	d->scratch = cs_malloc(d->handle);
	return d->scratch ? d : decoder_free(d);
}

struct decoder *decoder_free(struct decoder *d)
{
	if (!d)
		return NULL;
	if (d->scratch)
		cs_free(d->scratch, 1);
	cs_close(&d->handle);
	free(d);
	return NULL;
}

/* Instructions whose first operand may be memory that they only read. */
static bool only_reads(const cs_insn *in)
{
	switch (in->id) {
	case X86_INS_CMP:
	case X86_INS_TEST:
	case X86_INS_BT:
	case X86_INS_NOP:
	case X86_INS_PUSH:
	case X86_INS_MUL:
	case X86_INS_IMUL:
	case X86_INS_DIV:
	case X86_INS_IDIV:
	case X86_INS_LDMXCSR:
	case X86_INS_VLDMXCSR:
	case X86_INS_FXRSTOR:
	case X86_INS_XRSTOR:
	case X86_INS_PREFETCH:
	case X86_INS_PREFETCHNTA:
	case X86_INS_PREFETCHT0:
	case X86_INS_PREFETCHT1:
	case X86_INS_PREFETCHT2:
	case X86_INS_PREFETCHW:
	case X86_INS_FLD:
	case X86_INS_FILD:
	case X86_INS_FLDCW:
		return true;
	default:
		return false;
	}
}

static bool is_string(const cs_insn *in)
{
	switch (in->id) {
	case X86_INS_MOVSB:
	case X86_INS_MOVSW:
	case X86_INS_MOVSD:
	case X86_INS_MOVSQ:
	case X86_INS_STOSB:
	case X86_INS_STOSW:
	case X86_INS_STOSD:
	case X86_INS_STOSQ:
	case X86_INS_CMPSB:
	case X86_INS_CMPSW:
	case X86_INS_CMPSQ:
	case X86_INS_SCASB:
	case X86_INS_SCASW:
	case X86_INS_SCASD:
	case X86_INS_SCASQ:
	case X86_INS_LODSB:
	case X86_INS_LODSD:
	case X86_INS_LODSQ:
		return true;
	default:
		return false;
	}
}

static void add_store(struct insn *out, const cs_x86_op *op)
{
	if (out->n_stores == INSN_OPERANDS)
		return;
	out->store[out->n_stores++] = (struct insn_memory){
		.base = (uint16_t)op->mem.base,
		.index = (uint16_t)op->mem.index,
		.segment = (uint16_t)op->mem.segment,
		.scale = op->mem.scale,
		.displacement = op->mem.disp,
		.bytes = op->size ? op->size : BYTES_UNKNOWN,
	};
}

static void classify(csh handle, const cs_insn *in, struct insn *out)
{
	const cs_x86 *x = &in->detail->x86;
	bool branch = cs_insn_group(handle, in, CS_GRP_JUMP) ||
		      cs_insn_group(handle, in, CS_GRP_CALL);
	bool vector = in->id == X86_INS_MOVSD && x->op_count == 2 &&
		      x->operands[1].type == X86_OP_REG;
	bool string = is_string(in) && !vector && x->op_count > 0 &&
		      x->operands[0].type == X86_OP_MEM;
	bool prefixed = x->prefix[0] == X86_PREFIX_REP || x->prefix[0] == X86_PREFIX_REPNE;

	out->syscall = in->id == X86_INS_SYSCALL || in->id == X86_INS_INT;
	out->call = cs_insn_group(handle, in, CS_GRP_CALL);
	out->repeated = string && prefixed;
	for (uint8_t i = 0; i < x->op_count; i++) {
		const cs_x86_op *op = &x->operands[i];
		bool first = i == 0 && !branch && !only_reads(in);

		if (op->type == X86_OP_MEM && ((op->access & CS_AC_WRITE) || first) && !branch)
			add_store(out, op);
	}
	if (in->id == X86_INS_MASKMOVDQU || in->id == X86_INS_VMASKMOVDQU)
		out->store[out->n_stores++] =
			(struct insn_memory){ .base = X86_REG_RDI, .bytes = 16 };
}

/* Comparisons into a mask register, and VPTERNLOG: they only read memory. */
static bool evex_only_reads(const uint8_t *text)
{
	enum { MAP = 7, MAP_0F3A = 3 };

	if ((text[1] & MAP) != MAP_0F3A)
		return false;
	switch (text[4]) {
	case 0x1e:
	case 0x1f:
	case 0x25:
	case 0x3e:
	case 0x3f:
		return true;
	default:
		return false;
	}
}

/* Capstone 4 lacks some AVX-512 instructions. The length up to ModRM of a VEX or
 * EVEX instruction that is known to store to registers alone; 0: it is not. */
static uint8_t stores_nothing(const uint8_t *text, size_t bytes)
{
	enum { VEX3 = 0xc4, VEX2 = 0xc5, EVEX = 0x62, REGISTERS = 0xc0 };
	uint8_t modrm = 0;

	if (bytes < INSN_BYTES)
		return 0;
	if (text[0] == VEX2)
		modrm = 3;
	else if (text[0] == VEX3)
		modrm = 4;
	else if (text[0] == EVEX)
		modrm = 5;
	if (modrm == 0 || (text[modrm] & REGISTERS) == REGISTERS)
		return modrm;
	return text[0] == EVEX && evex_only_reads(text) ? modrm : 0;
}

static void decode(struct decoder *d, struct insn *out, const uint8_t *text, size_t bytes)
{
	const uint8_t *from = text;
	uint64_t at = out->at;
	size_t left = bytes;

	if (!cs_disasm_iter(d->handle, &text, &left, &at, d->scratch)) {
		out->bytes = stores_nothing(from, bytes);
		return;
	}
	out->bytes = (uint8_t)d->scratch->size;
	classify(d->handle, d->scratch, out);
}

const struct insn *decoder_at(struct decoder *d, uint64_t at, const uint8_t *text, size_t bytes)
{
	size_t n = (size_t)(at * UINT64_C(0x9e3779b97f4a7c15) >> 46);

	while (d->table[n % TABLE].at != 0 && d->table[n % TABLE].at != at)
		n++;
	n %= TABLE;
	if (d->table[n].at == at)
		return &d->table[n];
	if (!text)
		return NULL;
	if (++d->used > TABLE / 2) {
		memset(d->table, 0, sizeof(d->table));
		d->used = 1;
	}
	d->table[n].at = at;
	decode(d, &d->table[n], text, bytes);
	return &d->table[n];
}

static uint64_t low(uint64_t value)
{
	return value & UINT32_MAX;
}

static uint64_t value_of(unsigned reg, const struct user_regs_struct *r)
{
	switch (reg) {
	case X86_REG_RAX: return r->rax;
	case X86_REG_RBX: return r->rbx;
	case X86_REG_RCX: return r->rcx;
	case X86_REG_RDX: return r->rdx;
	case X86_REG_RSI: return r->rsi;
	case X86_REG_RDI: return r->rdi;
	case X86_REG_RBP: return r->rbp;
	case X86_REG_RSP: return r->rsp;
	case X86_REG_R8: return r->r8;
	case X86_REG_R9: return r->r9;
	case X86_REG_R10: return r->r10;
	case X86_REG_R11: return r->r11;
	case X86_REG_R12: return r->r12;
	case X86_REG_R13: return r->r13;
	case X86_REG_R14: return r->r14;
	case X86_REG_R15: return r->r15;
	case X86_REG_EAX: return low(r->rax);
	case X86_REG_EBX: return low(r->rbx);
	case X86_REG_ECX: return low(r->rcx);
	case X86_REG_EDX: return low(r->rdx);
	case X86_REG_ESI: return low(r->rsi);
	case X86_REG_EDI: return low(r->rdi);
	case X86_REG_EBP: return low(r->rbp);
	case X86_REG_R8D: return low(r->r8);
	case X86_REG_R9D: return low(r->r9);
	case X86_REG_R10D: return low(r->r10);
	case X86_REG_R11D: return low(r->r11);
	default: return 0;
	}
}

struct insn_range insn_store(const struct insn *in, unsigned n, const struct user_regs_struct *regs)
{
	const struct insn_memory *m = &in->store[n];
	struct insn_range range = { .bytes = m->bytes };

	if (m->base == X86_REG_RIP)
		range.from = in->at + in->bytes;
	else
		range.from = value_of(m->base, regs);
	range.from += value_of(m->index, regs) * (uint64_t)(int64_t)m->scale +
		      (uint64_t)m->displacement;
	if (m->segment == X86_REG_FS)
		range.from += regs->fs_base;
	else if (m->segment == X86_REG_GS)
		range.from += regs->gs_base;
	if (in->repeated)
		range.bytes *= regs->rcx;
	return range;
}
