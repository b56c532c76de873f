/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * New outer headers for a packet that is relayed: everything before the UDP payload is written anew, in front of the
 * payload where it lies. TTL goes down by one, DSCP, ECN and DF stay; over IPv6 and from it the packet is as one that
 * must not be fragmented. The UDP checksum covers the payload as its sender computed it (RFC 1624), so that damage on
 * the way is not made good here; only where there was none and IPv6 asks for one, it is computed.
 */
#ifndef NTM_LIB_RELAY_REWRITE_H
#define NTM_LIB_RELAY_REWRITE_H

#define NTM_CSUM_HELPER 512 /* bytes that bpf_csum_diff() takes at once on Linux 6.1 */
#define NTM_CSUM_HELPER_MAX 18
#define NTM_CSUM_OFF_MASK 0x3fff /* over NTM_CSUM_HELPER * NTM_CSUM_HELPER_MAX and headers */

struct ntm_relay_tx {
	__u32 src[4]; /* IPv4 in the last word */
	__u32 dst[4];
	__be16 port;
	__be16 check;
	__u8 is_ipv6;
};

/*
 * Adds the next `bytes` bytes, a constant, if that bit of `left` is set. next is opaque, or the compiler would count
 * from the end of the packet, which the verifier refuses.
 */
#define NTM_CSUM_STEP(bytes)                                     \
	do {                                                     \
		if (left & (bytes)) {                            \
			next = p + (bytes);                      \
			NTM_UNKNOWN(next);                       \
			if (next > data_end)                     \
				return -1;                       \
			sum = ntm_csum_add(sum, p, (bytes) / 4); \
			p = next;                                \
		}                                                \
	} while (0)

/*
 * The sum, not inverted, of len bytes at off, or -1. Their offset from the start of what is summed is even. Global, so
 * that it is verified once.
 */
__noinline __s64 ntm_csum_range(struct xdp_md *ctx, __u32 off, __u32 len)
{
	void *data = NTM_DATA(ctx), *data_end = NTM_DATA_END(ctx), *p, *next;
	__u32 left = len;
	__s64 sum = 0;

	/* p is found anew from `left`, of which the verifier knows little: it follows one p from here, not 18. */
	for (int i = 0; i < NTM_CSUM_HELPER_MAX && left >= NTM_CSUM_HELPER; i++) {
		p = data + ((off + (len - left)) & NTM_CSUM_OFF_MASK);
		if (p + NTM_CSUM_HELPER > data_end)
			return -1;
		sum = bpf_csum_diff(NULL, 0, p, NTM_CSUM_HELPER, sum);
		if (sum < 0)
			return -1;
		left -= NTM_CSUM_HELPER;
		NTM_UNKNOWN(left);
	}
	if (left >= NTM_CSUM_HELPER)
		return -1;
	p = data + ((off + (len - left)) & NTM_CSUM_OFF_MASK);
	NTM_CSUM_STEP(256);
	NTM_CSUM_STEP(128);
	NTM_CSUM_STEP(64);
	NTM_CSUM_STEP(32);
	NTM_CSUM_STEP(16);
	NTM_CSUM_STEP(8);
	NTM_CSUM_STEP(4);
	if (left & 2) {
		next = p + 2;
		NTM_UNKNOWN(next);
		if (next > data_end)
			return -1;
		sum += *(__u16 *)p;
		p = next;
	}
	if (left & 1) {
		next = p + 1;
		NTM_UNKNOWN(next);
		if (next > data_end)
			return -1;
		sum += bpf_htons(*(__u8 *)p << 8);
	}
	return sum;
}

static __always_inline __u64 ntm_relay_pseudo(const __u32 src[4], const __u32 dst[4], __u32 is_ipv6)
{
	__u64 sum = (__u64)src[3] + dst[3];

	if (is_ipv6)
		sum += (__u64)src[0] + src[1] + src[2] + dst[0] + dst[1] + dst[2];
	return sum;
}

enum ntm_relay_sum {
	NTM_SUM_NONE,    /* zero, or as good as that */
	NTM_SUM_WHOLE,   /* right or wrong, it covers the datagram */
	NTM_SUM_PARTIAL, /* of the pseudo-header alone; the kernel will do the rest */
};

