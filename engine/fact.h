/* engine/fact.h - assertions that stay on in every build, NDEBUG or not.
 *
 * fact(x) states what the program itself guarantees. It is never applied to
 * guest memory, saved bytes, host replies or anything else that comes from
 * outside: those are checked, refused and reported. A fact that does not hold
 * ends the process with SIGABRT; the partition then starts the next owner. */
#ifndef ENGINE_FACT_H
#define ENGINE_FACT_H

#include <stddef.h>
#include <stdint.h>

_Noreturn void fact_failed(const char *expression, const char *file, int line);

#define fact(x) ((x) ? (void)0 : fact_failed(#x, __FILE__, __LINE__))

#define ARRAY_LEN(a) (sizeof(a) / sizeof(*(a)))
#define ALIGN_UP(x, to) (((x) + (to) - 1) & ~((to) - 1))

#endif
