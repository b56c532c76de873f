/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of headers/ntm/relay.h as the object declares them, and verdicts as in finish.h. The agent sets the entries
 * of those that grow with the number of paths before it loads; `bpftool prog loadall` takes them as they are.
 */
#ifndef NTM_LIB_RELAY_MAPS_H
#define NTM_LIB_RELAY_MAPS_H

#include <ntm/relay.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_relay_settings);
} ntm_relay_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_RELAY_SLOTS(NTM_RELAY_PATHS_DEFAULT));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_relay_path);
} ntm_relay_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_RELAY_SLOTS(NTM_RELAY_PATHS_DEFAULT));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_relay_account);
} ntm_relay_accounts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_RELAY_HOPS);
	__type(key, __u32);
	__type(value, struct ntm_relay_hop);
} ntm_relay_hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_RELAY_SLOTS(NTM_RELAY_PATHS_DEFAULT));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_relay_agent);
} ntm_relay_agent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_RELAY_UPLINKS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_relay_uplink);
} ntm_relay_uplinks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NTM_RELAY_FORMER);
	__type(key, __be64);
	__type(value, struct ntm_relay_former);
} ntm_relay_former SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NTM_RELAY_LOCALS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ntm_vip);
	__type(value, __u32);
} ntm_relay_locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NTM_RR_COUNT);
	__type(key, __u32);
	__type(value, struct ntm_counter);
} ntm_relay_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NTM_RB_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} ntm_relay_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ntm_relay_next SEC(".maps");

/* Steps return this or a verdict, which travels unchanged to the one place that counts it and returns. */
#define NTM_CONTINUE (-1)
#define NTM_RELAY_VERDICT(action, reason) ((action) << 16 | (reason))
#define NTM_RELAY_DROP(reason) NTM_RELAY_VERDICT(XDP_DROP, NTM_RR_##reason)
#define NTM_RELAY_PASS(reason) NTM_RELAY_VERDICT(XDP_PASS, NTM_RR_##reason)

static __always_inline void ntm_relay_count(__u32 reason, __u32 bytes)
{
	struct ntm_counter *c = bpf_map_lookup_elem(&ntm_relay_counters, &reason);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

/* One of this CPU's token buckets (GCRA): `burst` at once, then one each interval_ns. */
static __always_inline int ntm_relay_take(__u32 bucket, __u64 interval_ns, __u32 burst)
{
	__u64 now = bpf_ktime_get_coarse_ns(), *tat = bpf_map_lookup_elem(&ntm_relay_buckets, &bucket);

	if (!tat || *tat > now + (burst - 1) * interval_ns)
		return 0;
	*tat = (*tat > now ? *tat : now) + interval_ns;
	return 1;
}

#endif
