/* Disks as people write them. A file is opened without waiting, so that a name
 * of a pipe is refused and not waited for; the flag is taken off again, because
 * the kernel would answer EAGAIN where it should wait for the disk. */
#include "servicing/disk_option.h"

#include "engine/limits.h"
#include "engine/rec.h"
#include "statemachines/disk.h"
#include "statemachines/machines.h"
#include "statemachines/records.h"
#include "statemachines/storvsp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { LUNS = LIMIT_DISKS, USAGE = 2, LOCK_TRIES = 40, LOCK_PAUSE_US = 50000 };

static int wrong(const char *what, const char *path, const char *text)
{
	fprintf(stderr, "holdfast: %s %s: %s\n", what, path, text);
	return USAGE;
}

static bool number_below(const char *text, unsigned limit, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	*ret = (unsigned)v;
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && v < limit;
}

/* The value of `name=value`, or NULL. */
static const char *value_of(const char *option, const char *name)
{
	size_t n = strlen(name);

	return strncmp(option, name, n) == 0 && option[n] == '=' ? option + n + 1 : NULL;
}

static int take_word(const char *what, const char *path, const char *word, struct disk_option *o)
{
	const char *controller = value_of(word, "controller"), *lun = value_of(word, "lun");
	char text[160];

	if (strcmp(word, "ro") == 0 || strcmp(word, "read-only") == 0)
		o->read_only = true;
	else if (strcmp(word, "4k") == 0 || strcmp(word, "sector=4096") == 0)
		o->block_bytes = 4096;
	else if (strcmp(word, "sector=512") == 0)
		o->block_bytes = 512;
	else if (strcmp(word, "optical") == 0)
		o->optical = true;
	else if (controller && !disk_option_controller(controller, &o->controller))
		return wrong(what, path, "controller: from 0 to 15");
	else if (lun && !number_below(lun, LUNS, &o->lun))
		return wrong(what, path, "lun: from 0 to 63");
	else if (!controller && !lun) {
		snprintf(text, sizeof(text), "no option '%.40s'; there are ro, 4k, sector=, "
			 "controller=, lun= and optical", word);
		return wrong(what, path, text);
	}
	return 0;
}

_Static_assert(CAPACITY_storvsp == 16 && LUNS == 64, "said in messages");

int disk_option_parse(const char *what, char *argument, struct disk_option *ret)
{
	char *comma = strchr(argument, ',');

	*ret = (struct disk_option){ .path = argument, .block_bytes = 512, .lun = LUN_ANY };
	while (comma) {
		char *word = comma + 1;
		int r;

		*comma = '\0';
		comma = strchr(word, ',');
		if (comma)
			*comma = '\0';
		r = take_word(what, argument, word, ret);
		if (r)
			return r;
	}
	if (ret->optical) {
		ret->read_only = true;
		ret->block_bytes = DISK_OPTICAL_BLOCK;
	}
	if (strcmp(argument, "-") == 0) {
		ret->path = NULL;
		if (!ret->optical)
			return wrong(what, argument, "only an optical drive can be without a file");
	}
	return 0;
}

bool disk_option_controller(const char *text, unsigned *ret)
{
	return number_below(text, CAPACITY_storvsp, ret);
}

int disk_option_place(const char *what, const char *text, unsigned *ret_controller,
		      unsigned *ret_lun)
{
	const char *colon = strchr(text, ':');
	char controller[8] = "";

	if (colon && (size_t)(colon - text) < sizeof(controller))
		memcpy(controller, text, (size_t)(colon - text));
	if (!colon || !disk_option_controller(controller, ret_controller) ||
	    !number_below(colon + 1, LUNS, ret_lun))
		return wrong(what, text, "name the disk as CONTROLLER:LUN, such as 0:1 (see `inspect "
					 "disk`)");
	return 0;
}

/* ---- files ---------------------------------------------------------------- */

