/* servicing/run_config.h - what `holdfast run` was asked for: parsed, opened,
 * checked, and turned into the first notices of the VM's inbox. */
#ifndef SERVICING_RUN_CONFIG_H
#define SERVICING_RUN_CONFIG_H

#include "engine/limits.h"
#include "servicing/disk_option.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { RUN_FDS_MAX = LIMIT_DISKS + 8, RUN_CMDLINE_MAX = 900,
       RUN_WATCHDOG_S = 2, RUN_WATCHDOG_MAX = 3600 };

struct run_config {
	const char *kernel, *initrd, *cmdline;
	const char *fill;                   /* for tests: byte that paravisors fill their memory with */
	char state[108];
	char name[64];
	uint64_t memory;
	unsigned vps, backend;              /* 1 kvm, 2 soft */
	unsigned watchdog_s;                /* an owner that stands still so long is killed; 0 never */
	bool hugetlb, force_kvm, standby;
	struct {
		struct disk_option option;
		struct stat st;
	} disk[LIMIT_DISKS];
	unsigned n_disks;
	int kernel_fd, initrd_fd, exe_fd, config_fd; /* after run_config_open() */
	struct { char name[24]; int fd; } fds[RUN_FDS_MAX];
	unsigned n_fds;
};

/* 0, or the exit status of wrong usage after printing why. */
int run_config_parse(struct run_config *rc, int argc, char **argv);

/* A size as people write it: 512M, 4G. 0 or -EINVAL. */
int run_config_size(const char *text, uint64_t *ret);

/* Opens and checks kernel, initrd, disks; writes the configuration into a
 * memfd. Prints one line and returns a negative errno when something is unfit;
 * what was opened is closed by the end of the process. */
int run_config_open(struct run_config *rc);
void run_config_close(struct run_config *rc);

#endif
