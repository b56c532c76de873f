/* SPDX-License-Identifier: BSD-2-Clause */
#include "chan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/engine.h"

enum { TURNS = 16, DGRAM_MAX = 65536 };

static struct {
	struct chan *all, *ready;
	struct ntm *host;
	uint32_t last_id;
	struct {
		uint32_t id;
		int err;
	} errors[CHAN_ERRORS];
	unsigned next_error;
} g;

struct chan *chan_first(void)
{
	return g.all;
}

struct chan *chan_find(uint32_t id)
{
	for (struct chan *c = g.all; c; c = c->next)
		if (c->id == id && !c->ended)
			return c;
	return NULL;
}

int chan_error(uint32_t id)
{
	for (unsigned i = 0; i < CHAN_ERRORS; i++)
		if (g.errors[i].id == id && g.errors[i].err) {
			int err = g.errors[i].err;

			g.errors[i].err = 0;
			return err;
		}
	return 0;
}

static void note_error(uint32_t id, int err)
{
	g.errors[g.next_error].id = id;
	g.errors[g.next_error].err = err;
	g.next_error = (g.next_error + 1) % CHAN_ERRORS;
}

static void make_ready(struct chan *c)
{
	if (c->ready)
		return;
	c->ready = true;
	c->next_ready = g.ready;
	g.ready = c;
}

static void on_wake(struct vsock *s)
{
	make_ready(s->user);
}

bool chan_any_ready(void)
{
	return g.ready != NULL;
}

static int name_end(const struct chan *c, int fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, NTM_RUN_NAME "%c%c.%08x.%d", c->kind,
			 c->family == AF_INET ? '4' : '6', c->id, (int)getpid());

	return bind(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n))
		   ? -errno
		   : 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

struct chan *chan_new(struct ntm *n, enum ntm_run_kind kind, int family, int v, int real, int *app)
{
	struct chan *c = calloc(1, sizeof(*c));
	int pair[2] = {-1, -1}, err = c ? 0 : ENOMEM;

