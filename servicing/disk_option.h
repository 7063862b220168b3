/* servicing/disk_option.h - one disk as a person writes it:
 *
 *   FILE[,ro][,4k][,controller=N][,lun=M][,optical]
 *
 * read-only and sector=512|4096 are the long forms of ro and 4k. FILE is a
 * regular file or a block device; an optical drive may have none ("-"). Every
 * mistake is one line on stderr that says what, where and what to do. */
#ifndef SERVICING_DISK_OPTION_H
#define SERVICING_DISK_OPTION_H

#include <stdbool.h>
#include <stdint.h>

struct rec_disk_config;

struct disk_option {
	const char *path;       /* NULL: an optical drive without medium */
	bool read_only, optical;
	unsigned block_bytes;
	unsigned controller, lun; /* LUN_ANY: whoever attaches it chooses */
};

/* Takes @argument apart, in place. @what: the option or command, for messages.
 * 0, or the exit status of wrong usage. */
int disk_option_parse(const char *what, char *argument, struct disk_option *ret);

/* The number of a controller; false: it is none. */
bool disk_option_controller(const char *text, unsigned *ret);

/* CONTROLLER:LUN. 0, or the exit status of wrong usage. */
int disk_option_place(const char *what, const char *text, unsigned *ret_controller,
		      unsigned *ret_lun);

/* Opens and checks the file, locks it against a second use, and describes it;
 * the row of the file and the LUN are the caller's to fill in. *@ret_fd: the
 * caller's; -1 when there is no medium. 0 or a negative errno. */
int disk_option_open(const char *what, const struct disk_option *o, struct rec_disk_config *ret,
		     int *ret_fd);

/* Size of a disk's file. 0 or a negative errno. */
int disk_option_size(int fd, uint64_t *ret_bytes);

#endif
