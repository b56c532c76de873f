/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program's source finds in place of libbpf's headers when it is compiled for this machine. Included first. */
#ifndef NTM_TEST_SHIM_H
#define NTM_TEST_SHIM_H

#include <vmlinux.h>
#include "native.h"

#define __BPF_HELPERS__ /* keeps bpf/bpf_helpers.h out */
#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#undef __noinline
#define __noinline __attribute__((noinline))

#define xdp_md native_ctx
#define __sk_buff native_ctx

#define bpf_map_lookup_elem native_map_lookup
#define bpf_map_update_elem native_map_update
#define bpf_ringbuf_reserve native_ring_reserve
#define bpf_ringbuf_submit native_ring_submit
#define bpf_ringbuf_discard native_ring_discard
#define bpf_ktime_get_boot_ns native_ktime_boot
#define bpf_ktime_get_coarse_ns native_ktime_coarse
#define bpf_xdp_adjust_head native_adjust_head
#define bpf_xdp_adjust_tail native_adjust_tail
#define bpf_xdp_load_bytes native_load
#define bpf_xdp_store_bytes native_store
#define bpf_skb_load_bytes native_load
#define bpf_skb_store_bytes native_store_flags
#define bpf_skb_pull_data native_pull
#define bpf_skb_change_tail native_change_tail
#define bpf_skb_adjust_room native_adjust_room
#define bpf_skb_change_proto native_change_proto
#define bpf_clone_redirect native_clone_redirect
#define bpf_redirect native_redirect
#define bpf_redirect_neigh native_redirect_neigh
/* with arguments: there is a struct of that name */
#define bpf_fib_lookup(ctx, f, len, flags) native_fib_lookup(ctx, f, len, flags)
#define bpf_csum_diff native_csum_diff
#define bpf_tail_call native_tail_call

#define NATIVE_LIMITS(m) .type = sizeof(*(m).type) / sizeof(int), .entries = sizeof(*(m).max_entries) / sizeof(int)
#define NATIVE_SIZES(m) .key_size = sizeof(*(m).key), .value_size = sizeof(*(m).value)
#define NATIVE_MAP(m)                                                     \
	{                                                                 \
		.name = #m, .id = &(m), NATIVE_LIMITS(m), NATIVE_SIZES(m) \
	}
#define NATIVE_RING(m)                                   \
	{                                                \
		.name = #m, .id = &(m), NATIVE_LIMITS(m) \
	}

#endif
