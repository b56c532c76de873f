/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * While an uplink is new, what leaves by it leaves by the one before it, too (uplink_duplicate_ms): the same sealed
 * packet, so that the receiver's replay window takes whichever of the two comes first. A program has one redirect with
 * a neighbour look-up; the copy gets its own by coming in by ntm0p again, as a frame that ntm0p has sent itself, which
 * is what nothing else does.
 */
#ifndef NTM_LIB_COPY_H
#define NTM_LIB_COPY_H

/* The sealed packet, which goes on its way afterwards whatever becomes of the copy. All pointers into it are void. */
static __noinline int ntm_copy(struct __sk_buff *skb, const struct ntm_settings *s)
{
	struct ethhdr *eth = NTM_DATA(skb);

	if ((void *)(eth + 1) > NTM_DATA_END(skb))
		return -EINVAL;
	/* What ntm0 sends is for its own address (it has no neighbours), as is what goes round (round.h). */
	__builtin_memcpy(eth->h_dest, s->mac_ntm0p, sizeof(eth->h_dest));
	__builtin_memcpy(eth->h_source, s->mac_ntm0p, sizeof(eth->h_source));
	return bpf_clone_redirect(skb, s->if_ntm0p, BPF_F_INGRESS);
}

static __always_inline int ntm_is_copy(struct __sk_buff *skb, const struct ntm_settings *s)
{
	const __u16 *own = (const __u16 *)s->mac_ntm0p, *from;
	struct ethhdr *eth = NTM_DATA(skb);

	if ((void *)(eth + 1) > NTM_DATA_END(skb))
		return 0;
	from = (const __u16 *)eth->h_source;
	return from[0] == own[0] && from[1] == own[1] && from[2] == own[2];
}

/* The endpoint that it is for; 0 if it is a packet of the own port. */
static __always_inline int ntm_copy_read(struct __sk_buff *skb, const struct ntm_settings *s, struct ntm_endpoint *ep)
{
	void *data = NTM_DATA(skb), *data_end = NTM_DATA_END(skb);
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp;

	ep->uplink = NTM_COPY_PAIR;
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		udp = (void *)(ip6 + 1);
		if ((void *)(udp + 1) > data_end || ip6->nexthdr != IPPROTO_UDP)
			return -EINVAL;
		ep->is_ipv6 = 1;
		ntm_addr_copy((struct ntm_vip *)ep->addr, &ip6->daddr);
	} else {
		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > data_end || skb->protocol != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
		    ip->protocol != IPPROTO_UDP)
			return -EINVAL;
		ntm_map4((struct ntm_vip *)ep->addr, ip->daddr);
	}
	ep->port = udp->dest;
	return udp->source == s->port ? 0 : -EINVAL;
}

/* From the other uplink's address; the checksum over IPv6 is over that, too. */
static __always_inline int ntm_copy_write(struct __sk_buff *skb, const struct ntm_way *way, __u32 is_ipv6)
{
	void *data = NTM_DATA(skb), *data_end = NTM_DATA_END(skb);
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip6 + 1);
	__u64 sum;

	if (!is_ipv6) {
		if ((void *)(ip + 1) > data_end)
			return -EINVAL;
		ip->saddr = *(const __be32 *)(way->addr + 12);
		ip->check = 0;
		ip->check = ntm_csum_ipv4(ip);
		return 0;
	}
	if ((void *)(udp + 1) > data_end)
		return -EINVAL;
	/* RFC 1624: what the old address added goes out by its complement. */
	sum = (__u64)(__u16)~udp->check;
	for (int i = 0; i < 4; i++)
		sum += (__u64)(__u32)~ip6->saddr.in6_u.u6_addr32[i] + ((const __u32 *)way->addr)[i];
	ntm_addr_copy(&ip6->saddr, way->addr);
	udp->check = ntm_csum_fold(sum) ?: 0xffff;
	return 0;
}

static __noinline int ntm_copy_leave(struct __sk_buff *skb, const struct ntm_settings *s)
{
	struct ntm_endpoint ep = {};
	struct ntm_way *way;
	enum ntm_hop hop;

	if (ntm_copy_read(skb, s, &ep))
		return NTM_VERDICT(TC_ACT_SHOT, TX_ERROR);
	way = ntm_way_of(&ep);
	hop = way ? ntm_next_hop(way, &ep) : NTM_HOP_NONE;
	if (!way || hop == NTM_HOP_NONE || skb->len - ETH_HLEN > NTM_READ(way->mtu))
		return NTM_VERDICT(TC_ACT_SHOT, TX_NO_UPLINK);
	if (ntm_copy_write(skb, way, ep.is_ipv6) || ntm_leave(way, &ep, hop) != TC_ACT_REDIRECT)
		return NTM_VERDICT(TC_ACT_SHOT, TX_ERROR);
	return NTM_VERDICT(TC_ACT_REDIRECT, TX_COPY);
}

#endif
