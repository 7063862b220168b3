/* sim/programs.h - the programs of the simulated machine: shared objects.
 *
 * Each is loaded several times, every time from a copy of its own, so that two
 * processes of one program share no variable; what a process has written in
 * its object's data is made as it was when the next one starts there. */
#ifndef SIM_PROGRAMS_H
#define SIM_PROGRAMS_H

#include "sim/kernel.h"

struct registry;
struct slot_codec;
struct world;

/* What such an object exports as `sim_program`. */
struct sim_program {
	int (*main)(int argc, char **argv);
	/* A paravisor's: */
	const struct registry *registry;
	const struct slot_codec *codec;
	const char *variant;
	/* Makes what every process would make again, and always the same; NULL: nothing. */
	void (*prepare)(void);
};

enum program { PROGRAM_A, PROGRAM_B, PROGRAM_LOAD, PROGRAM_HOSTILE_GUEST,
	       PROGRAM_ARCHIVE_A, PROGRAM_ARCHIVE_B, PROGRAMS };

/* Loads what lies beside this executable. 0, or 1 after telling what is missing. */
int programs_load(void);
const struct sim_program *program_tables(enum program p);
/* Starts @argv as a fiber of @p. Copies what it is given. */
void program_start(struct process *p, enum program program, char *const *argv);

#endif
