/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_tcp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/log.h"

enum { BACKLOG = 128, SWEEP_MS = 1000 };

struct ntm_dns_conn {
	struct ntm_dns_tcp *t;
	uv_tcp_t tcp;
	struct ntm_dns_client from;
	struct ntm_dns_transfer *transfer; /* NULL: none at work */
	uint64_t active_ms;
	size_t got;
	bool reading, ended; /* ended: the client has sent all it will */
	TAILQ_ENTRY(ntm_dns_conn) link;
	uint8_t in[2 + NTM_DNS_TCP_QUERY_MAX];
};

struct out {
	uv_write_t req;
	uint8_t data[]; /* length and message, as on the wire */
};

static void handle_gone(struct ntm_dns_tcp *t)
{
	if (!--t->open && t->closed)
		t->closed(t->arg);
}

static void conn_closed(uv_handle_t *h)
{
	struct ntm_dns_conn *c = h->data;
	struct ntm_dns_tcp *t = c->t;

	ntm_dns_transfer_end(c->transfer);
	free(c);
	handle_gone(t);
}

static void close_conn(struct ntm_dns_conn *c)
{
	if (uv_is_closing((uv_handle_t *)&c->tcp))
		return;
	TAILQ_REMOVE(&c->t->conns, c, link);
	c->t->n_conns--;
	uv_close((uv_handle_t *)&c->tcp, conn_closed);
}

static void active(struct ntm_dns_conn *c)
{
	c->active_ms = uv_now(c->t->loop);
	TAILQ_REMOVE(&c->t->conns, c, link);
	TAILQ_INSERT_TAIL(&c->t->conns, c, link);
}

static size_t unsent(const struct ntm_dns_conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

static void on_written(uv_write_t *req, int status);

/* False: the connection is closed. */
static bool send_message(struct ntm_dns_conn *c, const uint8_t *data, size_t len)
{
	struct out *o = malloc(sizeof(*o) + 2 + len);
	uv_buf_t buf;

	if (!o) {
		close_conn(c);
		return false;
	}
	o->data[0] = (uint8_t)(len >> 8);
	o->data[1] = (uint8_t)len;
	memcpy(o->data + 2, data, len);
	o->req.data = c;
	buf = uv_buf_init((char *)o->data, (unsigned)len + 2);
	if (uv_write(&o->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written)) {
		free(o);
		close_conn(c);
		return false;
	}
	return true;
}

/* The next message of a transfer, when the one before is out. */
static void advance_transfer(struct ntm_dns_conn *c)
{
	int len = ntm_dns_transfer_next(c->transfer, c->t->out, sizeof(c->t->out));

	if (len > 0) {
		send_message(c, c->t->out, (size_t)len);
		return;
	}
	ntm_dns_transfer_end(c->transfer);
	c->transfer = NULL;
	if (len < 0) {
		ntm_warn_limited("dns: a zone transfer was broken off: %s", strerror(-len));
		close_conn(c);
	}
}

static void begin_transfer(struct ntm_dns_conn *c, const uint8_t *query, size_t len)
{
	char text[NTM_ADDR_STRLEN];

	if (ntm_dns_transfer_begin(c->t->answerer, query, len, &c->transfer)) {
		close_conn(c);
		return;
	}
	c->t->stats->transfers++;
	ntm_info("dns: zone transfer to %s", ntm_ip_format(c->from.ip, text));
	advance_transfer(c);
}

static void one_query(struct ntm_dns_conn *c, const uint8_t *query, size_t len)
{
	bool transfer;
	size_t n;

	c->from.now_ms = uv_now(c->t->loop);
	n = ntm_dns_answer(c->t->answerer, &c->from, query, len, c->t->out, sizeof(c->t->out), &transfer);
	c->t->stats->tcp_queries++;
	if (transfer)
		begin_transfer(c, query, len);
	else if (n)
		send_message(c, c->t->out, n);
	else /* no query: whoever sends that gets no second chance */
		close_conn(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct ntm_dns_conn *c = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)c->in + c->got, (unsigned)(sizeof(c->in) - c->got));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

/* Answers what is complete, as long as the client takes the answers. */
static void serve(struct ntm_dns_conn *c)
{
	size_t used = 0;

	while (!c->transfer && c->got - used >= 2 && unsent(c) <= NTM_DNS_TCP_UNSENT_MAX) {
		size_t len = (size_t)c->in[used] << 8 | c->in[used + 1];

		if (len > NTM_DNS_TCP_QUERY_MAX) {
			close_conn(c);
			return;
		}
		if (c->got - used - 2 < len)
			break;
		active(c);
		one_query(c, c->in + used + 2, len);
		if (uv_is_closing((uv_handle_t *)&c->tcp))
			return;
		used += 2 + len;
	}
	memmove(c->in, c->in + used, c->got - used);
	c->got -= used;
	if (c->ended) {
		if (!c->transfer && !unsent(c))
			close_conn(c);
		return;
	}
	if (c->transfer || unsent(c) > NTM_DNS_TCP_UNSENT_MAX) {
		if (c->reading)
			uv_read_stop((uv_stream_t *)&c->tcp);
		c->reading = false;
	} else if (!c->reading) {
		c->reading = !uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
		if (!c->reading)
			close_conn(c);
	}
}

static void on_written(uv_write_t *req, int status)
{
	struct ntm_dns_conn *c = req->data;

	free((char *)req - offsetof(struct out, req));
	if (uv_is_closing((uv_handle_t *)&c->tcp))
		return;
	if (status) {
		close_conn(c);
		return;
	}
	active(c);
	if (c->transfer && !unsent(c))
		advance_transfer(c);
	if (!uv_is_closing((uv_handle_t *)&c->tcp))
		serve(c);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct ntm_dns_conn *c = s->data;

	(void)buf;
	if (n < 0 && n != UV_EOF) {
		close_conn(c);
		return;
	}
	if (n == UV_EOF) {
		c->ended = true;
		c->reading = false;
		uv_read_stop(s);
	} else {
		c->got += (size_t)n;
	}
	serve(c);
}

/* How many connections the client's network has. There are few: no index is needed. */
static size_t connections_of(const struct ntm_dns_tcp *t, const uint8_t ip[16])
{
	size_t n = 0, len = ntm_ip_is_v4(ip) ? 16 : 8;
	const struct ntm_dns_conn *c;

	TAILQ_FOREACH(c, &t->conns, link)
	n += !memcmp(c->from.ip, ip, len);
	return n;
}

static int peer_of(struct ntm_dns_conn *c)
{
	struct sockaddr_storage sa;
	struct ntm_addr peer;
	int len = sizeof(sa), err = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len);

	if (!err)
		err = ntm_addr_from_sockaddr(&peer, (struct sockaddr *)&sa);
	if (!err)
		memcpy(c->from.ip, peer.ip, 16);
	return err;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct ntm_dns_tcp *t = listener->data;
	struct ntm_dns_conn *c;

	if (status) {
		ntm_warn_limited("dns: accept: %s", uv_strerror(status));
		return;
	}
	c = calloc(1, sizeof(*c));
	/* not accepted, it would never be spoken of again */
	((struct ntm_dns_listener *)(void *)listener)->waiting = !c;
	if (!c) {
		ntm_warn_limited("dns: out of memory");
		return;
	}
	uv_tcp_init(t->loop, &c->tcp);
	c->t = t;
	c->from.tcp = true;
	c->tcp.data = c;
	c->active_ms = uv_now(t->loop);
	t->open++;
	TAILQ_INSERT_TAIL(&t->conns, c, link);
	t->n_conns++;
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) || peer_of(c)) {
		close_conn(c);
		return;
	}
	if (connections_of(t, c->from.ip) > NTM_DNS_TCP_PER_CLIENT) {
		t->stats->tcp_refused++;
		close_conn(c);
		return;
	}
	if (t->n_conns > NTM_DNS_TCP_CONNECTIONS) {
		t->stats->tcp_evicted++;
		close_conn(TAILQ_FIRST(&t->conns));
	}
	uv_tcp_nodelay(&c->tcp, 1);
	serve(c);
}

