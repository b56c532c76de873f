/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The outer headers of a frame that comes to the relay: Ethernet, VLAN tags, IP without options or extension headers,
 * UDP to the own port. Offsets are from the start of the frame. What is refused is dropped only if it is addressed to
 * this host: a router lets the same packet through.
 */
#ifndef NTM_LIB_RELAY_PARSE_H
#define NTM_LIB_RELAY_PARSE_H

#define NTM_RELAY_TAGS 2
#define NTM_RELAY_L3_MASK 31   /* at most 22: Ethernet and two tags */
#define NTM_RELAY_HDR_MASK 127 /* at most 70: and IPv6, UDP */
#define NTM_RELAY_EXT_HDRS 6
#define NTM_RELAY_FRAG_OFFSET 0xfff8

struct ntm_relay_rx {
	__u32 src[4]; /* IPv4 in the last word, the others as v4-mapped */
	__u32 dst[4];
	__u32 l3_off;
	__u32 hdr_off; /* of struct ntm_hdr */
	__u32 udp_len; /* of UDP payload */
	__be16 sport;
	__be16 check;
	__be16 tci[NTM_RELAY_TAGS]; /* as they came */
	__u8 n_tags;
	__u8 is_ipv6;
	__u8 tos;
	__u8 ttl;
	__u8 df; /* IPv4: must not be fragmented */
};

static __always_inline int ntm_relay_is_local(const __u32 addr[4])
{
	return bpf_map_lookup_elem(&ntm_relay_locals, addr) != NULL;
}

#define NTM_RELAY_REJECT(rx, reason) (ntm_relay_is_local((rx)->dst) ? NTM_RELAY_DROP(reason) : NTM_RELAY_PASS(OTHER))

static __always_inline void ntm_relay_map4(__u32 out[4], __be32 addr)
{
	out[0] = 0;
	out[1] = 0;
	out[2] = bpf_htonl(0xffff);
	out[3] = addr;
}

static __always_inline void ntm_relay_copy(__u32 out[4], const void *addr)
{
	const __u32 *a = addr;

	out[0] = a[0];
	out[1] = a[1];
	out[2] = a[2];
	out[3] = a[3];
}

static __always_inline int ntm_relay_same(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

/*
 * What is behind IPv6 extension headers or IPv4 options (proto IPPROTO_UDP): the reason to refuse it, or OTHER. Only
 * the first fragment of a datagram has a port; without it the others come to nothing in the kernel.
 */
static __noinline int ntm_relay_follow(struct xdp_md *ctx, __u32 off, __u32 proto)
{
	__u32 zero = 0;
	struct ntm_relay_settings *s = bpf_map_lookup_elem(&ntm_relay_settings, &zero);
	struct frag_hdr frag;
	struct ipv6_opt_hdr opt;
	struct udphdr udp;

	if (!s)
		return NTM_RR_OTHER;
	for (int i = 0; i < NTM_RELAY_EXT_HDRS && proto != IPPROTO_UDP; i++) {
		if (bpf_xdp_load_bytes(ctx, off, &opt, sizeof(opt)))
			return NTM_RR_OTHER;
		switch (proto) {
		case NEXTHDR_FRAGMENT:
			if (opt.nexthdr != IPPROTO_UDP || bpf_xdp_load_bytes(ctx, off, &frag, sizeof(frag)) ||
			    frag.frag_off & bpf_htons(NTM_RELAY_FRAG_OFFSET) ||
			    bpf_xdp_load_bytes(ctx, off + sizeof(frag), &udp, sizeof(udp)))
				return NTM_RR_OTHER;
			return udp.dest == s->port ? NTM_RR_FRAGMENT : NTM_RR_OTHER;
		case NEXTHDR_HOP:
		case NEXTHDR_ROUTING:
		case NEXTHDR_DEST:
			off += (opt.hdrlen + 1) * 8;
			break;
		case NEXTHDR_AUTH:
			off += (opt.hdrlen + 2) * 4;
			break;
		default:
			return NTM_RR_OTHER;
		}
		proto = opt.nexthdr;
	}
	if (proto != IPPROTO_UDP || bpf_xdp_load_bytes(ctx, off, &udp, sizeof(udp)) || udp.dest != s->port)
		return NTM_RR_OTHER;
	return NTM_RR_IP_OPTIONS;
}

static __always_inline int ntm_relay_refuse(const struct ntm_relay_rx *rx, int reason)
{
	return reason != NTM_RR_OTHER && ntm_relay_is_local(rx->dst) ? NTM_RELAY_VERDICT(XDP_DROP, reason)
								     : NTM_RELAY_PASS(OTHER);
}

static __always_inline int ntm_relay_parse_udp(struct ntm_relay_rx *rx, const struct ntm_relay_settings *s, void *data,
					       void *data_end, struct udphdr *udp, __u32 ip_payload)
{
	__u64 off, left;
	__u32 len;

	if ((void *)(udp + 1) > data_end || udp->dest != s->port)
		return NTM_RELAY_PASS(OTHER);
	len = bpf_ntohs(udp->len);
	off = (void *)(udp + 1) - data;
	left = data_end - (void *)udp;
	NTM_UNKNOWN(off);
	NTM_UNKNOWN(left);
	rx->hdr_off = off & NTM_RELAY_HDR_MASK;
	rx->check = udp->check;
	rx->sport = udp->source;
	/* A frame may be longer (Ethernet pads to 60 bytes), never shorter. */
	if (len < sizeof(*udp) || len != ip_payload || len > left)
		return NTM_RELAY_REJECT(rx, BAD_LENGTH);
	rx->udp_len = len - sizeof(*udp);
	return NTM_CONTINUE;
}

static __always_inline int ntm_relay_parse_ipv4(struct xdp_md *ctx, struct ntm_relay_rx *rx,
						const struct ntm_relay_settings *s, void *data, void *data_end,
						struct iphdr *ip)
{
	__u32 ihl;

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->protocol != IPPROTO_UDP)
		return NTM_RELAY_PASS(OTHER);
	ntm_relay_map4(rx->src, ip->saddr);
	ntm_relay_map4(rx->dst, ip->daddr);
	ihl = ip->ihl * 4;
	if (NTM_UNLIKELY(ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))) {
		if (ip->frag_off & bpf_htons(IP_OFFSET) || ihl < sizeof(*ip) ||
		    ntm_relay_follow(ctx, (void *)ip - data + ihl, IPPROTO_UDP) == NTM_RR_OTHER)
			return NTM_RELAY_PASS(OTHER);
		return ntm_relay_refuse(rx, NTM_RR_FRAGMENT);
	}
	if (NTM_UNLIKELY(ihl != sizeof(*ip)))
		return ihl < sizeof(*ip)
			   ? NTM_RELAY_PASS(OTHER)
			   : ntm_relay_refuse(rx, ntm_relay_follow(ctx, (void *)ip - data + ihl, IPPROTO_UDP));
	rx->is_ipv6 = 0;
	rx->tos = ip->tos;
	rx->ttl = ip->ttl;
	rx->df = !!(ip->frag_off & bpf_htons(IP_DF));
	return ntm_relay_parse_udp(rx, s, data, data_end, (void *)(ip + 1), bpf_ntohs(ip->tot_len) - sizeof(*ip));
}

