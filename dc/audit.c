/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

/* Does the file end in the middle of a line, as a crash may leave it? */
static bool ends_torn(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	bool torn = false;
	struct stat st;
	char last;

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size)
		torn = pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
	close(fd);
	return torn;
}

int ntm_dc_audit_open(struct ntm_dc_audit_log *a, const char *file, char *why, size_t cap)
{
	int fd = -1, err;

	if (file) {
		fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
		if (fd < 0) {
			err = -errno;
			snprintf(why, cap, "audit log %s: %s", file, strerror(-err));
			return err;
		}
	}
	ntm_dc_audit_close(a);
	a->fd = fd;
	a->torn = fd >= 0 && ends_torn(file);
	return 0;
}

void ntm_dc_audit_close(struct ntm_dc_audit_log *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

static void put(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

/* The first n bytes of a line are written, and the rest is not: they go, or the next line begins behind them. */
static void take_back(struct ntm_dc_audit_log *a, ssize_t n)
{
	off_t end = lseek(a->fd, 0, SEEK_CUR);
	struct stat st;

	/* another process may have written since */
	if (end < n || fstat(a->fd, &st) || st.st_size != end || ftruncate(a->fd, end - n))
		a->torn = true;
}

void ntm_dc_audit(struct ntm_dc *dc, const char *actor, const char *action, const char *object, const char *detail)
{
	static struct ntm_log_limit limit;
	struct ntm_dc_audit_log *a = &dc->audit;
	json_object *o;
	struct timespec now = ntm_dc_wall();
	char text[48], line[1024];
	struct tm tm;
	ssize_t n = -1;
	int len;

	ntm_dc_event(dc, action, actor, object, detail);
	if (a->fd < 0)
		return;
	o = json_object_new_object();
	gmtime_r(&now.tv_sec, &tm);
	len = (int)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - (size_t)len, ".%03ldZ", now.tv_nsec / 1000000);
	put(o, "time", text);
	put(o, "actor", actor);
	put(o, "action", action);
	put(o, "object", object);
	put(o, "detail", detail);
	len = snprintf(line, sizeof(line), "%s%s\n", a->torn ? "\n" : "",
		       json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	if (len > 0 && (size_t)len < sizeof(line))
		n = write(a->fd, line, (size_t)len); /* one write: lines of two processes do not mix */
	else
		errno = EMSGSIZE;
	if (n == len) {
		a->torn = false;
		a->lines++;
		return;
	}
	a->failures++;
	ntm_log_limited(&limit, NTM_LOG_ERROR, "audit log: %s%s%s by %s was not written: %s", action, object ? " " : "",
			object ? object : "", actor ? actor : "nobody", n < 0 ? strerror(errno) : "disk full");
	if (n > 0)
		take_back(a, n);
}
