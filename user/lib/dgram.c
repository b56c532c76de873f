/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagram sockets: UDP, and ICMP echo in the manner of Linux's ping sockets (the port is the echo's identifier). */
#include <errno.h>
#include <lwip/raw.h>
#include <lwip/udp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"

enum {
	BIND_TRIES = 64,
	ICMP_REPLY = 0,
	ICMP_REQUEST = 8,
	ICMP_REQUEST6 = 128,
	ICMP_REPLY6 = 129,
	ICMP_HDR = 8,
	UDP_MAX = 65507
};

static bool is_ping(const struct vsock *s)
{
	return s->protocol != IPPROTO_UDP;
}

static void queue(struct vsock *s, const struct ntm_addr *from, const struct pbuf *p, size_t skip)
{
	size_t len = p->tot_len - skip;
	struct dgram *d;

	if (s->rd_shut || (s->state == VS_CONNECTED &&
			   (memcmp(from->ip, s->peer.ip, 16) || (!is_ping(s) && from->port != s->peer.port))))
		return;
	if (s->dg_bytes + len + VS_DGRAM_OVERHEAD > (size_t)s->rcvbuf)
		return;
	d = malloc(sizeof(*d) + len);
	if (!d)
		return;
	d->next = NULL;
	d->from = *from;
	d->len = len;
	pbuf_copy_partial(p, d->data, (u16_t)len, (u16_t)skip);
	s->dg_bytes += len + VS_DGRAM_OVERHEAD;
	if (s->dg_last)
		s->dg_last->next = d;
	else
		s->dg_first = d;
	s->dg_last = d;
	vs_wake(s);
}

static void on_udp(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
	struct ntm_addr from = {.port = htons(port)};

	(void)pcb;
	ntm_ip_from_lwip(from.ip, addr);
	queue(arg, &from, p, 0);
	pbuf_free(p);
}

/* An echo reply with this socket's identifier; p begins with the IP header. Others see it, too: 0. */
static u8_t on_icmp(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *addr)
{
	struct vsock *s = arg;
	struct ntm_addr from = {0};
	size_t skip = IP_IS_V4(addr) ? (size_t)(pbuf_get_at(p, 0) & 15) * 4 : 40;
	uint8_t hdr[ICMP_HDR];

	(void)pcb;
	if (pbuf_copy_partial(p, hdr, sizeof(hdr), (u16_t)skip) != sizeof(hdr) ||
	    hdr[0] != (IP_IS_V4(addr) ? ICMP_REPLY : ICMP_REPLY6) || memcmp(hdr + 4, &s->local.port, 2))
		return 0;
	ntm_ip_from_lwip(from.ip, addr);
	queue(s, &from, p, skip);
	return 0;
}

static const uint8_t *own(const struct vsock *s, bool v6)
{
	const struct ntm_vif *v = &s->host->vif;

	if (!vs_is_any(s->local.ip) && ntm_ip_is_v4(s->local.ip) == v6)
		return NULL;
	if (v6)
		return s->domain == AF_INET6 ? v->vip6 : NULL;
	return s->domain == AF_INET || (!s->v6only && !is_ping(s)) ? v->vip4 : NULL;
}

static void unbind(struct vsock *s)
{
	for (unsigned i = 0; i < 2; i++) {
		if (s->udp[i])
			udp_remove(s->udp[i]);
		s->udp[i] = NULL;
	}
	if (s->raw)
		raw_remove(s->raw);
	s->raw = NULL;
}

void dgram_vs_options(struct vsock *s)
{
	for (unsigned i = 0; i < 2; i++)
		if (s->udp[i]) {
			s->udp[i]->tos = (uint8_t)s->tos;
			s->udp[i]->ttl = (uint8_t)s->ttl;
		}
	if (s->raw) {
		s->raw->tos = (uint8_t)s->tos;
		s->raw->ttl = (uint8_t)s->ttl;
	}
}