/*
 * A sender on this host (a container behind a veth pair) leaves its checksum to the hardware, and there is none: the
 * field then holds the sum of the pseudo-header, not inverted. In generic mode the packet still knows that it lacks
 * the rest, in native mode it does not. A whole checksum may look the same, so in that case the datagram is summed up.
 */
static __always_inline __u32 ntm_relay_sum_kind(struct xdp_md *ctx, const struct ntm_relay_rx *rx,
						const struct ntm_relay_settings *s)
{
	__u32 len = sizeof(struct udphdr) + rx->udp_len;
	__u64 pseudo = ntm_relay_pseudo(rx->src, rx->dst, rx->is_ipv6) + bpf_htonl(len) + bpf_htonl(IPPROTO_UDP);
	__s64 sum;

	if (!rx->check)
		return NTM_SUM_NONE;
	if (NTM_LIKELY((__u16)~ntm_csum_fold(pseudo) != rx->check))
		return NTM_SUM_WHOLE;
	sum = ntm_csum_range(ctx, rx->hdr_off - sizeof(struct udphdr), len);
	if (sum < 0 || !ntm_csum_fold(sum + pseudo))
		return NTM_SUM_WHOLE;
	return NTM_READ(s->native) >> (ctx->ingress_ifindex & 31) & 1 ? NTM_SUM_NONE : NTM_SUM_PARTIAL;
}

/* Length and protocol are the same in both pseudo-headers, of whichever version. */
static __always_inline __be16 ntm_relay_check(const struct ntm_relay_rx *rx, const struct ntm_relay_tx *tx, __be16 port,
					      __u32 kind)
{
	__u64 old = ntm_relay_pseudo(rx->src, rx->dst, rx->is_ipv6);
	__u64 sum = ntm_relay_pseudo(tx->src, tx->dst, tx->is_ipv6);

	if (kind == NTM_SUM_NONE)
		return 0;
	if (kind == NTM_SUM_WHOLE) {
		old += (__u64)rx->sport + port;
		sum += (__u64)port + tx->port;
	}
	old = (old & 0xffffffff) + (old >> 32);
	old = (old & 0xffffffff) + (old >> 32);
	sum += (__u32)~old;
	if (kind == NTM_SUM_PARTIAL)
		return ~ntm_csum_fold(sum + rx->check);
	return ntm_csum_fold(sum + (__u16)~rx->check) ?: 0xffff;
}

static __always_inline void ntm_relay_write_udp(struct udphdr *udp, const struct ntm_relay_rx *rx,
						const struct ntm_relay_tx *tx, __be16 port)
{
	udp->source = port;
	udp->dest = tx->port;
	udp->len = bpf_htons(sizeof(*udp) + rx->udp_len);
	udp->check = tx->check;
}

static __always_inline int ntm_relay_write_ipv4(struct iphdr *ip, void *data_end, const struct ntm_relay_rx *rx,
						const struct ntm_relay_tx *tx, __be16 port)
{
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > data_end)
		return -1;
	*(__u8 *)ip = 0x45;
	ip->tos = rx->tos;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*udp) + rx->udp_len);
	ip->id = 0; /* RFC 6864: an atomic datagram */
	ip->frag_off = rx->df ? bpf_htons(IP_DF) : 0;
	ip->ttl = rx->ttl - 1;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = tx->src[3];
	ip->daddr = tx->dst[3];
	ip->check = ntm_csum_ipv4(ip);
	ntm_relay_write_udp(udp, rx, tx, port);
	return 0;
}

static __always_inline int ntm_relay_write_ipv6(struct ipv6hdr *ip6, void *data_end, const struct ntm_relay_rx *rx,
						const struct ntm_relay_tx *tx, __be16 port)
{
	struct udphdr *udp = (void *)(ip6 + 1);

	if ((void *)(udp + 1) > data_end)
		return -1;
	*(__be32 *)ip6 = bpf_htonl(6u << 28 | (__u32)rx->tos << 20);
	ip6->payload_len = bpf_htons(sizeof(*udp) + rx->udp_len);
	ip6->nexthdr = IPPROTO_UDP;
	ip6->hop_limit = rx->ttl - 1;
	ntm_relay_copy((__u32 *)&ip6->saddr, tx->src);
	ntm_relay_copy((__u32 *)&ip6->daddr, tx->dst);
	ntm_relay_write_udp(udp, rx, tx, port);
	return 0;
}

