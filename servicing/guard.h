/* servicing/guard.h - running turns of a log that may hold anything.
 *
 * A machine's facts hold for every log that an owner wrote. A log from a file
 * may have been changed so that all its checksums hold; a fact() that fails
 * then is a finding about the file, not the end of the tool. One guard at a
 * time in a process; the world that was being stepped is not to be used again,
 * but reset. Under a debugger the abort is seen where it happens. */
#ifndef SERVICING_GUARD_H
#define SERVICING_GUARD_H

enum { GUARD_E_FACT = -1000 };

/* Returns what @fn returns, or GUARD_E_FACT; fact_failed() has told which. */
int guard_run(int (*fn)(void *user), void *user);

#endif
