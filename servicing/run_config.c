/* Options and files of `holdfast run`. Every mistake is one line that says
 * what, where and what to do; nothing is left behind. */
#include "servicing/run_config.h"

#include "engine/fact.h"
#include "engine/partition/wire.h"
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/run_kernel.h"
#include "statemachines/records.h"
#include "statemachines/storvsp.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

static const uint64_t memory_max = 256ull << 30;

int run_config_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGkmg";
	unsigned long long v;
	unsigned shift = 0;
	const char *unit;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || !isdigit((unsigned char)text[0]))
		return -EINVAL;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * ((unsigned)(unit - units) % 3 + 1);
		end++;
	}
	if (*end || v > UINT64_MAX >> shift)
		return -EINVAL;
	*ret = v << shift;
	return 0;
}

static int add_disk(struct run_config *rc, char *argument)
{
	if (rc->n_disks == LIMIT_DISKS) {
		fprintf(stderr, "holdfast: --disk %s: one more than the %d that a VM can have; leave "
				"some out\n", argument, LIMIT_DISKS);
		return 2;
	}
	return disk_option_parse("--disk", argument, &rc->disk[rc->n_disks++].option);
}

static uint64_t host_memory(void)
{
	struct sysinfo s;

	if (sysinfo(&s) < 0)
		return UINT64_MAX;
	return (uint64_t)(s.totalram + s.totalswap) * s.mem_unit;
}

static int check_figures(const struct run_config *rc)
{
	if (rc->memory < 16ull << 20 || rc->memory > memory_max || rc->memory % (2ull << 20)) {
		fprintf(stderr, "holdfast: --memory %llu: from 16M to 256G, a multiple of 2M\n",
			(unsigned long long)rc->memory);
		return 2;
	}
	if (rc->memory > host_memory()) {
		fprintf(stderr, "holdfast: --memory %lluM: this host has %lluM; give the guest less\n",
			(unsigned long long)rc->memory >> 20,
			(unsigned long long)host_memory() >> 20);
		return 2;
	}
	if (strlen(rc->cmdline) > RUN_CMDLINE_MAX) {
		fprintf(stderr, "holdfast: --cmdline: %zu bytes, and %d at most; shorten it\n",
			strlen(rc->cmdline), RUN_CMDLINE_MAX);
		return 2;
	}
	return 0;
}

static int set_backend(struct run_config *rc, const char *name)
{
	if (strcmp(name, "kvm") == 0)
		rc->backend = 1;
	else if (strcmp(name, "soft") == 0)
		rc->backend = 2;
	else {
		fprintf(stderr, "holdfast: --backend %s: there are kvm and soft\n", name);
		return 2;
	}
	return 0;
}

static int set_state(struct run_config *rc, const char *dir)
{
	if (strlen(dir) + sizeof("/control") > sizeof(rc->state)) {
		fprintf(stderr, "holdfast: --state %s: path too long for a socket; use a shorter one\n",
			dir);
		return 2;
	}
	snprintf(rc->state, sizeof(rc->state), "%s", dir);
	return 0;
}

static int set_memory(struct run_config *rc, const char *text)
{
	if (run_config_size(text, &rc->memory) == 0)
		return 0;
	fprintf(stderr, "holdfast: --memory %s: not a size; write 512M or 4G\n", text);
	return 2;
}

static int set_vps(struct run_config *rc, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)text[0]) || *end || n < 1 || n > LIMIT_VPS) {
		fprintf(stderr, "holdfast: --vps %s: a number from 1 to %d\n", text, LIMIT_VPS);
		return 2;
	}
	rc->vps = (unsigned)n;
	return 0;
}

static int set_watchdog(struct run_config *rc, const char *text)
{
	unsigned long long n;
	int r = command_number("run", "watchdog", text, RUN_WATCHDOG_MAX, &n);

	if (r == 0)
		rc->watchdog_s = (unsigned)n;
	return r;
}

/* As the paravisor reads it: 165, 0xa5. */
static int set_fill(struct run_config *rc, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 0);

	if (!isdigit((unsigned char)text[0]) || *end || n > UINT8_MAX) {
		fprintf(stderr, "holdfast: --paravisor-fill %s: a number from 0 to 255\n", text);
		return 2;
	}
	rc->fill = text;
	return 0;
}

