/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Epoll sets know sockets, not descriptors: one that was put into a set before connect() would be waited for no more
 * when another one takes its place. Which sets it is in, and how, is in /proc/self/fdinfo.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "preload.h"

struct run_watch {
	struct run_watch *next;
	int set;
	struct epoll_event ev;
};

static bool is_set(int fd)
{
	static const char want[] = "anon_inode:[eventpoll]";
	char path[32], to[sizeof(want)];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, to, sizeof(to)) == sizeof(want) - 1 && !memcmp(to, want, sizeof(want) - 1);
}

/* How fd is in the set: a line of the set's fdinfo, see proc(5). */
static bool find(int set, int fd, struct epoll_event *ev)
{
	char path[40], line[160];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", set);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		int target;
		uint32_t events;
		uint64_t data;
		if (sscanf(line, "tfd: %d events: %" SCNx32 " data: %" SCNx64, &target, &events, &data) != 3)
			continue;
		found = target == fd;
		*ev = (struct epoll_event){.events = events, .data.u64 = data};
	}
	if (f)
		fclose(f);
	return found;
}

struct run_watch *run_unwatch(int fd)
{
	struct run_watch *all = NULL, *w = NULL;
	int saved = errno;
	DIR *dir = opendir("/proc/self/fd");
	for (struct dirent *d; dir && (d = readdir(dir));) {
		int set = atoi(d->d_name);
		w = w ? w : malloc(sizeof(*w));
		if (!w)
			break;
		if (d->d_name[0] == '.' || !is_set(set) || !find(set, fd, &w->ev))
			continue;
		/* Out of it, too: the kernel's socket may live on with the broker, and would be heard here. */
		if (epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL))
			continue;
		w->set = set;
		w->next = all;
		all = w;
		w = NULL;
	}
	free(w);
	if (dir)
		closedir(dir);
	errno = saved;
	return all;
}

void run_watch_again(struct run_watch *all, int fd)
{
	int saved = errno;
	for (struct run_watch *next; all; all = next) {
		next = all->next;
		(void)epoll_ctl(all->set, EPOLL_CTL_ADD, fd, &all->ev);
		free(all);
	}
	errno = saved;
}
