/* SPDX-License-Identifier: BSD-2-Clause */
#include "gro.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "csum.h"
#include "gso.h"

enum { UDP_LEN = 8, TCP_LEN = 20, TCP_FLAGS = 13, IP_DF = 0x4000, UDP_SEGS = 64 };

void ntm_gro_init(struct ntm_gro *g, bool tcp, bool udp, ntm_gro_out out, void *arg)
{
	memset(g, 0, sizeof(*g));
	g->tcp = tcp;
	g->udp = udp;
	g->out = out;
	g->arg = arg;
}

static void flush_one(struct ntm_gro *g, struct ntm_gro_flow *f)
{
	struct virtio_net_hdr vh = {0};
	uint8_t *p = f->first;
	if (f->n > 1) {
		bool tcp = f->in.proto == IPPROTO_TCP;
		size_t l4_len = f->len - f->in.l4;
		uint8_t *l4 = p + f->in.l4;
		ntm_packet_set_len(p, f->in.is_ipv6, f->len);
		if (tcp)
			l4[TCP_FLAGS] |= f->last_flags & (NTM_TCP_FIN | NTM_TCP_PSH);
		else
			ntm_put16(l4 + 4, (uint32_t)l4_len);
		/* The pseudo-header's sum: whoever segments it, or receives it, goes on from there. */
		uint16_t sum = ntm_sum_fold(ntm_sum_pseudo(p, f->in.is_ipv6, f->in.proto, l4_len));
		vh.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vh.gso_type = !tcp            ? VIRTIO_NET_HDR_GSO_UDP_L4
			      : f->in.is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
					      : VIRTIO_NET_HDR_GSO_TCPV4;
		if (tcp && l4[TCP_FLAGS] & NTM_TCP_CWR)
			vh.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		vh.hdr_len = f->hdr_len;
		vh.gso_size = f->size;
		vh.csum_start = f->in.l4;
		vh.csum_offset = tcp ? 16 : 6;
		memcpy(l4 + vh.csum_offset, &sum, 2);
	}
	f->first = NULL;
	g->out(g->arg, &vh, f->iov, f->n + 1, f->len);
}

void ntm_gro_flush(struct ntm_gro *g)
{
	for (unsigned i = 0; i < NTM_GRO_FLOWS; i++) {
		struct ntm_gro_flow *f = &g->flows[(g->next + i) % NTM_GRO_FLOWS];
		if (f->first)
			flush_one(g, f);
	}
	g->next = 0;
}

static bool same_flow(const struct ntm_gro_flow *f, const uint8_t *p, const struct ntm_packet *in)
{
	size_t at = in->is_ipv6 ? 8 : 12, n = in->is_ipv6 ? 32 : 8;
	return f->first && f->in.proto == in->proto && f->in.is_ipv6 == in->is_ipv6 &&
	       !memcmp(f->first + at, p + at, n) && !memcmp(f->first + f->in.l4, p + in->l4, 4);
}

/* Length of the transport header of a packet that may be merged with others; 0: it may not. */
static size_t mergeable(const struct ntm_gro *g, const uint8_t *p, const struct ntm_packet *in)
{
	const uint8_t *l4 = p + in->l4;
	size_t len, avail = in->len - in->l4;
	if (!in->l4 || !in->plain)
		return 0;
	if (in->proto == IPPROTO_TCP && g->tcp) {
		len = avail < TCP_LEN ? 0 : (size_t)(l4[12] >> 4) * 4;
		if (len < TCP_LEN || l4[TCP_FLAGS] & (NTM_TCP_SYN | NTM_TCP_RST | NTM_TCP_URG))
			return 0;
	} else if (in->proto == IPPROTO_UDP && g->udp) {
		len = UDP_LEN;
		/* Without a checksum it would get one. */
		if (avail < UDP_LEN || ntm_get16(l4 + 4) != avail || !ntm_get16(l4 + 6))
			return 0;
	} else {
		return 0;
	}
	if (avail <= len)
		return 0;
	/* A wrong checksum has to stay wrong. The IPv4 header's, too: it is written anew. */
	if (!in->is_ipv6 && ntm_sum_fold(ntm_sum(p, in->l4, 0)) != 0xffff)
		return 0;
	uint64_t sum = ntm_sum_pseudo(p, in->is_ipv6, in->proto, avail);
	return ntm_sum_fold(ntm_sum(l4, avail, sum)) == 0xffff ? len : 0;
}

