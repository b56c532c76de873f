/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon's end of the control socket. */
#include "ctlsock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

enum {
	CLIENTS_MAX = 128,
	UNREAD_MAX = 8 << 20, /* of answers that a client doesn't read, bytes; then it is cut off */
	JSON_DEPTH = 16,
	BACKLOG = 16,
	ACCEPT_PAUSE_MS = 100, /* after accept() failed: what it lacks is hardly there at once */
};

/*
 * Accepts by itself: libuv's listener asks again and again, without end and without returning, where neither a
 * descriptor nor the spare one that it keeps is to be had. Here, too, a spare one lets a client hear at once that there
 * is no room for it.
 */
struct ntm_ctl_server {
	uv_poll_t listener;
	uv_timer_t pause;
	int fd, spare;
	unsigned handles; /* of the two above, not closed yet */
	bool stopped;
	struct ntm_ctl_client *clients;
	unsigned n_clients;
	gid_t group; /* -1: root and own user only */
	ntm_ctl_handler handler;
	ntm_ctl_closed closed;
	void *arg;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct ntm_ctl_client {
	uv_pipe_t pipe;
	struct ntm_ctl_server *server;
	struct ntm_ctl_client *next, **prev;
	bool busy;    /* a request is with the handler */
	bool eof;     /* the client will send no more, but may still read */
	bool paused;  /* not reading: the buffer is full of waiting requests */
	bool closing; /* nothing is written any more */
	char *in;
	size_t in_len, in_cap;
	uid_t uid; /* of the peer when it connected; -1: unknown */
};

struct out_line {
	uv_write_t req;
	char text[];
};

static void pump(struct ntm_ctl_client *c);

static void server_unref(struct ntm_ctl_server *s)
{
	if (!s->handles && !s->clients)
		free(s);
}

static void on_client_closed(uv_handle_t *h)
{
	struct ntm_ctl_client *c = h->data;
	struct ntm_ctl_server *s = c->server;

	if (!s->stopped && s->closed)
		s->closed(c, s->arg);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_clients--;
	free(c->in);
	free(c);
	server_unref(s);
}

static void client_close(struct ntm_ctl_client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->pipe, on_client_closed);
}

static void on_written(uv_write_t *req, int status)
{
	struct out_line *line = (struct out_line *)req;
	struct ntm_ctl_client *c = req->handle->data;

	free(line);
	if (c->closing)
		return;
	if (status < 0)
		client_close(c);
	else
		pump(c);
}

/* Takes the reference. */
static void send_line(struct ntm_ctl_client *c, json_object *o)
{
	const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
	const char *text = o ? json_object_to_json_string_ext(o, flags) : NULL;
	size_t len = text ? strlen(text) : 0;
	struct out_line *line = NULL;
	uv_buf_t buf;

	if (c->closing) {
		json_object_put(o);
		return;
	}
	if (text && uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) < UNREAD_MAX)
		line = malloc(sizeof(*line) + len + 1);
	if (line) {
		memcpy(line->text, text, len);
		line->text[len] = '\n';
		buf = uv_buf_init(line->text, (unsigned)len + 1);
		if (uv_write(&line->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written)) {
			free(line);
			line = NULL;
		}
	}
	json_object_put(o);
	if (!line) {
		ntm_warn_limited("control socket: a client does not read its answers, or memory is out: closed");
		client_close(c);
	}
}

void ntm_ctl_event(struct ntm_ctl_client *c, json_object *event)
{
	send_line(c, event);
}

static json_object *answer(bool ok)
{
	json_object *o = json_object_new_object();

	if (o)
		json_object_object_add(o, "ok", json_object_new_boolean(ok));
	return o;
}

void ntm_ctl_result(struct ntm_ctl_client *c, json_object *result)
{
	json_object *o = answer(true);

	if (o)
		json_object_object_add(o, "result", result);
	else
		json_object_put(result);
	c->busy = false;
	send_line(c, o);
}

void ntm_ctl_error(struct ntm_ctl_client *c, const char *name, const char *fmt, ...)
{
	json_object *o = answer(false);
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (o) {
		json_object_object_add(o, "error", json_object_new_string(name));
		json_object_object_add(o, "text", json_object_new_string(text));
	}
	c->busy = false;
	send_line(c, o);
}