static void on_sweep(uv_timer_t *timer)
{
	struct ntm_dns_tcp *t = timer->data;
	struct ntm_dns_conn *c;

	while ((c = TAILQ_FIRST(&t->conns)) && uv_now(t->loop) - c->active_ms >= NTM_DNS_TCP_IDLE_MS) {
		t->stats->tcp_idle++;
		close_conn(c);
	}
	for (size_t i = 0; i < t->n_listeners; i++) {
		if (t->listeners[i].waiting)
			on_connection((uv_stream_t *)&t->listeners[i].tcp, 0);
	}
}

static int listen_on(struct ntm_dns_tcp *t, uv_tcp_t *l, const struct ntm_addr *addr)
{
	bool v4 = ntm_ip_is_v4(addr->ip);
	struct sockaddr_storage sa;
	int err = uv_tcp_init_ex(t->loop, l, v4 ? AF_INET : AF_INET6);

	if (err)
		return err;
	l->data = t;
	t->n_listeners++;
	t->open++;
	ntm_addr_to_sockaddr(addr, v4 ? AF_INET : AF_INET6, &sa);
	err = uv_tcp_bind(l, (struct sockaddr *)&sa, v4 ? 0 : UV_TCP_IPV6ONLY);
	return err ? err : uv_listen((uv_stream_t *)l, BACKLOG, on_connection);
}

int ntm_dns_tcp_start(struct ntm_dns_tcp *t, const struct ntm_addr *listen, size_t n, char *why, size_t cap)
{
	char text[NTM_ADDR_STRLEN];
	int err = 0;

	TAILQ_INIT(&t->conns);
	uv_timer_init(t->loop, &t->sweep);
	t->sweep.data = t;
	t->open = 1;
	t->listeners = calloc(n, sizeof(*t->listeners));
	if (!t->listeners) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; !err && i < n; i++) {
		err = listen_on(t, &t->listeners[i].tcp, &listen[i]);
		if (err)
			snprintf(why, cap, "cannot listen on %s, TCP: %s", ntm_addr_format(&listen[i], text),
				 uv_strerror(err));
	}
	if (!err)
		uv_timer_start(&t->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	return err;
}

static void listener_closed(uv_handle_t *h)
{
	handle_gone(h->data);
}

void ntm_dns_tcp_stop(struct ntm_dns_tcp *t, void (*closed)(void *arg), void *arg)
{
	t->closed = closed;
	t->arg = arg;
	for (size_t i = 0; i < t->n_listeners; i++)
		uv_close((uv_handle_t *)&t->listeners[i].tcp, listener_closed);
	while (!TAILQ_EMPTY(&t->conns))
		close_conn(TAILQ_FIRST(&t->conns));
	uv_close((uv_handle_t *)&t->sweep, listener_closed);
}
