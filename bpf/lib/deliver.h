/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an opened datagram to a frame in ntm0. The packet has been changed by now: every way out that is not a delivery
 * drops it.
 */
#ifndef NTM_LIB_DELIVER_H
#define NTM_LIB_DELIVER_H

#define NTM_DROP(reason) NTM_VERDICT(XDP_DROP, reason)

/*
 * Who may send, and to whom: the peer's virtual address to the own one. On the path to a gateway the source may also be
 * any general node; on a gateway's path to a client the destination, but no address of this host. A pool's address is
 * never taken for a general one, so nobody gets at another node through a gateway, or can be told to be one.
 */
static __always_inline int ntm_check_addrs6(const struct ipv6hdr *ip6, const struct ntm_settings *s,
					    const struct ntm_path *path)
{
	if (!ntm_addr_equal(&ip6->saddr, path->peer_vip6) &&
	    !(path->flags & NTM_PATH_GATEWAY && ntm_beyond6(s, &ip6->saddr)))
		return NTM_DROP(RX_BAD_SOURCE);
	if (!ntm_addr_equal(&ip6->daddr, s->vip6) &&
	    !(path->flags & NTM_PATH_CLIENT && ntm_beyond6(s, &ip6->daddr) && !ntm_is_local((const void *)&ip6->daddr)))
		return NTM_DROP(RX_BAD_DEST);
	return NTM_CONTINUE;
}

static __noinline int ntm_is_local4(__be32 addr)
{
	NTM_VIP key;

	ntm_map4(&key, addr);
	return ntm_is_local(&key);
}

static __always_inline int ntm_check_addrs4(const struct iphdr *ip, const struct ntm_settings *s,
					    const struct ntm_path *path)
{
	if (ip->saddr != path->peer_vip4 && !(path->flags & NTM_PATH_GATEWAY && ntm_beyond4(s, ip->saddr)))
		return NTM_DROP(RX_BAD_SOURCE);
	if (ip->daddr != s->vip4 &&
	    !(path->flags & NTM_PATH_CLIENT && ntm_beyond4(s, ip->daddr) && !ntm_is_local4(ip->daddr)))
		return NTM_DROP(RX_BAD_DEST);
	return NTM_CONTINUE;
}

/* Addresses and ECN of the inner header at p. in: as parsed from there. */
static __always_inline int ntm_check_inner(void *p, void *data_end, const struct ntm_inner *in,
					   const struct ntm_settings *s, const struct ntm_path *path, __u32 outer_tos)
{
	__u32 was = in->tos & 3, ecn = ntm_ecn_decap(was, outer_tos & 3);
	int v;

	if (in->is_ipv6) {
		struct ipv6hdr *ip6 = p;

		if ((void *)(ip6 + 1) > data_end)
			return NTM_DROP(RX_BAD_INNER);
		v = ntm_check_addrs6(ip6, s, path);
		if (v != NTM_CONTINUE)
			return v;
		if (ecn == NTM_ECN_DROP)
			return NTM_DROP(RX_ECN);
		if (ecn != was)
			ntm_ecn_set_ipv6(ip6, ecn);
	} else {
		struct iphdr *ip = p;

		if ((void *)(ip + 1) > data_end)
			return NTM_DROP(RX_BAD_INNER);
		v = ntm_check_addrs4(ip, s, path);
		if (v != NTM_CONTINUE)
			return v;
		if (ecn == NTM_ECN_DROP)
			return NTM_DROP(RX_ECN);
		if (ecn != was)
			ntm_ecn_set_ipv4(ip, ecn);
	}
	return NTM_CONTINUE;
}

/*
 * The frame becomes Ethernet header and inner packet. Nothing may stay behind them, or GRO in ntm0 merges no segments;
 * and what is over the MTU by more than a VLAN tag is lost at the redirect without a word.
 *
 * Except in generic mode: there the kernel, after bpf_xdp_adjust_tail(), sets skb->tail an Ethernet header's length too
 * far, and TCP, which appends a segment to the one before where that has room, then appends it behind a hole (seen on
 * 6.18, the code is the same in 6.1). One byte more than the packet makes ip_rcv() and ip6_rcv() trim it, and so
 * set the tail right.
 */
static __always_inline int ntm_reframe(struct xdp_md *ctx, const struct ntm_settings *s, __u32 inner_off,
				       const struct ntm_inner *in)
{
	struct ethhdr *eth;
	void *data, *data_end;
	__s64 extra;

	if (bpf_xdp_adjust_head(ctx, (int)(inner_off - ETH_HLEN)))
		return NTM_DROP(RX_ERROR);
	extra = NTM_DATA_END(ctx) - NTM_DATA(ctx);
	NTM_UNKNOWN(extra);
	extra -= ETH_HLEN + in->len;
	if (!(s->native >> (ctx->ingress_ifindex & 31) & 1))
		extra--;
	if (extra > 0 && bpf_xdp_adjust_tail(ctx, -extra))
		return NTM_DROP(RX_ERROR);
	data = NTM_DATA(ctx);
	data_end = NTM_DATA_END(ctx);
	eth = data;
	if ((void *)(eth + 1) > data_end)
		return NTM_DROP(RX_ERROR);
	__builtin_memcpy(eth->h_dest, s->mac_ntm0, 6);
	__builtin_memcpy(eth->h_source, s->mac_ntm0p, 6);
	eth->h_proto = in->is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return NTM_CONTINUE;
}

/* payload: bytes at inner_off that were sealed. On RX_OK *len is the inner packet's length. */
static __always_inline int ntm_deliver(struct xdp_md *ctx, const struct ntm_settings *s, const struct ntm_path *path,
				       __u32 inner_off, __u32 payload, __u32 outer_tos, __u32 *len)
{
	void *data = NTM_DATA(ctx), *data_end = NTM_DATA_END(ctx);
	struct ntm_inner in;
	int v;

	if (inner_off > NTM_HDR_OFF_MASK + sizeof(struct ntm_hdr))
		return NTM_DROP(RX_ERROR);
	if (ntm_inner_parse(data + inner_off, data_end, payload, &in) != NTM_INNER_OK)
		return NTM_DROP(RX_BAD_INNER);
	v = ntm_check_inner(data + inner_off, data_end, &in, s, path, outer_tos);
	if (v != NTM_CONTINUE)
		return v;
	v = ntm_reframe(ctx, s, inner_off, &in);
	if (v != NTM_CONTINUE)
		return v;
	if (bpf_redirect(s->if_ntm0p, 0) != XDP_REDIRECT)
		return NTM_DROP(RX_ERROR);
	*len = in.len;
	return NTM_VERDICT(XDP_REDIRECT, RX_OK);
}

#endif
