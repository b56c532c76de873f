/* SPDX-License-Identifier: BSD-2-Clause */
#include "forwarding.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/log.h"

#define SYSCTL "/proc/sys/net/"
#define FORWARD4 "ipv4/ip_forward"
#define FORWARD6 "ipv6/conf/all/forwarding"

static int read_sysctl(const char *name, char *out)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd, err;

	if ((size_t)snprintf(path, sizeof(path), SYSCTL "%s", name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, out, 1);
	err = n == 1 ? 0 : n < 0 ? -errno : -EIO;
	close(fd);
	return err;
}

static int write_sysctl(const char *name, char value)
{
	char path[PATH_MAX];
	int fd, err = 0;

	if ((size_t)snprintf(path, sizeof(path), SYSCTL "%s", name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, &value, 1) != 1)
		err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

static bool file_name(const char *dir, const char *suffix, char path[PATH_MAX])
{
	return (size_t)snprintf(path, PATH_MAX, "%s/forwarding%s", dir, suffix) < PATH_MAX;
}

static void note(FILE *f, const char *name, char wanted)
{
	char now = 0;

	if (!read_sysctl(name, &now) && now != wanted)
		fprintf(f, "%c %c %s\n", now, wanted, name);
}

/* A forwarding host hears no router advertisements where accept_ra is 1; 2 means that it does. */
static int note_all(FILE *f)
{
	DIR *d = opendir(SYSCTL "ipv6/conf");
	const struct dirent *e;
	char name[300], now = 0;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "ipv6/conf/%s/accept_ra", e->d_name);
		if (!read_sysctl(name, &now) && now == '1')
			note(f, name, '2');
	}
	if (d)
		closedir(d);
	note(f, FORWARD4, '1');
	if (d)
		note(f, FORWARD6, '1');
	return ferror(f) ? -EIO : 0;
}

static int write_file(const char *dir)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	FILE *f;
	int err;

	if (!file_name(dir, "", path) || !file_name(dir, ".new", tmp))
		return -ENAMETOOLONG;
	if (!access(path, F_OK))
		return 0;
	f = fopen(tmp, "we");
	if (!f)
		return -errno;
	err = note_all(f);
	if (fclose(f) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	return err;
}

/* Calls fn for each line; the first error, having tried all. */
static int each(const char *dir, int (*fn)(void *arg, char before, char wanted, const char *name), void *arg)
{
	char path[PATH_MAX], line[400], name[300], before, wanted;
	FILE *f;
	int first = 0, err;

	if (!file_name(dir, "", path))
		return -ENAMETOOLONG;
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%c %c %299s", &before, &wanted, name) != 3 || strstr(name, ".."))
			err = -EBADMSG;
		else
			err = fn(arg, before, wanted, name);
		if (err && !first)
			first = err;
	}
	fclose(f);
	return first;
}

static int look(void *arg, char before, char wanted, const char *name)
{
	struct ntm_forwarding *out = arg;

	(void)before;
	(void)wanted;
	out->was_off4 |= !strcmp(name, FORWARD4);
	out->was_off6 |= !strcmp(name, FORWARD6);
	return 0;
}

static int change(void *arg, char before, char wanted, const char *name)
{
	bool back = *(bool *)arg;
	int err = write_sysctl(name, back ? before : wanted);

	/* an interface that has gone */
	if (err == -ENOENT)
		return 0;
	if (err)
		ntm_err("%s%s can't be set to %c: %s", SYSCTL, name, back ? before : wanted, strerror(-err));
	return err;
}

int ntm_forwarding_prepare(const char *dir, struct ntm_forwarding *out)
{
	int err = write_file(dir);

	*out = (struct ntm_forwarding){0};
	return err ? err : each(dir, look, out);
}

int ntm_forwarding_on(const char *dir)
{
	bool back = false;

	return each(dir, change, &back);
}

int ntm_forwarding_restore(const char *dir)
{
	char path[PATH_MAX];
	bool back = true;
	int err = each(dir, change, &back);

	if (err == -ENOENT)
		return 0;
	if (!file_name(dir, "", path))
		return -ENAMETOOLONG;
	if (unlink(path) && !err)
		err = -errno;
	return err;
}
