/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stream sockets over lwIP's TCP. What is received is copied into the socket's ring at once, so that the window is the
 * ring's room.
 *
 * lwIP as packaged has buffers and windows of 64 KiB, at most 180 segments queued, and window scale 1. These are what a
 * connection begins with; the rest reads them from the connection's record, so large() makes them larger there, write()
 * counts segments by itself, and read() opens the window in place of tcp_recved(). tcpopt.c rewrites the SYN.
 */
#include <errno.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "lib.h"

enum {
	QUEUE_MAX = 16384, /* segments, in a 16-bit counter */
	WRITE_SEGMENTS = 40,
	BIND_TRIES = 64,
};

static uint16_t header_len(const struct vsock *s)
{
	return ntm_ip_is_v4(s->peer.ip) ? 40 : 60;
}

/*
 * What is queued last must fit into the MSS, as lwIP appends to it. Until it has been sent, longer segments go out in
 * fragments.
 */
static void fit_mss(struct vsock *s)
{
	struct tcp_pcb *pcb = s->pcb;
	uint16_t room = (uint16_t)(s->mtu - header_len(s)), mss = s->peer_mss < room ? s->peer_mss : room;
	const struct tcp_seg *last = pcb->unsent;

	if (mss == pcb->mss)
		return;
	while (last && last->next)
		last = last->next;
	if (last && last->len > mss)
		return;
	pcb->mss = mss;
	pcb->unsent_oversize = 0;
}

/* The connection is made: no longer what lwIP was built with. */
static void large(struct vsock *s)
{
	struct tcp_pcb *pcb = s->pcb;
	bool scaled = tcp_is_flag_set(pcb, TF_WND_SCALE);
	uint32_t window = (uint32_t)s->rcvbuf;

	s->peer_mss = pcb->mss;
	s->mtu = ntm_host_mtu(s->host, s->peer.ip);
	fit_mss(s);
	if (scaled)
		pcb->rcv_scale = NTM_WND_SCALE;
	else if (window > 0xffff)
		window = 0xffff;
	pcb->rcv_wnd = pcb->rcv_ann_wnd = window;
	pcb->snd_buf = (tcpwnd_size_t)s->sndbuf;
	pcb->ssthresh = (tcpwnd_size_t)s->sndbuf;
}

/* lwIP goes on with it alone: what was written is sent, and closed. */
static void detach(struct vsock *s)
{
	struct tcp_pcb *pcb = s->pcb;

	s->pcb = NULL;
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct vsock *s = arg;

	(void)err;
	if (!s) {
		if (p)
			pbuf_free(p);
		return ERR_OK;
	}
	vs_wake(s);
	if (!p) {
		s->eof = true;
		if (s->wr_shut)
			detach(s);
		return ERR_OK;
	}
	if (s->rd_shut) {
		pcb->rcv_wnd += p->tot_len;
		tcp_update_rcv_ann_wnd(pcb);
		pbuf_free(p);
		return ERR_OK;
	}
	for (struct pbuf *q = p; q; q = q->next)
		if (ring_put(&s->rx, q->payload, q->len)) {
			/* Half of it may be in: there is no way back from here. */
			pbuf_free(p);
			tcp_abort(pcb);
			return ERR_ABRT;
		}
	pbuf_free(p);
	return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
	struct vsock *s = arg;
	int e = err == ERR_ABRT ? ETIMEDOUT : ECONNRESET;

	if (!s)
		return;
	s->pcb = NULL;
	vs_wake(s);
	if (err == ERR_CLSD) {
		s->eof = true;
		return;
	}
	if (s->state == VS_CONNECTING && err == ERR_RST)
		e = ECONNREFUSED;
	s->error = s->dead = e;
	s->state = VS_DEAD;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct vsock *s = arg;

	(void)pcb;
	if (!s || err != ERR_OK)
		return ERR_OK;
	s->state = VS_CONNECTED;
	large(s);
	vs_wake(s);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct vsock *s = arg;

	(void)pcb;
	(void)len;
	if (s)
		vs_wake(s);
	return ERR_OK;
}

static void callbacks(struct vsock *s)
{
	tcp_arg(s->pcb, s);
	tcp_recv(s->pcb, on_recv);
	tcp_sent(s->pcb, on_sent);
	tcp_err(s->pcb, on_err);
}

void tcp_vs_options(struct vsock *s)
{
	struct tcp_pcb *pcb = s->pcb;

	if (!pcb)
		return;
	if (s->keepalive)
		ip_set_option(pcb, SOF_KEEPALIVE);
	else
		ip_reset_option(pcb, SOF_KEEPALIVE);
	pcb->keep_idle = s->keepidle_s * 1000u;
	pcb->keep_intvl = s->keepintvl_s * 1000u;
	pcb->keep_cnt = s->keepcnt;
	if (s->nodelay)
		tcp_nagle_disable(pcb);
	else
		tcp_nagle_enable(pcb);
	pcb->tos = (uint8_t)s->tos;
	pcb->ttl = (uint8_t)s->ttl;
}

