/* engine/loop.h - readiness, by libev (the only file that includes <ev.h>).
 *
 * A callback never acts: it notes that a descriptor is readable. The caller
 * drains, bounded, at its own pace. One thread. */
#ifndef ENGINE_LOOP_H
#define ENGINE_LOOP_H

#include <stdbool.h>

struct loop;

/* Called from loop_wait() for each readable descriptor. */
typedef void loop_ready(void *user, int fd);

struct loop *loop_new(loop_ready *ready, void *user);
struct loop *loop_free(struct loop *l);   /* returns NULL */

/* Watches @fd for reading (level-triggered). The descriptor is not consumed.
 * 0 or -ENOMEM. Watching twice is one watch. */
int loop_watch(struct loop *l, int fd);
/* Stops every watch. */
void loop_unwatch_all(struct loop *l);

/* Waits at most @timeout_s seconds (0: looks only) and reports what is ready. */
void loop_wait(struct loop *l, double timeout_s);

#endif
