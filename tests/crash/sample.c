/* tests/crash/sample.c - a program of which every store to shared memory is known.
 *
 * It maps shared memory (descriptor 3) and writes it by one instruction of each
 * sort, then through the C library. test_points.c knows what to expect. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BYTES = 8192, SHARED = 3 };

void window(uint8_t *m, uint8_t *own);

static uint8_t private_bytes[BYTES] __attribute__((aligned(64)));

/* 13 points; each leaves a byte that is not 0 where it stores. */
void __attribute__((noinline)) window(uint8_t *m, uint8_t *own)
{
	uint64_t old = 0, in = 7, n = 300;
	void *to = m + 1024, *from = own;

	__asm__ volatile("movb $1, (%0)" ::"r"(m) : "memory");
	__asm__ volatile("movq %1, 8(%0)" ::"r"(m), "r"(in) : "memory");
	__asm__ volatile("movq %1, 8(%0)" ::"r"(own), "r"(in) : "memory"); /* private */
	__asm__ volatile("movq 32(%1), %0" : "=r"(old) : "r"(m) : "memory"); /* a load */
	__asm__ volatile("cmpq $5, 8(%0)" ::"r"(m) : "cc", "memory"); /* a load */
	__asm__ volatile("lock cmpxchgq %1, 16(%2)"
			 : "+a"(old) : "r"(in), "r"(m) : "cc", "memory");
	__asm__ volatile("lock xaddq %0, 24(%1)" : "+r"(in) : "r"(m) : "cc", "memory");
	in = 9;
	__asm__ volatile("xchgq %0, 32(%1)" : "+r"(in) : "r"(m) : "memory");
	__asm__ volatile("lock orl $4, 40(%0,%1,4)" ::"r"(m), "r"(2ul) : "cc", "memory");
	__asm__ volatile("movups (%1), %%xmm1\n\tmovups %%xmm1, 64(%0)"
			 ::"r"(m), "r"(own + 64) : "xmm1", "memory");
	__asm__ volatile("movntiq %1, 128(%0)" ::"r"(m), "r"(5ul) : "memory");
	__asm__ volatile("incl 136(%0)" ::"r"(m) : "cc", "memory");
	__asm__ volatile("stc\n\tsetc 140(%0)" ::"r"(m) : "cc", "memory");
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) :: "memory"); /* two */
	to = own + 1024;
	n = 300;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory"); /* private */
	__asm__ volatile("movsd (%1), %%xmm1\n\tmovsd %%xmm1, 192(%0)"
			 ::"r"(m), "r"(own + 64) : "xmm1", "memory");
}

/* Three points at the same place. */
static void __attribute__((noinline)) loop(volatile uint32_t *m)
{
	for (volatile uint32_t i = 0; i < 3; i++)
		__asm__ volatile("movl %1, (%0)" ::"r"(m + i), "r"(i + 1) : "memory");
}

int main(int argc, char **argv)
{
	uint8_t *m = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED, 0);
	size_t n = argc > 1 ? strlen(argv[1]) : 0;

	if (m == MAP_FAILED)
		return 2;
	memset(private_bytes, 0x5a, sizeof(private_bytes));
	syscall(SYS_getppid);
	window(m, private_bytes);
	loop((volatile uint32_t *)(void *)(m + 2048));
	syscall(SYS_getppid);
	memcpy(m + 4096, private_bytes, 1000 + n);
	syscall(SYS_getppid);
	return 0;
}
