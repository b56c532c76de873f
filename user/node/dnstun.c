/* SPDX-License-Identifier: BSD-2-Clause */
#include "dnstun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../engine/csum.h"
#include "dnsstub.h"
#include "node.h"

enum { DNS_PORT = 53, UDP_LEN = 8, TTL = 64, IPV4_LEN = 20, IPV6_LEN = 40 };

struct ntm_dnstun {
	struct ntm_node *node;
	struct ntm_dnstun_tcp *tcp;
	int (*deliver)(void *arg, const uint8_t *packet, size_t len);
	void *arg;
	uint8_t out[IPV6_LEN + UDP_LEN + NTM_DNS_MAX], l4[UDP_LEN + NTM_DNS_MAX];
};

bool ntm_dnstun_address(const struct ntm_node *n, bool v6, uint8_t out[16])
{
	const struct ntm_addr_list *l = &n->conf.dns_addresses;

	for (size_t i = 0; i < l->n; i++)
		if (ntm_ip_is_v4(l->addrs[i].ip) == !v6) {
			memcpy(out, l->addrs[i].ip, 16);
			return true;
		}
	/* One that is given stands alone; else the DC hands out none of the two. */
	if (l->n || !n->id.known)
		return false;
	memcpy(out, v6 ? n->id.addrs.pool6.ip : n->id.addrs.pool4.ip, 16);
	return true;
}

struct ntm_node *ntm_dnstun_node(const struct ntm_dnstun *d)
{
	return d->node;
}

void ntm_dnstun_send(struct ntm_dnstun *d, const struct ntm_addr *client, uint8_t proto, uint8_t *l4, size_t len,
		     size_t csum_at)
{
	bool v6 = !ntm_ip_is_v4(client->ip);
	size_t head = v6 ? IPV6_LEN : IPV4_LEN;
	uint8_t *p = d->out, self[16];
	uint16_t sum;

	if (!ntm_dnstun_address(d->node, v6, self) || head + len > (v6 ? sizeof(d->out) : UINT16_MAX))
		return; /* a datagram that long is none; the client asks again by TCP or not at all */
	memset(p, 0, head);
	if (v6) {
		p[0] = 0x60;
		p[6] = proto;
		p[7] = TTL;
		memcpy(p + 8, self, 16);
		memcpy(p + 24, client->ip, 16);
	} else {
		p[0] = 0x45;
		p[6] = 0x40; /* don't fragment */
		p[8] = TTL;
		p[9] = proto;
		memcpy(p + 12, self + 12, 4);
		memcpy(p + 16, client->ip + 12, 4);
	}
	ntm_packet_set_len(p, v6, head + len);
	sum = ntm_sum_fold(ntm_sum(l4, len, ntm_sum_pseudo(p, v6, proto, len)));
	sum = (uint16_t)~sum;
	if (!sum && proto == IPPROTO_UDP)
		sum = 0xffff;
	memcpy(l4 + csum_at, &sum, sizeof(sum));
	memcpy(p + head, l4, len);
	(void)d->deliver(d->arg, p, head + len); /* lost, it is asked for again */
}

static void reply_udp(void *arg, const struct ntm_addr *client, const uint8_t *answer, size_t len)
{
	struct ntm_dnstun *d = arg;

	if (len > NTM_DNS_MAX - UDP_LEN)
		return;
	memset(d->l4, 0, UDP_LEN);
	ntm_put16(d->l4, DNS_PORT);
	ntm_put16(d->l4 + 2, ntohs(client->port));
	ntm_put16(d->l4 + 4, (uint32_t)(UDP_LEN + len));
	memcpy(d->l4 + UDP_LEN, answer, len);
	ntm_dnstun_send(d, client, IPPROTO_UDP, d->l4, UDP_LEN + len, 6);
}

static void udp(struct ntm_dnstun *d, const struct ntm_packet *in, const uint8_t *packet)
{
	const uint8_t *h = packet + in->l4;
	struct ntm_addr client = {0};
	size_t len;

	if (in->len < (uint32_t)in->l4 + UDP_LEN || ntm_get16(h + 2) != DNS_PORT)
		return;
	len = ntm_get16(h + 4);
	if (len < UDP_LEN || in->l4 + len > in->len)
		return;
	if (in->is_ipv6)
		memcpy(client.ip, packet + 8, 16);
	else
		ntm_ip_from_v4(client.ip, packet + 12);
	client.port = htons(ntm_get16(h));
	ntm_dnsstub_query(d->node->dns, &client, false, h + UDP_LEN, len - UDP_LEN, reply_udp, d);
}

bool ntm_dnstun_packet(struct ntm_dnstun *d, const uint8_t *packet, size_t len)
{
	struct ntm_packet in;
	uint8_t self[16], dst[16];

	if (ntm_packet_parse(&in, packet, len) || !ntm_dnstun_address(d->node, in.is_ipv6, self))
		return false;
	if (in.is_ipv6)
		memcpy(dst, packet + 24, 16);
	else
		ntm_ip_from_v4(dst, packet + 16);
	if (memcmp(dst, self, 16) != 0)
		return false;
	/* Fragments have no transport header to speak of: no client sends any. */
	if (in.l4 && in.proto == IPPROTO_UDP)
		udp(d, &in, packet);
	else if (in.l4 && in.proto == IPPROTO_TCP)
		ntm_dnstun_tcp_segment(d->tcp, &in, packet);
	return true;
}

int ntm_dnstun_open(struct ntm_dnstun **out, struct ntm_node *n,
		    int (*deliver)(void *arg, const uint8_t *packet, size_t len), void *arg, char *why, size_t cap)
{
	struct ntm_dnstun *d = calloc(1, sizeof(*d));
	int err = d ? 0 : -ENOMEM;

	if (!err) {
		d->node = n;
		d->deliver = deliver;
		d->arg = arg;
		d->tcp = ntm_dnstun_tcp_new(d);
		err = d->tcp ? 0 : -ENOMEM;
	}
	if (!err)
		err = ntm_dnsstub_open_bare(&n->dns, n);
	if (err) {
		snprintf(why, cap, "dns.mode = tun: %s", strerror(-err));
		ntm_dnstun_close(d);
		return err;
	}
	*out = d;
	return 0;
}

void ntm_dnstun_close(struct ntm_dnstun *d)
{
	if (!d)
		return;
	if (d->node->dns)
		ntm_dnsstub_forget(d->node->dns, d);
	ntm_dnstun_tcp_free(d->tcp);
	free(d);
}
