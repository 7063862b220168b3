/* servicing/replay_tape.h - what `holdfast replay` does over a tape.
 *
 * Each opens @path, prints its own errors and returns the exit status. */
#ifndef SERVICING_REPLAY_TAPE_H
#define SERVICING_REPLAY_TAPE_H

#include <stdint.h>

int replay_step(const char *path);
/* States behind two events, machine.field by machine.field. */
int replay_diff(const char *path, uint64_t a, uint64_t b);
/* SIGTRAP inside the actions of event @seq. */
int replay_break(const char *path, uint64_t seq);
/* Goes to @n random places; one line of JSON with the times in ms. */
int replay_seek_bench(const char *path, uint64_t n);

#endif