/* Would segmenting a merged packet give p, after what is there? */
static bool continues(const struct ntm_gro_flow *f, const uint8_t *p, const struct ntm_packet *in, size_t l4_len)
{
	const uint8_t *q = f->first, *l4 = p + in->l4, *m = q + f->in.l4;
	size_t payload = in->len - in->l4 - l4_len;
	if (f->closed || f->hdr_len != in->l4 + l4_len || payload > f->size || f->n >= NTM_GRO_SEGS ||
	    f->len + payload > 65535)
		return false;
	if (in->is_ipv6) {
		if (memcmp(q, p, 4) || q[7] != p[7]) /* traffic class and flow label; hop limit */
			return false;
	} else {
		uint16_t frag = ntm_get16(p + 6);
		if (q[1] != p[1] || q[8] != p[8] || ntm_get16(q + 6) != frag)
			return false;
		/* RFC 6864: with DF the identification says nothing. */
		if (!(frag & IP_DF) && ntm_get16(p + 4) != f->next_id)
			return false;
	}
	if (in->proto == IPPROTO_UDP)
		return f->n < UDP_SEGS;
	return ntm_get32(l4 + 4) == f->next_seq && !memcmp(l4 + 8, m + 8, 4) && /* acknowledgement */
	       l4[12] == m[12] && !((l4[TCP_FLAGS] ^ m[TCP_FLAGS]) & ~(NTM_TCP_FIN | NTM_TCP_PSH | NTM_TCP_CWR)) &&
	       !(l4[TCP_FLAGS] & NTM_TCP_CWR) && !memcmp(l4 + 14, m + 14, 2) &&
	       !memcmp(l4 + 18, m + 18, 2) && /* window, urgent pointer */
	       !memcmp(l4 + TCP_LEN, m + TCP_LEN, l4_len - TCP_LEN);
}

static void append(struct ntm_gro_flow *f, uint8_t *p, const struct ntm_packet *in, size_t hdr_len)
{
	size_t payload = in->len - hdr_len;
	f->n++;
	f->iov[f->n] = f->n == 1 ? (struct iovec){p, in->len} : (struct iovec){p + hdr_len, payload};
	f->len += (uint32_t)(f->n == 1 ? in->len : payload);
	f->next_id = (uint16_t)(ntm_get16(p + 4) + 1);
	if (payload < f->size)
		f->closed = true;
	if (in->proto == IPPROTO_TCP) {
		f->next_seq = ntm_get32(p + in->l4 + 4) + (uint32_t)payload;
		f->last_flags = p[in->l4 + TCP_FLAGS];
		if (f->last_flags & (NTM_TCP_FIN | NTM_TCP_PSH))
			f->closed = true;
	}
}

static void single(struct ntm_gro *g, uint8_t *p, const struct ntm_packet *in)
{
	struct virtio_net_hdr vh = {0};
	struct iovec iov[2] = {{NULL, 0}, {p, in->len}};
	g->out(g->arg, &vh, iov, 2, in->len);
}

void ntm_gro_add(struct ntm_gro *g, uint8_t *p, const struct ntm_packet *in)
{
	size_t l4_len = mergeable(g, p, in), hdr_len = in->l4 + l4_len;
	struct ntm_gro_flow *f = NULL, *empty = NULL;
	/* A packet without ports to compare (a fragment) is ordered behind nothing that was merged: flush it all. */
	if (!in->l4 || in->len < in->l4 + 4u) {
		ntm_gro_flush(g);
		single(g, p, in);
		return;
	}
	for (unsigned i = 0; i < NTM_GRO_FLOWS && !f; i++) {
		if (same_flow(&g->flows[i], p, in))
			f = &g->flows[i];
		else if (!g->flows[i].first && !empty)
			empty = &g->flows[i];
	}
	if (f && l4_len && continues(f, p, in, l4_len)) {
		append(f, p, in, hdr_len);
		return;
	}
	if (f) {
		flush_one(g, f);
		empty = f;
	}
	if (!l4_len) {
		single(g, p, in);
		return;
	}
	if (!empty) {
		empty = &g->flows[g->next];
		g->next = (g->next + 1) % NTM_GRO_FLOWS;
		flush_one(g, empty);
	}
	empty->first = p;
	empty->in = *in;
	empty->hdr_len = (uint16_t)hdr_len;
	empty->size = (uint16_t)(in->len - hdr_len);
	empty->n = 0;
	empty->len = 0;
	empty->closed = false;
	append(empty, p, in, hdr_len);
}
