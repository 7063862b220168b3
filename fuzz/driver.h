/* fuzz/driver.h - what a fuzz target gives to the plain driver. */
#ifndef FUZZ_DRIVER_H
#define FUZZ_DRIVER_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry points. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Prints the target's figures after @seconds; the driver calls it once, with @detail
 * when "detail" was asked for. */
void fuzz_report(double seconds, int detail);

#endif
