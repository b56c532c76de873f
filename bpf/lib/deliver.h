/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an opened datagram to a frame in ntm0. The packet has been changed by now: every way out that is not a delivery
 * drops it.
 */
#ifndef NTM_LIB_DELIVER_H
#define NTM_LIB_DELIVER_H

#define NTM_DROP(reason) NTM_VERDICT(NTM_RX_DROP, reason)

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

static __always_inline int ntm_rx_write_eth(NTM_RX_CTX *ctx, const struct ntm_settings *s, const struct ntm_inner *in)
{
	struct ethhdr *eth = NTM_DATA(ctx);

	if ((void *)(eth + 1) > NTM_DATA_END(ctx))
		return -EINVAL;
	__builtin_memcpy(eth->h_dest, s->mac_ntm0, 6);
	__builtin_memcpy(eth->h_source, s->mac_ntm0p, 6);
	eth->h_proto = in->is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return 0;
}

/* payload: bytes at inner_off that were sealed. On RX_OK *len is the inner packet's length. */
static __always_inline int ntm_deliver(NTM_RX_CTX *ctx, const struct ntm_settings *s, const struct ntm_path *path,
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
	if (ntm_rx_reframe(ctx, s, inner_off, &in) || ntm_rx_write_eth(ctx, s, &in))
		return NTM_DROP(RX_ERROR);
	if (bpf_redirect(s->if_ntm0p, 0) != NTM_RX_REDIRECT)
		return NTM_DROP(RX_ERROR);
	*len = in.len;
	return NTM_VERDICT(NTM_RX_REDIRECT, RX_OK);
}

#endif
