/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of uplinks where XDP costs a copy of each packet (veth): what comes in there, by lib/decap.h. The bulk
 * lane's packets have been merged by then, and are looked at and passed some forty at a time.
 */
#include "lib/ctx.h"
#include <ntm/wire.h>
#include "maps.bpf.h"
#include "lib/finish.h"
#include "lib/hook_tc.h"
#include "lib/decap.h"

SEC("tc")
int node_ingress(struct __sk_buff *skb)
{
	__u32 len = skb->len;

	ntm_rx_headers(skb);
	return ntm_finish(ntm_decap(skb), len);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
