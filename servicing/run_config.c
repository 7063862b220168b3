/* Options and files of `holdfast run`. Every mistake is one line that says
 * what, where and what to do; nothing is left behind. */
#include "servicing/run_config.h"

#include "engine/fact.h"
#include "engine/partition/wire.h"
#include "servicing/commands.h"
#include "statemachines/records.h"

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
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static const uint64_t gap_start = 3ull << 30;   /* RAM above goes to 4 GiB */
static const uint64_t memory_max = 256ull << 30;

static int parse_size(const char *text, uint64_t *ret)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text)
		return -EINVAL;
	switch (*end) {
	case 'G': case 'g':
		v <<= 10;
		__attribute__((fallthrough));
	case 'M': case 'm':
		v <<= 10;
		__attribute__((fallthrough));
	case 'K': case 'k':
		v <<= 10;
		end++;
		break;
	default:
		break;
	}
	if (*end)
		return -EINVAL;
	*ret = v;
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

static int check_figures(const struct run_config *rc)
{
	if (!rc->kernel) {
		fprintf(stderr, "holdfast: --kernel is missing; give a bzImage or vmlinux (soft: a "
				"guest program)\n");
		return 2;
	}
	if (rc->vps < 1 || rc->vps > LIMIT_VPS) {
		fprintf(stderr, "holdfast: --vps %u: from 1 to %d\n", rc->vps, LIMIT_VPS);
		return 2;
	}
	if (rc->memory < 16ull << 20 || rc->memory > memory_max || rc->memory % (2ull << 20)) {
		fprintf(stderr, "holdfast: --memory %llu: from 16M to 256G, a multiple of 2M\n",
			(unsigned long long)rc->memory);
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
	if (strlen(dir) >= sizeof(rc->state)) {
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
		rc->vps = (unsigned)strtoul(value, NULL, 10);
		return 0;
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
		return command_usage("run");
	}
}

int run_config_parse(struct run_config *rc, int argc, char **argv)
{
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "cmdline", required_argument, NULL, 'c' },
		{ "memory", required_argument, NULL, 'm' },
		{ "vps", required_argument, NULL, 'v' },
		{ "disk", required_argument, NULL, 'd' },
		{ "state", required_argument, NULL, 's' },
		{ "backend", required_argument, NULL, 'b' },
		{ "hugetlb", no_argument, NULL, 'H' },
		{ "force-kvm", no_argument, NULL, 'F' },
		{ "paravisor-fill", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, r;

	*rc = (struct run_config){ .cmdline = "", .memory = 512ull << 20, .vps = 1, .backend = 1,
				   .kernel_fd = -1, .exe_fd = -1, .config_fd = -1 };
	snprintf(rc->state, sizeof(rc->state), "/run/holdfast-%d", (int)getpid());
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		r = take_option(rc, option, optarg);
		if (r)
			return r;
	}
	if (optind != argc) {
		fprintf(stderr, "holdfast: run: '%s' is not an option\n", argv[optind]);
		return command_usage("run");
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
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int e = errno;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		return fd;
	fprintf(stderr, "holdfast: %s %s: %s; give a readable file\n", option, path,
		fd < 0 ? strerror(e) : "not a regular file, or empty");
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
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
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

static int check_disk(const struct run_config *rc, unsigned n, int fd, struct stat *st,
		      uint64_t *ret_bytes)
{
	const char *path = rc->disk[n].path;
	char text[96];

	if (fstat(fd, st) < 0 || disk_bytes(fd, st, ret_bytes) < 0)
		return refuse(path, "neither a regular file nor a block device", -EINVAL);
	if (*ret_bytes == 0 || *ret_bytes % rc->disk[n].block_bytes) {
		snprintf(text, sizeof(text), "%llu bytes, not a multiple of %u; resize it (truncate -s)",
			 (unsigned long long)*ret_bytes, rc->disk[n].block_bytes);
		return refuse(path, text, -EINVAL);
	}
	if (flock(fd, (rc->disk[n].read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return refuse(path, "in use by another VM, or given twice; give each disk once",
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
		struct stat st;
		uint64_t bytes;
		int r, fd = open_disk(path, rc->disk[n].read_only, &buffered);

		if (fd < 0)
			return refuse(path, strerror(-fd), fd);
		r = check_disk(rc, n, fd, &st, &bytes);
		if (r < 0)
			return r;
		snprintf(name, sizeof(name), "disk.%u", n);
		add_fd(rc, name, fd);
		dc.blocks = bytes / rc->disk[n].block_bytes;
		dc.block_bytes = rc->disk[n].block_bytes;
		dc.flags = (rc->disk[n].read_only ? 1u : 0) | (buffered ? 2u : 0) |
			   (S_ISBLK(st.st_mode) ? 4u : 0);
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
		.low_bytes = rc->backend == 2 || rc->memory < gap_start ? rc->memory : gap_start,
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
		r = open_file("--initrd", rc->initrd);
		if (r < 0)
			return r;
		add_fd(rc, "initrd", r);
	}
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