static void handle_line(struct ntm_ctl_client *c, const char *line, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
	json_object *request = NULL, *cmd = NULL;
	bool whole = false;

	c->busy = true;
	if (tok && len) {
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		request = json_tokener_parse_ex(tok, line, (int)len);
		whole = json_tokener_get_error(tok) == json_tokener_success && json_tokener_get_parse_end(tok) == len;
	}
	if (!whole || !json_object_is_type(request, json_type_object) ||
	    !json_object_object_get_ex(request, "cmd", &cmd) || !json_object_is_type(cmd, json_type_string))
		ntm_ctl_error(c, "bad_request", "a request is one line of JSON, an object with \"cmd\"");
	else
		c->server->handler(c, json_object_get_string(cmd), request, c->server->arg);
	json_object_put(request);
	if (tok)
		json_tokener_free(tok);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct ntm_ctl_client *c = h->data;

	(void)suggested;
	if (c->in_len == c->in_cap && c->in_cap < NTM_CTL_LINE_MAX) {
		size_t cap = c->in_cap ? 2 * c->in_cap : 2048;
		char *grown = realloc(c->in, cap);

		if (grown) {
			c->in = grown;
			c->in_cap = cap;
		}
	}
	/* Nothing left means UV_ENOBUFS in on_read(). */
	*buf = uv_buf_init(c->in + c->in_len, (unsigned)(c->in_cap - c->in_len));
}

/* A peer that only shut down its sending side still waits for the answer; one that closed its socket does not. */
static bool peer_is_gone(struct ntm_ctl_client *c)
{
	struct pollfd p = {0};

	if (uv_fileno((uv_handle_t *)&c->pipe, &p.fd))
		return true;
	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct ntm_ctl_client *c = stream->data;

	(void)buf;
	if (n == 0)
		return;
	if (n == UV_EOF && !peer_is_gone(c)) {
		c->eof = true;
		uv_read_stop(stream);
	} else if (n < 0) {
		client_close(c);
		return;
	} else {
		c->in_len += (size_t)n;
	}
	pump(c);
}

/* Hands over requests as long as none is under way; closes a client that is done, or sends lines without end. */
static void pump(struct ntm_ctl_client *c)
{
	size_t done = 0;

	while (!c->busy && !c->closing) {
		const char *start = c->in + done;
		const char *end = c->in_len > done ? memchr(start, '\n', c->in_len - done) : NULL;

		if (!end)
			break;
		done += (size_t)(end - start) + 1;
		handle_line(c, start, (size_t)(end - start));
	}
	if (done) {
		c->in_len -= done;
		memmove(c->in, c->in + done, c->in_len);
	}
	if (c->closing)
		return;
	if (!c->busy && c->in_len == NTM_CTL_LINE_MAX) {
		c->in_len = 0;
		c->eof = true;
		uv_read_stop((uv_stream_t *)&c->pipe);
		ntm_ctl_error(c, "too_long", "a request has at most %d bytes", NTM_CTL_LINE_MAX - 1);
	}
	if (c->eof) {
		if (!c->busy && uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) == 0)
			client_close(c);
	} else if (c->in_len == NTM_CTL_LINE_MAX) {
		c->paused = true;
		uv_read_stop((uv_stream_t *)&c->pipe);
	} else if (c->paused) {
		c->paused = false;
		if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read))
			client_close(c);
	}
}

enum { GROUPS_MAX = 256 };

/* The file's mode says the same; it is asked for again, as a mode is changed easily and unnoticed. */
static bool admitted(const struct ntm_ctl_server *s, struct ntm_ctl_client *c)
{
	gid_t groups[GROUPS_MAX];
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd;

	c->uid = (uid_t)-1;
	if (uv_fileno((uv_handle_t *)&c->pipe, &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	c->uid = cred.uid;
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	if (s->group == (gid_t)-1)
		return false;
	if (cred.gid == s->group)
		return true;
	len = sizeof(groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++) {
		if (groups[i] == s->group)
			return true;
	}
	return false;
}

uid_t ntm_ctl_peer(const struct ntm_ctl_client *c)
{
	return c->uid;
}

static void on_handle_closed(uv_handle_t *h)
{
	free(h);
}

/* libuv keeps what came until it is accepted as some stream; none of its types is asked about. */
static int next_fd(struct ntm_ctl_client *c)
{
	uv_pipe_t *p = malloc(sizeof(*p));
	int fd, copy = -ENOMEM;

	if (!p)
		return -ENOMEM;
	uv_pipe_init(c->pipe.loop, p, 0);
	if (!uv_accept((uv_stream_t *)&c->pipe, (uv_stream_t *)p) && !uv_fileno((uv_handle_t *)p, &fd)) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			copy = -errno;
	}
	uv_close((uv_handle_t *)p, on_handle_closed);
	return copy;
}

int ntm_ctl_take_fd(struct ntm_ctl_client *c)
{
	int first = -ENOENT;

	while (uv_pipe_pending_count(&c->pipe)) {
		int fd = next_fd(c);

		if (fd == -ENOMEM)
			break;
		if (first == -ENOENT)
			first = fd;
		else if (fd >= 0)
			close(fd);
	}
	return first;
}

int ntm_ctl_server_admit(struct ntm_ctl_server *s, gid_t group)
{
	if (chown(s->path, (uid_t)-1, group) || chmod(s->path, 0660))
		return -errno;
	s->group = group;
	return 0;
}

/* Takes the descriptor. */
static void welcome(struct ntm_ctl_server *s, int fd)
{
	struct ntm_ctl_client *c = calloc(1, sizeof(*c));

	if (!c) {
		ntm_warn_limited("control socket: out of memory");
		close(fd);
		return;
	}
	c->server = s;
	uv_pipe_init(s->listener.loop, &c->pipe, 1); /* 1: descriptors may come, too */
	c->pipe.data = c;
	c->next = s->clients;
	c->prev = &s->clients;
	if (c->next)
		c->next->prev = &c->next;
	s->clients = c;
	s->n_clients++;
	if (uv_pipe_open(&c->pipe, fd)) {
		close(fd);
		client_close(c);
	} else if (s->n_clients > CLIENTS_MAX || !admitted(s, c) ||
		   uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read)) {
		ntm_warn_limited("control socket: client refused, %u are connected", s->n_clients - 1);
		client_close(c);
	}
}