/* A connection of its own, bound. 0 or -errno. */
static int bound_pcb(struct vsock *s, const uint8_t ip[16], uint16_t port, struct tcp_pcb **out)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(ntm_ip_is_v4(ip) ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
	ip_addr_t addr;
	err_t err;

	if (!pcb)
		return -ENOMEM;
	tcp_bind_netif(pcb, &s->host->vif.netif);
	if (s->reuseaddr)
		ip_set_option(pcb, SOF_REUSEADDR);
	ntm_ip_to_lwip(&addr, ip);
	err = tcp_bind(pcb, &addr, port);
	if (err != ERR_OK) {
		tcp_close(pcb);
		return vs_errno(err);
	}
	*out = pcb;
	return 0;
}

/* IPv4, IPv6: which of the own addresses the socket is at. NULL: not at one of that family. */
static const uint8_t *own(const struct vsock *s, bool v6)
{
	const struct ntm_vif *v = &s->host->vif;

	if (!vs_is_any(s->local.ip))
		return ntm_ip_is_v4(s->local.ip) == !v6 ? (v6 ? v->vip6 : v->vip4) : NULL;
	if (v6)
		return s->domain == AF_INET6 ? v->vip6 : NULL;
	return s->domain == AF_INET || !s->v6only ? v->vip4 : NULL;
}

static void unbind(struct vsock *s)
{
	for (unsigned i = 0; i < 2; i++) {
		if (s->listeners[i]) {
			tcp_arg(s->listeners[i], NULL);
			tcp_close(s->listeners[i]);
		}
		s->listeners[i] = NULL;
	}
}

static int bind_families(struct vsock *s, uint16_t port)
{
	int err = 0;

	for (unsigned v6 = 0; v6 < 2 && !err; v6++)
		if (own(s, v6))
			err = bound_pcb(s, own(s, v6), port, &s->listeners[v6]);
	if (err)
		unbind(s);
	return err;
}

int tcp_vs_bind(struct vsock *s, const struct ntm_addr *a)
{
	uint16_t port = ntohs(a->port);
	int err = -EADDRINUSE;

	s->local = *a;
	for (unsigned i = 0; i < (port ? 1 : BIND_TRIES) && err == -EADDRINUSE; i++) {
		s->local.port = htons(port ? port : vs_random_port());
		err = bind_families(s, ntohs(s->local.port));
	}
	s->bound = !err;
	if (err)
		s->local = (struct ntm_addr){0};
	return err;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct vsock *l = arg, *s;

	if (!pcb || err != ERR_OK)
		return ERR_VAL;
	s = l && l->pending < l->backlog ? vs_new(l->host, l->domain, SOCK_STREAM, IPPROTO_TCP) : NULL;
	if (!s) {
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	s->state = VS_CONNECTED;
	s->bound = true;
	s->pcb = pcb;
	s->rcvbuf = l->rcvbuf;
	s->sndbuf = l->sndbuf;
	s->keepalive = l->keepalive;
	s->keepidle_s = l->keepidle_s;
	s->keepintvl_s = l->keepintvl_s;
	s->keepcnt = l->keepcnt;
	s->nodelay = l->nodelay;
	s->tos = l->tos;
	s->ttl = l->ttl;
	s->linger_on = l->linger_on;
	s->linger_s = l->linger_s;
	ntm_ip_from_lwip(s->local.ip, &pcb->local_ip);
	ntm_ip_from_lwip(s->peer.ip, &pcb->remote_ip);
	s->local.port = htons(pcb->local_port);
	s->peer.port = htons(pcb->remote_port);
	callbacks(s);
	tcp_vs_options(s);
	large(s);
	s->listener = l;
	if (l->accept_last)
		l->accept_last->accept_next = s;
	else
		l->accept_first = s;
	l->accept_last = s;
	l->pending++;
	vs_wake(l);
	return ERR_OK;
}

int tcp_vs_listen(struct vsock *s, int backlog)
{
	err_t err = ERR_OK;

	s->backlog = backlog < 1 ? 1 : backlog > VS_BACKLOG_MAX ? VS_BACKLOG_MAX : (unsigned)backlog;
	if (s->state == VS_LISTEN)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		struct tcp_pcb *pcb =
		    s->listeners[i] ? tcp_listen_with_backlog_and_err(s->listeners[i], 255, &err) : NULL;

		if (s->listeners[i] && !pcb)
			return vs_errno(err);
		if (!pcb)
			continue;
		s->listeners[i] = pcb;
		tcp_arg(pcb, s);
		tcp_accept(pcb, on_accept);
	}
	s->state = VS_LISTEN;
	return 0;
}

int tcp_vs_connect(struct vsock *s)
{
	bool v6 = !ntm_ip_is_v4(s->peer.ip);
	ip_addr_t to;
	err_t err;

	s->pcb = s->listeners[v6];
	s->listeners[v6] = NULL;
	unbind(s);
	if (!s->pcb)
		return -EADDRNOTAVAIL;
	memcpy(s->local.ip, v6 ? s->host->vif.vip6 : s->host->vif.vip4, 16);
	callbacks(s);
	tcp_vs_options(s);
	ntm_vif_select(&s->host->vif, NULL);
	ntm_ip_to_lwip(&to, s->peer.ip);
	err = tcp_connect(s->pcb, &to, ntohs(s->peer.port), on_connected);
	if (err == ERR_OK)
		return 0;
	tcp_close(s->pcb);
	s->pcb = NULL;
	return vs_errno(err);
}

