/* SPDX-License-Identifier: BSD-2-Clause */
#include "dnsstub.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

enum {
	CONNS_MAX = 32,
	CONN_IDLE_MS = 10000,
	OUT_MAX = 256 * 1024, /* unsent answers of one connection: beyond, its questions wait */
};

struct ntm_dns_conn {
	uv_tcp_t tcp;
	uv_timer_t idle;
	struct ntm_dnsstub *stub;
	struct ntm_addr client;
	struct ntm_dns_conn *next, **link;
	unsigned handles; /* not closed yet */
	bool closing;
	bool ending; /* closes when everything is written */
	bool lags;
	size_t have;
	uint8_t buf[2 + NTM_DNS_MAX];
};

struct ntm_dnsstub {
	struct ntm_node *node;
	struct ntm_dnsforward *forward;
	uv_udp_t *udp;
	uv_tcp_t *tcp;
	struct ntm_addr addr;
	struct ntm_dns_query *queries;
	unsigned n_queries;
	struct ntm_dns_conn *conns;
	unsigned n_conns;
	uint8_t rx[NTM_DNS_MAX];
};

static void conn_close(struct ntm_dns_conn *c);
static void on_conn_idle(uv_timer_t *t);

struct ntm_node *ntm_dnsstub_node(const struct ntm_dnsstub *s)
{
	return s->node;
}

struct ntm_dnsforward *ntm_dnsstub_forward(const struct ntm_dnsstub *s)
{
	return s->forward;
}

uint16_t ntm_dnsstub_port(const struct ntm_dnsstub *s)
{
	return ntohs(s->addr.port);
}

const struct ntm_addr *ntm_dnsstub_addr(const struct ntm_dnsstub *s)
{
	return &s->addr;
}

static void query_free(struct ntm_dns_query *q)
{
	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	q->stub->n_queries--;
	free(q);
}

struct tcp_write {
	uv_write_t req;
	uint8_t data[];
};

static void on_written(uv_write_t *req, int status)
{
	struct ntm_dns_conn *c = req->handle->data;

	(void)status;
	free(req);
	if (c->closing)
		return;
	if (c->ending && !uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp)) {
		conn_close(c);
	} else if (c->lags && uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) < OUT_MAX / 2) {
		c->lags = false;
		for (struct ntm_dns_query *q = c->stub->queries; q; q = q->next)
			if (q->conn == c)
				ntm_dnsforward_resume(q);
	}
}

static void reply_tcp(struct ntm_dns_conn *c, const uint8_t *answer, size_t len)
{
	struct tcp_write *w = len <= NTM_DNS_MAX ? malloc(sizeof(*w) + 2 + len) : NULL;
	uv_buf_t buf;

	if (!w)
		return;
	w->data[0] = (uint8_t)(len >> 8);
	w->data[1] = (uint8_t)len;
	memcpy(w->data + 2, answer, len);
	buf = uv_buf_init((char *)w->data, (unsigned)(2 + len));
	if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written))
		free(w);
}

/* Datagrams are small and sent at once or not at all; the client asks again. */
static void reply_udp(struct ntm_dns_query *q, const uint8_t *answer, size_t len)
{
	struct sockaddr_storage ss;
	uv_buf_t buf = uv_buf_init((char *)answer, (unsigned)len);

	ntm_addr_to_sockaddr(&q->client, ntm_ip_is_v4(q->client.ip) ? AF_INET : AF_INET6, &ss);
	(void)uv_udp_try_send(q->stub->udp, &buf, 1, (struct sockaddr *)&ss);
}

void ntm_dns_reply(struct ntm_dns_query *q, const uint8_t *answer, size_t len)
{
	if (q->via)
		q->via(q->via_arg, &q->client, answer, len);
	else if (!q->tcp)
		reply_udp(q, answer, len);
	else if (q->conn && !q->conn->closing)
		reply_tcp(q->conn, answer, len);
	query_free(q);
}

bool ntm_dns_reply_part(struct ntm_dns_query *q, const uint8_t *answer, size_t len)
{
	struct ntm_dns_conn *c = q->conn;

	if (!c || c->closing)
		return false;
	reply_tcp(c, answer, len);
	uv_timer_start(&c->idle, on_conn_idle, CONN_IDLE_MS, 0);
	if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) <= OUT_MAX)
		return false;
	c->lags = true;
	return true;
}

void ntm_dns_drop(struct ntm_dns_query *q)
{
	struct ntm_dns_conn *c = q->conn;

	query_free(q);
	if (!c)
		return;
	c->ending = true;
	if (!uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp))
		conn_close(c);
}

/* End of the question at 12, or 0 if there is none that is well-formed. */
static size_t question_end(const uint8_t *wire, size_t len)
{
	size_t at = NTM_DNS_MIN;

	if (len < NTM_DNS_MIN || wire[4] || wire[5] != 1)
		return 0;
	while (at < len && wire[at]) {
		if (wire[at] > 63)
			return 0;
		at += 1u + wire[at];
	}
	return at + 5 <= len ? at + 5 : 0;
}

