/* Linked into the archiver programs: `holdfast archive`, under its name. */
#include "servicing/commands.h"
#include "sim/programs.h"

extern __attribute__((visibility("default"))) const struct sim_program sim_program;
__attribute__((visibility("default"))) const struct sim_program sim_program = {
	.main = cmd_archive,
};