/* The checksum that IPv6 asks for. The header with checksum 0 and the payload are in place. */
static __always_inline int ntm_relay_complete_check(struct xdp_md *ctx, __u32 l3_off, const struct ntm_relay_rx *rx,
						    const struct ntm_relay_tx *tx)
{
	__u32 off = l3_off + sizeof(struct ipv6hdr), len = sizeof(struct udphdr) + rx->udp_len;
	__s64 sum = ntm_csum_range(ctx, off, len);
	struct udphdr *udp;

	if (sum < 0)
		return -1;
	sum += ntm_relay_pseudo(tx->src, tx->dst, 1) + bpf_htonl(len) + bpf_htonl(IPPROTO_UDP);
	NTM_UNKNOWN(off);
	off &= NTM_RELAY_HDR_MASK;
	udp = NTM_DATA(ctx) + off;
	if ((void *)(udp + 1) > NTM_DATA_END(ctx))
		return -1;
	udp->check = ntm_csum_fold(sum) ?: 0xffff;
	return 0;
}

/* Ethernet header and tags as the uplink needs them; a tag's priority stays if there were as many. Returns what follows
 * them, or NULL. */
static __always_inline void *ntm_relay_write_link(void *data, void *data_end, const struct ntm_relay_rx *rx,
						  const struct ntm_relay_tx *tx, const struct ntm_relay_uplink *up,
						  __u64 hop)
{
	struct ethhdr *eth = data;
	__be16 proto = tx->is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), *next = &eth->h_proto;
	struct vlan_hdr *vlan = (void *)(eth + 1);
	__u32 keep = up->n_tags == rx->n_tags ? bpf_htons(0xf000) : 0;

	if ((void *)(eth + 1) > data_end)
		return NULL;
	__builtin_memcpy(eth->h_dest, &hop, 6);
	__builtin_memcpy(eth->h_source, up->mac, 6);
	if (NTM_LIKELY(!up->n_tags)) {
		*next = proto;
		return vlan;
	}
	if ((void *)(vlan + 1) > data_end)
		return NULL;
	*next = up->tpid[0];
	vlan->h_vlan_TCI = up->tci[0] | (rx->tci[0] & keep);
	next = &vlan->h_vlan_encapsulated_proto;
	vlan++;
	if (up->n_tags == 2) {
		if ((void *)(vlan + 1) > data_end)
			return NULL;
		*next = up->tpid[1];
		vlan->h_vlan_TCI = up->tci[1] | (rx->tci[1] & keep);
		next = &vlan->h_vlan_encapsulated_proto;
		vlan++;
	}
	*next = proto;
	return vlan;
}

/* Changes the packet; 0 or -1, after which it can only be dropped. */
static __always_inline int ntm_relay_rewrite(struct xdp_md *ctx, const struct ntm_relay_settings *s,
					     const struct ntm_relay_rx *rx, struct ntm_relay_tx *tx,
					     const struct ntm_relay_uplink *up, __u64 hop)
{
	__u32 l2 = ETH_HLEN + 4 * (up->n_tags & 3), ip = tx->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	int shift = (int)(rx->hdr_off - sizeof(struct udphdr)) - (int)(l2 + ip);
	void *data, *data_end, *l3;

	tx->check = ntm_relay_check(rx, tx, s->port, ntm_relay_sum_kind(ctx, rx, s));
	if (shift && bpf_xdp_adjust_head(ctx, shift))
		return -1;
	data = NTM_DATA(ctx);
	data_end = NTM_DATA_END(ctx);
	l3 = ntm_relay_write_link(data, data_end, rx, tx, up, hop);
	if (!l3)
		return -1;
	if (!tx->is_ipv6)
		return ntm_relay_write_ipv4(l3, data_end, rx, tx, s->port);
	if (ntm_relay_write_ipv6(l3, data_end, rx, tx, s->port))
		return -1;
	return tx->check ? 0 : ntm_relay_complete_check(ctx, l2, rx, tx);
}

#endif
