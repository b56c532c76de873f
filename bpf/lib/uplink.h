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
static __always_inline struct ntm_uplink *ntm_uplink_of(const struct ntm_endpoint *ep)
{
	__u32 index = 2 * ep->uplink + (ep->is_ipv6 ? 1 : 0);
	struct ntm_uplink *up = bpf_map_lookup_elem(&ntm_uplinks, &index);

	return up && NTM_READ(up->ifindex) && ep->port ? up : NULL;
}

#endif
