/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCP server (RFC 9293) for DNS (RFC 7766) and nothing else: connections are few, questions and answers short, and
 * the way to the client is one hop in this host. In-order data only, no options but the segment size, no congestion
 * control, a retransmission timer.
 *
 *   SYN ─► SYN_RCVD ──ACK──► OPEN ──FIN, all answered──► LAST_ACK ──ACK──► gone
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "dnsstub.h"
#include "dnstun.h"
#include "node.h"

enum {
	CONNS_MAX = 16,
	PENDING_MAX = 16, /* questions of one connection that are not answered yet */
	IN_MAX = 4096,
	OUT_MAX = 4 * (NTM_DNS_MAX + 2),
	HEADER = 20,
	MSS = 1220, /* fits IPv6's smallest MTU */
	MSS_MIN = 64,
	RTO_MS = 250,
	TRIES_MAX = 6,
	IDLE_MS = 10000,
	DNS_PORT = 53,
	ACK = 16,
};

enum state { SYN_RCVD, OPEN, LAST_ACK };

struct conn {
	struct ntm_dnstun_tcp *tcp;
	struct conn *next, **link;
	struct ntm_addr client;
	enum state state;
	bool fin_seen;
	uint32_t rcv_nxt, una, nxt; /* una: oldest unacknowledged; nxt: next to be sent */
	uint32_t wnd;               /* the client's */
	size_t mss;
	unsigned tries, pending;
	struct ntm_timer rto, idle;
	uint8_t *out; /* from una on, without SYN and FIN */
	size_t out_len;
	uint8_t in[IN_MAX];
	size_t in_len;
};

struct ntm_dnstun_tcp {
	struct ntm_dnstun *tun;
	struct conn *conns;
	unsigned n;
};

static struct ntm_timers *timers(const struct ntm_dnstun_tcp *t)
{
	return &ntm_dnstun_node(t->tun)->timers;
}

static void drop(struct conn *c)
{
	struct ntm_node *n = ntm_dnstun_node(c->tcp->tun);

	if (n->dns)
		ntm_dnsstub_forget(n->dns, c);
	ntm_timer_stop(timers(c->tcp), &c->rto);
	ntm_timer_stop(timers(c->tcp), &c->idle);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->tcp->n--;
	free(c->out);
	free(c);
}

static void put_segment(struct ntm_dnstun_tcp *t, const struct ntm_addr *client, uint32_t seq, uint32_t ack,
			unsigned flags, size_t window, const uint8_t *data, size_t len)
{
	uint8_t s[HEADER + 4 + MSS] = {0};
	size_t head = flags & NTM_TCP_SYN ? HEADER + 4 : HEADER;

	ntm_put16(s, DNS_PORT);
	ntm_put16(s + 2, ntohs(client->port));
	ntm_put32(s + 4, seq);
	ntm_put32(s + 8, ack);
	s[12] = (uint8_t)(head / 4 << 4);
	s[13] = (uint8_t)flags;
	ntm_put16(s + 14, (uint32_t)window);
	if (flags & NTM_TCP_SYN) {
		s[HEADER] = 2; /* maximum segment size */
		s[HEADER + 1] = 4;
		ntm_put16(s + HEADER + 2, MSS);
	}
	if (len)
		memcpy(s + head, data, len);
	ntm_dnstun_send(t->tun, client, IPPROTO_TCP, s, head + len, 16);
}

static void send_on(struct conn *c, uint32_t seq, unsigned flags, const uint8_t *data, size_t len)
{
	put_segment(c->tcp, &c->client, seq, c->rcv_nxt, flags | ACK, IN_MAX - c->in_len, data, len);
}

/* Sends what the window has room for. need_ack: something has to be said in any case. */
static void pump(struct conn *c, bool need_ack)
{
	size_t sent;

	if (c->state == SYN_RCVD)
		return;
	sent = c->nxt - c->una; /* of out; a FIN behind it counts as one more */
	while (c->state == OPEN && sent < c->out_len && sent < c->wnd) {
		size_t n = c->out_len - sent;

		if (n > c->mss)
			n = c->mss;
		if (n > c->wnd - sent)
			n = c->wnd - sent;
		send_on(c, c->nxt, n == c->out_len - sent ? NTM_TCP_PSH : 0, c->out + sent, n);
		c->nxt += (uint32_t)n;
		sent += n;
		need_ack = false;
	}
	if (c->state == OPEN && c->fin_seen && !c->pending && sent == c->out_len) {
		send_on(c, c->nxt++, NTM_TCP_FIN, NULL, 0);
		c->state = LAST_ACK;
		need_ack = false;
	}
	if (need_ack)
		send_on(c, c->nxt, 0, NULL, 0);
	/* A window of 0 is probed by the same timer. */
	if ((c->nxt != c->una || c->out_len) && !c->rto.armed)
		ntm_timer_arm(timers(c->tcp), &c->rto, (uint64_t)RTO_MS << c->tries);
}

