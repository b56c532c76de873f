/* SPDX-License-Identifier: BSD-2-Clause */
/* HTTP/1.1 (RFC 9112) as far as a scraper needs it: one GET, one answer, the connection closes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "metrics.h"

enum {
	CONNECTIONS_MAX = 16,
	REQUEST_MAX = 4096,
	DEADLINE_MS = 5000, /* from connect to the last byte */
	HEAD_MAX = 256,
};

struct conn;

union stream {
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct ntm_metrics_server {
	union stream listener;
	bool is_unix;
	char *path; /* of the socket, to be removed */
	struct conn *conns;
	unsigned n;
	bool stopped, closed;
	ntm_metrics_collect collect;
	void *arg;
};

struct conn {
	struct ntm_metrics_server *server;
	struct conn *next, **prev;
	union stream io;
	uv_timer_t deadline;
	unsigned handles; /* not closed yet */
	bool closing, answered;
	size_t len;
	char request[REQUEST_MAX + 1];
	char head[HEAD_MAX];
	struct ntm_metrics body;
	uv_write_t write;
};

static void server_unref(struct ntm_metrics_server *s)
{
	if (s->closed && !s->conns) {
		free(s->path);
		free(s);
	}
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;
	struct ntm_metrics_server *s = c->server;

	if (--c->handles)
		return;
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n--;
	ntm_metrics_free(&c->body);
	free(c);
	server_unref(s);
}

static void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->io, on_closed);
	uv_close((uv_handle_t *)&c->deadline, on_closed);
}

static void on_deadline(uv_timer_t *t)
{
	conn_close(t->data);
}

static void on_written(uv_write_t *req, int status)
{
	(void)status;
	conn_close(req->data);
}

static void answer(struct conn *c, const char *status, const char *extra, const char *text)
{
	uv_buf_t bufs[2];
	int len;

	c->answered = true;
	uv_read_stop((uv_stream_t *)&c->io);
	if (text)
		bufs[1] = uv_buf_init((char *)text, (unsigned)strlen(text));
	else
		bufs[1] = uv_buf_init(c->body.text, (unsigned)c->body.len);
	len = snprintf(
	    c->head, sizeof(c->head),
	    "HTTP/1.1 %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
	    status, text ? "text/plain" : "text/plain; version=0.0.4", (size_t)bufs[1].len, extra);
	bufs[0] = uv_buf_init(c->head, (unsigned)len);
	c->write.data = c;
	if (uv_write(&c->write, (uv_stream_t *)&c->io, bufs, 2, on_written))
		conn_close(c);
}

