/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The outer headers of a frame on an uplink: Ethernet, VLAN tags, IP, UDP. What is not a whole UDP datagram to the own
 * port ends here. Offsets are from the start of the frame.
 */
#ifndef NTM_LIB_PARSE_H
#define NTM_LIB_PARSE_H

#ifndef NTM_VLAN_DEPTH
#define NTM_VLAN_DEPTH 2
#endif
#define NTM_HDR_OFF_MASK 127 /* at most 70: Ethernet, two tags, IPv6, UDP */
#define NTM_EXT_HDRS 6

struct ntm_rx {
	NTM_VIP src;
	NTM_VIP dst;
	__u32 hdr_off; /* of struct ntm_hdr */
	__u32 udp_len; /* of UDP payload */
	__be16 sport;
	__u8 is_ipv6;
	__u8 tos; /* outer DSCP and ECN */
};

/* A verdict for what is addressed to this host; a router lets the same packet through. */
#define NTM_REJECT(rx, reason) \
	(ntm_is_local(&(rx)->dst) ? NTM_VERDICT(NTM_RX_DROP, reason) : NTM_VERDICT(NTM_RX_PASS, reason))

enum ntm_chain {
	NTM_CHAIN_OTHER,
	NTM_CHAIN_FRAGMENT, /* of UDP */
	NTM_CHAIN_OWN_UDP,
};

/* Where a chain of extension headers leads, or an IPv4 header with options (proto IPPROTO_UDP). */
static __noinline int ntm_follow_chain(NTM_RX_CTX *ctx, __u32 off, __u32 proto)
{
	__u32 zero = 0;
	struct ntm_settings *s = bpf_map_lookup_elem(&ntm_settings, &zero);
	struct ipv6_opt_hdr opt;
	struct udphdr udp;

	if (!s)
		return NTM_CHAIN_OTHER;
	for (int i = 0; i < NTM_EXT_HDRS && proto != IPPROTO_UDP; i++) {
		if (NTM_RX_LOAD(ctx, off, &opt, sizeof(opt)))
			return NTM_CHAIN_OTHER;
		switch (proto) {
		case NEXTHDR_FRAGMENT:
			return opt.nexthdr == IPPROTO_UDP ? NTM_CHAIN_FRAGMENT : NTM_CHAIN_OTHER;
		case NEXTHDR_HOP:
		case NEXTHDR_ROUTING:
		case NEXTHDR_DEST:
			off += (opt.hdrlen + 1) * 8;
			break;
		case NEXTHDR_AUTH:
			off += (opt.hdrlen + 2) * 4;
			break;
		default:
			return NTM_CHAIN_OTHER;
		}
		proto = opt.nexthdr;
	}
	if (proto != IPPROTO_UDP || NTM_RX_LOAD(ctx, off, &udp, sizeof(udp)))
		return NTM_CHAIN_OTHER;
	return udp.dest == s->port ? NTM_CHAIN_OWN_UDP : NTM_CHAIN_OTHER;
}

static __always_inline int ntm_parse_udp(NTM_RX_CTX *ctx, struct ntm_rx *rx, const struct ntm_settings *s, void *data,
					 void *data_end, struct udphdr *udp, __u32 ip_payload)
{
	__u64 off, left;
	__u32 len;

	if ((void *)(udp + 1) > data_end)
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	if (udp->dest != s->port)
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	len = bpf_ntohs(udp->len);
	/*
	 * As one unknown number under a bound, instead of one constant for each depth of tags and IP version, the
	 * verifier goes through what follows once.
	 */
	off = (void *)(udp + 1) - data;
	left = NTM_RX_LEFT(ctx, udp);
	NTM_UNKNOWN(off);
	NTM_UNKNOWN(left);
	rx->hdr_off = off & NTM_HDR_OFF_MASK;
	/* A frame may be longer (Ethernet pads to 60 bytes), never shorter. */
	if (len < sizeof(*udp) || len != ip_payload || len > left)
		return NTM_REJECT(rx, RX_BAD_LENGTH);
	rx->udp_len = len - sizeof(*udp);
	rx->sport = udp->source;
	return NTM_CONTINUE;
}