static __always_inline int ntm_relay_parse_ipv6(struct xdp_md *ctx, struct ntm_relay_rx *rx,
						const struct ntm_relay_settings *s, void *data, void *data_end,
						struct ipv6hdr *ip6)
{
	int v;

	if ((void *)(ip6 + 1) > data_end || ip6->version != 6)
		return NTM_RELAY_PASS(OTHER);
	ntm_relay_copy(rx->src, &ip6->saddr);
	ntm_relay_copy(rx->dst, &ip6->daddr);
	if (ip6->nexthdr != IPPROTO_UDP)
		return ntm_relay_refuse(rx, ntm_relay_follow(ctx, (void *)(ip6 + 1) - data, ip6->nexthdr));
	rx->is_ipv6 = 1;
	rx->tos = bpf_ntohs(*(__be16 *)ip6) >> 4;
	rx->ttl = ip6->hop_limit;
	rx->df = 1;
	v = ntm_relay_parse_udp(rx, s, data, data_end, (void *)(ip6 + 1), bpf_ntohs(ip6->payload_len));
	/* RFC 8200, section 8.1; nodes send real ones, and none can be made up for the other end. */
	if (v == NTM_CONTINUE && !rx->check)
		return NTM_RELAY_REJECT(rx, NO_CHECKSUM);
	return v;
}

static __always_inline int ntm_relay_parse(struct xdp_md *ctx, struct ntm_relay_rx *rx,
					   const struct ntm_relay_settings *s)
{
	void *data = NTM_DATA(ctx), *data_end = NTM_DATA_END(ctx);
	struct ethhdr *eth = data;
	void *next = eth + 1;
	__u32 n_tags = 0;
	__be16 proto;
	__u64 off;

	if (next > data_end)
		return NTM_RELAY_PASS(OTHER);
	proto = eth->h_proto;
	for (int i = 0; i < NTM_RELAY_TAGS; i++) {
		struct vlan_hdr *vlan = next;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > data_end)
			return NTM_RELAY_PASS(OTHER);
		rx->tci[i] = vlan->h_vlan_TCI;
		n_tags++;
		proto = vlan->h_vlan_encapsulated_proto;
		next = vlan + 1;
	}
	/* As numbers that the verifier doesn't know, or it would follow each depth of tags by itself. */
	NTM_UNKNOWN(n_tags);
	rx->n_tags = n_tags;
	off = next - data;
	NTM_UNKNOWN(off);
	off &= NTM_RELAY_L3_MASK;
	rx->l3_off = off;
	next = data + off;
	if (proto == bpf_htons(ETH_P_IP))
		return ntm_relay_parse_ipv4(ctx, rx, s, data, data_end, next);
	if (proto == bpf_htons(ETH_P_IPV6))
		return ntm_relay_parse_ipv6(ctx, rx, s, data, data_end, next);
	return NTM_RELAY_PASS(OTHER);
}

#endif