static int take_option(struct run_config *rc, int option, char *value)
{
	switch (option) {
	case 'k':
		rc->kernel = value;
		return 0;
	case 'i':
		rc->initrd = value;
		return 0;
	case 'c':
		rc->cmdline = value;
		return 0;
	case 'm':
		return set_memory(rc, value);
	case 'v':
		return set_vps(rc, value);
	case 'd':
		return add_disk(rc, value);
	case 's':
		return set_state(rc, value);
	case 'b':
		return set_backend(rc, value);
	case 'H':
		rc->hugetlb = true;
		return 0;
	case 'F':
		rc->force_kvm = true;
		return 0;
	case 'y':
		rc->standby = true;
		return 0;
	case 'w':
		return set_watchdog(rc, value);
	case 'p':
		return set_fill(rc, value);
	default:
		return 2;
	}
}

static bool lun_taken(const struct run_config *rc, unsigned n, unsigned controller, unsigned lun)
{
	for (unsigned i = 0; i < n; i++)
		if (rc->disk[i].option.controller == controller && rc->disk[i].option.lun == lun)
			return true;
	return false;
}

/* Whoever asked for a LUN has it; the others get the lowest free ones, in their
 * order. */
static int place_disks(struct run_config *rc)
{
	for (unsigned n = 0; n < rc->n_disks; n++) {
		struct disk_option *o = &rc->disk[n].option;

		if (o->lun == LUN_ANY || !lun_taken(rc, n, o->controller, o->lun))
			continue;
		fprintf(stderr, "holdfast: --disk %s: LUN %u of controller %u is given twice; give "
				"each once\n", o->path, o->lun, o->controller);
		return 2;
	}
	for (unsigned n = 0; n < rc->n_disks; n++) {
		struct disk_option *o = &rc->disk[n].option;
		unsigned lun = 0;

		if (o->lun != LUN_ANY)
			continue;
		while (lun_taken(rc, rc->n_disks, o->controller, lun))
			lun++;
		o->lun = lun;
	}
	return 0;
}

int run_config_parse(struct run_config *rc, int argc, char **argv)
{
	int option, r;

	*rc = (struct run_config){ .cmdline = "", .memory = 512ull << 20, .vps = 1,
				   .watchdog_s = RUN_WATCHDOG_S, .backend = 1,
				   .kernel_fd = -1, .initrd_fd = -1, .exe_fd = -1,
				   .config_fd = -1 };
	snprintf(rc->state, sizeof(rc->state), "/run/holdfast-%d", (int)getpid());
	while ((option = command_option(argc, argv)) != -1) {
		r = take_option(rc, option, optarg);
		if (r)
			return r;
	}
	if (optind != argc) {
		fprintf(stderr, "holdfast: run: '%s' is not an option; `holdfast help run` lists them\n",
			argv[optind]);
		return 2;
	}
	snprintf(rc->name, sizeof(rc->name), "%.63s", rc->state);
	r = check_figures(rc);
	return r ? r : place_disks(rc);
}

static int add_fd(struct run_config *rc, const char *name, int fd)
{
	fact(rc->n_fds < RUN_FDS_MAX);
	snprintf(rc->fds[rc->n_fds].name, sizeof(rc->fds[0].name), "%s", name);
	rc->fds[rc->n_fds++].fd = fd;
	return fd;
}

static int open_file(const char *option, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int e = errno;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		return fd;
	fprintf(stderr, "holdfast: %s %s: %s; give a readable file\n", option, path,
		fd < 0 ? strerror(e) : "not a regular file, or empty");
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -e : -EINVAL;
}

/* Another --disk that is the same file, or -1. */
static int same_file(const struct run_config *rc, unsigned n, const struct stat *st)
{
	for (unsigned i = 0; i < n; i++) {
		const struct stat *other = &rc->disk[i].st;

		if (S_ISBLK(st->st_mode) && S_ISBLK(other->st_mode)
			    ? other->st_rdev == st->st_rdev
			    : other->st_dev == st->st_dev && other->st_ino == st->st_ino)
			return (int)i;
	}
	return -1;
}