void ntm_dns_reply_rcode(struct ntm_dns_query *q, unsigned rcode)
{
	uint8_t out[NTM_DNS_MIN + 255 + 5];
	size_t end = question_end(q->wire, q->len);

	if (!end || end > sizeof(out))
		end = NTM_DNS_MIN;
	memcpy(out, q->wire, end);
	out[2] = (uint8_t)(0x80 | (q->wire[2] & 0x79)); /* QR; opcode and RD as asked */
	out[3] = (uint8_t)(0x80 | (rcode & 15));        /* RA */
	memset(out + 4, 0, 8);
	out[5] = end > NTM_DNS_MIN;
	ntm_dns_reply(q, out, end);
}

static struct ntm_dns_query *query_new(struct ntm_dnsstub *s, const uint8_t *wire, size_t len)
{
	struct ntm_dns_query *q = malloc(sizeof(*q) + len);

	if (!q)
		return NULL;
	memset(q, 0, sizeof(*q));
	q->stub = s;
	q->len = len;
	memcpy(q->wire, wire, len);
	q->next = s->queries;
	q->link = &s->queries;
	if (q->next)
		q->next->link = &q->next;
	s->queries = q;
	s->n_queries++;
	return q;
}

static void start(struct ntm_dns_query *q)
{
	struct ntm_dnsstub *s = q->stub;

	if (s->n_queries > NTM_DNS_IN_FLIGHT) {
		ntm_dns_reply_rcode(q, 2);
		return;
	}
	if (!ntm_dnszone_query(q))
		ntm_dnsforward_query(s->forward, q);
}

/* Too short to be answered, or an answer itself: never answered, or two stubs could talk for ever. */
static bool worth_answering(const uint8_t *wire, size_t len)
{
	return len >= NTM_DNS_MIN && !(wire[2] & 0x80);
}

static void udp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct ntm_dnsstub *s = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)s->rx, sizeof(s->rx));
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct ntm_dnsstub *s = h->data;
	struct ntm_dns_query *q;

	if (n <= 0 || !from || (flags & UV_UDP_PARTIAL) || !worth_answering((uint8_t *)buf->base, (size_t)n))
		return;
	q = query_new(s, (uint8_t *)buf->base, (size_t)n);
	if (!q)
		return;
	if (ntm_addr_from_sockaddr(&q->client, from)) {
		query_free(q);
		return;
	}
	start(q);
}

static void on_conn_closed(uv_handle_t *h)
{
	struct ntm_dns_conn *c = h->data;

	if (--c->handles)
		return;
	free(c);
}

static void conn_close(struct ntm_dns_conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->stub->n_conns--;
	for (struct ntm_dns_query *q = c->stub->queries, *next; q; q = next) {
		next = q->next;
		if (q->conn != c)
			continue;
		q->conn = NULL;
		ntm_dnszone_cancel(q);
		ntm_dnsforward_cancel(q);
		query_free(q);
	}
	uv_timer_stop(&c->idle);
	uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
	uv_close((uv_handle_t *)&c->idle, on_conn_closed);
}

static void on_conn_idle(uv_timer_t *t)
{
	conn_close(t->data);
}

static void tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct ntm_dns_conn *c = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)c->buf + c->have, (unsigned)(sizeof(c->buf) - c->have));
}

static void on_tcp(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct ntm_dns_conn *c = h->data;

	(void)buf;
	if (n < 0) {
		conn_close(c);
		return;
	}
	c->have += (size_t)n;
	uv_timer_start(&c->idle, on_conn_idle, CONN_IDLE_MS, 0);
	while (c->have >= 2 && !c->closing && !c->ending) {
		size_t len = (size_t)(c->buf[0] << 8 | c->buf[1]);
		struct ntm_dns_query *q;

		if (c->have < 2 + len)
			break;
		if (!worth_answering(c->buf + 2, len) || uv_stream_get_write_queue_size(h) > OUT_MAX) {
			conn_close(c);
			return;
		}
		q = query_new(c->stub, c->buf + 2, len);
		memmove(c->buf, c->buf + 2 + len, c->have - 2 - len);
		c->have -= 2 + len;
		if (!q)
			continue;
		q->tcp = true;
		q->client = c->client;
		q->conn = c;
		start(q);
	}
}

void ntm_dnsstub_query(struct ntm_dnsstub *s, const struct ntm_addr *client, bool tcp, const uint8_t *wire, size_t len,
		       ntm_dns_via via, void *arg)
{
	struct ntm_dns_query *q = worth_answering(wire, len) ? query_new(s, wire, len) : NULL;

	if (!q)
		return;
	q->client = *client;
	q->tcp = tcp;
	q->via = via;
	q->via_arg = arg;
	start(q);
}

