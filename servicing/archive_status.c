/* Lines of name=value, the rest of the page blank. A reader that meets a write
 * sees old and new lines mixed, which is as good. */
#include "servicing/archive_status.h"

#include "servicing/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { STATUS_BYTES = 1024, STATUS_PATH = 4096 };

static int open_beside(const char *dir, const char *name, int flags)
{
	char path[STATUS_PATH];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int archive_status_open(const char *dir)
{
	int fd = open_beside(dir, "archive.status", O_RDWR | O_CREAT);
	char blank[STATUS_BYTES];

	memset(blank, '\n', sizeof(blank));
	if (fd >= 0 && pwrite(fd, blank, sizeof(blank), 0) != (ssize_t)sizeof(blank)) {
		close(fd);
		return -ENOSPC;
	}
	return fd;
}

void archive_status_write(int fd, const struct archive_status *s)
{
	char text[STATUS_BYTES];
	int n;

	if (fd < 0)
		return;
	memset(text, '\n', sizeof(text));
	n = snprintf(text, sizeof(text),
		     "state=%s\nseq=%" PRIu64 "\nposition=%" PRIu64 "\nbytes=%" PRIu64
		     "\ngaps=%" PRIu64 "\nverified=%" PRIu64 "\nunverified=%" PRIu64
		     "\nwhy=%.200s\n",
		     s->state, s->seq, s->position, s->bytes, s->gaps, s->verified, s->unverified,
		     s->why ? s->why : "");
	if (n > 0 && n < STATUS_BYTES)
		text[n] = '\n';
	if (pwrite(fd, text, sizeof(text), 0) < 0)
		return; /* it is a status: the archiver says the same when it ends */
}

static bool is_held(const char *dir)
{
	int fd = open_beside(dir, "archive/writer", O_RDONLY);
	bool held;

	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

/* *@position: of the line that tells it. */
static void add_line(cJSON *o, char *line, bool held, uint64_t *position)
{
	char *value = strchr(line, '='), *end;
	uint64_t number;

	if (!value)
		return;
	*value++ = '\0';
	if (strcmp(line, "state") == 0 && strcmp(value, "running") == 0 && !held)
		value = (char *)"died";
	number = strtoull(value, &end, 10);
	if (strcmp(line, "position") == 0)
		*position = number;
	if (*value && *end == '\0')
		decode_number(o, line, number);
	else
		cJSON_AddStringToObject(o, line, value);
}

void archive_status_show(cJSON *tree, const char *dir, const struct custody *c)
{
	int fd = open_beside(dir, "archive.status", O_RDONLY);
	char text[STATUS_BYTES + 1] = "", *save = NULL;
	uint64_t position = UINT64_MAX, tail;
	cJSON *o;

	if (fd < 0)
		return;
	if (read(fd, text, STATUS_BYTES) <= 0)
		text[0] = '\0';
	close(fd);
	o = cJSON_AddObjectToObject(tree, "archive");
	for (char *line = strtok_r(text, "\n", &save); o && line; line = strtok_r(NULL, "\n", &save))
		add_line(o, line, is_held(dir), &position);
	tail = atomic_load(&c->lane_words[0].tail);
	if (position <= tail)
		decode_number(o, "behind_bytes", tail - position);
}
