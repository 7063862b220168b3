/* Options and files of `holdfast run`. Every mistake is one line that says
 * what, where and what to do; nothing is left behind. */
#include "servicing/run_config.h"

#include "engine/fact.h"
#include "engine/partition/wire.h"
#include "servicing/commands.h"
#include "servicing/options.h"
#include "servicing/run_kernel.h"
#include "statemachines/records.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static const uint64_t memory_max = 256ull << 30;

static int parse_size(const char *text, uint64_t *ret)
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
	char *comma = strchr(argument, ',');

	if (rc->n_disks == LIMIT_DISKS) {
		fprintf(stderr, "holdfast: more than %d disks; one controller has %d LUNs\n",
			LIMIT_DISKS, LIMIT_DISKS);
		return 2;
	}
	rc->disk[rc->n_disks].path = argument;
	rc->disk[rc->n_disks].block_bytes = 512;
	while (comma) {
		char *option = comma + 1;

		*comma = '\0';
		comma = strchr(option, ',');
		if (comma)
			*comma = '\0';
		if (strcmp(option, "ro") == 0) {
			rc->disk[rc->n_disks].read_only = true;
		} else if (strcmp(option, "4k") == 0) {
			rc->disk[rc->n_disks].block_bytes = 4096;
		} else {
			fprintf(stderr, "holdfast: --disk %s: no option '%s'; there are ro and 4k\n",
				argument, option);
			return 2;
		}
	}
	rc->n_disks++;
	return 0;
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
		fprintf(stderr, "holdfast: --cmdline: longer than %d bytes\n", RUN_CMDLINE_MAX);
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
	if (parse_size(text, &rc->memory) == 0)
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
	case 'p':
		rc->fill = value;
		return 0;
	default:
		return 2;
	}
}

int run_config_parse(struct run_config *rc, int argc, char **argv)
{
	int option, r;

	*rc = (struct run_config){ .cmdline = "", .memory = 512ull << 20, .vps = 1, .backend = 1,
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
	return check_figures(rc);
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

static int disk_bytes(int fd, const struct stat *st, uint64_t *ret)
{
	if (S_ISBLK(st->st_mode))
		return ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
	*ret = (uint64_t)st->st_size;
	return S_ISREG(st->st_mode) ? 0 : -EINVAL;
}

/* O_DIRECT where the file system has it. */
static int open_disk(const char *path, bool read_only, bool *ret_buffered)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	int fd = open(path, flags | O_DIRECT);

	*ret_buffered = false;
	if (fd < 0 && errno == EINVAL) {
		fd = open(path, flags);
		*ret_buffered = true;
	}
	return fd < 0 ? -errno : fd;
}

static int refuse(const char *path, const char *why, int error)
{
	fprintf(stderr, "holdfast: --disk %s: %s\n", path, why);
	return error;
}

static int refuse_open(const char *path, int error)
{
	const char *cure = "give a regular file or a block device";
	char text[160];

	if (error == -ENOENT)
		cure = "make it first (truncate -s 10G)";
	else if (error == -EACCES || error == -EPERM || error == -EROFS)
		cure = "let this user read and write it, or add ,ro";
	snprintf(text, sizeof(text), "%s; %s", strerror(-error), cure);
	return refuse(path, text, error);
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

static int check_disk(struct run_config *rc, unsigned n, int fd, uint64_t *ret_bytes)
{
	const char *path = rc->disk[n].path;
	struct stat *st = &rc->disk[n].st;
	char text[256];
	int twin;

	if (fstat(fd, st) < 0 || disk_bytes(fd, st, ret_bytes) < 0)
		return refuse(path, "neither a regular file nor a block device; give one of these",
			      -EINVAL);
	if (*ret_bytes == 0 || *ret_bytes % rc->disk[n].block_bytes) {
		snprintf(text, sizeof(text), "%llu bytes, not a multiple of the sector of %u; resize "
			 "it (truncate -s)", (unsigned long long)*ret_bytes,
			 rc->disk[n].block_bytes);
		return refuse(path, *ret_bytes ? text : "empty; resize it (truncate -s)", -EINVAL);
	}
	twin = same_file(rc, n, st);
	if (twin >= 0) {
		snprintf(text, sizeof(text), "the same file as --disk %.160s; give each disk once",
			 rc->disk[twin].path);
		return refuse(path, text, -EBUSY);
	}
	if (flock(fd, (rc->disk[n].read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return refuse(path, "in use by another VM; end that one, or give another disk",
			      -EBUSY);
	return 0;
}

static int open_disks(struct run_config *rc, struct wire_notice *notices)
{
	for (unsigned n = 0; n < rc->n_disks; n++) {
		const char *path = rc->disk[n].path;
		struct wire_notice *out = &notices[n];
		struct rec_disk_config dc = { 0 };
		bool buffered;
		char name[24];
		uint64_t bytes;
		int r, fd = open_disk(path, rc->disk[n].read_only, &buffered);

		if (fd < 0)
			return refuse_open(path, fd);
		r = check_disk(rc, n, fd, &bytes);
		if (r < 0)
			return r;
		snprintf(name, sizeof(name), "disk.%u", n);
		add_fd(rc, name, fd);
		dc.blocks = bytes / rc->disk[n].block_bytes;
		dc.block_bytes = rc->disk[n].block_bytes;
		dc.flags = (rc->disk[n].read_only ? 1u : 0) | (buffered ? 2u : 0) |
			   (S_ISBLK(rc->disk[n].st.st_mode) ? 4u : 0);
		dc.fd = (uint16_t)(rc->n_fds - 1);
		dc.lun = (uint16_t)n;
		dc.identity[0] = XXH3_64bits_withSeed(path, strlen(path), 1);
		dc.identity[1] = XXH3_64bits_withSeed(path, strlen(path), 2);
		*out = (struct wire_notice){ .op = OP_DISK, .arg = n };
		memcpy(out->data, &dc, sizeof(dc));
		snprintf((char *)out->data + sizeof(dc), sizeof(out->data) - sizeof(dc), "%s", path);
		out->bytes = (uint32_t)(sizeof(dc) +
					strnlen(path, sizeof(out->data) - sizeof(dc) - 1));
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
	rc->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (rc->exe_fd < 0)
		return -errno;
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
