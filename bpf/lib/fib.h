/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way to an end of a relay path, by bpf_fib_lookup(), and kept: next hops, of which there are few, in a table of
 * their own, and in the path one 32-bit word: which of them, and a generation. The generation is the agent's count of
 * route and neighbour changes plus the time in units of 2^34 ns, shifted by the Path ID: what the agent does not hear
 * of (or no agent is there to hear of) is found out within 17 s, and not for all paths at once.
 *
 * An entry of the table may become another next hop when no path has taken it for longer than any path's generation
 * lasts. Where there is no room (more than a thousand neighbours), packets do with a look-up each.
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
#define NTM_HOP_VALID 0x80000
#define NTM_HOP_INDEX(hop) ((hop)&0xfff)
#define NTM_HOP_GEN(hop) ((hop) >> 12)
#define NTM_HOP_PROBES 8
#define NTM_HOP_AGE 3 /* units of 2^34 ns; a generation lasts one */

#define NTM_HOP_WORD (1ULL << 63) /* set in every word that is a next hop */
#define NTM_HOP_CHANGING 1        /* in place of a word */
#define NTM_HOP_UPLINK(word) ((__u32)((word) >> 48) & 15)

static __always_inline __u32 ntm_hop_generation(const struct ntm_relay_settings *s, const struct ntm_relay_path *p,
						__u64 now)
{
	__u32 window = (now + ((__u64)(__u32)p->path_id << 2)) >> NTM_HOP_GEN_SHIFT;

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

/* Is it this next hop? Then it is in use, from before the answer on. */
static __always_inline int ntm_hop_take(struct ntm_relay_hop *e, const struct ntm_relay_hop *hop)
{
	if (NTM_READ(e->word) != hop->word || NTM_READ(e->mtu) != hop->mtu)
		return 0;
	/* An exchange orders memory: who makes another one of it sees either this or is seen below. */
	__sync_lock_test_and_set(&e->used, hop->used);
	return NTM_READ(e->word) == hop->word;
}

static __always_inline int ntm_hop_put(struct ntm_relay_hop *e, const struct ntm_relay_hop *hop)
{
	__u64 have = NTM_READ(e->word);

	if (have == NTM_HOP_CHANGING || (have && hop->used - NTM_READ(e->used) < NTM_HOP_AGE))
		return 0;
	if (__sync_val_compare_and_swap(&e->word, have, NTM_HOP_CHANGING) != have)
		return 0;
	if (have && hop->used - NTM_READ(e->used) < NTM_HOP_AGE) {
		__sync_lock_test_and_set(&e->word, have);
		return 0;
	}
	NTM_WRITE(e->mtu, hop->mtu);
	NTM_WRITE(e->used, hop->used);
	__sync_lock_test_and_set(&e->word, hop->word);
	return 1;
}

/* The entry that holds this next hop from now on, or NTM_NO_SLOT. Global, so that it is verified once. */
__noinline __u32 ntm_hop_keep(const struct ntm_relay_hop *hop)
{
	__u32 home, index;

	if (!hop)
		return NTM_NO_SLOT;
	home = ((hop->word ^ hop->mtu) * 0x9e3779b97f4a7c15ULL) >> 32;
	for (__u32 i = 0; i < 2 * NTM_HOP_PROBES; i++) {
		struct ntm_relay_hop *e;

		index = (home + i % NTM_HOP_PROBES) & (NTM_RELAY_HOPS - 1);
		e = bpf_map_lookup_elem(&ntm_relay_hops, &index);
		if (e && (i < NTM_HOP_PROBES ? ntm_hop_take(e, hop) : ntm_hop_put(e, hop)))
			return index;
	}
	return NTM_NO_SLOT;
}

/*
 * Finds the way to an end, for this packet in *hop, for others in the path unless that is not of this version any more.
 * which: the end, 0 or 1, and the version shifted by 1. hop->used: the time. 0 or a reason.
 */
static __noinline int ntm_fib_resolve(struct xdp_md *ctx, struct ntm_relay_path *p, __u32 which, __u32 generation,
				      struct ntm_relay_hop *hop)
{
	__u32 dst[4], to = which & 1, is_ipv6 = p->flags >> to & 1, slot, index;
	struct bpf_fib_lookup f;
	int err;

	ntm_relay_copy(dst, p->addr[to]);
	if (ntm_fib_is_refused(dst, is_ipv6))
		return NTM_RR_BAD_DEST;
	err = ntm_fib_lookup(ctx, &f, dst, p->port[to], is_ipv6, NTM_IF_LO);
	if (err == BPF_FIB_LKUP_RET_FWD_DISABLED)
		err = ntm_fib_lookup(ctx, &f, dst, p->port[to], is_ipv6, ctx->ingress_ifindex);
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
	hop->word = NTM_HOP_WORD | (__u64)slot << 48;
	__builtin_memcpy(&hop->word, f.dmac, 6);
	hop->mtu = f.mtu_result;
	index = ntm_hop_keep(hop);
	if (index != NTM_NO_SLOT)
		/* An exchange orders memory: a bind meanwhile either clears what is stored here or is seen below. */
		__sync_lock_test_and_set(&p->hop[to], generation << 12 | NTM_HOP_INDEX(index));
	if (NTM_READ(p->version) == which >> 1)
		return 0;
	NTM_WRITE(p->hop[to], 0);
	return NTM_RR_BUSY;
}

#endif
