/* Linked into each guest program: its main, under another name (meson.build). */
#include "sim/programs.h"

int guest_main(int argc, char **argv);

extern __attribute__((visibility("default"))) const struct sim_program sim_program;
__attribute__((visibility("default"))) const struct sim_program sim_program = {
	.main = guest_main,
};
