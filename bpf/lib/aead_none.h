/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
static __noinline __attribute__((unused)) int ntm_aead_seal_skb(struct __sk_buff *skb, __u32 hdr_off, __u32 len, const __u8 *key)
{
	return 0;
}
static __noinline __attribute__((unused)) int ntm_aead_open_xdp(struct xdp_md *ctx, __u32 hdr_off, __u32 len, const __u8 *key)
{
	return 0;
}
