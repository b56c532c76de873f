/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a path's packets go: the peer's endpoint and the own uplink of its family. */
#ifndef NTM_LIB_UPLINK_H
#define NTM_LIB_UPLINK_H

/* A writer fills the endpoint that is not current; should it do so twice during the copy, copy again. */
static __always_inline void ntm_endpoint_read(const struct ntm_path *path, struct ntm_endpoint *out)
{
	__u32 cur = NTM_READ(path->ep_cur) & 1;

	*out = path->ep[cur];
	if (NTM_UNLIKELY((NTM_READ(path->ep_cur) & 1) != cur))
		*out = path->ep[cur ^ 1];
}

/* NULL: no address yet, or no uplink of its family. */
static __always_inline struct ntm_way *ntm_way_of(const struct ntm_endpoint *ep)
{
	__u32 index = 2 * ep->uplink + (ep->is_ipv6 ? 1 : 0);
	struct ntm_uplink *up = bpf_map_lookup_elem(&ntm_uplinks, &index);
	struct ntm_way *way = up ? &up->way[NTM_READ(up->cur) & 1] : NULL;

	return way && NTM_READ(way->ifindex) && ep->port ? way : NULL;
}

enum ntm_hop {
	NTM_HOP_NONE,   /* not on the link, and no way out */
	NTM_HOP_KERNEL, /* its routes know */
	NTM_HOP_LINK,
	NTM_HOP_GATEWAY,
};

static __noinline enum ntm_hop ntm_next_hop(const struct ntm_way *way, const struct ntm_endpoint *ep)
{
	const __u32 *addr = (const __u32 *)way->addr, *mask = (const __u32 *)way->mask, *to = (const __u32 *)ep->addr;
	const __u32 *gw = (const __u32 *)way->gateway;
	__u32 flags = NTM_READ(way->flags);

	if (!(flags & NTM_WAY_KNOWN))
		return NTM_HOP_KERNEL;
	if (!(((to[0] ^ addr[0]) & mask[0]) | ((to[1] ^ addr[1]) & mask[1]) | ((to[2] ^ addr[2]) & mask[2]) |
	      ((to[3] ^ addr[3]) & mask[3])))
		return NTM_HOP_LINK;
	if (!(flags & NTM_WAY_DEFAULT))
		return NTM_HOP_NONE;
	return gw[0] | gw[1] | gw[2] | gw[3] ? NTM_HOP_GATEWAY : NTM_HOP_LINK;
}

/* TC_ACT_REDIRECT, or an error. A subprogram for its stack. */
static __noinline int ntm_leave(const struct ntm_way *way, const struct ntm_endpoint *ep, enum ntm_hop hop)
{
	const __u32 *to = (const __u32 *)(hop == NTM_HOP_GATEWAY ? way->gateway : ep->addr);
	struct bpf_redir_neigh nh = {.nh_family = ep->is_ipv6 ? NTM_AF_INET6 : NTM_AF_INET};

	if (hop == NTM_HOP_KERNEL)
		return bpf_redirect_neigh(NTM_READ(way->ifindex), NULL, 0, 0);
	if (ep->is_ipv6) {
		nh.ipv6_nh[0] = to[0];
		nh.ipv6_nh[1] = to[1];
		nh.ipv6_nh[2] = to[2];
		nh.ipv6_nh[3] = to[3];
	} else {
		nh.ipv4_nh = to[3];
	}
	return bpf_redirect_neigh(NTM_READ(way->ifindex), &nh, sizeof(nh), 0);
}

#endif
