/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is not the zone's goes to the upstreams as it came, but for a random ID and, each query having its own socket, a
 * random source port (RFC 5452); UDP over UDP, TCP over TCP. An answer must repeat ID and question. What is not for a
 * resolver, and came by the hook, goes with its own ID (signatures may cover it), once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "../common/crypto.h"
#include "../dataplane/dns_hook.h"
#include "dnsmode.h"
#include "dnsstub.h"
#include "node.h"

enum {
	UPSTREAMS_MAX = 8,
	OUT_MAX = 256,      /* queries out at once; each is a socket */
	TRY_MS = 1500,      /* then the next upstream */
	LAST_TRY_MS = 3000, /* nobody is asked after it; clients wait for 5 s */
	TRIES_MAX = 3,
	VERBATIM_MS = 10000, /* of silence; the client has its own patience */
	QTYPE_IXFR = 251,
	QTYPE_AXFR = 252,
};

struct ntm_dnsforward {
	struct ntm_node *node;
	struct ntm_addr self;
	struct ntm_addr up[UPSTREAMS_MAX];
	size_t n_up;
	struct stat seen;
	unsigned out;
};

/* One query out; freed when its handles are closed. q is NULL when the answer is no longer wanted. */
struct out {
	struct ntm_dnsforward *f;
	struct ntm_dns_query *q;
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp;
	} sock;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	unsigned tries, handles;
	bool tcp, sock_open, dead;
	bool verbatim, stream; /* stream: answers until the server closes */
	uint16_t id;
	struct ntm_addr up[UPSTREAMS_MAX];
	size_t n_up;
	size_t have;
	uint8_t *sent; /* TCP: with the length before it */
	uint8_t buf[2 + NTM_DNS_MAX];
};

static void try_next(struct out *o);
static void on_timeout(uv_timer_t *t);

size_t ntm_dnsforward_parse(const char *path, const struct ntm_addr *self, struct ntm_addr *out, size_t max)
{
	char line[512], text[128];
	FILE *f = fopen(path, "re");
	struct ntm_addr a;
	size_t n = 0;

	if (!f)
		return 0;
	while (n < max && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " nameserver %127s", text) != 1)
			continue;
		memset(&a, 0, sizeof(a));
		/* An interface's scope ("fe80::1%eth0") is beyond an address: left out. */
		if (ntm_ip_parse(text, a.ip))
			continue;
		a.port = htons(53);
		if (!ntm_addr_equal(&a, self))
			out[n++] = a;
	}
	fclose(f);
	return n;
}

