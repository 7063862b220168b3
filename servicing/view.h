/* servicing/view.h - looking at a running VM without touching it.
 *
 * A view maps custody read-only, loads the newest checkpoint and follows the
 * log in a world of its own, so that every machine's state can be shown while
 * the owner works. Private to one thread. */
#ifndef SERVICING_VIEW_H
#define SERVICING_VIEW_H

#include "engine/custody.h"
#include "engine/follow.h"

struct view {
	struct custody c;
	struct world *world;
	struct follower f;
};

/* Attaches to the VM in @state_dir and follows to the end of its log. Prints
 * why not. 0 or -errno. */
int view_open(const char *state_dir, struct view *ret);
/* Follows on to the end of the log; begins again when it was lapped. */
int view_update(struct view *v);
void view_close(struct view *v);

/* Does somebody answer at @state_dir/control? Prints nothing. */
bool view_alive(const char *state_dir);

/* True when @path names something that is there. */
bool view_exists(const char *dir, const char *name);

#endif
