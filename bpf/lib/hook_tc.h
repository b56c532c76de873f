/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How decap.h meets packets at tc ingress: behind GRO, perhaps in several buffers, perhaps with a checksum that the
 * sender, on the same host, has left to hardware.
 */
#ifndef NTM_LIB_HOOK_TC_H
#define NTM_LIB_HOOK_TC_H

#include "inner.h"
#include "round.h"

#define NTM_RX_CTX struct __sk_buff
#define NTM_RX_PASS (-1) /* TC_ACT_UNSPEC: the next program, and then on as ever */
#define NTM_RX_DROP TC_ACT_SHOT
#define NTM_RX_REDIRECT TC_ACT_REDIRECT
#define NTM_RX_LOAD bpf_skb_load_bytes
#define NTM_RX_OPEN ntm_aead_open_skb

/* One tag is beside the packet by now; a second one is for the interface that takes off the first. */
#define NTM_VLAN_DEPTH 0

/* Bytes of the packet from p to its end, of which only those up to data_end lie here. */
#define NTM_RX_LEFT(ctx, p) ((__u64)((ctx)->len - ((void *)(p)-NTM_DATA(ctx))))

#define NTM_RX_MERGED(ctx) ((ctx)->gso_size)

/* All that is read of a packet that stays closed: Ethernet, IPv6, UDP and the tunnel's header. */
#define NTM_RX_HEADERS (ETH_HLEN + 40 + 8 + 16)

/* Of small packets many drivers leave nothing in the first buffer. */
static __always_inline void ntm_rx_headers(struct __sk_buff *skb)
{
	if (NTM_UNLIKELY(NTM_DATA(skb) + NTM_RX_HEADERS > NTM_DATA_END(skb)))
		(void)bpf_skb_pull_data(skb, skb->len < NTM_RX_HEADERS ? skb->len : NTM_RX_HEADERS);
}

/*
 * A packet that is about to be opened in place becomes one buffer, the program's own. GRO merges datagrams with a
 * checksum: over IPv4 those that an agent sent, but none of node_encap's.
 *
 * The tag says more than a checksum of the inner packet, so that is taken for right, as the outer one is by now. Where
 * it is not, it is still to be completed, or is of the whole packet: what is done in place would make it wrong.
 */
static __always_inline int ntm_rx_own(struct __sk_buff *skb, const struct ntm_settings *s)
{
	if (!skb->gso_size)
		bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
	if (skb->gso_size || bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) < 0)
		return ntm_round_begin(skb, s) == TC_ACT_REDIRECT ? NTM_VERDICT(NTM_RX_REDIRECT, RX_LONG)
								  : NTM_VERDICT(NTM_RX_DROP, RX_ERROR);
	if (bpf_skb_pull_data(skb, skb->len))
		return NTM_VERDICT(NTM_RX_DROP, RX_ERROR);
	return NTM_CONTINUE;
}

/* The frame becomes Ethernet header and inner packet, which nothing else hangs on any more. */
static __always_inline int ntm_rx_reframe(struct __sk_buff *skb, const struct ntm_settings *s, __u32 inner_off,
					  const struct ntm_inner *in)
{
	const __u32 least = sizeof(struct ipv6hdr);
	__s32 outer = inner_off - ETH_HLEN;

	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return -EINVAL;
	/* What is left must have room for an IP header, of IPv6 if the outer one is. */
	if (in->len < least && bpf_skb_change_tail(skb, inner_off + least, 0))
		return -EINVAL;
	if (bpf_skb_adjust_room(skb, -outer, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + in->len, 0))
		return -EINVAL;
	bpf_set_hash_invalid(skb);
	return 0;
}

#endif