static __always_inline int ntm_parse_ipv4(NTM_RX_CTX *ctx, struct ntm_rx *rx, const struct ntm_settings *s, void *data,
					  void *data_end, struct iphdr *ip)
{
	__u32 ihl;

	if ((void *)(ip + 1) > data_end || ip->version != 4)
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	if (ntm_in_pool4(s, ip->saddr) || ntm_in_pool4(s, ip->daddr))
		return NTM_VERDICT(NTM_RX_DROP, RX_CLEAR);
	if (ip->protocol != IPPROTO_UDP)
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	if (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
		return NTM_VERDICT(NTM_RX_PASS, RX_FRAGMENT);
	ihl = ip->ihl * 4;
	if (ihl != sizeof(*ip)) {
		if (ihl > sizeof(*ip) &&
		    ntm_follow_chain(ctx, (void *)ip - data + ihl, IPPROTO_UDP) == NTM_CHAIN_OWN_UDP)
			return NTM_VERDICT(NTM_RX_PASS, RX_IP_OPTIONS);
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	}
	ntm_map4(&rx->src, ip->saddr);
	ntm_map4(&rx->dst, ip->daddr);
	rx->is_ipv6 = 0;
	rx->tos = ip->tos;
	return ntm_parse_udp(ctx, rx, s, data, data_end, (void *)(ip + 1), bpf_ntohs(ip->tot_len) - sizeof(*ip));
}

static __always_inline int ntm_parse_ipv6(NTM_RX_CTX *ctx, struct ntm_rx *rx, const struct ntm_settings *s, void *data,
					  void *data_end, struct ipv6hdr *ip6)
{
	if ((void *)(ip6 + 1) > data_end || ip6->version != 6)
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	if (ntm_in_pool6(s, &ip6->saddr) || ntm_in_pool6(s, &ip6->daddr))
		return NTM_VERDICT(NTM_RX_DROP, RX_CLEAR);
	if (ip6->nexthdr != IPPROTO_UDP) {
		switch (ntm_follow_chain(ctx, (void *)(ip6 + 1) - data, ip6->nexthdr)) {
		case NTM_CHAIN_OWN_UDP:
			return NTM_VERDICT(NTM_RX_PASS, RX_IP_OPTIONS);
		case NTM_CHAIN_FRAGMENT:
			return NTM_VERDICT(NTM_RX_PASS, RX_FRAGMENT);
		default:
			return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
		}
	}
	ntm_addr_copy(&rx->src, &ip6->saddr);
	ntm_addr_copy(&rx->dst, &ip6->daddr);
	rx->is_ipv6 = 1;
	rx->tos = bpf_ntohs(*(__be16 *)ip6) >> 4;
	return ntm_parse_udp(ctx, rx, s, data, data_end, (void *)(ip6 + 1), bpf_ntohs(ip6->payload_len));
}

static __always_inline int ntm_parse_outer(NTM_RX_CTX *ctx, struct ntm_rx *rx, const struct ntm_settings *s)
{
	void *data = NTM_DATA(ctx), *data_end = NTM_DATA_END(ctx);
	struct ethhdr *eth = data;
	void *next = eth + 1;
	__be16 proto;

	if (next > data_end)
		return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
	proto = eth->h_proto;
	for (int i = 0; i < NTM_VLAN_DEPTH; i++) {
		struct vlan_hdr *vlan = next;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > data_end)
			return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
		proto = vlan->h_vlan_encapsulated_proto;
		next = vlan + 1;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return ntm_parse_ipv4(ctx, rx, s, data, data_end, next);
	if (proto == bpf_htons(ETH_P_IPV6))
		return ntm_parse_ipv6(ctx, rx, s, data, data_end, next);
	return NTM_VERDICT(NTM_RX_PASS, RX_OTHER);
}

#endif
