/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Seals or opens the packet that BPF_PROG_TEST_RUN hands over, as the map says; or, for its own cost, neither. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "lib/aead.h"

struct aead_params {
	__u8 key[NTM_KEY_LEN];
	__u32 hdr_off;
	__u32 len;
	__u32 open;
	__s32 result;
	__u32 idle;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct aead_params);
} params SEC(".maps");

SEC("tc")
int aead_tc(struct __sk_buff *skb)
{
	struct aead_params *p;
	__u32 zero = 0;

	p = bpf_map_lookup_elem(&params, &zero);
	if (!p || bpf_skb_pull_data(skb, skb->len))
		return 2;
	if (p->idle)
		return 0;
	if (p->open)
		p->result = ntm_aead_open_skb(skb, p->hdr_off, p->len, p->key);
	else
		p->result = ntm_aead_seal_skb(skb, p->hdr_off, p->len, p->key);
	return 0;
}

SEC("xdp")
int aead_xdp(struct xdp_md *ctx)
{
	struct aead_params *p;
	__u32 zero = 0;

	p = bpf_map_lookup_elem(&params, &zero);
	if (!p)
		return XDP_ABORTED;
	if (p->idle)
		return XDP_PASS;
	if (p->open)
		p->result = ntm_aead_open_xdp(ctx, p->hdr_off, p->len, p->key);
	else
		p->result = ntm_aead_seal_xdp(ctx, p->hdr_off, p->len, p->key);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