static void on_rto(void *arg)
{
	struct conn *c = arg;

	if (++c->tries > TRIES_MAX) {
		drop(c);
		return;
	}
	if (c->state == SYN_RCVD) {
		send_on(c, c->una, NTM_TCP_SYN, NULL, 0);
		ntm_timer_arm(timers(c->tcp), &c->rto, (uint64_t)RTO_MS << c->tries);
		return;
	}
	/* All of it again. */
	if (c->state == LAST_ACK)
		c->state = OPEN;
	c->nxt = c->una;
	if (!c->wnd && c->out_len)
		c->wnd = 1;
	pump(c, false);
}

static void on_idle(void *arg)
{
	struct conn *c = arg;

	send_on(c, c->nxt, NTM_TCP_RST, NULL, 0);
	drop(c);
}

static void on_answer(void *arg, const struct ntm_addr *client, const uint8_t *answer, size_t len)
{
	struct conn *c = arg;
	uint8_t *grown =
	    len <= NTM_DNS_MAX && c->out_len + len + 2 <= OUT_MAX ? realloc(c->out, c->out_len + len + 2) : NULL;

	(void)client;
	c->pending--;
	if (grown) {
		c->out = grown;
		ntm_put16(c->out + c->out_len, (uint32_t)len);
		memcpy(c->out + c->out_len + 2, answer, len);
		c->out_len += len + 2;
	}
	pump(c, false);
}

/* Hands over whole questions. False: what comes is none of this protocol, and the connection is gone. */
static bool questions(struct conn *c)
{
	struct ntm_dnsstub *dns = ntm_dnstun_node(c->tcp->tun)->dns;
	uint8_t wire[IN_MAX];

	while (c->in_len >= 2 && c->pending < PENDING_MAX) {
		size_t len = ntm_get16(c->in);

		if (len < NTM_DNS_MIN || len > IN_MAX - 2) {
			on_idle(c);
			return false;
		}
		if (c->in_len < 2 + len)
			break;
		memcpy(wire, c->in + 2, len);
		c->in_len -= 2 + len;
		memmove(c->in, c->in + 2 + len, c->in_len);
		c->pending++;
		/* The answer may come within the call; one that never comes ends with the connection. */
		ntm_dnsstub_query(dns, &c->client, true, wire, len, on_answer, c);
	}
	return true;
}

static void accept_conn(struct ntm_dnstun_tcp *t, const struct ntm_addr *client, uint32_t seq, const uint8_t *h,
			size_t head)
{
	struct conn *c = t->n < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c || ntm_random(&c->una, sizeof(c->una))) {
		free(c);
		return; /* it tries again */
	}
	c->tcp = t;
	c->client = *client;
	c->rcv_nxt = seq + 1;
	c->nxt = c->una + 1;
	c->wnd = ntm_get16(h + 14);
	c->mss = 536;
	for (size_t i = HEADER; i + 1 < head && h[i];) {
		size_t n = h[i] == 1 ? 1 : h[i + 1];

		if (!n || i + n > head)
			break;
		if (h[i] == 2 && n == 4)
			c->mss = ntm_get16(h + i + 2);
		i += n;
	}
	if (c->mss > MSS)
		c->mss = MSS;
	if (c->mss < MSS_MIN)
		c->mss = MSS_MIN;
	ntm_timer_init(&c->rto, on_rto, c);
	ntm_timer_init(&c->idle, on_idle, c);
	c->next = t->conns;
	c->link = &t->conns;
	if (c->next)
		c->next->link = &c->next;
	t->conns = c;
	t->n++;
	send_on(c, c->una, NTM_TCP_SYN, NULL, 0);
	ntm_timer_arm(timers(t), &c->rto, RTO_MS);
	ntm_timer_arm(timers(t), &c->idle, IDLE_MS);
}

