/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For the far end of a veth pair: what XDP sends (XDP_TX) is taken from it only where there is a program, too. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
