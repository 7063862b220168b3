/* A simulated paravisor shares its heap with all others: what it holds itself is
 * not told. */
#include "servicing/paravisor.h"

size_t heap_bytes(void)
{
	return 0;
}
