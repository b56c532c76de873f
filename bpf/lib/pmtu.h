/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet that is too big for the way to the other end is answered with Destination Unreachable, Fragmentation Needed
 * (RFC 792, RFC 1191) or Packet Too Big (RFC 4443), built around it where it lies. The MTU that is named is the
 * sender's: 20 bytes more or less when the relay translates. Senders of both are rate limited as RFC 1812, section
 * 4.3.2.8 and RFC 4443, section 2.4 (f) ask. To IPv6 never less than 1,280 is named: nobody would heed it.
 */
#ifndef NTM_LIB_PMTU_H
#define NTM_LIB_PMTU_H

#define NTM_ICMP_INTERVAL_NS 10000000ULL /* 100 a second and CPU */
#define NTM_ICMP_BURST 20
#define NTM_ICMP_LEN 8
#define NTM_ICMP4_MAX 576  /* of the whole answer, RFC 1812, section 4.3.2.3 */
#define NTM_ICMP6_MAX 1280 /* RFC 4443, section 2.4 (c) */
#define NTM_IPV6_MTU_MIN 1280
#define NTM_ICMP_TTL 64
#define NTM_ICMPV6 58

struct ntm_icmp {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 mtu; /* IPv4: upper half unused */
};

/* The frame's addresses change places; what was at head bytes comes to the front. */
static __always_inline int ntm_pmtu_link(struct xdp_md *ctx, __u32 head, __u32 l2)
{
	__u8 buf[NTM_RELAY_L3_MASK + 1], mac[6];

	NTM_UNKNOWN(l2);
	if (l2 < ETH_HLEN || l2 > NTM_RELAY_L3_MASK || bpf_xdp_load_bytes(ctx, head, buf, l2))
		return -1;
	__builtin_memcpy(mac, buf, 6);
	__builtin_memcpy(buf, buf + 6, 6);
	__builtin_memcpy(buf + 6, mac, 6);
	return bpf_xdp_store_bytes(ctx, 0, buf, l2) ? -1 : 0;
}

static __always_inline void ntm_pmtu_ipv4(struct iphdr *ip, const struct ntm_relay_rx *rx, __u32 len)
{
	*(__u8 *)ip = 0x45;
	ip->tos = 0xc0; /* internetwork control, RFC 1812, section 4.3.2.5 */
	ip->tot_len = bpf_htons(len);
	ip->id = 0;
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = NTM_ICMP_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->check = 0;
	ip->saddr = rx->dst[3];
	ip->daddr = rx->src[3];
	ip->check = ntm_csum_ipv4(ip);
}

static __always_inline void ntm_pmtu_ipv6(struct ipv6hdr *ip6, const struct ntm_relay_rx *rx, __u32 len)
{
	*(__be32 *)ip6 = bpf_htonl(6u << 28);
	ip6->payload_len = bpf_htons(len - sizeof(*ip6));
	ip6->nexthdr = NTM_ICMPV6;
	ip6->hop_limit = NTM_ICMP_TTL;
	ntm_relay_copy((__u32 *)&ip6->saddr, rx->dst);
	ntm_relay_copy((__u32 *)&ip6->daddr, rx->src);
}

/* Headers and checksum of the answer; `quote` bytes of the packet follow them. */
static __always_inline int ntm_pmtu_write(struct xdp_md *ctx, const struct ntm_relay_rx *rx, __u32 quote, __u32 mtu)
{
	__u32 ip_len = rx->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr), l2 = rx->l3_off;
	__s64 sum = ntm_csum_range(ctx, l2 + ip_len + NTM_ICMP_LEN, quote);
	struct ntm_icmp *icmp;
	void *ip, *data_end;

	if (sum < 0)
		return -1;
	NTM_UNKNOWN(l2);
	l2 &= NTM_RELAY_L3_MASK;
	ip = NTM_DATA(ctx) + l2;
	data_end = NTM_DATA_END(ctx);
	if (rx->is_ipv6) {
		icmp = ip + sizeof(struct ipv6hdr);
		if ((void *)(icmp + 1) > data_end)
			return -1;
		ntm_pmtu_ipv6(ip, rx, ip_len + NTM_ICMP_LEN + quote);
		*icmp = (struct ntm_icmp){.type = 2, .mtu = bpf_htonl(mtu)};
		sum += ntm_relay_pseudo(rx->src, rx->dst, 1) + bpf_htonl(NTM_ICMP_LEN + quote) + bpf_htonl(NTM_ICMPV6);
	} else {
		icmp = ip + sizeof(struct iphdr);
		if ((void *)(icmp + 1) > data_end)
			return -1;
		ntm_pmtu_ipv4(ip, rx, ip_len + NTM_ICMP_LEN + quote);
		*icmp = (struct ntm_icmp){.type = 3, .code = 4, .mtu = bpf_htonl(mtu)};
	}
	icmp->check = ntm_csum_fold(ntm_csum_add(sum, icmp, sizeof(*icmp) / 4));
	return 0;
}

/* mtu: what the sender is to be told. Always a verdict. */
static __noinline int ntm_pmtu_answer(struct xdp_md *ctx, const struct ntm_relay_rx *rx, __u32 mtu)
{
	__u32 head, quote, room;
	__s64 extra;

	if (!rx || !rx->df || !ntm_relay_take(NTM_RB_ICMP, NTM_ICMP_INTERVAL_NS, NTM_ICMP_BURST))
		return NTM_RELAY_DROP(TOO_BIG);
	head = (rx->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + NTM_ICMP_LEN;
	quote = head - NTM_ICMP_LEN + sizeof(struct udphdr) + rx->udp_len;
	room = (rx->is_ipv6 ? NTM_ICMP6_MAX : NTM_ICMP4_MAX) - head;
	if (quote > room)
		quote = room;
	if (rx->is_ipv6 && mtu < NTM_IPV6_MTU_MIN)
		mtu = NTM_IPV6_MTU_MIN;
	if (bpf_xdp_adjust_head(ctx, -(int)head) || ntm_pmtu_link(ctx, head, rx->l3_off))
		return NTM_RELAY_DROP(ERROR);
	extra = NTM_DATA_END(ctx) - NTM_DATA(ctx);
	NTM_UNKNOWN(extra);
	extra -= rx->l3_off + head + quote;
	if (extra > 0 && bpf_xdp_adjust_tail(ctx, -extra))
		return NTM_RELAY_DROP(ERROR);
	if (ntm_pmtu_write(ctx, rx, quote, mtu))
		return NTM_RELAY_DROP(ERROR);
	return NTM_RELAY_VERDICT(XDP_TX, NTM_RR_TOO_BIG);
}

#endif
