/* servicing/expect.h - differences between builds that were named beforehand.
 *
 * A difference is machine.effect.field, as `holdfast service` takes it:
 * scsi.GUEST_WRITE.tail. The names travel in the owner's OP_SERVICE notice. */
#ifndef SERVICING_EXPECT_H
#define SERVICING_EXPECT_H

#include "engine/custody.h"
#include "engine/follow.h"

struct expect {
	char names[1024];        /* NUL-terminated each, an empty one ends the list */
	char text[160];          /* the last difference that was not expected */
	uint64_t passed;
};

/* Names from the OP_SERVICE notice in the inbox that brought the executable of
 * row @row; none when there is none. */
void expect_load(struct expect *e, const struct custody *c, uint32_t row);

/* As follow_differs; @user: struct expect. */
bool expect_differs(void *user, const struct divergence *d);

#endif
