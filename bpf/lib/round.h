/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel-lane packets that arrive at tc ingress merged by GRO, or with a checksum that is still to be completed, can't
 * be opened in place. They go once round through the pair of ntm0: it offers its senders no offloads, so what leaves
 * by ntm0 is split and completed, and node_encap, at ntm0p, gives it back to the uplink. So the kernel lane needs no
 * agent for them.
 *
 * Such a frame comes from ntm0p's address and is for ntm0's, which nothing that ntm0 itself sends is; its mark, which
 * stays with it inside a network namespace, is the uplink. Back there it comes from ntm0's address.
 */
#ifndef NTM_LIB_ROUND_H
#define NTM_LIB_ROUND_H

static __always_inline int ntm_mac_equal(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* TC_ACT_REDIRECT, or an error: it was round already, and is no better for it. */
static __always_inline int ntm_round_begin(struct __sk_buff *skb, const struct ntm_settings *s)
{
	struct ethhdr *eth = NTM_DATA(skb);

	if ((void *)(eth + 1) > NTM_DATA_END(skb) || ntm_mac_equal(eth->h_source, s->mac_ntm0))
		return -EINVAL;
	__builtin_memcpy(eth->h_dest, s->mac_ntm0, sizeof(eth->h_dest));
	__builtin_memcpy(eth->h_source, s->mac_ntm0p, sizeof(eth->h_source));
	skb->mark = skb->ifindex;
	return bpf_redirect(s->if_ntm0, 0);
}

/* Of a frame that comes from ntm0p's address. */
static __always_inline int ntm_is_round(struct __sk_buff *skb, const struct ntm_settings *s)
{
	struct ethhdr *eth = NTM_DATA(skb);

	return (void *)(eth + 1) <= NTM_DATA_END(skb) && ntm_mac_equal(eth->h_dest, s->mac_ntm0);
}

static __noinline __attribute__((unused)) int ntm_round_back(struct __sk_buff *skb, const struct ntm_settings *s)
{
	struct ethhdr *eth = NTM_DATA(skb);
	__u32 uplink = skb->mark;

	if ((void *)(eth + 1) > NTM_DATA_END(skb))
		return NTM_VERDICT(TC_ACT_SHOT, RX_ERROR);
	__builtin_memcpy(eth->h_source, s->mac_ntm0, sizeof(eth->h_source));
	skb->mark = 0;
	if (bpf_redirect(uplink, BPF_F_INGRESS) != TC_ACT_REDIRECT)
		return NTM_VERDICT(TC_ACT_SHOT, RX_ERROR);
	return NTM_VERDICT(TC_ACT_REDIRECT, RX_SPLIT);
}

#endif
