/* fuzz/program.h - the program's tables at the highest level this build serves. */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include "engine/world.h"

extern const struct registry fuzz_program;

#endif