size_t tcp_vs_room(const struct vsock *s)
{
	return s->pcb && s->pcb->snd_queuelen < QUEUE_MAX ? s->pcb->snd_buf : 0;
}

size_t tcp_vs_unacked(const struct vsock *s)
{
	return s->pcb && s->state == VS_CONNECTED ? s->pcb->snd_lbb - s->pcb->lastack : 0;
}

ssize_t tcp_vs_write(struct vsock *s, const void *data, size_t len, bool more)
{
	struct tcp_pcb *pcb = s->pcb;
	size_t room = tcp_vs_room(s), done = 0, chunk_max;

	fit_mss(s);
	chunk_max = (size_t)pcb->mss * WRITE_SEGMENTS;
	if (len > room)
		len = room;
	if (chunk_max > 0xffff)
		chunk_max = 0xffff;
	while (done < len && pcb->snd_queuelen < QUEUE_MAX) {
		size_t n = len - done < chunk_max ? len - done : chunk_max;
		uint16_t queued = pcb->snd_queuelen, counted = queued ? 1 : 0;
		uint8_t flags = TCP_WRITE_FLAG_COPY;
		err_t err;

		if (more || done + n < len)
			flags |= TCP_WRITE_FLAG_MORE;
		/* It stops at TCP_SND_QUEUELEN, which is meant for 64 KiB. */
		pcb->snd_queuelen = counted;
		err = tcp_write(pcb, (const uint8_t *)data + done, (uint16_t)n, flags);
		pcb->snd_queuelen = (uint16_t)(pcb->snd_queuelen + queued - counted);
		if (err != ERR_OK)
			break;
		done += n;
	}
	if (!done)
		return len ? -EAGAIN : 0;
	ntm_vif_select(&s->host->vif, NULL);
	/* What it can't send now is sent by its timer. */
	(void)tcp_output(pcb);
	return (ssize_t)done;
}

void tcp_vs_read(struct vsock *s, size_t len)
{
	struct tcp_pcb *pcb = s->pcb;

	if (!pcb || s->eof || !len)
		return;
	pcb->rcv_wnd += (tcpwnd_size_t)len;
	if (tcp_update_rcv_ann_wnd(pcb) >= (uint32_t)s->rcvbuf / 4) {
		ntm_vif_select(&s->host->vif, NULL);
		tcp_ack_now(pcb);
		(void)tcp_output(pcb);
	}
}

void tcp_vs_shutdown_tx(struct vsock *s)
{
	if (s->wr_shut)
		return;
	s->wr_shut = true;
	if (!s->pcb)
		return;
	ntm_vif_select(&s->host->vif, NULL);
	/* It is asked for again by lwIP's timer if there is no memory now. */
	(void)tcp_shutdown(s->pcb, 0, 1);
	if (s->eof && s->pcb)
		detach(s);
}

static void abandon_children(struct vsock *s)
{
	struct vsock *c, *next;

	for (c = s->accept_first; c; c = next) {
		next = c->accept_next;
		if (c->pcb) {
			struct tcp_pcb *pcb = c->pcb;

			detach(c);
			tcp_abort(pcb);
		}
		ring_free(&c->rx);
		vs_free(c);
	}
	s->accept_first = s->accept_last = NULL;
}

void tcp_vs_close(struct vsock *s)
{
	struct tcp_pcb *pcb = s->pcb;

	abandon_children(s);
	unbind(s);
	if (pcb) {
		bool unread = s->rx.len && !s->eof;

		detach(s);
		ntm_vif_select(&s->host->vif, NULL);
		if (s->state == VS_CONNECTED && (unread || (s->linger_on && !s->linger_s))) {
			tcp_abort(pcb);
		} else {
			/* Else it would take what is not in the window for unread data, and reset the connection. */
			if (s->state == VS_CONNECTED)
				pcb->rcv_wnd = TCP_WND_MAX(pcb);
			if (tcp_close(pcb) != ERR_OK)
				tcp_abort(pcb);
		}
	}
	ring_free(&s->rx);
}

void tcp_vs_path_changed(struct vsock *s, uint16_t mtu, bool moved)
{
	if (!s->pcb || s->type != SOCK_STREAM)
		return;
	if (mtu && s->state == VS_CONNECTED) {
		s->mtu = mtu;
		fit_mss(s);
	}
	/* What was lost on the old way is sent on the new one now, not when a timer has backed off; and a host that
	 * moves often must not look like a peer that is gone. */
	if (moved && s->pcb->unacked) {
		uint8_t tries = s->pcb->nrtx;

		ntm_vif_select(&s->host->vif, NULL);
		tcp_rexmit_rto(s->pcb);
		if (s->pcb)
			s->pcb->nrtx = tries;
	}
}