static bool changed(const struct stat *a, const struct stat *b)
{
	return a->st_ino != b->st_ino || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
	       a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

static void refresh(struct ntm_dnsforward *f)
{
	const struct ntm_addr_list *conf = &f->node->conf.dns_upstreams;
	struct stat st;
	char path[512];

	if (conf->n) {
		f->n_up = 0;
		for (size_t i = 0; i < conf->n && f->n_up < UPSTREAMS_MAX; i++)
			if (!ntm_addr_equal(&conf->addrs[i], &f->self))
				f->up[f->n_up++] = conf->addrs[i];
		memset(&f->seen, 0, sizeof(f->seen));
		return;
	}
	/* One stat() a query is cheaper than being right about where inotify loses symbolic links. */
	if (stat(NTM_RESOLV_CONF, &st)) {
		f->n_up = 0;
		memset(&f->seen, 0, sizeof(f->seen));
		return;
	}
	if (!changed(&st, &f->seen))
		return;
	f->seen = st;
	f->n_up = ntm_dnsforward_parse(NTM_RESOLV_CONF, &f->self, f->up, UPSTREAMS_MAX);
	if (f->n_up || !f->node->conf.runtime_dir)
		return;
	/* In mode resolvconf the stub may be all that is left there. */
	ntm_dnsmode_path(f->node->conf.runtime_dir, NTM_RESOLV_BACKUP, path, sizeof(path));
	f->n_up = ntm_dnsforward_parse(path, &f->self, f->up, UPSTREAMS_MAX);
}

size_t ntm_dnsforward_upstreams(struct ntm_dnsforward *f, struct ntm_addr *out, size_t max)
{
	size_t n;

	refresh(f);
	n = f->n_up < max ? f->n_up : max;
	memcpy(out, f->up, n * sizeof(*out));
	return n;
}

static void maybe_free(struct out *o)
{
	if (!o->dead || o->handles)
		return;
	free(o->sent);
	free(o);
}

static void on_closed(uv_handle_t *h)
{
	struct out *o = h->data;

	o->handles--;
	if (h == &o->sock.handle) {
		o->sock_open = false;
		/* An attempt is over when its socket is: only then can the next use the handle. */
		if (!o->dead) {
			try_next(o);
			return;
		}
	}
	maybe_free(o);
}

static void close_socket(struct out *o)
{
	if (o->sock_open && !uv_is_closing(&o->sock.handle))
		uv_close(&o->sock.handle, on_closed);
}

/* The end of it, with or without an answer. */
static void end(struct out *o)
{
	if (o->dead)
		return;
	o->dead = true;
	o->f->out--;
	uv_timer_stop(&o->timer);
	close_socket(o);
	uv_close((uv_handle_t *)&o->timer, on_closed);
}

static void fail(struct out *o)
{
	struct ntm_dns_query *q = o->q;

	o->q = NULL;
	end(o);
	if (q) {
		q->pending = NULL;
		if (o->verbatim)
			ntm_dns_drop(q);
		else
			ntm_dns_reply_rcode(q, 2);
	}
}

static size_t name_end(const uint8_t *wire, size_t len)
{
	size_t at = NTM_DNS_MIN;

	while (at < len && wire[at]) {
		if (wire[at] > 63)
			return 0;
		at += 1u + wire[at];
	}
	return at + 5 <= len ? at : 0;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* ID, response bit, and the question word for word (names without case). */
static bool answers(const struct out *o, const uint8_t *wire, size_t len)
{
	const struct ntm_dns_query *q = o->q;
	size_t end_q, end_a;

	if (len < NTM_DNS_MIN || wire[0] != o->id >> 8 || wire[1] != (o->id & 255) || !(wire[2] & 0x80))
		return false;
	if (o->verbatim) /* an UPDATE's needs no zone section */
		return !((wire[2] ^ q->wire[2]) & 0x78);
	end_q = name_end(q->wire, q->len);
	end_a = name_end(wire, len);
	/* Some servers leave the question out of an error. */
	if (!wire[4] && !wire[5])
		return (wire[3] & 15) != 0;
	if (!end_q || end_a != end_q || memcmp(wire + end_q + 1, q->wire + end_q + 1, 4))
		return false;
	for (size_t i = NTM_DNS_MIN; i < end_q; i++)
		if (lower(wire[i]) != lower(q->wire[i]))
			return false;
	return true;
}

static void succeed(struct out *o, uint8_t *wire, size_t len)
{
	struct ntm_dns_query *q = o->q;

	o->q = NULL;
	wire[0] = q->wire[0];
	wire[1] = q->wire[1];
	q->pending = NULL;
	ntm_dns_reply(q, wire, len);
	end(o);
}

static void alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct out *o = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)o->buf + o->have, (unsigned)(sizeof(o->buf) - o->have));
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct out *o = h->data;

	(void)from;
	if (n < 0) { /* port unreachable: no use in waiting */
		close_socket(o);
		return;
	}
	if (n > 0 && o->q && !(flags & UV_UDP_PARTIAL) && answers(o, (uint8_t *)buf->base, (size_t)n))
		succeed(o, (uint8_t *)buf->base, (size_t)n);
}

/* Every whole message in the buffer, to the client. */
static void relay(struct out *o)
{
	bool lags = false;
	size_t len;

	while (o->have >= 2 && o->have >= 2 + (len = (size_t)(o->buf[0] << 8 | o->buf[1]))) {
		if (!answers(o, o->buf + 2, len)) {
			close_socket(o);
			return;
		}
		lags = ntm_dns_reply_part(o->q, o->buf + 2, len);
		o->have -= 2 + len;
		memmove(o->buf, o->buf + 2 + len, o->have);
	}
	uv_timer_start(&o->timer, on_timeout, VERBATIM_MS, 0);
	if (lags)
		uv_read_stop((uv_stream_t *)&o->sock.tcp);
}

