/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way to an end of a relay path, by bpf_fib_lookup(), and kept in the path: one 64-bit word, so that it is never
 * seen half changed: the next hop's MAC address, which uplink, and a generation. The generation is the agent's count of
 * route and neighbour changes plus the time in units of 2^34 ns, shifted by the Path ID: what the agent does not hear
 * of (or no agent is there to hear of) is found out within 17 s, and not for all paths at once.
 *
 * A lookup as for packets of this host's own: lo as the input interface. The kernel asks for forwarding to be enabled
 * there (net.ipv4.conf.lo.forwarding, net.ipv6.conf.lo.forwarding), which makes the host no router; where that is not
 * set, the interface that the packet came by is tried.
 *
 * Without a neighbour entry the packet is dropped: XDP can't resolve one. The agent's answer to the end's bind did,
 * and its next one will again.
 */
#ifndef NTM_LIB_FIB_H
#define NTM_LIB_FIB_H

#define NTM_IF_LO 1
#define NTM_HOP_GEN_SHIFT 34
#define NTM_HOP_VALID 0x800
#define NTM_HOP_GEN(hop) ((__u32)((hop) >> 52))
#define NTM_HOP_UPLINK(hop) ((__u32)((hop) >> 48) & 15)

static __always_inline __u32 ntm_hop_generation(const struct ntm_relay_settings *s, const struct ntm_relay_path *p,
						__u64 now)
{
	__u32 window = (now + (__u32)p->path_id) >> NTM_HOP_GEN_SHIFT;

	return ((NTM_READ(s->routing) + window) & (NTM_HOP_VALID - 1)) | NTM_HOP_VALID;
}

/* An address that nothing is ever sent to, whoever bound it. */
static __always_inline int ntm_fib_is_refused(const __u32 a[4], __u32 is_ipv6)
{
	__u32 first = bpf_ntohl(is_ipv6 ? a[0] : a[3]);

	if (bpf_map_lookup_elem(&ntm_relay_locals, a))
		return 1;
	if (!is_ipv6)
		return first >> 24 == 0 || first >> 24 == 127 || first >= 0xe0000000;
	/* multicast, link-local, and ::/96 with the unspecified and loopback addresses; v4-mapped ones */
	return first >> 24 == 0xff || first >> 22 == 0x3fa || !(a[0] | a[1] | a[2]) ||
	       (!(a[0] | a[1]) && a[2] == bpf_htonl(0xffff));
}

static __always_inline int ntm_fib_lookup(struct xdp_md *ctx, struct bpf_fib_lookup *f, const __u32 dst[4], __be16 port,
					  __u32 is_ipv6, __u32 ifindex)
{
	__u32 zero = 0;
	struct ntm_relay_uplink *first = bpf_map_lookup_elem(&ntm_relay_uplinks, &zero);

	if (!first)
		return BPF_FIB_LKUP_RET_NOT_FWDED;
	__builtin_memset(f, 0, sizeof(*f));
	f->l4_protocol = IPPROTO_UDP;
	f->dport = port;
	f->ifindex = ifindex;
	if (is_ipv6) {
		f->family = NTM_AF_INET6;
		ntm_relay_copy(f->ipv6_src, first->addr6);
		ntm_relay_copy(f->ipv6_dst, dst);
	} else {
		f->family = NTM_AF_INET;
		f->ipv4_src = first->addr4;
		f->ipv4_dst = dst[3];
	}
	return bpf_fib_lookup(ctx, f, sizeof(*f), 0);
}

/* Finds the way to end `to` (0 or 1) and keeps it unless the path is not of this version any more. 0 or a reason. */
static __noinline int ntm_fib_resolve(struct xdp_md *ctx, struct ntm_relay_path *p, __u32 to, __u32 version,
				      __u32 generation)
{
	struct ntm_relay_end *end = &p->ends[to & 1];
	struct bpf_fib_lookup f;
	__u32 dst[4], is_ipv6 = end->is_ipv6, slot;
	__u64 hop = 0;
	int err;

	ntm_relay_copy(dst, end->addr);
	if (ntm_fib_is_refused(dst, is_ipv6))
		return NTM_RR_BAD_DEST;
	err = ntm_fib_lookup(ctx, &f, dst, end->port, is_ipv6, NTM_IF_LO);
	if (err == BPF_FIB_LKUP_RET_FWD_DISABLED)
		err = ntm_fib_lookup(ctx, &f, dst, end->port, is_ipv6, ctx->ingress_ifindex);
	if (err)
		return NTM_RR_NO_ROUTE;
	for (slot = 0; slot < NTM_RELAY_UPLINKS; slot++) {
		__u32 key = slot;
		struct ntm_relay_uplink *up = bpf_map_lookup_elem(&ntm_relay_uplinks, &key);

		if (up && NTM_READ(up->ifindex) == f.ifindex)
			break;
	}
	if (slot == NTM_RELAY_UPLINKS)
		return NTM_RR_NO_ROUTE;
	__builtin_memcpy(&hop, f.dmac, 6);
	hop |= (__u64)slot << 48 | (__u64)generation << 52;
	NTM_WRITE(p->mtu[to & 1], f.mtu_result);
	/* An exchange orders memory: a bind meanwhile either clears what is stored here or is seen below. */
	__sync_lock_test_and_set(&p->hop[to & 1], hop);
	if (NTM_READ(p->version) != version)
		NTM_WRITE(p->hop[to & 1], 0);
	return 0;
}

#endif
