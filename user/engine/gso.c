/* SPDX-License-Identifier: BSD-2-Clause */
#include "gso.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "csum.h"

enum { UDP_LEN = 8, TCP_LEN = 20, TCP_FLAGS = 13, TCP_CSUM = 16, UDP_CSUM = 6 };

/* Length of the transport header, 0: the packet is not what the virtio header says. */
static size_t transport_len(const struct ntm_gso *g, uint8_t type)
{
	const struct ntm_packet *in = &g->in;
	bool tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
	size_t len = tcp ? TCP_LEN : UDP_LEN;
	if (!in->l4 || in->proto != (tcp ? IPPROTO_TCP : IPPROTO_UDP) || in->len < in->l4 + len)
		return 0;
	if (tcp && in->is_ipv6 != (type == VIRTIO_NET_HDR_GSO_TCPV6))
		return 0;
	if (tcp)
		len = (size_t)(g->packet[in->l4 + 12] >> 4) * 4;
	return len < (tcp ? TCP_LEN : UDP_LEN) || in->len <= in->l4 + len ? 0 : len;
}

static int begin_super(struct ntm_gso *g, const struct virtio_net_hdr *vh, uint16_t mtu)
{
	uint8_t type = vh->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	if (type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6 && type != VIRTIO_NET_HDR_GSO_UDP_L4)
		return -EOPNOTSUPP;
	size_t l4_len = transport_len(g, type);
	if (!l4_len || !vh->gso_size)
		return -EBADMSG;
	/* Neither carries more than a segment. */
	if (g->in.proto == IPPROTO_TCP && g->packet[g->in.l4 + TCP_FLAGS] & (NTM_TCP_SYN | NTM_TCP_RST))
		return -EBADMSG;
	g->hdr_len = (uint16_t)(g->in.l4 + l4_len);
	g->size = vh->gso_size;
	size_t payload = g->in.len - g->hdr_len;
	if (payload < g->size)
		g->size = (uint16_t)payload;
	if ((size_t)g->hdr_len + g->size > mtu)
		return -EMSGSIZE;
	g->n = (unsigned)((payload + g->size - 1) / g->size);
	return 0;
}

static int begin_csum(struct ntm_gso *g, const struct virtio_net_hdr *vh)
{
	size_t at = (size_t)vh->csum_start + vh->csum_offset;
	if (vh->csum_start < 20 || vh->csum_start >= g->in.len || at + 2 > g->in.len)
		return -EBADMSG;
	g->csum_from = vh->csum_start;
	g->csum_at = (uint16_t)at;
	return 0;
}

int ntm_gso_begin(struct ntm_gso *g, const struct virtio_net_hdr *vh, const uint8_t *packet, size_t len, uint16_t mtu)
{
	*g = (struct ntm_gso){.packet = packet, .n = 1};
	int err = len > NTM_SUPER_MAX ? -EBADMSG : ntm_packet_parse(&g->in, packet, len);
	if (err)
		return err;
	if (vh->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return begin_super(g, vh, mtu);
	if (g->in.len > mtu)
		return -EMSGSIZE;
	return vh->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? begin_csum(g, vh) : 0;
}

static void put_sum(uint8_t *at, uint64_t sum, bool udp)
{
	uint16_t c = (uint16_t)~ntm_sum_fold(sum);
	if (udp && !c)
		c = 0xffff; /* RFC 768: 0 would say that there is none */
	memcpy(at, &c, 2);
}

static void write_one(const struct ntm_gso *g, uint8_t *out)
{
	memcpy(out, g->packet, g->in.len);
	/* The field holds the sum of the pseudo-header. */
	if (g->csum_at)
		put_sum(out + g->csum_at, ntm_sum(out + g->csum_from, g->in.len - g->csum_from, 0),
			g->in.proto == IPPROTO_UDP);
}

void ntm_gso_write(const struct ntm_gso *g, unsigned i, uint8_t *out)
{
	const struct ntm_packet *in = &g->in;
	if (!g->size) {
		write_one(g, out);
		return;
	}
	size_t off = (size_t)i * g->size, left = in->len - g->hdr_len - off;
	size_t payload = left < g->size ? left : g->size, len = g->hdr_len + payload, l4_len = len - in->l4;
	uint8_t *l4 = out + in->l4;
	bool last = i + 1 == g->n, udp = in->proto == IPPROTO_UDP;
	memcpy(out, g->packet, g->hdr_len);
	memcpy(out + g->hdr_len, g->packet + g->hdr_len + off, payload);
	if (!in->is_ipv6)
		ntm_put16(out + 4, ntm_get16(out + 4) + i); /* identification */
	ntm_packet_set_len(out, in->is_ipv6, len);
	uint64_t sum = ntm_sum_pseudo(out, in->is_ipv6, in->proto, l4_len);
	if (udp) {
		ntm_put16(l4 + 4, (uint32_t)l4_len);
	} else {
		ntm_put32(l4 + 4, ntm_get32(l4 + 4) + (uint32_t)off);
		if (!last)
			l4[TCP_FLAGS] &= (uint8_t) ~(NTM_TCP_FIN | NTM_TCP_PSH);
		if (i)
			l4[TCP_FLAGS] &= (uint8_t)~NTM_TCP_CWR;
	}
	uint8_t *csum = l4 + (udp ? UDP_CSUM : TCP_CSUM);
	memset(csum, 0, 2);
	put_sum(csum, ntm_sum(l4, l4_len, sum), udp);
}
