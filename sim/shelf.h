/* sim/shelf.h - the archiver: its process, and what it finds in the place of its disk.
 *
 * `holdfast archive` runs as it is (servicing/cmd_archive.c, verifier.c); its calls
 * of persist/archive.h, of the control socket and of the sandbox end here. It is
 * started, stopped, killed and told to end as the plan says, in some of the runs. */
#ifndef SIM_SHELF_H
#define SIM_SHELF_H

#include "engine/custody.h"
#include "sim/kernel.h"

/* The partition's fiber, once it has custody. */
void shelf_start(const struct custody *c);
/* @events have been logged: is there something to do? */
void shelf_tick(uint64_t events);
/* The VM has ended: an archiver that lives takes what there is and ends by itself. */
void shelf_end(void);
/* An archiver ends, with @status, or by @signal. */
void shelf_archiver_ends(const struct process *p, int status, int signal);

#endif
