/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's end of the control socket. */
#include "ctlsock.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 256 << 20 };

struct line_reader {
	int fd;
	char *buf;
	size_t len, cap, taken; /* `taken`: bytes of the line handed out last */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int connect_to(const char *runtime_dir, char *why, size_t cap)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, err, len = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/ctl.sock", runtime_dir);

	if (len < 0 || (size_t)len >= sizeof(sa.sun_path)) {
		snprintf(why, cap, "%s: too long for a runtime directory; use a shorter one", runtime_dir);
		return -ENAMETOOLONG;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	err = -errno;
	if (fd >= 0)
		close(fd);
	if (err == -ENOENT || err == -ECONNREFUSED || err == -ENOTDIR)
		snprintf(why, cap, "no daemon answers at %s: start it, or name its runtime directory with -r",
			 sa.sun_path);
	else if (err == -EACCES || err == -EPERM)
		snprintf(why, cap, "no access to %s: run this as root", sa.sun_path);
	else
		snprintf(why, cap, "cannot connect to %s: %s", sa.sun_path, strerror(-err));
	return err;
}

/* pass: a descriptor that goes with the first byte, -1: none */
static ssize_t send_some(int fd, const char *data, size_t len, int pass)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} ctl = {0};
	struct iovec iov = {(void *)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (pass >= 0) {
		m.msg_control = &ctl;
		m.msg_controllen = sizeof(ctl);
		ctl.align.cmsg_level = SOL_SOCKET;
		ctl.align.cmsg_type = SCM_RIGHTS;
		ctl.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ctl.align), &pass, sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static int send_request(int fd, json_object *request, int pass)
{
	const char *text =
	    json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t len = text ? strlen(text) : 0;
	char *line = text ? malloc(len + 1) : NULL;
	int err = 0;

	if (!line)
		return -ENOMEM;
	memcpy(line, text, len);
	line[len++] = '\n';
	for (size_t sent = 0; sent < len && !err;) {
		ssize_t n = send_some(fd, line + sent, len - sent, sent ? -1 : pass);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			err = -errno;
	}
	free(line);
	return err;
}

/* The next line without its end, valid until the next call. 0, -ETIMEDOUT, -ECONNRESET at the end, or another error. */
static int next_line(struct line_reader *r, int timeout_ms, const char **line, size_t *len)
{
	int64_t deadline = now_ms() + timeout_ms;
	size_t searched = 0;

	if (r->taken) {
		r->len -= r->taken;
		memmove(r->buf, r->buf + r->taken, r->len);
		r->taken = 0;
	}
	for (;;) {
		char *end = r->len > searched ? memchr(r->buf + searched, '\n', r->len - searched) : NULL;
		struct pollfd p = {.fd = r->fd, .events = POLLIN};
		int64_t left = deadline - now_ms();
		ssize_t n;

		if (end) {
			*line = r->buf;
			*len = (size_t)(end - r->buf);
			r->taken = *len + 1;
			return 0;
		}
		searched = r->len;
		if (r->len == r->cap) {
			size_t cap = r->cap ? 2 * r->cap : 4096;
			char *grown = cap <= ANSWER_MAX ? realloc(r->buf, cap) : NULL;

			if (!grown)
				return -EMSGSIZE;
			r->buf = grown;
			r->cap = cap;
		}
		if (timeout_ms >= 0 && left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)left) <= 0)
			continue;
		n = recv(r->fd, r->buf + r->len, r->cap - r->len, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			r->len += (size_t)n;
	}
}

static const char *text_of(json_object *o, const char *key, const char *otherwise)
{
	json_object *v;

	if (json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string))
		return json_object_get_string(v);
	return otherwise;
}

/* Reads events until the answer is there. */
static int read_answer(struct line_reader *r, int timeout_ms, bool (*on_event)(json_object *ev, void *arg), void *arg,
		       json_object **result, char *why, size_t cap)
{
	for (;;) {
		json_object *o, *ok = NULL, *value = NULL;
		struct json_tokener *tok;
		const char *line = NULL;
		size_t len = 0;
		int err = next_line(r, timeout_ms, &line, &len);

		if (err == -ETIMEDOUT)
			snprintf(why, cap, "the daemon did not answer in %d ms", timeout_ms);
		else if (err == -ECONNRESET)
			snprintf(why, cap, "the daemon closed the connection before it answered: see its log");
		else if (err)
			snprintf(why, cap, "reading the daemon's answer: %s", strerror(-err));
		if (err)
			return err;

		tok = json_tokener_new();
		o = tok ? json_tokener_parse_ex(tok, line, (int)len) : NULL;
		if (tok)
			json_tokener_free(tok);
		if (json_object_object_get_ex(o, "event", NULL)) {
			bool more = !on_event || on_event(o, arg);

			json_object_put(o);
			if (more)
				continue;
			if (result)
				*result = NULL;
			return 0;
		}
		if (!json_object_object_get_ex(o, "ok", &ok)) {
			snprintf(why, cap, "the daemon's answer is not of this protocol: is it of another version?");
			err = -EPROTO;
		} else if (json_object_get_boolean(ok)) {
			json_object_object_get_ex(o, "result", &value);
			if (result)
				*result = json_object_get(value);
		} else {
			snprintf(why, cap, "%s", text_of(o, "text", text_of(o, "error", "the daemon refused")));
			err = -EREMOTEIO;
		}
		json_object_put(o);
		return err;
	}
}

static int call(const char *runtime_dir, json_object *request, int pass, int timeout_ms,
		bool (*on_event)(json_object *ev, void *arg), void *arg, json_object **result, char *why, size_t cap)
{
	struct line_reader r = {.fd = connect_to(runtime_dir, why, cap)};
	int err;

	if (r.fd < 0)
		return r.fd;
	err = send_request(r.fd, request, pass);
	if (err)
		snprintf(why, cap, "sending to the daemon: %s", strerror(-err));
	else
		err = read_answer(&r, timeout_ms, on_event, arg, result, why, cap);
	free(r.buf);
	close(r.fd);
	return err;
}

int ntm_ctl_call(const char *runtime_dir, json_object *request, int timeout_ms,
		 bool (*on_event)(json_object *ev, void *arg), void *arg, json_object **result, char *why, size_t cap)
{
	return call(runtime_dir, request, -1, timeout_ms, on_event, arg, result, why, cap);
}

int ntm_ctl_call_fd(const char *runtime_dir, json_object *request, int fd, int timeout_ms, json_object **result,
		    char *why, size_t cap)
{
	return call(runtime_dir, request, fd, timeout_ms, NULL, NULL, result, why, cap);
}
