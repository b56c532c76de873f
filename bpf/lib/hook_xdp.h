/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How decap.h meets packets at XDP. */
#ifndef NTM_LIB_HOOK_XDP_H
#define NTM_LIB_HOOK_XDP_H

#include "inner.h"

#define NTM_RX_CTX struct xdp_md
#define NTM_RX_PASS XDP_PASS
#define NTM_RX_DROP XDP_DROP
#define NTM_RX_REDIRECT XDP_REDIRECT
#define NTM_RX_LOAD bpf_xdp_load_bytes
#define NTM_RX_OPEN ntm_aead_open_xdp

/* Bytes of the packet from p to its end. */
#define NTM_RX_LEFT(ctx, p) ((__u64)(NTM_DATA_END(ctx) - (void *)(p)))

/* In generic mode GRO has done so, and here nothing tells. */
#define NTM_RX_MERGED(ctx) 0

/* A packet that is about to be opened in place: at XDP all of it lies here, and is the program's. */
static __always_inline int ntm_rx_own(struct xdp_md *ctx, const struct ntm_settings *s)
{
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
static __always_inline int ntm_rx_reframe(struct xdp_md *ctx, const struct ntm_settings *s, __u32 inner_off,
					  const struct ntm_inner *in)
{
	__s64 extra;

	if (bpf_xdp_adjust_head(ctx, (int)(inner_off - ETH_HLEN)))
		return -EINVAL;
	extra = NTM_DATA_END(ctx) - NTM_DATA(ctx);
	NTM_UNKNOWN(extra);
	extra -= ETH_HLEN + in->len;
	if (!(s->native >> (ctx->ingress_ifindex & 31) & 1))
		extra--;
	return extra > 0 && bpf_xdp_adjust_tail(ctx, -extra) ? -EINVAL : 0;
}

#endif