static void on_tcp(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct out *o = h->data;
	size_t len;

	(void)buf;
	if (n < 0) {
		close_socket(o);
		return;
	}
	o->have += (size_t)n;
	if (o->stream && o->q) {
		relay(o);
		return;
	}
	len = o->have >= 2 ? (size_t)(o->buf[0] << 8 | o->buf[1]) : 0;
	if (o->have < 2 || o->have < 2 + len || !o->q)
		return;
	if (answers(o, o->buf + 2, len))
		succeed(o, o->buf + 2, len);
	else
		close_socket(o);
}

static void on_write(uv_write_t *w, int status)
{
	struct out *o = w->data;

	if (status < 0)
		close_socket(o);
}

static void on_connect(uv_connect_t *c, int status)
{
	struct out *o = c->data;
	uv_buf_t buf = uv_buf_init((char *)o->sent, (unsigned)(2 + (o->sent[0] << 8 | o->sent[1])));

	o->write.data = o;
	if (status < 0 || uv_read_start((uv_stream_t *)&o->sock.tcp, alloc, on_tcp) ||
	    uv_write(&o->write, (uv_stream_t *)&o->sock.tcp, &buf, 1, on_write))
		close_socket(o);
}

static void on_timeout(uv_timer_t *t)
{
	struct out *o = t->data;

	if (o->sock_open)
		close_socket(o);
	else
		try_next(o);
}

/*
 * Names are asked for where they were before there was a gateway: they may be needed to get to it. And the hook is not
 * to bring the query back.
 */
static int leave_gateway(struct out *o)
{
	const struct ntm_node_config *c = &o->f->node->conf;
	struct ntm_dns_hook *hook = ntm_dnsmode_hook(o->f->node->dnsmode);
	int mark = (int)c->gateway_mark, err;
	uv_os_fd_t fd;

	if (!c->gateway_routes.n && !hook)
		return 0;
	err = uv_fileno(&o->sock.handle, &fd);
	if (!err && hook)
		err = ntm_dns_hook_exempt(hook, fd);
	if (!c->gateway_routes.n)
		return err;
	return !err && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ? -errno : err;
}

static int send_udp(struct out *o, const struct sockaddr *sa)
{
	uv_buf_t buf = uv_buf_init((char *)o->sent + 2, (unsigned)o->q->len);
	int err = uv_udp_init_ex(o->f->node->loop, &o->sock.udp, sa->sa_family);

	if (err)
		return err;
	o->sock.handle.data = o;
	o->sock_open = true;
	o->handles++;
	err = leave_gateway(o);
	if (!err)
		err = uv_udp_connect(&o->sock.udp, sa);
	if (!err)
		err = uv_udp_recv_start(&o->sock.udp, alloc, on_udp);
	if (!err) {
		err = uv_udp_try_send(&o->sock.udp, &buf, 1, NULL);
		if (err > 0)
			err = 0;
	}
	return err;
}

static int send_tcp(struct out *o, const struct sockaddr *sa)
{
	int err = uv_tcp_init_ex(o->f->node->loop, &o->sock.tcp, sa->sa_family);

	if (err)
		return err;
	o->sock.handle.data = o;
	o->sock_open = true;
	o->handles++;
	o->connect.data = o;
	err = leave_gateway(o);
	return err ? err : uv_tcp_connect(&o->connect, &o->sock.tcp, sa, on_connect);
}

static bool was_last(const struct out *o)
{
	return o->tries >= (o->verbatim ? 1 : TRIES_MAX) || o->tries >= o->n_up + 1;
}

static uint64_t patience_ms(const struct out *o)
{
	if (o->verbatim)
		return VERBATIM_MS;
	return was_last(o) ? LAST_TRY_MS : TRY_MS;
}

