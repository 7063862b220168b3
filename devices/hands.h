/* devices/hands.h - the one way from machines to the world and back.
 *
 * The hands perform effects and gather events. They hold no truth: everything
 * in them is derived from machine state and custody by hands_rebuild(), at any
 * time between two turns (docs/HANDS.md). One lane, one thread. Nothing is
 * allocated after hands_new().
 *
 * A batch of the lane (engine/lane.h): hands_collect() offers events, the lane
 * commits the append, hands_taken() publishes the sources' heads, the lane
 * steps, hands_perform() for each effect, hands_flush() once, hands_answers(). */
#ifndef DEVICES_HANDS_H
#define DEVICES_HANDS_H

#include "engine/custody.h"
#include "engine/lane.h"
#include "engine/world.h"

struct hands;

/* @c and @r are borrowed and must outlive the hands. NULL: no memory, or rows
 * of custody are missing ("ram", "uring.0", "kick", "part", "cq.0"). */
struct hands *hands_new(struct custody *c, const struct registry *r);
struct hands *hands_free(struct hands *h);   /* returns NULL */

/* From now on this process owns @epoch: it may write guest memory and custody
 * and submit I/O. Without it every effect that would is refused (fact). */
void hands_arm(struct hands *h, uint32_t epoch);
void hands_disarm(struct hands *h);

/* Throws everything away and derives it from @w, which is kept as reference
 * until the next call. Returns 0. Every channel is looked at again. */
int hands_rebuild(struct hands *h, const struct world *w);

/* A follower's: after hands_rebuild(), maps the pages that a take-over will
 * touch, so that it has no faults. Changes nothing; cheap when done before.
 * @soon: the guest may be handed to it any moment: its memory is mapped writable
 * from now on, though every write is refused until hands_arm(). */
void hands_warm(struct hands *h, bool soon);

/* After the fence, armed and rebuilt, before any effect: reconciles what a dead
 * or former owner left in custody: the io_uring, queue heads, sources' heads,
 * ring headers, the declared-state page. 0 or a negative errno. */
int hands_take_over(struct hands *h, const struct world *w);

/* After redo: the next hands_collect() looks at every source, whether somebody
 * rang or not. */
void hands_look_everywhere(struct hands *h);

/* After a take-over, behind its first batch: every flag set, every VP and the
 * partition signalled, without looking first. */
void hands_kick_all(struct hands *h);

/* One effect. @redo: only what its target says was not applied. */
void hands_perform(struct hands *h, const struct effect *e, bool redo);

/* The batch's effects were all performed: publish, submit, signal, kick. */
void hands_flush(struct hands *h);

/* Offers at most @max events to @l by lane_offer(); returns how many. Sources
 * in fixed order: mailboxes, posted messages, replies, inbox, declared state,
 * console, timers, completions, rings (in turns; a ring is read only while
 * requests and blobs have room). */
unsigned hands_collect(struct hands *h, const struct world *w, struct lane *l, unsigned max);

/* The append of all collected events is committed. */
void hands_taken(struct hands *h);

/* Offers the answers to the effects performed since the last call. */
void hands_answers(struct hands *h, struct lane *l);

/* Descriptors to watch for reading; true once after the set has changed. */
bool hands_fds_changed(struct hands *h);
unsigned hands_fds(const struct hands *h, int *fds, unsigned max);
/* @fd became readable: it is cleared and its source drained by the next collect. */
void hands_readable(struct hands *h, int fd);

/* Seconds the loop may sleep when the last collect found nothing. */
double hands_patience(const struct hands *h);

/* Requests submitted by the owner of @epoch that have no completion taken. */
unsigned hands_requests_of(const struct hands *h, uint32_t epoch);

/* Makes the owner turn its loop. Any process. */
void hands_kick_owner(const struct hands *h);

/* Makes the partition look at custody. Any process. */
void hands_kick_partition(const struct hands *h);

#endif
