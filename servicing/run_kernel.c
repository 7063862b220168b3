/* Fitness of the guest's files, before anything is made.
 *
 * The loader that will place them runs here once, in a sparse memory of the
 * guest's size, so that what is refused later is refused now, with the name of
 * the option to change. Its answer is believed and nothing else is kept. */
#include "servicing/run_kernel.h"

#include "devices/loader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BACKEND_SOFT = 2 };

static const uint64_t gap_start = 3ull << 30;

uint64_t run_low_bytes(const struct run_config *rc)
{
	return rc->backend == BACKEND_SOFT || rc->memory < gap_start ? rc->memory : gap_start;
}

static int refuse(const char *option, const char *value, const char *why, int error)
{
	fprintf(stderr, "holdfast: %s %s: %s\n", option, value, why);
	return error;
}

/* A program on its own: the descriptor is executed, never the path. */
static int check_program(const struct run_config *rc)
{
	Elf64_Ehdr eh;

	if (pread(rc->kernel_fd, &eh, sizeof(eh), 0) != (ssize_t)sizeof(eh) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_machine != EM_X86_64 || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN))
		return refuse("--kernel", rc->kernel, "no x86-64 program; with --backend soft give one "
			      "that is a guest, with --backend kvm a kernel", -ENOEXEC);
	if (faccessat(rc->kernel_fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) < 0)
		return refuse("--kernel", rc->kernel, "may not be executed; chmod +x", -EACCES);
	return 0;
}

/* 0 or an errno. */
static int rehearse(const struct run_config *rc, const struct guestmem *m, int initrd)
{
	const struct loader_files files = { .kernel = rc->kernel_fd, .initrd = initrd };
	const struct rec_guest_load want = { .memory_bytes = m->bytes, .low_bytes = m->low,
					     .vps = rc->vps, .backend = rc->backend };
	struct rec_guest_loaded got;

	loader_load(m, &files, &want, (const uint8_t *)rc->cmdline, (uint32_t)strlen(rc->cmdline),
		    &got);
	return (int)got.status;
}

static int explain(const struct run_config *rc, const struct guestmem *m, int error)
{
	char text[128];

	switch (error) {
	case ENOEXEC:
		return refuse("--kernel", rc->kernel, "neither a bzImage with a 64-bit entry nor an "
			      "x86-64 vmlinux; give one of these", -error);
	case E2BIG:
		return refuse("--cmdline", rc->cmdline, "longer than this kernel takes; shorten it",
			      -error);
	case ENOMEM:
		snprintf(text, sizeof(text), "does not fit into --memory %lluM; give more",
			 (unsigned long long)rc->memory >> 20);
		if (rc->initrd && rehearse(rc, m, -1) == 0)
			return refuse("--initrd", rc->initrd, text, -error);
		return refuse("--kernel", rc->kernel, text, -error);
	default:
		snprintf(text, sizeof(text), "cannot be read (%s); give a file that can", strerror(error));
		return refuse("--kernel", rc->kernel, text, -error);
	}
}

int run_kernel_check(const struct run_config *rc)
{
	struct guestmem m;
	int fd, r;

	if (rc->backend == BACKEND_SOFT)
		return check_program(rc);
	fd = memfd_create("holdfast-rehearsal", MFD_CLOEXEC);
	r = fd < 0 || ftruncate(fd, (off_t)rc->memory) < 0 ? -errno : 0;
	if (!r)
		r = guestmem_map(&m, fd, rc->memory, run_low_bytes(rc));
	if (r) {
		fprintf(stderr, "holdfast: --memory %lluM: %s; give less\n",
			(unsigned long long)rc->memory >> 20, strerror(-r));
	} else {
		guestmem_arm(&m, 1);
		r = rehearse(rc, &m, rc->initrd_fd);
		r = r ? explain(rc, &m, r) : 0;
		guestmem_unmap(&m);
	}
	if (fd >= 0)
		close(fd);
	return r;
}
