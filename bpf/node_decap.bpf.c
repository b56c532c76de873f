/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * XDP on uplinks: what comes in there, by lib/decap.h. In generic mode GRO may have merged datagrams: they are too
 * long, and pass to the agent.
 */
#include "lib/ctx.h"
#include <ntm/wire.h>
#include "maps.bpf.h"
#include "lib/finish.h"
#include "lib/hook_xdp.h"
#include "lib/decap.h"

SEC("xdp")
int node_decap(struct xdp_md *ctx)
{
	__u64 len = NTM_DATA_END(ctx) - NTM_DATA(ctx);

	/* Computed here: the compiler would keep the two pointers in halves, which the verifier refuses. */
	NTM_UNKNOWN(len);
	return ntm_finish(ntm_decap(ctx), len);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