/* False: the last acknowledgement, the connection is gone. */
static bool acknowledged(struct conn *c, uint32_t ack)
{
	uint32_t n = ack - c->una;

	if (!n || n > c->nxt - c->una)
		return true;
	c->tries = 0;
	ntm_timer_stop(timers(c->tcp), &c->rto);
	if (c->state == SYN_RCVD) {
		c->state = OPEN;
		c->una++;
		n--;
	}
	if (n > c->out_len) { /* the FIN, too */
		drop(c);
		return false;
	}
	c->out_len -= n;
	if (c->out_len)
		memmove(c->out, c->out + n, c->out_len);
	c->una += n;
	return true;
}

static void on_conn(struct conn *c, const uint8_t *h, size_t head, size_t len)
{
	uint32_t seq = ntm_get32(h + 4), skip = c->rcv_nxt - seq;
	unsigned flags = h[13];
	bool need_ack = len || flags & (NTM_TCP_FIN | NTM_TCP_SYN);

	if (flags & NTM_TCP_RST) {
		if (!skip)
			drop(c);
		return;
	}
	if (flags & NTM_TCP_SYN && c->state == SYN_RCVD) {
		send_on(c, c->una, NTM_TCP_SYN, NULL, 0); /* ours was lost */
		return;
	}
	if (!(flags & ACK) || !acknowledged(c, ntm_get32(h + 8)))
		return;
	if (c->state == SYN_RCVD)
		return;
	c->wnd = ntm_get16(h + 14);
	if (skip <= len && !c->fin_seen) { /* new from `skip` on; what came too early comes again */
		size_t n = len - skip, room = IN_MAX - c->in_len;

		memcpy(c->in + c->in_len, h + head + skip, n < room ? n : room);
		c->in_len += n < room ? n : room;
		c->rcv_nxt += (uint32_t)(n < room ? n : room);
		c->fin_seen = flags & NTM_TCP_FIN && n <= room;
		c->rcv_nxt += c->fin_seen;
		ntm_timer_arm(timers(c->tcp), &c->idle, IDLE_MS);
	}
	if (need_ack)
		send_on(c, c->nxt, 0, NULL, 0);
	if (questions(c))
		pump(c, false);
}

void ntm_dnstun_tcp_segment(struct ntm_dnstun_tcp *t, const struct ntm_packet *in, const uint8_t *packet)
{
	const uint8_t *h = packet + in->l4;
	struct ntm_addr client = {0};
	size_t head, avail = in->len - in->l4;

	if (in->len < (uint32_t)in->l4 + HEADER)
		return;
	head = (size_t)(h[12] >> 4) * 4;
	if (head < HEADER || head > avail)
		return;
	if (in->is_ipv6)
		memcpy(client.ip, packet + 8, 16);
	else
		ntm_ip_from_v4(client.ip, packet + 12);
	client.port = htons(ntm_get16(h));
	for (struct conn *c = t->conns; c; c = c->next)
		if (ntm_addr_equal(&c->client, &client) && ntm_get16(h + 2) == DNS_PORT) {
			on_conn(c, h, head, avail - head);
			return;
		}
	if (h[13] & NTM_TCP_RST)
		return;
	if ((h[13] & (NTM_TCP_SYN | ACK)) == NTM_TCP_SYN && ntm_get16(h + 2) == DNS_PORT) {
		accept_conn(t, &client, ntm_get32(h + 4), h, head);
		return;
	}
	/* Of an earlier agent, or to another port: RFC 9293, section 3.10.7.1 */
	if (h[13] & ACK)
		put_segment(t, &client, ntm_get32(h + 8), 0, NTM_TCP_RST, 0, NULL, 0);
	else
		put_segment(t, &client, 0, ntm_get32(h + 4) + (uint32_t)(avail - head) + !!(h[13] & NTM_TCP_SYN),
			    NTM_TCP_RST | ACK, 0, NULL, 0);
}

struct ntm_dnstun_tcp *ntm_dnstun_tcp_new(struct ntm_dnstun *d)
{
	struct ntm_dnstun_tcp *t = calloc(1, sizeof(*t));

	if (t)
		t->tun = d;
	return t;
}

void ntm_dnstun_tcp_free(struct ntm_dnstun_tcp *t)
{
	while (t && t->conns)
		drop(t->conns);
	free(t);
}