	g.host = n;
	if (!err &&
	    socketpair(AF_UNIX, (kind == NTM_RUN_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, pair))
		err = errno;
	if (!err) {
		*c = (struct chan){.id = ++g.last_id,
				   .kind = (char)kind,
				   .family = family,
				   .fd = pair[0],
				   .app = -1,
				   .v = v,
				   .real = real,
				   .held = -1};
		err = -name_end(c, pair[0]);
	}
	if (!err && kind == NTM_RUN_STREAM &&
	    (!(c->in = calloc(1, sizeof(*c->in))) || !(c->out = calloc(1, sizeof(*c->out)))))
		err = ENOMEM;
	if (err) {
		close_fd(&pair[0]);
		close_fd(&pair[1]);
		close_fd(&real);
		if (v >= 0)
			ntm_close(v);
		if (c) {
			free(c->in);
			free(c->out);
		}
		free(c);
		errno = err;
		return NULL;
	}
	/* The program's descriptor has the mode that it has set; it begins as all do. */
	fcntl(pair[1], F_SETFL, 0);
	*app = pair[1];
	c->next = g.all;
	g.all = c;
	if (v >= 0) {
		struct vsock *s = vs_get(v);

		s->user = c;
		s->wake = on_wake;
	}
	return c;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void stop_poll(uv_poll_t **p)
{
	if (!*p)
		return;
	uv_poll_stop(*p);
	uv_close((uv_handle_t *)*p, on_closed);
	*p = NULL;
}

/* Freed by chan_run_ready(), since whoever calls may still look at it. */
void chan_free(struct chan *c)
{
	if (c->ended)
		return;
	c->ended = true;
	stop_poll(&c->poll);
	stop_poll(&c->real_poll);
	if (c->settled)
		c->settled(c->arg, c, ECONNABORTED);
	c->settled = NULL;
	if (c->v >= 0)
		ntm_close(c->v);
	c->v = -1;
	close_fd(&c->fd);
	close_fd(&c->app);
	close_fd(&c->real);
	close_fd(&c->held);
	make_ready(c);
}

static void release(struct chan *c)
{
	struct chan **link = &g.all;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	free(c->in);
	free(c->out);
	free(c);
}

static void fail(struct chan *c, int err)
{
	note_error(c->id, err);
	chan_free(c);
}

static bool program_gone(const struct chan *c)
{
	struct pollfd p = {.fd = c->fd};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

/* Stream: from the program. */
static void to_virtual(struct chan *c)
{
	for (unsigned i = 0; i < TURNS && !c->ended; i++) {
		ssize_t n;

		if (c->in->len) {
			n = ntm_send(c->v, c->in->data + c->in->at, c->in->len, MSG_DONTWAIT);
			if (n < 0 && errno == EAGAIN)
				return;
			if (n < 0) {
				fail(c, errno);
				return;
			}
			c->in->at += (size_t)n;
			c->in->len -= (size_t)n;
			continue;
		}
		if (c->app_eof)
			return;
		c->in->at = 0;
		n = read(c->fd, c->in->data, sizeof(c->in->data));
		if (n > 0) {
			c->in->len = (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			return;
		} else {
			c->app_eof = true;
			if (n < 0 || program_gone(c))
				chan_free(c);
			else
				ntm_shutdown(c->v, SHUT_WR);
			return;
		}
	}
}

static void to_program(struct chan *c)
{
	for (unsigned i = 0; i < TURNS && !c->ended; i++) {
		ssize_t n;

		if (c->out->len) {
			n = send(c->fd, c->out->data + c->out->at, c->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno == EAGAIN)
				return;
			if (n < 0) {
				chan_free(c); /* the program has closed it */
				return;
			}
			c->out->at += (size_t)n;
			c->out->len -= (size_t)n;
			continue;
		}
		if (c->v_eof)
			return;
		c->out->at = 0;
		n = ntm_recv(c->v, c->out->data, sizeof(c->out->data), MSG_DONTWAIT);
		if (n > 0) {
			c->out->len = (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			return;
		} else if (n < 0) {
			fail(c, errno);
		} else {
			c->v_eof = true;
			shutdown(c->fd, SHUT_WR);
		}
	}
	make_ready(c); /* there may be more */
}

/* Listener: to the program. False: it lags behind. */
static bool hand_over(struct chan *c)
{
	int err;

	if (c->held < 0)
		return true;
	err = run_send(c->fd, &c->held_from, sizeof(c->held_from), c->held);
	if (err == -EAGAIN || err == -ETOOMANYREFS)
		return false;
	close_fd(&c->held);
	if (err)
		chan_free(c);
	return !err;
}

static int accept_virtual(struct chan *c)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int v = ntm_accept4(c->v, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK), app;
	struct chan *s;

	if (v < 0)
		return -errno;
	s = chan_new(g.host, NTM_RUN_STREAM, c->family, v, -1, &app);
	if (!s)
		return -errno;
	ntm_addr_from_sockaddr(&c->held_from.addr, (struct sockaddr *)&ss);
	c->held = app;
	chan_start(s);
	return 0;
}

static int accept_real(struct chan *c)
{
	c->held = accept4(c->real, NULL, NULL, SOCK_CLOEXEC);
	c->held_from = (struct ntm_run_accepted){0};
	return c->held < 0 ? -errno : 0;
}

static void accept_all(struct chan *c)
{
	for (unsigned i = 0; i < TURNS && !c->ended && hand_over(c); i++)
		if (accept_virtual(c) && (c->real < 0 || accept_real(c)))
			return;
	if (!c->ended && c->held < 0)
		make_ready(c);
}

/* Datagrams. */
static void datagrams_out(struct chan *c)
{
	static uint8_t buf[sizeof(struct ntm_run_from) + DGRAM_MAX];
	size_t skip = c->kind == NTM_RUN_DATAGRAM ? sizeof(struct ntm_run_from) : 0;

	for (unsigned i = 0; i < TURNS && !c->ended; i++) {
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
		struct ntm_run_from to;
		struct sockaddr_storage ss;
		socklen_t len;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 && program_gone(c)) {
			chan_free(c);
			return;
		}
		if (n < (ssize_t)skip)
			continue;
		if (!skip) {
			(void)ntm_send(c->v, buf, (size_t)n, MSG_DONTWAIT);
			continue;
		}
		memcpy(&to, buf, sizeof(to));
		len = ntm_addr_to_sockaddr(&to.addr, c->family, &ss);
		/* What can't be sent is lost, as datagrams are. */
		if (ntm_host_is_virtual(g.host, to.addr.ip))
			(void)ntm_sendto(c->v, buf + skip, (size_t)n - skip, MSG_DONTWAIT, (struct sockaddr *)&ss, len);
		else if (c->real >= 0)
			(void)sendto(c->real, buf + skip, (size_t)n - skip, MSG_DONTWAIT, (struct sockaddr *)&ss, len);
	}
}

static void datagrams_in(struct chan *c)
{
	static uint8_t buf[sizeof(struct ntm_run_from) + DGRAM_MAX];
	size_t skip = c->kind == NTM_RUN_DATAGRAM ? sizeof(struct ntm_run_from) : 0;
	bool real = false;

	for (unsigned i = 0; i < 2 * TURNS; i++) {
		struct ntm_run_from from = {0};
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		ssize_t n = real
				? recvfrom(c->real, buf + skip, DGRAM_MAX, MSG_DONTWAIT, (struct sockaddr *)&ss, &len)
				: ntm_recvfrom(c->v, buf + skip, DGRAM_MAX, MSG_DONTWAIT, (struct sockaddr *)&ss, &len);

		if (n < 0 && errno == EAGAIN) {
			if (real || c->real < 0)
				return;
			real = true;
			continue;
		}
		if (n < 0)
			note_error(c->id, errno);
		if (n < 0 || (skip && ntm_addr_from_sockaddr(&from.addr, (struct sockaddr *)&ss)))
			continue;
		memcpy(buf, &from, skip);
		/* A program that lags behind loses them. */
		(void)send(c->fd, buf, skip + (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	make_ready(c);
}

static void unplug(struct chan *c)
{
	int room = 208 << 10;

	if (c->app < 0)
		return;
	setsockopt(c->app, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	close_fd(&c->app);
	while (read(c->fd, c->in->data, sizeof(c->in->data)) > 0)
		;
}

void chan_plug(struct chan *c, int app)
{
	static const uint8_t junk[256];
	int little = 1;

	c->app = app;
	setsockopt(app, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	while (send(app, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
}

void chan_connecting(struct chan *c, void (*settled)(void *arg, struct chan *c, int err), void *arg)
{
	c->connecting = true;
	c->settled = settled;
	c->arg = arg;
	make_ready(c);
}

static void look_at_connect(struct chan *c)
{
	struct vsock *s = vs_get(c->v);
	void (*settled)(void *arg, struct chan *c, int err) = c->settled;
	int err = 0;

	if (s->state == VS_CONNECTING)
		return;
	if (s->state != VS_CONNECTED)
		err = s->error ? s->error : ECONNABORTED;
	c->connecting = false;
	c->settled = NULL;
	if (err)
		note_error(c->id, err);
	else
		unplug(c);
	if (settled)
		settled(c->arg, c, err);
	if (err)
		chan_free(c);
	else
		chan_start(c);
}

static void on_poll(uv_poll_t *h, int status, int events);

static void watch(struct chan *c)
{
	int events = 0;

	if (c->ended)
		return;
	switch (c->kind) {
	case NTM_RUN_STREAM:
		events = (!c->app_eof && !c->in->len ? UV_READABLE : 0) | (c->out->len ? UV_WRITABLE : 0);
		break;
	case NTM_RUN_LISTENER:
		events = UV_READABLE | (c->held >= 0 ? UV_WRITABLE : 0);
		break;
	default:
		events = UV_READABLE;
	}
	if (events)
		uv_poll_start(c->poll, events, on_poll);
	else
		uv_poll_stop(c->poll);
	if (c->real_poll && c->kind == NTM_RUN_LISTENER && c->held >= 0)
		uv_poll_stop(c->real_poll);
	else if (c->real_poll)
		uv_poll_start(c->real_poll, UV_READABLE, on_poll);
}

static void move(struct chan *c)
{
	char byte;

	if (c->ended)
		return;
	if (c->connecting) {
		look_at_connect(c);
		return;
	}
	switch (c->kind) {
	case NTM_RUN_STREAM:
		to_virtual(c);
		if (!c->ended)
			to_program(c);
		if (!c->ended && c->app_eof && c->v_eof && !c->in->len && !c->out->len)
			chan_free(c);
		break;
	case NTM_RUN_LISTENER:
		if (recv(c->fd, &byte, 1, MSG_DONTWAIT) == 0)
			chan_free(c);
		else
			accept_all(c);
		break;
	default:
		datagrams_out(c);
		if (!c->ended)
			datagrams_in(c);
	}
	watch(c);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	move(h->data);
}

static uv_poll_t *poll_new(struct chan *c, int fd)
{
	uv_poll_t *p = calloc(1, sizeof(*p));

	if (p && !uv_poll_init(ntm_engine_loop(), p, fd)) {
		p->data = c;
		return p;
	}
	free(p);
	return NULL;
}

void chan_start(struct chan *c)
{
	c->poll = poll_new(c, c->fd);
	if (c->real >= 0) {
		fcntl(c->real, F_SETFL, fcntl(c->real, F_GETFL) | O_NONBLOCK);
		c->real_poll = poll_new(c, c->real);
	}
	if (!c->poll || (c->real >= 0 && !c->real_poll)) {
		fail(c, ENOMEM);
		return;
	}
	watch(c);
	make_ready(c);
}

void chan_run_ready(void)
{
	struct chan *list = g.ready;

	g.ready = NULL;
	while (list) {
		struct chan *c = list;

		list = c->next_ready;
		c->ready = false;
		if (c->ended)
			release(c);
		else
			move(c);
	}
}