static int spare_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No descriptor is left: the spare one serves to turn a client away. False: there is none, or no client. */
static bool turn_away(struct ntm_ctl_server *s)
{
	int fd;

	if (s->spare < 0)
		return false;
	close(s->spare);
	fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	s->spare = spare_fd();
	return fd >= 0;
}

static void on_connection(uv_poll_t *listener, int status, int events);

static void on_pause_over(uv_timer_t *t)
{
	struct ntm_ctl_server *s = t->data;

	if (s->spare < 0)
		s->spare = spare_fd();
	uv_poll_start(&s->listener, UV_READABLE, on_connection);
}

static void on_connection(uv_poll_t *listener, int status, int events)
{
	struct ntm_ctl_server *s = listener->data;
	int fd, err;

	(void)status;
	(void)events;
	for (int i = 0; i < BACKLOG; i++) {
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		err = errno;
		if (fd >= 0) {
			welcome(s, fd);
		} else if (err == EAGAIN) {
			return;
		} else if (err != EINTR && err != ECONNABORTED) {
			ntm_warn_limited("control socket: %s", strerror(err));
			if ((err == EMFILE || err == ENFILE) && turn_away(s))
				continue;
			uv_poll_stop(listener);
			uv_timer_start(&s->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
			return;
		}
	}
}

/* Does a daemon listen on this path? A socket file without one is left over from a crash. */
static bool in_use(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool used = fd >= 0 && (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return used;
}

/* A listening socket, or -errno. */
static int listen_on(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	mode_t old;
	int fd, err = 0;

	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (in_use(&sa))
		return -EADDRINUSE;
	if (unlink(path) && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	old = umask(0177); /* 0600 from its first moment on */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		err = -errno;
	umask(old);
	if (!err && listen(fd, BACKLOG))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static void on_server_closed(uv_handle_t *h)
{
	struct ntm_ctl_server *s = h->data;

	s->handles--;
	server_unref(s);
}

int ntm_ctl_server_start(struct ntm_ctl_server **out, uv_loop_t *loop, const char *runtime_dir, ntm_ctl_handler handler,
			 ntm_ctl_closed closed, void *arg)
{
	struct ntm_ctl_server *s = calloc(1, sizeof(*s));
	int fd, err, len;

	if (!s)
		return -ENOMEM;
	s->group = (gid_t)-1;
	s->handler = handler;
	s->closed = closed;
	s->arg = arg;
	len = snprintf(s->path, sizeof(s->path), "%s/ctl.sock", runtime_dir);
	if (len < 0 || (size_t)len >= sizeof(s->path)) {
		free(s);
		return -ENAMETOOLONG;
	}
	fd = listen_on(s->path);
	if (fd < 0) {
		free(s);
		return fd;
	}
	/* A client that goes away while it is written to is an error of that write, nothing more. */
	signal(SIGPIPE, SIG_IGN);
	uv_timer_init(loop, &s->pause);
	s->pause.data = s;
	s->handles = 1;
	s->fd = fd;
	s->spare = spare_fd();
	err = uv_poll_init(loop, &s->listener, fd);
	if (!err) {
		s->listener.data = s;
		s->handles++;
		err = uv_poll_start(&s->listener, UV_READABLE, on_connection);
	}
	if (err) {
		ntm_ctl_server_stop(s);
		return err;
	}
	*out = s;
	return 0;
}

void ntm_ctl_server_stop(struct ntm_ctl_server *s)
{
	if (!s || s->stopped)
		return;
	s->stopped = true;
	unlink(s->path);
	for (struct ntm_ctl_client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (s->closed)
			s->closed(c, s->arg);
		client_close(c);
	}
	if (s->handles == 2)
		uv_close((uv_handle_t *)&s->listener, on_server_closed);
	close(s->fd);
	if (s->spare >= 0)
		close(s->spare);
	uv_close((uv_handle_t *)&s->pause, on_server_closed);
}
