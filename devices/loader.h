/* devices/loader.h - places a guest's kernel and initrd (protocol I.7).
 *
 * The kernel is a bzImage (entered at its 64-bit entry) or an ELF vmlinux
 * (entered at e_entry). Files come from the operator, by descriptor, and are
 * checked like any other input; nothing is opened by path. */
#ifndef DEVICES_LOADER_H
#define DEVICES_LOADER_H

#include "devices/guestmem.h"
#include "statemachines/records.h"

struct loader_files {
	int kernel;
	int initrd;     /* negative: none */
};

/* Loads into @m, which must be armed, as @want says. The result goes to @ret:
 * status 0, or an errno: ENOEXEC (no kernel we can enter), ENOMEM (kernel or
 * initrd do not fit into RAM), E2BIG (command line), EIO (file ends early). */
void loader_load(const struct guestmem *m, const struct loader_files *files,
		 const struct rec_guest_load *want, const uint8_t *cmdline, uint32_t cmdline_bytes,
		 struct rec_guest_loaded *ret);

#endif