int disk_option_size(int fd, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
	*ret_bytes = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

static bool is_block_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* A block device that the guest may write is nobody else's: the kernel answers EBUSY
 * for one that is mounted, swapped to, or part of another device. A VM that was killed
 * may hold it for a moment yet, see locked(). */
static int open_alone(const char *path, int flags)
{
	int fd;

	for (unsigned tries = 0; (fd = open(path, flags)) < 0; tries++) {
		if (errno != EBUSY || tries == LOCK_TRIES)
			break;
		usleep(LOCK_PAUSE_US);
	}
	return fd;
}

/* O_DIRECT where the file system has it. */
static int open_file(const char *path, bool read_only, bool *ret_buffered)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	int fd;

	if (!read_only && is_block_device(path))
		flags |= O_EXCL;
	fd = open_alone(path, flags | O_DIRECT);
	*ret_buffered = false;
	if (fd < 0 && errno == EINVAL) {
		fd = open(path, flags);
		*ret_buffered = true;
	}
	if (fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0) {
		close(fd);
		return -EINVAL;
	}
	return fd < 0 ? -errno : fd;
}

static int refuse(const char *what, const char *path, const char *why, int error)
{
	fprintf(stderr, "holdfast: %s %s: %s\n", what, path, why);
	return error;
}

static int refuse_open(const char *what, const char *path, int error)
{
	const char *cure = "give a regular file or a block device";
	char text[160];

	if (error == -ENOENT)
		cure = "make it first (truncate -s 10G)";
	else if (error == -EACCES || error == -EPERM || error == -EROFS)
		cure = "let this user read and write it, or add ,ro";
	else if (error == -EBUSY)
		cure = "unmount it, or end the VM or whatever else uses it";
	snprintf(text, sizeof(text), "%s; %s", strerror(-error), cure);
	return refuse(what, path, text, error);
}

/* The kernel gives up the files of an io_uring some time after its last process
 * ended: a VM that was killed may hold its disks for a moment yet. */
static bool locked(int fd, int how)
{
	for (unsigned tries = 0; flock(fd, how | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return false;
		usleep(LOCK_PAUSE_US);
	}
	return true;
}

static int check_file(const char *what, const struct disk_option *o, int fd, uint64_t *ret_bytes)
{
	char text[256];

	if (disk_option_size(fd, ret_bytes) < 0)
		return refuse(what, o->path,
			      "neither a regular file nor a block device; give one of these",
			      -EINVAL);
	if (*ret_bytes == 0 || *ret_bytes % o->block_bytes) {
		snprintf(text, sizeof(text), "%llu bytes, not a multiple of the sector of %u; resize "
			 "it (truncate -s)", (unsigned long long)*ret_bytes, o->block_bytes);
		return refuse(what, o->path, *ret_bytes ? text : "empty; resize it (truncate -s)",
			      -EINVAL);
	}
	if (!locked(fd, o->read_only ? LOCK_SH : LOCK_EX))
		return refuse(what, o->path,
			      "in use by a VM; end that one, or give another disk", -EBUSY);
	return 0;
}

static void describe(const struct disk_option *o, bool buffered, bool block_device, uint64_t bytes,
		     struct rec_disk_config *ret)
{
	const char *name = o->path ? o->path : "-";

	*ret = (struct rec_disk_config){
		.blocks = bytes / o->block_bytes, .block_bytes = o->block_bytes,
		.flags = (o->read_only ? (uint32_t)DISK_READ_ONLY : 0) |
			 (o->optical ? (uint32_t)DISK_OPTICAL : 0) |
			 (buffered ? (uint32_t)DISK_BUFFERED : 0) |
			 (block_device ? (uint32_t)DISK_BLOCK_DEVICE : 0),
		.controller = (uint16_t)o->controller, .lun = (uint16_t)o->lun,
	};
	ret->identity[0] = XXH3_64bits_withSeed(name, strlen(name), 1);
	ret->identity[1] = XXH3_64bits_withSeed(name, strlen(name), 2);
	/* Two drives without a medium must not look like two ways to one. */
	if (o->optical)
		ret->identity[0] ^= (uint64_t)o->controller << 32 | o->lun;
}

int disk_option_open(const char *what, const struct disk_option *o, struct rec_disk_config *ret,
		     int *ret_fd)
{
	bool buffered = false;
	uint64_t bytes = 0;
	struct stat st = { 0 };
	int error = 0;

	*ret_fd = -1;
	if (o->path) {
		*ret_fd = open_file(o->path, o->read_only, &buffered);
		if (*ret_fd < 0)
			return refuse_open(what, o->path, *ret_fd);
		error = check_file(what, o, *ret_fd, &bytes);
		if (!error && fstat(*ret_fd, &st) < 0)
			error = -errno;
	}
	if (error) {
		close(*ret_fd);
		*ret_fd = -1;
		return error;
	}
	describe(o, buffered, S_ISBLK(st.st_mode), bytes, ret);
	return 0;
}