static void try_next(struct out *o)
{
	const struct ntm_addr *up;
	struct sockaddr_storage ss;
	int err;

	if (was_last(o) || !o->q || ntm_random(&o->id, sizeof(o->id))) {
		fail(o);
		return;
	}
	up = &o->up[o->tries++ % o->n_up];
	if (o->verbatim)
		o->id = (uint16_t)(o->q->wire[0] << 8 | o->q->wire[1]);
	o->have = 0;
	o->sent[0] = (uint8_t)(o->q->len >> 8);
	o->sent[1] = (uint8_t)o->q->len;
	memcpy(o->sent + 2, o->q->wire, o->q->len);
	o->sent[2] = (uint8_t)(o->id >> 8);
	o->sent[3] = (uint8_t)o->id;
	ntm_addr_to_sockaddr(up, ntm_ip_is_v4(up->ip) ? AF_INET : AF_INET6, &ss);
	err = o->tcp ? send_tcp(o, (struct sockaddr *)&ss) : send_udp(o, (struct sockaddr *)&ss);
	uv_timer_start(&o->timer, on_timeout, patience_ms(o), 0);
	if (err) {
		if (o->sock_open)
			close_socket(o);
		else
			fail(o);
	}
}

static bool origin(struct ntm_dns_query *q)
{
	struct ntm_dns_hook *hook = ntm_dnsmode_hook(ntm_dnsstub_node(q->stub)->dnsmode);

	return hook && !ntm_dns_hook_origin(hook, &q->client, ntm_dnsstub_addr(q->stub), q->tcp, &q->asked);
}

static bool transfer(const struct ntm_dns_query *q)
{
	size_t at = name_end(q->wire, q->len);

	return at && !(q->wire[2] & 0x78) && !q->wire[at + 1] &&
	       (q->wire[at + 2] == QTYPE_IXFR || q->wire[at + 2] == QTYPE_AXFR);
}

bool ntm_dnsforward_verbatim(struct ntm_dns_query *q)
{
	q->verbatim = ((q->wire[2] & 0x78) || transfer(q)) && origin(q);
	return q->verbatim;
}

void ntm_dnsforward_query(struct ntm_dnsforward *f, struct ntm_dns_query *q)
{
	struct out *o;
	bool hooked;

	/* By the hook: to the server that was asked, as the client has its reasons. */
	hooked = q->verbatim || origin(q);
	refresh(f);
	if ((!f->n_up && !hooked) || f->out >= OUT_MAX || !(o = malloc(sizeof(*o)))) {
		ntm_dns_reply_rcode(q, 2);
		return;
	}
	memset(o, 0, offsetof(struct out, buf));
	o->sent = malloc(2 + q->len);
	if (!o->sent) {
		free(o);
		ntm_dns_reply_rcode(q, 2);
		return;
	}
	o->f = f;
	o->q = q;
	o->tcp = q->tcp;
	o->verbatim = q->verbatim;
	o->stream = q->tcp && q->verbatim && transfer(q);
	o->n_up = f->n_up;
	memcpy(o->up, f->up, sizeof(o->up));
	if (hooked) {
		o->n_up = 1;
		o->up[0] = q->asked;
	}
	uv_timer_init(f->node->loop, &o->timer);
	o->timer.data = o;
	o->handles = 1;
	f->out++;
	q->pending = o;
	try_next(o);
}

void ntm_dnsforward_cancel(struct ntm_dns_query *q)
{
	struct out *o = q->held ? NULL : q->pending;

	if (!o)
		return;
	q->pending = NULL;
	o->q = NULL;
	end(o);
}

void ntm_dnsforward_resume(struct ntm_dns_query *q)
{
	struct out *o = q->held ? NULL : q->pending;

	if (!o || !o->stream || !o->sock_open || uv_is_closing(&o->sock.handle) ||
	    !uv_is_readable((uv_stream_t *)&o->sock.tcp) || uv_is_active(&o->sock.handle))
		return;
	uv_timer_start(&o->timer, on_timeout, VERBATIM_MS, 0);
	if (uv_read_start((uv_stream_t *)&o->sock.tcp, alloc, on_tcp))
		close_socket(o);
}

int ntm_dnsforward_open(struct ntm_dnsforward **out, struct ntm_node *n, const struct ntm_addr *self)
{
	struct ntm_dnsforward *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->node = n;
	f->self = *self;
	refresh(f);
	*out = f;
	return 0;
}

void ntm_dnsforward_close(struct ntm_dnsforward *f)
{
	/* Its queries were cancelled by the stub; what closes still doesn't look at f. */
	free(f);
}
