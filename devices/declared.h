/* devices/declared.h - the page on which the owner tells the partition what it
 * must know of machine state: SynIC registers and doorbells (DESIGN §2).
 *
 * One whole copy lies here, in private memory; it is derived from machine state
 * and changed by effects. A commit writes it into the copy of the page that is
 * not valid, then stores the commit word. */
#ifndef DEVICES_DECLARED_H
#define DEVICES_DECLARED_H

#include "engine/custody.h"

#include <stdbool.h>

struct declared {
	struct wire_declared_copy now;
	bool dirty;
};

/* A row changed in turn @seq. The generation never goes back. */
void declared_touch(struct declared *d, uint64_t seq);
/* If anything changed: publishes it; true: the partition has to be kicked. */
bool declared_commit(struct declared *d, struct wire_declared *page);

#endif
