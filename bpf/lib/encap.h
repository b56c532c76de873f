/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Room for the outer headers and the tag, and what is written there. */
#ifndef NTM_LIB_ENCAP_H
#define NTM_LIB_ENCAP_H

#define NTM_TTL 64

struct ntm_tx {
	struct ntm_endpoint ep;
	struct ntm_hdr hdr;
	struct ntm_inner in;
	__u8 from_beyond; /* inner source is a general node: this host is a gateway */
	__u8 to_beyond;   /* inner destination is one: the way is this host's gateway */
};

static __always_inline __u32 ntm_outer_len(__u32 is_ipv6)
{
	return (is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct udphdr) +
	       sizeof(struct ntm_hdr);
}

/*
 * Growing the tail first makes the whole packet linear and its own in the one copy that may be needed; pushing the
 * headers then reallocates only where headroom is short.
 *
 * bpf_redirect_neigh() chooses by skb->protocol, so that has to become the outer one. BPF_F_ADJ_ROOM_ENCAP_* would do
 * it, but would also mark the packet as one with inner headers to be seen by offloads, which ciphertext has not, and
 * which no second tunnel on its way may encapsulate. bpf_skb_change_proto() exchanges an IPv4 header for room of an
 * IPv6 header or the other way round, so that 20 bytes of room come with it, or 20 bytes of the inner header have to be
 * put back.
 */
static __noinline int ntm_make_room(struct __sk_buff *skb, const struct ntm_tx *tx)
{
	const __u32 diff = sizeof(struct ipv6hdr) - sizeof(struct iphdr);
	__u8 head[sizeof(struct ipv6hdr) - sizeof(struct iphdr)];

	if (bpf_skb_change_tail(skb, ETH_HLEN + tx->in.len + NTM_TAG_LEN, 0))
		return -EINVAL;
	if (tx->ep.is_ipv6 == tx->in.is_ipv6)
		return bpf_skb_adjust_room(skb, ntm_outer_len(tx->ep.is_ipv6), BPF_ADJ_ROOM_MAC, 0);
	if (tx->ep.is_ipv6) {
		if (bpf_skb_adjust_room(skb, ntm_outer_len(1) - diff, BPF_ADJ_ROOM_MAC, 0))
			return -EINVAL;
		return bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0);
	}
	if (bpf_skb_load_bytes(skb, ETH_HLEN, head, sizeof(head)) ||
	    bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) ||
	    bpf_skb_adjust_room(skb, ntm_outer_len(0) + diff, BPF_ADJ_ROOM_MAC, 0))
		return -EINVAL;
	return bpf_skb_store_bytes(skb, ETH_HLEN + ntm_outer_len(0), head, sizeof(head), 0);
}

static __always_inline void ntm_write_udp(struct udphdr *udp, const struct ntm_tx *tx, __be16 port)
{
	udp->source = port;
	udp->dest = tx->ep.port;
	udp->len = bpf_htons(sizeof(*udp) + sizeof(tx->hdr) + tx->in.len + NTM_TAG_LEN);
	udp->check = 0;
	__builtin_memcpy(udp + 1, &tx->hdr, sizeof(tx->hdr));
}

static __always_inline int ntm_write_ipv4(struct __sk_buff *skb, const struct ntm_tx *tx, const struct ntm_way *way,
					  __be16 port)
{
	void *data = NTM_DATA(skb);
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if (data + ETH_HLEN + ntm_outer_len(0) > NTM_DATA_END(skb))
		return -EINVAL;
	eth->h_proto = bpf_htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = tx->in.tos;
	ip->tot_len = bpf_htons(ntm_outer_len(0) + tx->in.len + NTM_TAG_LEN);
	ip->id = 0; /* RFC 6864: an atomic datagram */
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = NTM_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = *(const __be32 *)(way->addr + 12);
	ip->daddr = *(const __be32 *)(tx->ep.addr + 12);
	ip->check = ntm_csum_ipv4(ip);
	ntm_write_udp((void *)(ip + 1), tx, port);
	return 0;
}

static __always_inline int ntm_write_ipv6(struct __sk_buff *skb, const struct ntm_tx *tx, const struct ntm_way *way,
					  __be16 port)
{
	void *data = NTM_DATA(skb);
	struct ethhdr *eth = data;
	struct ipv6hdr *ip6 = (void *)(eth + 1);

	if (data + ETH_HLEN + ntm_outer_len(1) > NTM_DATA_END(skb))
		return -EINVAL;
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	*(__be32 *)ip6 = bpf_htonl(6u << 28 | (__u32)tx->in.tos << 20);
	ip6->payload_len = bpf_htons(ntm_outer_len(1) - sizeof(*ip6) + tx->in.len + NTM_TAG_LEN);
	ip6->nexthdr = IPPROTO_UDP;
	ip6->hop_limit = NTM_TTL;
	ntm_addr_copy(&ip6->saddr, way->addr);
	ntm_addr_copy(&ip6->daddr, tx->ep.addr);
	ntm_write_udp((void *)(ip6 + 1), tx, port);
	return 0;
}

/* After sealing. IPv4 needs none: the tag covers the payload, and RFC 768 allows 0. */
static __always_inline int ntm_finish_udp6(struct __sk_buff *skb, const struct ntm_tx *tx)
{
	__u32 udp_off = ETH_HLEN + sizeof(struct ipv6hdr);
	__u32 udp_len = sizeof(struct udphdr) + sizeof(tx->hdr) + tx->in.len + NTM_TAG_LEN;
	int sum = ntm_csum_udp6(skb, udp_off, udp_len);
	struct udphdr *udp = NTM_DATA(skb) + udp_off;

	if (!sum || (void *)(udp + 1) > NTM_DATA_END(skb))
		return -EINVAL;
	udp->check = sum;
	return 0;
}

#endif
