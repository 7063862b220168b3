/* fuzz/library.h - real states to begin with, from a file of packed worlds.
 *
 * The file: LIBRARY_MAGIC, then for each state its length (u32, little-endian)
 * and its bytes, as codec_pack() made them. fuzz/states writes it. */
#ifndef FUZZ_LIBRARY_H
#define FUZZ_LIBRARY_H

#include "engine/world.h"

#define LIBRARY_MAGIC UINT64_C(0x5345544154534648) /* "HFSTATES" */
enum { LIBRARY_STATES = 1024 };

/* Reads the whole file; NULL: there is none. States that this build cannot load
 * are left out, the first with a word on stderr. Ends the process when nothing is
 * left, or the file is no library. */
void library_load(const char *path);

unsigned library_count(void);

/* State @n (modulo their number) into @w, which was just reset. */
void library_restore(unsigned n, struct world *w);

#endif
