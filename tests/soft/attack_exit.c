/* tests/soft/attack_exit.c - whatever makes a processor leave the guest: every
 * hypercall code, every synthetic MSR, every port, every address.
 *
 * Addresses that the paravisor would write to (hypercall page, SynIC pages, TSC
 * page) are those of the pool or outside RAM. SynIC registers of processor 0
 * carry the good client's messages and stay as they are. */
#include "tests/soft/attack.h"

#include "engine/partition/soft_abi.h"

enum {
	MSR_FIRST = 0x40000000,
	MSR_RANGE = 0x200,
	MSR_HYPERCALL = 0x40000001,
	HYPERCALL_LOCKED = 1 << 1, /* for the rest of the VM's life */
	MSR_RESET = 0x40000003,
	MSR_SYNIC_FIRST = 0x40000080,
	MSR_SYNIC_LAST = 0x4000009F,
	PORTS = 0x1000,
	PORT_END_FIRST = 0x600,
	PORT_END_LAST = 0x607,
	CALL_POST_MESSAGE = 0x5C,
};

static uint32_t some_msr(struct dice *dice)
{
	static const uint16_t known[] = {0x00, 0x01, 0x02, 0x10, 0x20, 0x21, 0x22, 0x23, 0x40,
					 0x70, 0x71, 0x72, 0x73, 0x80, 0x81, 0x82, 0x83, 0x84,
					 0x90, 0x92, 0x9f, 0xb0, 0xb1, 0x100, 0x105, 0x118};

	switch (dice_below(dice, 4)) {
	case 0:
		return (uint32_t)dice_next(dice);
	case 1:
		return MSR_FIRST + dice_below(dice, MSR_RANGE);
	default:
		return MSR_FIRST + known[dice_below(dice, sizeof(known) / sizeof(known[0]))];
	}
}

static uint64_t some_value(struct attack *attack, struct dice *dice)
{
	switch (dice_below(dice, 4)) {
	case 0:
		return dice_below(dice, 512);
	case 1:
		return UINT64_MAX << dice_below(dice, 64) | UINT64_C(1) << 63;
	default:
		return attack_page(attack, dice) << 12 | dice_below(dice, 4096);
	}
}

static void write_msr(struct attack *attack, struct dice *dice)
{
	const uint32_t vp = attack_vp(attack, dice);
	const uint32_t msr = some_msr(dice);
	uint64_t value = some_value(attack, dice);

	if (msr == MSR_RESET || ((vp == 0 || !attack->synic) && msr >= MSR_SYNIC_FIRST &&
				 msr <= MSR_SYNIC_LAST))
		return;
	if (msr == MSR_HYPERCALL)
		value &= ~(uint64_t)HYPERCALL_LOCKED;
	attack_count(attack, ATTACK_MSR_WRITE);
	softvm_wrmsr(attack->vm, vp, msr, value);
}

static void read_msr(struct attack *attack, struct dice *dice)
{
	uint64_t value;

	attack_count(attack, ATTACK_MSR_READ);
	softvm_rdmsr(attack->vm, attack_vp(attack, dice), some_msr(dice), &value);
}

static void hypercall(struct attack *attack, struct dice *dice)
{
	const uint64_t control = dice_once_in(dice, 2)
					 ? dice_below(dice, 0x10000)
					 : dice_below(dice, 0x100) | dice_number(dice) << 16;

	if ((control & 0xffff) == CALL_POST_MESSAGE)
		return;
	attack_count(attack, ATTACK_HYPERCALL);
	softvm_hypercall(attack->vm, attack_vp(attack, dice), control, dice_number(dice),
			 dice_number(dice));
}

static uint32_t some_size(struct dice *dice)
{
	static const uint8_t sizes[] = {1, 2, 4, 1, 2, 4, 8, 0, 3, 9};

	return sizes[dice_below(dice, sizeof(sizes))];
}

static void access_port(struct attack *attack, struct dice *dice)
{
	struct softvm_access access = {.call = SOFT_IN, .size = some_size(dice)};
	uint64_t result;

	access.address = dice_below(dice, PORTS);
	if (dice_once_in(dice, 64))
		access.address = dice_number(dice);
	if (!attack->ports_that_end && (access.address & 0xffff) >= PORT_END_FIRST &&
	    (access.address & 0xffff) <= PORT_END_LAST)
		return;
	if (dice_once_in(dice, 2))
		access.call = SOFT_OUT;
	access.value = dice_number(dice);
	attack_count(attack, access.call == SOFT_IN ? ATTACK_IN : ATTACK_OUT);
	softvm_call(attack->vm, attack_vp(attack, dice), &access, &result);
}

static void access_memory(struct attack *attack, struct dice *dice)
{
	struct softvm_access access = {
		.call = dice_once_in(dice, 2) ? SOFT_READ : SOFT_WRITE,
		.size = some_size(dice),
		.address = dice_once_in(dice, 2) ? dice_number(dice)
						 : 0xfec00000 + dice_below(dice, 0x400000),
		.value = dice_number(dice),
	};
	uint64_t result;

	attack_count(attack, ATTACK_MMIO);
	softvm_call(attack->vm, attack_vp(attack, dice), &access, &result);
}

static void bad_call(struct attack *attack, struct dice *dice)
{
	const struct softvm_access access = {
		.call = dice_once_in(dice, 2) ? 0 : 8 + (uint32_t)(dice_next(dice) >> 33),
		.size = (uint32_t)dice_number(dice),
		.address = dice_number(dice),
	};
	uint64_t result;

	attack_count(attack, ATTACK_BAD_CALL);
	softvm_call(attack->vm, attack_vp(attack, dice), &access, &result);
}

void attack_exit(struct attack *attack, struct dice *dice)
{
	static void (*const how[])(struct attack *, struct dice *) = {
		write_msr, write_msr, read_msr,	     hypercall,
		access_port, access_port, access_memory, bad_call,
	};

	how[dice_below(dice, sizeof(how) / sizeof(how[0]))](attack, dice);
}