static int open_disk(struct run_config *rc, unsigned n, struct rec_disk_config *ret)
{
	const struct disk_option *o = &rc->disk[n].option;
	char name[24];
	int fd, twin, r;

	if (o->path && stat(o->path, &rc->disk[n].st) == 0) {
		twin = same_file(rc, n, &rc->disk[n].st);
		if (twin >= 0) {
			fprintf(stderr, "holdfast: --disk %s: the same file as --disk %.160s; give "
					"each disk once\n", o->path, rc->disk[twin].option.path);
			return -EBUSY;
		}
	}
	r = disk_option_open("--disk", o, ret, &fd);
	if (r < 0 || fd < 0)
		return r;
	snprintf(name, sizeof(name), "disk.%u", n);
	add_fd(rc, name, fd);
	ret->fd = (uint16_t)(rc->n_fds - 1);
	return 0;
}

static int open_disks(struct run_config *rc, struct wire_notice *notices)
{
	for (unsigned n = 0; n < rc->n_disks; n++) {
		const char *path = rc->disk[n].option.path;
		struct wire_notice *out = &notices[n];
		struct rec_disk_config dc;
		int r = open_disk(rc, n, &dc);

		if (r < 0)
			return r;
		*out = (struct wire_notice){ .op = OP_DISK, .arg = n };
		memcpy(out->data, &dc, sizeof(dc));
		snprintf((char *)out->data + sizeof(dc), sizeof(out->data) - sizeof(dc), "%s",
			 path ? path : "-");
		out->bytes = (uint32_t)(sizeof(dc) + strnlen((char *)out->data + sizeof(dc),
							     sizeof(out->data) - sizeof(dc) - 1));
	}
	return 0;
}

static int write_config(struct run_config *rc, struct wire_notice *notices, unsigned n)
{
	size_t bytes = n * sizeof(*notices);

	rc->config_fd = memfd_create("holdfast-config", MFD_CLOEXEC);
	if (rc->config_fd < 0 || pwrite(rc->config_fd, notices, bytes, 0) != (ssize_t)bytes) {
		fprintf(stderr, "holdfast: no memory for the configuration (%s)\n", strerror(errno));
		return -ENOMEM;
	}
	return 0;
}

static void config_notice(const struct run_config *rc, struct wire_notice *out)
{
	struct rec_config c = {
		.memory_bytes = rc->memory,
		.low_bytes = run_low_bytes(rc),
		.vps = rc->vps, .backend = rc->backend,
	};

	*out = (struct wire_notice){ .op = OP_CONFIG };
	memcpy(out->data, &c, sizeof(c));
	memcpy(out->data + sizeof(c), rc->cmdline, strlen(rc->cmdline));
	out->bytes = (uint32_t)(sizeof(c) + strlen(rc->cmdline));
}

/* The build that serves first. */
static int open_self(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int e = errno;

	if (fd >= 0)
		return fd;
	fprintf(stderr, "holdfast: /proc/self/exe: %s; let this user read the program, and mount "
			"/proc\n", strerror(e));
	return -e;
}

int run_config_open(struct run_config *rc)
{
	static struct wire_notice notices[LIMIT_DISKS + 2];
	int r;

	rc->kernel_fd = open_file("--kernel", rc->kernel);
	if (rc->kernel_fd < 0)
		return rc->kernel_fd;
	add_fd(rc, "kernel", rc->kernel_fd);
	if (rc->initrd) {
		rc->initrd_fd = open_file("--initrd", rc->initrd);
		if (rc->initrd_fd < 0)
			return rc->initrd_fd;
		add_fd(rc, "initrd", rc->initrd_fd);
	}
	r = run_kernel_check(rc);
	if (r < 0)
		return r;
	rc->exe_fd = open_self();
	if (rc->exe_fd < 0)
		return rc->exe_fd;
	r = open_disks(rc, notices + 1);
	if (r < 0)
		return r;
	config_notice(rc, &notices[0]);
	notices[rc->n_disks + 1] = (struct wire_notice){ .op = OP_START };
	return write_config(rc, notices, rc->n_disks + 2);
}

void run_config_close(struct run_config *rc)
{
	for (unsigned i = 0; i < rc->n_fds; i++)
		close(rc->fds[i].fd);
	rc->n_fds = 0;
	close(rc->exe_fd);
	close(rc->config_fd);
}
