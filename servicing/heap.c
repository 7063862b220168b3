/* How much is allocated. Everything that a paravisor needs is allocated before
 * it follows or serves, so growth is a leak. */
#include "servicing/paravisor.h"

#include <malloc.h>

size_t heap_bytes(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}