void ntm_dnsstub_forget(struct ntm_dnsstub *s, const void *arg)
{
	for (struct ntm_dns_query *q = s->queries, *next; q; q = next) {
		next = q->next;
		if (!q->via || q->via_arg != arg)
			continue;
		ntm_dnszone_cancel(q);
		ntm_dnsforward_cancel(q);
		query_free(q);
	}
}

static int peer_of(struct ntm_dns_conn *c)
{
	struct sockaddr_storage ss;
	int len = sizeof(ss), err = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&ss, &len);

	return err ? err : ntm_addr_from_sockaddr(&c->client, (struct sockaddr *)&ss);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct ntm_dnsstub *s = server->data;
	struct ntm_dns_conn *c;

	if (status < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->stub = s;
	c->tcp.data = c->idle.data = c;
	uv_tcp_init(s->node->loop, &c->tcp);
	uv_timer_init(s->node->loop, &c->idle);
	c->handles = 2;
	c->next = s->conns;
	c->link = &s->conns;
	if (c->next)
		c->next->link = &c->next;
	s->conns = c;
	s->n_conns++;
	if (uv_accept(server, (uv_stream_t *)&c->tcp) || s->n_conns > CONNS_MAX || peer_of(c) ||
	    uv_read_start((uv_stream_t *)&c->tcp, tcp_alloc, on_tcp)) {
		conn_close(c);
		return;
	}
	uv_timer_start(&c->idle, on_conn_idle, CONN_IDLE_MS, 0);
}

static int listen_on(struct ntm_dnsstub *s, const struct ntm_addr *addr)
{
	struct sockaddr_storage ss;
	int err, len = sizeof(ss);

	s->udp = calloc(1, sizeof(*s->udp));
	s->tcp = calloc(1, sizeof(*s->tcp));
	if (!s->udp || !s->tcp) {
		free(s->udp);
		free(s->tcp);
		s->udp = NULL;
		s->tcp = NULL;
		return -ENOMEM;
	}
	uv_udp_init(s->node->loop, s->udp);
	uv_tcp_init(s->node->loop, s->tcp);
	s->udp->data = s->tcp->data = s;
	ntm_addr_to_sockaddr(addr, ntm_ip_is_v4(addr->ip) ? AF_INET : AF_INET6, &ss);
	err = uv_udp_bind(s->udp, (struct sockaddr *)&ss, 0);
	/* Port 0 means any, but the same for both. */
	if (!err)
		err = uv_udp_getsockname(s->udp, (struct sockaddr *)&ss, &len);
	if (!err)
		err = ntm_addr_from_sockaddr(&s->addr, (struct sockaddr *)&ss);
	if (!err)
		err = uv_tcp_bind(s->tcp, (struct sockaddr *)&ss, 0);
	if (!err)
		err = uv_listen((uv_stream_t *)s->tcp, 16, on_connection);
	if (!err)
		err = uv_udp_recv_start(s->udp, udp_alloc, on_udp);
	return err;
}

int ntm_dnsstub_open(struct ntm_dnsstub **out, struct ntm_node *n, char *why, size_t cap)
{
	return ntm_dnsstub_open_at(out, n, &n->conf.dns_listen, why, cap);
}

int ntm_dnsstub_open_at(struct ntm_dnsstub **out, struct ntm_node *n, const struct ntm_addr *addr, char *why,
			size_t cap)
{
	struct ntm_dnsstub *s = calloc(1, sizeof(*s));
	char text[NTM_ADDR_STRLEN];
	int err;

	if (!s) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	s->node = n;
	err = listen_on(s, addr);
	if (!err)
		err = ntm_dnsforward_open(&s->forward, n, addr);
	if (err) {
		snprintf(why, cap, "dns.listen = %s: %s", ntm_addr_format(addr, text), strerror(-err));
		ntm_dnsstub_close(s);
		return err;
	}
	*out = s;
	return 0;
}

int ntm_dnsstub_open_bare(struct ntm_dnsstub **out, struct ntm_node *n)
{
	static const struct ntm_addr none;
	struct ntm_dnsstub *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->node = n;
	err = ntm_dnsforward_open(&s->forward, n, &none);
	if (err)
		free(s);
	else
		*out = s;
	return err;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

void ntm_dnsstub_close(struct ntm_dnsstub *s)
{
	if (!s)
		return;
	while (s->conns)
		conn_close(s->conns);
	while (s->queries) {
		ntm_dnszone_cancel(s->queries);
		ntm_dnsforward_cancel(s->queries);
		query_free(s->queries);
	}
	if (s->udp)
		uv_close((uv_handle_t *)s->udp, on_closed);
	if (s->tcp)
		uv_close((uv_handle_t *)s->tcp, on_closed);
	ntm_dnsforward_close(s->forward);
	free(s);
}