static int bind_ping(struct vsock *s)
{
	bool v6 = s->domain == AF_INET6;
	ip_addr_t ip;

	s->raw = raw_new_ip_type(v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (!s->raw)
		return -ENOMEM;
	raw_bind_netif(s->raw, &s->host->vif.netif);
	ntm_ip_to_lwip(&ip, v6 ? s->host->vif.vip6 : s->host->vif.vip4);
	raw_bind(s->raw, &ip);
	raw_recv(s->raw, on_icmp, s);
	if (v6) {
		s->raw->chksum_reqd = 1;
		s->raw->chksum_offset = 2;
	}
	return 0;
}

static int bind_udp(struct vsock *s, uint16_t port)
{
	ip_addr_t ip;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		err_t err;

		if (!own(s, v6))
			continue;
		s->udp[v6] = udp_new_ip_type(v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
		if (!s->udp[v6])
			return -ENOMEM;
		udp_bind_netif(s->udp[v6], &s->host->vif.netif);
		if (s->reuseaddr)
			ip_set_option(s->udp[v6], SOF_REUSEADDR);
		ntm_ip_to_lwip(&ip, own(s, v6));
		err = udp_bind(s->udp[v6], &ip, port);
		if (err != ERR_OK)
			return vs_errno(err);
		udp_recv(s->udp[v6], on_udp, s);
	}
	return 0;
}

int dgram_vs_bind(struct vsock *s, const struct ntm_addr *a)
{
	uint16_t port = ntohs(a->port);
	int err = -EADDRINUSE;

	s->local = *a;
	for (unsigned i = 0; i < (port ? 1 : BIND_TRIES) && err == -EADDRINUSE; i++) {
		s->local.port = htons(port ? port : vs_random_port());
		err = is_ping(s) ? bind_ping(s) : bind_udp(s, ntohs(s->local.port));
		if (err)
			unbind(s);
	}
	s->bound = !err;
	if (err)
		s->local = (struct ntm_addr){0};
	dgram_vs_options(s);
	return err;
}

/* Header and data of an echo request, as the caller wrote them: identifier and checksum are ours. */
static err_t send_echo(struct vsock *s, struct pbuf *p, const ip_addr_t *to)
{
	uint8_t *h = p->payload;
	uint32_t sum = 0;

	memcpy(h + 4, &s->local.port, 2);
	h[2] = h[3] = 0;
	if (IP_IS_V4(to)) {
		for (size_t i = 0; i < p->len; i++)
			sum += i % 2 ? h[i] : (uint32_t)h[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
		sum = ~((sum & 0xffff) + (sum >> 16));
		h[2] = (uint8_t)(sum >> 8);
		h[3] = (uint8_t)sum;
	}
	return raw_sendto(s->raw, p, to);
}

ssize_t dgram_vs_send(struct vsock *s, const void *data, size_t len, const struct ntm_addr *to)
{
	const uint8_t *h = data;
	bool v6 = !ntm_ip_is_v4(to->ip);
	struct pbuf *p;
	ip_addr_t addr;
	err_t err;

	if (len > UDP_MAX)
		return -EMSGSIZE;
	if (is_ping(s) && (len < ICMP_HDR || h[0] != (v6 ? ICMP_REQUEST6 : ICMP_REQUEST) || h[1]))
		return -EINVAL;
	if (is_ping(s) ? v6 != (s->domain == AF_INET6) : !s->udp[v6])
		return s->domain == AF_INET ? -EAFNOSUPPORT : -ENETUNREACH;
	p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
	if (!p)
		return -ENOBUFS;
	if (len)
		memcpy(p->payload, data, len);
	ntm_ip_to_lwip(&addr, to->ip);
	ntm_vif_select(&s->host->vif, to->ip);
	err = is_ping(s) ? send_echo(s, p, &addr) : udp_sendto(s->udp[v6], p, &addr, ntohs(to->port));
	pbuf_free(p);
	return err == ERR_OK ? (ssize_t)len : vs_errno(err);
}

void dgram_vs_close(struct vsock *s)
{
	struct dgram *d, *next;

	unbind(s);
	for (d = s->dg_first; d; d = next) {
		next = d->next;
		free(d);
	}
	s->dg_first = s->dg_last = NULL;
	s->dg_bytes = 0;
}
