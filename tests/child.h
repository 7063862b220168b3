/* tests/child.h - children of a test that go on without an exec.
 *
 * A child has the heap as it was: under a sanitizer, whose heap knows nothing of
 * fork(), a lock that another thread held stays locked for ever. Criterion's workers
 * have a thread for their messages. */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { CHILD_LOOKS = 10000, CHILD_LOOK_US = 100 };

/* The state of a thread of this process, as proc(5) has it; 0: it is gone. */
static inline char child_thread_state(const char *tid)
{
	char path[64], text[256] = "";
	const char *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : '\0';
}

static inline bool child_others_sleep(void)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *e;
	bool sleep = true;

	while (dir && sleep && (e = readdir(dir))) {
		const char state = e->d_name[0] == '.' || atoi(e->d_name) == gettid()
					   ? '\0' : child_thread_state(e->d_name);

		sleep = state == '\0' || state == 'S';
	}
	if (dir)
		closedir(dir);
	return sleep;
}

/* As fork(2), when no other thread of this process is at work, or after a second. */
static inline pid_t child_fork(void)
{
	for (int i = 0; i < CHILD_LOOKS && !child_others_sleep(); i++)
		usleep(CHILD_LOOK_US);
	return fork();
}

#endif
