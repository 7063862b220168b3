/* engine/vote.h - the predecessor's vote on what the new owner is about to do.
 *
 * After a planned flip the old owner follows. While the vote is open the new
 * owner appends each turn's effects as LOG_PROPOSE, and confirms and performs
 * them only when the predecessor, which has stepped the same events, agrees. It
 * runs at most one batch ahead of the vote. One word in custody, moved by
 * compare-exchange only: either the vote is closed first, or the turn is
 * refused first. */
#ifndef ENGINE_VOTE_H
#define ENGINE_VOTE_H

#include "engine/custody.h"

/* ---- predecessor ---- */
/* Before the flip: it agrees with all up to @seq, and promises to vote. */
void vote_open(struct custody *c, uint64_t seq);
/* Agrees up to @seq. */
void vote_agree(struct custody *c, uint64_t seq);
/* Refuses turn @seq: nothing of it has gone out, nor ever will. False: the vote
 * is closed, so it may have. */
bool vote_refuse(struct custody *c, uint64_t seq);

/* ---- owner ---- */
enum { VOTE_AGREED = 0, VOTE_E_CLOSED = 1, VOTE_E_REFUSED = 2 };

bool vote_is_open(const struct custody *c);
/* Tells the predecessor that something was proposed, and waits until it agrees
 * up to @seq. One that is dead, or slower than @timeout_ns, votes no more:
 * VOTE_E_CLOSED. */
int vote_await(struct custody *c, uint64_t seq, uint64_t timeout_ns);

/* ---- either ---- */
/* Nobody votes any more. True: closed. False: it was refused before that. */
bool vote_close(struct custody *c);

#endif