/* The whole head of a request is there. */
static void on_request(struct conn *c)
{
	char *method = c->request, *target, *version;
	size_t line = strcspn(method, "\r\n");

	method[line] = 0;
	target = strchr(method, ' ');
	version = target ? strchr(target + 1, ' ') : NULL;
	if (!version || strncmp(version, " HTTP/1.", 8) != 0) {
		answer(c, "400 Bad Request", "", "bad request\n");
		return;
	}
	*target++ = *version = 0;
	target[strcspn(target, "?")] = 0;
	if (strcmp(method, "GET") != 0) {
		answer(c, "405 Method Not Allowed", "Allow: GET\r\n", "GET only\n");
		return;
	}
	if (strcmp(target, "/metrics") != 0) {
		answer(c, "404 Not Found", "", "metrics are at /metrics\n");
		return;
	}
	c->server->collect(&c->body, c->server->arg);
	if (c->body.err)
		answer(c, "500 Internal Server Error", "", "out of memory\n");
	else
		answer(c, "200 OK", "", NULL);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;

	(void)suggested;
	*buf = uv_buf_init(c->request + c->len, (unsigned)(REQUEST_MAX - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	(void)buf;
	if (n == 0)
		return;
	if (n < 0) {
		conn_close(c);
		return;
	}
	c->len += (size_t)n;
	c->request[c->len] = 0;
	if (memchr(c->request, 0, c->len))
		answer(c, "400 Bad Request", "", "bad request\n");
	else if (strstr(c->request, "\r\n\r\n"))
		on_request(c);
	else if (c->len == REQUEST_MAX)
		answer(c, "431 Request Header Fields Too Large", "", "too long\n");
}

static void init_stream(const struct ntm_metrics_server *s, uv_loop_t *loop, union stream *io)
{
	if (s->is_unix)
		uv_pipe_init(loop, &io->pipe, 0);
	else
		uv_tcp_init(loop, &io->tcp);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct ntm_metrics_server *s = listener->data;
	struct conn *c;

	if (status < 0) {
		ntm_warn_limited("metrics: %s", uv_strerror(status));
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		ntm_warn_limited("metrics: out of memory");
		return;
	}
	c->server = s;
	init_stream(s, listener->loop, &c->io);
	uv_timer_init(listener->loop, &c->deadline);
	c->handles = 2;
	((uv_handle_t *)&c->io)->data = c->deadline.data = c;
	c->next = s->conns;
	c->prev = &s->conns;
	if (c->next)
		c->next->prev = &c->next;
	s->conns = c;
	s->n++;
	if (uv_accept(listener, (uv_stream_t *)&c->io) || s->n > CONNECTIONS_MAX ||
	    uv_read_start((uv_stream_t *)&c->io, on_alloc, on_read)) {
		ntm_warn_limited("metrics: connection refused, %u are open", s->n - 1);
		conn_close(c);
		return;
	}
	uv_timer_start(&c->deadline, on_deadline, DEADLINE_MS, 0);
}

static void on_listener_closed(uv_handle_t *h)
{
	struct ntm_metrics_server *s = h->data;

	s->closed = true;
	server_unref(s);
}

static int bind_tcp(struct ntm_metrics_server *s, const struct ntm_addr *addr)
{
	struct sockaddr_storage sa;

	ntm_addr_to_sockaddr(addr, ntm_ip_is_v4(addr->ip) ? AF_INET : AF_INET6, &sa);
	return uv_tcp_bind(&s->listener.tcp, (const struct sockaddr *)&sa, 0);
}

/* Is somebody there? A socket that a process left when it was killed is in the way of its successor. */
static bool answers(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	yes = fd < 0 || !connect(fd, (const struct sockaddr *)&un, sizeof(un)) || errno != ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return yes;
}

static int bind_unix(struct ntm_metrics_server *s, const char *path)
{
	struct stat st;
	int err;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode) && !answers(path) && unlink(path))
		return -errno;
	err = uv_pipe_bind(&s->listener.pipe, path);
	if (err)
		return err;
	s->path = strdup(path);
	if (!s->path)
		return -ENOMEM;
	return chmod(path, 0660) ? -errno : 0;
}

int ntm_metrics_start(struct ntm_metrics_server **out, uv_loop_t *loop, const struct ntm_listen *at,
		      ntm_metrics_collect collect, void *arg, char *why, size_t cap)
{
	struct ntm_metrics_server *s = calloc(1, sizeof(*s));
	char text[NTM_ADDR_STRLEN];
	int err;

	if (!s) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	s->collect = collect;
	s->arg = arg;
	s->is_unix = at->path != NULL;
	init_stream(s, loop, &s->listener);
	((uv_handle_t *)&s->listener)->data = s;
	err = at->path ? bind_unix(s, at->path) : bind_tcp(s, &at->addr);
	if (!err)
		err = uv_listen((uv_stream_t *)&s->listener, CONNECTIONS_MAX, on_connection);
	if (err) {
		snprintf(why, cap, "metrics at %s: %s", at->path ? at->path : ntm_addr_format(&at->addr, text),
			 uv_strerror(err));
		ntm_metrics_stop(s);
		return err;
	}
	*out = s;
	return 0;
}

uint16_t ntm_metrics_port(const struct ntm_metrics_server *s)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);
	struct ntm_addr a;

	if (s->is_unix || uv_tcp_getsockname(&s->listener.tcp, (struct sockaddr *)&sa, &len) ||
	    ntm_addr_from_sockaddr(&a, (struct sockaddr *)&sa))
		return 0;
	return ntohs(a.port);
}

void ntm_metrics_stop(struct ntm_metrics_server *s)
{
	if (!s || s->stopped)
		return;
	s->stopped = true;
	if (s->path && unlink(s->path) && errno != ENOENT)
		ntm_warn("%s: %s", s->path, strerror(errno));
	for (struct conn *c = s->conns; c; c = c->next)
		conn_close(c);
	uv_close((uv_handle_t *)&s->listener, on_listener_closed);
}
