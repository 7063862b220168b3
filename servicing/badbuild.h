/* servicing/badbuild.h - builds that are bad on purpose, to show what a
 * replacement does with them. Only in a build with -Dsabotage=true, and only as
 * HOLDFAST_BADBUILD says: KIND[@TURN][,owner], or @FILE with a line of that. The
 * fault shows at that turn of the process; with `owner` only once it serves, so
 * that following it shows nothing. It says on standard error when it begins.
 * Kinds: crash, hang, stuck, leak, wrong, scribble, differ.
 * HOLDFAST_SABOTAGE=rebuild throws the hands away between every two turns. */
#ifndef SERVICING_BADBUILD_H
#define SERVICING_BADBUILD_H

#include "engine/world.h"

struct hands;

#if HOLDFAST_SABOTAGE
/* An event was logged and is about to be stepped (@owner), or a follower has
 * stepped one. */
void badbuild_turn(struct world *w, bool owner);
bool badbuild_forgets(void);
void badbuild_forget(struct hands *h, const struct world *w);
#else
static inline void badbuild_turn(struct world *w, bool owner) { (void)w; (void)owner; }
static inline bool badbuild_forgets(void) { return false; }
static inline void badbuild_forget(struct hands *h, const struct world *w) { (void)h; (void)w; }
#endif

#endif
